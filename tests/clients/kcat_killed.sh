#!/usr/bin/env bash
# kcat while nodes are killed (kills.sh): a producer with kcat's defaults, which may write a record twice, an idempotent one, which may not,
# a reader of one partition after the other, and a member of a group. CHRONIK_BOOTSTRAP is the nodes.
set -euo pipefail
. ./killed.sh
k() { timeout 120 kcat -b "$CHRONIK_BOOTSTRAP" "$@"; }
plain=kcat-plain-$RANDOM$RANDOM
exact=kcat-exact-$RANDOM$RANDOM
group=$exact-group
"$bin/chronikctl" -q topic create "$plain" "$exact" -p 3 >/dev/null

numbers | k -P -t "$plain" -K: -X acks=all 2>"$work/plain.err" &
plain_pid=$!
numbers | k -P -t "$exact" -K: -X acks=all -X enable.idempotence=true 2>"$work/exact.err" &
exact_pid=$!
until [ -s "$work/group" ]; do timeout 10 kcat -b "$CHRONIK_BOOTSTRAP" -G "$group" -X auto.offset.reset=earliest -c 1 -q "$exact" >"$work/group" 2>/dev/null || true; done
kcat -b "$CHRONIK_BOOTSTRAP" -G "$group" -X auto.offset.reset=earliest -u -q "$exact" >>"$work/group" 2>"$work/group.err" &
group_pid=$!
./kills.sh "$exact" "$group"
touch "$work/stop"
ends "$plain_pid" "the producer with its defaults has an acknowledgement of each record"
ends "$exact_pid" "the idempotent producer too"
count=$(k -C -t "$exact" -o beginning -e -q -f '%s\n' | tee "$work/exact" | wc -l)
check "idempotent: each record once" "$(seq "$count")" "$(sort -n "$work/exact")"
k -C -t "$plain" -o beginning -e -q -f '%s\n' >"$work/plain"
check "defaults: each record at least once" "$(seq "$(sort -n "$work/plain" | tail -n 1)")" "$(sort -nu "$work/plain")"
for p in 0 1 2; do
  k -C -t "$exact" -p "$p" -o beginning -e -q -f '%s\n' >"$work/one"
  check "partition $p is in order" "$(sort -n "$work/one")" "$(cat "$work/one")"
done
for _ in $(seq 300); do [ "$(sort -nu "$work/group" | wc -l)" -lt "$count" ] || break; sleep 0.2; done
check "the group has read each record" "$(seq "$count")" "$(sort -nu "$work/group")"
kill "$group_pid" # SIGTERM: it commits and leaves
wait "$group_pid" || true
printf '1:%s\n' "$((count + 1))" "$((count + 2))" | k -P -t "$exact" -K: -X acks=all
check "a new member begins at what was committed" "$(seq $((count + 1)) $((count + 2)))" \
  "$(k -G "$group" -X auto.offset.reset=earliest -c 2 -q "$exact" 2>/dev/null)"
echo "1..$number"
