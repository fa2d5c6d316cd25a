#!/bin/bash
# mkkernel.sh - build the lab's own kernel from Debian's kernel source package
#
# usage: tests/lab/mkkernel.sh [-s SOURCE_PACKAGE] [-j JOBS] [-x FILE] [-n] [-f]
#
#   -s  source package (default linux-source-6.12)
#   -j  parallel jobs (default: number of processors)
#   -x  a file with more CONFIG_ lines, which override those of kernel.config
#   -n  only make the configuration and say which wanted options it lacks
#   -f  build although options of kernel.config are missing (another kernel version)
#
# Not needed for what Debian's kernels can do. This one adds what they leave out: IOMMUFD with the VFIO device files,
# KVM_SW_PROTECTED_VM with guest_memfd, and has everything built in, so that it needs no modules and starts quicker:
#   tests/lab/lab run -k "$BERTH_LAB_CACHE/custom/bzImage" -- COMMAND
#
# Puts bzImage, vmlinux (stripped, PVH), config and include/ (the kernel's UAPI headers) into BERTH_LAB_CACHE/custom.
# Takes about 6 minutes of two idle cores; build files stay in custom/build (3 GB; may be deleted). The compiler's
# companions (flex, bison, bc, ...) are installed with apt-get when missing, which needs root.
set -eu

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/cache.sh
. "$here/cache.sh"
source=linux-source-6.12 jobs=$(nproc) extra='' only='' force=''
while getopts s:j:x:nf opt; do
    case $opt in
        s) source=$OPTARG ;; j) jobs=$OPTARG ;; x) extra=$OPTARG ;; n) only=1 ;; f) force=1 ;; *) exit 2 ;;
    esac
done

target=$BERTH_LAB_CACHE/custom
build=$target/build
mkdir -p "$build"
need=(gcc make flex bison bc libelf-dev libssl-dev rsync xz-utils lz4 python3)
if ! dpkg -s "${need[@]}" > /dev/null 2>&1; then
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "${need[@]}"
fi

tree=$build/$source
if [ ! -f "$tree/Makefile" ]; then
    lab_online "Debian's $source"
    lab_say "fetching $source (once)"
    lab_apt_update system
    rm -rf "$build/deb"
    mkdir -p "$build/deb"
    (cd "$build/deb" && lab_apt system download "$source")
    dpkg-deb --fsys-tarfile "$build"/deb/*.deb | tar -x -O "./usr/src/$source.tar.xz" | tar -xJ -C "$build"
    rm -rf "$build/deb"
fi

objects=$build/obj-$source
mkdir -p "$objects"
cat "$here/kernel.config" ${extra:+"$extra"} > "$objects/fragment"
make -s -C "$tree" O="$objects" KCONFIG_ALLCONFIG="$objects/fragment" allnoconfig > /dev/null

# an option that silently fell out is the usual way to lose an afternoon
python3 - "$objects/fragment" "$objects/.config" << 'PY' || [ -n "$force" ] || exit 1
import re
import sys


def read(name):
    options = {}
    for line in open(name):
        match = re.match(r'(CONFIG_\w+)=(.*)', line.strip())
        if match:
            options[match[1]] = match[2]
    return options


want, have = read(sys.argv[1]), read(sys.argv[2])
bad = [(key, value, have.get(key, 'n')) for key, value in want.items() if have.get(key, 'n') != value]
for key, value, got in bad:
    print(f'mkkernel.sh: {key}: wanted {value}, got {got}', file=sys.stderr)
sys.exit(bool(bad))
PY
[ -z "$only" ] || { lab_say "the configuration has all that kernel.config asks for"; exit 0; }

# a fixed name, user and time make the image reproducible
export KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab
KBUILD_BUILD_TIMESTAMP=$(date -u -d "@$(stat -c %Y "$tree/Makefile")" '+%F %T')
export KBUILD_BUILD_TIMESTAMP
make -s -C "$tree" O="$objects" -j"$jobs" bzImage
make -s -C "$tree" O="$objects" INSTALL_HDR_PATH="$target" headers_install > /dev/null

cp "$objects/.config" "$target/config"
objcopy --strip-all "$objects/vmlinux" "$target/vmlinux"
cp "$objects/arch/x86/boot/bzImage" "$target/bzImage"
lab_say "kernel $(make -s -C "$tree" O="$objects" kernelrelease) in $target"
