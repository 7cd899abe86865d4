#!/usr/bin/env python3
"""Make tiny random-weight models of every architecture, with their true logits, out of `transformers`.

    python3 tools/make_tiny_models.py tests/data            # all of them
    python3 tools/make_tiny_models.py OUT --only NAME ...   # some
    python3 tools/make_tiny_models.py OUT --search          # look for the seeds anew (see `search_seed`)

Writes NAME.gguf, NAME.json and NAME.logits.npy; tests/data/README.md says what is in them. Each model is made in four steps:

1. Random weights, scaled so that every layer matters to the logits, rounded to the types of the file. What is left in the
   PyTorch model is the file's own numbers, so its f32 logits are the truth for the file and not an approximation of it.
2. A byte-level BPE trained on the few sentences below, so that the file is complete: text in, text out.
3. Logits and a greedy continuation by `transformers`: f32, eager attention, one thread.
4. The GGUF file, written by the small exporter here. Only two things in it need thought. Architectures whose RoPE turns
   adjacent values (llama, smollm3) store the rows of Q and K in another order than transformers, which turns halves
   (`adjacent_pairs`). And the frequency scaling of Llama 3 is a tensor, `rope_freqs.weight`, not metadata.
"""
import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quants
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM,
                          SmolLM3Config, SmolLM3ForCausalLM)

TRAINING_TEXT = """
The river carries the small boat past the mill, and the miller waves to the children on the other bank.
There are 24 apples in the basket; three of them are green, and the others are red or yellow.
When the evening comes, the old lamp in the kitchen throws its warm light over the table and the bread.
They said that nothing would change here, but the road to the station is 130 metres shorter than before.
"""
PROMPT = "The old boat carries 324 green apples to the other station; they're red here."
LONG_PROMPT = PROMPT + " When the lamp throws its light over the water, the miller waves."
N_GREEDY_PROMPT = 8  # tokens of the prompt that the greedy continuation starts from

# The regular expressions behind `tokenizer.ggml.pre`; smaug-bpe and llama-bpe share one.
LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRE_REGEX = {"llama-bpe": LETTERS + r"|\p{N}{1,3}" + REST, "smaug-bpe": LETTERS + r"|\p{N}{1,3}" + REST,
             "qwen2": LETTERS + r"|\p{N}" + REST}
CHATML = ("{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


@dataclasses.dataclass(frozen=True)
class Arch:
    """What the four architectures do not share."""
    config: type
    model: type
    adjacent_rope: bool
    pre: str
    specials: tuple  # (text, is a control token)
    bos: str | None
    eos: str
    add_bos: bool
    rope_theta: float
    norm_eps: float


LLAMA_SPECIALS = tuple((t, True) for t in ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                           "<|eot_id|>"))
SMOLLM_SPECIALS = (("<|begin_of_text|>", True), ("<|end_of_text|>", True), ("<think>", False), ("</think>", False),
                   ("<|im_start|>", True), ("<|im_end|>", True))
QWEN_SPECIALS = (("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True))

ARCHS = {
    "llama": Arch(LlamaConfig, LlamaForCausalLM, True, "llama-bpe", LLAMA_SPECIALS, "<|begin_of_text|>", "<|eot_id|>", True, 500000.0, 1e-5),
    "smollm3": Arch(SmolLM3Config, SmolLM3ForCausalLM, True, "smaug-bpe", SMOLLM_SPECIALS, "<|begin_of_text|>", "<|im_end|>", False, 5000000.0, 1e-6),
    "qwen2": Arch(Qwen2Config, Qwen2ForCausalLM, False, "qwen2", QWEN_SPECIALS, None, "<|im_end|>", False, 1000000.0, 1e-6),
    "qwen3": Arch(Qwen3Config, Qwen3ForCausalLM, False, "qwen2", QWEN_SPECIALS + (("<think>", False), ("</think>", False)), None, "<|im_end|>", False, 1000000.0, 1e-6),
}


@dataclasses.dataclass(frozen=True)
class Tiny:
    """One file. `kind` is the type of the matrices, `embd_kind` that of the embedding (and the output matrix, if untied)."""
    name: str
    arch: str
    seed: int
    n_layer: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_embd: int = 64
    n_ff: int = 128
    n_vocab: int = 320
    n_unused: int = 0  # of n_vocab: rows that no text reaches, as Qwen files have
    tied: bool = True
    kind: str = "F16"
    embd_kind: str = "F16"
    rope: dict = dataclasses.field(default_factory=dict)  # rope parameters of transformers beside rope_theta
    n_ctx: int = 256
    prompt: str = PROMPT
    n_greedy: int = 16
    min_margin: float = 0.15  # of the greedy continuation; more where an engine rounds its input to 8 bits


TINY = [
    Tiny("smollm3-f16", "smollm3", 8, n_layer=5, n_head=4, n_head_kv=2, head_dim=16, n_ff=96),
    Tiny("smollm3-q8_0", "smollm3", 513, n_layer=8, n_head=4, n_head_kv=2, head_dim=16, kind="Q8_0", embd_kind="Q8_0",
         n_greedy=8, min_margin=0.75),
    Tiny("smollm3-q4_0", "smollm3", 831, n_layer=8, n_head=4, n_head_kv=2, head_dim=16, kind="Q4_0", embd_kind="Q8_0",
         n_greedy=8, min_margin=0.75),
    Tiny("smollm3-yarn-f16", "smollm3", 14, n_layer=4, n_head=2, n_head_kv=1, head_dim=32, prompt=LONG_PROMPT,
         rope={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}),
    Tiny("llama-f16", "llama", 18, n_layer=2, n_head=4, n_head_kv=1, head_dim=16, n_ff=192, tied=False),
    Tiny("llama-rope-freqs-f16", "llama", 13, n_layer=2, n_head=2, n_head_kv=1, head_dim=32,
         rope={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}),
    Tiny("llama-linear-f16", "llama", 85, n_layer=2, n_head=4, n_head_kv=2, head_dim=16, rope={"rope_type": "linear", "factor": 4.0}),
    Tiny("qwen2-f16", "qwen2", 68, n_layer=2, n_head=3, n_head_kv=1, head_dim=32, n_embd=96, n_vocab=331, n_unused=8),
    Tiny("qwen3-f16", "qwen3", 16, n_layer=2, n_head=4, n_head_kv=2, head_dim=32, tied=False),
]


# Weights

def rounded(weights, kind):
    """The file's bytes of a matrix of type `kind`, and the f32 numbers that they stand for."""
    kind = GGMLQuantizationType[kind]
    data = quants.quantize(weights.astype(np.float32), kind)
    return data, quants.dequantize(data, kind).astype(np.float32)


def random_weights(tiny, shapes, seed):
    """Random f32 weights by transformers' names: O(1) activations, sharp attention, logits of deviation about 3."""
    rng = np.random.Generator(np.random.PCG64(seed))
    weights = {}
    for name, shape in shapes.items():
        noise = rng.standard_normal(shape)
        leaf = name.split(".")[-2]
        if name.endswith("bias"):
            value = 0.5 * noise
        elif leaf.endswith("norm"):
            value = 1.0 + 0.15 * noise
        elif leaf in ("embed_tokens", "lm_head"):
            value = noise * (3.0 / np.sqrt(tiny.n_embd))
        else:
            gain = {"q_proj": 1.5, "k_proj": 1.5, "v_proj": 1.0, "o_proj": 1.2, "gate_proj": 1.2, "up_proj": 1.2, "down_proj": 1.5}
            value = noise * (gain[leaf] / np.sqrt(shape[1]))
        weights[name] = value.astype(np.float32)
    return weights


def matrix_kind(tiny, name):
    return tiny.embd_kind if "embed_tokens" in name or "lm_head" in name else tiny.kind


def build_model(tiny, seed):
    """The PyTorch model holding the file's own numbers, and the file's bytes of every matrix, by transformers' names."""
    arch = ARCHS[tiny.arch]
    rope = {"rope_type": "default"} | tiny.rope | {"rope_theta": arch.rope_theta}
    options = {} if tiny.arch == "smollm3" else {"head_dim": tiny.head_dim}
    if tiny.arch in ("smollm3", "qwen2"):
        assert tiny.head_dim * tiny.n_head == tiny.n_embd, tiny.name
        options = {}
    config = arch.config(
        vocab_size=tiny.n_vocab, hidden_size=tiny.n_embd, intermediate_size=tiny.n_ff, num_hidden_layers=tiny.n_layer,
        num_attention_heads=tiny.n_head, num_key_value_heads=tiny.n_head_kv, max_position_embeddings=tiny.n_ctx,
        rms_norm_eps=arch.norm_eps, tie_word_embeddings=tiny.tied, rope_parameters=rope, attn_implementation="eager",
        pad_token_id=None, bos_token_id=None, eos_token_id=None, use_cache=False, **options)
    model = arch.model(config).to(torch.float32).eval()
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert ("lm_head.weight" in shapes) != tiny.tied
    weights, data = random_weights(tiny, shapes, seed), {}
    for name, value in weights.items():
        if value.ndim == 2:
            data[name], weights[name] = rounded(value, matrix_kind(tiny, name))
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()}, strict=False)
    return model, weights, data


@torch.no_grad()
def logits(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()


def greedy(model, ids, count, min_margin=0.0):
    """`count` ids continuing `ids`, and by how much each won over the second. Ends early where that is below `min_margin`."""
    ids, chosen, margins = list(ids), [], []
    for _ in range(count):
        last = logits(model, ids)[-1]
        second, best = np.sort(last)[-2:]
        chosen.append(int(last.argmax()))
        margins.append(float(best) - float(second))
        ids.append(chosen[-1])
        if margins[-1] < min_margin:
            break
    return chosen, margins


def search_seed(tiny, prompt):
    """The first seed whose greedy continuation is clear at every step, so that rounding cannot turn it, and no repetition."""
    for seed in range(5000):
        model = build_model(tiny, seed)[0]
        chosen, margins = greedy(model, prompt[:N_GREEDY_PROMPT], tiny.n_greedy, tiny.min_margin)
        if min(margins) >= tiny.min_margin and len(set(chosen)) > tiny.n_greedy // 2:
            return seed
    raise SystemExit(f"{tiny.name}: no seed found")


# Tokenizer

def train_tokenizer(tiny):
    """A byte-level BPE with the arch's special tokens after the ordinary ones."""
    arch = ARCHS[tiny.arch]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRE_REGEX[arch.pre]), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    size = tiny.n_vocab - tiny.n_unused - len(arch.specials)
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator([TRAINING_TEXT], trainer)
    assert tokenizer.get_vocab_size() == size, "the training text is too short"
    tokenizer.add_special_tokens([text for text, _ in arch.specials])
    return tokenizer


def encode(tiny, tokenizer, text):
    arch = ARCHS[tiny.arch]
    ids = tokenizer.encode(text).ids
    return [tokenizer.token_to_id(arch.bos)] + ids if arch.add_bos else ids


# Export

def adjacent_pairs(rows, n_head):
    """Reorders the rows of Q or K: transformers turns row i with row i + head_dim/2, the file's readers 2i with 2i + 1."""
    return rows.reshape(n_head, 2, rows.shape[0] // n_head // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
}


def file_name(name):
    """`model.layers.3.self_attn.q_proj.weight` -> `blk.3.attn_q.weight`."""
    stem, _, leaf = name.rpartition(".")
    if stem.startswith("model.layers."):
        layer, _, stem = stem.removeprefix("model.layers.").partition(".")
        return f"blk.{layer}.{NAMES[stem]}.{leaf}"
    return f"{NAMES[stem]}.{leaf}"


def llama3_rope_freqs(tiny):
    """The divisors of the RoPE frequencies: 1 for short wavelengths, `factor` for long ones, smooth between."""
    rope, half = tiny.rope, tiny.head_dim // 2
    wavelength = 2 * np.pi * ARCHS[tiny.arch].rope_theta ** (np.arange(half) / half)
    turns = rope["original_max_position_embeddings"] / wavelength
    smooth = (turns - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
    smooth = smooth.clip(0.0, 1.0)
    return (1.0 / ((1.0 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def write_tokenizer(writer, tiny, tokenizer):
    arch = ARCHS[tiny.arch]
    control = dict(arch.specials)
    tokens, types = [], []
    for token_id in range(tiny.n_vocab):
        token = tokenizer.id_to_token(token_id)
        if token is None:
            token, kind = f"[PAD{token_id}]", TokenType.UNUSED
        elif token in control:
            kind = TokenType.CONTROL if control[token] else TokenType.USER_DEFINED
        else:
            kind = TokenType.NORMAL
        tokens.append(token)
        types.append(kind)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(arch.pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    if arch.bos:
        writer.add_bos_token_id(tokenizer.token_to_id(arch.bos))
    writer.add_eos_token_id(tokenizer.token_to_id(arch.eos))
    writer.add_add_bos_token(arch.add_bos)
    if "<|im_start|>" in control:
        writer.add_chat_template(CHATML)


def write_gguf(path, tiny, tokenizer, weights, data):
    arch = ARCHS[tiny.arch]
    writer = GGUFWriter(path, tiny.arch)
    writer.add_name(f"tiny {tiny.name}, random weights")
    writer.add_context_length(tiny.n_ctx)
    writer.add_embedding_length(tiny.n_embd)
    writer.add_block_count(tiny.n_layer)
    writer.add_feed_forward_length(tiny.n_ff)
    writer.add_head_count(tiny.n_head)
    writer.add_head_count_kv(tiny.n_head_kv)
    writer.add_layer_norm_rms_eps(arch.norm_eps)
    writer.add_rope_freq_base(arch.rope_theta)
    writer.add_vocab_size(tiny.n_vocab)
    writer.add_file_type({"F16": 1, "Q4_0": 2, "Q8_0": 7}[tiny.kind])
    if tiny.kind != "F16":
        writer.add_quantization_version(2)
    if tiny.arch == "qwen3":
        writer.add_key_length(tiny.head_dim)
        writer.add_value_length(tiny.head_dim)
    else:
        writer.add_rope_dimension_count(tiny.head_dim)
    scaling = tiny.rope.get("rope_type")
    if scaling in ("linear", "yarn"):
        writer.add_string(f"{tiny.arch}.rope.scaling.type", scaling)
        writer.add_rope_scaling_factor(tiny.rope["factor"])
    if scaling == "yarn":
        writer.add_rope_scaling_orig_ctx_len(tiny.rope["original_max_position_embeddings"])
    write_tokenizer(writer, tiny, tokenizer)

    if scaling == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_rope_freqs(tiny))
    for name, value in weights.items():
        kind = matrix_kind(tiny, name) if name in data else "F32"
        value = data.get(name, value)
        if arch.adjacent_rope and ("q_proj" in name or "k_proj" in name):
            value = adjacent_pairs(value, tiny.n_head if "q_proj" in name else tiny.n_head_kv)
        writer.add_tensor(file_name(name), np.ascontiguousarray(value), raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(tiny, out, search):
    tokenizer = train_tokenizer(tiny)
    tokens = encode(tiny, tokenizer, tiny.prompt)
    seed = search_seed(tiny, tokens) if search else tiny.seed
    model, weights, data = build_model(tiny, seed)
    truth = logits(model, tokens)
    chosen, margins = greedy(model, tokens[:N_GREEDY_PROMPT], tiny.n_greedy)
    write_gguf(out / f"{tiny.name}.gguf", tiny, tokenizer, weights, data)
    np.save(out / f"{tiny.name}.logits.npy", truth.astype("<f4"))
    record = {
        "seed": seed, "n_vocab": tiny.n_vocab, "text": tiny.prompt, "tokens": tokens, "n_greedy_prompt": N_GREEDY_PROMPT,
        "greedy": chosen, "greedy_margins": [round(m, 4) for m in margins], "greedy_text": tokenizer.decode(chosen, skip_special_tokens=False),
        "logits_std": round(float(truth.std()), 4),
    }
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    (out / f"{tiny.name}.json").write_text(f"{{\n{lines}\n}}\n")
    size = (out / f"{tiny.name}.gguf").stat().st_size
    print(f"{tiny.name:22} seed {seed:4}  {size:7} bytes  {len(tokens):3} tokens  logits std {truth.std():.2f}  "
          f"smallest greedy margin {min(margins):.3f}, {len(set(chosen))} different", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="make these files only")
    parser.add_argument("--search", action="store_true", help="look for the seeds anew and print them")
    args = parser.parse_args()
    unknown = set(args.only or []) - {tiny.name for tiny in TINY}
    if unknown:
        parser.error(f"no such file: {', '.join(sorted(unknown))}; there are {', '.join(tiny.name for tiny in TINY)}")
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for tiny in TINY:
        if not args.only or tiny.name in args.only:
            make(tiny, args.out, args.search)
    return 0


if __name__ == "__main__":
    sys.exit(main())
