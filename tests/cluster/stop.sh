#!/usr/bin/env bash
# Stops the cluster of three of this folder, or the nodes named: stop.sh [node1 ...]. SIGNAL=KILL stops without warning.
set -uo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- node1 node2 node3
status=0
for node in "$@"; do
  [ -s "data/$node.pid" ] || continue
  kill "-${SIGNAL:-TERM}" "$(cat "data/$node.pid")" 2>/dev/null || rm -f "data/$node.pid"
done
for node in "$@"; do
  [ -s "data/$node.pid" ] || continue
  pid=$(cat "data/$node.pid")
  for _ in $(seq 600); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  if kill -0 "$pid" 2>/dev/null; then
    echo "stop.sh: $node, pid $pid, does not stop" >&2
    status=1
    continue
  fi
  rm -f "data/$node.pid"
  echo "$node stopped"
done
exit $status
