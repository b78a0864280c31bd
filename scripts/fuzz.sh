#!/usr/bin/env bash
# Fuzzes each target for so many seconds: `fuzz.sh SECONDS TARGET…`.
# A stable toolchain is told to accept the sanitizer's flags.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
export RUSTC_BOOTSTRAP=1
for target in "$@"; do
    echo "== fuzz $target for $seconds s"
    # New inputs go to a scratch corpus; what is committed is the small seed set.
    mkdir -p "target/fuzz-corpus/$target"
    cargo fuzz run --fuzz-dir fuzz "$target" "target/fuzz-corpus/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
