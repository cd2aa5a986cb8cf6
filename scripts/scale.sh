#!/usr/bin/env bash
# Measures one node at size: time to ready, resident memory, throughput with 12 and with 10,000 partitions.
#   scripts/scale.sh [DIR]     data goes to a fresh directory below DIR (default: the system's temporary folder)
set -euo pipefail
cd "$(dirname "$0")/.."
make --no-print-directory build >/dev/null
work=$(mktemp -d -p "${1:-${TMPDIR:-/tmp}}")
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null; rm -rf "$work"' EXIT
start() {
  bin/chronik-server start --data-dir "$work/data" --kafka 127.0.0.1:0 --wal 127.0.0.1:0 --raft 127.0.0.1:0 --http off >"$work/log" 2>&1 &
  pid=$!
  for _ in $(seq 600); do
    if line=$(grep 'msg=ready' "$work/log"); then break; fi
    kill -0 "$pid" || { cat "$work/log"; exit 1; }
    sleep 0.02
  done
  addr=$(sed -E 's/.* kafka=([^ ]+) .*/\1/' <<<"$line")
  ms=$(sed -E 's/.* ms=([0-9]+).*/\1/' <<<"$line")
}
rss() { awk '/VmRSS/{printf "%d MiB", $2/1024}' "/proc/$pid/status"; }
crash() { kill -9 "$pid"; wait "$pid" 2>/dev/null || true; }
rate() {
  bin/chronik-bench -q -b "$addr" --concurrency 128 --duration 5s --warmup 2s -o json "$@" |
    python3 -c 'import json, sys
d = json.load(sys.stdin)
print("{:,.0f} records/s, p99 {:.1f} ms".format(d["result"]["recordsPerSecond"], d["latency"]["p99Ms"]))'
}
start; echo "empty directory: ready in $ms ms, $(rss) resident"
crash; start; echo "after kill -9, nothing in it: ready in $ms ms"
for i in $(seq 0 999); do echo "scale-$i"; done | xargs -n 250 bin/chronikctl -q -b "$addr" topic create >/dev/null
crash; start; echo "1,000 topics, after kill -9: ready in $ms ms, $(rss) resident"
echo "12 partitions: $(rate --partitions 12)"
for i in $(seq 0 99); do echo "wide-$i"; done | xargs bin/chronikctl -q -b "$addr" topic create --partitions 90 >/dev/null
crash; start; echo "10,000 partitions, after kill -9: ready in $ms ms, $(rss) resident"
bin/chronikctl -q -b "$addr" topic create all --partitions 10000 >/dev/null
echo "12 partitions, 20,000 in the node: $(rate --partitions 12)"
echo "10,000 partitions under load: $(rate --topic all --keyed --keys 100000)"
echo "resident after that: $(rss)"
crash; start; echo "20,000 partitions, half of them just written, after kill -9: ready in $ms ms, $(rss) resident"
