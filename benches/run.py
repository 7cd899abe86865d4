#!/usr/bin/env python3
"""smolq against llama.cpp on this machine: runs the comparison and writes benches/results/DATE-CPU.md.

    cargo build --release --bin smolq
    python3 benches/run.py                                     # everything; hours
    python3 benches/run.py --sections formats --quants Q4_K_M  # a part; its rows replace those of an earlier run of that day
    python3 benches/run.py --dry-run                           # the commands only

Every cell is one call of `smolq bench --versus`, which measures both programs in turn, run by run, on the same file of random
weights, and measures in between what the machine can do at best. Each of smolq's levels meets the peer's level of the same
instructions. Rows are kept in DATE-CPU.json beside the table, so a part can be run again, and what was measured before an
interruption is not lost. Nothing else should run on the machine; a row is marked with ! if something does, and with * if its runs
spread by more than 5 %.

Needs Python 3.9 and, for the first run, npm (see benches/peers/llamacpp.py).
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER = pathlib.Path("benches/peers/llamacpp.py")

sys.path.insert(0, str(ROOT / PEER.parent))
import llamacpp  # noqa: E402: it lies beside this program

QUANTS = "Q4_K_M Q5_K_M Q6_K Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q3_K_M Q2_K IQ4_NL IQ4_XS F16 BF16".split()

# smolq's level, the peer's, and the CPU flags that both need.
PAIRS = [
    ("avx2", "haswell", {"avx2", "fma", "f16c"}),
    ("avxvnni", "alderlake", {"avx_vnni"}),
    ("avx512vnni", "icelake", {"avx512_vnni", "avx512vbmi"}),
    ("avx512vnni", "zen4", {"avx512_vnni", "avx512vbmi", "avx512_bf16"}),
    ("amx", "sapphirerapids", {"amx_int8", "amx_bf16"}),
]


# A cell is marked if other processes use more than this share of a core when it begins.
FOREIGN = 0.1


class Fault(Exception):
    """What went wrong, for the one line that tells it."""


# ------------------------------------------------------------------------------------------------------ the machine


def foreign_cores():
    """Cores that other processes keep busy now."""
    def busy():
        with open("/proc/stat", encoding="ascii") as stat:
            user, nice, system, _idle, _wait, *rest = map(int, stat.readline().split()[1:])
        # Time stolen by other machines counts too, time of guests is in that of users.
        return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")

    seconds, before = 0.5, busy()
    time.sleep(seconds)
    return (busy() - before) / seconds


@dataclasses.dataclass
class Machine:
    """What the results depend on."""

    cpu: str
    cores: int
    flags: set
    memory_gib: float

    @staticmethod
    def here():
        """This machine."""
        fields = {}
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            for line in info:
                name, _, value = line.partition(":")
                fields.setdefault(name.strip(), value.strip())
        model = "family {cpu family} model {model} stepping {stepping}".format_map(fields)
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        cpu = f"{fields.get('model name', platform.machine())} ({model})"
        return Machine(cpu, len(os.sched_getaffinity(0)), set(fields.get("flags", "").split()), pages / 2**30)

    def slug(self):
        """A name for files."""
        return re.sub(r"[^a-z0-9]+", "-", self.cpu.lower()).strip("-")

    def lines(self):
        """Its description."""
        vectors = sorted(flag for flag in self.flags if re.match(r"avx|amx|fma|f16c", flag))
        return [
            f"* CPU: {self.cpu}, {self.cores} cores for this process, {self.memory_gib:.0f} GiB of memory",
            f"* Kernel: {platform.system()} {platform.release()}",
            f"* Instructions: {' '.join(vectors)}",
        ]


# -------------------------------------------------------------------------------------------------------- the cells


@dataclasses.dataclass(frozen=True)
class Cell:
    """One call of smolq bench: a model, tests, and the two levels."""

    section: str
    model: str
    quant: str
    ours: str
    theirs: str
    threads: int
    prompt: int = 0
    gen: int = 0
    depth: int = 0
    cache: str = "f16"

    def command(self, options):
        """The command line."""
        cache = ["-ctk", self.cache, "-ctv", self.cache]
        peer = ["python3", str(PEER), "--level", self.theirs, "-r", "1", *cache]
        if options.libs:
            peer += ["--libs", str(options.libs)]
        ours = [str(options.smolq), "bench", "--synthetic", f"{self.model}:{self.quant}", "--level", self.ours]
        ours += ["-t", self.threads, "-p", self.prompt, "-n", self.gen, "-d", self.depth, "-r", options.repetitions]
        if options.no_cache:
            ours.append("--no-cache")
        return [*map(str, ours), *cache, "-o", "json", "--versus", shlex.join(peer)]

    def key(self):
        """Tells it from other cells."""
        return "/".join(str(value) for value in dataclasses.astuple(self))


def cells(options, pairs):
    """All cells of the sections asked for."""
    threads = options.threads
    big, small = options.model, options.small_model
    best = pairs[-1:] if options.best_pair_only else pairs
    for section in options.sections:
        def cell(model, quant, pair, section=section, **test):
            return Cell(section, model, quant, pair[0], pair[1], **{"threads": threads, **test})

        if section == "formats":
            for quant in options.quants:
                for pair in pairs:
                    yield cell(big, quant, pair, prompt=options.n_prompt)
                    yield cell(big, quant, pair, gen=options.n_gen)
        elif section == "depth":
            for pair in best:
                for cache in ("f16", "q8_0"):
                    yield cell(big, "Q4_K_M", pair, gen=options.n_gen, depth=options.n_depth, cache=cache)
                yield cell(big, "Q4_K_M", pair, prompt=options.n_depth)
        elif section == "threads":
            for pair in best:
                for n in (1, 2, 4):
                    yield cell(big, "Q4_K_M", pair, threads=n, prompt=options.n_prompt)
                    yield cell(big, "Q4_K_M", pair, threads=n, gen=options.n_gen)
        elif section == "small":
            for quant in ("Q8_0", "Q4_K_M"):
                for pair in best:
                    for n in (1, 2):
                        yield cell(small, quant, pair, threads=n, prompt=options.n_prompt)
                        yield cell(small, quant, pair, threads=n, gen=4 * options.n_gen)
        elif section == "busy":
            for pair in best:
                yield cell(big, "Q4_K_M", pair, prompt=options.n_prompt)
                yield cell(big, "Q4_K_M", pair, gen=options.n_gen)


TITLES = {
    "formats": "Formats",
    "depth": "Depth",
    "threads": "Threads",
    "small": "A small model",
    "busy": "Beside one foreign process that keeps a core busy",
}


@contextlib.contextmanager
def foreign(section):
    """The busy process, while a cell of that section runs."""
    if section != "busy":
        yield
        return
    # It ends with this program, however that ends.
    loop = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
    process = subprocess.Popen([sys.executable, "-c", loop])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(cell, options, smolq):
    """Runs a cell; gives its row. `smolq` says which smolq that is."""
    command = cell.command(options)
    result = {"cell": dataclasses.asdict(cell), "command": shlex.join(command), "smolq": smolq, "foreign_cores": foreign_cores()}
    with foreign(cell.section):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        return {**result, "error": " ".join(last)}
    (row,) = json.loads(done.stdout)
    return {**result, "row": row}


# -------------------------------------------------------------------------------------------------------- the table


def test_name(cell):
    """As llama-bench calls it."""
    name = f"pp{cell['prompt']}" if cell["prompt"] else f"tg{cell['gen']}"
    return f"{name} @ d{cell['depth']}" if cell["depth"] else name


def table_row(result):
    """One line of a table."""
    cell = result["cell"]
    head = [f"{cell['ours']} : {cell['theirs']}", cell["quant"], cell["cache"], str(cell["threads"]), test_name(cell)]
    if "error" in result:
        return [*head, f"failed: {result['error']}", *[""] * 6]
    row = result["row"]
    best = row["max_ts"] / row["versus_max_ts"]
    median = row["median_ts"] / row["versus_median_ts"]
    limit = f"{100 * row['of_limit']:.0f} % of {row['bound']}" if row.get("of_limit") else ""
    bandwidth = f"{row['read_bandwidth'] / 1e9:.1f}" if row.get("read_bandwidth") else ""
    mark = ("*" if row.get("noisy") else "") + ("!" if result["foreign_cores"] > FOREIGN else "")
    return [
        *head,
        f"{row['max_ts']:.2f}",
        f"{row['median_ts']:.2f}{mark}",
        f"{row['versus_max_ts']:.2f}",
        f"{row['versus_median_ts']:.2f}",
        f"**{best:.2f}**",
        f"{median:.2f}",
        f"{limit}{', ' if limit and bandwidth else ''}{bandwidth and bandwidth + ' GB/s'}",
    ]


HEAD = ["levels", "quant", "KV", "t", "test", "smolq best", "median", "llama.cpp best", "median", "ratio best", "median", "of the limit, memory"]


def table(rows):
    """A table in Markdown."""
    yield "| " + " | ".join(HEAD) + " |"
    yield "| --- | --- | --- | ---: | --- |" + " ---: |" * (len(HEAD) - 6) + " --- |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def document(results, machine, date):
    """The whole file."""
    yield f"# smolq and llama.cpp, {date}"
    yield ""
    yield from machine.lines()
    for smolq in dict.fromkeys(result["smolq"] for result in results):
        yield f"* smolq: {smolq}, {sum(result['smolq'] == smolq for result in results)} of the rows"
    yield f"* Peer: {llamacpp.RELEASE}, prebuilt: {llamacpp.PACKAGE}@{llamacpp.VERSION}"
    yield ""
    yield "Tokens per second, random weights; smolq's level and the peer's stand in the first column. Both are measured in turn, run by run."
    yield "The ratio is smolq's speed by the peer's: above 1 smolq is faster. The limit is what this machine could do at best: reading weights"
    yield "and cache, or multiplying, whichever takes longer. `*`: the runs spread by"
    yield "more than 5 %. `!`: other processes used the machine."
    for section, title in TITLES.items():
        own = [result for result in results if result["cell"]["section"] == section]
        if not own:
            continue
        yield ""
        yield f"## {title}"
        for model in dict.fromkeys(result["cell"]["model"] for result in own):
            rows = [result for result in own if result["cell"]["model"] == model]
            yield ""
            yield f"{model}:"
            yield ""
            yield from table(map(table_row, rows))
            yield ""
            yield "The first command:"
            yield ""
            yield f"    {rows[0]['command']}"


# -------------------------------------------------------------------------------------------------------- the whole


def arguments():
    """The command line."""
    cores = len(os.sched_getaffinity(0))

    def words(text):
        return text.replace(",", " ").split()

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=words, default=list(TITLES), help=f"of {','.join(TITLES)}")
    parser.add_argument("--quants", type=words, default=QUANTS, help="for the section formats")
    parser.add_argument("--pairs", type=words, help="OURS:THEIRS,...; otherwise those that this CPU can run")
    parser.add_argument("--best-pair-only", action="store_true", help="the last pair only, outside the section formats")
    parser.add_argument("--model", default="smollm3-3b", help="a name that smolq synth knows")
    parser.add_argument("--small-model", default="smollm2-135m")
    parser.add_argument("-p", "--n-prompt", type=int, default=512)
    parser.add_argument("-n", "--n-gen", type=int, default=32)
    parser.add_argument("-d", "--n-depth", type=int, default=4096, help="for the section depth")
    parser.add_argument("-t", "--threads", type=int, default=cores)
    parser.add_argument("-r", "--repetitions", type=int, default=3)
    parser.add_argument("--smolq", type=pathlib.Path, default=pathlib.Path("target/release/smolq"), help="from the root of the project")
    parser.add_argument("--libs", type=pathlib.Path, help="the peer's libraries, instead of fetching them")
    parser.add_argument("--no-cache", action="store_true", help="make each model anew and remove it: saves 40 GB of disk")
    parser.add_argument("--resume", action="store_true", help="leave out what was measured today")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="the table; its rows go beside it, in .json")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")
    options = parser.parse_args()
    unknown = sorted(set(options.sections) - set(TITLES))
    if unknown:
        parser.error(f"no section is called {', '.join(unknown)}; there are {', '.join(TITLES)}")
    return options


def pairs_for(options, machine):
    """Pairs of levels to compare."""
    if options.pairs:
        pairs = [tuple(pair.split(":")) for pair in options.pairs]
        if any(len(pair) != 2 for pair in pairs):
            raise Fault("--pairs takes OURS:THEIRS")
        return pairs
    cpu = subprocess.run([str(ROOT / options.smolq), "cpu"], stdout=subprocess.PIPE, text=True, check=True).stdout
    known = set(cpu.split())
    return [(ours, theirs) for ours, theirs, flags in PAIRS if flags <= machine.flags and ours in known]


def version(smolq):
    """The program's version and the commit of the tree, as far as they can be told."""
    said = subprocess.run([str(ROOT / smolq), "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "describe", "--always"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if commit.returncode != 0:
        return said
    # The tables that this program writes change nothing of what it measures.
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", ":!benches/results"]).returncode != 0
    return f"{said}, commit {commit.stdout.strip()}{', changed' if changed else ''}"


def read(path):
    """The rows of earlier runs, by cell."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(path, text):
    """Writes a file whole or not at all."""
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def run(options):
    """Measures cell by cell, and writes the table anew after each."""
    machine = Machine.here()
    if not os.access(ROOT / options.smolq, os.X_OK):
        raise Fault(f"{options.smolq} is not there: cargo build --release --bin smolq, or name it with --smolq")
    date = datetime.date.today().isoformat()
    path = options.output or ROOT / "benches/results" / f"{date}-{machine.slug()}.md"
    store = path.with_suffix(".json")
    smolq = version(options.smolq)
    results = read(store)
    plan = list(cells(options, pairs_for(options, machine)))
    if options.dry_run:
        for cell in plan:
            print(shlex.join(cell.command(options)))
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    failed = 0
    for i, cell in enumerate(plan):
        if options.resume and "row" in results.get(cell.key(), {}):
            continue
        result = measure(cell, options, smolq)
        results[cell.key()] = result
        failed += "error" in result
        print(f"[{i + 1}/{len(plan)}] {cell.section} {cell.model} " + " ".join(table_row(result)), flush=True)
        write(store, json.dumps(results, indent=1) + "\n")
        write(path, "\n".join(document(list(results.values()), machine, date)) + "\n")
    print(path)
    return 1 if failed else 0


def main():
    try:
        sys.exit(run(arguments()))
    except (Fault, OSError, subprocess.CalledProcessError) as fault:
        sys.exit(f"error: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
