# The nodes that run.sh starts and kills.sh kills. To be sourced. CHRONIK_NODES is the directory of their settings, data, pids and logs.
bin=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../bin" && pwd)

# addresses NODE PORT: where it listens, as in its settings. Three nodes have nine ports from PORT on.
addresses() {
  printf 'kafka = "127.0.0.1:%d"\nwal = "127.0.0.1:%d"\nraft = "127.0.0.1:%d"\n' $(($2 + $1 - 1)) $(($2 + $1 + 2)) $(($2 + $1 + 5))
}

# settings NODE PORT: of a cluster of three, whose defaults are three replicas, two of them in sync.
settings() {
  local peer
  printf 'node_id = %d\nhttp = "off"\n[bind]\n' "$1"
  addresses "$1" "$2"
  for peer in 1 2 3; do
    printf '[[peers]]\nid = %d\n' "$peer"
    addresses "$peer" "$2"
  done
}

# launch NODE: with its settings; does not wait.
launch() {
  "$bin/chronik-server" start --config "$CHRONIK_NODES/node$1.toml" --data-dir "$CHRONIK_NODES/node$1" \
    </dev/null >"$CHRONIK_NODES/node$1.out" 2>>"$CHRONIK_NODES/node$1.log" &
  echo $! >"$CHRONIK_NODES/node$1.pid"
  disown
}

# gone NODE: kill -9, and its process has ended.
gone() {
  local pid
  pid=$(cat "$CHRONIK_NODES/node$1.pid")
  kill -9 "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:[[:space:]]*[ZX]' "/proc/$pid/status" 2>/dev/null; do sleep 0.02; done
}

# whole: waits until all nodes serve and every partition has all its replicas in sync.
whole() { "$bin/chronikctl" -q status --exit-when-healthy --timeout 60s >"$CHRONIK_NODES/status" 2>&1 || { cat "$CHRONIK_NODES/status" >&2; return 1; }; }
