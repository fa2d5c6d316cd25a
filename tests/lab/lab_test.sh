#!/bin/bash
# lab_test.sh - run a test script inside the emulated host, as a test of ctest
#
# usage: tests/lab/lab_test.sh [lab options] NAME SCRIPT [ARG...]
#
# Results (output, console.log, timing, whatever SCRIPT leaves in /lab) stay in BERTH_LAB_RESULTS/NAME (default:
# lab-results in the current folder). Status: 0 passed; 77 skipped, because the lab cannot be had here or SCRIPT itself
# ended with 77; 1 failed, with the end of the host's console on stderr.
set -u

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
options=()
while [ $# -gt 0 ]; do
    case $1 in
        -p|-v) options+=("$1"); shift ;;
        -*)    [ $# -ge 2 ] || exit 2; options+=("$1" "$2"); shift 2 ;;
        *)     break ;;
    esac
done
[ $# -ge 2 ] || { awk 'NR > 1 { if (!/^#/ || /shellcheck/) exit; sub(/^# ?/, ""); print }' "$0"; exit 2; }
name=$1
script=$(realpath "$2")
shift 2
results=${BERTH_LAB_RESULTS:-lab-results}/$name
rm -rf "$results"
mkdir -p "$results"

"$here/lab" run "${options[@]}" -o "$results" -- "$script" "$@" 2> "$results/stderr" | tee "$results/output"
status=${PIPESTATUS[0]}
cat "$results/stderr" >&2
[ -f "$results/timing" ] && echo "lab: $(tr '\n' ' ' < "$results/timing")"
case $status in
    0)  echo "$name: passed" ;;
    77) echo "$name: skipped" ;;
    *)  echo "--- end of the host's console"; tail -n 40 "$results/console.log" 2> /dev/null
        echo "$name: FAILED with status $status (results: $results)"
        status=1 ;;
esac
exit "$status"
