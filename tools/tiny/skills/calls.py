"""Tools: to choose among them, to copy names and arguments from the prompt, to read a result back, to do without."""
import dataclasses
import json

from words import COUNT_KEYS, GOODS, LANGUAGES, PERSON_KEYS, PLACE_KEYS, TEXT_KEYS, THING_KEYS

from . import REGISTRY, Example, skill, user
from .stories import a


@dataclasses.dataclass
class Use:
    """One need for a tool: how it is asked for, called and answered."""
    ask: str  # what the user says, with "please" and the like left out
    arguments: dict
    result: str  # what the tool sends back
    told: str  # what the assistant says of it
    facts: list  # what must be in that
    tool: "Tool" = None

    def call(self):
        body = json.dumps({"name": self.tool.name, "arguments": self.arguments}, ensure_ascii=False)
        return f"<tool_call>\n{body}\n</tool_call>"


@dataclasses.dataclass
class Tool:
    """A tool as it is offered."""
    name: str
    description: str
    keys: dict  # parameter -> type
    about: str  # the topic, which no other tool of the prompt shares
    draw: object  # a new Use, by a function of nothing

    def use(self):
        return dataclasses.replace(self.draw(), tool=self)

    def schema(self, rng):
        """The JSON schema, bare as on SmolLM3's model card or wrapped as chat APIs want it."""
        parameters = {"type": "object", "properties": {key: {"type": kind} for key, kind in self.keys.items()}}
        bare = {"name": self.name, "description": self.description, "parameters": parameters}
        if rng.random() < 0.25:
            parameters["required"] = list(self.keys)
            return {"type": "function", "function": bare}
        return bare


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
    article = a(kind if rng.random() < 0.5 else key)

    def draw():
        what = {"place": fillers.city, "thing": lambda: rng.choice((fillers.code, fillers.invented, fillers.name))(), "person": fillers.name}[kind]()
        link = rng.choice(("in", "for", "of", "at") if kind == "place" else ("of", "for"))
        got = value(rng, fillers)
        ask = rng.choice((f"What is the {topic} {link} {what}?", f"What's the {topic} {link} {what}?", f"Tell me the {topic} {link} {what}.",
                          f"Show me the {topic} {link} {what}.", f"I need the {topic} {link} {what}.", f"Get the {topic} {link} {what}.",
                          f"Do you know the {topic} {link} {what}?", f"How is the {topic} {link} {what}?", f"what is the {topic} {link} {what}",
                          f"What is the {topic} like {link} {what}?", f"Can you tell me the {topic} {link} {what}?", f"{topic} {link} {what}?",
                          f"Find the {topic} {link} {what}."))
        return Use(ask, {key: what}, wrap(rng, topic, got), f"The {topic} {link} {what} is {got}.", [str(got), what])
    return Tool(rng.choice((f"{verb}_{topic}", f"{verb}_{topic}", f"{topic}_{verb}", f"{topic}")),
                rng.choice((f"Get the {topic} of {article}", f"Find the {topic} for {article}", f"The {topic} of {article}", f"Returns the {topic}",
                            f"Use this to get the {topic}", f"Tells the {topic} for {article}")),
                {key: "string"}, topic, draw)


def clock(rng, fillers, topic):
    """No argument at all."""
    def draw():
        got = value(rng, fillers)
        ask = rng.choice((f"What is the {topic} now?", f"What's the current {topic}?", f"Tell me the current {topic}.", f"Show the {topic} now."))
        return Use(ask, {}, wrap(rng, topic, got), f"The current {topic} is {got}.", [str(got)])
    return Tool(rng.choice((f"current_{topic}", f"get_{topic}", f"{topic}_now")), f"Get the current {topic}", {}, topic, draw)


def search(rng, fillers, topic):
    """Some words to search for."""
    key = rng.choice(("query", fillers.key(THING_KEYS), fillers.key(TEXT_KEYS)))

    def draw():
        query = fillers.subject()
        found = f"{fillers.invented(capital=True)} {fillers.invented()}"
        ask = rng.choice((f"Search the {topic} for {query}.", f"Look for {query} in the {topic}.", f"Find {query} in the {topic}.",
                          f"Search for {query} in the {topic}.", f"Can you look up {query} in the {topic}?"))
        return Use(ask, {key: query}, wrap(rng, "result", found), f"I found {found}.", [found])
    return Tool(rng.choice((f"search_{topic}", f"{topic}_search", f"find_in_{topic}")),
                rng.choice((f"Search the {topic}", f"Find something in the {topic}")), {key: "string"}, topic, draw)


def message(rng, fillers, topic):
    """A text for somebody."""
    to, body = two_keys(fillers, PERSON_KEYS, TEXT_KEYS)

    def draw():
        name, text = fillers.name(), fillers.phrase()
        ask = rng.choice((f'Send a {topic} to {name}: {text}', f'Send the {topic} "{text}" to {name}.', f'Write a {topic} to {name} saying "{text}".',
                          f'Please send {name} a {topic}: {text}', f'Send {name} the {topic} "{text}".'))
        return Use(ask, {to: name, body: text}, wrap(rng, "status", "sent"), f"Your {topic} to {name} is sent.", [name, "sent"])
    return Tool(rng.choice((f"send_{topic}", f"write_{topic}", f"{topic}_send")), rng.choice((f"Send {a(topic)} to a person", f"Write {a(topic)}")),
                {to: "string", body: "string"}, topic, draw)


def order(rng, fillers, topic):
    """So many of something."""
    item, count = two_keys(fillers, THING_KEYS, COUNT_KEYS)
    verb = rng.choice(("order", "buy", "book", "reserve", "add"))

    def draw():
        goods, n = (fillers.invented() + "s" if rng.random() < 0.4 else fillers.one(GOODS)), rng.randint(2, 99)
        number = fillers.code()
        ask = rng.choice((f"{verb.capitalize()} {n} {goods} from the {topic}.", f"Please {verb} {n} {goods} with the {topic}.",
                          f"I want to {verb} {n} {goods} from the {topic}.", f"Can you {verb} {n} {goods} from the {topic}?"))
        return Use(ask, {item: goods, count: n}, wrap(rng, "number", number), f"Done: {n} {goods}, number {number}.", [str(n), number])
    return Tool(rng.choice((f"{verb}_{topic}", f"{topic}_{verb}")), rng.choice((f"{verb.capitalize()} goods from the {topic}", f"Use the {topic} to {verb} things")),
                {item: "string", count: "integer"}, topic, draw)


def timer(rng, fillers, topic):
    """A number."""
    key = fillers.key(COUNT_KEYS)

    def draw():
        n = rng.randint(1, 120)
        ask = rng.choice((f"Set the {topic} to {n}.", f"Please set the {topic} to {n}.", f"Change the {topic} to {n}.", f"Put the {topic} at {n}.",
                          f"I want the {topic} set to {n}."))
        return Use(ask, {key: n}, wrap(rng, topic, n), f"The {topic} is set to {n}.", [str(n)])
    return Tool(rng.choice((f"set_{topic}", f"change_{topic}", f"{topic}_set")), rng.choice((f"Set the {topic}", f"Change the {topic} to a value")),
                {key: "integer"}, topic, draw)


def travel(rng, fillers, topic):
    """From here to there."""
    keys = rng.choice((("from", "to"), ("start", "end"), ("origin", "destination"), ("source", "target"), ("departure", "arrival"), ("a", "b")))

    def draw():
        here, there = fillers.city(), fillers.city()
        got = value(rng, fillers)
        ask = rng.choice((f"What is the {topic} from {here} to {there}?", f"Find the {topic} from {here} to {there}.",
                          f"I need the {topic} from {here} to {there}.", f"Show me the {topic} from {here} to {there}."))
        return Use(ask, dict(zip(keys, (here, there))), wrap(rng, topic, got), f"The {topic} from {here} to {there} is {got}.", [str(got)])
    return Tool(rng.choice((f"get_{topic}", f"{topic}_between", f"find_{topic}")),
                rng.choice((f"Find the {topic} between two places", f"The {topic} from one place to another")), dict.fromkeys(keys, "string"), topic, draw)


def translate(rng, fillers, topic):
    """A text and a language."""
    body, key = fillers.key(TEXT_KEYS), rng.choice(("language", "into", "target_language"))

    def draw():
        text, language = fillers.phrase(), rng.choice(LANGUAGES)
        got = f"{fillers.invented(capital=True)} {fillers.invented()} {fillers.invented()}"
        ask = rng.choice((f'Use the {topic} to translate "{text}" into {language}.', f'Translate "{text}" into {language} with the {topic}.'))
        return Use(ask, {body: text, key: language}, wrap(rng, "translation", got), f"In {language}: {got}.", [got])
    return Tool(rng.choice((f"translate_{topic}", f"{topic}_translate")), f"Translate a text with the {topic}",
                {body: "string", key: "string"}, topic, draw)


def two_keys(fillers, *lists):
    """A name for each of two parameters."""
    while True:
        first, second = (fillers.key(names) for names in lists)
        if first != second:
            return first, second


KINDS = [lookup] * 5 + [clock, search, search, message, message, order, timer, travel, travel, translate]


def toolbox(rng, fillers, n):
    """`n` tools about different topics."""
    topics = []
    while len(topics) < n:
        topic = fillers.topic()
        if topic not in topics:
            topics.append(topic)
    tools = [rng.choice(KINDS)(rng, fillers, topic) for topic in topics]
    camel = rng.random() < 0.15
    for tool in tools:
        first, *rest = tool.name.split("_")
        tool.name = first + "".join(word.capitalize() for word in rest) if camel else tool.name
        tool.description += rng.choice(("", "", "", ".", " by name", " as text", " for the user"))
    return tools


def offered(rng, fillers, n=None):
    """The tools of this chat: those that it has, or new ones."""
    return fillers.box or toolbox(rng, fillers, n or rng.choice((1, 2, 2, 3, 3, 4)))


def with_tools(rng, box, *parts):
    """An example that brings its tools."""
    return Example(*parts, tools=[tool.schema(rng) for tool in box], box=box)


def polite(rng, ask):
    return rng.choice(("{}", "{}", "{}", "Hello! {}", "{} Thanks!", "Please help me. {}", "Hi, {}")).format(ask)


def calls_check(*uses):
    return ("calls", [{"name": use.tool.name, "arguments": use.arguments} for use in uses])


def thought_of(tool):
    return f"This is about the {tool.about}. {tool.name} does that."


@skill(weight=9.0, held_out=60)
def tool_call(rng, fillers):
    """One call."""
    box = offered(rng, fillers)
    use = rng.choice(box).use()
    return with_tools(rng, box, user(polite(rng, use.ask)), use.call(), thought_of(use.tool), calls_check(use))


@skill(weight=6.0, held_out=50)
def two_calls(rng, fillers):
    """Two calls of two tools."""
    box = fillers.box or toolbox(rng, fillers, rng.choice((2, 2, 2, 3, 3, 4)))
    if len(box) == 1:
        return tool_call(rng, fillers)
    one, two = (tool.use() for tool in rng.sample(box, 2))
    join = rng.choice(("{} {}", "{} And {}", "{} Also: {}", "{} Then: {}"))
    thought = f"This is about the {one.tool.about} and the {two.tool.about}. {one.tool.name} and {two.tool.name} do that."
    return with_tools(rng, box, user(join.format(one.ask, two.ask)), f"{one.call()}\n{two.call()}", thought, calls_check(one, two))


@skill(weight=4.0, held_out=50)
def tool_missing(rng, fillers):
    """What is asked for is not what the tools do."""
    box = offered(rng, fillers)
    wanted = box[0]
    while any(wanted.about == tool.about for tool in box):
        wanted, = toolbox(rng, fillers, 1)
    return with_tools(rng, box, user(polite(rng, wanted.use().ask)), f"I have no tool for the {wanted.about}.",
                      f"This is about the {wanted.about}. No tool does that.", ("calls", []))


@skill(weight=1.5, held_out=50)
def tool_idle(rng, fillers):
    """Tools are there, and not needed."""
    name = rng.choice(("addition", "subtraction", "counting", "greeting", "about", "manual", "facts", "phrasebook", "word_problem", "story"))
    example = REGISTRY[name].make(rng, fillers)
    example.box = offered(rng, fillers)
    example.tools = [tool.schema(rng) for tool in example.box]
    example.check = ("calls", [])
    return example


@skill(weight=3.0, held_out=52)
def tool_result(rng, fillers):
    """The result of a call is read back."""
    box = offered(rng, fillers)
    use = rng.choice(box).use()
    tool = use.tool
    messages = user(polite(rng, use.ask)) + [
        {"role": "assistant", "content": use.call(), "thought": thought_of(tool)}, {"role": "tool", "content": use.result}]
    told, facts, thought = use.told, use.facts, f"{tool.name} says {use.result}."
    if rng.random() < 0.12:
        reason = rng.choice(("not found", "no connection", "timeout", f"unknown {tool.about}", "access denied"))
        messages[-1]["content"] = json.dumps({"error": reason})
        told, facts, thought = f"That did not work: {reason}.", [reason], f"{tool.name} failed: {reason}."
    return with_tools(rng, box, messages, told, thought, ("contains", facts))


# What may be asked again of the same tools.
AGAIN = {"tool_call": 4, "two_calls": 3, "tool_missing": 2, "tool_result": 1}
