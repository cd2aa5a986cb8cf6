#!/usr/bin/env bash
# kcat, as a user types it. CHRONIK_BOOTSTRAP is the server.
set -euo pipefail
topic=kcat-$RANDOM$RANDOM
number=0
check() { # description expected actual
  number=$((number + 1))
  if [ "$2" = "$3" ]; then
    echo "ok $number - $1"
  else
    printf 'not ok %d - %s\n# want: %s\n# got:  %s\n' "$number" "$1" "$2" "$3"
    exit 1
  fi
}
k() { timeout 60 kcat -b "$CHRONIK_BOOTSTRAP" "$@"; }

seq 1 100 | k -P -t "$topic"
check "produce to a topic that nobody created, and consume" "$(seq 1 100)" "$(k -C -t "$topic" -e -q)"
for codec in gzip snappy lz4 zstd; do
  seq 1 500 | k -P -t "$topic-$codec" -z "$codec"
  check "$codec" "$(seq 1 500)" "$(k -C -t "$topic-$codec" -e -q)"
done
printf 'a:1\nb:2\n' | k -P -t "$topic-keys" -K: -H h=v
check "keys and headers" "$(printf 'a 1 h=v\nb 2 h=v')" "$(k -C -t "$topic-keys" -e -q -f '%k %s %h\n')"
seq 1 1000 | k -P -t "$topic-idempotent" -X enable.idempotence=true -X acks=all
check "idempotent producer" "$(seq 1 1000)" "$(k -C -t "$topic-idempotent" -e -q)"
head -c 900000 /dev/zero | tr '\0' x | k -P -t "$topic-large" -X message.max.bytes=2000000
check "a message of 900,000 bytes" "900000" "$(k -C -t "$topic-large" -e -q -f '%S\n')"
check "group" "$(seq 1 100)" "$(k -G "$topic-group" -X auto.offset.reset=earliest -c 100 -q "$topic" 2>/dev/null)"
seq 101 150 | k -P -t "$topic"
check "group goes on at its commit" "$(seq 101 150)" "$(k -G "$topic-group" -X auto.offset.reset=earliest -c 50 -q "$topic" 2>/dev/null)"
check "last ten" "$(seq 141 150)" "$(k -C -t "$topic" -o -10 -e -q)"
check "metadata" "1" "$(k -L -t "$topic" | grep -c 'partition 0, leader [1-3]')"
check "metadata log" "1" "$(k -C -t __chronik_metadata -e -q -f '%k\n' | grep -c "topic/$topic\$" | sed 's/^[1-9][0-9]*$/1/')"
echo "1..$number"
