"""Tools: to choose among them, to copy names and arguments from the prompt, to read a result back, to do without."""
import dataclasses
import json

from words import COUNT_KEYS, GOODS, LANGUAGES, PERSON_KEYS, PLACE_KEYS, TEXT_KEYS, THING_KEYS

from . import REGISTRY, Example, skill, user
from .stories import a


@dataclasses.dataclass
class Tool:
    """A tool that the user might need: how it is offered, asked for, called and answered."""
    name: str
    description: str
    keys: dict  # parameter -> type
    ask: str  # what the user says, with "please" and the like left out
    arguments: dict
    about: str  # the topic, which no other tool of the prompt shares
    result: str  # what it sends back
    told: str  # what the assistant says of it
    facts: list  # what must be in that

    def schema(self, rng):
        """The JSON schema, bare as on SmolLM3's model card or wrapped as chat APIs want it."""
        parameters = {"type": "object", "properties": {key: {"type": kind} for key, kind in self.keys.items()}}
        bare = {"name": self.name, "description": self.description, "parameters": parameters}
        if rng.random() < 0.25:
            parameters["required"] = list(self.keys)
            return {"type": "function", "function": bare}
        return bare

    def call(self):
        body = json.dumps({"name": self.name, "arguments": self.arguments}, ensure_ascii=False)
        return f"<tool_call>\n{body}\n</tool_call>"


def value(rng, fillers):
    """Something a tool might answer."""
    n = rng.randint(2, 990)
    return rng.choice((n, n, f"{n} {rng.choice(('points', 'euros', 'metres', 'hours', 'km', 'percent', 'units', 'degrees'))}",
                       f"{rng.randint(1, 9)}.{rng.randint(1, 9)}", fillers.code(), fillers.name(), f"{fillers.invented()} {fillers.invented()}"))


def wrap(rng, key, content):
    """A result as JSON or as plain text."""
    return json.dumps({key: content}, ensure_ascii=False) if rng.random() < 0.7 else str(content)


def lookup(rng, fillers, topic):
    """One value about a place, a person or a thing."""
    kind = rng.choice(("place", "place", "thing", "person"))
    verb = rng.choice(("get", "get", "find", "fetch", "show", "check", "read", "lookup", fillers.invented()))
    key = fillers.key({"place": PLACE_KEYS, "thing": THING_KEYS, "person": PERSON_KEYS}[kind])
    what = {"place": fillers.city, "thing": lambda: rng.choice((fillers.code, fillers.invented, fillers.name))(), "person": fillers.name}[kind]()
    link = rng.choice(("in", "for", "of", "at") if kind == "place" else ("of", "for"))
    got = value(rng, fillers)
    article = a(kind if rng.random() < 0.5 else key)
    ask = rng.choice((f"What is the {topic} {link} {what}?", f"What's the {topic} {link} {what}?", f"Tell me the {topic} {link} {what}.",
                      f"Show me the {topic} {link} {what}.", f"I need the {topic} {link} {what}.", f"Get the {topic} {link} {what}.",
                      f"Do you know the {topic} {link} {what}?", f"How is the {topic} {link} {what}?", f"what is the {topic} {link} {what}",
                      f"What is the {topic} like {link} {what}?", f"Can you tell me the {topic} {link} {what}?", f"{topic} {link} {what}?", f"Find the {topic} {link} {what}."))
    return Tool(rng.choice((f"{verb}_{topic}", f"{verb}_{topic}", f"{topic}_{verb}", f"{topic}")),
                rng.choice((f"Get the {topic} of {article}", f"Find the {topic} for {article}", f"The {topic} of {article}", f"Returns the {topic}",
                            f"Use this to get the {topic}", f"Tells the {topic} for {article}")),
                {key: "string"}, ask, {key: what}, topic, wrap(rng, topic, got), f"The {topic} {link} {what} is {got}.", [str(got), what])


def clock(rng, fillers, topic):
    """No argument at all."""
    got = value(rng, fillers)
    ask = rng.choice((f"What is the {topic} now?", f"What's the current {topic}?", f"Tell me the current {topic}.", f"Show the {topic} now."))
    return Tool(rng.choice((f"current_{topic}", f"get_{topic}", f"{topic}_now")), f"Get the current {topic}", {}, ask, {}, topic,
                wrap(rng, topic, got), f"The current {topic} is {got}.", [str(got)])


def search(rng, fillers, topic):
    """Some words to search for."""
    key = rng.choice(("query", fillers.key(THING_KEYS), fillers.key(TEXT_KEYS)))
    query = fillers.subject()
    found = f"{fillers.invented(capital=True)} {fillers.invented()}"
    ask = rng.choice((f"Search the {topic} for {query}.", f"Look for {query} in the {topic}.", f"Find {query} in the {topic}.",
                      f"Search for {query} in the {topic}.", f"Can you look up {query} in the {topic}?"))
    return Tool(rng.choice((f"search_{topic}", f"{topic}_search", f"find_in_{topic}")),
                rng.choice((f"Search the {topic}", f"Find something in the {topic}")), {key: "string"}, ask, {key: query}, topic,
                wrap(rng, "result", found), f"I found {found}.", [found])


def message(rng, fillers, topic):
    """A text for somebody."""
    to, body = fillers.key(PERSON_KEYS), fillers.key(TEXT_KEYS)
    name, text = fillers.name(), fillers.phrase()
    ask = rng.choice((f'Send a {topic} to {name}: {text}', f'Send the {topic} "{text}" to {name}.', f'Write a {topic} to {name} saying "{text}".',
                      f'Please send {name} a {topic}: {text}', f'Send {name} the {topic} "{text}".'))
    return Tool(rng.choice((f"send_{topic}", f"write_{topic}", f"{topic}_send")), rng.choice((f"Send {a(topic)} to a person", f"Write {a(topic)}")),
                {to: "string", body: "string"}, ask, {to: name, body: text}, topic, wrap(rng, "status", "sent"),
                f"Your {topic} to {name} is sent.", [name, "sent"])


def order(rng, fillers, topic):
    """So many of something."""
    item, count = fillers.key(THING_KEYS), fillers.key(COUNT_KEYS)
    goods, n = (fillers.invented() + "s" if rng.random() < 0.4 else fillers.one(GOODS)), rng.randint(2, 99)
    verb = rng.choice(("order", "buy", "book", "reserve", "add"))
    ask = rng.choice((f"{verb.capitalize()} {n} {goods} from the {topic}.", f"Please {verb} {n} {goods} with the {topic}.",
                      f"I want to {verb} {n} {goods} from the {topic}.", f"Can you {verb} {n} {goods} from the {topic}?"))
    number = fillers.code()
    return Tool(rng.choice((f"{verb}_{topic}", f"{topic}_{verb}")), rng.choice((f"{verb.capitalize()} goods from the {topic}", f"Use the {topic} to {verb} things")),
                {item: "string", count: "integer"}, ask, {item: goods, count: n}, topic, wrap(rng, "number", number),
                f"Done: {n} {goods}, number {number}.", [str(n), number])


def timer(rng, fillers, topic):
    """A number."""
    key = fillers.key(COUNT_KEYS)
    n = rng.randint(1, 120)
    ask = rng.choice((f"Set the {topic} to {n}.", f"Please set the {topic} to {n}.", f"Change the {topic} to {n}.", f"Put the {topic} at {n}.",
                      f"I want the {topic} set to {n}."))
    return Tool(rng.choice((f"set_{topic}", f"change_{topic}", f"{topic}_set")), rng.choice((f"Set the {topic}", f"Change the {topic} to a value")),
                {key: "integer"}, ask, {key: n}, topic, wrap(rng, topic, n), f"The {topic} is set to {n}.", [str(n)])


def travel(rng, fillers, topic):
    """From here to there."""
    keys = rng.choice((("from", "to"), ("start", "end"), ("origin", "destination"), ("source", "target"), ("departure", "arrival"), ("a", "b")))
    here, there = fillers.city(), fillers.city()
    got = value(rng, fillers)
    ask = rng.choice((f"What is the {topic} from {here} to {there}?", f"Find the {topic} from {here} to {there}.",
                      f"I need the {topic} from {here} to {there}.", f"Show me the {topic} from {here} to {there}."))
    return Tool(rng.choice((f"get_{topic}", f"{topic}_between", f"find_{topic}")), rng.choice((f"Find the {topic} between two places", f"The {topic} from one place to another")),
                dict.fromkeys(keys, "string"), ask, dict(zip(keys, (here, there))), topic, wrap(rng, topic, got),
                f"The {topic} from {here} to {there} is {got}.", [str(got)])


def translate(rng, fillers, topic):
    """A text and a language."""
    text, language = fillers.phrase(), rng.choice(LANGUAGES)
    body, key = fillers.key(TEXT_KEYS), rng.choice(("language", "into", "target_language"))
    got = f"{fillers.invented(capital=True)} {fillers.invented()} {fillers.invented()}"
    ask = rng.choice((f'Use the {topic} to translate "{text}" into {language}.', f'Translate "{text}" into {language} with the {topic}.'))
    return Tool(rng.choice((f"translate_{topic}", f"{topic}_translate")), f"Translate a text with the {topic}",
                {body: "string", key: "string"}, ask, {body: text, key: language}, topic, wrap(rng, "translation", got),
                f"In {language}: {got}.", [got])


KINDS = [lookup] * 5 + [clock, search, search, message, message, order, timer, travel, travel, translate]


def toolbox(rng, fillers, n):
    """`n` tools about different topics."""
    topics = []
    while len(topics) < n:
        topic = fillers.topic()
        if topic not in topics:
            topics.append(topic)
    tools = [rng.choice(KINDS)(rng, fillers, topic) for topic in topics]
    camel = rng.random() < 0.12
    for tool in tools:
        first, *rest = tool.name.split("_")
        tool.name = first + "".join(word.capitalize() for word in rest) if camel else tool.name
        tool.description += rng.choice(("", "", "", ".", " by name", " as text", " for the user"))
    return tools


def how_many(rng):
    return rng.choice((1, 2, 2, 3, 3, 4))


def polite(rng, ask):
    return rng.choice(("{}", "{}", "{}", "Hello! {}", "{} Thanks!", "Please help me. {}", "Hi, {}")).format(ask)


def calls_check(*tools):
    return ("calls", [{"name": tool.name, "arguments": tool.arguments} for tool in tools])


def thought_of(tool):
    return f"This is about the {tool.about}. {tool.name} does that."


@skill(weight=9.0, held_out=60)
def tool_call(rng, fillers):
    """One call."""
    box = toolbox(rng, fillers, how_many(rng))
    tool = rng.choice(box)
    return Example(user(polite(rng, tool.ask)), tool.call(), thought_of(tool), calls_check(tool), [t.schema(rng) for t in box])


@skill(weight=5.0, held_out=50)
def two_calls(rng, fillers):
    """Two calls of two tools, or of one."""
    box = toolbox(rng, fillers, max(2, how_many(rng)))
    one, two = rng.sample(box, 2)
    join = rng.choice(("{} {}", "{} And {}", "{} Also: {}", "{} Then: {}"))
    thought = f"This is about the {one.about} and the {two.about}. {one.name} and {two.name} do that."
    return Example(user(join.format(one.ask, two.ask)), f"{one.call()}\n{two.call()}", thought, calls_check(one, two), [t.schema(rng) for t in box])


@skill(weight=3.0, held_out=50)
def tool_missing(rng, fillers):
    """What is asked for is not what the tools do."""
    box = toolbox(rng, fillers, how_many(rng) + 1)
    wanted = box.pop()
    answer = rng.choice((f"I have no tool for the {wanted.about}.",))
    return Example(user(polite(rng, wanted.ask)), answer, f"This is about the {wanted.about}. No tool does that.", ("calls", []),
                   [t.schema(rng) for t in box])


@skill(weight=1.5, held_out=50)
def tool_idle(rng, fillers):
    """Tools are there, and not needed."""
    name = rng.choice(("addition", "subtraction", "counting", "greeting", "about", "manual", "facts", "phrasebook", "word_problem", "story"))
    example = REGISTRY[name].make(rng, fillers)
    example.tools = [t.schema(rng) for t in toolbox(rng, fillers, how_many(rng))]
    example.check = ("calls", [])
    return example


@skill(weight=3.0, held_out=52)
def tool_result(rng, fillers):
    """The result of a call is read back."""
    box = toolbox(rng, fillers, how_many(rng))
    tool = rng.choice(box)
    messages = user(polite(rng, tool.ask)) + [
        {"role": "assistant", "content": tool.call(), "thought": thought_of(tool)}, {"role": "tool", "content": tool.result}]
    told, facts, thought = tool.told, tool.facts, f"{tool.name} says {tool.result}."
    if rng.random() < 0.12:
        reason = rng.choice(("not found", "no connection", "timeout", f"unknown {tool.about}", "access denied"))
        messages[-1]["content"] = json.dumps({"error": reason})
        told, facts, thought = f"That did not work: {reason}.", [reason], f"{tool.name} failed: {reason}."
    return Example(messages, told, thought, ("contains", facts), [t.schema(rng) for t in box])
