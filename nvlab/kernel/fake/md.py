# SPDX-License-Identifier: GPL-2.0-or-later
"""MD arrays: superblocks on members, the order in which mdadm makes one, its resync, and its journal mode."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nvlab.kernel.fake.block import Disk
from nvlab.kernel.fake.tree import Attr, Dir, View, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

PERSONALITY = {"0": "raid0", "1": "raid1", "4": "raid456", "5": "raid456", "6": "raid456", "10": "raid10"}
_REDUNDANT = {"1", "4", "5", "6", "10"}
_SPARE_MEMBERS = {"0": 0, "1": 1, "4": 1, "5": 1, "6": 2, "10": 1}  # that may fail, of the smallest array of a level
_SMALLEST_JOURNAL = 4 << 20  # bytes; below it mdadm cannot write its metadata


@dataclass
class Array:
    """One array; ``running`` once RUN_ARRAY succeeded."""

    disk: Disk
    uuid: str
    level: str
    journal: Disk | None = None
    parts: list[Disk] = field(default_factory=list)  # what it holds, the journal first: mdadm adds it first
    slots: list[Disk | None] = field(default_factory=list)  # who has which place; a rebuilt one has it at once
    rebuilding: list[Disk] = field(default_factory=list)
    running: bool = False
    syncing: bool = False
    mode: str = "write-through"
    stripes: int = 256
    read_only: bool = False
    faulty: set[str] = field(default_factory=set)
    journalled: bool = False  # whether it was made with a journal, which it then needs for every write

    @property
    def missing(self) -> int:
        return self.slots.count(None) + int(self.syncing)


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
        self.superblocks: dict[str, tuple[str, int, bool]] = {}  # UUID: level, members, journal, as all parts say
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
        self.superblocks[recipe.uuid] = (recipe.level, len(recipe.members), recipe.journal is not None)
        self._complete(array, recipe)

    def assemble(self, name: str, uuid: str, parts: Sequence[Disk]) -> None:
        """The steps of mdadm's Assemble.c, the journal being the last of the parts. Raises EBUSY, ENODEV (some are missing)."""
        level, members, journalled = self.superblocks[uuid]
        if len(parts) != members + journalled:
            raise refuse(errno.ENODEV, f"/dev/{name}")
        journal = parts[-1] if journalled else None
        recipe = Recipe(name, uuid, level, parts[:members], journal, clean=journalled)
        array = self._announce(recipe)
        self._world.tick("mdadm --assemble: the array object is there")
        for part in parts:
            part.take(name)
            array.parts.append(part)
            self._world.tick(f"mdadm --assemble: {part.name} is in")
        self._complete(array, recipe)

    def _complete(self, array: Array, recipe: Recipe) -> None:
        array.slots, array.journal = list(recipe.members), recipe.journal
        array.journalled = recipe.journal is not None
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
        smallest = min(m.size for m in recipe.members)
        data = {"0": len(recipe.members), "1": 1, "10": len(recipe.members) // 2, "6": len(recipe.members) - 2}
        array.disk.size = smallest * data.get(array.level, len(recipe.members) - 1)
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

    def fail(self, name: str, disk: Disk) -> None:
        """SET_DISK_FAULTY: its place is empty from now on; a spare that is there takes it. Raises ENODEV, EBUSY (too many)."""
        array = self._holding(name, disk)
        if disk in array.slots:
            if array.slots.count(None) + 1 > _SPARE_MEMBERS[array.level]:
                raise refuse(errno.EBUSY, f"/dev/{disk.name}")
            array.slots[array.slots.index(disk)] = None
            array.mode = "write-through"  # raid5: "Disabling writeback cache for degraded array."
        array.faulty.add(disk.name)
        if disk in array.rebuilding:
            array.rebuilding.remove(disk)
        self._recover(array)

    def remove(self, name: str, disk: Disk) -> None:
        """HOT_REMOVE_DISK. Raises ENXIO, EBUSY while it has a place."""
        array = self._holding(name, disk)
        if disk in array.slots:
            raise refuse(errno.EBUSY, f"/dev/{disk.name}")
        array.faulty.discard(disk.name)
        array.parts.remove(disk)
        array.journal = None if array.journal is disk else array.journal
        disk.release(name)

    def add(self, name: str, disk: Disk) -> None:
        """ADD_NEW_DISK, after mdadm has written a superblock: a spare, which takes an empty place."""
        array = self.all[name]
        disk.marks["md"] = array.uuid
        self._world.tick(f"mdadm --add: superblock on {disk.name}")
        disk.take(name)
        array.parts.append(disk)
        self._recover(array)

    def add_journal(self, name: str, disk: Disk) -> None:
        """A journal for an array that had one; mdadm makes the array writable again. Raises EBUSY."""
        array = self.all[name]
        if not array.read_only or not array.journalled or array.journal:
            raise refuse(errno.EBUSY, f"/dev/{name}")
        disk.marks["md"] = array.uuid
        self._world.tick(f"mdadm --add-journal: superblock on {disk.name}")
        disk.take(name)
        array.parts.append(disk)
        array.journal, array.mode = disk, "write-through"
        self._world.tick(f"mdadm --add-journal: {disk.name} is in, the array read-only")
        array.read_only = array.disk.read_only = False

    def replace(self, name: str, disk: Disk, spare: Disk) -> None:
        """Copy a member onto a spare; then it counts as failed."""
        array = self._holding(name, disk)
        if disk not in array.slots or spare not in array.parts or spare in (*array.slots, *array.rebuilding):
            raise refuse(errno.EINVAL, f"/dev/{disk.name}")
        array.rebuilding.append(spare)

        def copied() -> None:
            if spare in array.rebuilding and disk in array.slots:
                array.rebuilding.remove(spare)
                array.slots[array.slots.index(disk)] = spare
                array.faulty.add(disk.name)

        self._world.later(copied)

    def _holding(self, name: str, disk: Disk) -> Array:
        array = self.all[name]
        if disk not in array.parts:
            raise refuse(errno.ENXIO, f"/dev/{disk.name}")
        return array

    def _recover(self, array: Array) -> None:
        """Rebuild onto a spare, if a place is empty and there is one."""
        busy = [*array.slots, *array.rebuilding, array.journal]
        spare = next((part for part in array.parts if part not in busy and part.name not in array.faulty), None)
        if spare is None or array.slots.count(None) <= len(array.rebuilding):
            return
        array.rebuilding.append(spare)

        def rebuilt() -> None:
            if spare in array.rebuilding and None in array.slots:
                array.rebuilding.remove(spare)
                array.slots[array.slots.index(None)] = spare
                self._recover(array)

        self._world.later(rebuilt)

    def make_read_only(self, name: str) -> None:
        """array_state = readonly, and the disk with it. Raises EBUSY while anybody has the array open."""
        if self.all[name].disk.busy:
            raise refuse(errno.EBUSY, f"/dev/{name}")
        self.all[name].read_only = self.all[name].disk.read_only = True

    def _attributes(self, array: Array) -> Dir:
        values = {
            "array_state": lambda: self._state(array),
            "level": lambda: f"raid{array.level}",
            "degraded": lambda: str(array.missing),
            "sync_action": lambda: "recover" if array.syncing or array.rebuilding else "idle",
            "resync_start": lambda: "0" if array.syncing else "none",
            "sync_completed": lambda: "512 / 1024" if array.syncing or array.rebuilding else "none",
            "consistency_policy": lambda: "journal" if array.journalled else "resync" if array.level in _REDUNDANT else "none",
            "uuid": lambda: array.uuid if array.running else "",
        }
        attributes: dict[str, Attr] = {key: Attr(show) for key, show in values.items()}
        attributes["journal_mode"] = Attr(lambda: self._mode(array), lambda text: self._set_mode(array, text))
        if array.level in ("4", "5", "6"):
            attributes["stripe_cache_size"] = Attr(
                lambda: str(array.stripes), lambda text: self._set_stripes(array, text)
            )
        return View(lambda: {**attributes, **{f"dev-{p.name}": Dir({"state": Attr(_state(array, p))}) for p in array.parts}})

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
        return " ".join(f"[{m}]" if m == array.mode else m for m in modes) if _has_journal(array) else ""

    def _set_mode(self, array: Array, text: str) -> None:
        # refused while degraded: r5c_journal_mode_set
        if text.strip() not in ("write-through", "write-back") or not _has_journal(array):
            raise refuse(errno.EINVAL)
        if array.missing and text.strip() == "write-back":
            raise refuse(errno.EINVAL)
        array.mode = text.strip()


def _has_journal(array: Array) -> bool:
    return array.journal is not None and array.journal.name not in array.faulty


def _state(array: Array, part: Disk) -> str:
    if part.name in array.faulty:
        return "faulty,journal" if part is array.journal else "faulty"
    if part is array.journal:
        return "journal"
    return "in_sync" if part in array.slots else "spare"


def fits_journal(disk: Disk) -> bool:
    """Whether mdadm can put a journal there."""
    return disk.size >= _SMALLEST_JOURNAL
