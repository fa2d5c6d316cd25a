#!/bin/bash
# seccomp_test.sh - runs inside the lab: holds the table of system calls against what berth-vmm really does. Each entry
# must be needed (a run under strace makes the call, or the table says why not), and no thread makes another call.
#
# usage: seccomp_test.sh [VERSION]      of the guest's kernel, see mkguest.sh
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"
command -v strace > /dev/null || { echo "strace is not installed"; exit 77; }

version=${1:-6.12}
vmm=$BERTH_BUILD/bin/berth-vmm ctl=$BERTH_BUILD/bin/berth-vmmctl
read -r kernel initramfs < <("$here/mkguest.sh" "$version")
work=$(mktemp -d)
out=${BERTH_LAB_OUT:-/lab}
rm -f "$out"/trace.* "$out"/serial.log "$out"/vmm.log
cat > "$work/guest.sh" << 'GUEST'
ip addr add 10.77.0.2/24 dev eth0; ip link set eth0 up
ping -c 2 -W 30 10.77.0.1 > /dev/null && echo "guest: ping works"
for disk in vda vdb; do     # with io_uring, and without
    dd if=/dev/zero of=/dev/$disk bs=64k count=16 conv=fsync 2> /dev/null
    echo 3 > /proc/sys/vm/drop_caches
    dd if=/dev/$disk of=/dev/null bs=64k count=16 2> /dev/null
    blkdiscard /dev/$disk 2> /dev/null
done
head -c 64 /dev/hwrng > /dev/null
echo hello > /dev/hvc0
(read -r line < /dev/hvc0; echo "guest: console says $line") &
echo "guest: ready"
sleep 600
GUEST
truncate -s 16M "$work/disk" "$work/plain"
pid=
traced() { # NAME OPTION...
    strace -f -qq --decode-pids=comm --signal=none -o "$out/trace.$1" "$vmm" --seccomp false --log-file "$out/vmm.log" \
        --api-socket "$work/api" "${@:2}" &
    pid=$!
    wait_for 120 sh -c "'$ctl' --api-socket '$work/api' ping > /dev/null 2>&1"
}
told() { "$ctl" --api-socket "$work/api" "$@" > "$work/reply" 2>&1; }
# shellcheck disable=SC2317  # called by wait_for
said() { grep -q "$1" "$out/serial.log" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; }

traced first --kernel "$kernel" --initramfs "$initramfs" --cpus boot=2,max=3,affinity='[0@[2]]' \
    --memory size=0,hotplug_method=virtio-mem \
    --memory-zone id=a,size=160M,host_numa_node=1,prefault=on,hotplug_size=128M,hotplugged_size=64M \
    --memory-zone id=b,size=64M,shared=on \
    --numa guest_numa_id=0,cpus='[0-2]',memory_zones='[a,b]' \
    --disk "path=$work/disk" --disk "path=$work/plain,_disable_io_uring=on,bw_size=262144,bw_refill_time=100" \
    --net tap=berth0,num_queues=4,ops_size=2,ops_refill_time=50 --serial "file=$out/serial.log" --console "socket=$work/console" \
    --vsock "cid=9,socket=$work/vsock" --balloon size=0 --pvpanic --event-monitor "path=$work/events" \
    --cmdline "console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 berth.cmd=$(base64 -w0 "$work/guest.sh")"
wait_for 60 test -e /sys/class/net/berth0
ip addr add 10.77.0.1/24 dev berth0
wait_for 600 said 'guest: ready'
check "the network works" grep -q 'guest: ping works' "$out/serial.log"
for verb in info counters accounting placement preflight power-button nmi; do told $verb; done
told resize --cpus 3
told resize-zone --id a --size 256M
python3 - "$work/console" "$work/vsock" << 'PYTHON'
import socket, sys, time
for path, words in zip(sys.argv[1:], (b"hello from the host\n", b"CONNECT 7\n")):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.sendall(words)
    client.settimeout(20)
    try:
        client.recv(100)
    except TimeoutError:
        pass
    client.close()
PYTHON
told resize --balloon 32M
told resize-disk --disk disk0 --size 32M
truncate -s 1M "$work/more"
told add-disk "path=$work/more,id=more"
sleep 5
told remove-device more
told pause
check "a core file" told coredump "file://$work/core"
check "a snapshot" told snapshot "file://$work/s"
told resume
told reboot
sleep 2
told shutdown
told delete
"$ctl" --api-socket "$work/api" vmm.shutdown
wait $pid
equal "exit status" 0 $?
traced second --restore "source_url=file://$work/s,memory_restore_mode=ondemand,resume=on"
wait_for 600 grep -q memory_restored "$out/vmm.log"
"$ctl" --api-socket "$work/api" vmm.shutdown > /dev/null
wait $pid
equal "exit status of the restored VM" 0 $?

traced third --landlock
cat > "$work/config.json" << CONFIG
{"payload": {"kernel": "$kernel"}, "memory": {"size": 67108864}, "disks": [{"path": "$work/disk"}],
 "landlock_rules": [{"path": "$work", "access": "rw"}], "landlock_enable": true, "serial": {"mode": "Null"}}
CONFIG
check "a VM that confines" told create "$work/config.json"
told delete
"$ctl" --api-socket "$work/api" vmm.shutdown > /dev/null
wait $pid
equal "exit status of the confined VMM" 0 $?

# what other processes serve, a device of the host, sockets' clients, and memory in a file that grows with prefault
cat > "$work/guest_served.sh" << 'GUEST'
ip addr add 10.78.0.2/24 dev eth0; ip link set eth0 up
reached() { ping -c 1 -W 5 10.78.0.1 > /dev/null 2>&1; }
until_true() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt 300 ] || return 1; done; }
until_true reached && echo "guest: ping works"
dd if=/dev/zero of=/dev/vda bs=64k count=16 conv=fsync 2> /dev/null
vsock_peer listen 7 > /listener 2>&1 &
until grep -q . /listener; do :; done
vsock_peer send 1234 1000000
wait
cat /listener
echo "guest: waits"
until_true '! reached' && echo "guest: ping lost"
until_true reached && echo "guest: ping works again"
echo "guest: ready"
sleep 600
GUEST
daemon=(qemu-storage-daemon)
command -v "${daemon[0]}" > /dev/null || daemon=("${BERTH_LAB_CACHE:-}/qemu/tool" qemu-storage-daemon)
ip tuntap add berth1 mode tap
ip addr add 10.78.0.1/24 dev berth1
ip link set berth1 up
serve() {
    rm -f "$work/net"
    "$BERTH_BUILD/bin/vhost_net" "$work/net" berth1 &
    server=$!
    wait_for 60 test -S "$work/net"
}
serve
served=(--net "vhost_user=on,socket=$work/net,mac=52:54:00:be:00:02")
truncate -s 16M "$work/served"
if ! "${daemon[@]}" --version > /dev/null 2>&1; then
    echo "no qemu-storage-daemon here (tests/lab/mkqemu.sh -f fetches it)"
    exit 77
fi
serve_disk() {
    rm -f "$work/blk"
    "${daemon[@]}" --blockdev "driver=file,node-name=d,filename=$work/served" --export \
        "type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=$work/blk,writable=on" &
    storage=$!
    wait_for 60 test -S "$work/blk"
}
serve_disk
served+=(--disk "vhost_user=on,socket=$work/blk")
edu=0000:42:00.0
modprobe -q vfio-pci
echo vfio-pci > /sys/bus/pci/devices/$edu/driver_override
echo $edu > /sys/bus/pci/drivers_probe
check "a device for the guest" test -e /sys/bus/pci/drivers/vfio-pci/$edu
served+=(--device "path=/sys/bus/pci/devices/$edu")
"$here/with_program.sh" "$initramfs" "$BERTH_BUILD/bin/vsock_peer" > "$work/initramfs"
rm -f "$work"/vsock* "$out/serial.log"
timeout 600 "$here/vsock_host.py" "$work/vsock" 7 1234 1000000 > "$out/vsock_host" 2>&1 &
host=$!
truncate -s 320M "$work/zone"
traced fourth --kernel "$kernel" --initramfs "$work/initramfs" --memory size=0,hotplug_method=virtio-mem \
    --memory-zone "id=f,size=192M,file=$work/zone,shared=on,prefault=on,hotplug_size=128M" "${served[@]}" \
    --vsock "cid=5,socket=$work/vsock" --serial "file=$out/serial.log" --console "socket=$work/console" \
    --cmdline "console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 berth.cmd=$(base64 -w0 "$work/guest_served.sh")"
wait_for 600 said 'guest: waits'
wait "$host"
equal "the vsock's host" 0 $?
check "memory is asked for" told resize-zone --id f --size 256M || cat "$work/reply"
# shellcheck disable=SC2317  # called by wait_for
plugged() { curl -s --unix-socket "$work/api" http://localhost/api/v1/vm.info | tr '{' '\n' | grep '"subject":"zone f"' | grep -q '"state":"Done"'; }
check "and plugged" wait_for 120 plugged
kill -KILL "$server"
wait_for 300 said 'guest: ping lost'
serve
wait_for 600 said 'guest: ready'
# a disk that is not in use: whose requests were under way, nobody would know
kill "$storage"
wait_for 60 grep -q 'vhost_user_back_end_gone device=disk0' "$out/vmm.log"
serve_disk
check "the disk's process comes back" wait_for 60 grep -q 'vhost_user_back_end_back device=disk0' "$out/vmm.log"
check "the network of another process, and again" grep -q 'guest: ping works again' "$out/serial.log"
told shutdown
"$ctl" --api-socket "$work/api" vmm.shutdown > /dev/null
wait $pid
equal "exit status with devices of other processes" 0 $?
kill "$server" "$storage"

# "kind call", of all threads, after each has taken its filter: what a thread's start-up does counts for its starter
sed -nE 's/^[0-9]+<([^>]*)> +([a-z0-9_]+)\(.*/\1 \2/p' "$out"/trace.* | awk '
    $1 ~ /^vcpu/ { kind = "vcpu" } $1 ~ /^(devices$|net|vhost-)/ { kind = "devices" } $1 ~ /^blk/ { kind = "disk" }
    $1 == "pager" { kind = "pager" } $1 == "prefault" { kind = "prefault" }
    $1 !~ /^(vcpu|devices$|net|vhost-|blk|pager$|prefault$)/ { kind = "control" }
    { print kind, $2 }' | sort -u > "$out/made"
"$BERTH_BUILD/bin/call_table" > "$out/table"
# what a thread that fills memory calls and its own filter forbids it has called before, under the device loop's
awk 'NR == FNR { listed[$1 " " $2] = 1; next } { print }
     $1 == "prefault" && !listed[$1 " " $2] && listed["devices " $2] { print "devices", $2 }' "$out/table" "$out/made" \
    | sort -u > "$work/made" && cp "$work/made" "$out/made"
awk 'NR == FNR { made[$1 " " $2] = 1; next } made[$1 " " $2] && $3 != "-" { print $1, $2 }' "$out/made" "$out/table" \
    | sort -u | sed '1i made here, though the table excuses them:' | tr '\n' ';'; echo
awk 'NR == FNR { made[$1 " " $2] = 1; next } !made[$1 " " $2] && $3 == "-" { print $1, $2 }' "$out/made" "$out/table" \
    | sort -u > "$out/idle"
equal "entries of the table that no thread needed" "" "$(tr '\n' ';' < "$out/idle")"
# calls that a thread makes before it takes its filter
start='set_robust_list|rseq|rt_sigprocmask|gettid|sched_setaffinity|sched_getaffinity|prctl|execve|arch_prctl|set_tid_address'
start+='|seccomp|setsid|strace|readlink'
awk 'NR == FNR { listed[$2, $1] = listed["any", $2] = 1; if ($1 != "control") listed[$2, "control"] = 1; next }
     !(($2, $1) in listed) { print $1, $2 }' "$out/table" "$out/made" | grep -vE " ($start)$" | sort -u > "$out/unlisted"
equal "calls that the table does not list" "" "$(tr '\n' ';' < "$out/unlisted")"
rm -rf "$work"
finish
