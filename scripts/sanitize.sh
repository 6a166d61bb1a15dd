#!/usr/bin/env bash
# Builds one sanitizer preset and runs the tests that gain from it: those that read hostile input
# under asan and ubsan, those that share a model between threads under tsan.
#
#   scripts/sanitize.sh asan|ubsan|asan-ubsan|tsan [jobs] [ctest options...]
#
# TESTS="core load" chooses other test programs.
set -euo pipefail
cd -P "$(dirname "$0")/.."

preset=$1
jobs=${2:-$(nproc)}
shift $(($# < 2 ? $# : 2))
case $preset in
  asan | ubsan | asan-ubsan)
    tests=${TESTS:-core load tokenize reduce ops model generate engine serve}
    if [[ ! -v GTEST_FILTER ]]; then
      laws=(
        Threads.NumberOfThreadsChangesNoBitOfShippedModels '*PrefillLaws.SameBits*'
        '*PrefillLaws.ReducingNothingIsDense*' '*PrefillLaws.SurvivorsAre*/Shared'
        '*PrefillLaws.SurvivorsAre*/Transformer' 'PlanLaws.HoldForEveryMethodAndLength'
        'LinearTest.HeadsThatAreTheEmbeddingToo' '*AttentionTest.AgreesWithReferenceOnLongTexts*'
        '*AttentionTest.BitsDependOnTheTextAlone*'
      )
      export GTEST_FILTER=-$(IFS=:; echo "${laws[*]}")
      echo "$0: without ${GTEST_FILTER#-}: these laws read no input of their own, and would take more than half of the time"
    fi
    ;;
  tsan) tests=${TESTS:-engine}; export GTEST_FILTER=${GTEST_FILTER:-*Thread*:*Scheduling*} ;;
  *) echo "$0: expected asan, ubsan, asan-ubsan or tsan, got $preset" >&2; exit 2 ;;
esac

read -ra names <<<"$tests"
cmake --preset "$preset"
cmake --build --preset "$preset" -j "$jobs" --target "${names[@]/%/_test}"
ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$jobs" \
  -R "^(${tests// /|})\$" "$@"
