#!/bin/bash
# with_program.sh - an initramfs with one more program in its /bin: the kernel unpacks the second archive over the first
#
# usage: with_program.sh CPIO PROGRAM > NEW-CPIO
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
cp "$2" "$folder/bin/"
cat "$1"
cd "$folder"
find bin -print0 | cpio --null --quiet -o -H newc -R 0:0
