#!/usr/bin/env bash
# Measures the metadata path of three real nodes on this machine: topics created one by one and 64-way, until every broker shows them
# with leaders, and settings changed 64-way; then 10,000 topics, and how long a node needs to serve again after kill -9.
#   scripts/metadata-bench.sh [NAME=HOST:PORT ...]     clusters beside which Chronik is measured, in turn, such as kafka=127.0.0.1:19192
# BASE=19000 chooses the ports (BASE+1..3 kafka, +11..13 wal, +21..23 raft, +31..33 http), ROUNDS, EACH (seconds of one measurement) and WARM
# (seconds for a JVM before the first round) how long, TOPICS how many topics, WORK=dir where the data lies, BIN=dir which binaries.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${BIN:-}" ] || make --no-print-directory build >/dev/null
bin=${BIN:-bin} base=${BASE:-19000} topics=${TOPICS:-10000}
work=$(mktemp -d -p "${WORK:-${TMPDIR:-/tmp}}")
declare -A pids
trap 'for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null || true; done; rm -rf "$work"' EXIT
for n in 1 2 3; do
  {
    printf 'node_id = %d\ndata_dir = "%s"\nhttp = "127.0.0.1:%d"\nreplication_factor = 1\nmin_insync_replicas = 1\n' "$n" "$work/node$n" $((base + 30 + n))
    printf '[bind]\nkafka = "127.0.0.1:%d"\nwal = "127.0.0.1:%d"\nraft = "127.0.0.1:%d"\n' $((base + n)) $((base + 10 + n)) $((base + 20 + n))
    for p in 1 2 3; do
      printf '[[peers]]\nid = %d\nkafka = "127.0.0.1:%d"\nwal = "127.0.0.1:%d"\nraft = "127.0.0.1:%d"\n' "$p" $((base + p)) $((base + 10 + p)) $((base + 20 + p))
    done
  } >"$work/node$n.toml"
done
start() {
  : >"$work/node$1.out"
  "$bin/chronik-server" start --config "$work/node$1.toml" >"$work/node$1.out" 2>>"$work/node$1.log" &
  pids[$1]=$!
}
ready() { # waits until node $1 serves, and prints the milliseconds that it says it took
  for _ in $(seq 3000); do
    if line=$(grep 'msg=ready' "$work/node$1.out"); then
      sed -E 's/.* ms=([0-9]+).*/\1/' <<<"$line"
      return
    fi
    kill -0 "${pids[$1]}" || { tail "$work/node$1.log" >&2; exit 1; }
    sleep 0.01
  done
  exit 1
}
addr=127.0.0.1:$((base + 1)),127.0.0.1:$((base + 2)),127.0.0.1:$((base + 3))
for n in 1 2 3; do start $n; done
for n in 1 2 3; do ready $n >/dev/null; done
"$bin/chronikctl" -b "$addr" cluster status || true
scripts/side-by-side.py --bin "$bin" --only 'create topic|config' --replication-factor 1 --rounds "${ROUNDS:-3}" --seconds "${EACH:-5}" --warmup 2 --warm "${WARM:-0}" "chronik=$addr" "$@"
"$bin/chronik-bench" -q -b "$addr" --mode metadata --ops create --partitions 3 --replication-factor 1 --concurrency 64 --messages "$topics" \
  --duration 10m --warmup 0s --keep-topic -o json >"$work/create.json"
python3 - "$work/create.json" <<'P'
import json, sys
d = json.load(open(sys.argv[1]))
print("{:,} topics of 3 partitions: {:,.0f}/s, {} failed".format(d["result"]["records"], d["result"]["recordsPerSecond"], d["result"]["failed"]))
P
for n in 1 2 3; do
  for round in 1 2 3; do
    kill -9 "${pids[$n]}"
    wait "${pids[$n]}" 2>/dev/null || true
    begin=$(date +%s%N)
    start "$n"
    own=$(ready "$n")
    wall=$((($(date +%s%N) - begin) / 1000000))
    cpu=$(awk -v hz="$(getconf CLK_TCK)" '{print int(($14 + $15) * 1000 / hz)}' "/proc/${pids[$n]}/stat")
    echo "node $n after kill -9, try $round: ready in $own ms by its own clock, $wall ms from the start of the process, $cpu ms of CPU"
  done
done
