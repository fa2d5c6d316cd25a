#!/bin/bash
# guest_qemu.sh - boot a guest with QEMU/KVM inside the emulated host: the reference to compare berth-vmm with
#
# usage, inside the lab: tests/lab/guest_qemu.sh [-K VERSION] [-d PCI-ADDRESS]... [-m MIB] [-s CPUS] [-a 'kernel args']
#                        [-q 'QEMU args'] [-t SECONDS] ['GUEST SHELL CODE']
#
# The guest's console goes to stdout. -d assigns a function that is bound to vfio-pci. Status: that of the guest's
# shell code; 124 past the time limit; 125 the guest did not come so far.
set -u

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
version=6.12 mib=256 cpus=1 append='' extra='' limit=300 devices=()
while getopts K:d:m:s:a:q:t: opt; do
    case $opt in
        K) version=$OPTARG ;; d) devices+=(-device "vfio-pci,host=$OPTARG") ;; m) mib=$OPTARG ;;
        s) cpus=$OPTARG ;; a) append=$OPTARG ;; q) extra=$OPTARG ;; t) limit=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
read -r kernel initramfs < <("$here/mkguest.sh" "$version") && [ -f "$initramfs" ] || exit 125
code=$(printf '%s' "${1:-true}" | base64 -w0)
log=$(mktemp)
# shellcheck disable=SC2086  # words are meant
timeout "$limit" "${BERTH_LAB_QEMU:-$BERTH_LAB_CACHE/qemu/run}" -no-user-config -nodefaults -display none -no-reboot \
    -accel kvm -cpu host,-svm -machine q35,smm=off,hpet=off,vmport=off,i8042=off,usb=off,sata=off,smbus=off \
    -m "$mib" -smp "$cpus" -serial stdio $extra "${devices[@]}" -kernel "$kernel" -initrd "$initramfs" \
    -append "console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 $append berth.cmd=$code" \
    < /dev/null 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
result=$(tr -d '\r' < "$log" | sed -n 's/^berth-guest: command status=\([0-9]*\)$/\1/p')
rm -f "$log"
[ -n "$result" ] && exit "$result"
[ "$status" = 124 ] && exit 124
exit 125
