#!/usr/bin/env bash
# Installs what is missing on Debian or Ubuntu: `setup.sh build` or `setup.sh test`.
# Says what and why; does nothing when all is there. Builds BoringSSL where that has not been done.
set -euo pipefail
cd "$(dirname "$0")/.."

# command or file to look for | package | what it is for
build_needs=(
    "cmake|cmake|BoringSSL (DTLS) and AWS-LC (SRTP) are built with it"
    "c++|g++|BoringSSL is C++"
    "patch|patch|BoringSSL is patched as its Rust bindings want it"
    "/usr/include/stdlib.h|libc6-dev|C headers"
    "libclang|libclang-dev|bindgen reads BoringSSL's headers"
    "node|nodejs|web SDK and web app are built with it"
    "npm|npm|packages that web SDK and web app are built and checked with"
)

# The eBPF object is committed; its check needs the compiler that made it, and goes on without.
bpf_packages=(rustc-web libstd-rust-web-dev-bpf)

bpf_compiler() {
    compgen -G '/usr/lib/rustlib/bpfel-unknown-none/lib/libcore-*.rlib' >/dev/null && return
    if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
        return
    fi
    echo "setup: ${bpf_packages[*]} are missing (the check that the eBPF object is what its source compiles to)"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${bpf_packages[@]}" >/dev/null ||
        echo "setup: they cannot be had here: going on without"
}

present() {
    case "$1" in
        # Not libclang-cpp, which other packages bring and bindgen cannot use.
        libclang) compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null || compgen -G '/usr/lib/*/libclang[.-][s0-9]*' >/dev/null ;;
        /*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

install() {
    local packages=() need what package why
    for need in "$@"; do
        IFS='|' read -r what package why <<<"$need"
        if ! present "$what"; then
            echo "setup: $package is missing ($why)"
            packages+=("$package")
        fi
    done
    [ ${#packages[@]} -eq 0 ] && return
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "setup: run as root: apt-get install ${packages[*]}" >&2; exit 1; }
        sudo=(sudo)
    fi
    if ! command -v apt-get >/dev/null; then
        echo "setup: no apt-get here; install these by hand: ${packages[*]}" >&2
        exit 1
    fi
    "${sudo[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

command -v "${CARGO:-cargo}" >/dev/null || { echo "setup: Rust is missing; install it from https://rustup.rs" >&2; exit 1; }
install "${build_needs[@]}"
scripts/boringssl.sh
scripts/npm.sh web-sdk
scripts/npm.sh webapp
if [ "${1:-build}" = test ]; then
    bpf_compiler
    tests/setup.sh
fi
