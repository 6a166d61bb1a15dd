#!/usr/bin/env bash
# Installs the packages that building pith needs, on Debian 12 and Ubuntu 24.04.
# Does nothing, without network, when all are present. --with-lint adds what `make lint` needs, and
# --with-python what `make python` needs.
set -euo pipefail

packages=(
  g++ cmake ninja-build make pkg-config
  libhwy-dev                         # SIMD
  nlohmann-json3-dev libcli11-dev    # JSON, command line
  libcpp-httplib-dev libssl-dev libbrotli-dev zlib1g-dev  # pith serve (its header asks for the others)
  libonig-dev libutf8proc-dev        # tokenizer: regular expressions, Unicode
  liblzma-dev xz-utils               # shipped models and data
  libopenmpi-dev openmpi-bin         # pith eval on several machines
  libgtest-dev libbenchmark-dev
  python3                            # the checks in tools/
)
case "${1-}" in
  "") ;;
  --with-lint) packages+=(git clang-format-16 clang-tidy-16 universal-ctags) ;;
  --with-python) packages+=(python3-dev python3-venv) ;;
  *) echo "usage: $0 [--with-lint|--with-python]" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  {
    echo "$0: this system has no apt. Install what these Debian packages hold, then run cmake:"
    echo "  ${packages[*]}"
  } >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

. /etc/os-release
case "${ID-}-${VERSION_ID-}" in
  debian-12 | ubuntu-24.04) ;;
  *) echo "$0: tried on Debian 12 and Ubuntu 24.04, not on ${PRETTY_NAME-this system}." >&2 ;;
esac

run=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "$0: needs root or sudo to install: ${missing[*]}" >&2
    exit 1
  fi
  run=(sudo)
fi

echo "Installing with apt: ${missing[*]}"
"${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${run[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
