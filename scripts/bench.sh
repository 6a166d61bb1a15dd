#!/usr/bin/env bash
# Runs the benchmarks of a build directory: operators as a table, then the tokenizer as one JSON
# object (MB of UTF-8 per second on one thread).
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1
"$build/benchmarks/bench_ops"
text=$(mktemp)
trap 'rm -f "$text"' EXIT
xz --decompress --stdout data/recall/recall-1.8k.jsonl.xz >"$text"
"$build/benchmarks/bench_tokenize" models/pith-27m-mamba2/tokenizer.json "$text"
