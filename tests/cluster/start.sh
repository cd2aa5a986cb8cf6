#!/usr/bin/env bash
# Starts the cluster of three of this folder, or the nodes named: start.sh [node1 ...]. Empty directories found a cluster by themselves,
# once all three nodes run; after that two of the three are enough to serve.
# Waits until each node serves, at most TIMEOUT seconds (30); WAIT=0 does not wait. SERVER=path chooses another binary.
# Directories, pids and logs are in data/, or where DATA says.
set -euo pipefail
cd "$(dirname "$0")"
. ./nodes.sh
server=${SERVER:-../../bin/chronik-server}
[ -x "$server" ] || { echo "start.sh: $server is missing: run make build" >&2; exit 1; }
server=$(cd "$(dirname "$server")" && pwd)/$(basename "$server")
[ $# -gt 0 ] || set -- node1 node2 node3
for node in "$@"; do
  [ -f "$node.toml" ] || { echo "start.sh: there is no $node.toml; the nodes are node1, node2 and node3" >&2; exit 1; }
done
mkdir -p "$DATA"
for node in "$@"; do
  if running "$node"; then
    echo "$node runs already, pid $(cat "$DATA/$node.pid")"
    continue
  fi
  : >"$DATA/$node.out"
  : >>"$DATA/$node.log"
  wc -c <"$DATA/$node.log" >"$DATA/$node.begin" # where this start's part of the log begins
  nohup "$server" start --config "$node.toml" --data-dir "$DATA/$node" </dev/null >"$DATA/$node.out" 2>>"$DATA/$node.log" &
  echo $! >"$DATA/$node.pid"
done
[ "${WAIT:-1}" = 1 ] || exit 0

# since NODE: its log from this start on.
since() { tail -c "+$(($(cat "$DATA/$1.begin") + 1))" "$DATA/$1.log"; }

failed=0
until=$((SECONDS + ${TIMEOUT:-30}))
for node in "$@"; do
  said=''
  began=$SECONDS
  while ! grep -q 'msg=ready' "$DATA/$node.out"; do
    if ! alive "$(cat "$DATA/$node.pid")"; then
      echo "start.sh: $node has ended:" >&2
      since "$node" | tail -n 3 >&2
      rm -f "$DATA/$node.pid"
      failed=1
      continue 2
    fi
    why=$(since "$node" | waits)
    if [ -n "$why" ] && [ "$why" != "$said" ] && [ $((SECONDS - began)) -ge 2 ]; then
      said=$why
      echo "$node waits $why"
    fi
    if [ $SECONDS -ge $until ] || { [ -n "$said" ] && [[ $said == *'never by itself'* ]]; }; then
      echo "start.sh: $node runs, pid $(cat "$DATA/$node.pid"), and does not serve${said:+: it waits $said}. Its log is $DATA/$node.log" >&2
      failed=1
      continue 2
    fi
    sleep 0.1
  done
  echo "$node serves, pid $(cat "$DATA/$node.pid")"
done
exit $failed
