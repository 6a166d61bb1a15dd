#!/usr/bin/env bash
# Compiles the CUDA backend without running it: what a machine without a GPU can check.
#   scripts/build-cuda.sh [ARCHITECTURES]   by default for Hopper alone (90a-real)
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v nvcc >/dev/null; then
  echo "$0: there is no nvcc here, so the CUDA backend was not compiled (docs/cuda.md)"
  exit 0
fi
cmake --preset cuda -DPITH_TESTS=OFF -DPITH_EXAMPLES=OFF "-DCMAKE_CUDA_ARCHITECTURES=${1:-90a-real}"
cmake --build --preset cuda -j "$(nproc)" --target pith_backends_cuda
