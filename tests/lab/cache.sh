# shellcheck shell=bash
# cache.sh - sourced by the lab's scripts: the cache folder and a private apt
#
# Everything that the lab needs beside what is installed is fetched from Debian by package name into
# BERTH_LAB_CACHE (default ~/.cache/berth-lab). Nothing is installed there and root is not needed. The mirror is the
# one that this system's apt already uses, or BERTH_LAB_MIRROR.

: "${BERTH_LAB_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/berth-lab}"
mkdir -p "$BERTH_LAB_CACHE"
BERTH_LAB_CACHE=$(realpath "$BERTH_LAB_CACHE")
export BERTH_LAB_CACHE
PATH=$PATH:/usr/sbin:/sbin  # depmod, modprobe

lab_say() { echo "lab: $*" >&2; }

# lab_need TOOL...: fail, naming what is missing, unless all are installed
lab_need() {
    local tool
    for tool; do
        command -v "$tool" > /dev/null || { lab_say "$tool is missing; run deploy/install-deps.sh --lab"; return 1; }
    done
}

# lab_online WHAT: fail, naming what would be fetched, when BERTH_LAB_OFFLINE says that nothing may be
lab_online() {
    [ -z "${BERTH_LAB_OFFLINE:-}" ] || { lab_say "$1 is not in $BERTH_LAB_CACHE, and BERTH_LAB_OFFLINE is set"; return 1; }
}

# lab_lock: one fetch at a time; held until the calling script ends
lab_lock() {
    exec 8> "$BERTH_LAB_CACHE/.lock"
    flock 8
}

# lab_mirror: the address of the Debian archive that this system uses
lab_mirror() {
    if [ -n "${BERTH_LAB_MIRROR:-}" ]; then
        echo "$BERTH_LAB_MIRROR"
    else
        # shellcheck disable=SC2016  # apt's own placeholders
        apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*$' | head -n 1
    fi
}

# lab_apt SOURCES VERB ARG...: apt-get (VERB "depends" or "policy": apt-cache) on lists of its own.
# SOURCES is "system" (what this machine is configured for) or the name of a Debian suite; backports come with their suite.
lab_apt() {
    local sources=$1 verb=$2 tool=apt-get state mirror suite
    shift 2
    state=$BERTH_LAB_CACHE/apt/$sources
    mkdir -p "$state/lists/partial" "$state/archives/partial"
    : > "$state/status"
    local opts=(-o "Dir::State::lists=$state/lists" -o "Dir::State::status=$state/status"
                -o "Dir::Cache::archives=$state/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
                -o APT::Sandbox::User= -o Debug::NoLocking=1 -o APT::Install-Recommends=0
                -o Acquire::Languages=none -o Acquire::GzipIndexes=true -o Acquire::Retries=3)
    if [ "$sources" != system ]; then
        mirror=$(lab_mirror)
        [ -n "$mirror" ] || { lab_say "apt knows no Debian mirror; set BERTH_LAB_MIRROR"; return 1; }
        for suite in "${sources%-backports}" "$sources"; do
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
        done | uniq > "$state/sources.list"
        [ "$sources" = "${sources%-backports}" ] || opts+=(-o "APT::Default-Release=$sources")
        opts+=(-o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
               -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null)
    fi
    case $verb in depends|policy) tool=apt-cache ;; *) opts+=(-qq) ;; esac
    "$tool" "${opts[@]}" "$verb" "$@"
}

# lab_apt_update SOURCES: fetch the package lists unless that was done within the last hour
lab_apt_update() {
    local stamp=$BERTH_LAB_CACHE/apt/$1/updated
    [ -n "$(find "$stamp" -mmin -60 2>/dev/null)" ] && return
    lab_apt "$1" update && touch "$stamp"
}
