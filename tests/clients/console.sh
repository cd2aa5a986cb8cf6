#!/usr/bin/env bash
# Kafka's own console tools, as a user types them. CHRONIK_BOOTSTRAP is the server, CHRONIK_LIBS the directory of the jars.
set -euo pipefail
run() { java -Xshare:auto -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$CHRONIK_LIBS/log4j2.properties" -cp "$CHRONIK_LIBS/*" "$@"; }
b=(--bootstrap-server "$CHRONIK_BOOTSTRAP")
topic=console-$RANDOM$RANDOM
group=$topic-group
number=0
nodes=$(tr , '\n' <<<"$CHRONIK_BOOTSTRAP" | grep -c .)
check() { # description expected actual
  number=$((number + 1))
  if [ "$2" = "$3" ]; then
    echo "ok $number - $1"
  else
    printf 'not ok %d - %s\n# want: %s\n# got:  %s\n' "$number" "$1" "$2" "$3"
    exit 1
  fi
}

run org.apache.kafka.tools.TopicCommand "${b[@]}" --create --topic "$topic" --partitions 3 >/dev/null
check "kafka-topics --list shows a created topic" "$topic" "$(run org.apache.kafka.tools.TopicCommand "${b[@]}" --list | grep -x "$topic")"
check "kafka-topics --describe" 3 "$(run org.apache.kafka.tools.TopicCommand "${b[@]}" --describe --topic "$topic" | grep -c 'Leader: [1-3]')"
seq 1 100 | run org.apache.kafka.tools.ConsoleProducer "${b[@]}" --topic "$topic"
check "console producer and consumer" "$(seq 1 100)" \
  "$(run org.apache.kafka.tools.consumer.ConsoleConsumer "${b[@]}" --topic "$topic" --from-beginning --max-messages 100 --timeout-ms 30000 --group "$group" 2>/dev/null | sort -n)"
check "kafka-consumer-groups --describe shows no lag" "0" \
  "$(run org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "${b[@]}" --describe --group "$group" 2>/dev/null | awk -v t="$topic" '$2 == t { lag += $6 } END { print lag + 0 }')"
run org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "${b[@]}" --reset-offsets --to-earliest --topic "$topic" --group "$group" --execute >/dev/null 2>&1
check "kafka-consumer-groups --reset-offsets" "100" \
  "$(run org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "${b[@]}" --describe --group "$group" 2>/dev/null | awk -v t="$topic" '$2 == t { lag += $6 } END { print lag + 0 }')"
check "kafka-get-offsets" "100" "$(run org.apache.kafka.tools.GetOffsetShell "${b[@]}" --topic "$topic" | awk -F: '{ n += $3 } END { print n }')"
run kafka.admin.ConfigCommand "${b[@]}" --alter --entity-type topics --entity-name "$topic" --add-config retention.ms=3600000 >/dev/null
check "kafka-configs" "1" "$(run kafka.admin.ConfigCommand "${b[@]}" --describe --entity-type topics --entity-name "$topic" | grep -c '^  retention.ms=3600000')"
check "kafka-metadata-quorum" "1" "$(run org.apache.kafka.tools.MetadataQuorumCommand "${b[@]}" describe --status | grep -cE '^LeaderId: +[1-3]$')"
check "kafka-cluster" "1" "$(run org.apache.kafka.tools.ClusterTool cluster-id "${b[@]}" | grep -c 'Cluster ID: ')"
check "kafka-broker-api-versions" "$nodes" "$(run org.apache.kafka.tools.BrokerApiVersionsCommand "${b[@]}" 2>/dev/null | grep -c 'Produce(0): ')"
run org.apache.kafka.tools.TopicCommand "${b[@]}" --delete --topic "$topic" >/dev/null
check "kafka-topics --delete" "" "$(run org.apache.kafka.tools.TopicCommand "${b[@]}" --list | grep -x "$topic" || true)"
echo "1..$number"
