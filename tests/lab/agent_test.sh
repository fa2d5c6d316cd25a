#!/bin/bash
# agent_test.sh - runs inside the lab: the agent with real sysfs, real SR-IOV and real vfio-pci
#
# usage: agent_test.sh [STAGE...]     needs BERTH_BUILD (the build folder)
#
# Stages (default: config):
#   config   VFs are made by configuration, once; a PF and its VF that are both configured are refused, both named
#   device   an instance with a trusted VF and an NVMe controller, which is taken out of the machine while the
#            instance holds it: kept with a warning, known again when it is back; drivers restored after deletion
#   kill     the agent is killed (SIGKILL) at each step of creation and of deletion of an instance with a VF and a TAP;
#            the next agent finishes it, and nothing is left: processes, devices, TAPs, files, cgroups, claims
#   many     ten instances made and deleted at once while the agent is killed ten times
# Stages are called by their names (SC2317), addresses hold no blanks (SC2086).
# shellcheck disable=SC2317,SC2086
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"
[ $# -gt 0 ] || set -- config
bin=$BERTH_BUILD/bin
state=$(mktemp -d)
sysfs=/sys/bus/pci/devices
pf=0000:21:00.0
vf=0000:21:10.0
nvme=0000:81:00.0
mac=52:54:00:be:71:02
export BERTH_ENDPOINT=127.0.0.1:8778
mkdir "$state/config"
ctl() { "$bin/berthctl" "$@"; }
driver() { basename "$(readlink "$sysfs/$1/driver" || echo none)"; }
ask() {
    ctl instance show "$1" -o json | python3 -c '
import json, sys
shown = json.load(sys.stdin)
claim = shown.get("claim", shown)
runtime = shown.get("runtime") or {}
print(eval(sys.argv[1]))' "$2"
}
state_is() { [ "$(ask "$1" 'claim["status"]["state"]' 2> /dev/null)" = "$2" ]; }
gone() { ! ctl instance show "$1" > /dev/null 2>&1; }
# what the PF's driver says of the VF
shown_by_pf() { ip link show "$(ls "$sysfs/$pf/net")" | grep 'vf 0 '; }

# ---- config -----------------------------------------------------------------------------------------------------------
agent_check() {
    "$bin/berth-agent" --check --config "$state/$1.yaml" --state-dir "$state/s" > "$state/$1.out" 2>&1
}
# An agent of this configuration, for as long as it takes to begin.
agent_begins() {
    "$bin/berth-agent" --config "$state/$1.yaml" --state-dir "$state/s" --grpc-listen 127.0.0.1:0 > "$state/$1.out" 2>&1 &
    local pid=$! status
    wait_for 60 grep -q 'berth-agent ready' "$state/$1.out"
    status=$?
    kill $pid
    wait $pid
    return $status
}
config() {
    {
        echo "sriov: [{address: \"$pf\", vfs: $2}]"
        echo "device_spec:"
        cat
    } > "$state/$1.yaml"
}

stage_config() {
    equal "VFs before" 0 "$(cat $sysfs/$pf/sriov_numvfs)"
    config vfs 2 << 'Y'
  - {vendor_id: "8086", product_id: "10ca", physical_network: wire, trusted: "true"}
Y
    check "a look at a configuration that wants 2 VFs" agent_check vfs || cat "$state/vfs.out"
    check "says that they would be made" grep -q "the agent would write 2 to .*$pf/sriov_numvfs" "$state/vfs.out"
    equal "VFs after the look" 0 "$(cat $sysfs/$pf/sriov_numvfs)"
    check "an agent with it begins" agent_begins vfs || cat "$state/vfs.out"
    equal "VFs afterwards" 2 "$(cat $sysfs/$pf/sriov_numvfs)"
    check "a look at what there is" agent_check vfs
    check "it tells of the VF" grep -q "^  $vf 8086:10ca type-VF" "$state/vfs.out" || cat "$state/vfs.out"

    config again 3 << 'Y'
  - {vendor_id: "8086", product_id: "10ca", physical_network: wire}
Y
    check "another number of VFs is no error" agent_check again || cat "$state/again.out"
    equal "VFs that are there stay" 2 "$(cat $sysfs/$pf/sriov_numvfs)"
    check "and it is a warning" grep -q "^warning: .*has 2 VFs, 3 are configured: not changed" "$state/again.out" ||
        cat "$state/again.out"

    config both 2 << 'Y'
  - {address: "0000:21:00.0", product_id: "10c9", physical_network: wire}
  - {address: "0000:21:10.0", physical_network: wire}
Y
    agent_check both
    equal "exit status with a PF and its VF configured" 1 $?
    check "both are named" grep -q "a PF and its VF are both configured: .*$pf.*$vf" "$state/both.out" ||
        cat "$state/both.out"
}

# ---- device -----------------------------------------------------------------------------------------------------------
write_config() {
    cat > "$state/config/agent.yaml" << Y
report_interval: 2
shutdown_timeout: 0
cpu_allocation_ratio: 2
metrics_listen: 127.0.0.1:9703
sriov: [{address: "$pf", vfs: 2}]
device_spec:
  - {vendor_id: "8086", product_id: "10ca", physical_network: wire, trusted: "true"}
  - {address: "$nvme"}
Y
    cat > "$state/config/aliases.yaml" << 'Y'
aliases:
  - {name: disk, vendor_id: "1b36", product_id: "0010"}
Y
    cat > "$state/config/flavors.yaml" << 'Y'
flavors:
  - {name: disk, vcpus: 1, memory_mib: 256, extra_specs: {"pci_passthrough:alias": "disk:1"}}
  - {name: small, vcpus: 1, memory_mib: 128}
  - {name: tiny, vcpus: 1, memory_mib: 96}
Y
}
# Its guest has no root file system and stands still after a while: nobody here needs more of it.
make() { # NAME FLAVOR ARGS
    ctl instance create "$1" --flavor "$2" --kernel "$kernel" --cmdline "console=ttyS0 quiet no_timer_check tsc=reliable" \
        "${@:3}"
}
create() { make vm "$1" --port "id=net0,vnic=direct,network=wire,trusted=on,mac=$mac" "${@:2}"; }
metric() { curl -s http://127.0.0.1:9703/metrics | sed -n "s/^$1 //p"; }
metric_is() { [ "$(metric "$1")" = "$2" ]; }
warned() { ctl host show berth-lab -o json | grep -q "$1"; }
not_warned() { ctl host show berth-lab -o json > "$state/host" && ! grep -q "$1" "$state/host"; }
driver_is() { [ "$(driver "$1")" = "$2" ]; }

stage_device() {
    write_config
    "$bin/berth" --state-dir "$state/s" --config "$state/config" --listen "$BERTH_ENDPOINT" \
        --vmm "$bin/berth-vmm" > "$state/ready" 2>> "$state/berth.log" &
    local berth=$!
    check "berth starts" wait_for 60 grep -q ready "$state/ready" || { cat "$state/berth.log"; return; }
    wait_for 60 ctl host show berth-lab > /dev/null 2>&1
    equal "VFs" 2 "$(cat $sysfs/$pf/sriov_numvfs)"
    ip link set "$(ls "$sysfs/$pf/net")" up
    local vf_first nvme_first pid
    vf_first=$(driver $vf) nvme_first=$(driver $nvme)

    check "an instance with a trusted VF and an NVMe controller is accepted" create disk
    check "it runs" wait_for 120 state_is vm RUNNING || ctl instance show vm
    pid=$(ask vm 'runtime["pid"]')
    equal "devices of the claim" "$vf $nvme" "$(ask vm '" ".join(sorted(d["address"] for d in claim["devices"]))')"
    equal "drivers while they are held" "vfio-pci vfio-pci" "$(driver $vf) $(driver $nvme)"
    echo "PF: $(shown_by_pf)"
    check "the PF's driver has the port's address and trusts the VF" grep -qi "$mac.*trust on" <(shown_by_pf)
    equal "berth's own proof" "[]" "$(ask vm 'runtime.get("violations", [])')"
    equal "devices held, by the metrics" 2 "$(metric 'agent_devices{state="held"}')"

    # the VMM asks its guest, which is in no state to answer, for 30 s
    check "the NVMe controller is taken out of the machine" \
        timeout 150 sh -c "echo 1 > $sysfs/$nvme/remove" || tail -n 20 "$state/berth.log"
    check "it is gone" test ! -e $sysfs/$nvme
    check "placement keeps it, with a warning" wait_for 60 warned "$nvme is held by instance .* but not reported: kept"
    ctl host show berth-lab -o json | grep "$nvme is held" | sed 's/^/    /'
    equal "the claim has it still" "$vf $nvme" "$(ask vm '" ".join(sorted(d["address"] for d in claim["devices"]))')"
    check "the metrics show it as missing" wait_for 30 metric_is 'agent_devices{state="missing"}' 1
    check "the instance runs on" state_is vm RUNNING
    equal "in the same process" "$pid" "$(ask vm 'runtime["pid"]')"

    check "delete" ctl instance delete vm
    check "it is gone" wait_for 120 gone vm
    equal "driver of the VF afterwards" "$vf_first" "$(driver $vf)"
    equal "driver_override of the VF afterwards" "(null)" "$(cat $sysfs/$vf/driver_override)"
    check "nothing of the port is left with the PF's driver" grep -vqi "$mac\|trust on" <(shown_by_pf)
    check "no VMM is left" test -z "$(pgrep -x berth-vmm)"
    equal "folders of instances left" "" "$(ls "$state/s/agent/instances")"
    check "the host puts it back" sh -c 'echo 1 > /sys/bus/pci/rescan'
    check "it has its own driver again" wait_for 30 driver_is $nvme "$nvme_first"
    check "it is free again" wait_for 60 metric_is 'agent_devices{state="free"}' 3
    check "the warning is gone" wait_for 60 not_warned "$nvme is held"
    kill "$berth"
    wait "$berth"
    equal "exit status of berth at SIGTERM" 0 $?
    [ "$failures" = 0 ] || { echo "--- berth's log"; tail -n 60 "$state/berth.log"; }
}

# ---- kill -------------------------------------------------------------------------------------------------------------
placement=127.0.0.1:7701 scheduler=127.0.0.1:7702 agent=127.0.0.1:7703
start_agent() {
    rm -f "$state/step"
    "$bin/stepped_agent" "$state/config/agent.yaml" "$state/a" "$bin/berth-vmm" $placement $agent "$state/step" \
        > "$state/agent.ready" 2>> "$state/agent.log" &
    agent_pid=$!
    wait_for 60 grep -q ready "$state/agent.ready"
}
arm() { echo "$1" > "$state/step.new" && mv "$state/step.new" "$state/step"; }
killed() { [ ! -e "$state/step" ]; }
killed_or() { killed || "$@"; }
ports() { ls /sys/class/net/berth0/brif; }
# What there is of instances. A line each, so that what is left over can be read.
left() {
    echo "VMMs: $(pgrep -x berth-vmm | wc -l)"
    echo "TAPs: $(ip -o link | grep -c ': bt')"
    echo "ports of the bridge: $(ports | wc -l)"
    echo "VF: $(driver $vf), override $(cat $sysfs/$vf/driver_override), $(shown_by_pf | grep -oi "$mac\|trust on" | tr '\n' ' ')"
    echo "files: $(ls -A "$state/a") $(ls -A "$state/a/instances")"
    echo "cgroups: $(find /sys/fs/cgroup -type d | wc -l)"
    echo "claims: $(ctl instance list -o json | grep -c '"consumer"')"
}

# kill_at STEP: an agent that is killed at this step of creation, then of deletion. Sets `ended` when both came to
# their end before it.
kill_at() {
    local step=$1 made=0 deleted=0
    arm "$step"
    create small --net bridge=berth0 > "$state/created" 2>&1 || { check "step $step: create" cat "$state/created"; return 1; }
    wait_for 120 killed_or state_is vm RUNNING
    if killed; then
        made=1
        wait "$agent_pid" 2> /dev/null
        start_agent
    fi
    rm -f "$state/step"
    check "creation, killed at step $step ($made): it runs" wait_for 120 state_is vm RUNNING ||
        { ctl instance show vm; return 1; }
    equal "  VMMs, TAPs, driver" "1 1 vfio-pci" "$(pgrep -x berth-vmm | wc -l) $(ports | wc -l) $(driver $vf)" || return 1
    arm "$step"
    ctl instance delete vm > "$state/deleted" 2>&1 || { check "step $step: delete" cat "$state/deleted"; return 1; }
    wait_for 120 killed_or gone vm
    if killed; then
        deleted=1
        wait "$agent_pid" 2> /dev/null
        start_agent
    fi
    rm -f "$state/step"
    check "deletion, killed at step $step ($deleted): it is gone" wait_for 120 gone vm || return 1
    equal "  what is left" "$nothing" "$(left)" || return 1
    ended=$((made + deleted == 0))
    made_steps=$((made_steps + made)) deleted_steps=$((deleted_steps + deleted))
}

start_services() {
    write_config
    sed -i '/metrics_listen/d' "$state/config/agent.yaml"
    modprobe bridge 2> /dev/null
    [ -d /sys/class/net/berth0 ] || check "a bridge" ip link add berth0 type bridge || return
    ip link set berth0 up
    export BERTH_ENDPOINT=$scheduler
    "$bin/berth-placement" --grpc-listen $placement --store "sqlite:$state/placement.db" --rest-listen '' \
        > "$state/placement.ready" 2> "$state/placement.log" &
    placement_pid=$!
    "$bin/berth-scheduler" --grpc-listen $scheduler --placement $placement --config "$state/config" \
        > /dev/null 2> "$state/scheduler.log" &
    scheduler_pid=$!
    start_agent  # not by check, whose subshell would keep its process id
    check "the agent starts" grep -q ready "$state/agent.ready" || { tail -n 20 "$state/agent.log" "$state/placement.log"; return 1; }
    wait_for 60 create small --dry-run > /dev/null 2>&1
    ip link set "$(ls "$sysfs/$pf/net")" up
    nothing=$(left)
    echo "$nothing"
}
stop_services() {
    [ "$failures" = 0 ] || { echo "--- the agents' log"; tail -n 60 "$state/agent.log"; left; }
    kill "$agent_pid" "$scheduler_pid" "$placement_pid"
    wait
}

stage_kill() {
    start_services || return
    local step ended=0 made_steps=0 deleted_steps=0
    for ((step = 0; step < 100 && !ended; step++)); do
        kill_at "$step" || break
    done
    check "all steps were tried" test "$ended" = 1
    echo "killed at $made_steps steps of creation and $deleted_steps of deletion"
    check "there were steps" test "$made_steps" -ge 8 -a "$deleted_steps" -ge 5
    stop_services
}

# kill_often TIMES: the agent, at any moment
kill_often() {
    local i
    for ((i = 0; i < $1; i++)); do
        sleep "$((RANDOM % 3)).$((RANDOM % 10))"
        kill -9 "$agent_pid"
        wait "$agent_pid" 2> /dev/null
        start_agent
    done
}
all_run() { [ "$(ctl instance list -o json | grep -c '"RUNNING"')" = 10 ]; }
none_left() { [ "$(ctl instance list -o json | grep -c '"consumer"')" = 0 ]; }

stage_many() {
    start_services || return
    local i pids=()
    for ((i = 0; i < 10; i++)); do
        if [ $i -lt 2 ]; then
            make "vm$i" tiny --net bridge=berth0 --port "id=net0,vnic=direct,network=wire,trusted=on" &
        else
            make "vm$i" tiny --net bridge=berth0 &
        fi > "$state/create.$i" 2>&1
        pids+=($!)
    done
    kill_often 5
    wait "${pids[@]}"
    check "ten instances run" wait_for 400 all_run || { ctl instance list; cat "$state"/create.*; }
    equal "VMMs, each with an instance's folder" "10 10" \
        "$(pgrep -x berth-vmm | wc -l) $(for p in $(pgrep -x berth-vmm); do
            tr '\0' '\n' < "/proc/$p/cmdline" | sed -n 's/^--api-socket=//p'; done | sort -u | wc -l)"
    equal "TAPs" 10 "$(ports | wc -l)"
    equal "devices given twice" "" "$(ctl instance list -o json | grep -o '"0000:21:10\.[0-9]"' | sort | uniq -d)"
    for ((i = 0; i < 10; i++)); do ctl instance delete "vm$i" > "$state/delete.$i" 2>&1 & done
    kill_often 5
    check "none is left" wait_for 400 none_left || { ctl instance list; cat "$state"/delete.*; }
    equal "what is left" "$nothing" "$(left)"
    stop_services
}

[ "$*" = config ] || read -r kernel _ < <("$here/mkguest.sh" 6.12) || exit 77
for stage; do
    echo "=== $stage"
    "stage_$stage"
done
finish
