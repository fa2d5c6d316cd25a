#!/bin/bash
# mkqemu.sh - put the QEMU of Debian 13's backports beside the installed one
#
# usage: tests/lab/mkqemu.sh [-f] [SUITE]      (default: trixie-backports; -f: even if it is there)
#
# QEMU before 8.0 has no igb device, and before 10.0.6 it leaves the BARs of SR-IOV virtual functions unmapped, so that
# no VF of igb or nvme works. From 10.0.2 to 10.2 the accesses of one CPU to a device may reach another device while
# another CPU moves or hides a BAR (qemu 2865bf1c57, mended by 854cd16e31): the emulated host stood still, panicked or
# reset itself now and then when devices were handed over. `remap_test.sh` shows that within minutes. So 11.0 or newer:
# the package in Debian 13's backports, which needs Debian 13's C library. This takes the package with
# all that it depends on into a folder of its own, BERTH_LAB_CACHE/qemu, and installs nothing;
# BERTH_LAB_CACHE/qemu/run starts it, and BERTH_LAB_CACHE/qemu/tool NAME another program of QEMU, such as
# qemu-storage-daemon. The copy is changed in one place, see mend_qemu.py. Works without root.
set -eu

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/cache.sh
. "$here/cache.sh"
force=
[ "${1:-}" = -f ] && { force=1; shift; }
suite=${1:-trixie-backports}

# mend FOLDER: once
mend() {
    [ ! -e "$1/mended" ] || return 0
    # the old file may be running
    cp "$1/usr/bin/qemu-system-x86_64" "$1/mended.new"
    lab_say "$("$here/mend_qemu.py" "$1/mended.new" | tee "$1/mended")"
    mv "$1/mended.new" "$1/usr/bin/qemu-system-x86_64"
}

lab_lock
if [ -z "$force" ] && [ -x "$BERTH_LAB_CACHE/qemu/run" ]; then
    # one of another suite was fetched before; better than none
    if [ "$(cat "$BERTH_LAB_CACHE/qemu/suite" 2> /dev/null)" = "$suite" ] || [ -n "${BERTH_LAB_OFFLINE:-}" ]; then
        mend "$BERTH_LAB_CACHE/qemu"
        exit 0
    fi
fi
lab_online "Debian's QEMU"
lab_need apt-get dpkg-deb

fetch() {
    lab_say "fetching qemu-system-x86 and its libraries from Debian $suite (once)"
    lab_apt_update "$suite" && lab_apt "$suite" install -y --download-only qemu-system-x86 qemu-utils > /dev/null
}
if ! fetch; then
    [ "$suite" != "${suite%-backports}" ] || exit 1
    suite=${suite%-backports}  # a mirror without backports
    fetch
fi

new=$BERTH_LAB_CACHE/qemu.new
rm -rf "$new"
mkdir -p "$new"
for deb in "$BERTH_LAB_CACHE/apt/$suite"/archives/*.deb; do
    case ${deb##*/} in base-files_*|debconf_*|dpkg_*|perl-base_*|tar_*|init-system-helpers_*) continue ;; esac
    # through tar, which keeps a folder where another package has a link to it (merged /usr)
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$new" --keep-directory-symlink --no-same-owner
done
rm -rf "$new"/usr/share/{doc,man,locale,info} "$BERTH_LAB_CACHE/apt/$suite/archives"
cat > "$new/run" <<'RUN'
#!/bin/sh
# start the QEMU of this folder with its own C library and data
r=$(dirname "$(readlink -f "$0")")
for ld in "$r/lib64/ld-linux-x86-64.so.2" "$r/usr/lib64/ld-linux-x86-64.so.2" "$r/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"; do
    [ -f "$ld" ] && break
done
export QEMU_MODULE_DIR="$r/usr/lib/x86_64-linux-gnu/qemu"
exec "$ld" --library-path "$r/usr/lib/x86_64-linux-gnu:$r/lib/x86_64-linux-gnu" --argv0 "$r/usr/bin/qemu-system-x86_64" \
    "$r/usr/bin/qemu-system-x86_64" -L "$r/usr/share/qemu" -L "$r/usr/share/seabios" -L "$r/usr/lib/ipxe/qemu" "$@"
RUN
cat > "$new/tool" <<'TOOL'
#!/bin/sh
# start a program of this folder, by its name, with its own C library
r=$(dirname "$(readlink -f "$0")")
name=$1
shift
for ld in "$r/lib64/ld-linux-x86-64.so.2" "$r/usr/lib64/ld-linux-x86-64.so.2" "$r/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"; do
    [ -f "$ld" ] && break
done
export QEMU_MODULE_DIR="$r/usr/lib/x86_64-linux-gnu/qemu"
exec "$ld" --library-path "$r/usr/lib/x86_64-linux-gnu:$r/lib/x86_64-linux-gnu" --argv0 "$name" "$r/usr/bin/$name" "$@"
TOOL
chmod +x "$new/run" "$new/tool"
mend "$new"
version=$("$new/run" --version | head -n 1)
echo "$suite" > "$new/suite"
rm -rf "$BERTH_LAB_CACHE/qemu"
mv "$new" "$BERTH_LAB_CACHE/qemu"
lab_say "$version, $(du -sh "$BERTH_LAB_CACHE/qemu" | cut -f1)"
