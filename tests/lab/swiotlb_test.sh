#!/bin/bash
# swiotlb_test.sh - runs inside the lab: Linux guests that reach a VF through their bounce buffer only
#
# usage: swiotlb_test.sh [STAGE...]      needs BERTH_BUILD (the build folder); default: traffic full
#   traffic  a software-protected VM (on the lab's own kernel; else an ordinary one) on two host nodes: all of its traffic
#            bounces, the buffer has the size and lies in the zone that the VMM says, and the zone on its host node
#   full     an instance whose buffer is too small for its VF, from berthctl to the agent's advice
# Stages are called by their names (SC2317), single quotes hold what the guest expands (SC2016), names hold no blanks
# (SC2086).
# shellcheck disable=SC2317,SC2016,SC2086
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"
[ $# -gt 0 ] || set -- traffic full
read -r kernel initramfs < <("$here/mkguest.sh" 6.12) || exit 77
bin=$BERTH_BUILD/bin
work=$(mktemp -d)
out=${BERTH_LAB_OUT:-/lab}
sysfs=/sys/bus/pci/devices
pf=0000:21:00.0 vf=0000:21:10.0 peer=0000:61:00.0

net_of() { ls "$sysfs/$1/net"; }
ip link set "$(net_of $pf)" up
ip link set "$(net_of $peer)" up
ip addr add 10.9.0.1/24 dev "$(net_of $peer)"
echo 0 > "$sysfs/$pf/sriov_drivers_autoprobe"
echo 2 > "$sysfs/$pf/sriov_numvfs"
mkdir "$work/www"
dd if=/dev/urandom of="$work/www/data" bs=1M count=16 2> /dev/null
sum=$(md5sum < "$work/www/data" | cut -d' ' -f1)
python3 -m http.server --directory "$work/www" --bind 10.9.0.1 8000 > /dev/null 2>&1 &
http=$!
trap 'kill $http 2> /dev/null' EXIT

# what both guests do; the kernel's own counters say what bounced
cat > "$work/run.sh" << 'GUEST'
mkdir -p /debug; mount -t debugfs debugfs /debug
used() { cat /debug/swiotlb/io_tlb_used_hiwater; }
for n in /sys/class/net/*; do
    [ "$(basename "$(readlink $n/device/driver)")" = igbvf ] && vf=${n##*/}
done
echo "guest: slabs $(cat /debug/swiotlb/io_tlb_nslabs)"
# the kernel names the buffer's address only where it is not forced; of 256 MiB, its node has at least the buffer less
for n in /sys/devices/system/node/node*; do
    awk -v n="${n##*node}" '$3 == "MemTotal:" && 262144 - $4 >= 65536 { print "guest: buffer " n }' "$n/meminfo"
done
echo "guest: used before $(used)"
ip addr add 10.9.0.2/24 dev $vf; ip link set $vf up
for i in 1 2 3 4 5 6 7 8 9 10; do ping -c 1 -W 10 10.9.0.1 > /dev/null && echo "guest: ping works" && break; done
timeout 60 wget -q -O - http://10.9.0.1:8000/data | md5sum | sed "s/^/guest: fetched /"
echo "guest: used after $(used)"
dmesg | grep "buffer is full" | tail -n 1 | sed "s/^/guest: log /"
echo "guest: waits"
sleep 600
GUEST
cp "$initramfs" "$work/initramfs"
(cd "$work" && echo run.sh | cpio --quiet -o -H newc) >> "$work/initramfs"
command="console=ttyS0 tsc=reliable no_timer_check panic=-1 berth.cmd=$(echo 'sh /run.sh' | base64 -w0)"
told() { tr -d '\r' < "$console" | sed -n "s/^guest: $1 //p" | head -n 1; }
said() { grep -qa "$1" "$console" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; }
api() { curl -s -o "$work/reply" -w '%{http_code}' --unix-socket "$work/api" "$@"; }
value() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: d = d[int(k)] if isinstance(d, list) else d[k]
print(d)' "$work/reply" "$@"; }

stage_traffic() {
    console=$out/traffic.serial
    local kind=()
    grep -q lab /proc/version && kind=(--platform confidential=sw-protected)
    [ ${#kind[@]} -gt 0 ] || command+=" swiotlb=32768,force"
    echo vfio-pci > "$sysfs/$vf/driver_override"
    echo $vf > /sys/bus/pci/drivers_probe
    "$bin/berth-vmm" --kernel "$kernel" --initramfs "$work/initramfs" --cmdline "$command" --cpus boot=1 --memory size=0 \
        --memory-zone id=m0,size=256M,host_numa_node=1 id=m1,size=256M,host_numa_node=0 \
        --numa 'guest_numa_id=0,cpus=[0],memory_zones=[m0]' --numa 'guest_numa_id=1,memory_zones=[m1]' \
        --device "path=$sysfs/$vf,id=vf" "${kind[@]}" --serial "file=$console" --log-file "$out/traffic.log" \
        --api-socket "$work/api" 2> "$out/traffic.stderr" &
    pid=$!
    wait_for 500 said 'guest: waits'
    tr -d '\r' < "$console" | grep -a '^guest:' | sed 's/^/    /'
    check "the guest runs" kill -0 "$pid" || cat "$out/traffic.log" "$out/traffic.stderr"
    check "ping over the VF" grep -qa 'guest: ping works' "$console"
    check "16 MiB over the VF arrived whole" grep -qa "guest: fetched $sum" "$console"
    local slabs before after
    slabs=$(told slabs) before=$(told 'used before') after=$(told 'used after')
    check "traffic went through the bounce buffer" test "$after" -gt "$before"
    # the driver keeps a buffer of 2 KiB for each of its 256 receive descriptors
    check "all of it: the driver's receive buffers lie there" test "$((after - before))" -ge 200
    if [ ${#kind[@]} -gt 0 ]; then
        equal "vm.accounting" 200 "$(api http://localhost/api/v1/vm.accounting)"
        cp "$work/reply" "$out/traffic.accounting.json"
        equal "the buffer is as large as the VMM says" "$((slabs * 2048))" "$(value confidential swiotlb bytes)"
        # guest node 0 is zone m0 on host node 1, guest node 1 zone m1 on host node 0
        equal "and lies on the host node that it says" "$(tr -d '\r' < "$console" | sed -n 's/^guest: buffer //p')" \
            "$((1 - $(value confidential swiotlb node)))"
        equal "vm.placement" 200 "$(api http://localhost/api/v1/vm.placement)"
        cp "$work/reply" "$out/traffic.placement.json"
        python3 - "$work/reply" << 'PY'
import json, sys
for zone in json.load(open(sys.argv[1]))['zones']:
    print('    zone', zone['id'], 'of host node', zone['host_numa_node'], zone['pages'])
PY
        equal "each zone's pages lie on its host node" "[]" \
            "$(python3 -c 'import json, sys; print([m for m in json.load(open(sys.argv[1]))["mismatches"] if m.startswith("zone")])' "$work/reply")"
    fi
    check "the buffer was not full" test -z "$(grep -a 'buffer is full' "$console")"
    equal "shutdown" 204 "$(api -X PUT http://localhost/api/v1/vmm.shutdown)"
    wait "$pid"
    equal "exit status" 0 $?
    echo > "$sysfs/$vf/driver_override"
    echo $vf > "$sysfs/$vf/driver/unbind"
}

stage_full() {
    export BERTH_ENDPOINT=127.0.0.1:8778
    mkdir "$work/config" "$work/state"
    cat > "$work/config/agent.yaml" << 'Y'
device_spec:
  - vendor_id: "8086"
    product_id: "10ca"
Y
    cat > "$work/config/aliases.yaml" << 'Y'
aliases:
  - name: vf
    vendor_id: "8086"
    product_id: "10ca"
    device_type: type-VF
Y
    cat > "$work/config/flavors.yaml" << 'Y'
flavors:
  - name: small
    vcpus: 1
    memory_mib: 256
    extra_specs:
      pci_passthrough:alias: "vf:1"
Y
    "$bin/berth" --state-dir "$work/state" --config "$work/config" --listen "$BERTH_ENDPOINT" --vmm "$bin/berth-vmm" \
        > "$work/ready" 2>> "$out/berth.log" &
    pid=$!
    check "berth starts" wait_for 60 grep -q ready "$work/ready" || { cat "$out/berth.log"; return; }
    wait_for 60 "$bin/berthctl" host show berth-lab > /dev/null 2>&1
    # 256 KiB, which is less than the driver's receive buffers
    check "an instance with a VF is accepted" "$bin/berthctl" instance create tight --flavor small --kernel "$kernel" \
        --initramfs "$work/initramfs" --cmdline "$command swiotlb=128,force"
    shown() { "$bin/berthctl" instance show tight -o json > "$out/tight.json" 2> /dev/null; grep -q "$1" "$out/tight.json"; }
    check "its owner is told that the buffer is full" wait_for 300 shown "swiotlb buffer is full" ||
        { cat "$out/tight.json"; tail -n 40 "$out/berth.log"; }
    check "with a size that is larger" grep -q 'use swiotlb=32768,force in its kernel command line' "$out/tight.json"
    grep -o "the guest's swiotlb buffer is full[^\"]*" "$out/tight.json" | head -n 1 | sed 's/^/    /'
    check "the agent's log tells it too" grep -q 'guest_swiotlb_full.*slabs=128' "$out/berth.log"
    "$bin/berthctl" instance delete tight > /dev/null
    kill "$pid"
    wait "$pid"
}

for stage; do
    echo "--- $stage"
    "stage_$stage"
done
rm -rf "$work"
finish
