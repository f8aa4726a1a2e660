# shellcheck shell=bash
# What is built from the checkout: the programs, what VMs boot from, and our images.

build_programs() {
  local newer
  if [[ -f $ROOT/dist/cli.js ]]; then
    newer=$(cd "$ROOT" && find src package-lock.json rolldown.config.ts -newer dist/cli.js -print -quit)
    [[ -n $newer ]] || return 0
  fi
  say 'Building msb'
  (cd "$ROOT" && logged build npm run build) || fail 'the build failed (the end of what it said is above)'
}

build_boot_assets() {
  compgen -G "$ROOT/build/cache/kernel/*.deb" >/dev/null || refresh_package_lists
  node "$ROOT/guest/boot/build.ts" || fail 'the boot assets could not be built'
}

build_image() {
  [[ -f $ROOT/build/images/msb-$1.tar ]] || refresh_package_lists
  "$ROOT/images/build" "$1" || fail "the image msb/$1 could not be built"
}

# import_image NAME: into the MSB_HOME in force, unless this very tar is there already.
import_image() {
  local tar=$ROOT/build/images/msb-$1.tar stamp=$ROOT/build/images/msb-$1.imported state
  state="${MSB_HOME:-} $(stat -c '%Y %s' "$tar")"
  if [[ -f $stamp && $(<"$stamp") = "$state" ]] && "$ROOT/bin/msb" images --json | grep -q "\"msb/$1\""; then
    return
  fi
  say "Importing image msb/$1"
  "$ROOT/bin/msb" import "$tar" "msb/$1" --config "${tar%.tar}.config.json" >/dev/null ||
    fail "the image msb/$1 could not be imported"
  echo "$state" >"$stamp"
}
