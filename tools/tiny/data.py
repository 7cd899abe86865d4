"""What is read in which phase, and the batches of it.

The batch of a step depends on the seed and the step alone, so a run that was interrupted goes on exactly where it was.
"""
import bisect
import collections
import dataclasses
import functools
import itertools
import random

import torch

import chat
import prose
import tokenizer as vocabulary
from words import Fillers

IGNORED = -100  # the target of a token that is not learnt
ATTENTION_COSTS_AS_MUCH = 800  # as all else, where a document has so many tokens


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of the training. `mixture` has shares by documents; `lr` goes from its first to its second value in a straight line."""
    name: str
    share: float  # of all tokens
    longest: int  # tokens of a document
    mixture: dict
    lr: tuple
    answers_only: bool  # of chats, learn the assistant's turns only


EASY = {"tale": 3, "scene": 4, "tongues": 2, "knowledge": 2, "sums": 3, "sequence": 1, "copying": 6, "finding": 5, "matching": 6, "chat": 6}
MIXED = {"tale": 1, "scene": 1, "tongues": 2, "knowledge": 1, "sums": 6, "sheet": 4, "sequence": 1, "copying": 3, "finding": 4, "matching": 8, "objects": 3,
         "code": 2, "chat": 16}
ANNEAL = {"tongues": 1, "knowledge": 1, "sums": 3, "sheet": 3, "copying": 1, "finding": 1, "matching": 4, "objects": 1, "chat": 22}
# The drills go on beside the chats.
TUNE = {"chat": 20, "copying": 1, "finding": 1, "matching": 2, "sums": 2, "sheet": 3}
LAST = {"chat": 1}

# SmolLM3's three phases of pretraining (easy prose; more arithmetic and code; annealing with the rate decaying to zero), then fine-tuning in
# both modes, with longer chats at the end.
PHASES = [
    Phase("prose", 0.06, 256, EASY, (1.0, 1.0), False),
    Phase("mixed", 0.15, 256, MIXED, (1.0, 1.0), False),
    Phase("anneal", 0.10, 512, ANNEAL, (1.0, 0.0), True),
    Phase("tune", 0.56, 512, TUNE, (0.5, 0.1), True),
    Phase("tune-long", 0.13, 1024, LAST, (0.1, 0.0), True),
]
WARMUP = 0.01  # share of all tokens, at the start of the first phase and of the fine-tuning


@functools.lru_cache
def rare_tokens(tokenizer):
    """The third of the tokens of several letters that text has least."""
    counts = collections.Counter(token for text in vocabulary.sample("pieces", 2000) for token in tokenizer.encode(text).tokens)
    tokens = [token for token in tokenizer.get_vocab() if token.isascii() and token.isalpha() and token[1:].islower()]
    return sorted(tokens, key=lambda token: (counts[token], token))[:len(tokens) // 3]


def document(seed, phase, tokenizer):
    """One document: its token ids, and for each whether it is learnt."""
    rng = random.Random(f"document/{seed}")
    kind = rng.choices(list(phase.mixture), list(phase.mixture.values()))[0]
    if kind != "chat":
        parts = getattr(prose, kind)(rng, Fillers(rng, held_out=False, rare=rare_tokens(tokenizer)))
        return told(["", parts] if isinstance(parts, str) else parts, tokenizer)
    ids, learnt = [], []
    wanted = (chat.ANSWER,) if phase.answers_only else (chat.ANSWER, chat.CONTEXT)
    for text, what in chat.pieces(*chat.conversation(seed, 3 * phase.longest, rare=rare_tokens(tokenizer))):
        part = tokenizer.encode(text).ids
        ids += part
        learnt += [what in wanted] * len(part)
    return ids, learnt


def told(parts, tokenizer):
    """A document of parts in turn, what is given and what follows from it: the token ids, and for each whether its last letter is of the latter."""
    whole = tokenizer.encode("".join(parts) + "<|end_of_text|>")
    ends = list(itertools.accumulate(map(len, parts)))[:-1]
    return whole.ids, [bisect.bisect_left(ends, end) % 2 == 1 for _, end in whole.offsets]


def batch(seed, step, phase, tokens, tokenizer, part=0, parts=1):
    """A part of the documents of about so many tokens in all: (tokens, positions, targets), flat, the groups of documents of one length, and how
    many tokens are learnt in all parts.

    A document is filled up to a multiple of 16; what fills it is seen by nothing that is learnt. Each part takes about the same time: the first
    has the shortest documents, the last the longest.
    """
    documents, size, i = [], 0, 0
    while size < tokens:
        ids, learnt = document(f"{seed}/{step}/{i}", phase, tokenizer)
        i += 1
        if len(ids) > phase.longest:
            continue
        length = -len(ids) % 16 + len(ids)
        documents.append((length, ids, learnt))
        size += length
    documents.sort(key=lambda document: document[0])
    costs = [cost(length) for length, _, _ in documents]
    out, targets, positions, groups, in_all = [], [], [], {}, 0
    for i, (length, ids, learnt) in enumerate(documents):
        in_all += sum(learnt[1:])
        middle = sum(costs[:i]) + costs[i] / 2
        if int(parts * middle / sum(costs)) != part:
            continue
        fill = length - len(ids)
        out += ids + [0] * fill
        targets += [token if wanted else IGNORED for token, wanted in zip(ids[1:], learnt[1:])] + [IGNORED] * (fill + 1)
        positions += range(length)
        groups[length] = groups.get(length, 0) + 1
    return torch.tensor(out), torch.tensor(positions), torch.tensor(targets), [(count, length) for length, count in groups.items()], in_all


def cost(length):
    """The time that a document takes, in no unit: the matrices take as long for each token, attention the longer the more tokens there are."""
    return length * (1 + length / ATTENTION_COSTS_AS_MUCH)
