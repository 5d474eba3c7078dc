#!/usr/bin/env bash
# Speed side by side with peers on this machine, in one run: what `make bench` prints (benchmarks/README.md).
#
#   run.sh [BUILD]     a built build folder; default: build
#
# Peers are fetched and built once, into the cache: llama.cpp's llama-batched-bench, and an environment with the pinned
# PyTorch. BENCH="collect train" chooses what runs.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
read -r -a chosen <<<"${BENCH:-micro collect train rollouts serve api store evidence dialects guard}"
model=$(python3 -B scripts/parts.py path SmolLM2-135M-Instruct.Q4_1.gguf)
out=$build/bench
mkdir -p "$out"

echo "machine: $(awk -F': ' '/^model name/ {print $2; exit}' /proc/cpuinfo), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
if awk '{exit !($1 > 0.5)}' /proc/loadavg; then
  echo "warning: this machine is busy; the figures below are not to be quoted" >&2
fi

for bench in "${chosen[@]}"; do
  printf '\n== %s\n' "$bench"
  case $bench in
  micro)
    for program in "$build"/bin/retort_*_benchmark; do
      [ -x "$program" ] || continue
      "$program" --benchmark_min_time=0.3
    done
    ;;
  collect)
    python3 -B scripts/parts.py ensure llama-tools
    tools=$(python3 -B scripts/parts.py path llama-tools)/bin
    python3 -B benchmarks/collect.py --program "$build/bin/collect_bench" --peer "$tools/llama-batched-bench" --model "$model" --out "$out"
    ;;
  train)
    "$build/bin/retort" bench train --peers
    "$build/bin/retort" bench train --signal sampled
    ;;
  rollouts)
    python3 -B scripts/parts.py ensure llama-tools
    tools=$(python3 -B scripts/parts.py path llama-tools)/bin
    python3 -B benchmarks/rollouts.py --program "$build/bin/rollout_bench" --peer "$tools/llama-batched-bench" --model "$model" --threads "$(nproc)" --out "$out"
    ;;
  serve)
    python3 -B scripts/parts.py ensure llama-tools
    tools=$(python3 -B scripts/parts.py path llama-tools)/bin
    python3 -B benchmarks/serve.py --program "$build/bin/retort" --convert "$build/bin/convert_model" --peer "$tools/llama-batched-bench" --model "$model" --threads "$(nproc)" --out "$out"
    ;;
  api)
    scripts/clients.sh
    site=${RETORT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/retort}/bench/api-$(sha256sum benchmarks/peers/api_requirements.txt | cut -c1-12)
    [ -f "$site/done" ] || { python3 -m pip install -q --no-deps --require-hashes --only-binary :all: --target "$site" -r benchmarks/peers/api_requirements.txt >&2 && touch "$site/done"; }
    python3 -B benchmarks/collect_api.py --build "$build" --openai-site "$(scripts/clients.sh --path)" --aiohttp-site "$site"
    ;;
  store)
    rm -f "$out"/bench.sqlite*
    "$build/bin/store_bench" 1000000 "$out/bench.sqlite"
    rm -f "$out"/bench.sqlite*
    ;;
  evidence)
    rm -rf "$out/evidence"
    "$build/bin/evidence_bench" "$out/evidence"
    rm -rf "$out/evidence"
    ;;
  dialects)
    "$build/bin/api_bench" | tee "$out/dialects.json"
    ;;
  guard)
    portkey=${RETORT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/retort}/bench/portkey-$(sha256sum benchmarks/peers/portkey/package-lock.json | cut -c1-12)
    if [ ! -f "$portkey/done" ] && command -v npm >/dev/null; then
      mkdir -p "$portkey" && cp benchmarks/peers/portkey/package*.json "$portkey/"
      (cd "$portkey" && npm ci --silent --ignore-scripts --no-audit --no-fund >&2) && touch "$portkey/done"
    fi
    python3 -B benchmarks/guard.py "$build" $([ -f "$portkey/done" ] && echo --portkey "$portkey")
    ;;
  quality)
    python3 -B benchmarks/quality.py --program "$build/bin/retort" --out "$out/quality"
    ;;
  guard_soak)
    python3 -B benchmarks/guard_soak.py "$build"
    ;;
  *)
    echo "run.sh: there is no benchmark '$bench' (micro, collect, train, rollouts, serve, api, store, evidence, dialects, guard, guard_soak, quality)" >&2
    exit 2
    ;;
  esac
done
