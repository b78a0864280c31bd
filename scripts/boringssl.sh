#!/usr/bin/env bash
# Builds BoringSSL once, for all profiles and for the fuzz targets, into target/boringssl, where
# .cargo/config.toml tells the crate `boring-sys` to find it. The sources are that crate's own.
#
# By itself `boring-sys` would build it anew for each profile, each time with full debug information
# and without precompiled headers: five minutes of two cores, three times.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

manifest=$("$cargo" metadata --locked --format-version 1 |
    grep -oE '"manifest_path":"[^"]*/boring-sys-[^"/]*/Cargo.toml"' | head -n 1 | cut -d'"' -f4)
[ -n "$manifest" ] || { echo "boringssl: Cargo.lock names no boring-sys" >&2; exit 1; }
crate=$(dirname "$manifest")
version=$(basename "$crate")
out=target/boringssl
if [ "$(cat "$out/version" 2>/dev/null)" = "$version" ]; then
    exit 0
fi

echo "boringssl: building the library of $version (once; two to four minutes on two cores)"
build=target/boringssl-build
rm -rf "$out" "$build"
mkdir -p "$out/lib" "$build"
log=$build/log
# As `boring-sys` does it: with its post-quantum groups, and without what its other features patch.
cp -R "$crate/deps/boringssl" "$build/source"
patch --quiet -p1 -d "$build/source" <"$crate/patches/boring-pq.patch"
# The flags after -O2 undo the -ggdb that BoringSSL's own build sets.
cmake -S "$build/source" -B "$build/objects" \
    -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_FLAGS_RELEASE="-O2 -DNDEBUG -g0" \
    -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG -g0" \
    -DCMAKE_CXX_FLAGS="-ffunction-sections -fdata-sections -fPIC -w" \
    -DCMAKE_PROJECT_BoringSSL_INCLUDE="$PWD/controlplane/dtls/boringssl/precompile.cmake" >"$log" 2>&1 &&
    cmake --build "$build/objects" --target ssl --target crypto --parallel "$(nproc)" >>"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    echo "boringssl: it did not build; the whole log is in $log" >&2
    exit 1
}
cp "$build/objects/libssl.a" "$build/objects/libcrypto.a" "$out/lib/"
cp -R "$build/source/include" "$out/include"
rm -rf "$build"
# Last, so that an interrupted build is not taken for a finished one.
echo "$version" >"$out/version"
