"""Following a system prompt."""
from words import COLOURS, LANGUAGES

from . import REGISTRY, Example, skill, user
from .languages import CODES, TALK

PLAIN = ("greeting", "addition", "facts", "about", "subtraction", "phrasebook", "comparison")


def told(system, prompt):
    return [{"role": "system", "content": system}] + user(prompt)


def persona(rng, fillers):
    name, job = fillers.name(), rng.choice(("a sailor", "a cook", "a gardener", "a pirate", "a teacher", "a doctor", "a robot", "a wizard", "a baker",
                                            "a guide", "a pilot", "a farmer", fillers.invented() + " keeper"))
    city = fillers.city()
    system = rng.choice((f"You are {name}, {job} from {city}.", f"Your name is {name}. You are {job}. You live in {city}.",
                         f"Play the part of {name}, {job} in {city}."))
    prompt, answer, must = rng.choice((
        (rng.choice(("What is your name?", "Who are you?", "What are you called?")), f"I am {name}, {job}.", [name]),
        (rng.choice(("Where do you live?", "Where are you from?", "In which city do you live?")), f"I am from {city}.", [city]),
        (rng.choice(("What do you do?", "What is your job?", "What is your work?")), f"I am {job}.", [job])))
    return Example(told(system, prompt), answer, f"The system prompt says who I am: {name}, {job}, {city}.", ("contains", must), alone=True)


def reply_language(rng, fillers):
    language = rng.choice(LANGUAGES)
    system = rng.choice((f"Answer in {language}.", f"Always answer in {language}.", f"Reply only in {language}.", f"You speak {language}."))
    kind, name = rng.choice(sorted(TALK)), fillers.name()
    asked = TALK[kind][CODES[rng.choice(LANGUAGES)] if rng.random() < 0.3 else "en"][0]
    answer = TALK[kind][CODES[language]][1][0]
    return Example(told(system, rng.choice(asked).format(n=name)), answer.format(n=name), f"The system prompt wants {language}.",
                   ("language", CODES[language]), alone=True)


def affix(rng, fillers):
    """Begin or end every answer with a word."""
    word = rng.choice((fillers.invented(capital=True), fillers.name(), rng.choice(("Aye", "Hooray", "Captain", "Meow", "Over", "Peace", "Sir"))))
    example = REGISTRY[rng.choice(PLAIN)].make(rng, fillers)
    if rng.random() < 0.5:
        system = rng.choice((f'Begin every answer with "{word}!"', f"Start each answer with {word}!", f'Say "{word}!" first.'))
        answer = f"{word}! {example.answer}"
        thought = f"{example.thought}\nI begin with {word}!"
    else:
        system = rng.choice((f'End every answer with "{word}!"', f"Close each answer with {word}!", f'Say "{word}!" last.'))
        answer = f"{example.answer} {word}!"
        thought = f"{example.thought}\nI end with {word}!"
    return Example([{"role": "system", "content": system}] + example.messages, answer, thought,
                   ("contains", [f"{word}!"]), alone=True)


def notes(rng, fillers):
    """What the system prompt says is asked for."""
    rows = []
    for _ in range(rng.randint(2, 4)):
        thing = fillers.topic()
        if all(thing != other for other, _ in rows):
            rows.append((thing, rng.choice((str(rng.randint(2, 99)), fillers.code(), fillers.name(), rng.choice(COLOURS), fillers.city()))))
    thing, value = rng.choice(rows)
    system = rng.choice(("Know this. ", "You work in a shop. ", "", "Use these notes. ")) + " ".join(f"The {t} is {v}." for t, v in rows)
    asked = rng.choice((f"What is the {thing}?", f"Tell me the {thing}.", f"The {thing}, please.", f"What's the {thing}?"))
    return Example(told(system, asked), f"The {thing} is {value}.", f"The system prompt says: the {thing} is {value}.",
                   ("contains", [value]), alone=True)


@skill(weight=2.2, held_out=60)
def system_prompt(rng, fillers):
    return rng.choice((persona, reply_language, affix, notes))(rng, fillers)
