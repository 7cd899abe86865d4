#!/usr/bin/env bash
# The ARM levels on a machine without ARM: kernels, whole models and the command line under qemu-aarch64, playing a CPU that has just
# what a level needs, so that an instruction too many ends the test.
#
#   tools/emulated.sh           needs target/release/smolq of this machine, as `cargo test --release` builds it, and what tools/cross.sh installs
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=aarch64-unknown-linux-musl
# The CPU that qemu plays, and the level that it has no more than. sve=off: one without the longer vectors, which smolq has no use for.
CPUS=("cortex-a72 neon" "cortex-a76 neon-dotprod" "max neon-i8mm" "max,sve=off neon-i8mm")
native=target/release/smolq
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

say() { printf '==> %s, after %ss\n' "$*" "$SECONDS"; }

say "building for $TARGET"
# The program and the kernels' tests by one command: by two, features of dependencies would differ, and the kernels, which take longest, would
# be compiled twice. Without the client of MCP servers, which none of these tests asks for; some ask the built-in model.
parts=(-p smolq -p smolq-kernels --bin smolq)
for test in kernels/tests/*.rs; do parts+=(--test "$(basename "$test" .rs)"); done
cross() { tools/cross.sh cargo "$TARGET" "$@" --profile emulated --message-format json >>"$work/built.json"; }
cross build "${parts[@]}" --no-default-features --features smolq/embedded-model
cross test -p smolq-kernels --lib --no-run
mapfile -t built < <(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$work/built.json")
tests=()
for program in "${built[@]}"; do
    if [ "$(basename "$program")" = smolq ]; then arm="$program"; else tests+=("$program"); fi
done
[ ${#tests[@]} -ge 4 ] || { echo "error: only ${#tests[@]} test programs were built" >&2; exit 1; }

# Calls `$1 CPU LEVEL` for each of the following arguments, "CPU LEVEL", all side by side; what the i-th prints goes to $work/$1-i.
# Fails if one of them does.
side_by_side() {
    local what="$1" pids=() failed=0 of pid
    shift
    for of in "$@"; do
        # shellcheck disable=SC2086
        "$what" $of >"$work/$what-${#pids[@]}" 2>&1 &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=1
    done
    return "$failed"
}

# Each CPU's tests, one program after the other.
kernels() {
    local cpu="$1" level="$2"
    for program in "${tests[@]}"; do
        SMOLQ_LEVEL="$level" qemu-aarch64 -cpu "$cpu" "$program" || return 1
    done
}
say "kernels under ${CPUS[0]% *}, ${CPUS[1]% *} and ${CPUS[2]% *}"
side_by_side kernels "${CPUS[@]:0:3}" || { cat "$work"/kernels-*; echo "error: kernels differ under emulation" >&2; exit 1; }
grep -hE '^test |^test result|NOT TESTED' "$work"/kernels-*

say "whole models, byte for byte"
python3 -c 'import json; print(json.dumps([(i * 37 + 11) % 256 for i in range(70)]))' >"$work/ids.json"
models=()
for model in tests/data/*.gguf ${SMOLQ_FIXTURES:+"$SMOLQ_FIXTURES"/models/*.gguf}; do
    if "$native" logits "$model" --tokens "$work/ids.json" -o "$work/native-${#models[@]}.npy" >/dev/null 2>"$work/error"; then
        models+=("$model")
    else
        echo "not compared, it does not run here: $(tail -1 "$work/error")"
    fi
done

# Every model under one CPU. Prints a line for each comparison.
logits() {
    local cpu="$1" level="$2" out="$work/$1.npy" i how
    for i in "${!models[@]}"; do
        # All tokens at once with two threads; and by threes, as few tokens go, with one.
        for how in "-t 2" "-t 1 --chunk 3"; do
            # shellcheck disable=SC2086
            SMOLQ_LEVEL="$level" qemu-aarch64 -cpu "$cpu" "$arm" logits "${models[$i]}" --tokens "$work/ids.json" -o "$out" $how >/dev/null || return 1
            cmp "$work/native-$i.npy" "$out" || { echo "error: ${models[$i]} differs under $cpu $how" >&2; return 1; }
            echo "compared ${models[$i]} $cpu $how"
        done
    done
}
side_by_side logits "${CPUS[@]}" || { cat "$work"/logits-*; echo "error: logits differ under emulation" >&2; exit 1; }
compared="$(cat "$work"/logits-* | grep -c '^compared ')"
[ "$compared" -ge 72 ] || { echo "error: only $compared comparisons" >&2; exit 1; }
echo "logits compared: $compared, all equal"

say "pages of 4, 16 and 64 KiB"
tools/cross.sh aligned "$arm"
for size in 4096 16384 65536; do
    qemu-aarch64 -p "$size" -cpu cortex-a76 "$arm" logits tests/data/smollm3-q8_0.gguf --tokens "$work/ids.json" -o "$work/arm.npy" >/dev/null
    "$native" logits tests/data/smollm3-q8_0.gguf --tokens "$work/ids.json" -o "$work/native.npy" >/dev/null
    cmp "$work/native.npy" "$work/arm.npy" || { echo "error: logits differ at pages of $size bytes" >&2; exit 1; }
done

say "the command line"
mkdir "$work/bin"
cp "$arm" "$work/bin/smolq-arm"
printf '#!/bin/sh\nexec qemu-aarch64 -cpu cortex-a72 %s "$@"\n' "$work/bin/smolq-arm" >"$work/bin/smolq"
chmod +x "$work/bin/smolq"
SMOLQ_TEST_BINARY="$work/bin/smolq" cargo test --release --test cli
say "done"
