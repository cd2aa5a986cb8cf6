#!/usr/bin/env bash
# Runs real Kafka clients against one node: franz-go, sarama, segmentio, confluent (librdkafka), kafka-python, the Java client,
# Kafka's console tools, and kcat. Usage: run.sh [go|python|java|console|kcat]...   (all without an argument)
# It installs what it needs: Go modules, a Python virtual environment, jars by their Maven coordinates, kcat from Debian.
# CHRONIK_BOOTSTRAP=host:port uses a server that runs already. CHRONIK_CLIENTS_DIR keeps the downloads (default .venv/clients).
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
work=${CHRONIK_CLIENTS_DIR:-$root/.venv/clients}
kafka=4.3.1
mkdir -p "$work"
suites=("$@")
[ $# -gt 0 ] || suites=(go python java console kcat)
failed=()

start_server() {
  data=$(mktemp -d)
  "$root/bin/chronik-server" start --data-dir "$data/node" --kafka 127.0.0.1:0 --wal 127.0.0.1:0 --raft 127.0.0.1:0 --http 127.0.0.1:0 \
    >"$data/out" 2>"$data/log" &
  server=$!
  trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$data"' EXIT
  for _ in $(seq 100); do
    CHRONIK_BOOTSTRAP=$(sed -n 's/.*msg=ready kafka=\([^ ]*\).*/\1/p' "$data/out")
    [ -n "$CHRONIK_BOOTSTRAP" ] && return
    sleep 0.1
  done
  cat "$data/log" >&2
  echo "the server did not start" >&2
  exit 1
}

suite_go() {
  go vet ./... && CGO_ENABLED=1 go test -count=1 -timeout 10m ./...
}

suite_python() {
  if ! cmp -s python/requirements.txt "$work/python/requirements.txt"; then
    python3 -m venv --clear "$work/python"
    "$work/python/bin/pip" install --quiet --disable-pip-version-check -r python/requirements.txt
    cp python/requirements.txt "$work/python/"
  fi
  "$work/python/bin/python" python/test_kafka_python.py
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
  java -Dlog4j2.configurationFile="$libs/log4j2.properties" -cp "$libs/*" java/ClientTest.java "$CHRONIK_BOOTSTRAP"
}

suite_console() {
  jars
  CHRONIK_LIBS=$libs ./console.sh
}

suite_kcat() {
  command -v kcat >/dev/null || { apt-get update -qq && apt-get install -y -qq kcat; } >/dev/null
  ./kcat.sh
}

[ -n "${CHRONIK_BOOTSTRAP:-}" ] || start_server
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
  [ -z "${data:-}" ] || tail -n 20 "$data/log"
  exit 1
fi
echo "ok: ${suites[*]} ($SECONDS s)"
