# shellcheck shell=bash
# How the set-up talks: what it does on standard error, and one sentence when it cannot go on.

say() { echo "$*" >&2; }

fail() {
  say "error: $*"
  exit 1
}

# logged NAME COMMAND…: runs it quietly; when it fails, shows the end of what it said.
logged() {
  local log=$ROOT/build/logs/$1.log
  shift
  mkdir -p "$ROOT/build/logs"
  "$@" >"$log" 2>&1 && return
  tail -n 15 "$log" >&2
  return 1
}
