#!/bin/bash
# vfio_test.sh - runs inside the lab: devices of the host in guests of berth-vmm, by the kernel's real VFIO
#
# usage: vfio_test.sh [VERSION] [STAGE...]     of the guest's kernel, see mkguest.sh; default: all stages
#   probe      an edu device (MSI only) by groups, and by device files with and without cut mode where the kernel has them
#   preflight  what cannot be assigned is refused, with the reason
#   devices    one guest with a VF (MSI-X), an NVMe controller and a whole NIC (MSI-X and MSI in turn): traffic,
#              data, a reset in place
#   kill       kill -9 of the VMM; the VF works for the next one
#   hotplug    a VF comes and goes in a running guest, and the host takes it back
#   viommu     VF, NVMe controller and virtio disk behind the guest's virtio-iommu
#   isolation  a device behind it that is told to write where nothing is mapped
#   vtd        both of these behind the guest's Intel VT-d, with interrupt remapping; not by default (a 6.1 guest's own)
#   bench      system calls that map guest memory, beside QEMU (not by default)
#   pf         a whole PF, which has no VFs then
#   intx       NICs that have nothing but INTx: traffic over one, and two of one IOMMU group behind a bridge
# Stages are called by their names (SC2317), addresses hold no blanks (SC2086), and single quotes hold what the guest
# expands (SC2016).
# shellcheck disable=SC2317,SC2086,SC2016
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"

version=${1:-6.12}
shift
[ $# -gt 0 ] || set -- probe preflight devices kill hotplug viommu isolation intx pf
vmm=$BERTH_BUILD/bin/berth-vmm probe=$BERTH_BUILD/bin/vfio_probe
read -r kernel initramfs < <("$here/mkguest.sh" "$version") || exit 77
work=$(mktemp -d)
out=${BERTH_LAB_OUT:-/lab}
pf=0000:21:00.0 vf=0000:21:10.0 peer=0000:61:00.0 nic=0000:22:00.0 nvme=0000:81:00.0
pair0=0000:84:01.0 pair1=0000:84:02.0 bridge=0000:83:00.0 edu=0000:42:00.0 legacy=0000:00:06.0
sysfs=/sys/bus/pci/devices

net_of() { ls "$sysfs/$1/net"; }
driver() { basename "$(readlink "$sysfs/$1/driver" || echo none)"; }
to_vfio() {
    for address; do
        echo vfio-pci > "$sysfs/$address/driver_override"
        [ -e "$sysfs/$address/driver" ] && echo "$address" > "$sysfs/$address/driver/unbind"
        echo "$address" > /sys/bus/pci/drivers_probe
    done
}
# run NAME 'GUEST SHELL CODE' VMM_ARGUMENTS...: in the background, as $pid, with the console in $out/NAME.serial
run() {
    local name=$1
    # too long for the command line: a second archive behind the initramfs brings it along
    mkdir -p "$work/$name.d"
    printf '%s\n' "$2" > "$work/$name.d/run.sh"
    cp "$initramfs" "$work/$name.cpio"
    (cd "$work/$name.d" && echo run.sh | cpio --quiet -o -H newc) >> "$work/$name.cpio"
    shift 2
    serial=$out/$name.serial log=$out/$name.log
    rm -f "$serial" "$log"
    "$vmm" --kernel "$kernel" --initramfs "$work/$name.cpio" --memory size=256M --serial "file=$serial" --log-file "$log" \
        "$@" --cmdline "console=ttyS0 quiet tsc=reliable no_timer_check panic=-1${kernel_arguments:+ $kernel_arguments} berth.cmd=$(echo "sh /run.sh" | base64 -w0)" \
        2> "$out/$name.stderr" &
    pid=$!
}
# shellcheck disable=SC2317  # called by wait_for
said() { grep -q "$1" "$serial" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; }
said_line() { tr -d '\r' < "$serial" | grep -q "^$1"; }
show() { tr -d '\r' < "$serial" | grep -E '^(guest|pci|net|block)' | sed 's/^/    /'; }
refused() { timeout 60 "$vmm" --kernel "$kernel" --serial null "$@" > "$work/refused" 2>&1; }

ip link set "$(net_of $pf)" name pf; ip link set pf up
ip link set "$(net_of $peer)" name peer; ip link set peer up
ip addr add 10.9.0.1/24 dev peer
echo 0 > "$sysfs/$pf/sriov_drivers_autoprobe"
echo 2 > "$sysfs/$pf/sriov_numvfs"
ip link set pf vf 0 mac 52:54:00:aa:00:00
# served on the wire: 32 MiB to be fetched, and a place to put some
mkdir "$work/www"
dd if=/dev/urandom of="$work/www/data" bs=1M count=32 2> /dev/null
sum=$(md5sum < "$work/www/data" | cut -d' ' -f1)
python3 -m http.server --directory "$work/www" --bind 10.9.0.1 8000 > /dev/null 2>&1 &
http=$!
trap 'kill $http 2> /dev/null' EXIT

# what a guest does with the VF; its interface is the one with the VF's address
use_vf='
nic() { for n in /sys/class/net/*; do [ "$(cat $n/address)" = $1 ] && echo ${n##*/}; done; }
vf=$(nic 52:54:00:aa:00:00)
echo "guest: driver $(basename $(readlink /sys/class/net/$vf/device/driver)) of $vf"
ip addr add 10.9.0.2/24 dev $vf; ip link set $vf up
ping -c 3 -W 30 10.9.0.1 > /dev/null && echo "guest: ping works"
'
fetch='wget -q -O - http://10.9.0.1:8000/data | md5sum | sed "s/^/guest: fetched /"'

# with what the log says if the kernel takes no copies
copies() {
    "$probe" "$1" $edu > "$work/copies" 2>&1 && ! grep -q 'iommufd_' "$work/copies" && return
    cat "$work/copies"
    false
}
stage_probe() {
    to_vfio $edu
    check "groups" "$probe" group $edu
    if [ -e /dev/iommu ]; then
        check "device files" "$probe" device-file $edu
        check "cut mode" "$probe" cut $edu
        check "copies" copies device-file-copies
        check "copies in cut mode" copies cut-copies
    else
        echo "skipped: this kernel has no iommufd"
    fi
    "$probe" group $edu | grep -E '^(measure|note)' | sed 's/^/    /'
    grep '^measure' "$work/copies" | sed 's/^/    copies: /'
}

stage_preflight() {
    refused --device "path=$sysfs/$nic" && false
    equal "a device of another driver is refused" 1 $?
    check "the message names the driver" grep -q "device $nic is bound to e1000e" "$work/refused"
    to_vfio $pair0
    refused --device "path=$sysfs/$pair0" && false
    equal "a group that is not viable is refused" 1 $?
    check "the message names the bridge, whose driver the kernel does not trust" \
        grep -q "together with $bridge, which is bound to shpchp" "$work/refused"
    echo $bridge > "$sysfs/$bridge/driver/unbind"
    refused --device "path=$sysfs/$pair0" && false
    check "the message names the other device" grep -q "together with $pair1, which is bound to e1000" "$work/refused"
    refused --device "path=$sysfs/0000:ff:1f.7" && false
    equal "a device that is not there is refused" 1 $?
    to_vfio $vf
    (
        ulimit -l 1024
        exec setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock timeout 60 "$vmm" --kernel "$kernel" --serial null \
            --device "path=$sysfs/$vf" > "$work/refused" 2>&1
    )
    equal "memory that may not be locked is found beforehand" 1 $?
    check "the message has both figures" grep -q "need 512 MiB of guest memory locked, RLIMIT_MEMLOCK allows 1.00 MiB" \
        "$work/refused" || cat "$work/refused"
}

stage_devices() {
    to_vfio $vf $nic $nvme
    # shellcheck disable=SC2016
    run devices "$use_vf"'
disk=$(ls -d /sys/class/block/nvme*n1 | head -n 1); disk=/dev/${disk##*/}
mkdir -p /mnt
if ! mount -t ext4 $disk /mnt 2> /dev/null; then
    '"$fetch"'
    mke2fs $disk > /dev/null 2>&1 && mount -t ext4 $disk /mnt
    dd if=/dev/urandom of=/mnt/data bs=1M count=32 2> /dev/null
    md5sum < /mnt/data > /mnt/sum; umount /mnt
    echo "guest: resets"
    reboot -f; sleep 600
fi
[ "$(md5sum < /mnt/data)" = "$(cat /mnt/sum)" ] && echo "guest: NVMe data are whole after the reset"
umount /mnt
'"$fetch"'
for mode in 2 1; do  # of interrupts: MSI-X, MSI; this machine does not route the INTx of its bus
    rmmod e1000e; insmod /lib/modules/e1000e.ko IntMode=$mode
    n=$(nic 52:54:00:00:00:02)
    ip link set $vf down
    ip addr add 10.9.0.3/24 dev $n; ip link set $n up
    ping -c 3 -W 30 10.9.0.1 > /dev/null && echo "guest: whole NIC, mode $mode, ping works"
    '"$fetch"' | sed "s/fetched/mode $mode/"
    grep $n /proc/interrupts | sed "s/^/guest: mode $mode /"
    ip link set $n down
done
cat /proc/interrupts | sed "s/^/guest: irq /"
' --device "path=$sysfs/$vf/,id=vf" "path=$sysfs/$nic,id=nic" "path=$sysfs/$nvme,id=nvme"
    wait_for 500 said 'berth-guest: command status'
    wait_for 60 said 'reboot: Power down'
    wait "$pid"
    equal "exit status of the VMM" 0 $?
    show
    check "the guest's driver is igbvf" said_line 'guest: driver igbvf'
    equal "ping over the VF, both boots" 2 "$(grep -c 'guest: ping works' "$serial")"
    equal "32 MiB over the VF arrived whole, both boots" 2 "$(grep -c "guest: fetched $sum" "$serial")"
    check "NVMe" said_line 'guest: NVMe data are whole after the reset'
    check "the whole NIC works with MSI-X" said_line 'guest: mode 2 .*PCI-MSIX'
    nic_works 2
    # The driver gives an MSI 100 ms to arrive, which emulation does not always make, and goes back to INTx then.
    if said_line 'guest: mode 1 .*PCI-MSI-'; then nic_works 1; else echo "skipped: the guest's driver did not want MSI"; fi
    equal "boots" 2 "$(grep -c vm_booted "$log")"
    check "nothing went wrong" test -z "$(grep -E ' (error|warning) ' "$log")" || cat "$log"
}

nic_works() {
    check "ping, interrupt mode $1" said_line "guest: whole NIC, mode $1, ping works"
    check "and 32 MiB arrive whole" said_line "guest: mode $1 $sum"
}

stage_kill() {
    to_vfio $vf
    # shellcheck disable=SC2016
    run kill1 "$use_vf"'
echo "guest: busy"; while :; do '"$fetch"' > /dev/null; done' --device "path=$sysfs/$vf"
    wait_for 200 said 'guest: busy'
    kill -9 "$pid"
    wait "$pid" 2> /dev/null
    equal "killed in the midst of DMA" 137 $?
    # shellcheck disable=SC2016
    run kill2 "$use_vf$fetch" --device "path=$sysfs/$vf"
    wait_for 200 said 'reboot: Power down'
    wait "$pid"
    equal "exit status of the next VMM" 0 $?
    check "its guest has the VF" said_line "guest: fetched $sum" || show
}

stage_hotplug() {
    local rounds=${BERTH_HOTPLUG_ROUNDS:-5} kernel_arguments=unknown_nmi_panic
    to_vfio $vf
    # shellcheck disable=SC2016
    run hotplug '
echo "guest: waits"
round=0
while :; do
    for n in /sys/class/net/*; do
        [ "$(cat $n/address)" = 52:54:00:aa:00:00 ] || continue
        n=${n##*/}
        ip addr add 10.9.0.2/24 dev $n; ip link set $n up
        ping -c 1 -W 30 10.9.0.1 > /dev/null || continue
        round=$((round + 1)); echo "guest: round $round"
        while [ -e /sys/class/net/$n ]; do sleep 0.1; done
        echo "guest: gone $round"
    done
    sleep 0.1
done' --api-socket "$work/hotplug.api"
    wait_for 100 said 'guest: waits'
    # an NMI makes the guest tell where its CPU is
    still() { check "the guest $1" false; api vm.nmi '' > /dev/null; sleep 20; tr -d '\r' < "$serial" | tail -n 60; }
    api() { curl -s -o "$work/reply" -w '%{http_code}' --unix-socket "$work/hotplug.api" -X PUT "http://localhost/api/v1/$1" -d "$2"; }
    for round in $(seq "$rounds"); do
        code=$(api vm.add-device "{\"path\": \"$sysfs/$vf\", \"id\": \"vf\"}")
        [ "$code" = 200 ] || { equal "vm.add-device, round $round" 200 "$code"; cat "$work/reply"; break; }
        wait_for 100 said "guest: round $round" || { still "uses the VF, round $round"; break; }
        code=$(api vm.remove-device '{"id": "vf"}')
        [ "$code" = 204 ] || { equal "vm.remove-device, round $round" 204 "$code"; cat "$work/reply"; break; }
        wait_for 100 said "guest: gone $round" || { still "lets go of the VF, round $round"; break; }
        wait_for 60 sh -c "[ \$(grep -c device_removed '$log') = $round ]"
    done
    equal "rounds of plugging and unplugging" "$rounds" "$(grep -c 'guest: gone' "$serial")"
    local group
    group=/dev/vfio/$(basename "$(readlink "$sysfs/$vf/iommu_group")")
    check "another process may have its IOMMU group" sh -c "exec 3<> $group"
    # the host wants it back
    equal "plugged once more" 200 "$(api vm.add-device "{\"path\": \"$sysfs/$vf\", \"id\": \"vf\"}")"
    wait_for 100 said "guest: round $((rounds + 1))"
    check "unbinding it ends" timeout 120 sh -c "echo $vf > $sysfs/$vf/driver/unbind"
    check "the guest was asked to give it up" wait_for 30 said_line "guest: gone $((rounds + 1))"
    check "not robbed of it" test -z "$(grep device_taken_away "$log")"
    check "the guest still runs" kill -0 "$pid"
    kill "$pid"; wait "$pid"
    equal "exit status at SIGTERM" 4 $?
    show; cat "$log"
}

# behind_iommu NAME DRIVER VMM_ARGUMENTS...: a VF, an NVMe controller and a virtio disk behind an IOMMU of that driver
behind_iommu() {
    local name=$1 iommu=$2
    shift 2
    to_vfio $vf $nvme
    truncate -s 64M "$work/$name.img"
    mkfs.ext4 -q -F "$work/$name.img"
    # each packet is mapped and unmapped, by a system call each on this side
    dd if=/dev/urandom of="$work/www/some" bs=1M count=4 2> /dev/null
    # shellcheck disable=SC2016
    run "$name" '
behind() { readlink -f /sys/bus/pci/devices/$1/iommu | grep -q '"$iommu"' && cat /sys/bus/pci/devices/$1/iommu_group/type; }
for d in /sys/bus/pci/devices/*; do
    echo "guest: ${d##*/} class $(cat $d/class) behind $(behind ${d##*/} || echo nothing)"
done
'"$use_vf"'
'"${fetch/data/some}"'
check() { # DEVICE NAME
    mkdir -p /mnt; mount -t ext4 $1 /mnt || return
    dd if=/dev/urandom of=/mnt/data bs=1M count=8 2> /dev/null; a=$(md5sum < /mnt/data); umount /mnt
    echo 3 > /proc/sys/vm/drop_caches
    mount -t ext4 $1 /mnt; [ "$(md5sum < /mnt/data)" = "$a" ] && echo "guest: $2 data are whole"; umount /mnt
}
disk=$(ls -d /sys/class/block/nvme*n1 | head -n 1); disk=/dev/${disk##*/}
mke2fs $disk > /dev/null 2>&1; check $disk NVMe
check /dev/vda virtio
dmesg | grep -iE "iommu|fault|dmar" | sed "s/^/guest: log /"
sed "s/^/guest: irq /" /proc/interrupts
' --device "path=$sysfs/$vf,id=vf,iommu=on" "path=$sysfs/$nvme,id=nvme,iommu=on" \
        --disk "path=$work/$name.img,iommu=on" "$@"
    wait_for 600 said 'reboot: Power down'
    wait "$pid"
    equal "exit status of the VMM" 0 $?
    show
    check "ping over the VF" said_line 'guest: ping works'
    check "4 MiB over the VF arrive whole" said_line "guest: fetched $(md5sum < "$work/www/some" | cut -d' ' -f1)"
    check "NVMe behind the IOMMU" said_line 'guest: NVMe data are whole'
    check "a virtio disk behind the IOMMU" said_line 'guest: virtio data are whole'
    check "nothing went wrong" test -z "$(grep -E ' (error|warning) ' "$log")" || cat "$log"
    equal "spaces of their own" 2 "$(grep -c vfio_opened_behind_iommu "$log")"
}

# Strict: each packet is unmapped at once. Otherwise Linux flushes by a timer, which may still fire after it has reset the
# virtio-iommu in its shutdown, and then waits for ever for an answer.
stage_viommu() {
    local kernel_arguments='iommu.strict=1'
    behind_iommu viommu virtio
    equal "devices behind the guest's IOMMU" 3 "$(tr -d '\r' < "$serial" | grep -c '^guest: 0.* behind DMA')"
}

stage_vtd() {
    local kernel_arguments='intel_iommu=on,strict'
    behind_iommu vtd dmar --platform iommu_model=intel
    check "all devices are behind the guest's IOMMU" test -z "$(grep '^guest: 0.* behind nothing' "$serial")"
    check "with domains of their own" said_line 'guest: 0.* behind DMA'
    check "interrupts are remapped, with 32-bit numbers" grep -q 'Enabled IRQ remapping in x2apic mode' "$serial"
    check "those of PCI devices" said_line 'guest: irq .*IR-PCI-MSI'
    check "and the IOAPIC's" said_line 'guest: irq .*IR-IO-APIC.*ttyS0'
    check "no faults" test -z "$(grep -E 'DMAR: .*(fault|DRHD: handling)' "$serial")"
    isolation on 0x22222222 --platform iommu_model=intel
    check "the host's IOMMU reports the access" test -n "$(dmesg | grep 'DMA Write.*42:00.0.*fault addr 0x8001000')"
}

stage_isolation() {
    isolation off 0x11111111
    isolation on 0x22222222
    check "the host's IOMMU reports the access" test -n "$(dmesg | grep 'DMA Write.*42:00.0.*fault addr 0x8001000')"
}

# isolation IOMMU EXPECTED VMM_ARGUMENTS...: the guest makes a device read and write where nothing is mapped for it (edu,
# see QEMU's docs/specs)
isolation() {
    to_vfio $edu
    local iommu=$1 expected=$2 kernel_arguments="memmap=64K\$0x8000000${kernel_arguments:+ $kernel_arguments}"
    shift 2
    # shellcheck disable=SC2016
    run "isolation_$iommu" '
for d in /sys/bus/pci/devices/*; do [ "$(cat $d/vendor):$(cat $d/device)" = 0x1234:0x11e8 ] && edu=$d; done
# Linux puts a device behind the IOMMU when a driver is tried on it, and leaves it there when that driver declines.
echo 1234 11e8 > /sys/bus/pci/drivers/virtio-pci/new_id
echo 1 > $edu/enable
printf "\006\000" | dd of=$edu/config bs=1 seek=4 conv=notrunc 2> /dev/null
bar=$(head -n 1 $edu/resource | cut -d" " -f1)
reg() { devmem $(printf "0x%x" $((bar + $1))) "$2" "$3"; }
dma() { reg 0x80 64 $1; reg 0x88 64 $2; reg 0x90 64 4; reg 0x98 64 $3; sleep 2; }
# between its buffer and memory that is no part of the guest kernel'"'"'s
devmem 0x8001000 32 0x11111111
dma 0x8001000 0x40000 1
devmem 0x8001000 32 0x22222222
dma 0x40000 0x8001000 3
echo "guest: log $(dmesg | grep -i "iommu group" | tail -n 1)"
echo "guest: memory is $(devmem 0x8001000 32), command $(devmem $(printf "0x%x" $((bar + 0x98))) 64)"
' --device "path=$sysfs/$edu,id=edu,iommu=$iommu" "$@"
    wait_for 400 said 'reboot: Power down'
    wait "$pid"
    show
    equal "memory that a device was told to write to, iommu=$iommu" "guest: memory is $expected" \
        "$(tr -d '\r' < "$serial" | grep '^guest: memory' | cut -d, -f1)"
}

stage_intx() {
    to_vfio $pair0 $pair1 $legacy
    [ -e "$sysfs/$bridge/driver" ] && echo $bridge > "$sysfs/$bridge/driver/unbind"
    # shellcheck disable=SC2016
    run intx '
for n in /sys/class/net/eth*; do
    [ "$(basename $(readlink $n/device/driver))" = e1000 ] && echo "guest: ${n##*/} is an e1000"
    [ "$(cat $n/address)" = 52:54:00:00:00:05 ] && nic=${n##*/}
done
echo "guest: legacy is $nic"
ip addr add 10.9.0.2/24 dev $nic; ip link set $nic up
ping -c 3 -W 30 10.9.0.1 > /dev/null && echo "guest: ping works"
'"$fetch"'
sed "s/^/guest: irq /" /proc/interrupts
' --device "path=$sysfs/$legacy" "path=$sysfs/$pair0" "path=$sysfs/$pair1"
    wait_for 300 said 'reboot: Power down'
    wait "$pid"
    equal "exit status of the VMM" 0 $?
    show
    equal "all NICs have their driver" 3 "$(grep -c 'is an e1000' "$serial")"
    check "ping by INTx" said_line 'guest: ping works'
    check "32 MiB by INTx arrive whole" said_line "guest: fetched $sum"
    local nic
    nic=$(tr -d '\r' < "$serial" | sed -n 's/^guest: legacy is //p')
    check "by interrupts of its pin" \
        test "$(tr -d '\r' < "$serial" | awk -v nic="$nic" '/^guest: irq .*IO-APIC.*-fasteoi/ && $NF == nic { print $4 }')" -gt 100
}

stage_pf() {
    echo 0 > "$sysfs/$pf/sriov_numvfs"
    to_vfio $pf
    # shellcheck disable=SC2016
    run pf '
for n in /sys/class/net/*; do [ "$(cat $n/address)" = 52:54:00:00:00:01 ] && pf=${n##*/}; done
device=/sys/class/net/$pf/device
echo "guest: driver $(basename $(readlink $device/driver)), VFs $(cat $device/sriov_totalvfs 2> /dev/null || echo none)"
ip addr add 10.9.0.2/24 dev $pf; ip link set $pf up
ping -c 3 -W 30 10.9.0.1 > /dev/null && echo "guest: ping works"
'"$fetch" --device "path=$sysfs/$pf"
    wait_for 300 said 'reboot: Power down'
    wait "$pid"
    equal "exit status of the VMM" 0 $?
    show
    check "the guest's driver is igb, and the PF has no VFs to offer" said_line 'guest: driver igb, VFs none'
    check "ping over the PF" said_line 'guest: ping works'
    check "32 MiB over the PF arrive whole" said_line "guest: fetched $sum"
    echo > "$sysfs/$pf/driver_override"
    echo $pf > "$sysfs/$pf/driver/unbind"
    echo $pf > /sys/bus/pci/drivers_probe
    equal "the host's driver has it again" igb "$(driver $pf)"
    echo 2 > "$sysfs/$pf/sriov_numvfs"
    equal "with its VFs" 2 "$(set -- "$sysfs/$pf"/virtfn*; echo $#)"
}

# map_cost NAME COMMAND...: system calls that map guest memory, and the time in them, while a VM starts
map_cost() {
    local name=$1
    shift
    timeout -k 2 40 strace -f -T -e trace=ioctl -o "$work/trace" "$@" > /dev/null 2>&1
    grep -aE 'VFIO_IOMMU_MAP_DMA|0x3b, 0x71|0x3b71' "$work/trace" | grep -av HOT_RESET_INFO |
        sed -n 's/.*<\([0-9.]*\)>$/\1/p' |
        awk -v n="$name" '{ s += $1 } END { printf "measure: %s: %d map calls, %.1f ms\n", n, NR, s * 1000 }'
}

stage_bench() {
    to_vfio $vf
    command -v strace > /dev/null || { echo "skipped: no strace"; return; }
    for mib in 512 1024; do
        map_cost "berth-vmm, $mib MiB" "$vmm" --kernel "$kernel" --memory "size=${mib}M" --serial null --device "path=$sysfs/$vf"
        map_cost "QEMU, $mib MiB" "${BERTH_LAB_QEMU:-$BERTH_LAB_CACHE/qemu/run}" -no-user-config -nodefaults -display none \
            -accel kvm -cpu host,-svm -machine q35,smm=off,hpet=off -m "$mib" -device "vfio-pci,host=$vf" -kernel "$kernel"
    done
}

for stage; do
    echo "--- $stage"
    "stage_$stage"
done
rm -rf "$work"
finish
