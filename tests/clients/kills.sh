#!/usr/bin/env bash
# Kills (kill -9) three times a node and brings it back, while a client works: the leader of partition 0 of TOPIC, the controller, and the
# coordinator of GROUP. Each is away for AWAY seconds (2). The next one dies when all replicas are in sync again, as three nodes tolerate
# one failure. Usage: kills.sh TOPIC GROUP. CHRONIK_NODES is the directory of the nodes, CHRONIK_BOOTSTRAP their addresses.
set -euo pipefail
. "$(dirname "$0")/nodes.sh"

# leader TOPIC PARTITION
leader() {
  "$bin/chronikctl" topic describe "$1" -o json | python3 -c '
import json, sys
found = [p["leader"] for p in json.load(sys.stdin)["items"][0]["partitions"] if p["partition"] == int(sys.argv[1])]
print(found[0])' "$2"
}

controller() { "$bin/chronikctl" status -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["controller"])'; }

# coordinator GROUP: who leads the partition of __consumer_offsets that is the group's by the hash code of its name, as Java computes it.
coordinator() {
  local n
  n=$("$bin/chronikctl" topic describe __consumer_offsets -o json | python3 -c '
import functools, json, sys
count = len(json.load(sys.stdin)["items"][0]["partitions"])
code = functools.reduce(lambda h, c: (31 * h + c) & 0xffffffff, sys.argv[1].encode(), 0)
print((code & 0x7fffffff) % count)' "$1")
  leader __consumer_offsets "$n"
}

# strike WHAT NODE
strike() {
  gone "$2"
  sleep "${AWAY:-2}"
  launch "$2"
  whole
  echo "# killed node $2, $1; all in sync again at $(date +%T)"
}

whole
strike "the leader of $1-0" "$(leader "$1" 0)"
strike "the controller" "$(controller)"
strike "the coordinator of $2" "$(coordinator "$2")"
