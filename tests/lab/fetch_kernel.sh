#!/bin/bash
# fetch_kernel.sh - take a Debian kernel package, unmodified, into the cache
#
# usage: tests/lab/fetch_kernel.sh [-f] VERSION      VERSION: 6.1 | 6.12 | 6.1-cloud | 6.12-cloud
#
# Puts into BERTH_LAB_CACHE/kernels/VERSION: bzImage, config, release (the kernel's own name) and lib/modules/RELEASE
# with modules.dep. Nothing is installed. 6.1 is Debian 12's own kernel; 6.12 comes from Debian 12's security archive
# and, where this machine's apt does not know it, from Debian 13.
set -eu

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=tests/lab/cache.sh
. "$here/cache.sh"
force=
[ "${1:-}" = -f ] && { force=1; shift; }
version=${1:-}
case $version in 6.1|6.12) flavour=amd64 ;; 6.1-cloud|6.12-cloud) flavour=cloud-amd64 ;;
    *) echo "usage: fetch_kernel.sh [-f] 6.1|6.12|6.1-cloud|6.12-cloud" >&2; exit 2 ;;
esac
series=${version%-cloud}
target=$BERTH_LAB_CACHE/kernels/$version

# What is taken out of the package; a cache that was filled by another rule is filled anew, where that can be done.
rule=2
kept() { [ -f "$target/bzImage" ] && [ -z "$force" ]; }

lab_lock
kept && [ "$(cat "$target/rule" 2> /dev/null)" = "$rule" ] && exit 0
kept && [ -n "${BERTH_LAB_OFFLINE:-}" ] && exit 0
lab_online "Debian's kernel $version"
lab_need apt-get depmod dpkg-deb xz

# package_in SOURCES META...: the newest kernel package of the series that a meta package stands for
package_in() {
    local sources=$1 meta
    shift
    lab_apt_update "$sources" || return 1
    for meta in "$@"; do
        lab_apt "$sources" depends "$meta" 2> /dev/null |
            sed -n "s/^ *Depends: \(linux-image-${series//./\\.}\..*-$flavour\)$/\1/p" | grep . && return
    done
    return 1
}

case $series in 6.1) fallback=bookworm ;; *) fallback=trixie ;; esac
package=
for sources in system "$fallback"; do
    package=$(package_in "$sources" "linux-image-$series-$flavour" "linux-image-$flavour" | head -n 1) || true
    [ -n "$package" ] && break
done
[ -n "$package" ] || ! kept || { lab_say "kernel $version stays as it is: nothing newer can be reached"; exit 0; }
[ -n "$package" ] || { lab_say "no Debian kernel $series ($flavour) can be reached"; exit 1; }

lab_say "fetching $package (once)"
new=$target.new
rm -rf "$new"
mkdir -p "$new/deb"
(cd "$new/deb" && lab_apt "$sources" download "$package")
# whole subsystems that neither a host nor a guest of the lab can have stay out of the cache
left_out=(sound 'drivers/net/ethernet/[!i]*' 'drivers/misc/[!p]*')  # of misc: pvpanic
for folder in accel ata comedi gpu hid hwmon iio infiniband input md media mmc mtd net/wireless scsi staging usb video; do
    left_out+=("drivers/$folder")
done
for folder in bcachefs btrfs ceph f2fs gfs2 jfs nfs nfsd ocfs2 reiserfs smb ubifs xfs; do left_out+=("fs/$folder"); done
dpkg-deb --fsys-tarfile "$new"/deb/*.deb | tar -x -C "$new" --no-same-owner "${left_out[@]/#/--exclude=*/kernel/}" \
    --wildcards './boot/vmlinuz-*' './boot/config-*' './lib/modules/*'
release=$(basename "$new"/lib/modules/*)
mv "$new/boot/vmlinuz-$release" "$new/bzImage"
mv "$new/boot/config-$release" "$new/config"
depmod -b "$new" "$release"
echo "$release" > "$new/release"
echo "$rule" > "$new/rule"
rm -rf "${new:?}/deb" "${new:?}/boot"
rm -rf "$target"
mv "$new" "$target"
lab_say "kernel $release, $(du -sh "$target" | cut -f1)"
