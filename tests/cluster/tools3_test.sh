#!/usr/bin/env bash
# chronikctl and chronik-top on three nodes: all well, one killed, one stopped, two killed, and the directories of stopped nodes. The
# screens need tmux.
set -uo pipefail
cd "$(dirname "$0")"
. ./tap.sh
SESSIONS=()
close() { local s; for s in ${SESSIONS[@]+"${SESSIONS[@]}"}; do tmux kill-session -t "$s" 2>/dev/null; done; cleanup; }
trap close EXIT

rows() { [ "$(ctl status | grep -cE '^ +[123] +[●✗]')" = 3 ] || { ctl status; return 1; }; }
finding() { ctl status >"$WORK/status" 2>&1; grep -A1 -E -- "$1" "$WORK/status" | grep -qE -- "next: $2" || { echo "no finding $1 with next $2"; cat "$WORK/status"; return 1; }; }
hashes() { [ "$(ctl status | awk '$2 == "●" { print $9 }' | sort -u | wc -l)" = 1 ] || { ctl status; return 1; }; }
# at most SECONDS for a status, whatever is silent
quick() { timeout 6 "$BIN/chronikctl" status "$@" >"$WORK/status" 2>&1; local c=$?; [ $c = 0 ] || [ $c = 10 ] || { echo "exit code $c"; cat "$WORK/status"; return 1; }; }
screen() { # screen SESSION PATTERN...: what tmux shows has each of them within 15 s
  local session=$1 p; shift
  for p in "$@"; do
    for _ in $(seq 75); do tmux capture-pane -p -t "$session" 2>/dev/null | grep -qE -- "$p" && continue 2; sleep 0.2; done
    echo "the screen never showed: $p"; tmux capture-pane -p -t "$session"; return 1
  done
}

ok 'start' ./start.sh
ok 'HEALTHY: exit code 0, tolerates one failure' gives 'HEALTHY .*tolerates 1 further failure' exits 0 ctl cluster status
ok 'a row for each node' rows
ok 'one controller, two voters' bash -c "[ \$('$BIN/chronikctl' status | grep -c ' controller ') = 1 ] && [ \$('$BIN/chronikctl' status | grep -c ' voter ') = 2 ]"
ok 'equal hashes' hashes
ok 'topics' gives 'created' ctl topic create a b c -p 3
leads=$(controller) away=$(follower 1) other=$(follower 2)
via=$(port "$leads")
ok 'partition list: three replicas in sync' gives '^a +0 .* 2  - +● ok' ctl partition list a
ok 'partition status: nothing to say' gives 'every partition has a leader and all its replicas' exits 0 ctl partition status
ok 'partition verify: EQUAL' gives '● EQUAL' exits 0 ctl partition verify
ok 'metadata tail, through a follower' gives 'TopicCreated +topic a created' ctl -b "$(port "$away")" metadata tail -n 50
ok 'metadata dump, the same through all' bash -c "for p in ${PORTS[*]}; do '$BIN/chronikctl' -q -b \$p metadata dump | md5sum; done | sort -u | wc -l | grep -qx 1"
ok 'metadata verify: SOUND, all three nodes' gives 'node 3: image at offset' exits 0 ctl metadata verify

if command -v tmux >/dev/null; then
  for size in 80x24 120x32; do
    s=chronik-tools3-$$-$size
    SESSIONS+=("$s")
    tmux new-session -d -s "$s" -x "${size%x*}" -y "${size#*x}" "CHRONIK_BOOTSTRAP=$via '$BIN/chronik-top'"
    ok "top at $size: three nodes" screen "$s" HEALTHY "127.0.0.1:9092|^ *│? *1 " "127.0.0.1:9093|^ *│? *2 " "127.0.0.1:9094|^ *│? *3 "
  done
fi

ok "kill -9 of $away" killed "$away"
ok 'within 10 s it is fenced; all partitions are served, with a replica less' within 10 finding 'partitions have a replica that is not in sync, all are served' 'they catch up by themselves once the node is back'
ok 'what to do' finding "node ${away#node} is fenced" "start node ${away#node} again"
ok 'partition status: all at min ISR, exit code 10' gives '^a +0 .* ▲ at min ISR' exits 10 ctl partition status
ok 'none is offline: exit code 0' exits 0 ctl partition status --offline --under-min-isr
ok 'topic describe' gives ' +2 .*▲ under-replicated' ctl topic describe a
ok 'partition verify says what it could not ask: exit code 5' gives "a-0 on node ${away#node} is unchecked: the node is fenced" exits 5 ctl partition verify
ok 'its row stays' rows
ok 'exit code 10' exits 10 ctl status
ok 'tolerates nothing' gives '^ +'"${away#node}"' +✗ fenced' ctl status
ok 'verify: the others are SOUND' gives '● SOUND' exits 0 ctl metadata verify
for s in ${SESSIONS[@]+"${SESSIONS[@]}"}; do ok "top shows it (${s##*-})" screen "$s" 'UNAVAILABLE|DEGRADED' 'fenced|unreachable'; done
ok "dump of its directory" gives 'topic/a ' ctl metadata dump --dir "$DATA/$away"
ok "verify of its directory" gives '● SOUND' exits 0 ctl metadata verify --dir "$DATA/$away"
ok 'a running node is not read' gives 'its node runs, as process' exits 1 ctl metadata verify --dir "$DATA/$leads"

# one flipped bit: in the first half of what is written, so that valid commits follow it
cp -a "$DATA/$away" "$WORK/damaged"
python3 - "$WORK/damaged" <<'P'
import glob, sys
path = sorted(glob.glob(sys.argv[1] + "/metadata/log/*"))[0]
data = bytearray(open(path, "rb").read())
at = data.find(b"TopicCreated")
assert at > 0, "no event in " + path
data[at] ^= 1
open(path, "wb").write(data)
P
ok 'a flipped bit is found' gives 'NOT SOUND|cannot be read' exits 10 ctl metadata verify --dir "$WORK/damaged"
ok 'and where it is' gives 'commits? [0-9]+ to [0-9]+, slot [0-9]+ at [0-9]+|slot [0-9]+' ctl metadata verify --dir "$WORK/damaged"

ok "SIGSTOP of $other: only one of three answers" kill -STOP "$(cat "$DATA/$other.pid")"
ok 'a status comes all the same' quick -b "$via"
ok 'UNAVAILABLE, with the reason' within 10 gives 'only 1 of 3 voters answer: metadata cannot change' ctl -b "$via" status
ok 'also when the silent node is asked first' quick -b "$(port "$other"),$via"
kill -CONT "$(cat "$DATA/$other.pid")"
ok 'it wakes, and metadata changes again' within 15 gives '● created|exists' ctl -b "$via" topic create "after-stop"

ok "kill -9 of $other: two are dead" killed "$other"
ok 'nothing is served' within 10 gives '^([0-9]+) partitions · \1 offline' exits 10 ctl partition status
ok 'what brings it back' within 10 finding 'only 1 of 3 voters' 'bring back 1 of nodes'
ok 'nothing is said twice a second in the log' bash -c "[ \$(grep -c 'broker fenced' '$DATA/$leads.log') -le 3 ]"
ok "both come back" ./start.sh "$away" "$other"
ok 'HEALTHY' healthy
ok 'equal hashes' hashes
for s in ${SESSIONS[@]+"${SESSIONS[@]}"}; do ok "top shows it (${s##*-})" screen "$s" 'HEALTHY'; done

# a disk that is put back to an older state: nobody hears it any more, and all say so
back=${away#node}
ok "$away stops" ./stop.sh "$away"
cp -a "$DATA/$away" "$WORK/older"
ok 'it comes back, and the others remember that' ./start.sh "$away"
ok 'and stops' ./stop.sh "$away"
rm -rf "${DATA:?}/$away" && cp -a "$WORK/older" "$DATA/$away"
ok 'start.sh says why it does not serve, before its time is over' gives "$away runs, .*never by itself: node . at .* refuses this node: the disk of node $back was put back" exits 1 timeout 15 ./start.sh "$away"
ok 'so does the status, and what to do' within 10 finding "node $back is refused by nodes ., . for good: its disk was put back" 'keep the other nodes running'
ok 'its log says it once a node' test "$(grep -c 'node refused' "$DATA/$away.log")" = 2
finish
