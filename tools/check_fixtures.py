#!/usr/bin/env python3
"""smolq's error beside llama.cpp's, on every file of a fixtures folder: a markdown table.

    python3 tools/check_fixtures.py target/release/smolq FIXTURES [--only NAME ...] [-- arguments for `smolq logits`]

FIXTURES/logits/manifest.json maps each NAME to its "tokens" and to "peer_error", llama.cpp's own {rms, max, kld, top1}. The
model is FIXTURES/models/NAME.gguf and the truth FIXTURES/logits/NAME.npy: f32 logits of the weights dequantized to f32. The
figures are those of compare_logits.py; a ratio below 1 means that smolq is nearer the truth. Fails if a run fails, or, with
--limit R, if a ratio of rms or kld is above R.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from compare_logits import compare


def smolq_logits(binary, model, tokens, arguments):
    """[n_tokens, n_vocab] by `smolq logits`."""
    with tempfile.TemporaryDirectory() as folder:
        ids, out = Path(folder) / "tokens.json", Path(folder) / "logits.npy"
        ids.write_text(json.dumps(tokens))
        command = [binary, "logits", model, "--tokens", ids, "-o", out, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
        if not out.exists():
            raise RuntimeError("smolq ended well but wrote no logits")
        return np.load(out)


def ratio(ours, peer):
    return ours / peer if peer else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("fixtures", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--limit", type=float, metavar="R", help="fail where a ratio is above this")
    arguments = []
    if "--" in sys.argv:
        split = sys.argv.index("--")
        sys.argv, arguments = sys.argv[:split], sys.argv[split + 1:]
    args = parser.parse_args()
    binary = args.binary.resolve()

    manifest = json.loads((args.fixtures / "logits" / "manifest.json").read_text())
    failed = sorted(set(args.only or []) - set(manifest))
    for name in failed:
        print(f"{name}: not in the manifest", file=sys.stderr)
    print("| file | smolq rms | peer rms | ratio | smolq kld | peer kld | ratio | smolq top-1 | peer top-1 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, entry in manifest.items():
        if args.only and name not in args.only:
            continue
        try:
            truth = np.load(args.fixtures / "logits" / f"{name}.npy")
            ours = compare(truth, smolq_logits(binary, args.fixtures / "models" / f"{name}.gguf", entry["tokens"], arguments))
        except (OSError, RuntimeError, ValueError) as error:
            print(f"| {name} | {error} |" + " |" * 7, flush=True)
            failed.append(name)
            continue
        peer = entry["peer_error"]
        rms, kld = ratio(ours["rms"], peer["rms"]), ratio(ours["kld"], peer["kld"])
        print(f"| {name} | {ours['rms']:.5f} | {peer['rms']:.5f} | {rms:.3f} | {ours['kld']:.2e} | {peer['kld']:.2e} | {kld:.3f} "
              f"| {ours['top1']:.3f} | {peer['top1']:.3f} |", flush=True)
        if args.limit is not None and not max(rms, kld) <= args.limit:
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
