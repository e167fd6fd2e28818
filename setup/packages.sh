#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the Debian packages of a list that are missing; silent when none is.
#
# usage: setup/packages.sh LIST
#
# Each line of LIST is a package and why nvlab needs it. Without root or apt-get it says what to install and exits 3.
set -eu
list=$1

wanted=$(sed 's/#.*//' "$list" | awk 'NF { print $1 }')
# dpkg-query complains of packages it has never heard of: those are missing too
# shellcheck disable=SC2086
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p') || true
missing=$(echo "$wanted" | grep -vxF "${installed:-none}") || exit 0

echo "Debian packages to install:"
for package in $missing; do
	grep "^$package " "$list" | sed 's/^/  /'
done
# shellcheck disable=SC2086
command="apt-get install -y --no-install-recommends "$(echo $missing)
if ! command -v apt-get >/dev/null; then
	echo "There is no apt-get here: this was made for Debian 12. Install what gives the same, then try again." >&2
	exit 3
fi
if [ "$(id -u)" != 0 ]; then
	echo "Only root may install them. Run this, then try again:" >&2
	echo "  sudo $command" >&2
	exit 3
fi
echo "(a kernel also builds its initramfs here, which takes up to a minute)"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=600 update
$command -q -o DPkg::Lock::Timeout=600
