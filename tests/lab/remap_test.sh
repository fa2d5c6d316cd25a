#!/bin/bash
# remap_test.sh - runs inside the lab: the emulator keeps devices apart while one of them appears and disappears
#
# usage: remap_test.sh [SECONDS]
#
# One CPU hides and shows a device's memory without a pause while the others use the file system over virtio. No part of
# Berth runs. QEMU 10.0.13 stands still within half a minute (see mkqemu.sh): the lab then says so with status 125.
set -u
# shellcheck source=tests/lab/check.sh
. "$(dirname "$(readlink -f "$0")")/check.sh"
device=0000:22:00.0
echo $device > /sys/bus/pci/drivers/e1000e/unbind
for i in 1 2 3 4; do
    (
        while :; do
            date > "/lab/written.$i"
        done
    ) &
done
check "a device appears and disappears thousands of times" timeout 600 python3 - "${1:-120}" "$device" << 'PYTHON'
import os, sys, time
config = os.open(f"/sys/bus/pci/devices/{sys.argv[2]}/config", os.O_RDWR)
end, times = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    os.pwrite(config, b"\0\0", 4)  # Command: no memory decoding
    os.pwrite(config, b"\2\0", 4)
    times += 1
sys.exit(times < 1000)
PYTHON
# shellcheck disable=SC2046  # words are meant
kill $(jobs -p)
for i in 1 2 3 4; do
    check "writer $i went on to the end" test -n "$(find "/lab/written.$i" -newermt '-30 seconds')"
done
finish
