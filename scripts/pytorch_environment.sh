#!/usr/bin/env bash
# Makes a Python environment with the pinned PyTorch in the cache, once, and prints its interpreter. For `make bench`
# only: PyTorch's own CUDA libraries come with it (some gigabytes), which libtorch alone does without.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n '/^\[download torch\]/,/^\[/s/^version = //p' scripts/parts.lock)
cache=${RETORT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/retort}
python=${RETORT_BENCH_PYTHON:-python3}
tag=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
target=$cache/environments/pytorch-$version-python$tag
if [ ! -x "$target/bin/python" ] || [ ! -f "$target/.complete" ]; then
  echo "Installing PyTorch $version for the comparison (once; several gigabytes)" >&2
  rm -rf "$target"
  mkdir -p "$cache/environments"
  "$python" -m venv "$target" >&2
  links=()
  # The wheel of the lock file serves when this Python is the one it is tagged for.
  [ "$tag" = 3.11 ] && [ -d "$cache/downloads" ] && links=(--find-links "$cache/downloads")
  "$target/bin/python" -m pip install --quiet --disable-pip-version-check "${links[@]}" "torch==$version" numpy >&2
  touch "$target/.complete"
fi
echo "$target/bin/python"
