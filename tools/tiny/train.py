#!/usr/bin/env python3
"""Trains the model: one command, which goes on where it was if it is called again.

    python3 tools/tiny/train.py --seed 1 --out DIR

Writes DIR/tokenizer.json, DIR/checkpoint.pt (every few minutes), DIR/log.jsonl and at last DIR/final.pt.
"""
import argparse
import ctypes
import json
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import multiprocessing
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
# What matrices are multiplied in: without instructions for it bfloat16 takes eight times as long as float32.
NARROW = torch.bfloat16 if any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else torch.float32
CORES = 2  # by which times are told
PATIENCE = 600  # seconds that a process waits for another
PROCESSES = multiprocessing.get_context("spawn")
AVERAGED, AVERAGED_SHARE = 6, 0.06  # so many checkpoints are averaged, from so large a last share of the steps


class Muon:
    """Momentum whose steps are made orthogonal: for the matrices inside the layers. Matrices of one shape go together."""

    def __init__(self, parameters):
        self.groups = {}
        for parameter in parameters:
            self.groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self.momentum = {shape: torch.zeros(len(group), *shape).share_memory_() for shape, group in self.groups.items()}

    @torch.no_grad()
    def step(self, lr, gradient, part, parts, beta=0.95):
        """Changes a part of the matrices; `gradient` gives that of a parameter."""
        for shape, group in self.groups.items():
            group, momentum = group[part::parts], self.momentum[shape][part::parts]
            slopes = torch.stack([gradient(parameter) for parameter in group])
            momentum.lerp_(slopes, 1 - beta)
            update = orthogonal(slopes.lerp(momentum, beta)) * max(1, shape[0] / shape[1]) ** 0.5
            for parameter, change in zip(group, update):
                parameter.mul_(1 - lr * WEIGHT_DECAY).sub_(lr * change)


def orthogonal(x):
    """About the nearest orthogonal matrices, by Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = x.shape[1] <= x.shape[2]
    x = (x if wide else x.mT).to(NARROW)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(4):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide else x.mT).float()


class Run:
    """A model in training, its optimizers, and what has been done.

    Several processes share a run: weights, momentum and gradients lie in shared memory. Each takes the gradient of a part of the documents of a
    step, waits for the others, and then changes a part of the weights. So the cores wait for each other twice in a step, not at each operation.
    """

    def __init__(self, seed, total, tokenizer, processes):
        torch.manual_seed(seed)
        self.seed, self.tokenizer = seed, tokenizer
        self.part, self.parts = 0, processes
        self.model = Model(Shape(n_vocab=N_VOCAB)).share_memory()
        self.parameters = list(self.model.parameters())
        self.gradients = [[torch.zeros_like(p).share_memory_() for p in self.parameters] for _ in range(processes)]
        self.losses, self.work = torch.zeros(processes).share_memory_(), torch.zeros(processes, dtype=torch.double).share_memory_()
        self.wait = PROCESSES.Barrier(processes, timeout=PATIENCE).wait
        self.number = {parameter: i for i, parameter in enumerate(self.parameters)}
        matrices = [p for name, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in name]
        self.others = [p for name, p in self.model.named_parameters() if p.ndim == 1 or "embed" in name]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(self.others, lr=ADAM_LR, betas=(0.9, 0.95), weight_decay=0.0)
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

    def gradient(self, parameter):
        """Of all documents of this step, once all processes have theirs."""
        return sum(part[self.number[parameter]] for part in self.gradients)

    def train_step(self):
        start = time.process_time()
        phase, rate = self.phase()
        tokens, positions, targets, groups, in_all = data.batch(self.seed, self.step, phase, BATCH, self.tokenizer, self.part, self.parts)
        learnt = (targets != data.IGNORED).nonzero().flatten()
        with torch.autocast("cpu", torch.bfloat16, enabled=NARROW != torch.float32):
            logits = self.model.logits(self.model(tokens, positions, Documents(groups), learnt))
        loss = F.cross_entropy(logits.float(), targets[learnt], reduction="sum") / in_all
        for shared, own in zip(self.gradients[self.part], torch.autograd.grad(loss, self.parameters)):
            shared.copy_(own)
        self.losses[self.part] = loss.item()
        self.wait()
        self.muon.step(MUON_LR * rate, self.gradient, self.part, self.parts)
        if self.part == 0:
            for group in self.adam.param_groups:
                group["lr"] = ADAM_LR * rate
            for parameter in self.others:
                parameter.grad = self.gradient(parameter)
            self.adam.step()
        loss = self.losses.sum().item()
        self.work[self.part] = time.process_time() - start
        self.wait()
        self.step += 1
        self.seconds += self.work.sum().item() / CORES
        return phase, rate, loss

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
        for shape, momentum in self.muon.momentum.items():
            momentum.copy_(state["muon"][shape])
        self.step, self.seconds, self.average = state["step"], state["seconds"], state["average"]


def save(value, path):
    """Writes a file whole or not at all."""
    torch.save(value, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def get_tokenizer(path, seed):
    if not path.exists():
        vocabulary.train(vocabulary.sample(seed, 12000), N_VOCAB).save(str(path))
    return Tokenizer.from_file(str(path))


def measure(run, examples):
    """The score of a run's model, on all cores: the other processes wait."""
    torch.set_num_threads(CORES)
    score, _ = evaluate.measure(run.model, run.tokenizer, examples)
    torch.set_num_threads(1)
    return score


def finish(run, log):
    """Keeps the average of the last checkpoints if it measures better than the last one."""
    examples = evaluate.held_out("merge", 20)
    weights = {"last": {name: value.clone() for name, value in run.model.state_dict().items()}, "merged": run.merged()}
    scores = {}
    for name, state in weights.items():
        run.model.load_state_dict(state)
        scores[name] = measure(run, examples)
    best = max(weights, key=lambda name: scores[name]["all"][0])
    log({"final": best, **{name: score["all"] for name, score in scores.items()}})
    return weights[best]


def prepare():
    """Settings of a process: one thread, and memory that is freed is kept, since the kernel would clear it anew at each step."""
    torch.set_num_threads(1)
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # names of glibc's malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for name, value in ((mmap_threshold, 2**30), (trim_threshold, 2**31 - 1), (top_pad, 2**28)):
            mallopt(name, value)


def help_out(run, part):
    """What the other processes do."""
    prepare()
    run.part = part
    while run.step < run.steps:
        run.train_step()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=float, default=24e6, help="tokens to read in all")
    parser.add_argument("--processes", type=int, default=CORES, choices=(1, 2), help="that share each step")
    parser.add_argument("--minutes", type=float, help="stop after so many, to go on another time")
    parser.add_argument("--measure-every", type=int, default=2000, help="steps between two measurements of the skills")
    args = parser.parse_args()
    prepare()
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = get_tokenizer(args.out / "tokenizer.json", args.seed)
    run = Run(args.seed, int(args.tokens), tokenizer, args.processes)
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        run.restore(torch.load(checkpoint, weights_only=True))
    helpers = [PROCESSES.Process(target=help_out, args=(run, part), daemon=True) for part in range(1, args.processes)]
    for helper in helpers:
        helper.start()

    def log(entry):
        with open(args.out / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")

    progress = evaluate.held_out("progress", 10)
    begun = saved = time.time()
    losses = []
    while run.step < run.steps:
        phase, rate, loss = run.train_step()
        run.collect()
        losses.append(loss)
        if run.step % LOG_EVERY == 0:
            log({"step": run.step, "of": run.steps, "phase": phase.name, "rate": round(rate, 4), "loss": round(sum(losses) / len(losses), 4),
                 "seconds": round(run.seconds)})  # of all cores
            losses = []
        if run.step % args.measure_every == 0:
            score = measure(run, progress)
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
