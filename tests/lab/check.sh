# shellcheck shell=bash
# check.sh - sourced by the test scripts that run inside the lab: checks that report and count
#
#   check "what is promised" COMMAND [ARG...]      passes when the command does; its output is shown when it does not
#   equal "what is promised" EXPECTED ACTUAL
#   wait_for SECONDS COMMAND [ARG...]              polls until the command succeeds; status 1 past the limit
#   threads_of PROGRAM                             where each thread of the running PROGRAM waits, for a failed check
#   finish                                         last line: prints the sum, exits 0 or 1

checks=0 failures=0

check() {
    local what=$1 output
    shift
    checks=$((checks + 1))
    if output=$("$@" 2>&1); then
        echo "ok: $what"
    else
        failures=$((failures + 1))
        echo "FAILED: $what"
        echo "  command: $*"
        [ -n "$output" ] && echo "${output//$'\n'/$'\n'  }"
        return 1
    fi
}

equal() {
    checks=$((checks + 1))
    if [ "$2" = "$3" ]; then
        echo "ok: $1: $3"
    else
        failures=$((failures + 1))
        echo "FAILED: $1: expected '$2', got '$3'"
        return 1
    fi
}

wait_for() {
    local limit=$1 start=$SECONDS
    shift
    until "$@"; do
        [ $((SECONDS - start)) -lt "$limit" ] || return 1
        sleep 0.2
    done
}

threads_of() {
    local task
    for task in $(pgrep -x "$1" | sed 's|.*|/proc/&/task/*|'); do
        echo "-- $(cat "$task/comm"), state and ticks $(awk '{ print $3, $14, $15 }' "$task/stat")"
        cat "$task/syscall" "$task/stack"
    done
}

finish() {
    echo "$checks checks, $failures failed"
    [ "$failures" = 0 ]
    exit
}
