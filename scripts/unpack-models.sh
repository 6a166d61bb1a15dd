#!/usr/bin/env bash
# Unpacks models/*/model.safetensors.xz beside themselves where that is missing or older, and checks
# the result against models/SHA256SUMS. An interrupted run leaves no half-written model.
set -euo pipefail
cd "$(dirname "$0")/../models"

temporary=
trap 'rm -f "$temporary"' EXIT

for packed in */model.safetensors.xz; do
  model=${packed%.xz}
  # Not older than: git gives both the time of the checkout.
  if [[ -f $model && ! $packed -nt $model ]]; then continue; fi
  want=$(awk -v name="$model" '$2 == name { print $1 }' SHA256SUMS)
  if [[ -z $want ]]; then
    echo "$0: models/SHA256SUMS has no line for $model" >&2
    exit 1
  fi
  temporary=$model.tmp.$$
  xz --decompress --stdout "$packed" >"$temporary"
  got=$(sha256sum "$temporary" | cut -d ' ' -f 1)
  if [[ $got != "$want" ]]; then
    echo "$0: models/$packed unpacks to sha256 $got, expected $want" >&2
    exit 1
  fi
  mv "$temporary" "$model"
  echo "unpacked models/$model"
done
