#!/usr/bin/env bash
# All checks that need no test run: formatting, sizes, include direction, no arithmetic above
# src/ops, and clang-tidy on what changed (on everything without a base commit, or with LINT_ALL=1).
# Needs a configured build/cpu.
set -euo pipefail
cd "$(dirname "$0")/.."

# Untracked files too: what is about to be committed is what matters.
git ls-files --cached --others --exclude-standard -- '*.h' '*.cc' '*.cu' '*.cuh' |
  xargs clang-format-16 --dry-run -Werror
tools/check_sizes.py
tools/check_layers.py
tools/check_arithmetic.py

# Where this branch left origin/main or, on main itself, the commit before.
base() {
  [[ -z ${LINT_ALL-} ]] || return 0
  local fork
  fork=$(git merge-base HEAD origin/main 2>/dev/null) || fork=
  if [[ -z $fork || $fork == $(git rev-parse HEAD) ]]; then
    fork=$(git rev-parse --verify --quiet HEAD~1) || fork=
  fi
  echo "$fork"
}

units=$(tools/changed_units.py build/cpu/compile_commands.json "$(base)")
echo "clang-tidy: $(grep -c . <<<"$units" || true) files"
xargs -r -P "$(nproc)" -n 1 clang-tidy-16 -p build/cpu --quiet <<<"$units"
