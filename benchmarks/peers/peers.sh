#!/usr/bin/env bash
# The peers of `retort bench train`, one after the other: a JSON line each on standard output.
#
#   peers.sh [LAYERS]
#   peers.sh --site      the folder of TRL and what it needs, and nothing else
#
# PyTorch is the wheel that the project's libtorch comes from (benchmarks/torch_python.sh); TRL and what it needs are
# installed once beside it, by pip, with digests (requirements.txt), into the cache.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
layers=${1:-10}
cache=${RETORT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/retort}
python=${RETORT_PYTHON:-/usr/bin/python3}

"$python" -B "$here/../../scripts/parts.py" ensure pytorch >&2
site=$cache/bench/peers-$(sha256sum "$here/requirements.txt" | cut -c1-12)
if [ ! -f "$site/done" ]; then
  rm -rf "$site"
  "$python" -m pip install -q --no-deps --require-hashes --only-binary :all: --target "$site" -r "$here/requirements.txt" >&2
  touch "$site/done"
fi
if [ "$layers" = --site ]; then
  echo "$site"
  exit
fi

loop() {  # NAME ARGUMENTS...
  local name=$1
  shift
  "$here/../torch_python.sh" "$here/../pytorch_loop.py" --json --layers "$layers" --name "$name" "$@"
}
loop "PyTorch, packed, head in chunks of 256 rows"
loop "PyTorch, packed, all logits at once" --chunk 4096
GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296 \
  loop "PyTorch, packed, all logits, glibc keeps its memory" --chunk 4096
for weights in bf16 autocast; do
  PEERS_SITE=$site "$here/../torch_python.sh" "$here/trl_gkd.py" --json --layers "$layers" --weights "$weights" 2>/dev/null | grep '^{"name"'
done
