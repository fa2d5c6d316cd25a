#!/bin/bash
# vmm_snapshot_test.sh - runs inside the lab: a guest that computes checksums, with disk, network and sockets, is put
# into a snapshot, killed, and goes on from it: by copy, on demand, and once more from a snapshot of that
#
# usage: vmm_snapshot_test.sh [VERSION [viommu]]     of the guest's kernel, see mkguest.sh; all devices that can be are
#                                                    behind a virtual IOMMU
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"

version=${1:-6.12} behind=
[ "${2:-}" != viommu ] || behind=,iommu=on
vmm=$BERTH_BUILD/bin/berth-vmm ctl=$BERTH_BUILD/bin/berth-vmmctl
read -r kernel initramfs < <("$here/mkguest.sh" "$version")
work=$(mktemp -d)
out=${BERTH_LAB_OUT:-/lab}
# not in $out: Landlock does not know files of a shared folder (9p) again
serial=$work/serial.log log=$out/vmm.log
rm -f "$out"/serial*.log "$out"/vmm*.log

# Checks the same data again and again, in memory and on the disk. A step that differs says so, and ends it.
cat > "$work/guest.sh" << 'GUEST'
ip addr add 10.77.0.2/24 dev eth0; ip link set eth0 up
dd if=/dev/urandom of=/data bs=64k count=128 2> /dev/null
dd if=/data of=/dev/vda bs=64k conv=fsync 2> /dev/null
want=$(md5sum < /data)
for device in /sys/bus/virtio/devices/*; do
    [ ! -e $device/../iommu_group ] || echo "guest: $(cat $device/device) behind $(cat $device/../iommu_group/type)"
done
n=0
while :; do
    n=$((n + 1))
    [ "$(md5sum < /data)" = "$want" ] || { echo "guest: memory differs at $n"; break; }
    if [ $((n % 4)) = 0 ]; then
        echo 3 > /proc/sys/vm/drop_caches
        [ "$(dd if=/dev/vda bs=64k count=128 2> /dev/null | md5sum)" = "$want" ] || { echo "guest: disk differs at $n"; break; }
        dd if=/data of=/dev/vda bs=64k seek=128 conv=fsync 2> /dev/null
    fi
    ping -c 1 -W 20 10.77.0.1 > /dev/null && network=up || network=down
    echo "guest: step $n cpus $(nproc) network $network"
done
GUEST

truncate -s 64M "$work/disk"
pid=
start() { # LOG OPTION...
    "$vmm" --log-file "$1" --api-socket "$work/api" --landlock --landlock-rules "path=$work,access=rw" "${@:2}" &
    pid=$!
}
# shellcheck disable=SC2317  # called by wait_for
said() { grep -q "$1" "$serial" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; }
step() { tr -d '\r' < "$serial" 2> /dev/null | awk '/^guest: step/ { n = $3 } END { print n + 0 }'; }
# shellcheck disable=SC2317
reached() { [ "$(step)" -ge "$1" ] || ! kill -0 "$pid" 2> /dev/null; }
state() { "$ctl" --compact --api-socket "$work/api" info | sed 's/.*"state":"\([A-Za-z]*\)".*/\1/'; }
told() { "$ctl" --api-socket "$work/api" "$@"; }

start "$log" --kernel "$kernel" --initramfs "$initramfs" --cpus boot=2,max=4 \
    --memory size=256M,hotplug_method=virtio-mem,hotplug_size=256M,hotplugged_size=64M \
    --disk "path=$work/disk,num_queues=2$behind" --net "tap=berth0$behind" --serial "file=$serial" --console null \
    --vsock "cid=9,socket=$work/vsock$behind" --rng "src=/dev/urandom$behind" --balloon size=0,free_page_reporting=on --pvpanic \
    --cmdline "console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 iommu.strict=1 berth.cmd=$(base64 -w0 "$work/guest.sh")"
wait_for 60 test -e /sys/class/net/berth0
ip addr add 10.77.0.1/24 dev berth0
wait_for 400 reached 3
check "the guest computes" test "$(step)" -ge 3
if [ -n "$behind" ]; then
    for device in 1 2 4 19; do # network, disk, entropy, sockets (virtio 1.2, 5)
        check "device type $device is behind the IOMMU" grep -q "guest: 0x0*$(printf %x "$device") behind DMA" "$serial"
    done
    requests=$("$ctl" --compact --api-socket "$work/api" counters | sed 's/.*"requests":\([0-9]*\).*/\1/')
    check "the guest's driver maps and unmaps ($requests requests)" test "$requests" -gt 100
fi
check "the network works before" grep -q 'guest: step 3 .* network up' "$serial"
told resize --cpus 3 > "$work/reply" 2>&1

equal "snapshot of a running VM is refused" 1 "$(told snapshot "file://$work/s0" > "$work/reply" 2>&1; echo $?)"
check "and the message says why" grep -q 'must be Paused' "$work/reply"
told pause
began=$(date +%s%N)
check "snapshot" told snapshot "file://$work/s1"
echo "    a snapshot took $((($(date +%s%N) - began) / 1000000)) ms, $(du -m "$work/s1" | cut -f1) MiB"
at=$(step)
told resume
wait_for 200 reached $((at + 3))
check "the saved guest goes on itself" test "$(step)" -ge $((at + 3))
kill -KILL $pid; wait $pid 2> /dev/null
check "no step went wrong before" sh -c "! grep -q differs '$serial'"
mv "$serial" "$out/serial1.log"
# the disk as it was: the guest writes behind what it checks only
restored() { # NAME OPTION
    rm -f "$work/vsock" "$serial"
    start "$out/vmm_$1.log" --restore "source_url=file://$2$3"
    wait_for 120 test -S "$work/api"
    wait_for 120 sh -c "'$ctl' --api-socket '$work/api' ping > /dev/null 2>&1"
    ip addr add 10.77.0.1/24 dev berth0 2> /dev/null; ip link set berth0 up
}

restored copy "$work/s1" ""
equal "state after the restore" Paused "$(state)"
told resume
wait_for 300 reached $((at + 5))
check "the restored guest goes on where it was" grep -q "guest: step $((at + 1)) " "$serial"
check "it computes" test "$(step)" -ge $((at + 5))
check "the network works after" grep -q "guest: step $((at + 5)) .* network up" "$serial"
check "no step went wrong after the restore by copy" sh -c "! grep -q differs '$serial'"
check "CPUs that were plugged are there" sh -c "'$ctl' --compact --api-socket '$work/api' info | grep -q '\"boot_vcpus\":3'"
kill -KILL $pid; wait $pid 2> /dev/null
mv "$serial" "$out/serial2.log"

restored demand "$work/s1" ",memory_restore_mode=ondemand,resume=on"
equal "state after a restore with resume" Running "$(state)"
wait_for 300 reached $((at + 5))
check "the guest computes on memory that comes on demand" test "$(step)" -ge $((at + 5))
check "memory came on demand" grep -q 'memory_restored faults=[1-9]' "$out/vmm_demand.log"
check "no step went wrong on demand" sh -c "! grep -q differs '$serial'"
told pause
check "a snapshot of what was restored" told snapshot "file://$work/s2"
at=$(step)
kill -KILL $pid; wait $pid 2> /dev/null
mv "$serial" "$out/serial3.log"

restored second "$work/s2" ",resume=on"
wait_for 300 reached $((at + 3))
check "the second generation goes on" test "$(step)" -ge $((at + 3))
check "no step went wrong in the second generation" sh -c "! grep -q differs '$serial'"
told power-button
wait_for 60 said 'reboot: Power down'
kill -KILL $pid 2> /dev/null; wait $pid 2> /dev/null
cp "$serial" "$out/serial4.log"; rm -rf "$work"
finish
