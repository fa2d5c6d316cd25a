#!/bin/bash
# e2e_test.sh - runs inside the lab: from sysfs to running guests and back, through berth, berthctl and berth-vmm
#
# usage: e2e_test.sh [GUEST_KERNEL_VERSION]     needs BERTH_BUILD (the build folder)
#
# What berth says is not believed: CPUs, memory and drivers are read from /proc and /sys.
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"
version=${1:-6.12}
bin=$BERTH_BUILD/bin
state=$(mktemp -d)
export BERTH_ENDPOINT=127.0.0.1:8778
ctl() { "$bin/berthctl" "$@"; }
driver() { basename "$(readlink "/sys/bus/pci/devices/$1/driver" || echo none)"; }
# ask INSTANCE EXPRESSION: Python over what `instance show` says of it, as `claim` and `runtime`
ask() {
    ctl instance show "$1" -o json | python3 -c '
import json, sys
shown = json.load(sys.stdin)
claim = shown.get("claim", shown)
runtime = shown.get("runtime") or {}
print(eval(sys.argv[1]))' "$2"
}
# shellcheck disable=SC2317  # called by wait_for
state_is() { [ "$(ask "$1" 'claim["status"]["state"]' 2> /dev/null)" = "$2" ]; }
# shellcheck disable=SC2317
gone() { ! ctl instance show "$1" > /dev/null 2>&1; }
start_berth() {
    "$bin/berth" --state-dir "$state/s" --config "$state/config" --listen "$BERTH_ENDPOINT" \
        --vmm "$bin/berth-vmm" > "$state/ready" 2>> "$state/berth.log" &
    berth=$!  # not in a subshell: the script waits for it
    wait_for 60 grep -q ready "$state/ready"
}

read -r kernel initramfs < <("$here/mkguest.sh" "$version") || exit 77

for pf in 0000:21:00.0 0000:61:00.0; do
    echo 0 > "/sys/bus/pci/devices/$pf/sriov_drivers_autoprobe"
    echo 2 > "/sys/bus/pci/devices/$pf/sriov_numvfs"
done
mkdir "$state/config" "$state/s"
cat > "$state/config/agent.yaml" << 'Y'
device_spec:
  - vendor_id: "8086"
    product_id: "10ca"
Y
cat > "$state/config/aliases.yaml" << 'Y'
aliases:
  - name: vf
    vendor_id: "8086"
    product_id: "10ca"
    device_type: type-VF
Y
cat > "$state/config/flavors.yaml" << 'Y'
flavors:
  - name: near
    vcpus: 2
    memory_mib: 512
    extra_specs:
      hw:numa_nodes: "2"
      hw:cpu_policy: dedicated
      hw:pci_numa_affinity_policy: required
      pci_passthrough:alias: "vf:1"
  - name: three
    vcpus: 1
    memory_mib: 256
    extra_specs:
      hw:numa_nodes: "1"
      hw:pci_numa_affinity_policy: required
      pci_passthrough:alias: "vf:3"
Y
start_berth
check "berth starts" grep -q ready "$state/ready" || { cat "$state/berth.log"; exit 1; }
wait_for 60 ctl host show berth-lab > /dev/null 2>&1
equal "cells of the host" 4 "$(ctl host list -o json | python3 -c 'import json,sys
h = json.load(sys.stdin)
h = h.get("hosts", h) if isinstance(h, dict) else h
print(len(h[0]["cells"]))')"

# ---- an instance of two cells with a VF, policy required ------------------------------------------------------------
check "an instance with two cells and a VF is accepted" ctl instance create one --flavor near --kernel "$kernel" \
    --initramfs "$initramfs" --cmdline "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable"
check "it runs" wait_for 120 state_is one RUNNING || { ctl instance show one; tail -n 20 "$state/berth.log"; }
cells=$(ask one '" ".join(str(c["host_cell"]) for c in claim["cells"])')
vf=$(ask one 'claim["devices"][0]["address"]')
vf_node=$(cat "/sys/bus/pci/devices/$vf/numa_node")
pins=$(ask one '" ".join("%s:%s" % (p["guest"], p["host"]) for c in claim["cells"] for p in c["pinning"])')
echo "claimed: cells $cells, vCPU:CPU $pins, VF $vf on node $vf_node"
equal "different host cells" 2 "$(tr ' ' '\n' <<< "$cells" | sort -u | wc -l)"
check "the VF's node is one of them (policy required)" grep -qw "$vf_node" <<< "$cells"
equal "driver of the VF while it is held" vfio-pci "$(driver "$vf")"

pid=$(ask one 'runtime["pid"]')
log=$state/console
mkfifo "$state/keyboard"
exec 9<> "$state/keyboard"
ctl instance console one <&9 > "$log" 2>&1 &
reader=$!
check "its guest reaches user space with 2 CPUs and 2 nodes" \
    wait_for 240 grep -qaE "berth-guest: up kernel=$version\..* cpus=2 nodes=2" "$log" || tail -n 30 "$log"
kill "$reader" 2> /dev/null
python3 "$here/where.py" "$pid" > "$state/where"
for pin in $pins; do
    equal "Cpus_allowed_list of vCPU ${pin%:*}" "${pin#*:}" "$(sed -n "s/^thread [0-9]* vcpu${pin%:*} cpus //p" "$state/where")"
    node=$(basename "$(ls -d /sys/devices/system/cpu/cpu"${pin#*:}"/node*)")
    check "CPU ${pin#*:} belongs to a claimed cell" grep -qw "${node#node}" <<< "$cells"
done
for cell in $cells; do
    check "256 MiB of guest memory bound to node $cell and all there" \
        grep -Eq "^memory [0-9a-f]+ policy bind:$cell page_kib 4 nodes N$cell=256$" "$state/where"
done
check "no large mapping elsewhere" test "$(grep -c '^memory' "$state/where")" = 2
equal "berth's own proof" "[]" "$(ask one 'runtime.get("violations", [])')"

# ---- what must not fit -----------------------------------------------------------------------------------------------
if ctl instance create much --flavor three --kernel "$kernel" > "$state/refused" 2>&1; then status=0; else status=$?; fi
equal "exit status when nothing fits" 1 "$status"
check "the refusal names the host and the alias" grep -q 'berth-lab' "$state/refused"
check "the refusal says have and need" grep -Eqi 'need' "$state/refused"
sed 's/^/  /' "$state/refused"
equal "nothing was claimed for it" 1 "$(ctl instance list -o json | grep -c '"consumer"')"

# ---- a second one gets other things; its guest ends by itself --------------------------------------------------------
check "a second instance is accepted" ctl instance create two --flavor near --kernel "$kernel" --initramfs "$initramfs" \
    --cmdline "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable berth.end=poweroff"
second=$(ask two 'claim["devices"][0]["address"]')
check "with another VF ($second)" test "$second" != "$vf"
all=$( { ask one '" ".join(str(p["host"]) for c in claim["cells"] for p in c["pinning"])'
         ask two '" ".join(str(p["host"]) for c in claim["cells"] for p in c["pinning"])'; } | tr ' ' '\n')
equal "CPUs given twice" "" "$(sort <<< "$all" | uniq -d)"

# ---- berth dies; the VMs do not --------------------------------------------------------------------------------------
kill -9 "$berth"
wait "$berth" 2> /dev/null
check "the first VM survives a kill -9 of berth" kill -0 "$pid"
start_berth
check "berth starts again on its store" grep -q ready "$state/ready"
check "it finds the first VM running" wait_for 60 state_is one RUNNING
equal "same process" "$pid" "$(ask one 'runtime["pid"]')"
check "the second one's guest powers off, and that is seen" wait_for 240 state_is two STOPPED

# ---- away with them --------------------------------------------------------------------------------------------------
for name in one two; do
    check "delete $name" ctl instance delete "$name"
    check "$name is gone" wait_for 60 gone "$name"
done
check "no VMM is left" test -z "$(pgrep -x berth-vmm)"
equal "driver of the VF afterwards (it had none)" none "$(driver "$vf")"
equal "driver_override afterwards" "(null)" "$(cat "/sys/bus/pci/devices/$vf/driver_override")"
equal "instances left" 0 "$(ctl instance list -o json | grep -c '"consumer"')"
check "no VF is held" test "$(ctl device list | grep -c ' free')" = 4
kill "$berth"
wait "$berth"
equal "exit status of berth at SIGTERM" 0 $?
[ "$failures" = 0 ] || { echo "--- berth's log"; tail -n 30 "$state/berth.log"; }
finish
