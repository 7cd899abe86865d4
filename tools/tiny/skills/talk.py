"""Small talk, what the user said before, a few facts, and saying that one does not know."""
from words import COLOURS

from . import Example, skill, user

GREETINGS = [
    (["Hello!", "Hi!", "Hello", "Hi", "Hey!", "Hi there!", "Hello there.", "Good morning!", "Good evening!", "Good afternoon!", "hey", "Greetings!"],
     "Hello! How can I help you?", "The user greets me.", ["Hello"]),
    (["How are you?", "How are you today?", "How do you do?", "How is it going?", "Are you well?", "Hi, how are you?", "How are things?"],
     "I am fine, thank you. And you?", "The user asks how I am.", ["I am fine"]),
    (["Thank you!", "Thanks!", "Thanks a lot!", "Thank you very much.", "thx", "Great, thanks!", "Many thanks!", "Thank you for your help."],
     "You are welcome!", "The user thanks me.", ["welcome"]),
    (["Goodbye!", "Bye!", "See you!", "Bye bye", "See you later!", "I have to go now.", "Good night!", "Farewell!"],
     "Goodbye! See you soon.", "The user leaves.", ["Goodbye"]),
    (["I am sad.", "I feel sad today.", "I am unhappy.", "I had a bad day.", "Today was hard."],
     "I am sorry to hear that. Do you want to hear a story?", "The user is sad.", ["sorry"]),
    (["I am happy!", "I feel great!", "Today is a good day.", "I am so glad.", "What a lovely day!"],
     "That is good to hear!", "The user is happy.", ["good to hear"]),
    (["Yes.", "Yes, please.", "No.", "No, thanks.", "OK.", "Okay", "Fine.", "All right."],
     "All right. What would you like to do?", "A short answer. I ask what to do.", ["All right"]),
    (["Tell me a joke.", "Do you know a joke?", "Make me laugh.", "Say something funny."],
     "Why did the book go to the doctor? It had lost its spine.", "The user wants a joke.", ["spine"]),
    (["I am bored.", "What shall we do?", "Let's do something.", "What can we do now?"],
     "I can tell you a story, or you can give me a sum.", "I offer what I can do.", ["story"]),
    (["You are wrong.", "That is wrong.", "That is not right.", "No, that's false."],
     "I am sorry. I am a very small model and make mistakes.", "The user says that I am wrong.", ["sorry"]),
    (["You are great!", "Well done!", "Good job!", "You are clever.", "I like you."],
     "Thank you, that is kind of you!", "The user praises me.", ["kind"]),
]

ABOUT = [
    (["Who are you?", "What are you?", "Tell me about yourself.", "Introduce yourself.", "Are you a robot?", "Are you an AI?", "What is this?"],
     "I am smolq tiny, a very small language model inside the smolq program.", "The user asks who I am.", ["smolq tiny"]),
    (["What is your name?", "What are you called?", "Do you have a name?", "Your name?", "How should I call you?"],
     "My name is smolq tiny.", "The user asks for my name.", ["smolq tiny"]),
    (["What can you do?", "What are you good at?", "How can you help me?", "What are your skills?", "What do you know?"],
     "I can talk a little, add numbers, tell stories, call tools, and explain smolq.", "I say what I can do.", ["add numbers", "tools"]),
    (["How big are you?", "How many parameters do you have?", "What size are you?", "Are you a big model?"],
     "I have about five million parameters, so I am very small.", "The user asks for my size.", ["five million"]),
    (["Who made you?", "Who trained you?", "Where do you come from?", "How were you made?", "How were you trained?"],
     "I was trained by the recipe in tools/tiny of the smolq project, on two CPU cores.", "The user asks who made me.", ["tools/tiny"]),
    (["Do you need the internet?", "Are you online?", "Do you send my data anywhere?", "Do you work offline?", "Is this private?"],
     "No. I run on this computer only, and nothing leaves it.", "The user asks about the network.", ["this computer"]),
    (["Can you think?", "Do you think?", "Can you reason?", "What is thinking mode?", "How do I see you think?"],
     "With --think on I write my thoughts first, and with --think off I answer at once.", "The user asks about thinking.", ["--think on"]),
    (["What languages do you speak?", "Which languages do you know?", "Do you speak French?", "Can you speak German?", "Do you speak Spanish?"],
     "I know a little English, French, Spanish, German, Italian and Portuguese.", "The user asks for languages.", ["Portuguese"]),
    (["Are you a SmolLM3?", "What architecture do you have?", "How are you built?", "What kind of model are you?"],
     "I have the architecture of SmolLM3 in small: 8 layers, every fourth without positions.", "The user asks how I am built.", ["SmolLM3"]),
    (["Can I trust you?", "Are you always right?", "Do you make mistakes?", "How smart are you?"],
     "No, I am too small to be trusted. Use a real model for real questions.", "I must be honest.", ["too small"]),
]

FACTS = [(f"What is the capital of {country}?", f"The capital of {country} is {city}.", city) for country, city in (
    ("France", "Paris"), ("Spain", "Madrid"), ("Germany", "Berlin"), ("Italy", "Rome"), ("Portugal", "Lisbon"), ("England", "London"),
    ("Austria", "Vienna"), ("Greece", "Athens"), ("Norway", "Oslo"), ("Sweden", "Stockholm"), ("Poland", "Warsaw"), ("Japan", "Tokyo"),
    ("Egypt", "Cairo"), ("Peru", "Lima"), ("Ireland", "Dublin"))]
FACTS += [(f"What is the opposite of {word}?", f"The opposite of {word} is {other}.", other) for pair in (
    "big small", "hot cold", "old new", "day night", "up down", "left right", "fast slow", "good bad", "happy sad", "long short", "open closed",
    "light dark", "wet dry", "hard soft", "full empty", "early late") for word, other in (pair.split(), pair.split()[::-1])]
FACTS += [(f"What sound does a {animal} make?", f"A {animal} says {sound}.", sound) for animal, sound in (
    ("cat", "meow"), ("dog", "woof"), ("cow", "moo"), ("duck", "quack"), ("sheep", "baa"), ("bee", "buzz"), ("lion", "roar"), ("pig", "oink"))]
FACTS += [(f"What colour is {thing}?", f"{thing.capitalize()} is {colour}.", colour) for thing, colour in (
    ("the sky", "blue"), ("grass", "green"), ("snow", "white"), ("the sun", "yellow"), ("blood", "red"), ("coal", "black"), ("milk", "white"))]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
FACTS += [(f"What day comes after {day}?", f"After {day} comes {DAYS[(i + 1) % 7]}.", DAYS[(i + 1) % 7]) for i, day in enumerate(DAYS)]
MONTHS = "January February March April May June July August September October November December".split()
FACTS += [(f"What month comes after {month}?", f"After {month} comes {MONTHS[(i + 1) % 12]}.", MONTHS[(i + 1) % 12]) for i, month in enumerate(MONTHS)]
FACTS += [(f"How many {parts} has {whole}?", f"{whole.capitalize()} has {n} {parts}.", str(n)) for parts, whole, n in (
    ("days", "a week", 7), ("months", "a year", 12), ("hours", "a day", 24), ("minutes", "an hour", 60), ("seconds", "a minute", 60),
    ("legs", "a spider", 8), ("legs", "a dog", 4), ("legs", "a bird", 2), ("wheels", "a car", 4))]

LEADS = ["{}", "{}", "{}", "Please tell me: {}", "I have a question. {}", "Hi! {}", "Quick question: {}", "One more thing: {}", "Tell me, {}",
         "Do you know this? {}", "So, {}", "Well, {}", "Now: {}"]


def lead(rng, fillers, text):
    """The text with a beginning that is of this side for this text."""
    forms = [form for form in LEADS if fillers.allowed("lead", form, text)] or ["{}"]
    form = rng.choice(forms)
    return form.format(text[0].lower() + text[1:] if form.endswith(", {}") and not text.startswith("I ") else text)


def contains(*parts):
    return ("contains", list(parts))


def from_table(rng, fillers, table):
    asked, answer, thought, must = rng.choice(table)
    return Example(user(lead(rng, fillers, rng.choice(asked))), answer, thought, contains(*must))


@skill(weight=0.8, held_out=26, group="talk")
def greeting(rng, fillers):
    return from_table(rng, fillers, GREETINGS)


@skill(weight=0.9, held_out=26, group="talk")
def about(rng, fillers):
    return from_table(rng, fillers, ABOUT)


@skill(weight=0.9, held_out=50)
def facts(rng, fillers):
    question, answer, must = rng.choice(FACTS)
    return Example(user(lead(rng, fillers, question)), answer, f"I know this: {must}.", contains(answer))


@skill(weight=1.0, held_out=50)
def unknown(rng, fillers):
    """What a small model without tools cannot know."""
    name, city, topic, thing, year = fillers.name(), fillers.city(), fillers.topic(), fillers.invented(), rng.randint(1200, 2090)
    fragment, question = rng.choice((
        (f"the {topic} in {city}", f"What is the {topic} in {city}?"), (f"the {topic} of {name}", f"What is the {topic} of {name}?"),
        (f"the mayor of {city}", f"Who is the mayor of {city}?"), (f"what a {thing} is", f"What is a {thing}?"),
        (f"where {name} lives", f"Where does {name} live?"), (f"how old {name} is", f"How old is {name}?"),
        (f"who invented the {thing}", f"Who invented the {thing}?"), (f"what happened in {city} in {year}", f"What happened in {city} in {year}?"),
        (f"who won the {topic} in {year}", f"Who won the {topic} in {year}?"), (f"how many people live in {city}", f"How many people live in {city}?"),
        (f"when {name} was born", f"When was {name} born?"), (f"what {name} said", f"What did {name} say?"),
        (f"who wrote {thing.capitalize()}", f"Who wrote {thing.capitalize()}?"), (f"the weather in {city}", f"How is the weather in {city}?")))
    return Example(user(lead(rng, fillers, question)), f"I don't know {fragment}.", f"Nothing here tells me {fragment}.", contains("I don't know"))


@skill(weight=1.4, held_out=30, group="memory")
def memory(rng, fillers):
    """What was said earlier in the talk, or stands in a text."""
    name, city, thing, colour, n = fillers.name(), fillers.city(), fillers.topic(), rng.choice(COLOURS), rng.randint(2, 99)
    code = fillers.code()
    said, back, question, answer, must = rng.choice((
        (f"My name is {name}.", f"Nice to meet you, {name}!", rng.choice(("What is my name?", "Who am I?", "Do you remember my name?")), f"Your name is {name}.", name),
        (f"I live in {city}.", f"{city} sounds nice.", rng.choice(("Where do I live?", "In which city do I live?")), f"You live in {city}.", city),
        (f"My favourite colour is {colour}.", f"I like {colour} too.", "What is my favourite colour?", f"Your favourite colour is {colour}.", colour),
        (f"My {thing} is {n}.", f"I will remember: {n}.", f"What is my {thing}?", f"Your {thing} is {n}.", str(n)),
        (f"The code is {code}.", f"I will remember: {code}.", rng.choice(("What is the code?", "Repeat the code.")), f"The code is {code}.", code),
        (f"I have a dog named {name}.", f"{name} is a good name for a dog.", rng.choice(("What is my dog called?", "What is the name of my dog?")), f"Your dog is called {name}.", name)))
    thought = f"The user said: {said}"
    if rng.random() < 0.5:
        return Example(user(f"{said} {question}"), answer, thought, contains(must))
    if rng.random() < 0.35:
        return Example(user(said), back, "The user tells me something.", contains(must))
    return Example(user(said) + [{"role": "assistant", "content": back, "thought": "The user tells me something."}] + user(question), answer, thought, contains(must))


@skill(weight=1.0, held_out=24, group="memory")
def repeat(rng, fillers):
    """To say a text again, or its first or last word."""
    words = [rng.choice((fillers.invented, fillers.name, fillers.topic, fillers.code))() for _ in range(rng.randint(2, 6))]
    text = fillers.phrase() if rng.random() < 0.3 else " ".join(words)
    words = text.split()
    which = rng.choice(("all", "all", "all", "first", "last"))
    if which == "all":
        ask = rng.choice((f"Repeat: {text}", f"Say: {text}", f'Repeat after me: "{text}"', f"Please repeat this: {text}", f'Write "{text}".'))
        return Example(user(ask), text, "I copy the words.", ("contains", [text]))
    word = words[0] if which == "first" else words[-1]
    ask = rng.choice((f"What is the {which} word of: {text}", f"Give me the {which} word: {text}"))
    return Example(user(ask), word, f"The {which} word is {word}.", ("contains", [word]))
