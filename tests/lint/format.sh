#!/bin/bash
# Checks (or with --fix repairs) the formatting of every C++ file that git knows.
set -eu
cd "$(dirname "$0")/../.."
tool=$(command -v clang-format-19) || { echo "clang-format-19 is missing: run deploy/install-deps.sh"; exit 1; }
mode="--dry-run -Werror"
[ "${1:-}" = --fix ] && mode=-i
# shellcheck disable=SC2086
git ls-files -z '*.h' '*.cc' | xargs -0 -r "$tool" $mode
