#!/usr/bin/env bash
# Packs the file system of a virtual machine: busybox, the kernel's modules, Ion's programs and the libraries they need.
#
#   initrd.sh KERNEL-FOLDER OUTPUT PROGRAM...
set -euo pipefail
kernel=$1 output=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

add() { # add PROGRAM FOLDER: without what a debugger reads, and with its libraries
    strip -o "$root/$2/$(basename "$1")" "$1"
    { ldd "$1" 2>/dev/null || true; } | { grep -oE '/[^ ]+' || true; } | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -Lu "$library" "$root$library"
    done
}

mkdir -p "$root"/{bin,dev,proc,sys,tmp,modules,ion}
cp "$here/init" "$root/init"
cp "$kernel"/modules/*.ko "$root/modules/"
add "$(command -v busybox)" bin
for program in "$@"; do add "$program" ion; done
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$output.part"
mv "$output.part" "$output"
