#!/bin/bash
# vmm_hotplug_test.sh - runs inside the lab: a guest of three nodes with sparse ids and asymmetric distances, whose zones,
# vCPUs and disks grow and shrink while it runs; then one whose memory grows by ACPI
#
# usage: vmm_hotplug_test.sh [VERSION]      of the guest's kernel, see mkguest.sh
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

# what the guest does: says a word when something has come or gone; the script outside waits for it
cat > "$work/guest.sh" << 'GUEST'
await() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt 1500 ] || { echo "guest: gave up on $1"; break; }; sleep 0.2; done; }
size() { awk '/MemTotal/ { print int($4 / 1024) }' /sys/devices/system/node/node$1/meminfo; }
online_all() { for f in /sys/devices/system/cpu/cpu*/online; do [ "$(cat $f)" = 1 ] || echo 1 > $f 2> /dev/null; done; }
cpus() { for n in 0 1 2; do echo "guest: $1 node $n cpus $(cat /sys/devices/system/node/node$n/cpulist)"; done; }
sizes() { for n in 0 1 2; do echo "guest: $1 node $n size $(size $n)"; done; }
for n in 0 1 2; do echo "guest: node $n distance $(cat /sys/devices/system/node/node$n/distance)"; done
echo "guest: disk on node $(cat /sys/bus/pci/devices/0001:00:00.0/numa_node)"
await '[ $(size 1) -ge 165 ]'
cpus before; sizes before
a=$(size 0) b=$(size 1) c=$(size 2)
while sleep 0.3; do echo 1 > /proc/sys/vm/drop_caches; head -c 9 /dev/vda > /dev/null; done &
echo "guest: ready"
await '[ $(size 0) -ge $((a + 120)) ] && [ $(size 1) -ge $((b + 120)) ] && [ $(size 2) -ge $((c + 120)) ]'
sizes after
echo "guest: memory has grown"
await 'online_all; [ "$(nproc)" = 14 ]'
cpus after
echo "guest: processors have come"
await '[ -b /dev/vdb ]'
echo "guest: disk has come, $(head -c 11 /dev/vdb)"
await '[ ! -b /dev/vdb ]'
echo "guest: disk has gone"
await '[ "$(nproc)" = 12 ]'
cpus left
echo "guest: processors have gone"
await '[ $(size 1) -le $((b-31)) ]'
sizes less
echo "guest: memory has gone"; sleep 60
GUEST

truncate -s 1M "$work/disk" "$work/second"
printf 'second disk' | dd of="$work/second" conv=notrunc 2> /dev/null
# nokaslr: the kernel is in node 0, whose memory it takes
cmdline="nokaslr console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 memhp_default_state=online_movable"
"$vmm" --kernel "$kernel" --initramfs "$initramfs" --cpus 'boot=12,max=14' \
    --platform num_pci_segments=2 --pci-segment pci_segment=1,mmio32_aperture_weight=1 \
    --memory size=0,hotplug_method=virtio-mem \
    --memory-zone id=m0,size=192M,host_numa_node=0,hotplug_size=256M \
                  id=m1,size=160M,host_numa_node=1,hotplug_size=256M,hotplugged_size=32M \
                  id=m2,size=128M,host_numa_node=2,hotplug_size=256M,shared=on \
    --numa 'guest_numa_id=0,cpus=[0-3,12],distances=[2@15,5@20],memory_zones=m0' \
           'guest_numa_id=5,cpus=[8-11,13],distances=[0@25,2@30],memory_zones=m2' \
           'guest_numa_id=2,cpus=[4-7],distances=[0@20,5@25],memory_zones=[m1],pci_segments=[1]' \
    --disk "path=$work/disk,pci_segment=1" --serial "file=$serial" --log-file "$log" --api-socket "$work/api" \
    --cmdline "$cmdline berth.cmd=$(base64 -w0 "$work/guest.sh")" &
pid=$!
# A line that is finished: the terminal ends it by CR LF.
# shellcheck disable=SC2317  # called by wait_for
said() { grep -q "guest: $1.*"$'\r' "$serial" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; }
put() { curl -s -o "$work/reply" -w '%{http_code}' --unix-socket "$work/api" -X PUT -d "${2:-}" "http://localhost/api/v1/$1"; }
state() { curl -s --unix-socket "$work/api" http://localhost/api/v1/vm.info | tr '{' '\n' | grep "\"subject\":\"$1\"" | sed 's/.*"state":"\([A-Za-z]*\)".*/\1/'; }
# shellcheck disable=SC2317
done_with() { [ "$(state "$1")" = Done ]; }
guest() { tr -d '\r' < "$serial" | sed -n "s/^guest: $1//p" | head -n 1; }
MiB=1048576

wait_for 900 said ready
equal "distances of node 0" "10 15 20" "$(guest 'node 0 distance ')"
equal "distances of node 1" "20 10 25" "$(guest 'node 1 distance ')"
equal "distances of node 2" "25 30 10" "$(guest 'node 2 distance ')"
equal "CPUs of node 0" "0-3" "$(guest 'before node 0 cpus ')"
equal "CPUs of node 1" "4-7" "$(guest 'before node 1 cpus ')"
equal "CPUs of node 2" "8-11" "$(guest 'before node 2 cpus ')"
# The kernel keeps some of it for itself, of node 0 most.
size() { local n; n=$(guest "$1 node $2 size "); echo "${n:-0}"; }
for range in 0:130:192 1:180:192 2:50:128; do
    IFS=: read -r node least most <<< "$range"
    check "memory of node $node is $(size before "$node") MiB: from $least to $most" \
        test "$(size before "$node")" -ge "$least" -a "$(size before "$node")" -le "$most"
done
equal "node of the disk on segment 1" 1 "$(guest 'disk on node ')"

runs_on() { awk '/Cpus_allowed_list/ { print $2 }' "$(grep -l "^$1\$" /proc/$pid/task/*/comm | sed 's/comm$/status/')"; }
# it is there while the guest reads
wait_for 30 grep -qx blk-disk0 /proc/$pid/task/*/comm
equal "host CPUs of the disk's thread, near node 1" "2-3" "$(runs_on blk-disk0)"
equal "host CPUs of the other devices' thread, near segment 0" "0-1" "$(runs_on devices)"
equal "m0 below its size at boot" 400 "$(put vm.resize-zone "{\"id\":\"m0\",\"desired_ram\":$((100 * MiB))}")"
equal "m0 above its area" 400 "$(put vm.resize-zone "{\"id\":\"m0\",\"desired_ram\":$((500 * MiB))}")"
equal "m0 misaligned" 400 "$(put vm.resize-zone "{\"id\":\"m0\",\"desired_ram\":$((192 * MiB + 4096))}")"
check "the message tells what is allowed" grep -q '192M to 448M in steps of 2M' "$work/reply"
equal "grow m0" 204 "$(put vm.resize-zone "{\"id\":\"m0\",\"desired_ram\":$(((192 + 128) * MiB))}")"
equal "grow m1" 204 "$(put vm.resize-zone "{\"id\":\"m1\",\"desired_ram\":$(((160 + 160) * MiB))}")"
equal "grow m2" 204 "$(put vm.resize-zone "{\"id\":\"m2\",\"desired_ram\":$(((128 + 128) * MiB))}")"
wait_for 300 said 'memory has grown'
for zone in m0 m1 m2; do
    wait_for 60 done_with "zone $zone"
    equal "state of zone $zone" Done "$(state "zone $zone")"
done
for node in 0 1 2; do
    equal "MiB that node $node has grown by" 128 $(($(size after $node) - $(size before $node)))
done

equal "more processors than max" 400 "$(put vm.resize '{"desired_vcpus":15}')"
equal "plug processors" 204 "$(put vm.resize '{"desired_vcpus":14}')"
wait_for 300 said 'processors have come'
equal "CPUs of node 0 afterwards" "0-3,12" "$(guest 'after node 0 cpus ')"
equal "CPUs of node 1 afterwards" "4-7" "$(guest 'after node 1 cpus ')"
equal "CPUs of node 2 afterwards" "8-11,13" "$(guest 'after node 2 cpus ')"
equal "threads of vCPUs" 14 "$(cat /proc/$pid/task/*/comm | grep -c '^vcpu')"

equal "add a disk" 200 "$(put vm.add-disk "{\"path\":\"$work/second\",\"id\":\"second\"}")"
wait_for 200 said 'disk has come'
equal "what the guest reads from it" "second disk" "$(guest 'disk has come, ')"
equal "remove it" 204 "$(put vm.remove-device '{"id":"second"}')"
wait_for 200 said 'disk has gone'
wait_for 60 done_with "device second"
equal "state of the removal" Done "$(state 'device second')"
equal "the same file can be added again" 200 "$(put vm.add-disk "{\"path\":\"$work/second\",\"id\":\"second\"}")"

equal "give processors back" 204 "$(put vm.resize '{"desired_vcpus":12}')"
wait_for 300 said 'processors have gone'
wait_for 60 done_with vcpus
equal "state of the processors" Done "$(state vcpus)"
for node in 0 1 2; do
    equal "CPUs of node $node as before" "$(guest "before node $node cpus ")" "$(guest "left node $node cpus ")"
done
equal "shrink m1" 204 "$(put vm.resize-zone "{\"id\":\"m1\",\"desired_ram\":$((160 * MiB))}")"
wait_for 300 said 'memory has gone'
wait_for 200 done_with "zone m1"
equal "state of the smaller zone" Done "$(state 'zone m1')"
wait_for 60 said 'less node 2'
equal "MiB that node 1 has lost" 160 $(($(size after 1) - $(size less 1)))
equal "MiB that the others have lost" "0 0" "$(($(size after 0) - $(size less 0))) $(($(size after 2) - $(size less 2)))"
check "the guest gave up on nothing" sh -c "! grep 'gave up' '$serial'"
wait $pid
equal "exit status after the guest has powered off" 0 $?
tr -d '\r' < "$serial" | grep -E '^(berth-guest|guest|node|pci|block|available| +[0-9]+: )' | sed 's/^/    /'

# ---- memory by ACPI, threads and cores --------------------------------------------------------------------
serial=$out/serial2.log log=$out/vmm2.log
rm -f "$serial" "$log"
cat > "$work/guest2.sh" << 'GUEST'
total() { awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo; }
before=$(total)
echo "guest: siblings $(cat /sys/devices/system/cpu/cpu0/topology/thread_siblings_list) package $(cat /sys/devices/system/cpu/cpu3/topology/physical_package_id)"
echo "guest: ready"
n=0; until [ "$(total)" -ge $((before + 240)) ]; do n=$((n + 1)); [ $n -lt 1500 ] || break; sleep 0.2; done
echo "guest: grown by $(($(total) - before))"
mkdir -p /t; mount -t tmpfs -o size=300m t /t
dd if=/dev/zero of=/t/file bs=1M count=150 2> /dev/null; echo "guest: filled $(wc -c < /t/file)"
echo "hello from the guest" > /dev/hvc0; read -r line < /dev/hvc0; echo "guest: console says $line"
rm /t/file
echo "guest: virtio $(for d in /sys/bus/virtio/devices/*/driver; do basename "$(readlink "$d")"; done | sort | tr '\n' ' ')"
n=0; until [ "$(awk '/MemFree/ { print int($2 / 1024) }' /proc/meminfo)" -lt 300 ]; do n=$((n + 1)); [ $n -lt 500 ] || break; sleep 0.2; done
echo "guest: free $(awk '/MemFree/ { print int($2 / 1024) }' /proc/meminfo)"
sleep 600
GUEST
"$vmm" --kernel "$kernel" --initramfs "$initramfs" --cpus 'boot=4,topology=2:1:1:2' \
    --memory size=256M,hotplug_size=512M --serial "file=$serial" --log-file "$log" --api-socket "$work/api" \
    --balloon size=0,free_page_reporting=on --console "socket=$work/console" --vsock "cid=5,socket=$work/vsock" \
    --pvpanic --event-monitor "path=$out/events" \
    --cmdline "$cmdline berth.cmd=$(base64 -w0 "$work/guest2.sh")" &
pid=$!
wait_for 900 said ready
equal "threads of the first core, package of the last" "0-1 package 1" "$(guest 'siblings ')"
equal "misaligned" 400 "$(put vm.resize "{\"desired_ram\":$((300 * MiB))}")"
equal "grow to 512M" 204 "$(put vm.resize "{\"desired_ram\":$((512 * MiB))}")"
equal "shrink again" 400 "$(put vm.resize "{\"desired_ram\":$((256 * MiB))}")"
check "the message says why" grep -q 'added by ACPI cannot be taken back' "$work/reply"
wait_for 300 said 'grown by'
wait_for 60 done_with memory
equal "state of the memory" Done "$(state memory)"
equal "MiB that the guest has grown by" 256 "$(guest 'grown by ')"
wait_for 200 said filled
equal "it can be used" 157286400 "$(guest 'filled ')"
rss() { awk '/^VmRSS/ { print int($2 / 1024) }' /proc/$pid/status; }
full=$(rss)
python3 - "$work/console" > "$work/said" << 'PYTHON'
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.settimeout(60)
print(s.recv(100).decode().split("\r")[0].strip())
s.sendall(b"hello from the host\n")
time.sleep(1)
PYTHON
equal "what the guest writes to the virtio console" "hello from the guest" "$(head -n 1 "$work/said")"
wait_for 60 said 'console says'
equal "what it reads from it" "hello from the host" "$(guest 'console says ')"
wait_for 60 said virtio
equal "drivers of virtio devices" "virtio_balloon virtio_console virtio_rng vmw_vsock_virtio_transport " \
    "$(guest 'virtio ')"
# shellcheck disable=SC2317
shrunk() { [ "$(rss)" -lt $((full - 100)) ]; }
wait_for 120 shrunk
check "free pages are reported and given back: $full MiB resident, then $(rss)" shrunk
equal "a balloon of 128M" 204 "$(put vm.resize "{\"desired_balloon\":$((128 * MiB))}")"
wait_for 120 done_with balloon
equal "state of the balloon" Done "$(state balloon)"
wait_for 120 said free
equal "more than there is" 400 "$(put vm.resize "{\"desired_balloon\":$((1024 * MiB))}")"
equal "delete it" 204 "$(put vm.delete)"
equal "nothing is left" 404 "$(put vm.boot)"
equal "end" 204 "$(put vmm.shutdown)"
wait $pid
equal "exit status of the second VMM" 0 $?
check "events were written" grep -q '"event":"deleted"' "$out/events"
tr -d '\r' < "$serial" | grep -E '^(berth-guest|guest)' | sed 's/^/    /'
rm -rf "$work"
finish
