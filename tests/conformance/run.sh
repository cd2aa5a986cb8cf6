#!/usr/bin/env bash
# Compares a fresh one-node Chronik with the answers recorded from Apache Kafka 4.3.1, case by case.
#   tests/conformance/run.sh [-run REGEXP] [-v]
set -euo pipefail
cd "$(dirname "$0")/../.."
make --no-print-directory build >/dev/null
go build -o bin/kafka-probe ./tests/conformance
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$work"' EXIT
bin/chronik-server start --config tests/conformance/node.toml --data-dir "$work/data" --http off --log-format json >"$work/log" 2>&1 &
server=$!
for _ in $(seq 100); do
  grep -q '"msg":"ready"' "$work/log" && break
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
addr=$(grep '"msg":"ready"' "$work/log" | sed -E 's/.*"kafka":"([^"]+)".*/\1/')
[ -n "$addr" ] || { echo "the server is not ready" >&2; cat "$work/log" >&2; exit 1; }
bin/kafka-probe -addrs "$addr" -check tests/conformance/golden/probe-1node.txt -allow tests/conformance/allow-1node.txt "$@"
