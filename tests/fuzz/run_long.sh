#!/bin/bash
# run_long.sh - the longer tier of the fuzzers: each target of the VMM for minutes under ASan and UBSan
#
# usage: tests/fuzz/run_long.sh [-b BUILD] [-s SECONDS] [-j JOBS] [TARGET...]
#
#   -b  a build folder of the `fuzz` preset (default build/fuzz); what is missing is built
#   -s  for each target (default 600)      -j  side by side (default: all processors)
#
# Without TARGETs: those that read what a guest, a client or a file from outside says to the VMM. Inputs that were found to
# reach new code stay in BUILD/corpus, from which the next run goes on; one that fails is in BUILD/crashes, and the status
# is 1. Prints executions, executions a second, coverage and the size of the corpus of each target.
set -eu

root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
build=$root/build/fuzz seconds=600 jobs=$(nproc)
while getopts b:s:j: option; do
    case $option in
        b) build=$(realpath -m "$OPTARG") ;;  s) seconds=$OPTARG ;;  j) jobs=$OPTARG ;;
        *) awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- vmm_options_fuzz vmm_json_fuzz http_fuzz virtqueue_fuzz virtio_blk_fuzz virtio_devices_fuzz \
    vhost_user_fuzz vhost_user_device_fuzz virtio_iommu_fuzz vtd_fuzz pci_config_fuzz vfio_config_fuzz serial_fuzz \
    bzimage_fuzz elf_kernel_fuzz snapshot_fuzz page_states_fuzz tdvf_fuzz igvm_fuzz td_hob_fuzz

[ -f "$build/build.ninja" ] || (cd "$root" && cmake --preset fuzz -B "$build" -DBERTH_VMM_ONLY=ON --log-level=NOTICE)
ninja -C "$build" "$@" > /dev/null
mkdir -p "$build/crashes" "$build/fuzz-logs"

# one TARGET: a line of figures; status 1 when an input failed
one() {
    local target=$1 log=$build/fuzz-logs/$1.log status=0 seeds=()
    mkdir -p "$build/corpus/$target"
    [ ! -d "$root/tests/fuzz/corpus/$target" ] || seeds=("$root/tests/fuzz/corpus/$target")
    "$build/bin/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=60 -print_final_stats=1 \
        -artifact_prefix="$build/crashes/$target-" "$build/corpus/$target" "${seeds[@]}" \
        > "$log" 2>&1 || status=$?
    awk -v name="$target" -v status="$status" '
        / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1); else if ($i == "corp:") corpus = $(i + 1) }
        /number_of_executed_units/ { runs = $2 } /average_exec_per_sec/ { rate = $2 }
        END { printf "%-22s %-7s %12s executions %8s /s %7s edges  corpus %s\n", name, status ? "FAILED" : "clean", runs,
              rate, cov, corpus }' "$log"
    [ "$status" = 0 ] || { grep -aE 'ERROR|runtime error|SUMMARY|CHECK' "$log" | head -n 5; return 1; }
}
export -f one
export build root seconds
printf '%s\n' "$@" | xargs -P "$jobs" -I{} bash -c 'one {}' || exit 1
