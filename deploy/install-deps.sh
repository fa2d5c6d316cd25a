#!/bin/bash
# install-deps.sh - install what Berth needs, by package name, on Debian 12
#
# usage: deploy/install-deps.sh [--build] [--test] [--lab] [--dev] [--list]
#
#   --build  compiler, build tools and libraries
#   --test   test libraries and checkers (implies --build)
#   --lab    what tests/lab needs to fetch and start the emulated host
#   --dev    clang, clang-tidy and the fuzzer runtime, for the presets and checks that CI does not run
#   --list   only print the names of the packages that are missing
# Without a set: --build --test --lab. Asks nothing. Root (or sudo) is needed only when something is missing; a second
# run does nothing. docs/dependencies.md says what each package is for.
set -eu

build=(g++ cmake ninja-build ccache mold pkg-config git ca-certificates python3
       libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libre2-dev
       libsqlite3-dev libyaml-cpp-dev libspdlog-dev libfmt-dev libcli11-dev libexpected-dev nlohmann-json3-dev
       libhwloc-dev libnl-route-3-dev prometheus-cpp-dev libcpprest-dev libboost-dev rapidjson-dev zlib1g-dev)
test=(libgtest-dev libgmock-dev libbenchmark-dev acpica-tools bzip2 clang-format-19 shellcheck
      python3-gabbi python3-openstackclient python3-osc-placement)
lab=(busybox-static cpio curl kmod xz-utils zstd binutils python3 iproute2 util-linux procps debian-archive-keyring)
dev=(clang-19 clang-tidy-19 libclang-rt-19-dev)

wanted=() list=
for option; do
    case $option in
        --build) wanted+=("${build[@]}") ;;
        --test)  wanted+=("${build[@]}" "${test[@]}") ;;
        --lab)   wanted+=("${lab[@]}") ;;
        --dev)   wanted+=("${dev[@]}") ;;
        --list)  list=1 ;;
        *)       awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0" >&2; exit 2 ;;
    esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${build[@]}" "${test[@]}" "${lab[@]}")

command -v dpkg-query > /dev/null || { echo "install-deps.sh: this is not Debian (no dpkg)" >&2; exit 1; }
missing=()
for package in "${wanted[@]}"; do
    case " ${missing[*]} " in *" $package "*) continue ;; esac
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) || true
    [ "$status" = installed ] || missing+=("$package")
done
if [ -n "$list" ]; then
    [ ${#missing[@]} = 0 ] || printf '%s\n' "${missing[@]}"
    exit 0
fi
if [ ${#missing[@]} = 0 ]; then
    echo "install-deps.sh: all ${#wanted[@]} packages are installed"
    exit 0
fi

echo "install-deps.sh: installing ${missing[*]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || { echo "install-deps.sh: run this as root: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo -n)
    sudo -n true 2> /dev/null || as_root=(sudo)  # sudo may ask for a password on a terminal; nothing else asks
fi
# another apt may be running (unattended upgrades right after the boot): wait for its lock
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)

# update_lists: the lock of the lists has no waiting of its own
update_lists() {
    local try
    for try in 1 2 3 4 5 6; do
        "${apt[@]}" update && return
        echo "install-deps.sh: apt-get update failed (try $try of 6)" >&2
        sleep 10
    done
    return 1
}

install() { "${apt[@]}" install -y --no-install-recommends "${missing[@]}" < /dev/null; }
# lists that are there may be good enough; when they are not, fetch them and try again
if ! { [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -mtime -1 2> /dev/null | head -n 1)" ] && install; }; then
    update_lists && install
fi
echo "install-deps.sh: installed ${#missing[@]} packages"
