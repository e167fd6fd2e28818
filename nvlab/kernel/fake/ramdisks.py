# SPDX-License-Identifier: GPL-2.0-or-later
"""RAM disks: brd, whose disks are its parameters, and RapidDisk, which attaches and detaches at run time."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from nvlab.kernel.fake.block import SECTOR, Disk
from nvlab.kernel.fake.modules import Params, number
from nvlab.kernel.fake.tree import Attr, Dir, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World


class Brd:
    """brd: /dev/ramN for as long as the module is loaded."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._disks: list[Disk] = []
        world.modules.on("brd", self._load, self._unload)

    def _load(self, params: Params) -> None:
        for index in range(number(params, "rd_nr", 16)):
            size = number(params, "rd_size", 65536) << 10  # the parameter is in KiB
            self._disks.append(self._world.disks.add(Disk(f"ram{index}", size, "brd")))

    def _unload(self) -> None:
        for disk in self._disks:
            self._world.disks.remove(disk)
        self._disks.clear()


class RapidDisk:
    """rapiddisk: one management file that takes sentences."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._disks: dict[str, Disk] = {}
        world.modules.on("rapiddisk", self._load, self._unload)

    def _load(self, params: Params) -> None:
        manage = Attr(lambda: "", self._manage)
        devices = Attr(lambda: "\n".join(f"{d.name}\t{d.size}" for d in self._disks.values()))
        self._world.tree.ensure("/sys/kernel").put("rapiddisk", Dir({"mgmt": manage, "devices": devices}))

    def _unload(self) -> None:
        for disk in self._disks.values():
            self._world.disks.remove(disk)
        self._disks.clear()
        self._world.tree.ensure("/sys/kernel").take("rapiddisk")

    def _manage(self, text: str) -> None:
        match text.split():
            case ["rapiddisk", "attach", which, size]:
                self._attach(f"rd{int(which)}", int(size))
            case ["rapiddisk", "detach", which]:
                self._detach(f"rd{int(which)}")
            case _:
                raise refuse(errno.EINVAL)

    def _attach(self, name: str, size: int) -> None:
        if name in self._disks or size % SECTOR:
            self._world.say(f"rapiddisk: {name} cannot be attached")
            raise refuse(errno.EINVAL)
        self._disks[name] = self._world.disks.add(Disk(name, size, "rapiddisk"))

    def _detach(self, name: str) -> None:
        if name not in self._disks:
            self._world.say(f"rapiddisk: {name} does not exist")
            raise refuse(errno.EINVAL)
        self._world.disks.remove(self._disks.pop(name))
