#!/usr/bin/env bash
# The three tools against one real node, as a user types them. TAP output. Needs bin/ (make build); the screens of chronik-top need tmux.
set -uo pipefail
cd "$(dirname "$0")/../.."
BIN=$PWD/bin
DIR=$(mktemp -d)
n=0; failed=0
ok() { # ok NAME COMMAND...
  local name=$1; shift
  n=$((n + 1))
  if "$@" >"$DIR/out" 2>"$DIR/err"; then echo "ok $n - $name"; else
    failed=$((failed + 1)); echo "not ok $n - $name"; sed 's/^/# /' "$DIR/out" "$DIR/err" | tail -20
  fi
}
exits() { # exits CODE COMMAND...
  local want=$1; shift
  "$@"; local got=$?
  [ "$got" = "$want" ] || { echo "exit code $got, want $want"; return 1; }
}
gives() { # gives PATTERN COMMAND...: the command succeeds and its output has a line like PATTERN
  local pattern=$1; shift
  "$@" >"$DIR/given" && grep -qE -- "$pattern" "$DIR/given" || { echo "no line like: $pattern"; cat "$DIR/given"; return 1; }
}
screen() { # screen PATTERN: what tmux shows has it within 10 s
  for _ in $(seq 1 50); do
    tmux capture-pane -p -t "$SESSION" 2>/dev/null | grep -qE -- "$1" && return 0
    sleep 0.2
  done
  echo "the screen never showed: $1"; tmux capture-pane -p -t "$SESSION"; return 1
}

"$BIN/chronik-server" start --data-dir "$DIR/data" --kafka 127.0.0.1:0 --wal 127.0.0.1:0 --raft 127.0.0.1:0 --http off >"$DIR/server" 2>&1 &
SERVER=$!
SESSION=chronik-tools-$$
trap 'kill "$SERVER" 2>/dev/null; wait "$SERVER" 2>/dev/null; tmux kill-session -t "$SESSION" 2>/dev/null; rm -rf "$DIR"' EXIT
for _ in $(seq 1 100); do grep -q ready "$DIR/server" && break; sleep 0.1; done
CHRONIK_BOOTSTRAP=$(sed -nE 's/.*ready.*kafka=([^ ]+).*/\1/p' "$DIR/server" | head -1)
export CHRONIK_BOOTSTRAP
if [ -z "$CHRONIK_BOOTSTRAP" ]; then echo "Bail out! the server is not ready"; sed 's/^/# /' "$DIR/server"; exit 1; fi

ok "status is healthy" gives 'HEALTHY' "$BIN/chronikctl" status
ok "status as JSON" gives '"kind": "ClusterStatus"' "$BIN/chronikctl" status -o json
ok "create a topic" gives 'orders +● created' "$BIN/chronikctl" topic create orders -p 3
ok "the topic is there" gives '^orders +3 +1 +● ok' "$BIN/chronikctl" topic list
ok "a misspelt topic is answered" exits 1 "$BIN/chronikctl" topic describe ordrs
ok "produce" bash -c "printf 'a\nb\nc' | '$BIN/chronikctl' produce orders -k k"
ok "consume what was produced" gives '^a-b-c-$' "$BIN/chronikctl" consume orders -o :end -f '%v-'
ok "consume in a group" gives '"value":"c"' "$BIN/chronikctl" consume orders -g readers -n 3 -o json
ok "the metadata log tells of the topic" gives 'TopicCreated +topic orders created, 3 partitions' "$BIN/chronikctl" metadata tail
ok "its diff shows the partitions" gives '\+ partition/orders/2' "$BIN/chronikctl" metadata tail --diff --entity topic/orders
ok "delete asks" exits 2 "$BIN/chronikctl" topic delete orders
ok "bench, the bare line" gives 'closed loop: 128 records outstanding' "$BIN/chronik-bench" --acks all --concurrency 128 --duration 2s --verify
ok "bench, the seed's line" gives 'lost 0, duplicated 0, reordered 0, corrupt 0' "$BIN/chronik-bench" --bootstrap-servers "$CHRONIK_BOOTSTRAP" --topic perf --mode produce \
  --concurrency 128 --message-size 1024 --duration 2s --acks all --partitions 3 --replication-factor 1 --create-topic --verify
ok "bench, end to end" gives 'lost 0, duplicated 0' "$BIN/chronik-bench" --mode e2e --rate 500 --duration 2s
ok "bench, metadata" gives '^create ' "$BIN/chronik-bench" --mode metadata --concurrency 4 --duration 1s
ok "bench leaves nothing behind" bash -c "! '$BIN/chronikctl' topic list -o name | grep chronik-bench"
ok "top, one frame" gives 'NEWEST EVENTS' "$BIN/chronik-top" --once
ok "top, one document" gives '"kind": "TopSnapshot"' "$BIN/chronik-top" --once -o json

if command -v tmux >/dev/null; then
  tmux new-session -d -s "$SESSION" -x 120 -y 32 "CHRONIK_BOOTSTRAP=$CHRONIK_BOOTSTRAP '$BIN/chronik-top' --record '$DIR/recording'"
  ok "top: overview" screen 'HEALTHY.*live'
  tmux send-keys -t "$SESSION" 5
  ok "top: metadata" screen 'METADATA LOG offset'
  "$BIN/chronikctl" topic create while-watching >/dev/null
  ok "top: a new topic appears live" screen 'topic while-watching created'
  ok "top: with what it changed" screen '\+ partition/while-watching/0'
  tmux send-keys -t "$SESSION" '[' Enter
  ok "top: time travel" screen 'AS OF offset'
  tmux send-keys -t "$SESSION" 0
  kill -STOP "$SERVER"
  ok "top: a silent node is told" screen 'stale [0-9]+s|does not answer|UNAVAILABLE|DEGRADED'
  kill -CONT "$SERVER"
  ok "top: and it comes back" screen 'HEALTHY.*● live'
  tmux send-keys -t "$SESSION" q
  sleep 1
  ok "top: q quits" bash -c "! tmux has-session -t '$SESSION' 2>/dev/null"
  ok "top: the recording plays" gives 'while-watching' "$BIN/chronik-top" --once --replay "$DIR/recording" --screen metadata
fi

kill "$SERVER"; wait "$SERVER" 2>/dev/null
ok "nobody there: exit code 3" exits 3 "$BIN/chronikctl" status
echo "1..$n"
exit $((failed > 0))
