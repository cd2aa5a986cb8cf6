# The frame of the tests with three nodes: TAP, a cluster in a directory of its own on the ports of node1.toml to node3.toml, and its
# end, also when the test is interrupted. To be sourced, in this folder; then finish.
# FACTOR is the replication factor of what is made: 3, as the nodes have it by default. With another one they are told.
export FACTOR=${FACTOR:-3}
[ "$FACTOR" = 3 ] || export CHRONIK_REPLICATION_FACTOR=$FACTOR CHRONIK_MIN_INSYNC_REPLICAS=$(((FACTOR + 1) / 2))
BIN=$(cd ../../bin && pwd) || { echo 'Bail out! bin/ is missing: run make build'; exit 1; }
WORK=$(mktemp -d)
export DATA=$WORK/data
. ./nodes.sh
NODES=(node1 node2 node3)
PORTS=(127.0.0.1:9092 127.0.0.1:9093 127.0.0.1:9094)
export CHRONIK_BOOTSTRAP=127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094
count=0; broken=0; background=()

cleanup() {
  local p
  for p in ${background[@]+"${background[@]}"}; do kill -9 "$p" 2>/dev/null; done
  SIGNAL=KILL ./stop.sh >/dev/null 2>&1
  rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

for port in 9092 9093 9094 9291 9292 9293 5001 5002 5003; do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "Bail out! port $port is in use: a cluster of three runs here already; tests/cluster/stop.sh ends it"
    exit 1
  fi
done

# ok NAME COMMAND...: one test. What the command prints is shown as a diagnostic, its first line also when it succeeds.
ok() {
  local name=$1; shift
  count=$((count + 1))
  if "$@" >"$WORK/out" 2>&1; then
    echo "ok $count - $name"
    sed -n '1s/^/# /p' "$WORK/out"
  else
    broken=$((broken + 1))
    echo "not ok $count - $name"
    tail -n 30 "$WORK/out" | sed 's/^/# /'
    [ -z "${KEEP:-}" ] || cp -a "$DATA" "$KEEP"
  fi
}

# finish: the plan, and the exit code of the test.
finish() {
  echo "1..$count"
  exit $((broken > 0))
}

# exits CODE COMMAND...
exits() {
  local want=$1 got=0; shift
  "$@" || got=$?
  [ "$got" = "$want" ] || { echo "exit code $got, want $want: $*"; return 1; }
}

# gives PATTERN COMMAND...: the output has a line like PATTERN, whatever the exit code.
gives() {
  local pattern=$1; shift
  "$@" >"$WORK/given" 2>&1
  grep -E -- "$pattern" "$WORK/given" || { echo "no line like: $pattern"; cat "$WORK/given"; return 1; }
}

# within SECONDS COMMAND...: the command succeeds within that time; tried again and again.
within() {
  local until=$((SECONDS + $1)); shift
  until "$@" >"$WORK/tried" 2>&1; do
    [ $SECONDS -lt $until ] || { cat "$WORK/tried"; return 1; }
    sleep 0.1
  done
  cat "$WORK/tried"
}

not() { ! "$@"; }
ctl() { "$BIN/chronikctl" "$@"; }

# status FIELD: of the cluster's state, in JSON's dots.
status() { ctl status -o json | python3 -c 'import json, sys
v = json.load(sys.stdin)
v = v.get("data", v)
for k in sys.argv[1].split("."): v = v[int(k)] if isinstance(v, list) else v[k]
print(v)' "$1"; }

# controller: its node, node1 to node3.
controller() { echo "node$(status controller)"; }

# follower [N]: the Nth node that is not the controller, 1 by default.
follower() {
  local c; c=$(controller)
  printf '%s\n' "${NODES[@]}" | grep -vx "$c" | sed -n "${1:-1}p"
}

# port NODE: where its clients go.
port() { echo "${PORTS[$((${1#node} - 1))]}"; }

# leader TOPIC PARTITION: its leader's node.
leader() { ctl partition list "$1" -o csv | awk -F, -v p="$2" '$2 == p && $3 != "-" { print "node" $3 }'; }

# dead NODES...: kill -9 of all of them in one moment; stop.sh waits for one after the other.
dead() {
  local node pids=()
  for node in "$@"; do pids+=("$(cat "$DATA/$node.pid")"); done
  kill -9 "${pids[@]}"
}

# replicas_equal RECORDS TOPIC [--dir ...]: every replica's own log of the topic is read, all FACTOR of them are equal, and each node was
# compared over at least so many records.
replicas_equal() {
  local records=$1 topic=$2 code=0; shift 2
  ctl partition verify "$topic" -o json "$@" >"$WORK/verified" || code=$?
  [ "$code" = 0 ] || { echo "exit code $code"; ctl partition verify "$topic" "$@"; return 1; }
  python3 ./equal.py "$WORK/verified" "$records" "$FACTOR"
}

# dirs: the --dir flags of all nodes.
dirs() { printf -- '--dir %s ' "$DATA/node1" "$DATA/node2" "$DATA/node3"; }

killed() { SIGNAL=KILL ./stop.sh "$@"; }

# ask ...: see ask.py. kafka-python is installed at the first call.
ask() { "$PYTHON" ./ask.py "$@"; }
records() { "$PYTHON" ./records.py "$@"; }
python() {
  local venv=${CHRONIK_CLUSTER_DIR:-../../.venv/cluster}/python
  if ! cmp -s requirements.txt "$venv/requirements.txt"; then
    python3 -m venv --clear "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt && cp requirements.txt "$venv/" || {
      echo 'Bail out! kafka-python cannot be installed'
      exit 1
    }
  fi
  PYTHON=$venv/bin/python
}

# healthy: all nodes serve, none lags, and their hashes are equal.
healthy() { ctl status --exit-when-healthy --timeout 15s; }

# sound: the metadata log in each stopped node's own directory, checked, and all images at the lowest common offset equal, entity by entity.
sound() {
  local node low='' end
  for node in "${NODES[@]}"; do
    ctl metadata verify --dir "$DATA/$node" -o json >"$WORK/verify.$node" || { cat "$WORK/verify.$node"; return 1; }
    end=$(python3 -c 'import json, sys
v = json.load(open(sys.argv[1]))
print(v.get("data", v)["imageOffset"])' "$WORK/verify.$node")
    [ -n "$low" ] && [ "$low" -le "$end" ] || low=$end
  done
  for node in "${NODES[@]}"; do
    ctl metadata dump --dir "$DATA/$node" --at "$low" >"$WORK/dump.$node" 2>/dev/null || return 1
    [ -s "$WORK/dump.$node" ] && cmp "$WORK/dump.node1" "$WORK/dump.$node" || { diff "$WORK/dump.node1" "$WORK/dump.$node" | head; return 1; }
  done
  echo "equal at offset $low, $(wc -l <"$WORK/dump.node1") entities"
}
