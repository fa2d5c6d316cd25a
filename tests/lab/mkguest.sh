#!/bin/bash
# mkguest.sh - a Debian kernel and an initramfs to boot as a guest
#
# usage: tests/lab/mkguest.sh [VERSION]        VERSION: 6.1 | 6.12 (default) | 6.1-cloud | 6.12-cloud
#
# Fetches the kernel when the cache does not have it, builds the initramfs when it is older than its parts, and prints
# both paths on one line:
#   read -r kernel initramfs < <(tests/lab/mkguest.sh 6.12)
#   berth-vmm --kernel "$kernel" --initramfs "$initramfs" --cmdline "console=ttyS0 berth.end=poweroff" ...
# What the guest does, and the arguments berth.cmd= and berth.end= of its command line: init.guest.
set -eu

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/cache.sh
. "$here/cache.sh"
version=${1:-6.12}
"$here/fetch_kernel.sh" "$version"
root=$BERTH_LAB_CACHE/kernels/$version
out=$root/guest.cpio
lab_lock
if [ ! -f "$out" ] || [ "$root/rule" -nt "$out" ] || [ "$here/init.guest" -nt "$out" ] || [ "$here/mkinitramfs.sh" -nt "$out" ]; then
    "$here/mkinitramfs.sh" guest "$out" "$root" 8>&-
fi
echo "$root/bzImage $out"
