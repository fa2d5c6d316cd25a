#!/bin/bash
# demo.sh - the main job of Berth on this machine, from its /sys to a running guest
#
# usage: deploy/demo.sh [--bin DIR] [--kernel FILE --initramfs FILE] [--no-guest] [--boot-timeout SECONDS] [--create-vfs]
#
#   --bin DIR         where berth, berthctl and berth-vmm are (default: build/release/bin)
#   --kernel, --initramfs   what the guest boots (default: what tests/lab/mkguest.sh prepares)
#   --no-guest        stop after the dry run: show, schedule and explain, but boot nothing
#   --boot-timeout S  how long the guest may take until its user space is up (default 60)
#   --create-vfs      give each NIC that can have virtual functions two of them first (for the lab; needs root)
#
# Starts `berth` (placement + scheduler + agent in one process) on a store of its own in a temporary folder, shows the
# inventory, creates an instance from a flavor that suits this host (two guest NUMA cells and a VF where the host has
# them), boots it, shows what the guest sees and where its CPUs and memory really lie, deletes it and leaves nothing.
# Status: 0; 3 the guest did not boot (everything before that worked); 1 anything else failed.
set -u
root=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)

bin=$root/build/release/bin kernel='' initramfs='' guest=1 limit=60 vfs=''
while [ $# -gt 0 ]; do
    case $1 in --bin | --kernel | --initramfs | --boot-timeout) [ $# -ge 2 ] || { echo "demo: $1 needs a value" >&2; exit 2; } ;; esac
    case $1 in
        --bin)          bin=$2; shift ;;
        --kernel)       kernel=$2; shift ;;
        --initramfs)    initramfs=$2; shift ;;
        --boot-timeout) limit=$2; shift ;;
        --no-guest)     guest='' ;;
        --create-vfs)   vfs=1 ;;
        *)              awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0" >&2; exit 2 ;;
    esac
    shift
done
bin=$(realpath "$bin")
state=$(mktemp -d)
daemon=
export BERTH_ENDPOINT=unset
ctl() { "$bin/berthctl" "$@"; }
# show WHAT COMMAND...: the command as a person would type it, then what it prints
show() {
    printf '\n── %s\n$ %s\n' "$1" "${*:2}"
    shift
    "$bin/$1" "${@:2}"
}
fail() {
    echo "demo: $*" >&2
    [ -s "$state/berth.log" ] && { echo "--- the end of berth's log:" >&2; tail -n 20 "$state/berth.log" >&2; }
    exit 1
}
cleanup() {
    if [ -n "$daemon" ]; then
        ctl instance delete demo > /dev/null 2>&1 && await_gone
        kill "$daemon" 2> /dev/null
        wait "$daemon" 2> /dev/null
    fi
    rm -rf "$state"
}
await_gone() {
    local i
    for ((i = 0; i < 300; i++)); do
        ctl instance show demo > /dev/null 2>&1 || return 0
        sleep 0.1
    done
    return 1
}
trap cleanup EXIT

if [ -n "$vfs" ]; then
    for pf in /sys/bus/pci/devices/*/sriov_numvfs; do
        case $(cat "${pf%/*}/class" 2> /dev/null) in 0x02*) ;; *) continue ;; esac
        echo 0 > "${pf%/*}/sriov_drivers_autoprobe"
        [ "$(cat "$pf")" = 0 ] && echo 2 > "$pf"
    done
fi

show "What this machine is" berthctl discover -o tree || fail "discovery failed"

# A flavor that suits what was found: two cells if two nodes have CPUs, a VF if there is one.
ctl discover -o json > "$state/host.json" || fail "discovery failed"
mkdir "$state/config"
python3 - "$state" << 'PY' || fail "cannot choose a flavor"
import json, sys
state = sys.argv[1]
host = json.load(open(f"{state}/host.json"))
nodes = [n for n in host["numa_nodes"] if n["cpus"] and n["memory_bytes"] >= 700 << 20]
cells = 2 if len(nodes) >= 2 else 1
cpus = sum(1 for n in nodes for _ in n["siblings"])
pinned = cpus >= 2
vf = next((d for d in host["pci_devices"] if d["dev_type"] == "type-VF" and d["numa_node"] is not None), None)
specs = {"hw:numa_nodes": str(cells)}
if pinned:
    specs["hw:cpu_policy"] = "dedicated"
if vf:
    specs["pci_passthrough:alias"] = "vf:1"
    specs["hw:pci_numa_affinity_policy"] = "required"
with open(f"{state}/config/flavors.yaml", "w") as f:
    f.write(f"flavors:\n  - name: demo\n    vcpus: {cells}\n    memory_mib: {256 * cells}\n    extra_specs:\n")
    for key, value in specs.items():
        f.write(f'      {key}: "{value}"\n')
with open(f"{state}/config/aliases.yaml", "w") as f:
    f.write("aliases:" + ("\n" if vf else " []\n"))
    if vf:
        f.write(f'  - name: vf\n    vendor_id: "{vf["vendor_id"]}"\n    product_id: "{vf["product_id"]}"\n    device_type: type-VF\n')
with open(f"{state}/config/agent.yaml", "w") as f:
    f.write("shutdown_timeout: 1\n")  # nothing in the demo's guest listens to the power button
    f.write("device_spec:" + ("\n" if vf else " []\n"))
    if vf:
        f.write(f'  - vendor_id: "{vf["vendor_id"]}"\n    product_id: "{vf["product_id"]}"\n')
PY

mkdir "$state/state"
"$bin/berth" --state-dir "$state/state" --config "$state/config" --listen 127.0.0.1:0 --rest-listen '' --vmm "$bin/berth-vmm" \
    > "$state/ready" 2> "$state/berth.log" &
daemon=$!
for ((i = 0; i < 300; i++)); do
    grep -q . "$state/ready" && break
    kill -0 "$daemon" 2> /dev/null || { daemon=; fail "berth did not start"; }
    sleep 0.1
done
printf '\n── Placement, scheduler and agent in one process\n'
cat "$state/ready"
BERTH_ENDPOINT=$(grep -o '[0-9.]*:[0-9]*' "$state/ready" | head -n 1)
[ -n "$BERTH_ENDPOINT" ] || fail "berth does not say where it listens"
for ((i = 0; i < 300; i++)); do
    host=$(ctl host list -o json 2> /dev/null | python3 -c 'import json,sys; h=json.load(sys.stdin)["hosts"]; print(h[0]["name"] if h else "")' 2> /dev/null)
    [ -n "$host" ] && break
    sleep 0.1
done
[ -n "$host" ] || fail "the host was not reported"

show "The fleet" berthctl host list || fail "host list failed"
show "What may be handed out" berthctl device list || fail "device list failed"
show "The flavor" berthctl flavor list || fail "flavor list failed"
show "Would it fit? (nothing is claimed)" berthctl instance create demo --flavor demo --dry-run || fail "the demo flavor does not fit"
[ -n "$guest" ] || exit 0

if [ -z "$kernel" ]; then
    read -r kernel initramfs < <("$root/tests/lab/mkguest.sh" 6.12) || fail "no guest kernel"
fi
show "Create it" berthctl instance create demo --flavor demo --kernel "$kernel" --initramfs "$initramfs" \
    --cmdline "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable" || fail "create failed"

console=$state/console
mkfifo "$state/keyboard"
exec 9<> "$state/keyboard"  # an input that never ends: at the end of its input the console would leave
watch() {
    ctl instance console demo <&9 > "$console" 2>&1 &
    reader=$!
}
watch
up=
for ((i = 0; i < limit * 5; i++)); do
    grep -qa 'berth-guest: up' "$console" && { up=1; break; }
    kill -0 "$reader" 2> /dev/null || watch
    [ $((i % 15)) = 14 ] && ctl instance show demo -o json 2> /dev/null | grep -Eq '"(FAILED|STOPPED)"' && break
    sleep 0.2
done
kill "$reader" 2> /dev/null
wait "$reader" 2> /dev/null
exec 9>&-
if [ -z "$up" ]; then
    show "What became of it" berthctl instance show demo
    printf '\n── The guest did not reach user space within %s s; the end of its console:\n' "$limit"
    tail -c 2000 "$console"
    exit 3
fi
printf '\n── What the guest sees\n'
tr -d '\r' < "$console" | grep -a -A 1000 -m 1 '^available:' | sed '/berth-guest: up/q'

show "Where it is, and the proof" berthctl instance show demo || fail "instance show failed"
show "The host with the instance on it" berthctl host topology "$host" || fail "topology failed"
show "Delete it" berthctl instance delete demo || fail "delete failed"
await_gone || fail "the instance is still there"
show "All free again" berthctl instance list || fail "instance list failed"
