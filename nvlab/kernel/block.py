# SPDX-License-Identifier: GPL-2.0-or-later
"""Block devices as sysfs shows them: names, sizes, holders. Only looks."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import PurePosixPath

from nvlab.kernel.interface import Kernel
from nvlab.kernel.verb import Made
from nvlab.units import human_size

SECTOR = 512  # bytes; sysfs counts in these whatever the device's block size (Documentation/block/stat.rst)


def facts(kernel: Kernel, name: str) -> Made:
    """``name``, ``dev``, ``sectors`` and, for people, ``size`` of the block device ``name`` ("nvme0n1")."""
    sectors = kernel.read(f"/sys/class/block/{name}/size")
    return {"name": name, "dev": f"/dev/{name}", "sectors": sectors, "size": human_size(int(sectors) * SECTOR)}


def name_of(kernel: Kernel, dev: str) -> str:
    """The kernel's name of a device node: "/dev/mapper/x" is "dm-0"."""
    return PurePosixPath(kernel.readlink(dev)).name


def holders(kernel: Kernel, name: str) -> list[str]:
    """Block devices stacked on this one (MD, dm)."""
    return kernel.listdir(f"/sys/class/block/{name}/holders")


def partition(dev: str, number: int) -> str:
    """The node of a partition: /dev/nvme0n1p1, but /dev/sda1."""
    return f"{dev}{'p' if dev[-1].isdigit() else ''}{number}"


def discard_limit(kernel: Kernel, dev: str) -> str:
    """The attribute that bounds discards to a disk, or to a partition's disk (Documentation/ABI/stable/sysfs-block).

    Not for what outlives the lab: once it is 0, 6.12 takes no other value, as the granularity then is 0 too.
    """
    at = PurePosixPath(kernel.readlink(f"/sys/class/block/{name_of(kernel, dev)}"))
    disk = at.parent if kernel.exists(f"{at}/partition") else at
    return f"{disk}/queue/discard_max_bytes"


def nvme_generic(kernel: Kernel, subsystem: str) -> str | None:
    """The generic device of a subsystem's only namespace, which has a command set that Linux does not know, and so no disk.

    With native multipath it hangs under the subsystem, else under the controller; its numbers need not be the hidden disk's.
    """
    for name in kernel.listdir("/sys/class/nvme-generic"):
        with suppress(OSError):  # it went away while we looked
            if kernel.read(f"/sys/class/nvme-generic/{name}/device/subsysnqn") == subsystem:
                return name
    return None


def nvme_namespace(kernel: Kernel, subsystem: str, nsid: int) -> str | None:
    """The block device of a namespace, found by its subsystem's NQN: nvme0 need not be nvme0n1's controller.

    With native multipath the disk hangs under the subsystem, else under the controller; both have ``subsysnqn``.
    """
    for name in kernel.listdir("/sys/block"):
        if not re.fullmatch(r"nvme\d+n\d+", name):
            continue
        base = f"/sys/block/{name}"
        try:
            matches = kernel.read(f"{base}/device/subsysnqn") == subsystem and kernel.read(f"{base}/nsid") == str(nsid)
        except OSError:  # it went away while we looked
            continue
        if matches:
            return name
    return None
