#!/usr/bin/env bash
# How three nodes become one cluster, and how they do not: as start.sh and stop.sh are typed by somebody who has never seen them.
set -uo pipefail
cd "$(dirname "$0")"
. ./tap.sh

# never STATUS COMMAND...: exits so, and what it prints ends up in $WORK/said.
says() { local pattern=$1; shift; "$@" >"$WORK/said" 2>&1; grep -qE -- "$pattern" "$WORK/said" || { echo "no line like: $pattern"; cat "$WORK/said"; return 1; }; }
cluster_of() { sed -n 's/^cluster.id=//p' "$DATA/$1/meta.properties"; }
one_cluster() { [ -n "$(cluster_of node1)" ] && [ "$(for n in "${NODES[@]}"; do cluster_of "$n"; done | sort -u | wc -l)" = 1 ]; }
wipe() { rm -rf "${DATA:?}/$1"; }

# one after the other
ok 'a name that is not a node is refused' says 'the nodes are node1, node2 and node3' exits 1 ./start.sh node4
ok 'one node of three says whom it waits for' says 'node3 waits for the other founders: node 1 .* not reachable.*once all nodes of \[\[peers\]\] run' env TIMEOUT=3 ./start.sh node3
ok 'two of three found nothing' says 'node1 .*waits for the other founders: node 2' env TIMEOUT=3 ./start.sh node1
ok 'clients are sent away at once meanwhile' says 'the node hung up' exits 3 timeout 8 "$BIN/chronikctl" status -b 127.0.0.1:9094
ok 'with the third there is a cluster' ./start.sh
ok 'one' one_cluster
ok 'healthy' healthy
ok 'start.sh again changes nothing' says 'node2 runs already' ./start.sh
ok 'stop' ./stop.sh
ok 'stop.sh again says so' says 'node2 does not run' ./stop.sh
id=$(cluster_of node1)

# two of three are enough from now on; one is not
ok 'one member alone says how many are missing' says 'node2 waits for 2 of 3 voters to run: node 1 .*start 1 of them' env TIMEOUT=3 ./start.sh node2
ok 'two members serve' ./start.sh node2 node3
ok 'the third comes later' ./start.sh node1
ok 'healthy' healthy
ok 'kill -9 of all, and they are back' bash -c 'SIGNAL=KILL ./stop.sh && ./start.sh'
ok 'in the same cluster' test "$(cluster_of node1)" = "$id"

# a wiped node
for node in node2 node1; do
  ok "$node stops" ./stop.sh "$node"
  cp -a "$DATA/$node" "$WORK/old"
  wipe "$node"
  ok "$node, wiped, does not serve and says what to do" says 'waits for add-node, which is not built yet, and never by itself: .*put its old data directory back' exits 1 ./start.sh "$node"
  ok 'it has founded nothing' test ! -e "$DATA/$node/meta.properties"
  ok 'status says that its directory is empty' gives "node ${node#node} runs on an empty directory" ctl status
  ok 'and that it is DEGRADED or UNAVAILABLE' exits 10 ctl status
  ok 'the others go on' gives 'created' ctl topic create "without-$node"
  ./stop.sh "$node" >/dev/null
  wipe "$node"
  mv "$WORK/old" "$DATA/$node"
  ok 'with its old directory it is back' ./start.sh "$node"
  ok 'healthy' healthy
done
ok 'all wiped but one, which is stopped' ./stop.sh
cp -a "$DATA" "$WORK/kept"
wipe node1; wipe node2
ok 'two wiped founders do not found a second cluster' says 'node1 .*waits for the other founders: node 3' env TIMEOUT=3 ./start.sh node1 node2
ok 'nor with the third, which remembers' says 'waits for add-node' env TIMEOUT=3 ./start.sh
ok 'nothing was founded' test ! -e "$DATA/node1/meta.properties" -a ! -e "$DATA/node2/genesis.json"
killed >/dev/null

# refused starts
rm -rf "$DATA"; mv "$WORK/kept" "$DATA"
ok 'a directory of another node is refused' says 'belongs to node 1, this is node 2: set node_id, or use another data directory' \
  exits 1 "$BIN/chronik-server" start --config node2.toml --data-dir "$DATA/node1"
rm -f "$DATA/node2/genesis.json"
ok 'a directory that has lost its genesis is refused' says 'genesis.json is missing: restore the file' exits 1 ./start.sh node2
ok 'start the others' ./start.sh node1 node3
ok 'a second server on the ports is refused' says 'another process uses this port; choose another with --kafka' \
  exits 1 "$BIN/chronik-server" start --config node1.toml --data-dir "$WORK/second"
ok 'and has written nothing but its lock' test "$(ls "$WORK/second")" = LOCK
ok 'a second server on the directory is refused' says 'in use by the process with pid' \
  exits 1 "$BIN/chronik-server" start --config node1.toml --data-dir "$DATA/node1" --kafka 127.0.0.1:0 --wal 127.0.0.1:0 --raft 127.0.0.1:0
killed >/dev/null
: >"$WORK/file"
ok 'a data directory that cannot be made is refused' says 'create data directory|not a directory' exits 1 "$BIN/chronik-server" start --config node1.toml --data-dir "$WORK/file/node1"

# founders with different lists
rm -rf "$DATA"
sed 's/127.0.0.1:5003/127.0.0.1:5999/' node2.toml >"$WORK/node2.toml"
ok 'two founders' env WAIT=0 ./start.sh node1 node3
"$BIN/chronik-server" start --config "$WORK/node2.toml" --data-dir "$DATA/node2" >/dev/null 2>"$WORK/other.log" &
other=$!
background+=("$other")
ok 'another list says so' within 10 grep -q 'lists other founders in \[\[peers\]\] than node 2; give all nodes the same' "$WORK/other.log"
sleep 1
ok 'nothing is founded' test ! -e "$DATA/node1/genesis.json" -a ! -e "$DATA/node2/genesis.json" -a ! -e "$DATA/node3/genesis.json"
kill -9 "$other"; wait "$other" 2>/dev/null
ok 'with the right list they found' ./start.sh
ok 'healthy' healthy
killed >/dev/null

# kill -9 of all in the midst of founding, at ever later moments
for ms in 005 015 025 035 050 070 090 120 160 220; do
  rm -rf "$DATA"
  WAIT=0 ./start.sh >/dev/null
  sleep "0.$ms"
  killed >/dev/null
  state=$(for n in "${NODES[@]}"; do ls "$DATA/$n" 2>/dev/null | grep -E 'founding|genesis|meta' | tr '\n' ' '; echo -n '/ '; done)
  ok "killed ${ms} ms after the start ($state): the next start makes one cluster" ./start.sh
  one_cluster || ok 'one cluster' one_cluster
  killed >/dev/null
done
finish
