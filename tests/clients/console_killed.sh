#!/usr/bin/env bash
# Kafka's own tools on three nodes: what they show, and console producer, console consumer and kafka-producer-perf-test while nodes are
# killed (kills.sh). CHRONIK_BOOTSTRAP is the nodes, CHRONIK_LIBS the directory of the jars.
set -euo pipefail
. ./killed.sh
tool() { # NAME CLASS ARGUMENT...: its output is in $work/NAME
  local name=$1; shift
  java -Xshare:auto -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$CHRONIK_LIBS/log4j2.properties" -cp "$CHRONIK_LIBS/*" "$@" >"$work/$name" 2>"$work/$name.err"
}
t=org.apache.kafka.tools
b=(--bootstrap-server "$CHRONIK_BOOTSTRAP")
topic=tools-$RANDOM$RANDOM
perf=$topic-perf
group=$topic-group
tool create $t.TopicCommand "${b[@]}" --create --topic "$topic" --partitions 6
"$bin/chronikctl" -q topic create "$perf" -p 6 >/dev/null

tool described $t.TopicCommand "${b[@]}" --describe --topic "$topic"
check "kafka-topics --describe: all three replicas in sync, none eligible beside" 6 \
  "$(grep -cE 'Leader: [1-3].Replicas: [1-3],[1-3],[1-3].Isr: [1-3],[1-3],[1-3].Elr: .LastKnownElr: *$' "$work/described")"
tool brokers $t.BrokerApiVersionsCommand "${b[@]}"
check "kafka-broker-api-versions: three brokers" 3 "$(grep -cE '^127.0.0.1:[0-9]+ \(id: [1-3] rack: [^)]*\) -> \($' "$work/brokers")"
tool dirs $t.LogDirsCommand "${b[@]}" --describe --topic-list "$topic"
check "kafka-log-dirs: six replicas on each of three brokers" 18 "$(grep -o "\"partition\":\"$topic-[0-5]\"" "$work/dirs" | wc -l)"

echo "0:1" | tool first $t.ConsoleProducer "${b[@]}" --topic "$topic" --reader-property parse.key=true --reader-property key.separator=:
tool begun $t.consumer.ConsoleConsumer "${b[@]}" --topic "$topic" --group "$group" --from-beginning --max-messages 1 --timeout-ms 60000
from() { numbers | sed -u 1d; }
from | tool produced $t.ConsoleProducer "${b[@]}" --topic "$topic" --reader-property parse.key=true --reader-property key.separator=: &
producer=$!
tool perf $t.ProducerPerformance --topic "$perf" --num-records 6000 --record-size 100 --throughput 400 --producer-props bootstrap.servers="$CHRONIK_BOOTSTRAP" acks=all &
load=$!
tool consumed $t.consumer.ConsoleConsumer "${b[@]}" --topic "$topic" --group "$group" --from-beginning --timeout-ms 15000 &
consumer=$!
for _ in $(seq 150); do [ ! -s "$work/consumed" ] || break; sleep 0.2; done
./kills.sh "$topic" "$group"
touch "$work/stop"
ends "$producer" "the console producer ends well"
check "and without an error" "" "$(grep -iE 'error' "$work/produced.err" || true)"
ends "$load" "kafka-producer-perf-test with acks=all ends well"
check "and without an error" "" "$(grep -iE 'exception|error' "$work/perf" "$work/perf.err" || true)"
check "it has sent all" 1 "$(grep -cE '^6000 records sent, [0-9.]+ records/sec' "$work/perf")"
tool offsets $t.GetOffsetShell "${b[@]}" --topic "$perf"
check "and each record is there once" 6000 "$(awk -F: '{ n += $3 } END { print n }' "$work/offsets")"
wait "$consumer" || true # it ends when there was nothing to read for its timeout
tool all $t.consumer.ConsoleConsumer "${b[@]}" --topic "$topic" --from-beginning --timeout-ms 5000 || true
count=$(sort -n "$work/all" | tail -n 1)
check "the console producer's records are there once" "$(seq "$count")" "$(sort -n "$work/all")"
check "the group has read each of them" "$(seq "$count")" "$(sort -nu "$work/begun" "$work/consumed")"
tool group $t.consumer.group.ConsumerGroupCommand "${b[@]}" --describe --group "$group"
check "kafka-consumer-groups: no lag" "0 $count" \
  "$(awk -v t="$topic" '$2 == t { lag += $6; at += $4 } END { print lag + 0, at + 0 }' "$work/group")"
tool state $t.consumer.group.ConsumerGroupCommand "${b[@]}" --describe --group "$group" --state
check "kafka-consumer-groups --state: empty, with its coordinator" 1 "$(grep -cE "^$group +127.0.0.1:[0-9]+ +\([1-3]\) .*Empty +0" "$work/state")"

tool elected $t.LeaderElectionCommand "${b[@]}" --election-type preferred --all-topic-partitions
tool after $t.TopicCommand "${b[@]}" --describe
# The metadata log is led by the controller, whichever that is.
check "kafka-leader-election: every partition is led by its first replica" "" \
  "$(grep 'Leader: ' "$work/after" | grep -v 'Topic: __chronik_metadata' | grep -vE 'Leader: ([0-9]+).Replicas: \1,' || true)"
tool status $t.MetadataQuorumCommand "${b[@]}" describe --status
check "kafka-metadata-quorum --status: a leader, three voters" "LeaderId ok CurrentVoters 3" \
  "$(awk '/^LeaderId: +[1-3]$/ { l = "ok" } /^CurrentVoters:/ { n = gsub(/"id"/, "") } END { print "LeaderId", l, "CurrentVoters", n }' "$work/status")"
tool replication $t.MetadataQuorumCommand "${b[@]}" describe --replication
check "kafka-metadata-quorum --replication: one leader, two followers" "1 2" \
  "$(awk '$NF == "Leader" { l++ } $NF == "Follower" { f++ } END { print l + 0, f + 0 }' "$work/replication")"
echo "1..$number"
