#!/bin/bash
# quickstart.sh - from a fresh Debian 12 to a running guest, with one command and no questions
#
# usage: deploy/quickstart.sh [--no-install] [--lab]
#
#   --no-install  use what is installed
#   --lab         boot the guest in the emulated host, even if this machine's KVM could
#
# Installs what is needed (deploy/install-deps.sh), builds the release programs, then runs deploy/demo.sh: `berth` on
# this machine's real inventory, an instance, its guest, and away with it. Where this machine cannot boot a guest, the
# same demo runs once more inside the lab (tests/lab): an emulated two-socket host with NUMA, IOMMU and SR-IOV.
set -u
cd "$(dirname "$(readlink -f "$0")")/.." || exit 1

install=1 lab=
while [ $# -gt 0 ]; do
    case $1 in
        --no-install) install='' ;;
        --lab)        lab=1 ;;
        *)            awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0" >&2; exit 2 ;;
    esac
    shift
done
step() { printf '\n=== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

if [ -n "$install" ]; then
    step "packages"
    deploy/install-deps.sh --test --lab || exit 1
fi

# Guest kernel, and the lab if it will be needed, come from Debian while the compiler works.
usable_kvm() { [ -r /dev/kvm ] && [ -w /dev/kvm ]; }
if [ -z "$lab" ] && usable_kvm; then
    tests/lab/mkguest.sh 6.12 > /dev/null &
else
    { tests/lab/lab fetch 6.12 && tests/lab/mkguest.sh 6.12 > /dev/null; } &
fi
fetching=$!

step "build"
cmake --preset release --log-level=NOTICE || exit 1
cmake --build --preset release --target berth berthctl berth-vmm || exit 1
wait "$fetching" || { echo "quickstart: Debian's guest kernel could not be fetched: see above" >&2; exit 1; }

status=3
if [ -z "$lab" ] && usable_kvm; then
    step "demo on this machine"
    deploy/demo.sh --boot-timeout 30
    status=$?
elif [ -z "$lab" ]; then
    step "demo on this machine: there is no usable /dev/kvm, so its guest boots in the lab afterwards"
    deploy/demo.sh --no-guest
    status=$?
    [ $status = 0 ] && status=3
fi
if [ $status = 3 ]; then
    step "demo in the lab: an emulated two-socket host"
    tests/lab/lab fetch 6.12 || exit 1
    tests/lab/lab run -t 500 -- deploy/demo.sh --create-vfs --boot-timeout 200
    status=$?
fi
[ $status = 0 ] && step "done"
exit $status
