#!/bin/bash
# vmm_test.sh - runs inside the lab: berth-vmm boots Debian's kernel on two host nodes, with disk, network and entropy,
# through a reset in place, a power button and a clean end
#
# usage: vmm_test.sh [VERSION]      of the guest's kernel, see mkguest.sh
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"

version=${1:-6.12}
vmm=$BERTH_BUILD/bin/berth-vmm
read -r kernel initramfs < <("$here/mkguest.sh" "$version")
work=$(mktemp -d)
out=${BERTH_LAB_OUT:-/lab}
serial=$out/serial.log log=$out/vmm.log
rm -f "$serial" "$log"

status_of() { "$@" > "$work/output" 2>&1; echo $?; }
equal "exit status for a wrong option" 2 "$(status_of "$vmm" --kernel "$kernel" --cpus boot=none)"
equal "exit status without a kernel" 1 "$(status_of "$vmm" --kernel /nonexistent --serial null)"
equal "exit status when huge pages are missing" 1 "$(status_of "$vmm" --kernel "$kernel" --serial null --memory size=0 \
    --memory-zone id=big,size=64M,hugepages=on,host_numa_node=2)"
check "the message names zone, node, size, need and have" \
    grep -q 'memory zones big need 32 huge pages of 2M, host NUMA node 2 has 0 free' "$work/output"

# what the guest does: the first boot writes a pattern and resets, the second one checks it
cat > "$work/guest.sh" << 'GUEST'
ip addr add 10.77.0.2/24 dev eth0; ip link set eth0 up
ping -c 2 -W 30 10.77.0.1 > /dev/null && echo "guest: ping works"
if [ "$(head -c 6 /dev/vda)" = second ]; then
    echo "guest: second $(dd if=/dev/vda bs=64k skip=16 count=64 2> /dev/null | md5sum)"
    echo "guest: entropy from $(cat /sys/class/misc/hw_random/rng_current), $(head -c 64 /dev/hwrng | wc -c) bytes"
    echo "guest: waits for the power button"
    n=0
    until grep 'ACPI:Ged' /proc/interrupts | grep -q '[1-9][0-9]* .*IO-APIC'; do
        n=$((n + 1)); [ $n -lt 300 ] || break; sleep 0.2
    done
    grep 'ACPI:Ged' /proc/interrupts
    exit 0
fi
dd if=/dev/urandom of=/dev/vda bs=64k seek=16 count=64 2> /dev/null
printf second | dd of=/dev/vda conv=notrunc 2> /dev/null; sync
echo "guest: first $(dd if=/dev/vda bs=64k skip=16 count=64 2> /dev/null | md5sum)"
reboot -f; sleep 600
GUEST

echo 64 > /sys/devices/system/node/node3/hugepages/hugepages-2048kB/nr_hugepages
truncate -s 16M "$work/disk"
"$vmm" --kernel "$kernel" --initramfs "$initramfs" --cpus 'boot=4,affinity=[0@[2],1@[3],2@[6],3@[7]]' --memory size=0 \
    --memory-zone id=m0,size=192M,host_numa_node=1,prefault=on \
    --memory-zone id=m1,size=128M,host_numa_node=3,hugepages=on \
    --numa 'guest_numa_id=0,cpus=[0-1],distances=[1@25],memory_zones=[m0]' \
    --numa 'guest_numa_id=1,cpus=[2-3],distances=[0@25],memory_zones=[m1]' \
    --disk "path=$work/disk" --net tap=berth0,mac=52:54:00:be:00:01 --serial "file=$serial" --log-file "$log" \
    --api-socket "$work/api" --cmdline \
    "console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 berth.cmd=$(base64 -w0 "$work/guest.sh")" &
pid=$!
# shellcheck disable=SC2317  # called by wait_for
said() { grep -q "$1" "$serial" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; }
api() { curl -s -o "$work/reply" -w '%{http_code}' --unix-socket "$work/api" "$@"; }

wait_for 60 test -e /sys/class/net/berth0
ip addr add 10.77.0.1/24 dev berth0
wait_for 60 test -S "$work/api"
wait_for 400 said 'guest: waits for the power button'

for id in 0 1 2 3; do
    task=$(grep -l "^vcpu$id\$" /proc/$pid/task/*/comm)
    equal "host CPUs of vCPU $id" "$(echo 2 3 6 7 | cut -d' ' -f$((id + 1)))" \
        "$(awk '/Cpus_allowed_list/ { print $2 }' "${task%comm}status")"
done
task=$(grep -l '^devices$' /proc/$pid/task/*/comm)
equal "host CPUs of the devices' thread, whose node has only those of vCPUs" "$(cat /sys/devices/system/cpu/online)" \
    "$(awk '/Cpus_allowed_list/ { print $2 }' "${task%comm}status")"
pages() { awk -v want="bind:$1" '$2 == want { for (i = 3; i <= NF; i++) if ($i ~ /^N[0-9]+=/) print $i }' /proc/$pid/numa_maps; }
equal "pages of zone m0" N1=49152 "$(pages 1)"
equal "huge pages of zone m1" N3=64 "$(pages 3)"
equal "vm.info" 200 "$(api http://localhost/api/v1/vm.info)"
check "vm.info tells that it runs" grep -q '"state":"Running"' "$work/reply"
rss=$(awk '/^[0-9a-f]+-[0-9a-f]+ /{ ram = 0 } /^Size:/ { ram = $2 >= 65536 } /^Rss:/ && !ram { sum += $2 } END { print sum }' \
    /proc/$pid/smaps)
echo "resident memory without guest RAM: $rss kB, $(find /proc/$pid/task -mindepth 1 -maxdepth 1 | wc -l) threads"
equal "power button" 204 "$(api -X PUT http://localhost/api/v1/vm.power-button)"
wait_for 200 said 'reboot: Power down'
wait $pid
equal "exit status after the guest has powered off" 0 $?

guest() { tr -d '\r' < "$serial" | sed -n "s/^guest: $1//p" | head -n "${2:-1}" | tail -n 1; }
tr -d '\r' < "$serial" | grep -E '^(berth-guest|guest|node|pci|block|net|available| +[0-9]+: )' | sed 's/^/    /'
check "the guest sees two nodes" grep -q 'berth-guest: up kernel=.* cpus=4 nodes=2' "$serial"
check "it sees CPUs 2 and 3 on node 1" grep -q '^node 1 cpus: 2 3' "$serial"
check "it sees the distances" grep -q '^  1: *25  10' "$serial"
equal "network, both boots" 2 "$(grep -c 'guest: ping works' "$serial")"
equal "what it wrote before the reset" "$(guest 'first ')" "$(guest 'second ')"
check "it has entropy" grep -q 'guest: entropy from virtio_rng.*, 64 bytes' "$serial"
equal "boots" 2 "$(grep -c vm_booted "$log")"
# columns: GSI, a count for each vCPU, controller, pin, name
felt=$(tr -d '\r' < "$serial" | awk '/ACPI:Ged/ { for (i = 2; i <= 5; i++) sum += $i } END { print sum + 0 }')
equal "interrupts of the power button" 1 "$felt"
rm -rf "$work"
finish
