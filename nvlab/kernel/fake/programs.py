# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of the fake kernel, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nvlab.kernel.fake import disktools, moduletools, net, settings
from nvlab.kernel.fake.argv import Exit, Program
from nvlab.kernel.fake.mdadm import mdadm
from nvlab.kernel.interface import Completed

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

PROGRAMS: dict[str, Program] = {
    "modprobe": moduletools.modprobe,
    "insmod": moduletools.insmod,
    "rmmod": moduletools.rmmod,
    "mdadm": mdadm,
    "losetup": disktools.losetup,
    "dmsetup": disktools.dmsetup,
    "sgdisk": disktools.sgdisk,
    "partx": disktools.partx,
    "mkfs.ext4": disktools.mkfs,
    "mkfs.xfs": disktools.mkfs,
    "blkid": disktools.blkid,
    "cmp": disktools.cmp,
    "dd": disktools.dd,
    "wipefs": disktools.wipefs,
    "mount": disktools.mount,
    "umount": disktools.umount,
    "unshare": net.unshare,
    "nsenter": net.nsenter,
    "ip": net.ip,
    "tc": net.tc,
    "swapon": settings.swapon,
    "swapoff": settings.swapoff,
    "systemctl": settings.systemctl,
}


def run(world: World, argv: Sequence[str]) -> Completed:
    """Run a program to its end."""
    if argv[0] in world.not_installed or argv[0] not in PROGRAMS:
        return Completed(tuple(argv), 127, "", f"{argv[0]} is not installed")
    try:
        return Completed(tuple(argv), 0, PROGRAMS[argv[0]](world, argv), "")
    except Exit as end:
        return Completed(tuple(argv), end.code, "", end.err)
