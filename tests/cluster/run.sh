#!/usr/bin/env bash
# Runs every *_test.sh in this folder, or those named; TAP output of each, exit code 1 when one has failed.
set -uo pipefail
cd "$(dirname "$0")"
failed=0
[ $# -gt 0 ] || set -- *_test.sh
for t in "$@"; do
  echo "# $t"
  ./"$t" || failed=1
done
exit $failed
