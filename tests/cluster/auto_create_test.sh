#!/usr/bin/env bash
# How fast a topic that does not exist comes into being, through a node that is not the controller; and that it survives kill -9.
set -uo pipefail
cd "$(dirname "$0")"
. ./tap.sh
python
N=${N:-30}
CREATE_MS=${CREATE_MS:-100} # the most that one creation may take

ok 'three empty directories become a cluster' ./start.sh
ok 'it is healthy' healthy
follower=$(follower 1) other=$(follower 2) leads=$(controller)
echo "# controller $leads, asked is $follower"

# fast FILE: the maximum in what ask.py has printed is below CREATE_MS.
fast() { awk -v most="$CREATE_MS" '{ print; split($0, a, "max="); if (a[2] == "" || a[2] + 0 >= most) exit 1 }' "$1"; }
ask made "$(port "$follower")" made- "$N" >"$WORK/made" 2>&1
ok "$N creations by Metadata, each below $CREATE_MS ms, answered with a leader and $FACTOR replicas" fast "$WORK/made"
ok "kafka-python produces to $N topics that do not exist, acked with acks=all" ask auto "$(port "$follower")" auto- "$N"
ok 'all nodes show them, with the same ids' ask same "${PORTS[@]}" --factor --leaders --count $((2 * N))

ok 'strict: kill -9 of the node that was asked' killed "$follower"
ok 'the others have the topics' ask same "$(port "$leads")" "$(port "$other")" --factor --count $((2 * N))
ok 'topics are created through the other one meanwhile' ask made "$(port "$other")" meanwhile- 5
ok 'it comes back' ./start.sh "$follower"
ok 'and shows all topics, with leaders' ask same "${PORTS[@]}" --factor --leaders --count $((2 * N + 5))
ok 'every acknowledged record can be read' ask read "$(port "$follower")" auto- "$N"

ok 'strict: kill -9 of the controller' killed "$leads"
began=$(date +%s%N)
ok 'topics come into being without it' ask made "$(port "$other")" after- 1
echo "# $((($(date +%s%N) - began) / 1000000)) ms after the kill, with the start of the client"
ok 'it comes back' ./start.sh "$leads"
ok 'and shows all topics, with leaders' ask same "${PORTS[@]}" --factor --leaders --count $((2 * N + 6))
ok 'every acknowledged record can be read' ask read "$(port "$leads")" auto- "$N"
ok 'it is healthy, hashes equal' healthy
finish
