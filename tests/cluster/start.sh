#!/usr/bin/env bash
# Starts the cluster of three of this folder, or the nodes named: start.sh [node1 ...]. Empty directories found a cluster by themselves.
# Waits until each node serves; WAIT=0 does not wait. SERVER=path chooses another binary.
set -euo pipefail
cd "$(dirname "$0")"
server=${SERVER:-../../bin/chronik-server}
server=$(cd "$(dirname "$server")" && pwd)/$(basename "$server")
[ -x "$server" ] || { echo "start.sh: $server is missing: run make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- node1 node2 node3
mkdir -p data
running() { [ -s "data/$1.pid" ] && kill -0 "$(cat "data/$1.pid")" 2>/dev/null; }
for node in "$@"; do
  [ -f "$node.toml" ] || { echo "start.sh: there is no $node.toml" >&2; exit 1; }
  if running "$node"; then
    echo "$node runs already, pid $(cat "data/$node.pid")"
    continue
  fi
  : >"data/$node.out"
  nohup "$server" start --config "$node.toml" --data-dir "data/$node" </dev/null >"data/$node.out" 2>>"data/$node.log" &
  echo $! >"data/$node.pid"
done
[ "${WAIT:-1}" = 1 ] || exit 0
for node in "$@"; do
  for _ in $(seq 600); do
    grep -q 'msg=ready' "data/$node.out" && break
    running "$node" || { echo "start.sh: $node has ended:" >&2; tail -n 5 "data/$node.log" >&2; exit 1; }
    sleep 0.05
  done
  grep -q 'msg=ready' "data/$node.out" || { echo "start.sh: $node does not serve after 30 s:" >&2; tail -n 5 "data/$node.log" >&2; exit 1; }
  echo "$node serves, pid $(cat "data/$node.pid")"
done
