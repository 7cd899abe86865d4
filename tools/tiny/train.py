#!/usr/bin/env python3
"""Trains the model: one command, which goes on where it was if it is called again.

    python3 tools/tiny/train.py --seed 1 --out DIR

Writes DIR/tokenizer.json, DIR/checkpoint.pt (every few minutes), DIR/log.jsonl and at last DIR/final.pt.
"""
import argparse
import json
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import data
import evaluate
import tokenizer as vocabulary
from model import Documents, Model, Shape

BATCH = 4096  # tokens in a step
N_VOCAB = 2048
MUON_LR, ADAM_LR = 0.02, 0.004
WEIGHT_DECAY = 0.1  # of the matrices, which keeps their norms below 10; none on the embeddings, none on the norms
SAVE_EVERY = 180  # seconds
LOG_EVERY = 50  # steps
AVERAGED, AVERAGED_SHARE = 6, 0.06  # so many checkpoints are averaged, from so large a last share of the steps


class Muon:
    """Momentum whose steps are made orthogonal: for the matrices inside the layers. Matrices of one shape go together."""

    def __init__(self, parameters):
        self.groups = {}
        for parameter in parameters:
            self.groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self.momentum = {shape: torch.zeros(len(group), *shape) for shape, group in self.groups.items()}

    @torch.no_grad()
    def step(self, lr, beta=0.95):
        for shape, group in self.groups.items():
            gradient = torch.stack([parameter.grad for parameter in group])
            momentum = self.momentum[shape].lerp_(gradient, 1 - beta)
            update = orthogonal(gradient.lerp(momentum, beta)) * max(1, shape[0] / shape[1]) ** 0.5
            for parameter, change in zip(group, update):
                parameter.mul_(1 - lr * WEIGHT_DECAY).sub_(lr * change)


def orthogonal(x):
    """About the nearest orthogonal matrices, by Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = x.shape[1] <= x.shape[2]
    x = (x if wide else x.mT).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(4):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide else x.mT).float()


class Run:
    """A model in training, its optimizers, and what has been done."""

    def __init__(self, seed, total, tokenizer):
        torch.manual_seed(seed)
        self.seed, self.tokenizer = seed, tokenizer
        self.model = Model(Shape(n_vocab=N_VOCAB))
        matrices = [p for name, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in name]
        others = [p for name, p in self.model.named_parameters() if p.ndim == 1 or "embed" in name]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(others, lr=ADAM_LR, betas=(0.9, 0.95), weight_decay=0.0)
        self.steps = total // BATCH
        self.step, self.seconds, self.average = 0, 0.0, None

    def phase(self):
        """The phase of this step, and the share of the learning rate."""
        done = self.step / self.steps
        start = 0.0
        for phase in data.PHASES:
            end = start + phase.share
            if done < end or phase is data.PHASES[-1]:
                part = (done - start) / phase.share
                rate = phase.lr[0] + (phase.lr[1] - phase.lr[0]) * part
                if phase.name in ("prose", "tune"):
                    rate *= min(1.0, (done - start) / data.WARMUP + 0.02)
                return phase, rate
            start = end

    def train_step(self):
        phase, rate = self.phase()
        tokens, positions, targets, groups = data.batch(self.seed, self.step, phase, BATCH, self.tokenizer)
        learnt = (targets != data.IGNORED).nonzero().flatten()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.model.logits(self.model(tokens, positions, Documents(groups), learnt))
        loss = F.cross_entropy(logits.float(), targets[learnt])
        loss.backward()
        self.muon.step(MUON_LR * rate)
        for group in self.adam.param_groups:
            group["lr"] = ADAM_LR * rate
        self.adam.step()
        self.model.zero_grad()
        self.step += 1
        self.collect()
        return phase, rate, loss.item()

    def collect(self):
        """Adds this step's weights to the average, where it is one of the last checkpoints."""
        every = max(1, int(self.steps * AVERAGED_SHARE / AVERAGED))
        left = self.steps - self.step
        if left % every == 0 and left // every < AVERAGED:
            weights = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.average = weights if self.average is None else {name: self.average[name] + weights[name] for name in weights}

    def merged(self):
        return {name: value / AVERAGED for name, value in self.average.items()}

    def state(self):
        return {"model": self.model.state_dict(), "adam": self.adam.state_dict(), "muon": self.muon.momentum, "step": self.step,
                "seconds": self.seconds, "average": self.average}

    def restore(self, state):
        self.model.load_state_dict(state["model"])
        self.adam.load_state_dict(state["adam"])
        self.muon.momentum = state["muon"]
        self.step, self.seconds, self.average = state["step"], state["seconds"], state["average"]


def save(value, path):
    """Writes a file whole or not at all."""
    torch.save(value, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def get_tokenizer(path, seed):
    if not path.exists():
        vocabulary.train(vocabulary.sample(seed, 12000), N_VOCAB).save(str(path))
    return Tokenizer.from_file(str(path))


def finish(run, log):
    """Keeps the average of the last checkpoints if it measures better than the last one."""
    examples = evaluate.held_out("merge", 20)
    weights = {"last": run.model.state_dict(), "merged": run.merged()}
    scores = {}
    for name, state in weights.items():
        run.model.load_state_dict({key: value.clone() for key, value in state.items()})
        scores[name], _ = evaluate.measure(run.model, run.tokenizer, examples)
    best = max(weights, key=lambda name: scores[name]["all"][0])
    log({"final": best, **{name: score["all"] for name, score in scores.items()}})
    return weights[best]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=float, default=40e6, help="tokens to read in all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="stop after so many, to go on another time")
    parser.add_argument("--measure-every", type=int, default=2000, help="steps between two measurements of the skills")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = get_tokenizer(args.out / "tokenizer.json", args.seed)
    run = Run(args.seed, int(args.tokens), tokenizer)
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))

    def log(entry):
        with open(args.out / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")

    progress = evaluate.held_out("progress", 10)
    begun = saved = time.time()
    losses = []
    while run.step < run.steps:
        start = time.process_time()
        phase, rate, loss = run.train_step()
        run.seconds += (time.process_time() - start) / 2
        losses.append(loss)
        if run.step % LOG_EVERY == 0:
            log({"step": run.step, "of": run.steps, "phase": phase.name, "rate": round(rate, 4), "loss": round(sum(losses) / len(losses), 4),
                 "seconds": round(run.seconds)})  # of two cores
            losses = []
        if run.step % args.measure_every == 0:
            score, _ = evaluate.measure(run.model, tokenizer, progress)
            log({"step": run.step, "score": {name: round(100 * passed / asked, 1) for name, (passed, asked) in score.items()}})
        if time.time() - saved > SAVE_EVERY:
            save(run.state(), checkpoint)
            saved = time.time()
        if args.minutes and time.time() - begun > 60 * args.minutes:
            save(run.state(), checkpoint)
            return
    save(run.state(), checkpoint)
    save(finish(run, log), args.out / "final.pt")


if __name__ == "__main__":
    main()
