#!/usr/bin/env bash
# A thousand topics without a time-out, each made by producing to it, all visible on every node with a leader; also while nodes are killed.
set -uo pipefail
cd "$(dirname "$0")"
. ./tap.sh
python
N=${N:-1000}
LIMIT_S=${LIMIT_S:-120} # for a thousand, as the seed has it

ok 'three empty directories become a cluster' ./start.sh
follower=$(follower 1) other=$(follower 2) leads=$(controller)

# timed SECONDS COMMAND...: and no longer.
timed() {
  local most=$1 began=$SECONDS; shift
  timeout "$most" "$@" || { echo "exit code $? after $((SECONDS - began)) s"; return 1; }
}
ok "$N topics by producing through $follower, which does not lead" timed "$LIMIT_S" "$PYTHON" ./ask.py crowd "$(port "$follower")" t- "$N"
ok 'every node shows all of them, with leaders and equal ids' ask same "${PORTS[@]}" --factor --leaders --count "$N"
ok 'healthy, hashes equal' healthy

ok 'strict: kill -9 of all nodes' killed
ok 'strict: they come back' ./start.sh
ok 'strict: with all topics and leaders' ask same "${PORTS[@]}" --factor --leaders --count "$N"
ok 'strict: every acknowledged record can be read' ask read "$(port "$other")" t- "$N"

# A thousand more, while a node that is not asked is killed and comes back: a follower, then the controller.
leads=$(controller) follower=$(follower 1) other=$(follower 2)
ask many "$(port "$follower")" s- "$N" >"$WORK/many" 2>&1 &
background+=($!)
maker=$!
sleep 0.7
ok "strict: kill -9 of $other in the midst" killed "$other"
ok 'strict: it comes back' ./start.sh "$other"
ok "strict: kill -9 of $leads, the controller" killed "$leads"
ok 'strict: it comes back' ./start.sh "$leads"
wait $maker
ok 'strict: every creation was acknowledged' grep "^$N topics in" "$WORK/many"
ok 'strict: every node shows all of them, with leaders and equal ids' ask same "${PORTS[@]}" --factor --leaders --count $((2 * N))
ok 'healthy, hashes equal' healthy
ok 'all stop' ./stop.sh
ok "each node's own log is sound, and holds the same" sound
finish
