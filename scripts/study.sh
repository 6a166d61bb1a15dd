#!/usr/bin/env bash
# The runs behind docs/study.md, each with a journal in out/study/PART, so that a run that was
# stopped goes on with the same command. Hours on two cores in all.
#   scripts/study.sh            every part
#   scripts/study.sh long tasks some of them
set -euo pipefail
cd "$(dirname "$0")/.."

PITH=${PITH:-build/cpu/pith}
OUT=${OUT:-out/study}
MAMBA2=models/pith-27m-mamba2
MAMBA1=models/pith-13m-mamba1
SIX=lambada_openai,hellaswag,piqa,arc_easy,arc_challenge,winogrande
SKIM9=skim:full=0-9,mass=0.1,window=256

study() {  # study PART OPTION...: one evaluation
  local part=$1
  shift
  echo "== $part"
  "$PITH" eval --bos --output "$OUT/$part" --html "$OUT/$part.html" "$@" | tee "$OUT/$part.txt"
}

long() {  # 1,792 tokens read, 256 scored; facts in contexts of that length
  study long-mamba2 --model $MAMBA2 --tasks recall,perplexity --limit 64 --methods \
    "none,skim,$SKIM9,truncate@30%,utrc@30%,prefix-thin@30%,utrc-published@30%,evit@30%,pumer@30%,ltmp@30%,tome@30%,random@30%,span-drop@30%,skim@40%,truncate@10%,truncate@50%,utrc@10%,utrc@50%"
  study long-mamba1 --model $MAMBA1 --tasks recall,perplexity --limit 64 --methods \
    "none,skim,skim:full=0-9,truncate@30%,utrc@30%,prefix-thin@30%,evit@30%,pumer@30%,span-drop@30%:score=delta,skim:full=0-13,ltmp@30%"
}

lengths() {  # what skim costs and keeps over prompt lengths
  local n limit
  for n in 512 1024 2048 4096 8192 16384; do
    limit=16
    if ((n == 4096)); then limit=24; fi
    if ((n > 4096)); then limit=4; fi
    study "length-$n" --model $MAMBA2 --tasks recall,perplexity --limit $limit --context "$n" \
      --recall-tokens "$n" --methods "none,skim,$SKIM9,truncate@30%"
  done
}

tasks() {  # the paper's six tasks, each under the sound scoring mode
  study tasks-mamba2 --model $MAMBA2 --tasks $SIX --limit 300 --methods \
    "none,skim,$SKIM9,truncate@20%,utrc@20%,prefix-thin@20%,utrc-published@20%,evit@20%,pumer@20%,ltmp@20%,truncate@30%,utrc@30%"
  study tasks-mamba1 --model $MAMBA1 --tasks $SIX --limit 300 --methods \
    "none,skim,truncate@20%,utrc@20%,evit@20%,pumer@20%"
}

beat() {  # skims that were not chosen on these contexts
  study beat-mamba2 --model $MAMBA2 --tasks recall,perplexity --limit 32 --recall-tokens 1792 \
    --seed 7 --methods "none,skim,$SKIM9,skim:full=0-1+3-9,mass=0.2,window=64,skim:full=0-1+3-11,horizon=1e-2,window=256,skim:full=0+2-3+5-9,mass=0.1,window=64,skim:full=0-11,mass=0.1,window=64"
}

published() {  # the same tasks scored as the published code scores them
  study tail-mamba2 --model $MAMBA2 --tasks $SIX --limit 150 --scoring published-tail --methods \
    "none,utrc@20%,utrc-published@20%:lengths=published,prefix-thin@20%,evit@20%:lengths=published,mode=published,pumer@20%:lengths=published,mode=published"
}

mkdir -p "$OUT"
if (($# == 0)); then set -- long lengths tasks published beat; fi
for part in "$@"; do
  case $part in
    long | lengths | tasks | published | beat) "$part" ;;
    *) echo "study: got part '$part', expected long, lengths, tasks, published or beat" >&2; exit 2 ;;
  esac
done
