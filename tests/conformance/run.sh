#!/usr/bin/env bash
# Compares a fresh Chronik with the answers recorded from Apache Kafka 4.3.1, case by case.
#   tests/conformance/run.sh [1|3] [-run REGEXP] [-v]      one node (default), or a cluster of three
# Environment: SERVER and PROBE name binaries to use instead of building them. Of three nodes: PORT is the first of nine ports (default
# 29500), REPLICATION=1 keeps one copy of each partition where the default is three, and KEEP=1 leaves the logs of a run that fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
nodes=1
case "${1:-}" in 1|3) nodes=$1; shift ;; esac
if [ -z "${SERVER:-}" ]; then make --no-print-directory build >/dev/null; fi
if [ -z "${PROBE:-}" ]; then go build -o bin/kafka-probe ./tests/conformance; fi
server=${SERVER:-bin/chronik-server} probe=${PROBE:-bin/kafka-probe} port=${PORT:-29500}
work=$(mktemp -d)
pids=()
end() {
  local status=$?
  if [ ${#pids[@]} -gt 0 ]; then kill "${pids[@]}" 2>/dev/null; wait "${pids[@]}" 2>/dev/null; fi
  if [ "$status" -ne 0 ] && [ "${KEEP:-}" = 1 ]; then echo "logs are in $work" >&2; else rm -rf "$work"; fi
}
trap end EXIT

# config NODE: the settings that the goldens assume (README.md).
config() {
  [ "$nodes" = 3 ] || { cat tests/conformance/node.toml; return; }
  echo "node_id = $1"
  [ -z "${REPLICATION:-}" ] || printf 'replication_factor = %s\nmin_insync_replicas = 1\n' "$REPLICATION"
  echo '[bind]'; addresses "$1"
  local peer
  for peer in 1 2 3; do echo "[[peers]]"; echo "id = $peer"; addresses "$peer"; done
  sed -n '/^\[kafka\]/,$p' tests/conformance/node.toml | sed "s/RACK1/RACK$1/"
  echo '"replica.selector.class" = "org.apache.kafka.common.replica.RackAwareReplicaSelector"'
}
addresses() {
  printf 'kafka = "127.0.0.1:%d"\nwal = "127.0.0.1:%d"\nraft = "127.0.0.1:%d"\n' $((port + $1 - 1)) $((port + $1 + 2)) $((port + $1 + 5))
}

for n in $(seq "$nodes"); do
  config "$n" >"$work/node$n.toml"
  "$server" start --config "$work/node$n.toml" --data-dir "$work/node$n" --http off --log-format json >"$work/node$n.log" 2>&1 &
  pids+=($!)
done
addrs=()
for n in $(seq "$nodes"); do
  for _ in $(seq 300); do
    grep -q '"msg":"ready"' "$work/node$n.log" && break
    kill -0 "${pids[$((n - 1))]}" 2>/dev/null || break
    sleep 0.1
  done
  addr=$(grep '"msg":"ready"' "$work/node$n.log" | sed -E 's/.*"kafka":"([^"]+)".*/\1/' || true)
  [ -n "$addr" ] || { echo "node $n is not ready" >&2; tail -n 20 "$work/node$n.log" >&2; exit 1; }
  addrs+=("$addr")
done
golden=probe-1node.txt allow=tests/conformance/allow-1node.txt
[ "$nodes" = 1 ] || { golden=probe-3nodes.txt; allow+=,tests/conformance/allow-3nodes.txt; }
"$probe" -addrs "$(IFS=,; echo "${addrs[*]}")" -check "tests/conformance/golden/$golden" -allow "$allow" "$@"
