#!/bin/bash
# emulator_test.sh - runs inside the lab: two faults of QEMU that this lab must not have
#
# usage: emulator_test.sh [SECONDS]      for each of the two
#
# No part of Berth runs. While one CPU hides and shows a device's memory without a pause,
# * the others use the file system over virtio: QEMU 10.0.13 stands still within half a minute (the lab then says so with
#   status 125), see mkqemu.sh;
# * a guest of KVM takes interrupts one by one: QEMU to 11.1 delivers some of them twice, see mend_qemu.py.
set -u
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"
seconds=${1:-120}
device=0000:22:00.0
echo $device > /sys/bus/pci/drivers/e1000e/unbind

remap() {
    timeout 600 python3 - "$seconds" "$device" << 'PYTHON'
import os, sys, time
config = os.open(f"/sys/bus/pci/devices/{sys.argv[2]}/config", os.O_RDWR)
end, times = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    os.pwrite(config, b"\0\0", 4)  # Command: no memory decoding
    os.pwrite(config, b"\2\0", 4)
    times += 1
sys.exit(times < 1000)
PYTHON
}

for i in 1 2 3 4; do
    (
        while :; do
            date > "/lab/written.$i"
        done
    ) &
    writers[i]=$!
done
check "a device appears and disappears thousands of times" remap
kill "${writers[@]}"
for i in 1 2 3 4; do
    check "writer $i went on to the end" test -n "$(find "/lab/written.$i" -newermt '-30 seconds')"
done

remap &
check "a guest gets each interrupt once" timeout 600 "$here/interrupt_once.py" "$seconds"
check "the device appeared and disappeared all the while" wait $!
finish
