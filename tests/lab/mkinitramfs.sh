#!/bin/bash
# mkinitramfs.sh - build an initramfs of the lab: busybox, an /init and the kernel modules that it loads
#
# usage: tests/lab/mkinitramfs.sh host|guest OUTFILE [KERNEL_ROOT]
#
#   host   for the emulated host: mounts the root file system of the machine outside through 9p (read-only), puts a
#          tmpfs overlay on it and runs the caller's command in it; see init.host and lab
#   guest  for VMs: shows what the guest sees, runs the command that was given on the kernel command line; see
#          init.guest and mkguest.sh
#
# KERNEL_ROOT is a folder that holds `release` and lib/modules/RELEASE (see fetch_kernel.sh). Without it no modules are
# added: for a kernel that has everything built in (mkkernel.sh). Modules are loaded by /init in the order of the files
# /lib/modules/order.N. Needs busybox-static, cpio, kmod and xz-utils.
set -eu

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/cache.sh
. "$here/cache.sh"
[ $# -ge 2 ] || { echo "usage: mkinitramfs.sh host|guest OUTFILE [KERNEL_ROOT]" >&2; exit 2; }
kind=$1 out=$(realpath -m "$2") kernel=${3:-}
# one group per line: the first is loaded before anything else, the others side by side after it
case $kind in
    host)  groups="virtio_pci virtio_console 9pnet_virtio 9p overlay irqbypass
                   kvm-amd
                   igb e1000e e1000
                   nvme vfio-pci vfio_iommu_type1 tun vhost_net bridge virtio-rng virtio-iommu" ;;
    guest) groups="virtio_pci virtio_blk virtio_net virtio_console virtio-rng ext4 igbvf igb e1000e e1000 nvme virtio-iommu \
                   virtio_mem virtio_balloon vmw_vsock_virtio_transport pvpanic-pci" ;;
    *)     echo "mkinitramfs.sh: unknown kind $kind" >&2; exit 2 ;;
esac
lab_need busybox cpio modprobe xz

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{bin,proc,sys,dev,lib/modules}
cp "$(command -v busybox)" "$work/bin/busybox"
if [ "$(head -c 4 "$work/bin/busybox" | tail -c 3)" != ELF ] || LC_ALL=C ldd "$work/bin/busybox" 2>&1 | grep -q '=>'; then
    lab_say "busybox is not a static program; install busybox-static"
    exit 1
fi
for applet in $("$work/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$work/bin/$applet"
done
install -m 755 "$here/init.$kind" "$work/init"

if [ -n "$kernel" ]; then
    release=$(cat "$kernel/release")
    number=0
    : > "$work/seen"
    while read -r -a modules; do
        # a module that this kernel lacks (or has built in) is simply not in the list
        for module in "${modules[@]}"; do
            modprobe -d "$kernel" -S "$release" --show-depends "$module" 2> /dev/null |
                awk '$1 == "insmod" { print $2 }' || true
        done | awk '!seen[$0]++' | grep -vxF -f "$work/seen" > "$work/files" || true
        cat "$work/files" >> "$work/seen"
        while read -r file; do
            name=$(basename "$file")
            case $name in
                *.xz)  name=${name%.xz}; xz -dc "$file" > "$work/lib/modules/$name" ;;
                *.zst) name=${name%.zst}; zstd -qdc "$file" > "$work/lib/modules/$name" ;;
                *)     cp "$file" "$work/lib/modules/$name" ;;
            esac
            echo "$name"
        done < "$work/files" > "$work/lib/modules/order.$number"
        number=$((number + 1))
    done <<< "$groups"
    rm "$work/seen" "$work/files"
    echo "$release" > "$work/lib/modules/release"
fi

mkdir -p "$(dirname "$out")"
(cd "$work" && find . -print0 | LC_ALL=C sort -z | cpio --null --quiet -o -H newc -R 0:0) > "$out.$$"
mv "$out.$$" "$out"
