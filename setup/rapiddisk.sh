#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs RapidDisk's modules for every installed Linux 6.1; silent when they are there.
#
# The sources are those of Debian's rapiddisk-dkms. The package itself is not installed: its modules do not build on
# later kernels, and DKMS, which builds for each kernel, then fails every installation of a 6.12 kernel or its headers.
set -eu
PATH=$PATH:/usr/sbin:/sbin
package=rapiddisk-dkms
modules="rapiddisk rapiddisk-cache"

todo=
for headers in /lib/modules/6.1.*/build; do
	release=$(basename "$(dirname "$headers")")
	[ -d "/lib/modules/$release/kernel" ] || continue
	# shellcheck disable=SC2086
	modinfo -k "$release" $modules >/dev/null 2>&1 || todo="$todo $release"
done
[ -n "$todo" ] || exit 0

echo "RapidDisk's modules, the RAM cache, to build and install for:$todo"
if ! command -v apt-get >/dev/null; then
	echo "There is no apt-get to fetch $package with: build and install its modules for:$todo" >&2
	exit 3
fi
if [ "$(id -u)" != 0 ]; then
	echo "Only root may install them. Run this, then try again:" >&2
	echo "  sudo make system" >&2
	exit 3
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# As root in a directory of root's, apt's own unprivileged user could not write
(cd "$work" && apt-get -q -o APT::Sandbox::User=root download $package)
dpkg-deb -x "$work"/*.deb "$work"
for release in $todo; do
	make -s -C "/lib/modules/$release/build" M="$(echo "$work"/usr/src/$package-*)" clean modules
	for module in $modules; do
		install -D -m 644 "$work"/usr/src/$package-*/$module.ko "/lib/modules/$release/updates/$module.ko"
	done
	depmod "$release"
	echo "  /lib/modules/$release/updates/rapiddisk{,-cache}.ko"
done
