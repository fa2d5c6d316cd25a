#!/bin/bash
# core_scheduling_test.sh - runs inside the lab, whose cores have two hardware threads: who shares a core with a vCPU
#
# usage: core_scheduling_test.sh
#
# With a kernel that has no core scheduling (Debian's): what the VMM says to that. With one (mkkernel.sh): which
# threads of the VMM are in which group.
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"

vmm=$BERTH_BUILD/bin/berth-vmm
work=$(mktemp -d)
# a processor that halts at its first instruction
python3 -c 'import sys; sys.stdout.buffer.write(b"\xf4" * 65520 + b"\xf4\xeb\xfd" + b"\xf4" * 13)' > "$work/halt"
cat > "$work/groups.py" << 'PYTHON'
# groups.py PID: "vCPUs in a group, groups of vCPUs, threads in the first vCPU's group"; prctl(PR_SCHED_CORE_GET)
import ctypes, os, sys
libc = ctypes.CDLL(None)
def group(task):
    cookie = ctypes.c_ulong()
    return cookie.value if libc.prctl(62, 0, int(task), 0, ctypes.byref(cookie)) == 0 else None
if len(sys.argv) == 1:
    sys.exit(0 if group(0) is not None else 1)
folder = f'/proc/{sys.argv[1]}/task'
names = {task: open(f'{folder}/{task}/comm').read().strip() for task in os.listdir(folder)}
# KVM's own thread for this machine (6.12) is made by the first vCPU that runs, in whose group it stays
names = {task: name for task, name in names.items() if not name.startswith('kvm-')}
vcpus = {name: group(task) for task, name in names.items() if name.startswith('vcpu')}
inside = [cookie for cookie in vcpus.values() if cookie]
first = vcpus['vcpu0']
print(len(inside), len(set(inside)), sum(1 for task in names if first and group(task) == first), 'of', len(names))
PYTHON
start() { # MODE
    "$vmm" --firmware "$work/halt" --cpus "boot=4,core_scheduling=$1" --memory size=64M --serial null \
        --api-socket "$work/$1" > "$work/$1.out" 2>&1 &
    pid=$!
    wait_for 60 sh -c "test -e '$work/$1' && grep -qx vcpu3 /proc/$pid/task/*/comm || ! kill -0 $pid" 2> /dev/null
    sleep 1
}
end() { kill $pid 2> /dev/null; wait $pid 2> /dev/null; }

equal "cores have two threads" 1 "$(cat /sys/devices/system/cpu/smt/active)"
if python3 "$work/groups.py"; then
    start off
    equal "no groups: off" "0 0 0" "$(python3 "$work/groups.py" $pid | cut -d' ' -f1-3)"
    end
    start vcpu
    equal "each vCPU alone: vcpu" "4 4 1" "$(python3 "$work/groups.py" $pid | cut -d' ' -f1-3)"
    end
    start vm
    read -r grouped groups members _ threads <<< "$(python3 "$work/groups.py" $pid)"
    equal "one group: vm" "4 1" "$grouped $groups"
    equal "all threads are in it" "$threads" "$members"
    end
    check "the preflight has nothing to say" "$vmm" --check --firmware "$work/halt" --cpus core_scheduling=vcpu
else
    start vm
    check "a VM runs all the same: vm" kill -0 $pid
    check "its log says that cores are shared" grep -q no_core_scheduling "$work/vm.out"
    end
    start vcpu
    check "a VM does not start: vcpu" grep -q 'no core scheduling (CONFIG_SCHED_CORE)' "$work/vcpu.out"
    end
    check "the preflight warns: vm" "$vmm" --check --firmware "$work/halt" --cpus core_scheduling=vm
    check "the preflight refuses: vcpu" sh -c "! '$vmm' --check --firmware '$work/halt' --cpus core_scheduling=vcpu"
fi
rm -rf "$work"
finish
