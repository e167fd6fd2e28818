# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper: named devices with a UUID over a table of targets."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nvlab.kernel.fake.block import SECTOR, Disk
from nvlab.kernel.fake.tree import Attr, Dir, Link, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

# target -> (module, positions of its devices among the target's own words)
TARGETS: dict[str, tuple[str, tuple[int, ...]]] = {
    "linear": ("dm_mod", (0,)),
    "delay": ("dm_delay", (0,)),
    "cache": ("dm_cache", (0, 1, 2)),
    "writecache": ("dm_writecache", (1, 2)),
    "rapiddisk-cache": ("rapiddisk_cache", (0, 1)),
}


@dataclass
class Mapped:
    """One device-mapper device."""

    name: str
    uuid: str
    target: str
    disk: Disk
    below: list[Disk]
    next: tuple[str, list[Disk]] | None = None  # the table that it gets with the next resume


class Mapper:
    """All device-mapper devices, by name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.all: dict[str, Mapped] = {}
        for module in {module for module, _ in TARGETS.values()}:
            world.modules.pin(module, lambda m=module: self._used(m))  # type: ignore[misc]

    def _used(self, module: str) -> bool:
        return any(module in ("dm_mod", TARGETS[d.target][0]) for d in self.all.values())

    def create(self, name: str, uuid: str, table: str) -> None:
        """Make and start a device. Raises EBUSY for a name or UUID in use, EINVAL, ENOENT for what the table names."""
        if name in self.all or any(d.uuid == uuid for d in self.all.values()):
            raise refuse(errno.EBUSY, name)
        _, sectors, target, *words = table.split()
        below = self._devices(target, words)
        number = self._world.disks.first_free(lambda n: f"dm-{n}")
        disk = Disk(f"dm-{number}", int(sectors) * SECTOR, "dm_mod")
        self.all[name] = mapped = Mapped(name, uuid, target, disk, [])
        self._world.disks.add(disk, {"dm": Dir({"name": Attr(name), "uuid": Attr(uuid)})})
        self._world.tick(f"dmsetup create {name}: the device is there, without a table and a node")
        for each in below:
            each.take(disk.name)
        mapped.below = below
        self._world.tree.directory("/dev/mapper").put(name, Link(f"/dev/{disk.name}"))

    def reload(self, name: str, table: str) -> None:
        """Give it a table for later, whose devices are held from now on as well. Raises ENXIO, EINVAL, ENOENT, EBUSY."""
        mapped = self._at(name)
        target, *words = table.split()[2:]
        below = self._devices(target, words)
        for each in below:
            each.take(mapped.disk.name)
        mapped.next = (target, below)

    def resume(self, name: str) -> None:
        """Go on with the table that it was given last, if it was. Raises ENXIO."""
        mapped = self._at(name)
        if mapped.next:
            (mapped.target, now), before, mapped.next = mapped.next, mapped.below, None
            mapped.below = now
            for each in (disk for disk in before if disk not in now):
                each.release(mapped.disk.name)

    def _at(self, name: str) -> Mapped:
        if name not in self.all:
            raise refuse(errno.ENXIO, name)
        return self.all[name]

    def _devices(self, target: str, words: list[str]) -> list[Disk]:
        if target not in TARGETS:
            raise refuse(errno.EINVAL, target)
        module, places = TARGETS[target]
        if not self._world.modules.request(module):
            raise refuse(errno.EINVAL, target)
        # the module compares the text: only /dev/rd… may be its store
        if target == "rapiddisk-cache" and not words[1].startswith("/dev/rd"):
            raise refuse(errno.EINVAL, words[1])
        below = [self._world.disks.at(words[place]) for place in places]
        if any(d.claimed() and not all(c.startswith("dm-") for c in d.claims) for d in below):
            raise refuse(errno.EBUSY, name_list(below))
        return below

    def remove(self, name: str) -> None:
        """Remove a device. Raises ENXIO, EBUSY while it is open."""
        mapped = self._at(name)
        if mapped.disk.busy:
            raise refuse(errno.EBUSY, name)
        for each in (*mapped.below, *(mapped.next[1] if mapped.next else ())):
            each.release(mapped.disk.name)
        if name in self._world.tree.directory("/dev/mapper").children():
            self._world.tree.directory("/dev/mapper").take(name)
        self._world.disks.remove(mapped.disk)
        del self.all[name]


def name_list(disks: list[Disk]) -> str:
    return " ".join(d.name for d in disks)
