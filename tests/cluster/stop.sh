#!/usr/bin/env bash
# Stops the cluster of three of this folder, or the nodes named: stop.sh [node1 ...]. SIGNAL=KILL stops without warning.
set -uo pipefail
cd "$(dirname "$0")"
. ./nodes.sh
[ $# -gt 0 ] || set -- node1 node2 node3
status=0
stopping=()
for node in "$@"; do
  if [ ! -f "$node.toml" ]; then
    echo "stop.sh: there is no $node.toml; the nodes are node1, node2 and node3" >&2
    status=1
  elif running "$node"; then
    kill "-${SIGNAL:-TERM}" "$(cat "$DATA/$node.pid")" && kill -CONT "$(cat "$DATA/$node.pid")" # a process under SIGSTOP hears nothing else
    stopping+=("$node")
  else
    rm -f "$DATA/$node.pid"
    echo "$node does not run"
  fi
done
for node in ${stopping[@]+"${stopping[@]}"}; do
  pid=$(cat "$DATA/$node.pid")
  for _ in $(seq 1500); do
    alive "$pid" || break
    sleep 0.02
  done
  if alive "$pid"; then
    echo "stop.sh: $node, pid $pid, does not stop; SIGNAL=KILL ./stop.sh $node ends it" >&2
    status=1
    continue
  fi
  rm -f "$DATA/$node.pid"
  echo "$node stopped"
done
exit $status
