"""Short stories for children, from a grammar of plots."""
from words import ANIMALS, COLOURS, GOODS

from . import Example, skill, user

PLACES = """forest|river|hill|lake|village|garden|beach|mountain|farm|meadow|old mill|castle|island|valley|harbour|bakery|library|orchard""".split("|")
MOODS = "little brave clever kind shy curious quiet happy young gentle sleepy funny".split()
WEATHER = ["One sunny morning", "One rainy day", "One cold evening", "One warm afternoon", "One windy day", "Early one day", "One quiet night"]
THINGS = "kite boat hat lamp ball drum bell book key basket ribbon map bottle stone flute wagon clock scarf".split()
FRIENDS = ["an old owl", "a friendly duck", "a small mouse", "a tall horse", "a wise turtle", "a busy bee", "a merry bird", "a kind farmer",
           "a young sailor", "a quiet hedgehog", "a strong bear", "a baker", "a grey cat"]
FEELINGS = ["sad", "worried", "afraid", "tired", "cross", "lonely"]
MORALS = ["Good friends help each other.", "It is good to ask for help.", "Kindness always comes back.", "Being brave is easier together.",
          "Sharing makes everybody glad.", "Even small ones can do great things.", "Patience brings the best things."]
ENDINGS = ["They laughed all the way home.", "From that day on they were friends.", "That night everybody slept well.",
           "They ate cake until the stars came out.", "Then they danced under the moon."]


def a(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def plot(rng, name, kind, place, thing):
    """The sentences of a story about `name`, a `kind`, at a `place`, with a `thing`."""
    mood, colour, friend, feeling = rng.choice(MOODS), rng.choice(COLOURS), rng.choice(FRIENDS), rng.choice(FEELINGS)
    short = friend.split(" ", 1)[1]
    start = rng.choice((f"Once upon a time there was {a(mood)} {kind} named {name}.", f"Once there was {a(mood)} {kind}, and its name was {name}.",
                        f"Long ago, {a(mood)} {kind} named {name} lived near the {place}."))
    home = rng.choice((f"{name} lived near the {place} and loved {a(colour)} {thing}.", f"{name} had {a(colour)} {thing} and took it everywhere.",
                       f"Every day {name} played at the {place} with {a(colour)} {thing}."))
    opening = f"{rng.choice(WEATHER)}, {name} went to the {place}."
    trouble, help_ = rng.choice((
        (f"The wind took the {thing} and carried it away.", f"{friend.capitalize()} saw it and brought it back."),
        (f"The {thing} fell into the water.", f"{friend.capitalize()} came by and pulled it out."),
        (f"{name} could not find the {thing}.", f"{friend.capitalize()} helped to look for it, and they found it under a tree."),
        (f"The {thing} broke in two.", f"{friend.capitalize()} had some string, and together they mended it."),
        (f"{name} lost the way home.", f"{friend.capitalize()} knew the way and walked along."),
        (f"A big cloud came, and it grew dark.", f"{friend.capitalize()} brought a light and sat down beside {name}."),
        (f"Nobody wanted to play.", f"{friend.capitalize()} asked to see the {thing}, and they played all day.")))
    feel = rng.choice((f"{name} was {feeling}.", f"{name} sat down and was {feeling}.", f"Poor {name} felt {feeling}."))
    speech = rng.choice((f'"Do not be {feeling}," said the {short}.', f'"I can help you," said the {short}.', f'"What is the matter?" asked the {short}.'))
    thanks = rng.choice((f'"Thank you!" said {name}.', f"{name} was happy again.", f'"You are a true friend," said {name}.'))
    return [start, home, opening, trouble, feel, speech, help_, thanks, rng.choice(ENDINGS), rng.choice(MORALS)]


@skill(weight=1.0, held_out=50)
def story(rng, fillers):
    name, kind, place, thing = fillers.name(), rng.choice(ANIMALS), rng.choice(PLACES), rng.choice(THINGS)
    who, where, what = f"{a(kind)} named {name}", f"at the {place}", f"{a(thing)}"
    ask = rng.choice(("Tell me a story about {}.", "Write a short story about {}.", "Can you tell a story about {}?", "A story about {}, please.",
                      "Please tell me a story about {}.", "I would like a story about {}."))
    form = rng.randrange(5)
    if form == 0:
        subject, must = who, [name, kind]
    elif form == 1:
        subject, must = f"{who} {where}", [name, kind, place]
    elif form == 2:
        subject, must = f"{who} and {what}", [name, kind, thing]
    elif form == 3:
        subject, must = f"{a(kind)}", [kind]
    else:
        subject, must = f"{a(kind)} and {what}", [kind, thing]
    if form > 2:
        name = rng.choice(("Pip", "Bobo", "Tilly", "Momo"))
    sentences = plot(rng, name, kind, place, thing)
    return Example(user(ask.format(subject)), " ".join(sentences), f"The story needs {subject}. First a problem, then a friend, then a good end.",
                   ("story", must))
