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
cmake --preset cpu -DPITH_PYTHON=ON "-DPython_EXECUTABLE=$venv/bin/python" >/dev/null
cmake --build --preset cpu -j "${1:-$(nproc)}" --target _pith _pith_stub pith
ctest --test-dir build/cpu --output-on-failure -R '^python$'
