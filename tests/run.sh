#!/bin/bash
# run.sh - install what is needed, build, and run all tests; ends with ctest's summary
#
# usage: tests/run.sh [--preset P] [--no-install] [--quick] [-- ctest options]
#
#   --preset P    build and test this preset (default: release; see CMakePresets.json)
#   --no-install  use what is installed
#   --quick       leave out the tests that boot the emulated host (label lab)
#
# What was skipped, and why, is listed right before the summary. Status: 0 when all tests passed or were skipped.
set -u
cd "$(dirname "$(readlink -f "$0")")/.." || exit 1

preset=release install=1 lab=1 options=()
while [ $# -gt 0 ]; do
    case $1 in
        --preset)     [ $# -ge 2 ] || exit 2; preset=$2; shift ;;
        --no-install) install='' ;;
        --quick)      lab='' ;;
        --)           shift; options=("$@"); break ;;
        *)            awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0" >&2; exit 2 ;;
    esac
    shift
done
step() { printf '\n=== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

if [ -n "$install" ]; then
    step "packages"
    sets=(--test)
    [ -n "$lab" ] && sets+=(--lab)
    [ "$preset" = fuzz ] && sets+=(--dev)
    deploy/install-deps.sh "${sets[@]}" || exit 1
fi

# From Debian into the cache while the compiler works. A failure is no error: each lab test says what it lacks.
fetching=
if [ -n "$lab" ]; then
    tests/lab/lab fetch &
    fetching=$!
fi

step "configure"
cmake --preset "$preset" --log-level=NOTICE || exit 1
step "build"
cmake --build --preset "$preset" -j "$(nproc)" || exit 1

if [ -n "$fetching" ]; then
    wait "$fetching" || echo "the lab is not complete: its tests will be skipped"
else
    options=(-LE lab "${options[@]}")
    echo "skipped by --quick: the tests with the label lab"
fi

step "test"
ctest --preset "$preset" -j "$(nproc)" "${options[@]}" 2>&1 |
    python3 tests/skipped.py "build/$preset/Testing/Temporary/LastTest.log"
exit "${PIPESTATUS[0]}"
