#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the kernel of make sanitize: Debian's 6.1, small, with every sanitizer that nvlab.ko can be run under.
#
# usage: setup/sanitize.sh DIRECTORY
#
# DIRECTORY becomes a kernel build tree: nvlab up --kernel DIRECTORY boots it, nvlab kmod build --kernel DIRECTORY
# builds for it. setup/sanitize.config says what it has; an option there that does not come true is an error.
set -eu
tree=$1
here=$(dirname "$0")
source=/usr/src/linux-source-6.1.tar.xz

version=$(stat -c '%Y %s' "$source")
if [ "$(cat "$tree/.unpacked" 2>/dev/null)" != "$version" ]; then
	echo "== unpacking $source"
	rm -rf "$tree"
	mkdir -p "$tree"
	# of other architectures only crypto/Kconfig is read
	LC_ALL=C tar -xJf "$source" -C "$tree" --strip-components=1 --exclude='linux-source-6.1/arch/[a-tv-w]*/[abd-z]*'
	echo "$version" >"$tree/.unpacked"
fi

echo "== configuring"
fragment=$(realpath "$here/sanitize.config")
make -s -C "$tree" KCONFIG_ALLCONFIG="$fragment" allnoconfig
missing=$(grep '^CONFIG_.*=' "$fragment" | grep -vxFf "$tree/.config") || missing=
if [ -n "$missing" ]; then
	echo "setup/sanitize.config asks for what this kernel does not give:" >&2
	echo "$missing" >&2
	exit 1
fi

echo "== building"
make -s -C "$tree" -j"$(nproc)" bzImage modules
