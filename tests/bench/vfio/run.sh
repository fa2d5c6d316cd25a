#!/bin/bash
# run.sh - the benchmarks of assigned devices against QEMU's vfio-pci, in the lab
#
# usage: tests/bench/vfio/run.sh [OUT] [ARGUMENT...]      OUT: folder for the results (default: vfio-bench); arguments
#                                                         are vfio_bench.py's: --rounds, --mib, --only
#
# BERTH_BUILD is the build folder (default: build/release).
set -eu -o pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=$(cd "$here/../../.." && pwd)
export BERTH_BUILD=${BERTH_BUILD:-$root/build/release}
out=$(realpath -m "${1:-vfio-bench}")
[ $# -eq 0 ] || shift
mkdir -p "$out"

# shellcheck source=tests/lab/cache.sh
. "$root/tests/lab/cache.sh"
read -r kernel initramfs < <("$root/tests/lab/mkguest.sh" 6.12)
"$root/tests/lab/mkqemu.sh"
# 4 GiB of huge pages and a guest beside them
"$root/tests/lab/lab" run -m 2560 -t 3600 -o "$out" -- /usr/bin/python3 "$here/vfio_bench.py" --kernel "$kernel" \
    --initramfs "$initramfs" --vmm "$BERTH_BUILD/bin/berth-vmm" --qemu "$BERTH_LAB_CACHE/qemu/run" --out /lab/vfio.json "$@"
