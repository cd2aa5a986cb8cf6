# What start.sh, stop.sh and the tests know of the three nodes. To be sourced, in this folder.
# DATA is where the nodes' directories, pids and logs are: data by default.
DATA=${DATA:-data}

# alive PID: the process runs. One that has ended and whose parent has not asked for it yet does not.
alive() {
  kill -0 "$1" 2>/dev/null || return 1
  [ ! -r "/proc/$1/status" ] || ! grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status"
}

# running NODE: its process runs. A pid that another program has by now is not it.
running() {
  local pid
  [ -s "$DATA/$1.pid" ] || return 1
  pid=$(cat "$DATA/$1.pid")
  alive "$pid" || return 1
  [ ! -r "/proc/$pid/cmdline" ] || grep -qE "$1\.toml|start\.sh" "/proc/$pid/cmdline" # start.sh for the moment before it becomes the server
}

# waits <LOG: what a node says that it waits for; nothing if it does not.
waits() {
  sed -nE 's/.* waits="(([^"\\]|\\.)*)".*/\1/p' | tail -n 1
}
