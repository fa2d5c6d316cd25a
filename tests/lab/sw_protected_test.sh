#!/bin/bash
# sw_protected_test.sh - runs inside the lab, on the lab's own kernel (mkkernel.sh): private memory for real
#
# usage: sw_protected_test.sh [STAGE...]      default: contract cut chunks plug refusals
#   contract  KVM's private memory keeps the contract that FakeKvm keeps
#   cut       a software-protected VM with a device of the host by iommufd, which takes any part of a mapping back: its
#             payload (sw_protected_payload.S) converts 512 pieces of 2 MiB and 10,000 single pages; what the payload,
#             the VMM, the host's node counters and the host's IOMMU say must agree; then a wrong binding is flagged
#   chunks    so too, with fewer conversions, by the VFIO type1 interface, which cannot
#   plug      a Linux guest whose memory grows and shrinks by virtio-mem, with a disk that qemu-storage-daemon serves
#             (where there is one) from the memory that is shared
#   refusals  what such a guest may not have
# Status 77 without CONFIG_KVM_SW_PROTECTED_VM. Stages are called by their names (SC2317), and names hold no blanks
# (SC2086).
# shellcheck disable=SC2317,SC2086
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/check.sh
. "$here/check.sh"
[ $# -gt 0 ] || set -- contract cut chunks plug refusals

vmm=$BERTH_BUILD/bin/berth-vmm
payload=$BERTH_BUILD/bin/sw_protected_payload
work=$(mktemp -d)
out=${BERTH_LAB_OUT:-/lab}
edu=0000:82:00.0 node=3 other=2
cgroup=/sys/fs/cgroup/vm

"$vmm" --kernel "$payload" --memory size=64M --platform confidential=sw-protected --serial null > "$work/try" 2>&1 &
try=$!
sleep 3
kill $try 2> /dev/null
wait $try
if grep -q 'KVM_CREATE_VM of type 1' "$work/try"; then
    echo "this kernel's KVM has no software-protected VMs"
    exit 77
fi

said() { grep -q "$1" "$serial" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; }
api() { curl -s -o "$work/reply" -w '%{http_code}' --unix-socket "$work/api" "$@"; }
get() { [ "$(api "http://localhost/api/v1/$1")" = 200 ] || echo "FAILED: $1 is not answered"; }
value() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: d = d[int(k)] if isinstance(d, list) else d[k]
print(d)' "$work/reply" "$@"; }
meminfo() { awk -v k="$2:" '$3 == k { print $4 }' "/sys/devices/system/node/node$1/meminfo"; }
answer() { echo -n . > "$work/keys"; }  # the payload waits for it
now() { date +%s%N; }

# calls: of the kernel that conversions have made so far; after get vm.counters
calls() {
    local sum=0 name
    for name in attribute_calls populate_calls discard_calls; do sum=$((sum + $(value conversions $name))); done
    for name in map_calls unmap_calls; do sum=$((sum + $(value dma $name))); done
    echo $sum
}
# took WHAT COUNT: how long it was since $since, and how many calls since $calls
took() {
    get vm.counters
    local sum
    sum=$(calls)
    awk -v w="$1" -v n="$2" -v ns=$(($(now) - since)) -v c=$((sum - calls)) \
        'BEGIN { printf "measure: %s: %d conversions, %.2f ms and %.3f calls of the kernel each\n", w, n, ns / n / 1e6, c / n }'
    made=$((sum - calls)) calls=$sum
}

# guest NAME PIECES PAGES STRATEGY
guest() {
    local name=$1 pieces=$2 pages=$3 strategy=$4
    serial=$out/$name.serial log=$out/$name.log
    rm -f "$serial" "$log" "$work/keys" "$work/api"
    mkfifo "$work/keys"
    exec 7<> "$work/keys"
    mkdir -p $cgroup
    echo '+memory +cpuset' > /sys/fs/cgroup/cgroup.subtree_control
    echo 0-3 > $cgroup/cpuset.mems
    local before_node before_other faults
    before_node=$(meminfo $node Unevictable) before_other=$(meminfo $other Unevictable)
    faults=$(dmesg | grep -c 'DMA .*82:00.0.*fault addr')
    since=$(now)
    (
        echo $BASHPID > $cgroup/cgroup.procs
        exec "$vmm" --kernel "$payload" --cmdline "$pieces $pages" --cpus 'boot=1,affinity=[0@[6-7]]' --memory size=0 \
            --memory-zone "id=m0,size=1280M,host_numa_node=$node" --numa 'guest_numa_id=0,cpus=[0],memory_zones=[m0]' \
            --platform confidential=sw-protected --rng off --device "path=/sys/bus/pci/devices/$edu,id=edu" \
            --serial tty --log-file "$log" --api-socket "$work/api" < "$work/keys" > "$serial" 2> "$out/$name.stderr"
    ) &
    pid=$!

    wait_for 200 said 'payload: up\|FAILED'
    check "$name: the guest starts" kill -0 "$pid" || { cat "$log" "$out/$name.stderr"; return 1; }
    awk -v ns=$(($(now) - since)) 'BEGIN { printf "measure: started in %.1f s\n", ns / 1e9 }'
    since=$(now) calls=0
    wait_for 500 said 'pieces are private, waits\|FAILED'
    took "2 MiB to private" "$pieces"
    check "the payload has a device" grep -q 'payload: has a device' "$serial"
    check "DMA reaches shared memory" grep -q 'payload: DMA reaches shared memory' "$serial"
    check "$pieces pieces of 2 MiB became private" grep -q 'payload: the pieces are private' "$serial"
    check "DMA to what has become private changes nothing, and reads nothing" \
        grep -q 'payload: DMA does not reach private memory, neither way' "$serial"
    dmesg | grep 'DMA .*82:00.0.*fault addr' | tail -n +$((faults + 1)) > "$out/$name.faults"
    sed 's/^/    /' "$out/$name.faults" | head -n 4
    check "the host's IOMMU has faulted the write" grep -q 'DMA Write.*fault addr 0x4000000' "$out/$name.faults"
    check "and the read" grep -q 'DMA Read.*fault addr 0x4000000' "$out/$name.faults"
    check "devices have memory by \"$strategy\"" grep -q "vfio_shares_memory.*strategy=\"*$strategy" "$log" ||
        grep vfio_shares_memory "$log"

    get vm.info
    equal "platform" sw-protected "$(value runtime confidential platform)"
    equal "private bytes" $((pieces * 2097152)) "$(value runtime confidential private_bytes)"
    equal "shared bytes" $((1280 * 1048576 - pieces * 2097152)) "$(value runtime confidential shared_bytes)"
    get vm.counters
    # and the device's own registers, 1 MiB, for its peers: type 1 maps them, iommufd of this kernel refuses to
    local peers=$((1 - $(grep -c vfio_no_peer_access "$log")))
    equal "mapped for devices is what is shared" $((1280 * 1048576 - pieces * 2097152 + peers * 1048576)) \
        "$(value dma mapped_bytes)"
    # guest_memfd pages are unevictable: the host node's own counter says where they lie
    local grew_node=$(($(meminfo $node Unevictable) - before_node)) grew_other=$(($(meminfo $other Unevictable) - before_other))
    echo "    unevictable memory grew by $grew_node kB on node $node, by $grew_other kB on node $other"
    check "the private pages lie on the zone's host node" test "$grew_node" -ge $((pieces * 2048 - 2048))
    check "and on no other" test "$grew_other" -lt 4096
    get vm.placement
    cp "$work/reply" "$out/$name.placement.json"
    equal "placed, by the proof" True "$(value placed)"
    equal "which knows where private memory lies" True "$(value private known)"
    equal "on the zone's node" $node "$(value private nodes 0 node)"
    get vm.accounting
    cp "$work/reply" "$out/$name.accounting.json"
    equal "private bytes by the accounting" $((pieces * 2097152)) "$(value confidential private)"

    get vm.counters
    calls=$(calls)
    since=$(now)
    answer
    wait_for 300 said 'shared again, waits\|FAILED'
    took "2 MiB to shared" $((pieces / 2))
    check "half of the pieces are shared again, and neither side saw the other's content" \
        grep -q 'payload: half of the pieces are shared again' "$serial"
    check "DMA reaches what is shared again, and around a private page" \
        grep -q 'payload: DMA reaches what is shared again, and around a private page' "$serial"
    # two single pages besides, of the test with the private page
    local most=$((4 * pieces / 2 + 12))
    check "2 MiB to shared takes at most 4 calls of the kernel (QEMU's model: 1 + 512 + 1 = 514)" test "$made" -le $most
    since=$(now)
    answer
    wait_for 600 said 'single pages went to private and back, waits\|FAILED'
    took "4 KiB to private or back" $((2 * pages))
    check "$pages single pages went to private and back, each with its content" \
        grep -q 'payload: single pages went to private and back' "$serial"
    get vm.counters
    cp "$work/reply" "$out/$name.counters.json"
    equal "conversions to private" $((pieces + pages + 1)) "$(value conversions to_private)"
    equal "conversions to shared" $((pieces / 2 + pages + 1)) "$(value conversions to_shared)"
    equal "none was undone" 0 "$(value conversions undone)"
    # iommufd takes no BARs of devices (peer access), and the VMM says so; all else must have gone well.
    equal "no call of the IOMMU failed, but for peer access" "$(grep -c vfio_no_peer_access "$log")" \
        "$(value dma failed_calls)"
    return 0  # what failed is counted; the guest is there
}

end_guest() {
    answer
    wait_for 60 said 'payload: done\|FAILED'
    check "registers of a device are refused as private memory" grep -q 'payload: done' "$serial"
    sed 's/^/    /' "$serial"
    equal "pause" 204 "$(api -X PUT http://localhost/api/v1/vm.pause)"
    equal "a core dump of a confidential guest is refused" 409 \
        "$(api -X PUT -d '{"destination_url": "file:///tmp/core"}' http://localhost/api/v1/vm.coredump)"
    check "with the reason" grep -q 'memory of a confidential guest is its own' "$work/reply"
    equal "shutdown" 204 "$(api -X PUT http://localhost/api/v1/vmm.shutdown)"
    wait "$pid"
    equal "exit status" 0 $?
    check "nothing went wrong" test -z "$(grep -E ' error ' "$log")" || cat "$log"
    exec 7>&-
    rmdir $cgroup
}

stage_contract() {
    check "the real KVM keeps the contract that FakeKvm keeps" \
        "$BERTH_BUILD/bin/vmm_kvm_test" --gtest_filter='*Contract*' --gtest_brief=1
}

to_vfio() {
    echo vfio-pci > /sys/bus/pci/devices/$edu/driver_override
    echo "$edu" > /sys/bus/pci/drivers_probe
}

stage_cut() {
    to_vfio
    if ! [ -e /dev/iommu ]; then echo "skipped: this kernel has no iommufd"; return; fi
    guest cut "${BERTH_CVM_PIECES:-512}" "${BERTH_CVM_PAGES:-10000}" cut || return
    # The process may have memory of another node only: the kernel binds its threads to that one.
    echo "$other" > $cgroup/cpuset.mems
    answer
    wait_for 100 said 'more pieces are private, waits\|FAILED'
    get vm.placement
    cp "$work/reply" "$out/wrong.placement.json"
    equal "private memory on the wrong node is flagged by the proof" False "$(value placed)"
    check "with the node and the bytes" grep -q "host node $other has [0-9]* bytes of private memory, its zones have 0" \
        "$work/reply" || cat "$work/reply"
    end_guest
}

stage_chunks() {
    to_vfio
    [ -e /dev/iommu ] && mv /dev/iommu /dev/iommu.away
    guest chunks 32 500 chunks && { answer; wait_for 100 said 'more pieces are private, waits\|FAILED'; end_guest; }
    [ -e /dev/iommu.away ] && mv /dev/iommu.away /dev/iommu
}

stage_plug() {
    local kernel initramfs mib=1048576
    read -r kernel initramfs < <("$here/mkguest.sh" 6.12) || { echo "skipped: no kernel for a guest"; return; }
    serial=$out/plug.serial log=$out/plug.log
    rm -f "$serial" "$log" "$work/api"
    disk=() server=0
    daemon=(qemu-storage-daemon)
    command -v "${daemon[0]}" > /dev/null || daemon=("${BERTH_LAB_CACHE:-}/qemu/tool" qemu-storage-daemon)
    if "${daemon[@]}" --version > /dev/null 2>&1; then
        truncate -s 48M "$work/disk"
        "${daemon[@]}" --blockdev "driver=file,node-name=d,filename=$work/disk" --export \
            "type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=$work/vhost,writable=on" &
        server=$!
        wait_for 60 test -S "$work/vhost"
        disk=(--disk "vhost_user=on,socket=$work/vhost")
    else
        echo "plug: without a disk, no qemu-storage-daemon here (tests/lab/mkqemu.sh -f fetches it)"
    fi
    cat > "$work/guest.sh" << 'GUEST'
total() { awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo; }
disk() {  # FILE: to the disk and back
    [ -b /dev/vda ] || return
    dd if=$1 of=/dev/vda bs=1M count=48 conv=fsync 2> /dev/null; echo 3 > /proc/sys/vm/drop_caches
    x=$(head -c 48m $1 | md5sum | cut -d" " -f1); y=$(head -c 48m /dev/vda | md5sum | cut -d" " -f1)
    [ "$x" = "$y" ] && echo "guest: disk $x"
}
until_true() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt 1500 ] || { echo "guest: gave up on $1"; break; }; sleep 0.2; done; }
before=$(total)
mkdir /more; mount -t tmpfs -o size=400m none /more
dd if=/dev/urandom of=/more/first bs=1M count=48 2> /dev/null; disk /more/first; rm /more/first
echo "guest: ready"
until_true '[ $(total) -ge $((before + 240)) ]'
dd if=/dev/urandom of=/more/data bs=1M count=300 2> /dev/null; a=$(md5sum < /more/data)
disk /more/data
[ "$(md5sum < /more/data)" = "$a" ] && echo "guest: has grown and keeps what it writes"
umount /more
until_true '[ $(total) -le $((before + 1)) ]'
dd if=/dev/urandom of=/last bs=1M count=48 2> /dev/null; disk /last
echo "guest: is as before"; sleep 60
GUEST
    "$vmm" --kernel "$kernel" --initramfs "$initramfs" --platform confidential=sw-protected --cpus boot=1 \
        --memory size=0,hotplug_method=virtio-mem --memory-zone "id=m0,size=256M,host_numa_node=$node,hotplug_size=512M,shared=on" \
        --numa 'guest_numa_id=0,cpus=[0],memory_zones=[m0]' "${disk[@]}" --serial "file=$serial" --log-file "$log" \
        --api-socket "$work/api" 2> "$out/plug.stderr" --cmdline \
        "console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 memhp_default_state=online_movable berth.cmd=$(base64 -w0 "$work/guest.sh")" &
    pid=$!
    wait_for 300 said 'guest: ready'
    check "a Linux guest runs" kill -0 "$pid" || { cat "$log" "$out/plug.stderr"; return; }
    get vm.info
    equal "shared bytes before" $((256 * mib)) "$(value runtime confidential shared_bytes)"
    equal "grow" 204 "$(api -X PUT -d "{\"id\":\"m0\",\"desired_ram\":$((512 * mib))}" http://localhost/api/v1/vm.resize-zone)"
    wait_for 300 said 'guest: has grown'
    check "the guest has grown" grep -q 'guest: has grown and keeps' "$serial"
    get vm.info
    equal "shared bytes of the larger guest" $((512 * mib)) "$(value runtime confidential shared_bytes)"
    get vm.placement
    equal "zones whose pages lie elsewhere" "[]" \
        "$(python3 -c 'import json, sys; print([m for m in json.load(open(sys.argv[1]))["mismatches"] if m.startswith("zone")])' "$work/reply")"
    equal "shrink" 204 "$(api -X PUT -d "{\"id\":\"m0\",\"desired_ram\":$((256 * mib))}" http://localhost/api/v1/vm.resize-zone)"
    wait_for 300 said 'guest: is as before'
    get vm.info
    equal "shared bytes of the smaller guest" $((256 * mib)) "$(value runtime confidential shared_bytes)"
    get vm.counters
    equal "no conversion failed" 0 "$(value conversions undone)"
    equal "shutdown" 204 "$(api -X PUT http://localhost/api/v1/vmm.shutdown)"
    wait "$pid"
    equal "exit status" 0 $?
    tr -d '\r' < "$serial" | grep '^guest' | sed 's/^/    /'
    [ "$server" != 0 ] || return
    equal "times that the disk kept what was written" 3 "$(grep -c '^guest: disk' "$serial")"
    check "what the back end wrote is what the guest wrote last" \
        grep -q "^guest: disk $(md5sum < "$work/disk" | cut -d' ' -f1)" <(tail -n 3 "$serial" | tr -d '\r')
    check "the back end still runs" kill -0 "$server"
    kill "$server"
}

refused() { "$vmm" --kernel "$payload" --serial null --platform confidential=sw-protected "$@" > "$work/refusal" 2>&1; }
stage_refusals() {
    refused --memory size=64M,mergeable=on
    check "mergeable memory is refused" grep -q 'cannot be merged' "$work/refusal"
    refused --memory size=0 --memory-zone "id=m,size=64M,file=$work/file"
    check "file-backed private memory is refused" grep -q 'cannot lie in a file' "$work/refusal"
}

for stage; do
    echo "--- $stage"
    "stage_$stage"
done
rm -rf "$work"
finish
