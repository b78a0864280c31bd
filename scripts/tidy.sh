#!/usr/bin/env bash
# Keeps the tree tidy: sizes of files, unfinished marks, syntax of the web parts.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
complain() {
    echo "tidy: $1" >&2
    status=1
}

while read -r lines file; do
    [ "$lines" -le 1000 ] || complain "$file has $lines lines: split it (1,000 at most)"
done < <(git ls-files '*.rs' '*.js' '*.mjs' '*.ts' '*.tsx' '*.css' '*.py' | xargs wc -l | awk '$2 != "total" {print $1, $2}')

marks=$(git grep -nE '\b(TODO|FIXME|XXX)\b|todo!\(|unimplemented!\(|dbg!\(' -- '*.rs' '*.js' '*.mjs' '*.ts' '*.tsx' '*.py' '*.sh' ':!scripts/tidy.sh')
[ -z "$marks" ] || complain "unfinished marks:
$marks"

if command -v node >/dev/null; then
    while read -r file; do
        node --check "$file" 2>/dev/null || complain "$file does not parse"
    done < <(git ls-files '*.mjs' 'api/assets/*.js')
fi

exit $status
