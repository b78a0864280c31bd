#!/usr/bin/env bash
# Installs the npm packages of a folder as its package-lock.json says, unless that was done: `npm.sh web-sdk`.
set -euo pipefail
cd "$(dirname "$0")/../$1"
cmp -s package-lock.json node_modules/.installed && exit
command -v npm >/dev/null || { echo "setup: node 18.20 or later and npm are needed (apt-get install nodejs npm)" >&2; exit 1; }
echo "setup: installs the packages of $1/package-lock.json"
npm ci --no-audit --no-fund --loglevel=error
cp package-lock.json node_modules/.installed
