#!/bin/bash
# vmm_jail_test.sh - runs inside the lab: a VMM in its jail, which confines itself to the files of the VM that comes by the
# API, boots a guest with memory above 4 GiB, through a reset, a panic and the API's verbs, and takes no other VM's files
#
# usage: vmm_jail_test.sh [VERSION]      of the guest's kernel, see mkguest.sh
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"

version=${1:-6.12}
vmm=$BERTH_BUILD/bin/berth-vmm ctl=$BERTH_BUILD/bin/berth-vmmctl
if [ "$(python3 -c 'import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))')" -lt 3 ]; then
    echo "this host's kernel has no Landlock of version 3"
    exit 77
fi
read -r kernel initramfs < <("$here/mkguest.sh" "$version")
work=$(mktemp -d)
out=${BERTH_LAB_OUT:-/lab}
serial=$work/serial log=$work/log events=$work/events

# All files are here: one of a shared folder (9p) Landlock does not recognise. They are of the user whom the VMM becomes.
cp "$kernel" "$work/kernel"
cp "$initramfs" "$work/initramfs"
truncate -s 1M "$work/own" "$work/foreign"
cat > "$work/guest.sh" << 'GUEST'
case $(head -c 6 /dev/vda) in
    second)
        echo "guest: time $(date +%s)"
        echo "guest: memory $(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo) of which above 4 GiB $(grep -c '^1[0-9a-f]*-.*System RAM' /proc/iomem)"
        echo "guest: back"
        n=0; until [ "$(cat /sys/block/vda/size)" = 4096 ]; do n=$((n + 1)); [ $n -lt 600 ] || break; sleep 0.1; done
        echo "guest: disk has $(cat /sys/block/vda/size) sectors"
        printf third_ | dd of=/dev/vda conv=notrunc 2> /dev/null; sync
        echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger ;;
    third_) echo "guest: back after a panic"; sleep 600 ;;
esac
printf second | dd of=/dev/vda conv=notrunc 2> /dev/null; sync
reboot -f; sleep 600
GUEST
chown -R 65534:65534 "$work"
chmod 755 "$work"
chmod 666 /dev/kvm

"$vmm" --jail uid=65534,gid=65534,cgroup=/berth/one,cpus='[2-5]',nodes='[0-3]',memory=900M,processes=64,open_files=512 \
    --api-socket "$work/api" --log-file "$log" --event-monitor "path=$events" &
pid=$!
wait_for 60 test -S "$work/api"
api() { curl -s -o "$work/reply" -w '%{http_code}' --unix-socket "$work/api" "$@"; }
put() { api -X PUT -d "${2:-}" "http://localhost/api/v1/$1"; }
# shellcheck disable=SC2317  # called by wait_for
said() { grep -q "$1" "$serial" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; }
guest() { tr -d '\r' < "$serial" | sed -n "s/^guest: $1//p" | head -n 1; }
status() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status" | tr '\t' ' '; }

equal "its user" "65534 65534 65534 65534" "$(status Uid)"
equal "its group, and no other" "65534 65534 65534 65534;" "$(status Gid);$(status Groups | tr -d ' ')"
equal "capabilities that it has, and could have" "0000000000000000 0" "$(status CapEff) $((0x$(status CapPrm)))"
equal "it can gain none" 1 "$(status NoNewPrivs)"
equal "its control group" "0::/berth/one" "$(cat /proc/$pid/cgroup)"
group=/sys/fs/cgroup/berth/one
equal "limits of the group" "943718400 64 2-5 0-3" \
    "$(cat $group/memory.max $group/pids.max $group/cpuset.cpus $group/cpuset.mems | tr '\n' ' ' | sed 's/ $//')"
equal "processors of its threads" 2-5 "$(status Cpus_allowed_list)"
equal "open files, core files" "512 0" \
    "$(awk '/^Max open files/ { files = $4 } /^Max core file/ { core = $5 } END { print files, core }' /proc/$pid/limits)"
for namespace in mnt ipc uts; do
    check "a $namespace namespace of its own" \
        test "$(readlink /proc/$pid/ns/$namespace)" != "$(readlink /proc/self/ns/$namespace)"
done
equal "threads that are filtered" "$(find /proc/$pid/task -mindepth 1 -maxdepth 1 | wc -l)" \
    "$(cat /proc/$pid/task/*/status | grep -c '^Seccomp:.*2')"

config() { # DISK MORE
    echo "{\"payload\":{\"kernel\":\"$work/kernel\",\"initramfs\":\"$work/initramfs\",\"cmdline\":\"console=ttyS0 quiet tsc=reliable" \
        "no_timer_check panic=-1 berth.cmd=$(base64 -w0 "$work/guest.sh")\"},\"memory\":{\"size\":$((5 << 30)),\"reserve\":false,\"mergeable\":true}," \
        "\"disks\":[{\"path\":\"$work/$1\",\"id\":\"own\"}],\"serial\":{\"mode\":\"File\",\"file\":\"$serial\"},\"pvpanic\":true$2}"
}
equal "create a VM that confines" 204 "$(put vm.create "$(config own ',"landlock_enable":true')")"
equal "boot it" 204 "$(put vm.boot)"
wait_for 400 said 'guest: back'
check "it has reset, and opened its disk again" grep -q 'guest: back' "$serial"
guest 'memory ' | sed 's/^/    memory /'
check "the guest has its 5 GiB" test "$(guest 'memory ' | cut -d' ' -f1)" -gt 4700
check "some of them above 4 GiB" test "$(guest 'memory ' | sed 's/.* //')" -ge 1
skew=$(($(date +%s) - $(guest 'time ')))
check "the guest's clock is the host's (it is $skew s behind)" test "${skew#-}" -le 60
check "what the disk has read is counted" \
    sh -c "'$ctl' --compact --api-socket '$work/api' counters | grep -q '\"read_bytes\":[1-9]'"
equal "a larger disk" 204 "$(put vm.resize-disk '{"id":"own","desired_size":2097152}')"
wait_for 120 said 'disk has'
equal "the guest sees it" "4096 sectors" "$(guest 'disk has ')"
wait_for 400 said 'back after a panic'
check "it comes back after a panic" grep -q 'back after a panic' "$serial"
check "the panic is an event" grep -q '"event":"panic"' "$events"

if [ -w /sys/kernel/mm/ksm/run ]; then
    equal "merged pages before the kernel looks for them" 0 "$(cat /sys/kernel/mm/ksm/pages_sharing)"
    echo 5000 > /sys/kernel/mm/ksm/pages_to_scan
    echo 1 > /sys/kernel/mm/ksm/run
    # shellcheck disable=SC2317  # called by wait_for
    merged() { [ "$(cat /sys/kernel/mm/ksm/pages_sharing)" -gt 1000 ]; }
    wait_for 120 merged
    check "pages of a mergeable zone are merged: $(cat /sys/kernel/mm/ksm/pages_sharing)" merged
    echo 0 > /sys/kernel/mm/ksm/run
else
    echo "mergeable: skipped, this host's kernel merges no pages"
fi

equal "another disk is refused" 400 "$(put vm.add-disk "{\"path\":\"$work/foreign\"}")"
check "the answer says why" grep -q 'landlock_rules name what may be added later' "$work/reply"
equal "delete it" 204 "$(put vm.delete)"
equal "a VM with another disk is refused" 409 "$(put vm.create "$(config foreign '')")"
check "the answer names the disk" grep -q "$work/foreign" "$work/reply"
equal "the same VM is not" 204 "$(put vm.create "$(config own '')")"
equal "end" 204 "$(put vmm.shutdown)"
wait $pid
equal "exit status" 0 $?
cp "$serial" "$log" "$events" "$out/"
rm -rf "$work"
finish
