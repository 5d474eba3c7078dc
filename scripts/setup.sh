#!/usr/bin/env bash
# Brings a machine to where the project builds: system packages, then the pinned parts (scripts/parts.lock).
#
#   setup.sh [build|lint|bench]...    default: build
#
# Run again at any time: what is present is not touched, and then neither network nor root is needed.
# On Debian and its relatives missing packages are installed (as root, or through sudo); elsewhere they are named.
# RETORT_SKIP_PACKAGES=1 takes the system as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

groups=("$@")
[ ${#groups[@]} -gt 0 ] || groups=(build)

fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

wanted=()
for group in "${groups[@]}"; do
  [ -f "scripts/packages-$group.txt" ] || fail "there is no group '$group' (scripts/packages-$group.txt)."
  while read -r package; do
    wanted+=("$package")
  done < <(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "scripts/packages-$group.txt")
done

missing=()
if command -v dpkg-query >/dev/null; then
  # dpkg-query fails when it has never heard of one of them; what it knows it prints all the same.
  known=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null) || true
  installed=$(awk '$2 == "installed" {print $1}' <<<"$known")
  for package in "${wanted[@]}"; do
    grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
  done
else
  # Not a Debian system: what can be asked for are the programs; CMake names a missing library itself.
  for program in c++ make cmake ninja python3; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
fi

if [ ${#missing[@]} -gt 0 ] && [ "${RETORT_SKIP_PACKAGES:-0}" != 1 ]; then
  if ! command -v apt-get >/dev/null; then
    printf 'setup: missing here: %s\n' "${missing[*]}" >&2
    printf 'This is not a Debian system, so nothing was installed. Install what these Debian 12 packages hold, under the\n' >&2
    printf 'names of your system (a C++20 compiler, CMake 3.25 or later, the libraries with their headers):\n' >&2
    printf '  %s\n' "${wanted[*]}" >&2
    printf 'and run the same command again with RETORT_SKIP_PACKAGES=1.\n' >&2
    exit 1
  fi
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      fail "these packages are missing, and this is neither root nor is there sudo. Have them installed: apt-get install ${missing[*]}"
    as_root=(sudo)
    [ -t 0 ] || as_root=(sudo -n) # nobody is there to type a password
  fi
  printf 'Installing %s\n' "${missing[*]}" >&2
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  # The list of packages may be old or empty on a fresh machine: it is read once, only when something is missing.
  if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}"; } </dev/null >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "installing failed (its last words are above). Needed: apt-get install ${missing[*]}"
  fi
fi

case " ${groups[*]} " in
*" build "*) python3 scripts/parts.py ensure ;;
esac
