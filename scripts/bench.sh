#!/usr/bin/env bash
# Measures a build with `pith bench` and writes the tables, with the commands that made them, into
# benchmarks/RESULTS.md, which is replaced as a whole at the end: bench.sh PROGRAM [option ...].
# Options go to every command (--threads 2, say). Takes a few minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

program=$1
shift
results=benchmarks/RESULTS.md
new=$(mktemp "$results.tmp.XXXXXX")
trap 'rm -f "$new"' EXIT

measure() {
  echo "pith bench $*" >&2
  printf '\n## %s\n\n    pith bench %s\n\n```\n' "$title" "$*"
  "$program" bench "$@"
  printf '```\n'
}

{
  echo '# Results'
  echo
  echo 'Written by `make bench`; [what the columns mean](../docs/cli.md#bench).'
  echo
  echo '```'
  echo "date       $(date -u +%Y-%m-%d)"
  echo "commit     $(git describe --always --dirty 2>/dev/null || echo unknown)"
  echo "machine    $(uname -srm), $(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
  "$program" --version
  echo '```'
  grid=(--prompt 512,2048 --reduce none,utrc@30%,skim)
  title='pith-27m-mamba2' measure --model models/pith-27m-mamba2 "${grid[@]}" "$@"
  title='pith-13m-mamba1' measure --model models/pith-13m-mamba1 "${grid[@]}" "$@"
  title='The shape of mamba2-130m, random weights' measure --shape mamba2-130m "${grid[@]}" "$@"
} >"$new"
chmod 644 "$new"
mv "$new" "$results"
echo "wrote $results" >&2
