#!/bin/bash
# vmm_devices_test.sh - runs inside the lab: files on disks survive a reboot, by every way that a disk and a network can
# be served, with a kernel that is entered by bzImage's protocol or by PVH; firmware
#
# usage: vmm_devices_test.sh [VERSION] [STAGE...]      stages: disk blocks pvh firmware terminals vsock vhost vhost_net (default: all)
#
# disk       a bzImage; 64 MiB written, read back and checksummed after a reboot; two pairs of network queues; discard
# blocks     disks that are read-only, limited, a block device of the host, and read past its cache
# pvh        the same disk, with the vmlinux that is in the bzImage
# firmware   an image of ours that starts at the reset vector, resets the machine once and switches it off
# terminals  lines of up to 3,000 bytes over serial port and console, each by a socket, a pseudo terminal or the VMM's own
# vsock      a stream from the guest to the host and one to it, each echoed, with their ends
# vhost      the same disk, served by qemu-storage-daemon over vhost-user
# vhost_net  a network, served by vhost_net (vhost_net.cc) over vhost-user, which is killed and comes back
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"

version=${1:-6.12}
[ $# -gt 0 ] && shift
stages=${*:-disk blocks pvh firmware terminals vsock vhost vhost_net}
vmm=$BERTH_BUILD/bin/berth-vmm
read -r kernel initramfs < <("$here/mkguest.sh" "$version")
work=$(mktemp -d)
out=${BERTH_LAB_OUT:-/lab}
pid=0 serial='' log=''

# what the guest does: the first boot makes a file system with a file and resets, the second one checks it
cat > "$work/guest.sh" << 'GUEST'
ip addr add 10.77.0.2/24 dev eth0; ip link set eth0 up
ping -c 2 -W 30 10.77.0.1 > /dev/null && echo "guest: ping works"
mkdir -p /mnt
echo "guest: network queues $(ls -d /sys/class/net/eth0/queues/rx-* | wc -l), pairs in use $(grep -c 'virtio.*-input' /proc/interrupts)"
if [ "$(dd if=/dev/vda bs=1 skip=1080 count=2 2> /dev/null | hexdump -e '1/1 "%02x"')" = 53ef ]; then
    mount -t ext4 -o ro /dev/vda /mnt
    echo "guest: after the reboot $(md5sum < /mnt/file | cut -d' ' -f1) of $(stat -c %s /mnt/file) bytes"
    umount /mnt
    [ -e /sys/block/vda/queue/discard_max_bytes ] && blkdiscard /dev/vda 2> /dev/null && echo "guest: discarded"
    exit 0
fi
mke2fs -F /dev/vda > /dev/null 2>&1
mount -t ext4 /dev/vda /mnt
dd if=/dev/urandom of=/mnt/file bs=1M count=64 2> /dev/null
sync
echo 3 > /proc/sys/vm/drop_caches
echo "guest: written $(md5sum < /mnt/file | cut -d' ' -f1) of $(stat -c %s /mnt/file) bytes"
umount /mnt
sync
reboot -f; sleep 600
GUEST

# the network's guest: takes 4 MiB, then sees its back end go and come back
cat > "$work/guest_net.sh" << 'GUEST'
ip addr add 10.78.0.2/24 dev eth0; ip link set eth0 up
reached() { ping -c 1 -W 5 10.78.0.1 > /dev/null 2>&1; }
until_true() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt 300 ] || return 1; done; }
until_true reached && echo "guest: ping works"
echo "guest: got $(nc 10.78.0.1 5000 | md5sum | cut -d' ' -f1)"
echo "guest: waits"
until_true '! reached' && echo "guest: ping lost"
until_true reached && echo "guest: ping works again"
GUEST
# the guest of several disks
cat > "$work/guest_blocks.sh" << 'GUEST'
cd /dev
echo "guest: read-only $(cat /sys/block/vda/ro) $(cat /sys/block/vdb/ro) $(cat /sys/block/vdc/ro) $(cat /sys/block/vdd/ro)"
echo "guest: sectors $(cat /sys/block/vda/queue/logical_block_size) $(cat /sys/block/vdd/queue/logical_block_size)"
dd if=/dev/zero of=vda bs=64k count=1 conv=fsync 2> /dev/null && echo "guest: a read-only disk was written"
sum() { md5sum < "$1" | cut -d' ' -f1; }
for disk in vda vdc vdd; do echo "guest: $disk $(sum $disk)"; done
for disk in vdc vdd; do dd if=vda of=$disk bs=64k conv=fsync 2> /dev/null; done
start=$(cut -d. -f1 /proc/uptime)
dd if=vdb of=/dev/null bs=64k count=64 2> /dev/null
echo "guest: limited took $(($(cut -d. -f1 /proc/uptime) - start)) s"
GUEST
# the terminals' guest
cat > "$work/guest_terminals.sh" << 'GUEST'
repeat() {
    echo "guest: $1 listens"
    while read -r line && [ "$line" != quit ]; do
        echo "guest: $1 ${#line} $(printf %s "$line" | md5sum | cut -d' ' -f1)"
    done
}
repeat hvc0 < /dev/hvc0 > /dev/hvc0 &
repeat ttyS0
wait
GUEST
# the vsock's guest, whose initramfs has vsock_peer too
cat > "$work/guest_vsock.sh" << 'GUEST'
vsock_peer listen 7 > /listener 2>&1 &
until grep -q . /listener; do :; done
vsock_peer send 1234 1000000 > /sender 2>&1
wait
sed 's/^/guest: /' /listener /sender
GUEST
head -c 4194304 /dev/urandom > "$work/sent"
truncate -s 1M "$work/empty"

# shellcheck disable=SC2317  # called by wait_for
said() { grep -q "$1" "$serial" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; }
guest() { tr -d '\r' < "$serial" | sed -n "s/^guest: $1//p" | head -n 1; }

# start NAME [VMM ARGUMENTS...]: the guest, with its disk and network in the arguments
start() {
    local code=$work/guest.sh
    [ "$1" = vhost_net ] && code=$work/guest_net.sh
    [ "$1" = vsock ] && code=$work/guest_vsock.sh
    [ "$1" = blocks ] && code=$work/guest_blocks.sh
    serial=$out/serial-$1.log log=$out/vmm-$1.log
    shift
    rm -f "$serial" "$log"
    "$vmm" --initramfs "$initramfs" --cpus boot=2 --serial "file=$serial" --log-file "$log" --api-socket "$work/api" \
        --cmdline "console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 berth.cmd=$(base64 -w0 "$code")" "$@" &
    pid=$!
    wait_for 60 test -S "$work/api"
}

# both_boots NAME: waits for the end and compares what was written with what was found
both_boots() {
    wait_for 600 said 'reboot: Power down'
    wait "$pid"
    equal "$1: exit status after the guest has powered off" 0 $?
    tr -d '\r' < "$serial" | grep -E '^(berth-guest|guest)' | sed 's/^/    /'
    equal "$1: boots" 2 "$(grep -ac 'berth-guest: up' "$serial")"
    check "$1: 64 MiB were written" grep -q 'guest: written .* of 67108864 bytes' "$serial"
    equal "$1: the file after the reboot" "$(guest 'written ')" "$(guest 'after the reboot ')"
    equal "$1: network, both boots" 2 "$(grep -c 'guest: ping works' "$serial")"
}
blank() { rm -f "$work/disk"; truncate -s 96M "$work/disk"; }

ip tuntap add berth0 mode tap multi_queue
ip addr add 10.77.0.1/24 dev berth0
ip link set berth0 up
ip tuntap add berth1 mode tap
ip addr add 10.78.0.1/24 dev berth1
ip link set berth1 up
net=tap=berth0,mac=52:54:00:be:00:01,num_queues=4

for stage in $stages; do
    case $stage in
        disk)
            blank
            start disk --kernel "$kernel" --memory size=256M --disk "path=$work/disk,num_queues=2,id=root" --net "$net"
            wait_for 200 said 'guest: ping works'  # what it writes after that takes seconds, and then it reboots
            equal "disk: io_uring instances, one for each queue" 2 "$(find "/proc/$pid/fd" -lname 'anon_inode:\[io_uring\]' | wc -l)"
            both_boots disk
            check "disk: two pairs of network queues" grep -q 'guest: network queues 2' "$serial"
            check "disk: the guest discards" grep -q 'guest: discarded' "$serial"
            echo "disk: $(du -k "$work/disk" | cut -f1) kB of the file are left after that"
            check "disk: and the storage is freed" test "$(du -k "$work/disk" | cut -f1)" -lt 1024 ;;
        blocks)
            for name in a b c d; do head -c 8388608 /dev/urandom > "$work/$name"; done
            modprobe -q loop
            device=$(losetup --find --show --sector-size 4096 "$work/d")
            equal "blocks: a block device of the host" brw "$(stat -c %A "$device" | cut -c1-3)"
            sum() { md5sum < "$work/$1" | cut -d' ' -f1; }
            before="$(sum a);$(sum c);$(sum d);"
            start blocks --kernel "$kernel" --memory size=256M --disk "path=$work/a,readonly=on" \
                --disk "path=$work/b,bw_size=1048576,bw_refill_time=1000" --disk "path=$work/c,direct=on" --disk "path=$device"
            flags=$(for fd in "/proc/$pid/fd/"*; do [ "$(readlink "$fd")" = "$work/c" ] && sed -n 's/^flags:\s*//p' "/proc/$pid/fdinfo/${fd##*/}"; done | head -n 1)
            equal "blocks: one is read past the page cache" 040000 "$(printf '%06o' $((flags & 040000)))"
            wait_for 200 said 'reboot: Power down'
            wait "$pid"
            equal "blocks: exit status after the guest has powered off" 0 $?
            equal "blocks: which the guest takes for read-only" "1 0 0 0" "$(guest 'read-only ')"
            equal "blocks: sectors of a file and of a device" "512 4096" "$(guest 'sectors ')"
            check "blocks: the guest's kernel lets nobody write a read-only disk" test ! "$(grep 'a read-only disk was written' "$serial")"
            equal "blocks: what the guest has read" "$before" "$(guest 'vda ');$(guest 'vdc ');$(guest 'vdd ');"
            losetup -d "$device"
            equal "blocks: what the guest has written" "${before%%;*};${before%%;*};${before%%;*};" "$(sum a);$(sum c);$(sum d);"
            took=$(guest 'limited took ')
            echo "blocks: 4 MiB at 1 MiB/s took ${took:-nothing}"
            check "blocks: 1 MiB at once, then 1 MiB a second" test "${took%% *}" -ge 2 ;;
        pvh)
            blank
            check "pvh: the bzImage has a vmlinux" "$here/vmlinux.py" "$kernel" "$work/vmlinux" || continue
            # nothing has been logged, or asked of the C library for that, before a vCPU runs
            start pvh --kernel "$work/vmlinux" --memory size=256M --disk "path=$work/disk" --net "$net" --log-level warning
            both_boots pvh ;;
        firmware)
            serial=$out/serial-firmware.log log=$out/vmm-firmware.log
            rm -f "$serial" "$log"
            "$vmm" --firmware "$BERTH_BUILD/bin/firmware_payload" --memory size=64M --serial "file=$serial" \
                --log-file "$log" --disk "path=$work/empty" &
            pid=$!
            wait_for 120 sh -c "! kill -0 $pid 2> /dev/null" || kill "$pid"
            wait "$pid"
            equal "firmware: exit status after it has powered off" 0 $?
            equal "firmware: what it says" "up, host bridge 00081b36;RAM keeps what is written;back after a reset;" \
                "$(tr -d '\r' < "$serial" | sed 's/^firmware: //' | tr '\n' ';')" ;;
        terminals)
            for kinds in 'socket pty' 'pty tty'; do
                # shellcheck disable=SC2086  # two words
                timeout 500 "$here/terminals.py" $kinds "$BERTH_BUILD/bin/berth-vmmctl" "$work" "$vmm" --kernel "$kernel" \
                    --log-file "$out/vmm-terminals.log" --initramfs "$initramfs" --memory size=256M --cmdline \
                    "console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 berth.cmd=$(base64 -w0 "$work/guest_terminals.sh")" \
                    > "$out/terminals" 2>&1
                equal "terminals: status" 0 $?
                again='12 bytes;3005 bytes;'
                equal "terminals: what came back, serial port and console as $kinds" \
                    "5 bytes;3000 bytes;$([ "${kinds% *}" = socket ] && echo "$again")5 bytes;3000 bytes;exit status 0;" \
                    "$(sed -E 's/^(ttyS0|hvc0): //' "$out/terminals" | tr '\n' ';')"
            done ;;
        vsock)
            "$here/with_program.sh" "$initramfs" "$BERTH_BUILD/bin/vsock_peer" > "$work/initramfs"
            timeout 400 "$here/vsock_host.py" "$work/vsock" 7 1234 1000000 > "$out/vsock_host" 2>&1 &
            host=$!
            wait_for 60 test -S "$work/vsock_1234"
            initramfs=$work/initramfs start vsock --kernel "$kernel" --memory size=256M --vsock "cid=5,socket=$work/vsock"
            wait "$host"
            equal "vsock: status of the host's end" 0 $?
            wait_for 200 said 'reboot: Power down'
            wait "$pid"
            equal "vsock: exit status after the guest has powered off" 0 $?
            equal "vsock: what the host says" "listening;echoed 1000000;sent 1000000, got 1000000, equal;" \
                "$(sed 's/^host: //' "$out/vsock_host" | tr '\n' ';')"
            equal "vsock: what the guest says" "listening;echoed 1000000;sent 1000000, got 1000000, equal;" \
                "$(tr -d '\r' < "$serial" | sed -n 's/^guest: vsock: //p' | tr '\n' ';')" ;;
        vhost)
            daemon=(qemu-storage-daemon)
            command -v "${daemon[0]}" > /dev/null || daemon=("${BERTH_LAB_CACHE:-}/qemu/tool" qemu-storage-daemon)
            if ! "${daemon[@]}" --version > /dev/null 2>&1; then
                echo "vhost: skipped, no qemu-storage-daemon here (tests/lab/mkqemu.sh -f fetches it)"
                continue
            fi
            "${daemon[@]}" --version | head -n 1
            blank
            serve() {
                rm -f "$work/vhost"
                "${daemon[@]}" --blockdev "driver=file,node-name=d,filename=$work/disk" --export \
                    "type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=$work/vhost,writable=on" &
                server=$!
                wait_for 60 test -S "$work/vhost"
            }
            server=0
            serve
            start vhost --kernel "$kernel" --memory size=256M,shared=on --disk "vhost_user=on,socket=$work/vhost" --net "$net"
            both_boots vhost
            kill "$server" ;;
        vhost_net)
            serve() {
                "$BERTH_BUILD/bin/vhost_net" "$work/net" berth1 &
                server=$!
                wait_for 60 test -S "$work/net"
            }
            serve
            python3 "$here/send_once.py" 10.78.0.1 5000 "$work/sent" &
            # the first line of the log comes from a thread that may make few calls: that its back end has gone
            start vhost_net --kernel "$kernel" --memory size=256M,shared=on --log-level warning \
                --net "vhost_user=on,socket=$work/net,mac=52:54:00:be:00:02"
            wait_for 400 said 'guest: waits'
            kill -KILL "$server"
            wait "$server" 2> /dev/null
            rm -f "$work/net"
            wait_for 200 said 'guest: ping lost'
            serve
            wait_for 400 said 'reboot: Power down'
            wait "$pid"
            equal "vhost_net: exit status after the guest has powered off" 0 $?
            tr -d '\r' < "$serial" | grep '^guest' | sed 's/^/    /'
            equal "vhost_net: what the guest got" "$(md5sum < "$work/sent" | cut -d' ' -f1)" "$(guest 'got ')"
            check "vhost_net: the log begins with that" grep -q vhost_user_back_end_gone "$log"
            check "vhost_net: the guest saw the back end go" grep -q 'guest: ping lost' "$serial"
            check "vhost_net: and come back" grep -q 'guest: ping works again' "$serial"
            check "vhost_net: the front end kept to the protocol" kill -0 "$server"
            kill "$server"
            wait "$server" ;;
        *) echo "vmm_devices_test.sh: no stage $stage"; exit 2 ;;
    esac
done
rm -rf "$work"
finish
