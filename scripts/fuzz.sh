#!/usr/bin/env bash
# Runs every fuzz target of the module for a while each: scripts/fuzz.sh [TIME], default 20s.
set -euo pipefail
cd "$(dirname "$0")/.."
for f in $(git grep -lE '^func Fuzz' -- '*_test.go'); do
  for target in $(grep -oE '^func Fuzz[A-Za-z0-9_]+' "$f" | cut -d' ' -f2); do
    echo "== ./$(dirname "$f") $target"
    go test "./$(dirname "$f")" -run '^$' -fuzz "^$target\$" -fuzztime "${1:-20s}"
  done
done
