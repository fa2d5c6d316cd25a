#!/bin/bash
# run.sh - the benchmarks of berth-vmm against QEMU: what needs no guest on this machine, the rest in the lab
#
# usage: tests/bench/vmm/run.sh [OUT] [SCENARIOS]     OUT: folder for JSON and tables (default: vmm-bench);
#                                                     SCENARIOS: of start,halted,init,boot,devices,io (default: all)
#
# OUT/vmm.json is the sum: every sample, medians, 95th percentiles, and which goals are met. `start` and `halted` need
# /dev/kvm, and `halted` the right to make TAPs (bench0 to bench3, which stay).
#
# BERTH_BUILD is the build folder (default: build/release), BERTH_BENCH_ITERATIONS how often guests boot (default: 10),
# BERTH_BENCH_KERNELS what `init` boots: versions as mkguest.sh knows them, and files (default: 6.12, 6.1-cloud and, where
# it was built, the kernel of mkkernel.sh).
# Needs gcc, cpio and what the lab needs. Times from the lab are emulated: look at the ratios.
set -eu -o pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=$(cd "$here/../../.." && pwd)
export BERTH_BUILD=${BERTH_BUILD:-$root/build/release}
out=$(realpath -m "${1:-vmm-bench}")
only=${2:-start,halted,init,boot,devices,io}
mkdir -p "$out"

# shellcheck source=tests/lab/cache.sh
. "$root/tests/lab/cache.sh"
read -r kernel guest < <("$root/tests/lab/mkguest.sh" 6.12)
"$root/tests/lab/mkqemu.sh"
# the guest's initramfs, and behind it one with the load: the kernel unpacks both
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
gcc -O2 -static -pthread -o "$work/bin/guest_load" "$here/guest_load.c"
cp "$work/bin/guest_load" "$out/guest_load"
(cd "$work" && find bin -print0 | cpio --null --quiet -o -H newc -R 0:0) > "$work/load.cpio"
cat "$guest" "$work/load.cpio" > "$out/initramfs"

gcc -Os -static -nostdlib -o "$work/init" "$here/guest_init.c"
mkdir "$work/dev"
mknod "$work/dev/console" c 5 1
(cd "$work" && printf 'init\0dev\0dev/console\0' | cpio --null --quiet -o -H newc -R 0:0) > "$out/init.cpio"
kernels=()
custom=$BERTH_LAB_CACHE/custom/bzImage
[ -f "$custom" ] || custom=
for name in ${BERTH_BENCH_KERNELS:-6.12 6.1-cloud $custom}; do
    case $name in
        */*) kernels+=(--init-kernel "custom=$name") ;;
        *)   "$root/tests/lab/fetch_kernel.sh" "$name"
             kernels+=(--init-kernel "$name=$BERTH_LAB_CACHE/kernels/$name/bzImage") ;;
    esac
done

qemu=$BERTH_LAB_CACHE/qemu/run
bench=("$here/vmm_bench.py" --vmm "$BERTH_BUILD/bin/berth-vmm" --qemu "$qemu"
    --qemu-binary "$BERTH_LAB_CACHE/qemu/usr/bin/qemu-system-x86_64" --kernel "$kernel" --initramfs "$out/initramfs"
    "${kernels[@]}" --init-initramfs "$out/init.cpio" --load "$out/guest_load" --iterations "${BERTH_BENCH_ITERATIONS:-10}")
status=0
for scenario in start halted; do
    [[ ,$only, = *,$scenario,* ]] || continue
    /usr/bin/python3 "${bench[@]}" --only "$scenario" --out "$out/$scenario.json" | tee "$out/$scenario.txt" || status=1
done
for scenario in init boot devices io; do
    [[ ,$only, = *,$scenario,* ]] || continue
    "$root/tests/lab/lab" run -p -t 3600 -o "$out/lab-$scenario" -- \
        /usr/bin/python3 "${bench[@]}" --only "$scenario" --out "/lab/$scenario.json" | tee "$out/$scenario.txt" || status=1
    cp "$out/lab-$scenario/$scenario.json" "$out/" || status=1
done
/usr/bin/python3 "$here/vmm_bench.py" --sum "$out" | tee "$out/vmm.txt"
exit $status
