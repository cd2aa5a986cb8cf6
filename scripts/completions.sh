#!/bin/sh
# Regenerates completions/ from the binaries in bin/ (make completions builds them first).
# completions/completions_test.go fails when a committed file is not what its binary prints.
set -eu
cd "$(dirname "$0")/.."
for b in chronik-server chronikctl chronik-bench chronik-top; do
  mkdir -p completions/bash completions/zsh completions/fish completions/powershell
  "bin/$b" completion bash > "completions/bash/$b"
  "bin/$b" completion zsh > "completions/zsh/_$b"
  "bin/$b" completion fish > "completions/fish/$b.fish"
  "bin/$b" completion powershell > "completions/powershell/$b.ps1"
done
