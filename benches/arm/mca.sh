#!/usr/bin/env bash
# What llvm-mca expects of a kernel's inner loop: cycles for 1,000 products, if every load hits the first cache.
#
#   benches/arm/mca.sh BINARY [PATTERN]   BINARY: a static aarch64 smolq with symbols; functions whose mangled name matches PATTERN
#
# Of each function, the innermost loop with the most products counts: one product is a weight times an input, so for one token it is a
# weight. Functions with a loop for one token and one for four show the latter if it has more products. It is a model of a core, not a
# core: LLVM 14 knows the pipelines of A53 and A55, and takes that of the A57 for the A76. An A53 has no sdot,
# none of them smmla. Needs llvm.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
binary="$1" pattern="${2:-3isa.*5entry}"
for tool in llvm-mca llvm-objdump; do
    command -v "$tool" >/dev/null || { echo "error: there is no $tool: apt-get install llvm" >&2; exit 1; }
done
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Each function's loop in a file of its own, named by the number of its products in one turn.
llvm-objdump -d --no-show-raw-insn --no-leading-headers --mattr=+dotprod,+i8mm "$binary" | awk -v pattern="$pattern" -v work="$work" '
    function hex(text,   i, value) {
        for (i = 1; i <= length(text); i++) value = 16 * value + index("0123456789abcdef", substr(text, i, 1)) - 1
        return value
    }
    function products(text) {
        if (text ~ /^smmla/) return 32
        if (text ~ /^[su]dot|^usdot/) return 16
        if (text ~ /^[su]m(ull|lal)2?[ \t]+v[0-9]+\.8h/) return 8
        return 0
    }
    # Loops are ranges from the target of a backward branch to the branch; one that holds another is not innermost.
    function flush(   i, j, k, from, sum, best, first, last, inner, file) {
        best = 0
        for (i = 1; i <= n; i++) {
            if (!(i in target) || !(target[i] in at) || at[target[i]] > i) continue
            from = at[target[i]]; inner = 1; sum = 0
            for (j = from; j < i; j++) {
                if ((j in target) && (target[j] in at) && at[target[j]] >= from && at[target[j]] <= j) inner = 0
                sum += products(text[j])
            }
            if (inner && sum > best) { best = sum; first = from; last = i }
        }
        if (best > 0) {
            file = work "/" best "." name
            print "loop:" > file
            for (k = first; k <= last; k++) if (!(k in target) || k == last) print (k == last) ? jump[k] " loop" : text[k] > file
            close(file)
        }
        n = 0; delete at; delete target; delete text; delete jump
    }
    /^[0-9a-f]+ <.*>:$/ { flush(); name = substr($2, 2, length($2) - 3); wanted = name ~ pattern; next }
    wanted && /^ *[0-9a-f]+:/ {
        address = $1; sub(":", "", address)
        line = $0; sub(/^ *[0-9a-f]+:[ \t]*/, "", line); sub(/[ \t]*<.*/, "", line); sub(/[ \t]*\/\/.*/, "", line)
        n++; at[hex(address)] = n; text[n] = line
        if (line ~ /^(b|b\.[a-z]+|cbn?z|tbn?z)[ \t]/) {
            goal = line; sub(/^.*0x/, "", goal); target[n] = hex(goal)
            jump[n] = line; sub(/0x[0-9a-f]+$/, "", jump[n])
        }
    }
    END { flush() }'

printf '| %-8s | %-12s | %12s | %12s | %12s |\n' products instructions cortex-a53 cortex-a55 cortex-a76
echo '| -------- | ------------ | -----------: | -----------: | -----------: |'
found=0
for loop in "$work"/*; do
    [ -e "$loop" ] || continue
    file="${loop##*/}"
    products="${file%%.*}"
    row=()
    for cpu in cortex-a53 cortex-a55 cortex-a76; do
        if grep -qE '^[su]?mmla' "$loop" || { [ "$cpu" = cortex-a53 ] && grep -qE '^[su]+dot' "$loop"; }; then
            row+=(-)
            continue
        fi
        cycles="$(llvm-mca -mtriple=aarch64 -mcpu="$cpu" -iterations=100 "$loop" 2>/dev/null | awk '/^Total Cycles:/ { print $3 }' || true)"
        row+=("$([ -n "$cycles" ] && awk "BEGIN { printf \"%.1f\", $cycles * 10 / $products }" || echo -)")
    done
    printf '| %8s | %12s | %12s | %12s | %12s | %s\n' "$products" "$(($(wc -l <"$loop") - 1))" "${row[@]}" "${file#*.}"
    found=$((found + 1))
done
[ "$found" -gt 0 ] || { echo "error: no function of $binary that matches $pattern has a loop of products (is it stripped?)" >&2; exit 1; }
