#!/usr/bin/env bash
# Runs a Python script with the PyTorch that the project's own libtorch comes from, without a second download.
#
#   torch_python.sh SCRIPT [ARGUMENTS...]
#
# That wheel is a CUDA build, and its Python half asks for CUDA libraries that a machine without a GPU doesn't need: they
# are stood in for by empty libraries made here, once, in the cache. RETORT_PYTHON names another Python (3.11, as the
# wheel's), or one that has a torch of its own; networkx, jinja2, fsspec and filelock must be
# importable (scripts/packages-bench.txt); what Debian 12 has too old of lies beside the wheel. PEERS_SITE: a folder of
# further packages.
set -euo pipefail
python=${RETORT_PYTHON:-/usr/bin/python3}
if "$python" -c 'import torch' 2>/dev/null; then exec "$python" "$@"; fi

cache=${RETORT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/retort}
wheel=$(find "$cache/parts" -maxdepth 1 -name 'pytorch-*' | sort | tail -n 1)
[ -n "$wheel" ] || { echo "torch_python.sh: PyTorch is not in the cache; run: python3 scripts/parts.py ensure pytorch" >&2; exit 1; }
stand_ins=$cache/bench/stand-ins-$(basename "$wheel")
if [ ! -f "$stand_ins/done" ]; then
  rm -rf "$stand_ins"
  mkdir -p "$stand_ins"
  cd "$stand_ins"
  # Every CUDA symbol that the wheel's libraries want and none of the libraries present has.
  for library in libtorch_cuda libtorch_nvshmem libtorch_python libc10_cuda; do
    nm -D --undefined-only "$wheel/torch/lib/$library.so" | awk '{print $NF}'
  done | sed 's/@.*//' | grep -E '^(cublas|cudnn|nvshmem|cufft|cusparse|curand|nccl|pnccl|cuFile|nvml|cusolver|cu[A-Z])' |
    sort -u >wanted
  nm -D --defined-only "$wheel"/nvidia/cu*/lib/*.so* | awk '{print $3}' | sed 's/@.*//' | sort -u >present
  comm -23 wanted present | awk '{print "void " $1 "(void) {}"}' >functions.c
  cc -w -shared -fPIC -o libfunctions.so functions.c
  echo >empty.c
  for library in libtorch_cuda libtorch_nvshmem libtorch_python libc10_cuda; do
    readelf -d "$wheel/torch/lib/$library.so" | awk '/NEEDED/ {gsub(/[][]/, "", $NF); print $NF}'
  done | grep -E '^lib(cu|nccl|nvshmem)' | sort -u | while read -r name; do
    if ! compgen -G "$wheel/nvidia/cu*/lib/$name" >/dev/null; then
      cc -shared -fPIC -o "$name" -Wl,-soname,"$name" empty.c
    fi
  done
  touch done
  cd - >/dev/null
fi
LD_PRELOAD=$stand_ins/libfunctions.so LD_LIBRARY_PATH=$stand_ins PYTHONPATH=${PEERS_SITE:+$PEERS_SITE:}$wheel exec "$python" "$@"
