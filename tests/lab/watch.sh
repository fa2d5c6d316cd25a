#!/bin/bash
# watch.sh - ends a lab's QEMU that is past its time limit, or whose machine stands still, after noting what it was doing
#
# usage: watch.sh STATE_DIR RESULT_DIR LIMIT_S     started by lab beside QEMU
#
# STATE_DIR has QEMU's `pid` and `monitor`. The machine writes RESULT_DIR/.alive every five seconds once it is up; by the
# clock of this machine, for that is the one that 9p stamps files with. Why QEMU was ended is left in STATE_DIR/ended_by:
# the status and a sentence.
set -u
state=$1 out=$2 limit=$3
still=180  # a loaded machine may be late by a minute

# state and CPU ticks of each thread of QEMU, and where it waits
threads() {
    local task
    for task in /proc/"$pid"/task/*; do
        echo "$(cat "$task/comm"): $(awk '{ print $3, $14 + $15 }' "$task/stat") $(cut -d' ' -f1 "$task/syscall" 2> /dev/null)"
    done
}
# what it says to a line for its monitor
monitor() {
    timeout 20 python3 - "$state/monitor" "$1" << 'PYTHON'
import re, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(5)
    s.connect(sys.argv[1])
    s.sendall((sys.argv[2] + "\n").encode())
    try:
        while data := s.recv(65536):
            sys.stdout.write(re.sub(r"\x1b\[[A-Z]|\r", "", data.decode(errors="replace")))
    except TimeoutError:
        pass
PYTHON
}
end() {
    pid=$(cat "$state/pid" 2> /dev/null) || exit 0
    {
        echo "--- threads of QEMU (name: state, ticks, system call), twice within two seconds"
        threads; sleep 2; echo; threads
        echo "--- CPUs"
        monitor "info registers -a"
        monitor "info jit"
    } > "$out/stopped" 2>&1
    echo "$1 $2" > "$state/ended_by"
    kill "$pid"
    sleep 5
    kill -9 "$pid" 2> /dev/null
    exit 0
}

start=$SECONDS
while sleep 5; do
    [ $((SECONDS - start)) -lt "$limit" ] || end 124 "time limit of $limit s reached"
    alive=$(stat -c %Y "$out/.alive" 2> /dev/null) || continue
    [ $(($(date +%s) - alive)) -lt $still ] || end 125 "the machine stands still: no sign of life for $still s"
done
