"""Questions about smolq: what it is, its commands and flags. The model is its own help."""
from . import Example, skill, user

# What one may want to do (several ways to say it), the answer, what must be in it.
TASKS = [
    (["run a model", "start a model", "load a model", "use a GGUF file", "continue a text", "run my own model", "generate text"],
     "Type: smolq run model.gguf -p \"Once upon a time\"", ["smolq run model.gguf"]),
    (["chat with you", "start a chat", "talk to the built-in model", "use the embedded model", "chat without a model"],
     "Type smolq run without a model, and ask one question per line.", ["smolq run"]),
    (["get a real model", "get a bigger model", "download a model", "find a better model", "get SmolLM3"],
     "Download SmolLM3-Q4_K_M.gguf from ggml-org/SmolLM3-3B-GGUF, then type: smolq run SmolLM3-Q4_K_M.gguf", ["SmolLM3-Q4_K_M.gguf"]),
    (["see what is in a file", "inspect a model", "look at the metadata", "list the tensors of a file", "see how much memory a model needs", "look into a GGUF file"],
     "Type: smolq inspect model.gguf", ["smolq inspect"]),
    (["measure the speed", "benchmark a model", "know how fast it is here", "measure tokens per second", "run a benchmark"],
     "Type: smolq bench model.gguf", ["smolq bench"]),
    (["count the tokens", "tokenize a text", "turn text into tokens", "see token ids", "get the ids of a text"],
     "Type: smolq tokenize model.gguf -p \"Hello\"", ["smolq tokenize"]),
    (["turn ids into text", "detokenize", "decode token ids", "get text from token ids"],
     "Type: smolq detokenize model.gguf 1 2 3", ["smolq detokenize"]),
    (["get the logits", "write logits to a file", "save the logits", "compare logits"],
     "Type: smolq logits model.gguf --tokens ids.json -o out.npy", ["smolq logits"]),
    (["see what my CPU can do", "know which kernels are used", "check my CPU", "see the kernel level", "look at the processor"],
     "Type: smolq cpu", ["smolq cpu"]),
    (["make a random model", "write a model of random weights", "test without a download", "make a synthetic model", "try the speed before a download"],
     "Type: smolq synth smollm3-3b:Q4_K_M -o random.gguf", ["smolq synth"]),
    (["complete commands in my shell", "get shell completions", "set up tab completion", "install completions"],
     "Type: smolq completions bash", ["smolq completions"]),
    (["set a system prompt", "give you a role", "change the system prompt", "give instructions to the model"],
     "Use -sys, for example: smolq run -sys \"Answer in French.\"", ["-sys"]),
    (["turn thinking off", "stop the thinking", "get short answers", "answer without thinking"],
     "Use --think off", ["--think off"]),
    (["turn thinking on", "make the model think", "see the reasoning", "let the model think first"],
     "Use --think on", ["--think on"]),
    (["limit the answer", "set the number of tokens", "make answers shorter", "stop after some tokens", "generate only 50 tokens"],
     "Use -n, for example -n 50 for fifty tokens.", ["-n 50"]),
    (["set the context size", "make the context longer", "use a longer context", "change the context"],
     "Use -c, for example -c 8192", ["-c 8192"]),
    (["set the threads", "use more cores", "use only one thread", "change the number of threads"],
     "Use -t, for example -t 4. With 0 each core gets one.", ["-t 4"]),
    (["set the temperature", "make answers less random", "change the randomness", "get more creative answers"],
     "Use --temp, for example --temp 0.6. With 0 the best token is taken always.", ["--temp 0.6"]),
    (["get the same answer twice", "set the seed", "make the output repeatable", "fix the random seed"],
     "Use -s, for example -s 42, or --temp 0.", ["-s 42"]),
    (["read the prompt from a file", "use a prompt file", "give a long prompt in a file", "pass a file as prompt"],
     "Use -f, for example -f prompt.txt. A - is standard input.", ["-f prompt.txt"]),
    (["stop at a word", "end the answer at a text", "set a stop word", "use a reverse prompt"],
     "Use -r, for example -r \"END\"", ["-r"]),
    (["save memory", "make the cache smaller", "quantize the KV cache", "use less memory for the context"],
     "Use -ctk q8_0 -ctv q8_0, so the cache is half as large.", ["-ctk q8_0"]),
    (["see timings", "see the speed of an answer", "print the memory used", "get more output about the run"],
     "Use -v, or --verbose.", ["--verbose"]),
    (["use a draft model", "speed up with a small model", "use speculative decoding", "add a draft model"],
     "Use -md draft.gguf, a small model of the same vocabulary.", ["-md draft.gguf"]),
    (["keep the model in memory", "lock the pages", "avoid swapping"], "Use --mlock", ["--mlock"]),
    (["read the file without mapping", "turn off the memory map", "load the file into memory"], "Use --no-mmap", ["--no-mmap"]),
    (["see the prompt too", "print the prompt before the answer", "echo the prompt"], "Use --echo", ["--echo"]),
    (["see control tokens", "show special tokens", "print the special tokens"], "Use --special", ["--special"]),
    (["set a flag in the environment", "use environment variables", "set options without flags"],
     "Every flag has a twin: --ctx-size is SMOLQ_CTX_SIZE.", ["SMOLQ_CTX_SIZE"]),
    (["force a kernel level", "use another instruction set", "test the scalar kernels"], "Set SMOLQ_LEVEL, for example SMOLQ_LEVEL=avx2", ["SMOLQ_LEVEL"]),
    (["build smolq", "compile smolq", "install smolq", "build it from source"], "Type: cargo build --release", ["cargo build --release"]),
    (["run the tests", "test smolq", "check that smolq works"], "Type: cargo test --release --workspace", ["cargo test"]),
    (["leave the chat", "quit", "exit", "close the program", "end the chat"], "Press Ctrl-D.", ["Ctrl-D"]),
    (["see all flags", "get help", "list the options", "see the help of a command"], "Type: smolq run --help", ["--help"]),
    (["avoid repetition", "stop it from repeating", "penalize repeated words"], "Use --repeat-penalty, for example --repeat-penalty 1.1", ["--repeat-penalty"]),
    (["use a longer context than the model was trained for", "use YaRN", "scale the positions"], "Use --rope-scaling yarn --rope-scale 2", ["--rope-scaling yarn"]),
]
WANTS = ["How do I {}?", "How can I {}?", "I want to {}.", "Show me how to {}.", "What do I type to {}?", "Can smolq {}?", "Help me {}.", "how to {}",
         "What is the way to {}?", "How does one {}?", "Please tell me how to {}.", "How would I {} with smolq?", "I need to {}."]

QUESTIONS = [
    (["What is smolq?", "Tell me about smolq.", "What does smolq do?", "Explain smolq.", "What is this program?", "What's smolq for?"],
     "smolq is an engine that runs GGUF language models on the CPU, written in Rust.", ["GGUF", "CPU"]),
    (["Which models does smolq run?", "What models work?", "What architectures does smolq know?", "Does smolq run Llama?", "Does smolq run Qwen?"],
     "smolq runs SmolLM3, SmolLM2, Llama, Qwen2 and Qwen3.", ["Qwen3"]),
    (["Which formats does smolq read?", "What quantizations are there?", "Does it read Q4_K_M?", "Which quantizations work?", "Can it read Q8_0?"],
     "It reads GGUF files in F32, F16, BF16, Q8_0, Q2_K to Q6_K, and many others.", ["Q8_0"]),
    (["Does smolq need a GPU?", "Can smolq use my graphics card?", "Is a GPU needed?", "Does it run on the GPU?"],
     "No. smolq uses the CPU only.", ["CPU"]),
    (["What language is smolq written in?", "Is smolq written in Rust?", "Is smolq in C++?"],
     "smolq is written in Rust.", ["Rust"]),
    (["What is a GGUF file?", "What does GGUF mean?", "What is GGUF?", "Explain GGUF."],
     "GGUF is a file format for language models: metadata, vocabulary and weights in one file.", ["file format"]),
    (["What is a token?", "What are tokens?", "Explain tokens."], "A token is a piece of text, a word or a part of one.", ["piece of text"]),
    (["What is quantization?", "Explain quantization.", "What does quantized mean?"],
     "Quantization stores weights in fewer bits, so files are smaller and faster.", ["fewer bits"]),
    (["Is the answer always the same?", "Are results the same on every CPU?", "Is smolq deterministic?", "Do I get the same bits with more threads?"],
     "Yes. smolq gives the same bits on every CPU, for any number of threads.", ["same bits"]),
    (["What licence does smolq have?", "Is smolq free?", "Is smolq open source?", "What license is it?"],
     "smolq has the MIT licence.", ["MIT"]),
    (["What commands are there?", "List the commands.", "Which commands does smolq have?", "What can I type?"],
     "run, logits, tokenize, detokenize, inspect, bench, cpu, synth and completions.", ["inspect, bench"]),
    (["Where does the answer go?", "Where is the output?", "Can I pipe the answer?"],
     "Only the answer goes to stdout, all else to stderr.", ["stdout"]),
    (["Which model should I use?", "What is the best model?", "Which model do you recommend?"],
     "SmolLM3-3B in Q4_K_M is a good choice. It is the model smolq is made for.", ["SmolLM3-3B"]),
    (["How much memory does SmolLM3 need?", "How big is SmolLM3?", "How large is the file of SmolLM3?"],
     "SmolLM3-3B in Q4_K_M is a file of 1.9 GB.", ["1.9 GB"]),
]

# Flags of `smolq run`: all their names, and what they do.
FLAGS = [
    ("-p --prompt", "gives the text to continue"), ("-f --file", "names a file with the prompt"), ("-n --predict", "sets how many tokens to generate"),
    ("-c --ctx-size", "sets the positions of the context"), ("-t --threads", "sets the number of threads"), ("-s --seed", "sets the seed of the draws"),
    ("--temp --temperature", "sets the temperature"), ("--top-k", "keeps the N best tokens"), ("--top-p", "keeps the likeliest tokens up to this probability"),
    ("--min-p", "drops tokens much less likely than the best"), ("-r --reverse-prompt", "ends the answer at a text"), ("-v --verbose", "prints timings and memory"),
    ("-b --batch-size", "sets how many prompt tokens are handed over at once"), ("-ub --ubatch-size", "sets how many prompt tokens go in one pass"),
    ("-ctk --cache-type-k", "sets how keys are stored"), ("-ctv --cache-type-v", "sets how values are stored"), ("-md --draft-model", "names a small model that drafts"),
    ("--draft-ngram", "drafts what followed the last words before"), ("--draft-max", "sets how many drafts go in one pass"),
    ("--repeat-penalty", "lowers the score of tokens already said"), ("--repeat-last-n", "sets how far the penalties look back"),
    ("--presence-penalty", "takes something off tokens already said"), ("--ignore-eos", "goes on past the end of text"), ("--echo", "prints the prompt first"),
    ("-e --escape", "interprets \\n and the like in the prompt"), ("--special", "shows control tokens"), ("--mlock", "keeps the pages in memory"),
    ("--no-mmap", "reads the file instead of mapping it"), ("--rope-scaling", "chooses none, linear or yarn"), ("--strict", "refuses vocabularies whose rules are not known"),
    ("-l --logit-bias", "changes the score of a token"), ("-sys --system-prompt", "sets the system prompt"), ("--think", "turns thinking on or off"),
]
FLAG_ASKS = ["What does {} do?", "What is {} for?", "Explain {}.", "What does the flag {} do?", "{}?", "What is the meaning of {}?", "Tell me about {}."]


@skill(weight=2.5, held_out=60)
def manual(rng, fillers):
    kind = rng.random()
    if kind < 0.55:
        fragments, answer, must = rng.choice(TASKS)
        pairs = [(want, fragment) for want in WANTS for fragment in fragments if fillers.allowed(want, fragment)]
        want, fragment = rng.choice(pairs)
        text, thought = want.format(fragment), f"The user wants to {fragment}."
    elif kind < 0.75:
        asked, answer, must = rng.choice(QUESTIONS)
        from .talk import lead
        question = rng.choice(asked)
        text, thought = lead(rng, fillers, question), "A question about smolq."
    else:
        names, does = rng.choice(FLAGS)
        name = rng.choice(names.split())
        forms = [ask for ask in FLAG_ASKS if fillers.allowed(ask, name)] or FLAG_ASKS[:1]
        text, answer, thought, must = rng.choice(forms).format(name), f"{name} {does}.", f"The user asks for {name}.", [does]
    return Example(user(text), answer, thought, ("contains", must))
