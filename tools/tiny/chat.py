"""Examples as text: the chat template, and which part of it the model is to learn."""
import random
from pathlib import Path

import jinja2

import skills
from skills.calls import AGAIN

TEMPLATE = (Path(__file__).parent / "template.jinja").read_text()
_template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)

TURN, END = "<|im_start|>assistant\n", "<|im_end|>"
NO_THOUGHT = "<think>\n\n</think>\n"
ANSWER, CONTEXT, BARE = "answer", "context", "bare"


def render(messages, tools=(), think=True, generate=False):
    return _template.render(messages=messages, tools=list(tools), enable_thinking=think, add_generation_prompt=generate)


def prompt(example):
    """The text after which the model answers."""
    return render(example.messages, example.tools, example.think, generate=True)


def pieces(messages, tools, think):
    """A chat as (text, what it is) pairs: ANSWER for what the assistant says with its end, CONTEXT for the rest.

    A turn of the assistant that went without a thought while the model was to think (its thought was dropped from the history) is BARE: not to
    be learnt, ever.
    """
    head, *turns = render(messages, tools, think).split(TURN)
    result = [(head, CONTEXT)]
    for turn in turns:
        reply, rest = turn.split(END, 1)
        start = TURN
        if not think:
            start, reply = start + NO_THOUGHT, reply.removeprefix(NO_THOUGHT)
        result += [(start, CONTEXT), (reply + END, ANSWER if not think or reply.startswith("<think>") else BARE), (rest, CONTEXT)]
    return result


def conversation(seed, budget, inventing=None, rare=()):
    """A chat of one or several examples for training, of about `budget` characters at most: (messages, tools, think).

    All examples of a chat share the mode; the first brings the system prompt and the tools, of which more may be asked.
    """
    rng = random.Random(f"chat/{seed}")
    weights = {name: skill.weight for name, skill in skills.REGISTRY.items()}
    think, inventing, forgetful = rng.random() < 0.5, inventing or rng.choice((0.2, 0.35, 0.5, 0.75)), rng.random() < 0.2
    messages, tools, box, size = [], [], None, 0
    for i in range(rng.choice((1, 2, 3, 4, 5) if budget < 2000 else (1, 3, 5, 8, 12))):
        among = AGAIN if box and rng.random() < 0.8 else weights
        example = skills.make(rng.choices(list(among), list(among.values()))[0], f"{seed}/{i}", think=think, inventing=inventing, box=box,
                              rare=rare)
        if i > 0 and (example.alone or example.tools and not box):
            continue
        turns = example.messages + [{"role": "assistant", "content": example.reply}]
        if i > 0:
            turns = [turn for turn in turns if turn["role"] != "system"]
        size += sum(len(turn["content"]) for turn in turns) + 90 * len(example.tools) * (i == 0)
        if i > 0 and size > budget:
            break
        if think and forgetful:
            messages = [without_thought(message) for message in messages]
        messages = messages + turns
        if i == 0:
            tools, box = example.tools, example.box
        if example.alone:
            break
    return messages, tools, think


def without_thought(message):
    """As a program keeps it that drops old thoughts."""
    if message["role"] == "assistant" and message["content"].startswith("<think>"):
        return {**message, "content": message["content"].split("</think>\n", 1)[1]}
    return message
