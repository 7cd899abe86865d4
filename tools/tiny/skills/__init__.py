"""The skills: one module for each group, one registry for all.

A skill is a function of a random generator and [`words.Fillers`] that gives an [`Example`]. With the fillers of the held-out side it
makes the held-out prompts, with the others the training text.
"""
import dataclasses
import importlib
import random

from words import Fillers


@dataclasses.dataclass
class Example:
    """What is asked, and what is to be answered."""
    messages: list  # as a chat API has them; the last is of the user or of a tool
    answer: str
    thought: str  # what stands between <think> and </think> when the model is to think
    check: tuple  # (kind, expected): how an answer is judged, see `evaluate.passes`
    tools: list = dataclasses.field(default_factory=list)  # as schemas
    box: list = None  # the same as `calls.Tool`s, of which more can be asked
    alone: bool = False  # its system prompt would change the answers to other examples
    skill: str = ""
    think: bool = False

    @property
    def reply(self):
        """What the model has to write after the generation prompt."""
        return f"<think>\n{self.thought}\n</think>\n{self.answer}" if self.think else self.answer


@dataclasses.dataclass(frozen=True)
class Skill:
    make: object
    weight: float  # share among the chats
    held_out: int  # prompts in the held-out file
    group: str  # the name under which the held-out file counts it


REGISTRY = {}


def skill(weight, held_out, group=None):
    """Enters a function into the registry, by its name."""
    def enter(make):
        REGISTRY[make.__name__] = Skill(make, weight, held_out, group or make.__name__)
        return make
    return enter


def user(text):
    return [{"role": "user", "content": text}]


def make(name, seed, held_out=False, think=None, inventing=0.35, box=None, rare=()):
    """The example of a skill for a seed (anything that prints), with the tools `box` where it needs some; the rest is for [`Fillers`]."""
    rng = random.Random(f"{name}/{seed}/{held_out}")
    example = REGISTRY[name].make(rng, Fillers(rng, held_out, inventing, box, rare))
    example.skill = name
    example.think = rng.random() < 0.5 if think is None else think
    keep = example.think and rng.random() < 0.5  # old thoughts stay in the history, or were dropped
    example.messages = [plain(message, keep) for message in example.messages]
    if example.messages[-1]["role"] == "user" and rng.random() < 0.2:
        example.messages[-1]["content"] = careless(example.messages[-1]["content"])
    if example.messages[0]["role"] != "system" and rng.random() < 0.12:
        example.messages.insert(0, {"role": "system", "content": rng.choice(NEUTRAL)})
    return example


# System prompts that ask for nothing that the model would not do anyway.
NEUTRAL = ["You are a helpful assistant.", "You are smolq tiny.", "Be helpful.", "You are a small language model.", "Help the user.", "Be kind."]
FIRST_WORDS = "What How Tell Can Who Where Please Which Hello Hi Add Count Find Show Get Is Do Calculate Translate Write Explain Help".split()


def careless(text):
    """As people type in a hurry: no capital, no mark at the end."""
    text = text.rstrip("?.!")
    first, _, rest = text.partition(" ")
    return f"{first.lower()} {rest}" if first in FIRST_WORDS and rest else text


def plain(message, keep):
    """A message without the key `thought`; the thought goes before the content, or is lost."""
    message = dict(message)
    thought = message.pop("thought", None)
    if thought and keep:
        message["content"] = f"<think>\n{thought}\n</think>\n{message['content']}"
    return message


for module in ("arithmetic", "calls", "languages", "manual", "stories", "systems", "talk"):
    importlib.import_module(f"skills.{module}")
