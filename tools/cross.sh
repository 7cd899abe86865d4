#!/usr/bin/env bash
# Static binaries for other machines, made on a Debian one.
#
#   tools/cross.sh cargo TARGET ARGS...   cargo ARGS... --target TARGET, with the right compiler and linker; tests run under qemu
#   tools/cross.sh release [TARGET...]    target/dist/smolq-VERSION-TARGET.tar.gz with SHA256SUMS; all targets if none is named
#   tools/cross.sh toolchain [TARGET...]  only what the others need
#   tools/cross.sh aligned FILE...        checks that programs start where pages are of 64 KiB; release does so for aarch64
#
# Where rustup has the target (`rustup target add TARGET`), its compiler and linker are used. Elsewhere the compiler comes from
# Debian's packages, unpacked into a folder of its own, and the standard library is built from Debian's source of it: once for each
# target, some two minutes. $SMOLQ_CROSS names the folder. The system gets cross compilers and qemu-user by apt-get, nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

TARGETS=(aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf x86_64-unknown-linux-musl)
HOME_OF_TOOLS="${SMOLQ_CROSS:-${XDG_CACHE_HOME:-$HOME/.cache}/smolq/cross}"
SYSROOT="$HOME_OF_TOOLS/usr"

die() {
    echo "error: $*" >&2
    exit 1
}

say() { printf '==> %s\n' "$*" >&2; }

# What Debian calls things of a target: ARCH (of packages), GNU (prefix of the compiler), MUSL (folder of musl), QEMU.
names() {
    case "$1" in
        aarch64-unknown-linux-musl) ARCH=arm64 GNU=aarch64-linux-gnu MUSL=aarch64-linux-musl QEMU=qemu-aarch64 ;;
        armv7-unknown-linux-musleabihf) ARCH=armhf GNU=arm-linux-gnueabihf MUSL=arm-linux-musleabihf QEMU=qemu-arm ;;
        x86_64-unknown-linux-musl) ARCH=amd64 GNU=x86_64-linux-gnu MUSL=x86_64-linux-musl QEMU= ;;
        *) die "no target is named $1; there are ${TARGETS[*]}" ;;
    esac
}

in_rustup() {
    local libs
    libs="$(rustc --print target-libdir --target "$1" 2>/dev/null)" && compgen -G "$libs/libstd-*.rlib" >/dev/null
}

# Packages that are not there yet, by apt-get.
install() {
    local missing=()
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || die "needs ${missing[*]}, and there is no apt-get: install them by hand"
    [ "$(id -u)" = 0 ] || die "needs the packages ${missing[*]}: run 'apt-get install ${missing[*]}' as root"
    say "installing ${missing[*]}"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
}

# Unpacks packages into the folder of the tools.
unpack() {
    local work
    work="$(mktemp -d)"
    mkdir -p "$HOME_OF_TOOLS"
    (cd "$work" && "${@:2:$1}" download "${@:2+$1}" >/dev/null && for deb in *.deb; do dpkg-deb -x "$deb" "$HOME_OF_TOOLS"; done)
    rm -rf "$work"
}

# apt-get for another architecture, with lists of its own, so that the system does not learn of it.
foreign() {
    local lists="$HOME_OF_TOOLS/apt-$ARCH"
    mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
    apt-get -q -o Dir::State::lists="$lists/lists" -o Dir::Cache="$lists/cache" -o APT::Architectures::="$ARCH" \
        -o APT::Sandbox::User=root "$@"
}

# Debian's compiler, as rustc, rustdoc and cargo in bin/.
compiler() {
    [ -x "$HOME_OF_TOOLS/bin/cargo" ] && return
    [ "$(uname -m)" = x86_64 ] || die "Debian's compiler is unpacked for x86-64 hosts only: use rustup's targets here"
    say "fetching Debian's compiler to $HOME_OF_TOOLS"
    apt-get -q update >/dev/null || say "some of the lists of packages could not be read"
    unpack 2 apt-get -q rustc-web cargo-web libstd-rust-web-dev libstd-rust-web-1.96 rust-web-src libllvm22 libgit2-1.5 \
        libhttp-parser2.9 libmbedcrypto7 libmbedx509-1 libmbedtls14
    mkdir -p "$HOME_OF_TOOLS/bin"
    for tool in rustc rustdoc cargo; do
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s/lib/x86_64-linux-gnu exec %s/bin/%s "$@"\n' "$SYSROOT" "$SYSROOT" "$tool" \
            >"$HOME_OF_TOOLS/bin/$tool.new"
        chmod +x "$HOME_OF_TOOLS/bin/$tool.new"
    done
    # Cargo last: it stands for all.
    for tool in rustc rustdoc cargo; do mv "$HOME_OF_TOOLS/bin/$tool.new" "$HOME_OF_TOOLS/bin/$tool"; done
}

# The standard library of a target and what it is linked with.
standard_library() {
    local target="$1" libs="$SYSROOT/lib/rustlib/$1/lib"
    [ -e "$libs/complete" ] && return
    say "building the standard library of $target"
    local work
    work="$(mktemp -d)"
    mkdir -p "$work/src" "$libs/self-contained"
    printf '[package]\nname = "nothing"\nversion = "0.1.0"\nedition = "2021"\n[profile.release]\ndebug = false\n' >"$work/Cargo.toml"
    echo '#![no_std]' >"$work/src/lib.rs"
    # With bitcode, so that it can be optimised together with the program. Building std is an unstable wish of cargo.
    (cd "$work" && env -u RUSTC -u RUSTDOC -u CARGO_TARGET_DIR PATH="$HOME_OF_TOOLS/bin:$PATH" RUSTC_BOOTSTRAP=1 \
        RUSTFLAGS="-Cembed-bitcode=yes" cargo build -q --release --target "$target" \
        -Zbuild-std=std,panic_unwind,panic_abort,proc_macro,test)
    find "$work/target/$target/release/deps" -name '*.r*' ! -name 'libnothing*' -exec cp {} "$libs" \;
    # musl's start files and library, and the unwinder of gcc.
    foreign update >/dev/null 2>&1 || say "some of the lists of packages for $ARCH could not be read"
    unpack 1 foreign "musl-dev:$ARCH"
    local gcc
    gcc="$(dirname "$("$GNU-gcc" -print-libgcc-file-name)")"
    cp "$SYSROOT/lib/$MUSL"/{crt1.o,rcrt1.o,Scrt1.o,crti.o,crtn.o,libc.a} "$gcc"/crt{begin,beginS,end,endS}.o "$libs/self-contained"
    cp "$gcc/libgcc_eh.a" "$libs/self-contained/libunwind.a"
    # gcc's unwinder asks glibc where the tables of an address are; musl has no such function, so it gets one. It also refers to
    # threads weakly: without a strong reference they would be missing, and a panic would jump to address 0.
    cat >"$work/tables.c" <<'C'
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stddef.h>

struct tables { unsigned long flags; void *start, *end; struct link_map *map; void *frames; unsigned long reserved[7]; };
struct wanted { unsigned long address; struct tables *found; };

static int look(struct dl_phdr_info *object, size_t size, void *data) {
    struct wanted *wanted = data;
    unsigned long frames = 0, start = 0, end = 0;
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        unsigned long at = object->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_GNU_EH_FRAME) frames = at;
        if (part->p_type == PT_LOAD && wanted->address - at < part->p_memsz) start = at, end = at + part->p_memsz;
    }
    if (!start || !frames) return 0;
    *wanted->found = (struct tables){ 0, (void *)start, (void *)end, NULL, (void *)frames, { 0 } };
    return 1;
}

int _dl_find_object(void *address, void *found) {
    struct wanted wanted = { (unsigned long)address, found };
    return dl_iterate_phdr(look, &wanted) == 1 ? 0 : -1;
}

__attribute__((used)) static void *const threads[] = {
    (void *)pthread_once, (void *)pthread_key_create, (void *)pthread_getspecific,
    (void *)pthread_setspecific, (void *)pthread_mutex_lock, (void *)pthread_mutex_unlock,
};
C
    "$GNU-gcc" -O2 -fPIC -nostdinc -isystem "$SYSROOT/include/$MUSL" -isystem "$gcc/include" -c "$work/tables.c" -o "$work/tables.o"
    "$GNU-ar" r "$libs/self-contained/libunwind.a" "$work/tables.o" 2>/dev/null
    rm -rf "$work"
    touch "$libs/complete"
}

# Makes a target's compiler ready and exports what cargo wants to know of it.
toolchain() {
    names "$1"
    local upper="${1^^}"
    upper="CARGO_TARGET_${upper//-/_}"
    if [ -n "$QEMU" ]; then
        install qemu-user
        export "${upper}_RUNNER=${SMOLQ_QEMU:-$QEMU}"
    fi
    if in_rustup "$1"; then
        export "${upper}_LINKER=rust-lld"
        return
    fi
    case "$ARCH" in
        amd64) install gcc ;;
        *) install "gcc-$GNU" ;;
    esac
    compiler
    standard_library "$1"
    export RUSTC="$HOME_OF_TOOLS/bin/rustc" RUSTDOC="$HOME_OF_TOOLS/bin/rustdoc"
    export "${upper}_LINKER=$GNU-gcc"
    # Other compiler, other folder: else each build would throw away the other's.
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/cross}"
}

# Checks that kernels with pages of 16 or 64 KiB (Raspberry Pi 5, servers) can map a program: segments are aligned to 64 KiB.
aligned() {
    local program="$1" align segments=0
    command -v readelf >/dev/null || install binutils
    while read -r align; do
        ((align >= 0x10000)) || die "$program: a segment is aligned to $align, a kernel with pages of 64 KiB would not start it"
        segments=$((segments + 1))
    done < <(readelf -lW "$program" | awk '$1 == "LOAD" { print $NF }')
    [ "$segments" -gt 0 ] || die "$program: has no segments to load"
    say "$program: $segments segments, all aligned to 64 KiB"
}

release() {
    local target="$1" version
    toolchain "$target"
    version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)"
    say "building $target"
    local flags=
    # 32-bit ARM has no level of its own: the compiler may use NEON, which every ARMv7 board with it has.
    [ "$target" = armv7-unknown-linux-musleabihf ] && flags="-C target-feature=+neon"
    local dist="$PWD/target/dist" name="smolq-$version-$target"
    RUSTFLAGS="$flags" CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo build --release --bin smolq --target "$target"
    [ "$target" = aarch64-unknown-linux-musl ] && aligned "${CARGO_TARGET_DIR:-target}/$target/release/smolq"
    rm -rf "${dist:?}/$name"
    mkdir -p "$dist/$name"
    cp "${CARGO_TARGET_DIR:-target}/$target/release/smolq" README.md LICENSE* "$dist/$name"
    # The same content gives the same archive.
    tar -C "$dist" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - "$name" | gzip -9n >"$dist/$name.tar.gz"
    rm -rf "${dist:?}/$name"
    (cd "$dist" && sha256sum smolq-*.tar.gz >SHA256SUMS)
    say "$dist/$name.tar.gz"
}

command="${1:-}"
[ $# -gt 0 ] && shift
case "$command" in
    cargo)
        [ $# -ge 2 ] || die "cargo wants a target and what to do: tools/cross.sh cargo ${TARGETS[0]} test"
        target="$1" what="$2"
        shift 2
        toolchain "$target"
        exec cargo "$what" --target "$target" "$@"
        ;;
    release)
        [ $# -gt 0 ] || set -- "${TARGETS[@]}"
        for target; do (release "$target"); done
        ;;
    aligned)
        [ $# -gt 0 ] || die "aligned wants programs: tools/cross.sh aligned target/cross/${TARGETS[0]}/release/smolq"
        for program; do aligned "$program"; done
        ;;
    toolchain)
        [ $# -gt 0 ] || set -- "${TARGETS[@]}"
        for target; do (toolchain "$target"); done
        ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
        exit 2
        ;;
esac
