# shellcheck shell=bash
# Where this machine gets Debian from, by what apt itself says: whatever mirror it is set to, others of the
# archive's suites are to be had there too.

readonly DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# debian_source SUITE: a deb822 paragraph for a suite (trixie, trixie-security, bookworm-backports, …).
debian_source() {
  local suite=$1 label=Debian base uri
  base=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  if [[ $suite = *-security ]]; then
    label=Debian-Security
    base=$base-security
  fi
  # shellcheck disable=SC2016  # apt fills it in
  uri=$(apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Origin: Debian' "Label: $label" "Codename: $base" | sort -u | head -n 1)
  [[ -n $uri ]] || return 1
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n' "$uri" "$suite"
  if [[ -f $DEBIAN_KEYRING ]]; then echo "Signed-By: $DEBIAN_KEYRING"; fi
}
