#!/usr/bin/env bash
# Runs real Kafka clients against one node or three: franz-go, sarama, segmentio, confluent (librdkafka), kafka-python, the Java client,
# Kafka's console tools, and kcat. Usage: run.sh [1|3] [go|python|java|console|kcat]...   (one node, and all suites without an argument)
# On three nodes each client also works on while nodes are killed (kills.sh); KILLS=only runs nothing but that.
# It installs what it needs: Go modules, a Python virtual environment, jars by their Maven coordinates, kcat from Debian.
# CHRONIK_BOOTSTRAP=host:port uses a server that runs already, without kills. CHRONIK_CLIENTS_DIR keeps the downloads (default
# .venv/clients). PORT is the first of the nine ports of three nodes (29600). KEEP=dir keeps the nodes' directories when a suite fails.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
work=${CHRONIK_CLIENTS_DIR:-$root/.venv/clients}
kafka=4.3.1
mkdir -p "$work"
. ./nodes.sh
nodes=1
case "${1:-}" in 1|3) nodes=$1; shift ;; esac
suites=("$@")
[ $# -gt 0 ] || suites=(go python java console kcat)
failed=()

end() {
  local pid
  for pid in "$data"/*.pid; do kill -9 "$(cat "$pid")" 2>/dev/null || true; done
  rm -rf "$data"
}

start_server() {
  data=$(mktemp -d)
  trap end EXIT
  "$bin/chronik-server" start --data-dir "$data/node" --kafka 127.0.0.1:0 --wal 127.0.0.1:0 --raft 127.0.0.1:0 --http 127.0.0.1:0 \
    >"$data/node1.out" 2>"$data/node1.log" &
  echo $! >"$data/node1.pid"
  disown
  ready 1
  CHRONIK_BOOTSTRAP=$(address 1)
}

start_nodes() {
  local n
  data=$(mktemp -d)
  trap end EXIT
  export CHRONIK_NODES=$data
  for n in 1 2 3; do settings "$n" "${PORT:-29600}" >"$data/node$n.toml"; launch "$n"; done
  for n in 1 2 3; do ready "$n"; done
  CHRONIK_BOOTSTRAP=$(address 1),$(address 2),$(address 3)
}

address() { sed -n 's/.*msg=ready kafka=\([^ ]*\).*/\1/p' "$data/node$1.out"; }

ready() {
  for _ in $(seq 300); do
    [ -z "$(address "$1")" ] || return 0
    sleep 0.1
  done
  cat "$data/node$1.log" >&2
  echo "node $1 did not start" >&2
  exit 1
}

suite_go() {
  go vet ./... && CGO_ENABLED=1 go test -count=1 -timeout 15m ${kills:+-v -run TestNodesKilled} ./...
}

suite_python() {
  if ! cmp -s python/requirements.txt "$work/python/requirements.txt"; then
    python3 -m venv --clear "$work/python"
    "$work/python/bin/pip" install --quiet --disable-pip-version-check -r python/requirements.txt
    cp python/requirements.txt "$work/python/"
  fi
  [ -n "$kills" ] || "$work/python/bin/python" python/test_kafka_python.py
  [ -z "${CHRONIK_NODES:-}" ] || "$work/python/bin/python" python/test_killed.py
}

# jars loads Kafka and its tools, and a quiet configuration for their logs.
jars() {
  libs=$work/libs-$kafka
  if [ ! -f "$libs/complete" ]; then
    command -v mvn >/dev/null || { apt-get update -qq && apt-get install -y -qq maven; } >/dev/null
    {
      echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
      echo '<groupId>chronik</groupId><artifactId>clients</artifactId><version>1</version><dependencies>'
      for a in kafka_2.13 kafka-tools kafka-clients; do
        echo "<dependency><groupId>org.apache.kafka</groupId><artifactId>$a</artifactId><version>$kafka</version></dependency>"
      done
      for a in log4j-core log4j-slf4j-impl log4j-1.2-api; do
        echo "<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>$a</artifactId><version>2.24.3</version></dependency>"
      done
      echo '</dependencies></project>'
    } >"$work/pom.xml"
    (cd "$work" && mvn -q -B dependency:copy-dependencies -DoutputDirectory="$libs" >/dev/null)
    printf 'status=error\nrootLogger.level=error\nrootLogger.appenderRef.s.ref=S\nappender.s.type=Console\nappender.s.target=SYSTEM_ERR\nappender.s.name=S\nappender.s.layout.type=PatternLayout\nappender.s.layout.pattern=%%d %%p %%c %%m%%n\n' >"$libs/log4j2.properties"
    touch "$libs/complete"
  fi
}

suite_java() {
  jars
  local run=(java -Dlog4j2.configurationFile="$libs/log4j2.properties" -cp "$libs/*")
  [ -n "$kills" ] || "${run[@]}" java/ClientTest.java "$CHRONIK_BOOTSTRAP"
  [ -z "${CHRONIK_NODES:-}" ] || "${run[@]}" java/KilledTest.java "$CHRONIK_BOOTSTRAP"
}

suite_console() {
  jars
  export CHRONIK_LIBS=$libs
  [ -n "$kills" ] || ./console.sh
  [ -z "${CHRONIK_NODES:-}" ] || ./console_killed.sh
}

suite_kcat() {
  command -v kcat >/dev/null || { apt-get update -qq && apt-get install -y -qq kcat; } >/dev/null
  [ -n "$kills" ] || ./kcat.sh
  [ -z "${CHRONIK_NODES:-}" ] || ./kcat_killed.sh
}

if [ -z "${CHRONIK_BOOTSTRAP:-}" ]; then
  if [ "$nodes" = 3 ]; then start_nodes; else start_server; fi
fi
kills=''
[ -z "${CHRONIK_NODES:-}" ] || [ "${KILLS:-}" != only ] || kills=only
export CHRONIK_BOOTSTRAP
echo "# server at $CHRONIK_BOOTSTRAP"
for s in "${suites[@]}"; do
  echo "# $s ($SECONDS s)"
  # In a subshell with -e of its own: a suite ends at its first failing command, the others go on.
  set +e
  (set -e; "suite_$s")
  [ $? -eq 0 ] || failed+=("$s")
  set -e
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "not ok: ${failed[*]} ($SECONDS s)"
  [ -z "${data:-}" ] || tail -n 20 "$data"/*.log
  [ -z "${data:-}" ] || [ -z "${KEEP:-}" ] || cp -a "$data" "$KEEP"
  exit 1
fi
echo "ok: ${suites[*]} ($SECONDS s)"
