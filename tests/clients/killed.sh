# What kcat_killed.sh and console_killed.sh have in common. To be sourced, in this folder. CHRONIK_NODES is the nodes' directory.
. ./nodes.sh
work=$(mktemp -d)
trap 'touch "$work/stop"; kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
number=0

check() { # description expected actual
  number=$((number + 1))
  if [ "$2" = "$3" ]; then
    echo "ok $number - $1"
  else
    printf 'not ok %d - %s\n' "$number" "$1"
    diff <(echo "$2") <(echo "$3") | head -n 20 | sed 's/^/# /'
    tail -n 5 "$work"/*.err 2>/dev/null | sed 's/^/# /'
    exit 1
  fi
}

# numbers: key:number, one each few milliseconds, until there is a file "stop". Keys are 0 to 11.
numbers() {
  local n=0
  until [ -e "$work/stop" ]; do
    n=$((n + 1))
    echo "$((n % 12)):$n"
    sleep 0.01
  done
}

# ends PID DESCRIPTION: a job ends with exit code 0.
ends() {
  local code=0
  wait "$1" || code=$?
  check "$2" 0 "$code"
}
