#!/bin/bash
# host_test.sh - runs inside the lab: the emulated host is what docs/testing.md says it is
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"

cpu=/sys/devices/system/cpu node=/sys/devices/system/node pci=/sys/bus/pci/devices
get() { cat "$1" 2> /dev/null || echo "none"; }
link() { basename "$(readlink "$1" || echo none)"; }
functions() { for d in "$pci"/*; do [ -e "$d/$1" ] && basename "$d"; done | tr '\n' ' ' | sed 's/ $//'; }

echo "Linux $(uname -r)"
equal "processors" 0-7 "$(get $cpu/online)"
equal "threads of core 0" 0-1 "$(get $cpu/cpu0/topology/thread_siblings_list)"
equal "socket of processor 3" 0 "$(get $cpu/cpu3/topology/physical_package_id)"
equal "socket of processor 4" 1 "$(get $cpu/cpu4/topology/physical_package_id)"

equal "NUMA nodes" 0-3 "$(get $node/online)"
equal "processors of node 0" 0-1 "$(get $node/node0/cpulist)"
equal "processors of node 3" 6-7 "$(get $node/node3/cpulist)"
equal "distances of node 0" "10 12 32 32" "$(get $node/node0/distance)"
equal "distances of node 1" "12 10 32 32" "$(get $node/node1/distance)"
equal "distances of node 2" "32 32 10 12" "$(get $node/node2/distance)"
equal "distances of node 3" "32 32 12 10" "$(get $node/node3/distance)"
for n in 0 1 2 3; do
    mib=$(awk '/MemTotal/ { print int($4 / 1024) }' $node/node$n/meminfo)
    check "node $n has about 1 GiB of memory ($mib MiB)" test "$mib" -ge 880 -a "$mib" -le 1024
done
echo 16 > $node/node2/hugepages/hugepages-2048kB/nr_hugepages
equal "huge pages that node 2 gives" 16 "$(get $node/node2/hugepages/hugepages-2048kB/nr_hugepages)"

equal "functions that can have VFs" "0000:21:00.0 0000:41:00.0 0000:61:00.0" "$(functions sriov_totalvfs)"
for expected in "0000:21:00.0 0x8086:0x10c9 0 igb" "0000:22:00.0 0x8086:0x10d3 0 e1000e" \
                "0000:41:00.0 0x1b36:0x0010 1 nvme" "0000:42:00.0 0x1234:0x11e8 1 none" \
                "0000:61:00.0 0x8086:0x10c9 2 igb" "0000:81:00.0 0x1b36:0x0010 3 nvme" \
                "0000:82:00.0 0x1234:0x11e8 3 none" "0000:84:01.0 0x8086:0x100e 3 e1000" \
                "0000:00:06.0 0x8086:0x100e -1 e1000"; do
    d=$pci/${expected%% *}
    equal "function" "$expected" "${d##*/} $(get "$d/vendor"):$(get "$d/device") $(get "$d/numa_node") $(link "$d/driver")"
done
equal "IOMMU groups of the two functions behind the bridge" \
      "$(link $pci/0000:84:01.0/iommu_group)" "$(link $pci/0000:84:02.0/iommu_group)"
check "the NIC has an IOMMU group of its own" test "$(ls $pci/0000:21:00.0/iommu_group/devices)" = 0000:21:00.0

pf=$pci/0000:21:00.0
equal "VFs that the NIC can have" 7 "$(get $pf/sriov_totalvfs)"
echo 0 > $pf/sriov_drivers_autoprobe
echo 4 > $pf/sriov_numvfs
equal "VFs that it has" 4 "$(get $pf/sriov_numvfs)"
vf=$pci/0000:21:10.0
equal "first VF" "0x8086:0x10ca node 0" "$(get $vf/vendor):$(get $vf/device) node $(get $vf/numa_node)"
equal "its PF" 0000:21:00.0 "$(link $vf/physfn)"
echo vfio-pci > $vf/driver_override
echo 0000:21:10.0 > /sys/bus/pci/drivers_probe
equal "its driver" vfio-pci "$(link $vf/driver)"
check "its group can be opened through VFIO" test -c "/dev/vfio/$(link $vf/iommu_group)"

check "/dev/kvm creates a VM with a processor" python3 - << 'PY'
import fcntl, os
KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_CREATE_VCPU = 0xAE00, 0xAE01, 0xAE41
kvm = os.open('/dev/kvm', os.O_RDWR | os.O_CLOEXEC)
assert fcntl.ioctl(kvm, KVM_GET_API_VERSION) == 12
vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
assert fcntl.ioctl(vm, KVM_CREATE_VCPU, 0) >= 0
PY
check "a tap device can be made" ip tuntap add dev tap0 mode tap
check "cgroup v2 is mounted" test -f /sys/fs/cgroup/cgroup.controllers
finish
