#!/usr/bin/env bash
# clang-format and clang-tidy over what changed against the main branch (ALL=1: everything; FILES="a.cc b.cc": those).
#
#   lint.sh [BUILD]      a configured build folder with compile_commands.json; default: build
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
base=${LINT_BASE:-main}

if [ -n "${FILES:-}" ]; then
  read -r -a changed <<<"$FILES"
elif [ "${ALL:-0}" = 1 ] || ! git rev-parse -q --verify "$base" >/dev/null; then
  mapfile -t changed < <(git ls-files '*.h' '*.cc')
else
  mapfile -t changed < <({ git diff --name-only --diff-filter=d "$(git merge-base "$base" HEAD)" -- '*.h' '*.cc' &&
    git ls-files --others --exclude-standard -- '*.h' '*.cc'; } | sort -u)
fi
if [ ${#changed[@]} -eq 0 ]; then
  echo "lint: no C++ file differs from $base (ALL=1 looks at all of them)"
  exit 0
fi

clang-format-16 --dry-run -Werror "${changed[@]}"

sources=()
for file in "${changed[@]}"; do
  case $file in
  *.cc) if grep -qF "/$file\"" "$build/compile_commands.json"; then sources+=("$file"); fi ;;
  esac
done
[ ${#sources[@]} -gt 0 ] || exit 0

# clang-tidy can't read the precompiled headers and the warnings of GCC: it gets the commands without them.
commands=$(mktemp -d)
trap 'rm -rf "$commands"' EXIT
python3 - "$build/compile_commands.json" "$commands/compile_commands.json" <<'PYTHON'
import json, re, sys
entries = json.load(open(sys.argv[1]))
for entry in entries:
    command = re.sub(r" -Winvalid-pch| -include \S*cmake_pch\S*| -fpch-preprocess", "", entry["command"])
    command = re.sub(r" -W(duplicated-cond|logical-op|no-restrict|no-dangling-pointer|no-stringop-overflow)\b", "", command)
    entry["command"] = command
json.dump(entries, open(sys.argv[2], "w"))
PYTHON
printf '%s\0' "${sources[@]}" |
  xargs -0 -n 1 -P "$(scripts/jobs.sh)" clang-tidy-16 -p "$commands" --quiet --extra-arg=-Wno-unknown-warning-option
echo "lint: ${#changed[@]} files are in form, ${#sources[@]} passed clang-tidy"
