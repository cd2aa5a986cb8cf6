#!/usr/bin/env bash
# A record that was acknowledged with acks=all is on every replica in sync: each replica's own log is read, and the records are read back
# from the others when the leader is dead.
set -uo pipefail
cd "$(dirname "$0")"
. ./tap.sh
python
N=${N:-3000}
all=$CHRONIK_BOOTSTRAP

ok 'three empty directories become a cluster' ./start.sh
ok 'a topic' gives 'created' ctl topic create replicated -p 3
in_sync() { ctl partition list replicated -o json | python3 -c 'import json, sys
v = json.load(sys.stdin)
assert all(len(p["replicas"]) == 3 and sorted(p["isr"]) == [1, 2, 3] and p["minIsr"] == 2 for p in v.get("items", v.get("data"))), v'; }
ok 'its partitions have three replicas, all in sync, and need two' in_sync
ok "kafka-python produces $N records with acks=all" records produce "$(port node1)" replicated "$N" "$WORK/acked"
ok 'every record is acknowledged' test "$(wc -l <"$WORK/acked")" = "$N"
for port in "${PORTS[@]}"; do ok "they are read through $port" records check "$port" replicated "$WORK/acked"; done
ok "strict: each node's own log, asked for: all three are equal" replicas_equal "$N" replicated

ok 'strict: kill -9 of all three in one moment' dead "${NODES[@]}"
./stop.sh >/dev/null 2>&1
ok "strict: each node's own log, read from its disk: all three are equal" replicas_equal "$N" replicated $(dirs)

# A flipped bit in one copy on disk is found.
cp -a "$DATA/node2" "$WORK/damaged"
flip() { python3 - "$1" "$2" <<'P'
import glob, os, sys
value = open(sys.argv[2]).readline().rstrip("\n").split("\t")[2].encode()
for path in glob.glob(sys.argv[1] + "/wal/*"):
    data = open(path, "rb").read() if os.path.isfile(path) else b""
    at = data.find(value)
    if at >= 0:
        with open(path, "r+b") as f:
            f.seek(at)
            f.write(bytes([data[at] ^ 1]))
        sys.exit()
sys.exit("the record is not in the write-ahead log")
P
}
ok 'a bit of a record is flipped in a copy' flip "$WORK/damaged" "$WORK/acked"
ok 'that is found' gives 'corrupt|damaged' exits 10 ctl partition verify --dir "$DATA/node1" --dir "$WORK/damaged" --dir "$DATA/node3"

ok 'they come back' ./start.sh
ok 'healthy' healthy
ok 'a running node is not read' gives 'its node runs, as process' exits 1 ctl partition verify --dir "$DATA/node2"
for p in 0 1 2; do
  leads=$(leader replicated $p)
  ok "strict: kill -9 of $leads, the leader of partition $p" killed "$leads"
  for other in $(printf '%s\n' "${NODES[@]}" | grep -vx "$leads"); do
    ok "strict: everything acknowledged is read through $other" records check "$(port "$other")" replicated "$WORK/acked"
  done
  ok 'more is produced without it' records produce "$all" replicated 300 "$WORK/acked"
  ok 'and with it away, nothing is called equal that could not be compared' exits 5 ctl partition verify replicated
  ok "$leads comes back" ./start.sh "$leads"
  ok 'healthy: it is in sync again' healthy
  ok "its own log has all that it has missed" replicas_equal "$(wc -l <"$WORK/acked")" replicated
done

# Producing while the leader dies: what was acknowledged, until the last moment, is there.
grown() { [ "$(ctl topic describe replicated -o json | python3 -c 'import json, sys
v = json.load(sys.stdin)
print(sum(p["endOffset"] for t in v.get("items", v.get("data")) for p in t["partitions"]))')" -gt "$1" ]; }
for round in 1 2; do
  before=$(cat "$WORK"/acked "$WORK"/under* 2>/dev/null | wc -l)
  records produce "$all" replicated 30000 "$WORK/under$round" >"$WORK/produced" 2>&1 &
  maker=$!
  background+=($maker)
  ok 'records arrive' within 30 grown $((before + 500))
  victim=$(leader replicated 0)
  ok "strict: kill -9 of $victim while records are produced" killed "$victim"
  ok 'the producer notices nothing but the time' wait $maker
  echo "# $(cat "$WORK/produced")"
  ok 'it comes back' ./start.sh "$victim"
  ok 'healthy' healthy
  ok 'all acknowledged records are there, none twice' records check "$all" replicated "$WORK"/acked "$WORK"/under*
  ok "each node's own log has them" replicas_equal "$(cat "$WORK"/acked "$WORK"/under* | wc -l)" replicated
done
ok 'strict: kill -9 of all three in one moment' dead "${NODES[@]}"
./stop.sh >/dev/null 2>&1
ok "strict: read from the disks: all three are equal" replicas_equal "$(cat "$WORK"/acked "$WORK"/under* | wc -l)" replicated $(dirs)
finish
