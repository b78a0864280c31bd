#!/usr/bin/env bash
# The eBPF object: `ebpf.sh build [nightly|debian]` makes ebpf/ion.bpf.o anew, `ebpf.sh check` holds it
# against its source.
#
# A compiler with a `core` for BPF is looked for in this order: rustup's nightly with rust-src; Debian's
# rustc-web with libstd-rust-web-dev-bpf. With neither, the committed object is used as it is.
#
# Two versions of a compiler make different instructions of one source, so ebpf/ion.bpf.toolchain says what
# made the object, and `check` takes that one if it is here. If it is not, a difference proves nothing and
# the check counts as skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
cargo=${CARGO:-cargo}
linker_version=0.13.0
object=ebpf/ion.bpf.o
recorded=ebpf/ion.bpf.toolchain
tools=$root/target/bpf

# Whoever calls us may be a cargo with a compiler and flags of its own.
unset "${!RUSTC@}" "${!CARGO_ENCODED@}" RUSTFLAGS RUSTUP_TOOLCHAIN CARGO_MAKEFLAGS CARGO_TARGET_DIR CARGO_BUILD_RUSTFLAGS

say() { echo "ebpf: $*"; }

# The compiler of a toolchain, if it can compile for BPF.
rustc_of() {
    local rustc
    case "$1" in
        nightly)
            rustc=$(rustup which rustc --toolchain nightly 2>/dev/null) || return 1
            [ -e "$("$rustc" --print sysroot)/lib/rustlib/src/rust/library/core/Cargo.toml" ] || return 1
            ;;
        debian)
            rustc=/usr/bin/rustc
            [ -x "$rustc" ] && compgen -G '/usr/lib/rustlib/bpfel-unknown-none/lib/libcore-*.rlib' >/dev/null || return 1
            ;;
    esac
    echo "$rustc"
}

# A field of `rustc --version --verbose`.
field() { "$1" -vV | sed -n "s/^$2: //p"; }

# What makes an object, in one line.
identity() {
    echo "rustc $(field "$1" release) ($(field "$1" commit-hash)), LLVM $(field "$1" 'LLVM version'), bpf-linker $linker_version"
}

# The directory with the LLVM library that a compiler was built with, under the name libLLVM.so: bitcode is
# read by the version that wrote it.
llvm_of() {
    local rustc=$1 version library prefix
    version=$(field "$rustc" 'LLVM version')
    version=${version%.*}
    for library in "$("$rustc" --print sysroot)"/lib/libLLVM.so."$version"* /usr/lib/*/libLLVM.so."$version" /usr/lib/llvm-"${version%.*}"/lib/libLLVM.so; do
        [ -e "$library" ] || continue
        prefix=$tools/llvm-$2
        mkdir -p "$prefix/lib"
        ln -sf "$library" "$prefix/lib/libLLVM.so"
        ln -sf "$library" "$prefix/lib/$(basename "$library")"
        echo "$prefix"
        return
    done
    return 1
}

# bpf-linker for a toolchain, built once.
linker_of() {
    local name=$1 rustc=$2 prefix=$3 major home
    major=$(field "$rustc" 'LLVM version')
    major=${major%%.*}
    home=$tools/linker-$name
    local stamp="$linker_version $(readlink -f "$prefix/lib/libLLVM.so")"
    if [ "$(cat "$home/stamp" 2>/dev/null)" != "$stamp" ]; then
        say "builds bpf-linker $linker_version for LLVM $major (once; two to four minutes on two cores)" >&2
        mkdir -p "$home"
        LLVM_PREFIX=$prefix CARGO_TARGET_DIR=$home/build "$cargo" install bpf-linker --quiet \
            --version "$linker_version" --locked --force --no-default-features --features "llvm-$major" --root "$home" \
            >"$home/log" 2>&1 || {
            tail -n 20 "$home/log" >&2
            return 1
        }
        rm -rf "$home/build"
        # Last, so that an interrupted build is not taken for a finished one.
        echo "$stamp" >"$home/stamp"
    fi
    echo "$home/bin/bpf-linker"
}

# Compiles with a toolchain; prints the object's path.
compile() {
    local name=$1 rustc=$2 prefix linker registry flags
    prefix=$(llvm_of "$rustc" "$name") || { say "no LLVM library fits $rustc" >&2; return 1; }
    linker=$(linker_of "$name" "$rustc" "$prefix") || return 1
    # No path of this machine gets into the object.
    registry=$(echo "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*)
    flags="\"--remap-path-prefix=$root/=\""
    for registry in $registry; do
        flags="$flags,\"--remap-path-prefix=$registry/=\""
    done
    flags="$flags,\"--remap-path-prefix=$("$rustc" --print sysroot)/lib/rustlib/src/rust/=\",\"-Clinker=$linker\""
    local build=(build --release --locked --quiet --config "target.bpfel-unknown-none.rustflags=[$flags]")
    [ "$name" != nightly ] || build+=(-Zbuild-std=core)
    (
        cd ebpf/programs
        LD_LIBRARY_PATH=$prefix/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} RUSTC=$rustc RUSTC_BOOTSTRAP=1 \
            CARGO_TARGET_DIR=$tools/$name "$cargo" "${build[@]}"
    ) >&2 || return 1
    echo "$tools/$name/bpfel-unknown-none/release/ion"
}

compare() { "$cargo" run --quiet --locked -p ion-ebpf --example ion-bpf-object -- "$@"; }

build() {
    local name rustc built
    for name in ${1:-nightly debian}; do
        rustc=$(rustc_of "$name") || continue
        say "compiles with $(identity "$rustc")"
        built=$(compile "$name" "$rustc") || exit 1
        compare strip "$built" "$object"
        identity "$rustc" >"$recorded"
        say "wrote $object"
        return
    done
    say "no compiler for BPF here (rustup's nightly with rust-src, or Debian's rustc-web and libstd-rust-web-dev-bpf):"
    say "the committed $object is used, made by $(cat "$recorded")"
}

check() {
    local name rustc built other=
    for name in nightly debian; do
        rustc=$(rustc_of "$name") || continue
        if [ "$(identity "$rustc")" = "$(cat "$recorded")" ]; then
            built=$(compile "$name" "$rustc") || exit 1
            if compare compare "$built" "$object"; then
                say "$object is what its source compiles to: 1 passed"
                return
            fi
            say "$object is not what its source compiles to; run \`make ebpf\` and commit it: 1 failed"
            exit 1
        fi
        other="$other$(identity "$rustc"); "
    done
    say "the compiler that made $object is not here ($(cat "$recorded")); there is: ${other:-none for BPF}"
    say "the committed object is used unchecked: 1 skipped"
}

case "${1:-build}" in
    build) build "${2:-}" ;;
    check) check ;;
    *) echo "usage: ebpf.sh build [nightly|debian] | check" >&2; exit 2 ;;
esac
