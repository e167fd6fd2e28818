# SPDX-License-Identifier: GPL-2.0-or-later
"""Loop devices over files; what is written on one stays in its file."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from nvlab.kernel.fake.block import Disk
from nvlab.kernel.fake.tree import Attr, Dir, File, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.modules import Params
    from nvlab.kernel.fake.world import World

_AT_LOAD = 8  # max_loop of Debian's kernels


class Loops:
    """The loop devices and what backs them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._disks: dict[str, Disk] = {}
        self._written: dict[str, dict[str, str]] = {}  # what is on each backing file
        world.modules.on("loop", self._load, self._unload)
        world.modules.pin("loop", lambda: any("loop" in d.sys.children() for d in self._disks.values()))

    def _load(self, params: Params) -> None:
        for number in range(int(params.get("max_loop", _AT_LOAD))):
            self._add(f"loop{number}")

    def _unload(self) -> None:
        for disk in self._disks.values():
            self._world.disks.remove(disk)
        self._disks.clear()

    def _add(self, name: str) -> Disk:
        self._disks[name] = self._world.disks.add(Disk(name, 0, "loop", discard=4294966784))
        return self._disks[name]

    def attach(self, path: str) -> str:
        """LOOP_CONFIGURE on the first free device. Raises ENOENT, EINVAL for what is no file."""
        file = self._world.tree.node(path)
        if not isinstance(file, File):
            raise refuse(errno.EINVAL, path)
        self._world.modules.request("loop")
        free = [d for d in self._disks.values() if "loop" not in d.sys.children()]
        disk = free[0] if free else self._add(f"loop{len(self._disks)}")
        disk.size = file.size
        disk.marks = self._written.setdefault(path, {})
        disk.sys.put("loop", Dir({"backing_file": Attr(lambda: self._backing(path))}))
        return disk.name

    def _backing(self, path: str) -> str:
        return path if self._world.tree.lexists(path) else f"{path} (deleted)"

    def detach(self, name: str) -> None:
        """LOOP_CLR_FD. Raises ENXIO; while the device is open it succeeds and happens at the last close."""
        disk = self._disks.get(name)
        if disk is None or "loop" not in disk.sys.children():
            raise refuse(errno.ENXIO, f"/dev/{name}")
        if disk.busy:
            disk.on_last_close = lambda: self._clear(disk)  # LO_FLAGS_AUTOCLEAR
        else:
            self._clear(disk)

    def _clear(self, disk: Disk) -> None:
        disk.on_last_close = None
        disk.sys.take("loop")
        disk.size, disk.marks = 0, {}

    def backing(self) -> dict[str, str]:
        """Loop device -> its file."""
        return {
            d.name: str(loop.children()["backing_file"].show())
            for d in self._disks.values()
            if isinstance(loop := d.sys.children().get("loop"), Dir)
        }
