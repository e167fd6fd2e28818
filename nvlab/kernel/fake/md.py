# SPDX-License-Identifier: GPL-2.0-or-later
"""MD arrays: superblocks on members, the order in which mdadm makes one, its resync, and its journal mode."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nvlab.kernel.fake.block import Disk
from nvlab.kernel.fake.tree import Attr, Dir, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

PERSONALITY = {"0": "raid0", "1": "raid1", "4": "raid456", "5": "raid456", "6": "raid456", "10": "raid10"}
_REDUNDANT = {"1", "4", "5", "6", "10"}
_SMALLEST_JOURNAL = 4 << 20  # bytes; below it mdadm cannot write its metadata


@dataclass
class Array:
    """One array; ``running`` once RUN_ARRAY succeeded."""

    disk: Disk
    uuid: str
    level: str
    members: list[Disk] = field(default_factory=list)
    journal: Disk | None = None
    parts: list[Disk] = field(default_factory=list)  # what it holds, the journal first: mdadm adds it first
    running: bool = False
    syncing: bool = False
    mode: str = "write-through"
    stripes: int = 256
    read_only: bool = False


@dataclass(frozen=True)
class Recipe:
    """What ``mdadm --create`` was asked for."""

    name: str
    uuid: str
    level: str
    members: Sequence[Disk]
    journal: Disk | None = None
    clean: bool = False


class Arrays:
    """All arrays, by the name of their disk."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.all: dict[str, Array] = {}
        world.modules.parameters["md_mod"] = {"new_array": Attr(None, lambda text: self._bare(text.strip()))}
        for module in set(PERSONALITY.values()):
            world.modules.pin(module, lambda m=module: self._used(m))  # type: ignore[misc]

    def _used(self, module: str) -> bool:
        return any(a.running and PERSONALITY[a.level] == module for a in self.all.values())

    def create(self, recipe: Recipe) -> None:
        """The steps of mdadm's Create.c: the array object, all superblocks, all members, then RUN_ARRAY.

        Raises EBUSY, EINVAL; superblocks written before an error stay.
        """
        tick = self._world.tick
        parts = [*recipe.members, *([recipe.journal] if recipe.journal else [])]
        array = self._announce(recipe)
        tick("mdadm --create: the array object is there")
        for part in parts:
            part.marks["md"] = recipe.uuid
            tick(f"mdadm --create: superblock on {part.name}")
        for part in sorted(parts, key=lambda p: p is not recipe.journal):
            part.take(array.disk.name)
            array.parts.append(part)
            tick(f"mdadm --create: {part.name} is in")
        array.members, array.journal = list(recipe.members), recipe.journal
        self._run(array, recipe)

    def _bare(self, name: str) -> None:
        """An array object that nobody has said anything about."""
        self._announce(Recipe(name, "", "", ()))

    def _announce(self, recipe: Recipe) -> Array:
        if recipe.name in self.all:
            raise refuse(errno.EBUSY, f"/dev/{recipe.name}")
        self._world.modules.request("md_mod")
        array = Array(Disk(recipe.name, 0, "md_mod"), recipe.uuid, recipe.level)
        self.all[recipe.name] = array
        self._world.disks.add(array.disk, {"md": self._attributes(array)})
        return array

    def _run(self, array: Array, recipe: Recipe) -> None:
        if not self._world.modules.request(PERSONALITY[array.level]):
            self.stop(array.disk.name)
            raise refuse(errno.EINVAL, f"/dev/{recipe.name}")
        smallest = min(m.size for m in array.members)
        data = {"0": len(array.members), "1": 1, "10": len(array.members) // 2, "6": len(array.members) - 2}
        array.disk.size = smallest * data.get(array.level, len(array.members) - 1)
        array.running = True
        array.syncing = array.level in _REDUNDANT and not recipe.clean
        if array.syncing:
            self._world.later(lambda: self._synced(array))

    def _synced(self, array: Array) -> None:
        array.syncing = False

    def stop(self, name: str) -> None:
        """STOP_ARRAY. Raises ENODEV, EBUSY while the array is open."""
        array = self.all.get(name)
        if array is None:
            raise refuse(errno.ENODEV, f"/dev/{name}")
        if array.disk.busy:
            raise refuse(errno.EBUSY, f"/dev/{name}")
        for part in array.parts:
            part.release(name)
        array.disk.sys.take("md")
        del self.all[name]
        self._world.later(lambda: self._world.disks.remove(array.disk))

    def make_read_only(self, name: str) -> None:
        """array_state = readonly, and the disk with it."""
        self.all[name].read_only = self.all[name].disk.read_only = True

    def _attributes(self, array: Array) -> Dir:
        values = {
            "array_state": lambda: self._state(array),
            "level": lambda: f"raid{array.level}",
            "degraded": lambda: str(int(array.syncing)),
            "sync_action": lambda: "recover" if array.syncing else "idle",
            "resync_start": lambda: "0" if array.syncing else "none",
            "sync_completed": lambda: "512 / 1024" if array.syncing else "none",
            "uuid": lambda: array.uuid if array.running else "",
        }
        attributes: dict[str, Attr] = {key: Attr(show) for key, show in values.items()}
        attributes["journal_mode"] = Attr(lambda: self._mode(array), lambda text: self._set_mode(array, text))
        if array.level in ("4", "5", "6"):
            attributes["stripe_cache_size"] = Attr(
                lambda: str(array.stripes), lambda text: self._set_stripes(array, text)
            )
        return Dir(attributes)

    def _set_stripes(self, array: Array, text: str) -> None:
        if not text.strip().isdigit() or not 16 < int(text) <= 32768:
            raise refuse(errno.EINVAL)
        array.stripes = int(text)

    def _state(self, array: Array) -> str:
        if not array.running:
            return "inactive" if array.parts else "clear"
        return "readonly" if array.read_only else "clean"

    def _mode(self, array: Array) -> str:
        modes = ("write-through", "write-back")
        return " ".join(f"[{m}]" if m == array.mode else m for m in modes) if array.journal else ""

    def _set_mode(self, array: Array, text: str) -> None:
        # refused while degraded: r5c_journal_mode_set
        if text.strip() not in ("write-through", "write-back") or not array.journal:
            raise refuse(errno.EINVAL)
        if array.syncing and text.strip() == "write-back":
            raise refuse(errno.EINVAL)
        array.mode = text.strip()


def fits_journal(disk: Disk) -> bool:
    """Whether mdadm can put a journal there."""
    return disk.size >= _SMALLEST_JOURNAL
