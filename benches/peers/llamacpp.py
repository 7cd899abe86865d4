#!/usr/bin/env python3
"""llama.cpp as a peer, in the words of llama-bench and without compiling it.

The npm package @node-llama-cpp/linux-x64 holds llama.cpp's libraries ready built, one for each level of the CPU. This program
fetches it once with `npm pack` into a cache folder, loads the level that is asked for, and prints JSON rows with the fields of
llama-bench:

    python3 benches/peers/llamacpp.py -m MODEL.gguf -p 512 -n 32 -t 2 --level haswell
    smolq bench -m MODEL.gguf --versus 'python3 benches/peers/llamacpp.py --level haswell -r 1'

Started by `smolq bench --versus`, it takes model, threads and test from the environment. Levels are llama.cpp's names:
haswell is AVX2, alderlake AVX-VNNI, icelake and zen4 AVX-512 with VNNI, sapphirerapids AMX. As in llama-bench, only decoding is
timed, tokens are random, and logits are computed for the last token of a prompt and for every generated one.

Needs Linux on x86-64, Python 3.9, and npm for the first run.
"""

import argparse
import ctypes
import datetime
import hashlib
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

PACKAGE = "@node-llama-cpp/linux-x64"
VERSION = "3.22.1"
# What that version holds.
RELEASE = "llama.cpp 0.5.0"
ARCHIVE = f"node-llama-cpp-linux-x64-{VERSION}.tgz"
SHA256 = "0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0"
FOLDER = "package/bins/linux-x64"

# Values of enum ggml_type.
CACHE_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}
# Tokens read, or one generated, before anything is timed: pages and buffers are then in place.
WARMUP = 32


class Fault(Exception):
    """What went wrong, for the one line that tells it."""


# ---------------------------------------------------------------------------------------------------- the libraries


def cache_folder():
    """Where fetched packages are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "smolq" / "peers"


def fetch():
    """The folder of the libraries; fetches the package if it is not there yet."""
    home = cache_folder() / f"llamacpp-{VERSION}"
    if home.is_dir():
        return home / FOLDER
    npm = shutil.which("npm")
    if npm is None:
        raise Fault(f"npm is needed to fetch {PACKAGE}; or name the folder of its libraries with --libs")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", scratch]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Fault(f"npm pack {PACKAGE}@{VERSION} failed: {done.stderr.strip().splitlines()[-1:]}")
        archive = pathlib.Path(scratch) / ARCHIVE
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            raise Fault(f"{ARCHIVE} is not the file this program was written for: its sha256 is {found}")
        whole = pathlib.Path(scratch) / "whole"
        with tarfile.open(archive) as tar:
            wanted = [m for m in tar.getmembers() if m.isfile() and m.name.startswith(FOLDER) and m.name.endswith(".so")]
            tar.extractall(whole, members=wanted)
        # Another process may have been faster; its files are as good.
        try:
            whole.rename(home)
        except OSError:
            if not home.is_dir():
                raise
    return home / FOLDER


class ContextParams(ctypes.Structure):
    """struct llama_context_params of this version. Defaults are checked, so that another version is noticed."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq")),
        *((name, ctypes.c_uint32) for name in ("n_outputs_max", "n_outputs_max_per_seq")),
        *((name, ctypes.c_int32) for name in ("n_threads", "n_threads_batch", "ctx_type", "rope_scaling", "pooling")),
        *((name, ctypes.c_int32) for name in ("attention", "flash_attn")),
        *((name, ctypes.c_float) for name in ("rope_base", "rope_scale", "yarn_ext", "yarn_attn", "yarn_fast", "yarn_slow")),
        ("yarn_ctx", ctypes.c_uint32),
        ("defrag", ctypes.c_float),
        ("eval_callback", ctypes.c_void_p),
        ("eval_data", ctypes.c_void_p),
        ("type_k", ctypes.c_int32),
        ("type_v", ctypes.c_int32),
        ("abort_callback", ctypes.c_void_p),
        ("abort_data", ctypes.c_void_p),
        *((name, ctypes.c_bool) for name in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified")),
        ("samplers", ctypes.c_void_p),
        ("n_samplers", ctypes.c_size_t),
        ("other", ctypes.c_void_p),
    ]


class ModelParams(ctypes.Structure):
    """struct llama_model_params: taken as it is given and handed on, so its size is all that matters."""

    _fields_ = [("bytes", ctypes.c_uint64 * 32)]


class Batch(ctypes.Structure):
    """struct llama_batch, made by llama.cpp itself."""

    _fields_ = [("n_tokens", ctypes.c_int32), ("arrays", ctypes.c_void_p * 6)]


# Name: result, arguments.
HANDLE, I32 = ctypes.c_void_p, ctypes.c_int32
FUNCTIONS = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [ctypes.c_void_p, HANDLE]),
    "llama_model_default_params": (ModelParams, []),
    "llama_context_default_params": (ContextParams, []),
    "llama_model_load_from_file": (HANDLE, [ctypes.c_char_p, ModelParams]),
    "llama_model_free": (None, [HANDLE]),
    "llama_model_desc": (I32, [HANDLE, ctypes.c_char_p, ctypes.c_size_t]),
    "llama_model_size": (ctypes.c_uint64, [HANDLE]),
    "llama_model_n_params": (ctypes.c_uint64, [HANDLE]),
    "llama_model_get_vocab": (HANDLE, [HANDLE]),
    "llama_vocab_n_tokens": (I32, [HANDLE]),
    "llama_init_from_model": (HANDLE, [HANDLE, ContextParams]),
    "llama_free": (None, [HANDLE]),
    "llama_get_memory": (HANDLE, [HANDLE]),
    "llama_memory_clear": (None, [HANDLE, ctypes.c_bool]),
    "llama_batch_get_one": (Batch, [ctypes.POINTER(I32), I32]),
    "llama_decode": (I32, [HANDLE, Batch]),
    "llama_synchronize": (None, [HANDLE]),
}
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Library:
    """llama.cpp with the code of one level. Its functions are attributes, without `llama_`."""

    def __init__(self, folder, level):
        self.folder, self.level, self.log = folder, level, []
        # Nothing of the log is printed; its last lines explain a failure.
        self._note = LOG(lambda _level, text, _data: self.log.append(text.decode(errors="replace").strip()))
        base = self._open("libggml-base.so")
        ggml = self._open("libggml.v*.so")
        llama = self._open("libllama.v*.so")
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(llama, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name.removeprefix("llama_"), function)
        base.ggml_commit.restype = ctypes.c_char_p
        self.commit = base.ggml_commit().decode()
        self.log_set(self._note, None)
        self.backend_init()
        ggml.ggml_backend_load.restype, ggml.ggml_backend_load.argtypes = HANDLE, [ctypes.c_char_p]
        code = folder / f"libggml-cpu-{level}.so"
        if not code.is_file():
            levels = sorted(path.stem.removeprefix("libggml-cpu-") for path in folder.glob("libggml-cpu-*.so"))
            raise Fault(f"there is no level {level}, only {', '.join(levels)}")
        if not ggml.ggml_backend_load(bytes(code)):
            raise Fault(f"this CPU cannot run the level {level}")

    def _open(self, pattern):
        found = sorted(self.folder.glob(pattern))
        if not found:
            raise Fault(f"{self.folder} holds no {pattern}")
        return ctypes.CDLL(str(found[0]), mode=ctypes.RTLD_GLOBAL)

    def fault(self, what):
        """A failure, with the last that llama.cpp said."""
        said = [line for line in self.log if len(line) > 1][-2:]
        return Fault(": ".join([what, *said]))

    def context_params(self):
        """The defaults of a context."""
        params = self.context_default_params()
        expected = {"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "flash_attn": -1, "type_k": 1, "type_v": 1, "offload_kqv": True}
        found = {name: getattr(params, name) for name in expected}
        if found != expected:
            raise Fault(f"this version of llama.cpp lays out its parameters otherwise: {found}")
        return params


# --------------------------------------------------------------------------------------------------------- the bench


class Bench:
    """A model, its context, and runs of both."""

    def __init__(self, library, options):
        self.library, self.options = library, options
        if not os.access(options.model, os.R_OK):
            raise Fault(f"cannot read {options.model}")
        self.model = library.model_load_from_file(os.fsencode(options.model), library.model_default_params())
        if not self.model:
            raise library.fault(f"llama.cpp does not load {options.model}")
        params = library.context_params()
        params.n_ctx = options.n_depth + max(options.n_prompt, options.n_gen, WARMUP)
        params.n_batch, params.n_ubatch = options.batch_size, options.ubatch_size
        params.n_threads = params.n_threads_batch = options.threads
        params.type_k, params.type_v = CACHE_TYPES[options.cache_type_k], CACHE_TYPES[options.cache_type_v]
        self.context = library.init_from_model(self.model, params)
        if not self.context:
            raise library.fault("llama.cpp makes no context")
        self.memory = library.get_memory(self.context)
        n_vocab = library.vocab_n_tokens(library.model_get_vocab(self.model))
        draw = random.Random(1)
        self.tokens = (ctypes.c_int32 * params.n_ctx)(*(draw.randrange(n_vocab) for _ in range(params.n_ctx)))

    def close(self):
        """Gives the memory back."""
        self.library.free(self.context)
        self.library.model_free(self.model)

    def decode(self, first, count, step):
        """Decodes `count` tokens, `step` at a time."""
        library = self.library
        for at in range(first, first + count, step):
            n = min(step, first + count - at)
            one = ctypes.cast(ctypes.byref(self.tokens, 4 * at), ctypes.POINTER(ctypes.c_int32))
            if library.decode(self.context, library.batch_get_one(one, n)) != 0:
                raise library.fault("llama.cpp does not decode")
            library.synchronize(self.context)

    def time(self, count, step):
        """Nanoseconds that `count` tokens take at the depth that is asked for."""
        depth = self.options.n_depth
        self.library.memory_clear(self.memory, True)
        self.decode(0, depth, self.options.batch_size)
        start = time.perf_counter_ns()
        self.decode(depth, count, step)
        return time.perf_counter_ns() - start

    def row(self, n_prompt, n_gen):
        """Runs one test; gives its row."""
        options, library = self.options, self.library
        count, step = (n_prompt, options.batch_size) if n_prompt else (n_gen, 1)
        begin = datetime.datetime.now(datetime.timezone.utc)
        self.library.memory_clear(self.memory, True)
        self.decode(0, min(WARMUP, count) if n_prompt else 1, step)
        times = [self.time(count, step) for _ in range(options.repetitions)]
        rates = [1e9 * count / ns for ns in times]
        spread = statistics.stdev if len(times) > 1 else lambda _: 0.0
        desc = ctypes.create_string_buffer(128)
        library.model_desc(self.model, desc, len(desc))
        return {
            "build_commit": library.commit,
            "build_number": 0,
            "cpu_info": cpu_name(),
            "gpu_info": "",
            "backends": "CPU",
            "model_filename": options.model,
            "model_type": desc.value.decode(),
            "model_size": library.model_size(self.model),
            "model_n_params": library.model_n_params(self.model),
            "n_batch": options.batch_size,
            "n_ubatch": options.ubatch_size,
            "n_threads": options.threads,
            "type_k": options.cache_type_k,
            "type_v": options.cache_type_v,
            "n_prompt": n_prompt,
            "n_gen": n_gen,
            "n_depth": options.n_depth,
            "test_time": begin.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "avg_ns": round(statistics.mean(times)),
            "stddev_ns": round(spread(times)),
            "avg_ts": statistics.mean(rates),
            "stddev_ts": spread(rates),
            "samples_ns": times,
            "samples_ts": rates,
            "level": library.level,
        }


def cpu_name():
    """What the system calls the CPU."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    return names[0] if names else ""


def arguments():
    """The command line; what it leaves out may be in the environment, as `smolq bench --versus` sets it."""
    def number(name, default):
        return int(os.environ.get(name, default))

    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default=os.environ.get("MODEL"), help="a GGUF file [env: MODEL]")
    parser.add_argument("-p", "--n-prompt", type=int, default=number("N_PROMPT", 512), help="tokens read [env: N_PROMPT]")
    parser.add_argument("-n", "--n-gen", type=int, default=number("N_GEN", 128), help="tokens generated [env: N_GEN]")
    parser.add_argument("-d", "--n-depth", type=int, default=number("N_DEPTH", 0), help="tokens held before [env: N_DEPTH]")
    parser.add_argument("-t", "--threads", type=int, default=number("THREADS", cores), help="[env: THREADS]")
    parser.add_argument("-r", "--repetitions", type=int, default=5)
    parser.add_argument("-b", "--batch-size", type=int, default=2048)
    parser.add_argument("-ub", "--ubatch-size", type=int, default=512)
    parser.add_argument("-ctk", "--cache-type-k", choices=CACHE_TYPES, default="f16")
    parser.add_argument("-ctv", "--cache-type-v", choices=CACHE_TYPES, default="f16")
    parser.add_argument("--level", default="haswell", help="whose code to use: haswell, alderlake, icelake, zen4, ...")
    parser.add_argument("--libs", type=pathlib.Path, help="folder of the libraries, instead of fetching them")
    options = parser.parse_args()
    if options.model is None:
        parser.error("-m/--model is needed")
    if min(options.n_prompt, options.n_gen, options.n_depth) < 0 or min(options.threads, options.repetitions) < 1:
        parser.error("counts of tokens are 0 or more, threads and repetitions 1 or more")
    return options


def main():
    options = arguments()
    try:
        library = Library(options.libs or fetch(), options.level)
        bench = Bench(library, options)
        tests = [(options.n_prompt, 0), (0, options.n_gen)]
        rows = [bench.row(*test) for test in tests if test != (0, 0)]
        bench.close()
    except Fault as fault:
        sys.exit(f"error: {fault}")
    json.dump(rows, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
