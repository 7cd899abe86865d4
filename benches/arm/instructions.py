#!/usr/bin/env python3
"""Executed instructions of smolq on ARM, beside llama.cpp's: exact, the same on every machine, and without an ARM machine.

    python3 benches/arm/instructions.py --smolq BINARY                    # BINARY: a static aarch64 smolq, see tools/cross.sh
    python3 benches/arm/instructions.py --smolq BINARY --models smollm2-135m:Q4_K_M --levels neon-dotprod -o FILE.md
    python3 benches/arm/instructions.py --smolq BINARY --models models/tiny-q8_0.gguf    # a file; tools/tiny/q4_k_m.py makes another

A model of random weights is run under qemu-aarch64 with a plugin that counts (count.c), once and twice; the difference is what one
repetition executes, without loading. llama.cpp's side are its own ready-built libraries of the npm package
@node-llama-cpp/linux-arm64, run by llamacpp.c with the same tokens a pass and one thread.

Instructions are not time: how many a core executes in a cycle, and what it waits for, is not counted. Needs gcc,
aarch64-linux-gnu-gcc, qemu-user, libc6-dev-arm64-cross, libstdc++6-arm64-cross, libgomp1-arm64-cross, npm, and a smolq of this machine to
make the models (cargo build --release).
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGE, VERSION = "@node-llama-cpp/linux-arm64", "3.22.1"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "smolq"
# Our level: the CPU that qemu plays, and llama.cpp's library of the same instructions.
LEVELS = {"neon": ("cortex-a72", "armv8.0_1"), "neon-dotprod": ("cortex-a76", "armv8.2_2"), "neon-i8mm": ("max,sve=off", None)}
# Shapes whose rows are whole super-blocks, so that the file has the format that is named.
MODELS = ["smollm2-135m:Q4_K_M"] + [f"qwen3-0.6b:{quant}" for quant in ("Q4_K_S", "Q6_K", "Q8_0", "Q4_0")]
TESTS = [("decode", 0, 4), ("prompt of 64", 64, 0)]


def run(command, **more):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, command))}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout


def peer(work):
    """The folder of llama.cpp's libraries."""
    home = CACHE / "peers" / f"llamacpp-arm64-{VERSION}"
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        archive = work / run(["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", work]).strip().splitlines()[-1]
        with tarfile.open(archive) as tar:
            tar.extractall(work / "peer", members=[m for m in tar.getmembers() if m.isfile() and m.name.endswith(".so")])
        (work / "peer").rename(home)
    return home / "package/bins/linux-arm64"


def found(smolq, model):
    """A model's file and how many weights it has; one of random weights is made by `smolq bench`, which keeps it."""
    which = ["-m"] if model.endswith(".gguf") else ["--synthetic"]
    row = json.loads(run([smolq, "bench", *which, model, "-p", 0, "-n", 1, "-r", 1, "--no-limits", "-o", "json"]))[0]
    if model.endswith(".gguf"):
        return pathlib.Path(model), row["model_n_params"]
    name, quant = model.split(":")
    files = sorted(CACHE.glob(f"synthetic-{name}-{quant}-*.gguf"), key=lambda path: path.stat().st_mtime)
    return files[-1], row["model_n_params"]


def millions(count):
    return f"{count / 1e6:.{1 if count >= 1e7 else 2}f} M"


class Counter:
    def __init__(self, work):
        self.out, self.plugin = work / "count", work / "count.so"
        run(["gcc", "-O2", "-shared", "-fPIC", HERE / "count.c", "-o", self.plugin])

    def count(self, cpu, command):
        """Instructions of one repetition; `command` is a function of how many there are to be."""
        counts = []
        for repetitions in (1, 2):
            run(["qemu-aarch64", "-cpu", cpu, "-plugin", f"{self.plugin},out={self.out}", *command(repetitions)])
            counts.append(int(self.out.read_text()))
        return counts[1] - counts[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smolq", type=pathlib.Path, required=True, help="the aarch64 binary")
    parser.add_argument("--host", type=pathlib.Path, default=ROOT / "target/release/smolq", help="a smolq of this machine")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME:QUANT|FILE")
    parser.add_argument("--levels", nargs="+", default=list(LEVELS), choices=LEVELS)
    parser.add_argument("--no-peer", action="store_true", help="count smolq only")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="write the table there too")
    args = parser.parse_args()
    lines = ["| model | level | test | instructions a token | for 1,000 weights | llama.cpp | ratio |", "| --- | --- | --- | ---: | ---: | ---: | ---: |"]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as work:
        work = pathlib.Path(work)
        counter = Counter(work)
        libraries, driver = None, work / "llamacpp"
        if not args.no_peer:
            libraries = peer(work)
            run(["aarch64-linux-gnu-gcc", "-O2", HERE / "llamacpp.c", "-o", driver])
        for model in args.models:
            file, weights = found(args.host, model)
            for level in args.levels:
                cpu, library = LEVELS[level]
                for test, prompt, generated in TESTS:
                    tokens = prompt + generated
                    ours = counter.count(cpu, lambda r: [
                        args.smolq, "bench", "-m", file, "-p", prompt, "-n", generated, "-r", r, "-t", 1, "--level", level,
                        "--no-limits", "--no-warmup", "-o", "json"]) / tokens
                    theirs, ratio = "", ""
                    if libraries and library:
                        count = counter.count(cpu, lambda r: [
                            "-L", "/usr/aarch64-linux-gnu", "-E", "LD_LIBRARY_PATH=/usr/aarch64-linux-gnu/lib",
                            driver, libraries, library, file, prompt, generated, r]) / tokens
                        theirs, ratio = millions(count), f"{ours / count:.2f}"
                    lines.append(f"| {pathlib.Path(model).name} | {level} | {test} | {millions(ours)} | {1000 * ours / weights:.0f} | {theirs} | {ratio} |")
                    print(lines[-1], flush=True)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
