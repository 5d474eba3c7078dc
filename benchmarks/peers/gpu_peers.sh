#!/usr/bin/env bash
# The peers of `retort bench train` on a GPU, one after the other: a JSON line each on standard output.
#
#   gpu_peers.sh SHAPE TOKENS_PER_STEP [LAYERS]
#
# RETORT_GPU_PYTHON names a Python with a PyTorch for CUDA (default: python3), such as the one whose libtorch this build
# uses (docs/HACKING.md, "A GPU"). TRL is measured where that Python has it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
shape=$1 tokens=$2
layers=(${3:+--layers "$3"})
python=${RETORT_GPU_PYTHON:-python3}
if ! "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  echo "gpu_peers.sh: '$python' has no PyTorch that sees a GPU; name one in RETORT_GPU_PYTHON." >&2
  exit 2
fi
for variant in "--attention varlen" "--attention varlen --compile" "--attention mask --compile"; do
  # shellcheck disable=SC2086  # words of the variant
  "$python" -B "$here/../pytorch_loop.py" --json --device cuda --shape "$shape" --tokens-per-step "$tokens" "${layers[@]}" $variant 2>/dev/null | grep '^{"'
done
if "$python" -c 'import trl' 2>/dev/null; then
  mean=$([ "$shape" = 8b ] && echo 1280 || echo 160)
  "$python" -B "$here/trl_gkd.py" --json --device cuda --shape "$shape" "${layers[@]}" --sequences $((tokens / mean)) --weights bf16 2>/dev/null | grep '^{"'
fi
