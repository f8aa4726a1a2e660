# shellcheck shell=bash
# The set-up that ./quickstart and ./run-tests share. The caller sets ROOT, the checkout's folder.

# shellcheck source=tools/say.sh
. "$ROOT/tools/say.sh"
# shellcheck source=tools/debian-sources.sh
. "$ROOT/tools/debian-sources.sh"
# shellcheck source=tools/packages.sh
. "$ROOT/tools/packages.sh"
# shellcheck source=tools/npm.sh
. "$ROOT/tools/npm.sh"
# shellcheck source=tools/build.sh
. "$ROOT/tools/build.sh"

# Go is the installed one: fetching another does not work everywhere. No C compiler is needed.
export GOTOOLCHAIN=local CGO_ENABLED=0
# Where mke2fs and depmod are, for an ordinary user.
PATH=$PATH:/usr/sbin:/sbin

[[ $(uname -s) = Linux && $(uname -m) = x86_64 ]] ||
  fail "a checkout builds on x86-64 Linux only; this is $(uname -s) on $(uname -m)"
