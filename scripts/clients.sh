#!/usr/bin/env bash
# The official client of the API that `retort serve` speaks, for the tests: installed once by pip, with digests, into the
# cache. Prints the folder to put on PYTHONPATH.
#
#   clients.sh [--path]     --path: only say where, and install nothing
set -euo pipefail
requirements=$(cd "$(dirname "$0")/.." && pwd)/tests/system/requirements.txt
cache=${RETORT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/retort}
python=${RETORT_PYTHON:-python3}
site=$cache/clients/$(sha256sum "$requirements" | cut -c1-12)-$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
if [ "${1:-}" != --path ] && [ ! -f "$site/done" ]; then
  rm -rf "$site" "$site.part"
  "$python" -m pip install -q --no-deps --require-hashes --only-binary :all: \
    --disable-pip-version-check --root-user-action=ignore --target "$site.part" -r "$requirements" >&2
  touch "$site.part/done"
  mv "$site.part" "$site"
fi
printf '%s\n' "$site"
