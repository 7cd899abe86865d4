#!/usr/bin/env python3
"""How far logits are from the truth: one JSON line.

    python3 tools/compare_logits.py TRUTH.npy OTHER.npy

Both are f32 [n_tokens, n_vocab]. Figures, computed in f64:

    rms, max   of OTHER - TRUTH over all logits
    kld        KL(softmax(TRUTH) || softmax(OTHER)) in nats, mean over tokens
    top1       share of the tokens whose largest logit is the same one
"""
import argparse
import json
import sys

import numpy as np


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def compare(truth, other):
    if truth.shape != other.shape:
        raise ValueError(f"shapes differ: truth {truth.shape}, other {other.shape}")
    if not (np.isfinite(truth).all() and np.isfinite(other).all()):
        raise ValueError("a logit is not finite")
    truth, other = truth.astype(np.float64), other.astype(np.float64)
    difference = other - truth
    log_p, log_q = log_softmax(truth), log_softmax(other)
    return {
        "rms": float(np.sqrt((difference**2).mean())),
        "max": float(np.abs(difference).max()),
        "kld": float((np.exp(log_p) * (log_p - log_q)).sum(axis=-1).mean()),
        "top1": float((truth.argmax(axis=-1) == other.argmax(axis=-1)).mean()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth")
    parser.add_argument("other")
    args = parser.parse_args()
    try:
        figures = compare(np.load(args.truth), np.load(args.other))
    except (OSError, ValueError) as error:
        print(f"compare_logits: {args.truth}, {args.other}: {error}", file=sys.stderr)
        return 2
    print(json.dumps({key: float(f"{value:.6g}") for key, value in figures.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
