#!/bin/bash
# tidy.sh - runs clang-tidy with the project's configuration
#
# usage: tidy.sh [--build DIR] [--all | FILE...]
#
#   --build DIR   folder with compile_commands.json (default build/dev)
#   --all         every source file of ours; without it, those that differ from the last commit on main or are new
#
# Slow (5 to 15 CPU seconds a file), so it is no part of the default test run.
set -eu
cd "$(dirname "$0")/../.."
build=build/dev all='' files=()
while [ $# -gt 0 ]; do
    case $1 in
        --build) build=$2; shift 2 ;;
        --all)   all=1; shift ;;
        -*)      sed -n '2,/^set -eu/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2 ;;
        *)       files+=("$1"); shift ;;
    esac
done
tool=$(command -v clang-tidy-19) || { echo "clang-tidy-19 is missing: run deploy/install-deps.sh" >&2; exit 1; }
[ -f "$build/compile_commands.json" ] || { echo "no $build/compile_commands.json: run cmake --preset dev" >&2; exit 1; }
if [ -n "$all" ]; then
    mapfile -t files < <(git ls-files '*.cc' | grep -v '^tests/')
elif [ ${#files[@]} -eq 0 ]; then
    mapfile -t files < <({ git diff --name-only HEAD -- '*.cc'; git ls-files -o --exclude-standard '*.cc'; } | grep -v '^tests/' | sort -u)
fi
[ ${#files[@]} -gt 0 ] || { echo "tidy: nothing to check"; exit 0; }
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" "$tool" --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-ignored-gch 2> >(grep -v 'warnings generated' >&2)
echo "tidy: ${#files[@]} files clean"
