#!/usr/bin/env bash
# Runs the benchmarks of a build directory: operators as a table, then prefill and decode of the
# shipped models, dense and reduced, and the tokenizer (MB of UTF-8 per second on one thread), each as
# one JSON object.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1
"$build/benchmarks/bench_ops"
"$build/benchmarks/bench_prefill" models/pith-27m-mamba2 4096 3 0 \
  skim "skim:full=0-9,window=256,horizon=1e-2" utrc@30% truncate@30%
"$build/benchmarks/bench_prefill" models/pith-13m-mamba1 4096 3 0 skim utrc@30% truncate@30%
text=$(mktemp)
trap 'rm -f "$text"' EXIT
xz --decompress --stdout data/recall/recall-1.8k.jsonl.xz >"$text"
"$build/benchmarks/bench_tokenize" models/pith-27m-mamba2/tokenizer.json "$text"
