# shellcheck shell=bash
# The system packages that the project needs, through apt. Nothing is called when all of them are there.

readonly MINIMUM_QEMU=8.2

# One line each: package, what has to be there, why.
# shellcheck disable=SC2034  # used by the callers
NEEDED_TO_RUN='
qemu-system-x86  qemu              runs the virtual machines
bubblewrap       bwrap             the jail around each of them
mmdebstrap       mmdebstrap        builds images from packages
uidmap           newuidmap         lets mmdebstrap work for an ordinary user
e2fsprogs        mke2fs            makes the blank disk
kmod             depmod            finds which modules the kernel needs
lz4              lz4               unpacks the kernel
xz-utils         xz                unpacks kernel modules
golang-go        go                compiles the guest agent
'
# shellcheck disable=SC2034
NEEDED_TO_TEST='
erofs-utils      fsck.erofs        checks the file systems that we write
qemu-utils       qemu-img          checks the disks that we write
cpio             cpio              checks the archives that we write
skopeo           skopeo            puts images into registries and archives, and reads what we write
umoci            umoci             makes images, and unpacks those that we write
buildah          buildah           makes images as others do
docker-registry  docker-registry   a registry to pull from and to push to
apache2-utils    htpasswd          keeps the passwords of that registry
curl             curl              asks the daemon as the guide does
jq               jq                reads JSON as the guide does
iproute2         ip                gives the networks of tests their addresses
python3          python3           speaks for the guests of those networks
openssl          openssl           makes certificates for it
git              git               serves repositories in those networks
dropbear-bin     dropbear          serves SSH in those networks
openssh-client   ssh-keygen        makes keys for that
tshark           tshark            reads the captures that we write
shellcheck       shellcheck        checks the shell scripts
'

# install_packages LIST…: what is missing of these lists.
install_packages() {
  local package provides why
  local -a missing=()
  while read -r package provides why; do
    [[ -n $package ]] || continue
    has "$provides" && continue
    ((${#missing[@]})) || say 'Needed from Debian, and not there yet:'
    say "$(printf '  %-16s %s' "$package" "$why")"
    missing+=("$package")
  done <<<"$*"
  ((${#missing[@]})) || return 0
  require_debian
  apt_install "${missing[@]}"
}

has() {
  case $1 in
    qemu) at_least "$MINIMUM_QEMU" "$(qemu-system-x86_64 --version 2>/dev/null)" ;;
    go) at_least "$(wanted_go)" "$(GOTOOLCHAIN=local go version 2>/dev/null)" ;;
    *) [[ -x /usr/sbin/$1 || -x /sbin/$1 ]] || command -v "$1" >/dev/null ;;
  esac
}

wanted_go() {
  local word version
  while read -r word version _; do
    [[ $word = go ]] && echo "$version" && return
  done <"$ROOT/guest/agent/go.mod"
}

# at_least VERSION TEXT: the first number with a dot in TEXT is not below VERSION.
at_least() {
  [[ $2 =~ ([0-9]+)\.([0-9]+) ]] || return 1
  local major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
  [[ $1 =~ ([0-9]+)\.([0-9]+) ]]
  ((major > BASH_REMATCH[1] || (major == BASH_REMATCH[1] && minor >= BASH_REMATCH[2])))
}

require_debian() {
  local id version
  id=$(. /etc/os-release 2>/dev/null && echo "${ID:-}")
  version=$(. /etc/os-release 2>/dev/null && echo "${VERSION_ID:-99}")
  [[ $id = debian && ${version%%.*} -ge 12 ]] ||
    fail "packages can be installed on Debian 12 or newer only; on this system install the programs named above by hand"
  command -v apt-get >/dev/null || fail 'packages are missing and there is no apt-get to install them with'
}

apt_install() {
  local package release
  local -a ours=() newer=()
  release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  for package in "$@"; do
    # Debian 12's own QEMU and Go are too old; its backports suite has newer ones.
    if [[ $release = bookworm && ($package = qemu-system-x86 || $package = golang-go) ]]; then
      newer+=("$package")
    else
      ours+=("$package")
    fi
  done
  say "Installing: $*"
  if ((${#newer[@]})); then enable_backports "$release-backports"; fi
  update_package_lists
  if ((${#ours[@]})); then apt_get_install "${ours[@]}"; fi
  if ((${#newer[@]})); then apt_get_install --target-release "$release-backports" "${newer[@]}"; fi

  hash -r
  [[ " $* " != *' golang-go '* ]] || has go || prefer_debians_go
  [[ " $* " != *' qemu-system-x86 '* ]] || has qemu ||
    fail "the newest qemu-system-x86 that apt has is older than $MINIMUM_QEMU, the oldest that works"
}

apt_get_install() {
  logged apt-install as_root apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" ||
    fail "apt could not install $* (the end of what it said is above, all of it in build/logs/apt-install.log)"
}

# An old Go that was installed by hand stands before Debian's in PATH.
prefer_debians_go() {
  export PATH=/usr/bin:$PATH
  has go || fail "apt has no Go as new as $(wanted_go), which guest/agent/go.mod asks for"
}

enable_backports() {
  local suite=$1 file=/etc/apt/sources.list.d/microsandbox-backports.sources source
  # Which suites there are, apt knows only of sources that it has read.
  refresh_package_lists
  # shellcheck disable=SC2016  # apt fills it in
  [[ -z $(apt-get indextargets --format '$(CODENAME)' 'Created-By: Packages' "Codename: $suite") ]] || return 0
  say "Adding Debian's suite $suite to apt's sources, in $file"
  source=$(debian_source "$suite") || fail "apt's sources do not name Debian's archive, so $suite cannot be added"
  echo "$source" | as_root tee "$file" >/dev/null
}

update_package_lists() {
  require_root
  logged apt-update as_root apt-get update -q -o DPkg::Lock::Timeout=120 ||
    fail 'apt-get update failed (the end of what it said is above)'
}

# Building from packages needs to know which there are, and an old list names packages that are gone.
refresh_package_lists() {
  [[ -n $(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mtime -1 -print -quit 2>/dev/null) ]] && return
  update_package_lists
}

require_root() {
  ((EUID == 0)) || command -v sudo >/dev/null ||
    fail 'installing packages needs root: run this as root, or have sudo installed'
  # Asks for the password now, while it can be seen that it does.
  ((EUID == 0)) || sudo true || fail 'installing packages needs root, and sudo does not grant it'
}

as_root() {
  if ((EUID == 0)); then
    DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo DEBIAN_FRONTEND=noninteractive "$@"
  fi
}
