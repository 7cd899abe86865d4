#!/usr/bin/env python3
"""The held-out prompts, how answers are judged, and the accuracy per skill of a model in torch.

    python3 tools/tiny/evaluate.py --export models/tiny-heldout.json     # writes the prompts
    python3 tools/tiny/evaluate.py DIR [--show SKILL]                        # measures the model that train.py left in DIR
"""
import argparse
import collections
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import chat
import skills
from model import Model, Shape
from skills.languages import markers, words

MARKERS = markers()
MAX_NEW = 220  # tokens of an answer


def held_out(seed, count=None):
    """Held-out examples: as many as the registry says of each skill, or `count`."""
    return [skills.make(name, f"{seed}/{i}", held_out=True, think=i % 2 == 0)
            for name, skill in skills.REGISTRY.items() for i in range(count or skill.held_out)]


def entry(example):
    """A held-out prompt as the file has it."""
    kind, expected = example.check
    result = {"skill": skills.REGISTRY[example.skill].group, "think": example.think, "messages": example.messages}
    if example.tools:
        result["tools"] = example.tools
    return {**result, "check": kind, "expected": expected}


def split(reply):
    """The thought and the answer of a reply."""
    if reply.startswith("<think>") and "</think>" in reply:
        thought, answer = reply.removeprefix("<think>").split("</think>", 1)
        return thought.strip(), answer.strip()
    return "", reply.strip()


def tool_calls(answer):
    """The calls in an answer; None where one is not JSON."""
    calls = []
    for part in answer.split("<tool_call>")[1:]:
        try:
            calls.append(json.loads(part.split("</tool_call>")[0]))
        except json.JSONDecodeError:
            return None
    return calls


def passes(kind, expected, answer):
    """Whether an answer is right.

    number    the last number in it is the expected one
    contains  all the expected texts are in it
    story     the same, and it has at least 40 words
    calls     its tool calls are the expected ones, in this order; none where none are expected
    language  no language has more of its words in it than the expected one, and that one has some
    """
    if kind == "number":
        numbers = "".join(c if c.isdigit() else " " for c in answer).split()
        return bool(numbers) and numbers[-1] == expected
    if kind == "contains":
        return all(part in answer for part in expected)
    if kind == "story":
        return len(answer.split()) >= 40 and all(part in answer for part in expected)
    if kind == "calls":
        return tool_calls(answer) == expected
    if kind == "language":
        found = {code: sum(word in known for word in words(answer)) for code, known in MARKERS.items()}
        return found[expected] > 0 and found[expected] == max(found.values())
    raise ValueError(f"no check is named {kind}")


def respects_mode(think, reply):
    return bool(split(reply)[0]) if think else "<think>" not in reply


class Cache:
    """Attention of prompts of different lengths, side by side: they begin with padding, which nothing sees but itself."""

    def __init__(self, pads, longest):
        self.pads, self.longest, self.layers = pads, longest, {}
        slots = torch.arange(longest)
        self.mask = (slots[:, None] >= slots) & ((slots >= pads[:, None])[:, None] | torch.eye(longest, dtype=torch.bool))

    def positions(self):
        """Of the tokens that come now."""
        return (torch.arange(self.longest - self.mask.shape[1], self.longest) - self.pads[:, None]).clamp(min=0).flatten()

    def __call__(self, layer, q, k, v):
        rows = len(self.pads)
        q, k, v = (x.unflatten(0, (rows, -1)).transpose(1, 2) for x in (q, k, v))
        if layer in self.layers:
            k, v = (torch.cat(pair, dim=2) for pair in zip(self.layers[layer], (k, v)))
        self.layers[layer] = k, v
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask[:, None], enable_gqa=True).transpose(1, 2).flatten(0, 1)

    def advance(self, rows):
        """Goes on with one more token for each of these rows."""
        self.longest += 1
        self.pads = self.pads[rows]
        self.mask = (torch.arange(self.longest) >= self.pads[:, None])[:, None]
        if not rows.all():
            self.layers = {layer: (k[rows], v[rows]) for layer, (k, v) in self.layers.items()}


@torch.inference_mode()
def generate(model, tokenizer, prompts, batch=64, max_new=MAX_NEW):
    """Greedy answers to rendered prompts, as text with special tokens, without the end."""
    end = tokenizer.token_to_id(chat.END)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(prompts)]
    replies = [None] * len(prompts)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), batch):
        rows = order[start:start + batch]
        longest = max(len(ids[i]) for i in rows)
        pads = torch.tensor([longest - len(ids[i]) for i in rows])
        tokens = torch.tensor([[end] * (longest - len(ids[i])) + ids[i] for i in rows])
        cache = Cache(pads, longest)
        hidden = model(tokens.flatten(), cache.positions(), cache).unflatten(0, (len(rows), -1))[:, -1]
        written, alive = [[] for _ in rows], torch.arange(len(rows))
        for _ in range(max_new):
            best = model.logits(hidden).argmax(-1)
            going = best != end
            alive, best = alive[going], best[going]
            if len(alive) == 0:
                break
            for row, token in zip(alive.tolist(), best.tolist()):
                written[row].append(token)
            cache.advance(going)
            hidden = model(best, cache.positions(), cache)
        for row, i in enumerate(rows):
            replies[i] = tokenizer.decode(written[row], skip_special_tokens=False)
    return replies


def measure(model, tokenizer, examples):
    """(passed, asked) per skill, with thinking and without, and for the mode; and the failures."""
    model.eval()
    replies = generate(model, tokenizer, [chat.prompt(example) for example in examples])
    model.train()
    score, failures = collections.defaultdict(lambda: [0, 0]), []
    for example, reply in zip(examples, replies):
        right = passes(*example.check, split(reply)[1])
        mode = respects_mode(example.think, reply)
        for key, ok in ((f"{example.skill} {'think' if example.think else 'plain'}", right), ("all", right), ("mode", mode)):
            score[key][0] += ok
            score[key][1] += 1
        if not (right and mode):
            failures.append((example, reply))
    return dict(score), failures


def table(score):
    return "\n".join(f"{name:24} {passed:4}/{asked:<4} {100 * passed / asked:6.1f} %" for name, (passed, asked) in score.items())


def load(folder):
    """The finished model of a run, or the state of its last checkpoint."""
    folder = Path(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = Model(Shape(n_vocab=tokenizer.get_vocab_size()))
    final = folder / "final.pt"
    state = torch.load(final if final.exists() else folder / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state if final.exists() else state["model"])
    return model, tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a folder of train.py")
    parser.add_argument("--export", metavar="FILE", help="write the held-out prompts")
    parser.add_argument("--seed", default="held-out", help="of the prompts")
    parser.add_argument("--count", type=int, help="prompts of each skill")
    parser.add_argument("--show", metavar="SKILL", help="print its failures; 'all' prints those of all")
    args = parser.parse_args()
    examples = held_out(args.seed, args.count)
    if args.export:
        lines = ",\n".join(json.dumps(entry(example), ensure_ascii=False, separators=(",", ":")) for example in examples)
        markers_line = json.dumps(MARKERS, ensure_ascii=False, separators=(",", ":"))
        Path(args.export).write_text(f'{{"markers":{markers_line},\n"prompts":[\n{lines}\n]}}\n')
    if args.run:
        torch.set_num_threads(2)
        score, failures = measure(*load(args.run), examples)
        print(table(score))
        for example, reply in failures:
            if args.show in ("all", example.skill):
                print(f"--- {example.skill}: {example.check}\n{chat.prompt(example)}{reply}")


if __name__ == "__main__":
    sys.exit(main())
