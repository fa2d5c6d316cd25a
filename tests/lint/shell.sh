#!/bin/bash
# Checks every shell script that git knows with shellcheck; skipped (status 77) where that is not installed.
set -eu
cd "$(dirname "$0")/../.."
command -v shellcheck > /dev/null || { echo "skipped: shellcheck is missing: run deploy/install-deps.sh"; exit 77; }
scripts=()
while IFS= read -r -d '' file; do
    [ -f "$file" ] || continue
    case $file in *.sh) scripts+=("$file"); continue ;; esac
    IFS= read -r first < "$file" 2> /dev/null || continue
    case $first in '#!'*bash | '#!'*/sh) scripts+=("$file") ;; esac
done < <(git ls-files -z -- '*.sh' .ci deploy tests/lab tests/lint tests/integration)
shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
# the initramfs runs these with busybox, whose shell has what dash has, and local variables
shellcheck --shell=dash tests/lab/init.host tests/lab/init.guest
echo "shellcheck: $((${#scripts[@]} + 2)) scripts"
