#!/usr/bin/env bash
# Every test, and one line that counts them all. `test.sh --full` adds the slow matrix.
set -uo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0 broken=0

# Adds up the closing lines of cargo's and of our own runner.
count() {
    local p f s
    p=$(grep -oE '(^|[^0-9])[0-9]+ passed' "$log" | grep -oE '[0-9]+' | awk '{n += $1} END {print n + 0}')
    f=$(grep -oE '[0-9]+ failed' "$log" | grep -oE '[0-9]+' | awk '{n += $1} END {print n + 0}')
    s=$(grep -oE '[0-9]+ (ignored|skipped)' "$log" | grep -oE '^[0-9]+' | awk '{n += $1} END {print n + 0}')
    passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0})) skipped=$((skipped + ${s:-0}))
}

step() {
    local name=$1
    shift
    echo "== $name"
    local start=$SECONDS
    "$@" 2>&1 | tee "$log"
    local status=${PIPESTATUS[0]}
    count
    if [ "$status" -ne 0 ]; then
        echo "== $name: exit status $status"
        broken=1
    fi
    echo "== $name: $((SECONDS - start)) s"
}

# Without the line that counts files, which looks like one that counts tests.
npm_test() {
    npm --prefix "$1" test | grep -v 'Test Files'
}

step "unit, property and process tests" "$cargo" test --workspace --locked --no-fail-fast
step "web SDK" npm_test web-sdk
step "web app" npm_test webapp
step "the eBPF object and its source" scripts/ebpf.sh check
step "interleavings (loom)" make --no-print-directory test-loom
step "corpora of the fuzz targets" "$cargo" test --locked --manifest-path fuzz/Cargo.toml
step "real clients" node tests/run.mjs "$@"

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$broken" -eq 0 ]
