#!/usr/bin/env bash
# A node that was away while topics were created and deleted shows exactly the cluster's metadata when it is back: a follower, the
# controller, all of them.
set -uo pipefail
cd "$(dirname "$0")"
. ./tap.sh
python

names() { seq -f "$1%g" "$2" "$3"; }

# away NAME NODE VIA: while NODE is away ten topics are created and five deleted, three of which it has known.
away() {
  local name=$1 node=$2 via=$3
  ok "$name: kill -9 of $node" killed "$node"
  ok "$name: topics are created meanwhile" ask create "$(port "$via")" $(names "$name-" 1 10)
  ok "$name: others are deleted" ask delete "$(port "$via")" "old-$name-1" "old-$name-2" "old-$name-3" "$name-1" "$name-2"
  ok "$name: a setting changes" ask configure "$(port "$via")" "$name-3" "retention.ms=$((77000 + ${#name}))"
  names "+$name-" 3 10 >>"$WORK/has"
  printf -- '-%s\n' "old-$name-1" "old-$name-2" "old-$name-3" "$name-1" "$name-2" >>"$WORK/has"
  ok "$name: $node comes back" ./start.sh "$node"
  ok "$name: all nodes show the same, ids and all, and nothing else" ask same "${PORTS[@]}" --has "$WORK/has" --factor --leaders --count "$(grep -c '^+' <(sort -u "$WORK/has"))"
  ok "$name: healthy, hashes equal" healthy
  ok "$name: $node has no log to complain of" not grep -E 'level=ERROR|unknown topic' "$DATA/$node.log"
}

ok 'three empty directories become a cluster' ./start.sh
follower=$(follower 2) via=$(follower 1) leads=$(controller)
echo "# controller $leads, killed $follower, asked $via"
ok 'topics' ask create "$(port "$via")" $(names old-follower- 1 5) $(names old-controller- 1 5)
{ names +old-follower- 4 5; names +old-controller- 4 5; } >"$WORK/has"
ok 'more topics' ask create "$(port "$via")" $(names kept- 1 10)
names +kept- 1 10 >>"$WORK/has"
printf '+old-controller-%s\n' 1 2 3 >"$WORK/later" # there until the controller's turn
cat "$WORK/later" >>"$WORK/has"
away follower "$follower" "$via"
grep -vxFf "$WORK/later" "$WORK/has" >"$WORK/has2" && mv "$WORK/has2" "$WORK/has"
leads=$(controller); via=$(follower 1)
away controller "$leads" "$via"
ok 'another node leads' test "$(controller)" != "$leads"

# strict: a load through all nodes, and kill -9 in the midst of it, of a follower, the controller, and all three at once.
: >"$WORK/load"
for victims in "$(follower 1)" "$(controller)" "node1 node2 node3"; do
  ask load "$(IFS=,; echo "${PORTS[*]}")" "load-${victims// /}-" 4 >>"$WORK/load" &
  background+=($!)
  loader=$!
  sleep 1.5
  before=$(grep -c '^[+-]' "$WORK/load")
  ok "strict: kill -9 of $victims under load" killed $victims
  sleep 0.5
  ok "strict: $victims back" ./start.sh $victims
  wait $loader
  ok "strict: changes were acknowledged before and after" test "$before" -gt 10 -a "$(grep -c '^[+-]' "$WORK/load")" -gt $((before + 10))
  cat "$WORK/has" "$WORK/load" >"$WORK/all"
  ok "strict: $(grep -c '^[+-]' "$WORK/load") acknowledged changes, all there, nothing came back, ids equal" ask same "${PORTS[@]}" --has "$WORK/all" --factor --leaders
  ok 'strict: healthy, hashes equal' healthy
done

ok 'all stop' ./stop.sh
ok "each node's own log is sound, and holds the same" sound
ok 'with the settings that were changed while a node was away' bash -c "grep -q 77008 '$WORK/dump.node3' && grep -q 77010 '$WORK/dump.node1'"
finish
