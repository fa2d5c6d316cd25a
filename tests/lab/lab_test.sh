#!/bin/bash
# lab_test.sh - run a test script inside the emulated host, as a test of ctest
#
# usage: tests/lab/lab_test.sh [-R] [lab options] NAME SCRIPT [ARG...]
#
# -R: when the emulated machine itself died (the lab's status 125: it reset, panicked or stood still before the script's end),
# SCRIPT is run once more on a new one. That is said in the output, and what is left of the dead machine stays in
# BERTH_LAB_RESULTS/NAME.died. A check that failed, or a time limit, is never a reason.
#
# Results (output, console.log, timing, whatever SCRIPT leaves in /lab) stay in BERTH_LAB_RESULTS/NAME (default:
# lab-results in the current folder). Status: 0 passed; 77 skipped, because the lab cannot be had here or SCRIPT itself
# ended with 77; 1 failed, with the end of the host's console on stderr.
set -u

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
options=() again=
while [ $# -gt 0 ]; do
    case $1 in
        -R)    again=1; shift ;;
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
rm -rf "$results" "$results.died"

run() {
    mkdir -p "$results"
    "$here/lab" run "${options[@]}" -o "$results" -- "$script" "$@" 2> "$results/stderr" | tee "$results/output"
    status=${PIPESTATUS[0]}
    cat "$results/stderr" >&2
}
run "$@"
if [ "$status" = 125 ] && [ -n "$again" ]; then
    mv "$results" "$results.died"
    echo "lab: THE EMULATED MACHINE DIED, not the test: once more, on a new one (what is left of it: $results.died)"
    grep -aE 'Kernel panic|corrupted|BUG:|Oops|double fault' "$results.died/console.log" | tail -n 5
    run "$@"
fi
[ -f "$results/timing" ] && echo "lab: $(tr '\n' ' ' < "$results/timing")"
case $status in
    0)  echo "$name: passed" ;;
    77) echo "$name: skipped" ;;
    *)  echo "--- end of the host's console"; tail -n 40 "$results/console.log" 2> /dev/null
        echo "$name: FAILED with status $status (results: $results)"
        status=1 ;;
esac
exit "$status"
