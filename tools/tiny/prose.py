"""Text that is no chat: what the model reads before it learns to talk.

Each function writes one document from a random generator and the seen fillers: easy prose, lines in six languages, sums, code-like text, and
drills of copying and finding again, where nothing but the text before says what comes next.

What a drill draws at random cannot be told from anything, and to learn it would only add noise to the rest. So drills give their parts in turn,
what is given and what follows from it, beginning with the former; only the latter is learnt. All of a plain text is.
"""
import json

import skills
from skills import arithmetic, languages, manual, stories, talk
import words
from words import ANIMALS, COLOURS, GOODS, LANGUAGES


def tale(rng, fillers):
    name, kind = fillers.name(), rng.choice(ANIMALS)
    text = " ".join(stories.plot(rng, name, kind, rng.choice(stories.PLACES), rng.choice(stories.THINGS)))
    return rng.choice((text, text, f"The {kind} {name}\n\n{text}"))


def scene(rng, fillers):
    """Some sentences about one person, place and day."""
    name, friend, city = fillers.name(), fillers.name(), fillers.city()
    goods, colour, animal, n = rng.choice(GOODS), rng.choice(COLOURS), rng.choice(ANIMALS), rng.randint(2, 30)
    lines = [f"{name} lives in {city}.", f"{name} has a {colour} {rng.choice(stories.THINGS)} and {n} {goods}.", f"There is {stories.a(animal)} in the garden.",
             f"{friend} is a friend of {name}.", f"{friend} comes from {fillers.city()} and likes {goods}.", f"In the morning {name} goes to the {rng.choice(stories.PLACES)}.",
             f"It is {rng.choice(('sunny', 'cold', 'warm', 'windy', 'quiet'))} in {city} today.", f'"Hello, {name}," says {friend}. "How are you?"',
             f'"I am fine, thank you," says {name}.', f"The {animal} belongs to {friend}.", f"{name} gives {rng.randint(2, 9)} {goods} to {friend}.",
             f"The {fillers.topic()} of {city} is {rng.randint(2, 99)}.", f"{friend} sends a message to {name}: {fillers.phrase()}."]
    return " ".join(rng.sample(lines, rng.randint(4, 9)))


def tongues(rng, fillers):
    """One sentence in several languages, or a talk in one."""
    if rng.random() < 0.6:
        lines = []
        for _ in range(rng.randint(1, 4)):
            noun, adjective = languages.pick(rng, fillers)
            names = rng.sample(LANGUAGES, rng.randint(2, 6))
            lines.append("\n".join(f"{name}: {languages.upper(languages.sentence(languages.CODES[name], noun, adjective)[2])}." for name in names))
        return "\n\n".join(lines)
    name = rng.choice(LANGUAGES)
    return "\n".join("- {}\n- {}".format(*languages.conversation(rng, fillers, name)) for _ in range(rng.randint(2, 5)))


def knowledge(rng, fillers):
    """Facts, and smolq's commands and flags."""
    lines = [answer for _, answer, _ in rng.sample(talk.FACTS, 3)]
    lines += [f"To {rng.choice(fragments)}: {answer.removeprefix('Type: ')}" for fragments, answer, _ in rng.sample(manual.TASKS, 2)]
    lines += [answer for _, answer, _ in rng.sample(manual.QUESTIONS, 1)]
    lines += [f"{name} {does}." for names, does in rng.sample(manual.FLAGS, 3) for name in names.split()]
    rng.shuffle(lines)
    return "\n".join(lines)


def sums(rng, fillers):
    """Sums and differences, bare or worked out."""
    parts = []
    worked = rng.random() < 0.5
    for _ in range(rng.randint(2, 5) if worked else rng.randint(4, 12)):
        a, b = fillers.pair(*rng.choice(((10, 99), (10, 99), (10, 99), (1, 99), (0, 20))))
        if rng.random() < 0.65:
            sum_, total, steps = f"{a} + {b}", a + b, arithmetic.column_sum(a, b)
        else:
            a, b = max(a, b), min(a, b)
            sum_, total, steps = f"{a} - {b}", a - b, arithmetic.column_difference(a, b)
        parts += [f"{sum_}\n", f"{steps}\n{sum_} = {total}\n"] if worked else [f"{sum_} =", f" {total}\n"]
    return parts


SHEETS = {"addition_other": 2, "subtraction": 2, "multiplication": 4, "word_problem": 2, "counting": 1, "count_words": 3, "comparison": 2}


def sheet(rng, fillers):
    """An exercise sheet: questions of one skill with their answers, bare or worked out. It holds more of them than a chat would."""
    name = rng.choices(list(SHEETS), list(SHEETS.values()))[0]
    worked = rng.random() < 0.5
    parts = []
    for _ in range(rng.randint(2, 4) if worked else rng.randint(3, 9)):
        example = skills.REGISTRY[name].make(rng, fillers)
        parts += [example.messages[-1]["content"] + "\n", f"{example.thought}\n" * worked + f"{example.answer}\n"]
    return parts


def sequence(rng, fillers):
    """Numbers in a row."""
    start, step = rng.randint(0, 90), rng.choice((1, 1, 1, 2, 3, 5, 10, -1, -1))
    start += 90 * (step < 0)
    return ", ".join(str(start + step * i) for i in range(rng.randint(5, 20)))


def anything(rng, fillers):
    return rng.choice((fillers.invented, fillers.name, fillers.topic, fillers.code, fillers.city, fillers.phrase, fillers.subject,
                       lambda: str(rng.randint(0, 999))))()


def copying(rng, fillers):
    """The same again, exactly."""
    items = [anything(rng, fillers) for _ in range(rng.randint(2, 7))]
    sep = rng.choice((" ", ", ", "\n", "; ", " / "))
    row = sep.join(items)
    lead = rng.choice(("", "again: ", "copy: ", '"', "= "))
    parts = [f"{row}\n{lead}", row]
    for _ in range(rng.randint(0, 2)):
        parts += [f"\n{lead}", row]
    return parts


def finding(rng, fillers):
    """Keys and values, then some keys again with their values."""
    rows = {}
    while len(rows) < 5:
        rows[anything(rng, fillers)] = anything(rng, fillers)
    arrow = rng.choice((" = ", ": ", " is ", " -> ", " has "))
    parts = ["".join(f"{key}{arrow}{value}\n" for key, value in rows.items()), ""]
    for key in rng.choices(list(rows), k=rng.randint(4, 9)):
        parts += [rng.choice(("", "", "? ")) + f"{key}{arrow}", f"{rows[key]}\n"]
    return parts


def matching(rng, fillers):
    """Names of several parts, then some of them again, asked for by one part: what choosing a tool is made of."""
    topics = []
    while len(topics) < rng.randint(2, 5):
        topic = fillers.topic()
        if topic not in topics:
            topics.append(topic)
    verbs = "get find set show send search check order read add".split()
    names = {}
    for topic in topics:
        verb = fillers.invented() if rng.random() < 0.5 else rng.choice(verbs)  # an invented one cannot be guessed from what is asked
        names[topic] = rng.choice(("{v}_{t}", "{v}_{t}", "{t}_{v}", "{v}{T}")).format(v=verb, t=topic, T=topic.capitalize())
    keys = {topic: fillers.key(rng.choice((words.PLACE_KEYS, words.THING_KEYS, words.TEXT_KEYS, words.COUNT_KEYS))) for topic in topics}
    parts = ["".join(f'{{"name": "{names[topic]}", "parameters": {{"{keys[topic]}": "string"}}}}\n' for topic in topics), ""]
    for topic in rng.choices(topics, k=rng.randint(2, 6)):
        value = anything(rng, fillers)
        asked = rng.choice((f"{topic} {value}", f"the {topic} of {value}", f"{value}: {topic}"))
        parts += [f"{asked}\n", f'{{"name": "{names[topic]}", "arguments": {{"{keys[topic]}": "{value}"}}}}\n']
    return parts


def objects(rng, fillers):
    """JSON: schemas and calls, with the same values said in words before."""
    keys = []
    while len(keys) < rng.randint(1, 4):
        key = rng.choice((fillers.topic, fillers.invented))()
        if key not in keys:
            keys.append(key)
    values = {key: rng.choice((lambda: rng.randint(0, 99), lambda: anything(rng, fillers)))() for key in keys}
    name = f"{rng.choice(('get', 'set', 'find', 'send', 'search', 'add'))}_{fillers.topic()}"
    schema = json.dumps({"name": name, "parameters": {key: "integer" if isinstance(value, int) else "string" for key, value in values.items()}})
    said = ", ".join(f"{key} {value}" for key, value in values.items())
    call = json.dumps({"name": name, "arguments": values}, ensure_ascii=False)
    return rng.choice(([f"{schema}\n{name}: {said}\n", call], [f"{said}\n", json.dumps(values, ensure_ascii=False)], [f"{call}\n", said]))


def code(rng, fillers):
    """Small functions, shell lines."""
    name, x, y, n = fillers.invented(), fillers.invented(1), fillers.invented(1), rng.randint(2, 99)
    file = fillers.invented()
    return rng.choice((
        f"fn {name}({x}: u32, {y}: u32) -> u32 {{\n    {x} + {y} * {n}\n}}\n\nfn main() {{\n    println!(\"{{}}\", {name}({rng.randint(1, 9)}, {rng.randint(1, 9)}));\n}}",
        f"def {name}({x}, {y}):\n    return {x} + {n} * {y}\n\nprint({name}({rng.randint(1, 9)}, {rng.randint(1, 9)}))",
        f"let {x} = {n};\nlet {y} = {x} + 1;\nassert_eq!({y}, {n + 1});",
        f"for {x} in range({n}):\n    print({x}, \"{fillers.phrase()}\")",
        f"$ smolq run {file}.gguf -p \"{fillers.phrase()}\" -n {n}\n$ smolq inspect {file}.gguf\n$ smolq bench {file}.gguf -t {rng.randint(1, 8)}",
        f"$ smolq tokenize {file}.gguf -p \"{fillers.phrase()}\"\n$ smolq logits {file}.gguf --tokens {name}.json -o {name}.npy",
        f"[{name}]\n{x} = {n}\n{y} = \"{fillers.phrase()}\""))
