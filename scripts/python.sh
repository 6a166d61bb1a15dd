#!/usr/bin/env bash
# Builds the Python package beside the CPU build and runs its tests, with what they need in a
# virtual environment of its own, build/python-venv.
#   scripts/python.sh [JOBS]
set -euo pipefail
cd -P "$(dirname "$0")/.."

venv=$PWD/build/python-venv
[[ -x $venv/bin/python ]] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import ipykernel, nanobind, nbclient, numpy, pytest, ray' 2>/dev/null ||
  "$venv/bin/pip" install --quiet --disable-pip-version-check ipykernel nanobind nbclient numpy pytest ray
# The objects of build/cpu serve both; the next build there must not need this environment.
trap 'cmake --preset cpu -DPITH_PYTHON=OFF >/dev/null' EXIT
cmake --preset cpu -DPITH_PYTHON=ON "-DPython_EXECUTABLE=$venv/bin/python" >/dev/null
cmake --build --preset cpu -j "${1:-$(nproc)}" --target _pith _pith_stub pith
# Verbose: what is skipped says why.
ctest --test-dir build/cpu --verbose -R '^python$'
