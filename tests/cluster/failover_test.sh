#!/usr/bin/env bash
# kill -9 of leaders under load: nothing acknowledged is lost or there twice, producing goes on, and for how long nothing was acknowledged.
# With CHRONIK_STRICT_FIGURES=1 that may be at most GAP_MS.
set -uo pipefail
cd "$(dirname "$0")"
. ./tap.sh
python
GAP_MS=${GAP_MS:-500}
PATIENCE_MS=10000 # never more than this, however busy the machine is

ok 'three empty directories become a cluster' ./start.sh
ok 'a topic' gives 'created' ctl topic create failover -p 3

# short FILE: the longest gap in what records.py has printed.
short() {
  local ms most=$PATIENCE_MS
  [ -z "${CHRONIK_STRICT_FIGURES:-}" ] || most=$GAP_MS
  cat "$1"
  ms=$(sed -nE 's/.*longest=([0-9]+) ms.*/\1/p' "$1")
  [ -n "$ms" ] && [ "$ms" -le "$most" ]
}

# trial NAME VICTIM: VICTIM is killed under load, and comes back while the load goes on.
trial() {
  local name=$1 victim=$2 loader
  records stream "$CHRONIK_BOOTSTRAP" failover 8 "$WORK/acked" >"$WORK/stream" 2>&1 &
  loader=$!
  background+=($loader)
  sleep 3
  ok "$name: kill -9 of $victim, which leads" killed "$victim"
  sleep 2
  ok "$name: it comes back under load" ./start.sh "$victim"
  ok "$name: no producer gave up" wait $loader
  ok "$name: producing went on: the longest time without an acknowledgement" short "$WORK/stream"
  ok "$name: healthy, all in sync" healthy
  ok "$name: every acknowledged record is there, none twice" records check "$CHRONIK_BOOTSTRAP" failover "$WORK/acked"
  ok "$name: strict: each replica's own log is equal" replicas_equal "$(wc -l <"$WORK/acked")" failover
}
records stream "$CHRONIK_BOOTSTRAP" failover 2 "$WORK/acked" >"$WORK/stream" 2>&1
echo "# nobody killed: $(cat "$WORK/stream")"
led() { ctl partition list failover -o csv | awk -F, 'NR > 1 { print $3 }' | sort -u | wc -l | grep -qx 3; }

trial 'a voter' "$(follower 1)"
ok 'each node leads one partition again' within 60 led
trial 'the controller' "$(controller)"
ok 'each node leads one partition again' within 60 led
trial 'the leader of partition 0' "$(leader failover 0)"

ok 'strict: kill -9 of all nodes' dead "${NODES[@]}"
./stop.sh >/dev/null 2>&1
ok "strict: read from the disks: all three are equal" replicas_equal "$(wc -l <"$WORK/acked")" failover $(dirs)
ok 'they come back' ./start.sh
ok 'healthy' healthy
ok 'every acknowledged record is there, none twice' records check "$CHRONIK_BOOTSTRAP" failover "$WORK/acked"
finish
