# SPDX-License-Identifier: GPL-2.0-or-later
"""null_blk: memory-backed disks made in configfs."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from nvlab.kernel.fake.block import Disk
from nvlab.kernel.fake.configfs import Group, Item
from nvlab.kernel.fake.modules import Params, number
from nvlab.kernel.fake.tree import Attr, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

# attribute -> default, as a new directory shows them
_DEFAULTS = {
    "size": "256000",  # MiB
    "blocksize": "512",
    "memory_backed": "0",
    "queue_mode": "2",
    "irqmode": "1",
    "completion_nsec": "10000",
    "submit_queues": "4",
    "hw_queue_depth": "64",
    "home_node": "-1",
    "blocking": "0",
    "discard": "0",
    "cache_size": "0",
    "mbps": "0",
}


class NullBlk:
    """The module: its parameters' devices, and those of configfs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._own: list[Disk] = []
        self._group = Group(self._make, self._drop)
        self._group.put("features", Attr("badblocks,blocksize,memory_backed,power,size"))
        self._powered: dict[str, Disk] = {}
        world.modules.on("null_blk", self._load, self._unload)
        world.modules.pin("null_blk", lambda: any(isinstance(c, Item) for c in self._group.children().values()))

    def _load(self, params: Params) -> None:
        for index in range(number(params, "nr_devices", 1)):
            self._own.append(self._world.disks.add(Disk(f"nullb{index}", 250 << 30, "null_blk")))
        self._world.configfs.register("nullb", self._group)

    def _unload(self) -> None:
        self._world.configfs.unregister("nullb")
        for disk in self._own:
            self._world.disks.remove(disk)
        self._own.clear()

    def _make(self, name: str) -> Item:
        item = Item()
        values = dict(_DEFAULTS)
        for key in values:
            item.put(key, self._setting(name, values, key))
        item.put("index", Attr(lambda: str(list(self._powered).index(name)) if name in self._powered else "0"))
        item.put("power", Attr(lambda: str(int(name in self._powered)), lambda text: self._power(name, values, text)))
        return item

    def _setting(self, name: str, values: dict[str, str], key: str) -> Attr:
        def store(text: str) -> None:
            if name in self._powered:
                raise refuse(errno.EBUSY)
            values[key] = str(_unsigned(text))

        return Attr(lambda: values[key], store)

    def _power(self, name: str, values: dict[str, str], text: str) -> None:
        on = _boolean(text)
        if on and name not in self._powered:
            discard = 4294966784 * int(values["discard"])
            disk = Disk(name, int(values["size"]) << 20, "null_blk", discard=discard)
            self._powered[name] = self._world.disks.add(disk)
        elif not on and name in self._powered:
            self._world.disks.remove(self._powered.pop(name))

    def _drop(self, name: str) -> None:
        self._power(name, {}, "0")


def _unsigned(text: str) -> int:
    try:
        return int(text.strip(), 0)
    except ValueError:
        raise refuse(errno.EINVAL) from None


def _boolean(text: str) -> bool:
    """kstrtobool: it looks at the first letters."""
    word = text.strip().lower()
    if word[:1] in ("y", "t", "1") or word[:2] == "on":
        return True
    if word[:1] in ("n", "f", "0") or word[:2] == "of":
        return False
    raise refuse(errno.EINVAL)
