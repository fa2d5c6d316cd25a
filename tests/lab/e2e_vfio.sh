#!/bin/bash
# e2e_vfio.sh - runs inside the lab: an instance with devices, from berthctl to the driver in the guest and back
#
# usage: e2e_vfio.sh [GUEST_KERNEL_VERSION]     needs BERTH_BUILD (the build folder)
#
# A flavor asks for a VF and an NVMe controller, each on the instance's own nodes (policy required). Its guest must see
# each on the guest node that is on the device's host node, and use it: 32 MiB over the wire, a file system with 64 MiB.
# Twice, with the same devices; the second time the VF serves a network port, whose MAC address and trust the PF's driver
# must show while the guest has it, and not afterwards, and both devices are behind a virtual IOMMU: virtio's, or Intel's in
# a 6.1 guest.
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"
version=${1:-6.12}
viommu=virtio behind=virtio
[ "$version" != 6.1 ] || { viommu=intel behind=dmar; }
bin=$BERTH_BUILD/bin
state=$(mktemp -d)
sysfs=/sys/bus/pci/devices
nvme=0000:81:00.0
export BERTH_ENDPOINT=127.0.0.1:8778
ctl() { "$bin/berthctl" "$@"; }
driver() { basename "$(readlink "$sysfs/$1/driver" || echo none)"; }
ask() {
    ctl instance show "$1" -o json | python3 -c '
import json, sys
shown = json.load(sys.stdin)
claim = shown.get("claim", shown)
print(eval(sys.argv[1]))' "$2"
}
# shellcheck disable=SC2317  # called by wait_for
state_is() { [ "$(ask "$1" 'claim["status"]["state"]' 2> /dev/null)" = "$2" ]; }
# shellcheck disable=SC2317
gone() { ! ctl instance show "$1" > /dev/null 2>&1; }
# shellcheck disable=SC2317
ended() { grep -qa 'berth-guest: command status' "$log" || state_is "$1" FAILED; }

read -r kernel initramfs < <("$here/mkguest.sh" "$version") || exit 77
mkdir "$state/config" "$state/s" "$state/www" "$state/guest"
dd if=/dev/urandom of="$state/www/data" bs=1M count=32 2> /dev/null
sum=$(md5sum < "$state/www/data" | cut -d' ' -f1)
cat > "$state/guest/run.sh" << 'GUEST'
for n in /sys/class/net/*; do
    [ "$(basename "$(readlink $n/device/driver)")" = igbvf ] && vf=${n##*/}
done
echo "guest: address $(cat /sys/class/net/$vf/address)"
echo "guest: VF $(basename $(readlink -f /sys/class/net/$vf/device)) node $(cat /sys/class/net/$vf/device/numa_node)"
disk=$(ls -d /sys/class/block/nvme*n1 | head -n 1)
echo "guest: NVMe $(basename $(readlink -f $disk/device/device)) node $(cat $disk/device/device/numa_node)"
for d in /sys/class/net/$vf/device $disk/device/device; do
    echo "guest: $(basename $(readlink -f $d)) behind $(readlink -f $d/iommu)"
done
for node in /sys/devices/system/node/node[0-9]*; do echo "guest: ${node##*/} cpus $(cat $node/cpulist)"; done
ip addr add 10.9.0.2/24 dev $vf; ip link set $vf up
for i in 1 2 3 4 5 6 7 8 9 10; do ping -c 1 -W 10 10.9.0.1 > /dev/null && echo "guest: ping works" && break; done
wget -q -O - http://10.9.0.1:8000/data | md5sum | sed "s/^/guest: fetched /"
mkdir -p /mnt
mke2fs /dev/${disk##*/} > /dev/null 2>&1 && mount -t ext4 /dev/${disk##*/} /mnt
dd if=/dev/urandom of=/mnt/data bs=1M count=64 2> /dev/null; a=$(md5sum < /mnt/data); umount /mnt
echo 3 > /proc/sys/vm/drop_caches
mount -t ext4 /dev/${disk##*/} /mnt; [ "$(md5sum < /mnt/data)" = "$a" ] && echo "guest: NVMe data are whole"
umount /mnt
grep -E "$vf|nvme" /proc/interrupts | sed "s/^/guest: irq /"
GUEST
cp "$initramfs" "$state/initramfs"
(cd "$state/guest" && echo run.sh | cpio --quiet -o -H newc) >> "$state/initramfs"

for pf in 0000:21:00.0 0000:61:00.0; do
    echo 0 > "$sysfs/$pf/sriov_drivers_autoprobe"
    echo 2 > "$sysfs/$pf/sriov_numvfs"
    ip link set "$(ls "$sysfs/$pf/net")" up
done
cat > "$state/config/agent.yaml" << 'Y'
device_spec:
  - vendor_id: "8086"
    product_id: "10ca"
    physical_network: wire
    trusted: "true"
  - address: "0000:81:00.0"
Y
cat > "$state/config/aliases.yaml" << 'Y'
aliases:
  - name: vf
    vendor_id: "8086"
    product_id: "10ca"
    device_type: type-VF
  - name: disk
    vendor_id: "1b36"
    product_id: "0010"
Y
cat > "$state/config/flavors.yaml" << Y
flavors:
  - name: devices
    vcpus: 2
    memory_mib: 512
    extra_specs:
      hw:numa_nodes: "2"
      hw:cpu_policy: dedicated
      hw:pci_numa_affinity_policy: required
      pci_passthrough:alias: "vf:1,disk:1"
  - name: port
    vcpus: 2
    memory_mib: 512
    extra_specs:
      hw:viommu_model: $viommu
      hw:numa_nodes: "2"
      hw:cpu_policy: dedicated
      hw:pci_numa_affinity_policy: required
      pci_passthrough:alias: "disk:1"
Y
"$bin/berth" --state-dir "$state/s" --config "$state/config" --listen "$BERTH_ENDPOINT" \
    --vmm "$bin/berth-vmm" > "$state/ready" 2>> "$state/berth.log" &
berth=$!
check "berth starts" wait_for 60 grep -q ready "$state/ready" || { cat "$state/berth.log"; exit 1; }
wait_for 60 ctl host show berth-lab > /dev/null 2>&1
first=$(driver $nvme)

# address of the wire's other end: the PF that the VF does not belong to
serve() {
    local other=0000:61:00.0
    [ "${1:5:2}" = 61 ] && other=0000:21:00.0
    for pf in 0000:21:00.0 0000:61:00.0; do ip addr flush dev "$(ls "$sysfs/$pf/net")"; done
    ip addr add 10.9.0.1/24 dev "$(ls "$sysfs/$other/net")"
    python3 -m http.server --directory "$state/www" --bind 10.9.0.1 8000 > /dev/null 2>&1 &
    http=$!
}
# the guest node that is on a host node
guest_node() { ask "$1" "[c['guest_cell'] for c in claim['cells'] if c['host_cell'] == $2][0]"; }

mac=52:54:00:be:71:01
# what the PF's driver says of a VF
shown_by_pf() {
    local pf number
    pf=$(basename "$(readlink "$sysfs/$1/physfn")")
    for link in "$sysfs/$pf"/virtfn*; do
        [ "$(basename "$(readlink "$link")")" = "$1" ] && number=${link##*virtfn}
    done
    ip link show "$(ls "$sysfs/$pf/net")" | grep "vf $number "
}

for name in one two; do
    echo "--- $name"
    wish=(--flavor devices)
    [ "$name" = two ] && wish=(--flavor port --port "id=net0,vnic=direct,network=wire,trusted=on,mac=$mac")
    log=$state/$name.console
    check "an instance with a VF and an NVMe controller is accepted" ctl instance create "$name" "${wish[@]}" \
        --kernel "$kernel" --initramfs "$state/initramfs" \
        --cmdline "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable intel_iommu=on iommu.strict=1 berth.cmd=$(echo 'sh /run.sh' | base64 -w0) berth.end=shell"
    vf=$(ask "$name" '[d["address"] for d in claim["devices"] if d["address"] != "'$nvme'"][0]')
    vf_node=$(cat "$sysfs/$vf/numa_node") nvme_node=$(cat $sysfs/$nvme/numa_node)
    serve "$vf"
    check "it runs" wait_for 120 state_is "$name" RUNNING || ctl instance show "$name"
    echo "cells $(ask "$name" '[(c["guest_cell"], c["host_cell"]) for c in claim["cells"]]'), VF $vf on node $vf_node"
    equal "drivers while they are held" "vfio-pci vfio-pci" "$(driver "$vf") $(driver $nvme)"
    if [ "$name" = two ]; then
        echo "PF: $(shown_by_pf "$vf")"
        check "the PF's driver has the port's address and trusts the VF" \
            grep -qi "$mac.*trust on" <(shown_by_pf "$vf")
    fi
    mkfifo "$state/$name.keyboard"
    exec 9<> "$state/$name.keyboard"
    ctl instance console "$name" <&9 > "$log" 2>&1 &
    reader=$!
    check "its guest comes to the end of its work" wait_for 400 ended "$name" ||
        { tail -n 40 "$log"; threads_of berth-vmm; }
    kill "$reader" 2> /dev/null; kill "$http" 2> /dev/null; wait "$http" 2> /dev/null
    tr -d '\r' < "$log" | grep -a '^guest:' | sed 's/^/    /'
    # shellcheck disable=SC2317  # check calls it
    said() { tr -d '\r' < "$log" | grep -aqE "^guest: $1"; }
    check "the guest's driver has the VF, on the guest node of host node $vf_node" \
        said "VF .* node $(guest_node "$name" "$vf_node")\$"
    check "the NVMe controller is on the guest node of host node $nvme_node" \
        said "NVMe .* node $(guest_node "$name" "$nvme_node")\$"
    if [ "$name" = two ]; then
        check "the guest's VF has the port's address" said "address $mac"
        equal "devices behind the guest's IOMMU" 2 "$(tr -d '\r' < "$log" | grep -ac "^guest: .* behind .*$behind")"
    fi
    check "ping over the wire" said 'ping works'
    check "32 MiB over the wire arrive whole" said "fetched $sum"
    check "64 MiB on the NVMe namespace are whole" said 'NVMe data are whole'
    equal "status" "" "$(ask "$name" 'claim["status"].get("detail", "")')"
    check "delete" ctl instance delete "$name"
    check "it is gone" wait_for 120 gone "$name"
    equal "drivers afterwards" "none $first" "$(driver "$vf") $(driver $nvme)"
    echo "PF: $(shown_by_pf "$vf")"
    check "nothing of a port is left with the PF's driver" grep -vqi "$mac\|trust on" <(shown_by_pf "$vf")
done
check "no VMM is left" test -z "$(pgrep -x berth-vmm)"
kill "$berth"
wait "$berth"
equal "exit status of berth at SIGTERM" 0 $?
[ "$failures" = 0 ] || { echo "--- berth's log"; tail -n 60 "$state/berth.log"; }
finish
