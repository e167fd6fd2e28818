# SPDX-License-Identifier: GPL-2.0-or-later
"""mdadm, as far as nvlab runs it (4.2's words and exit codes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nvlab.kernel.fake.argv import Exit, Words, read
from nvlab.kernel.fake.block import Disk
from nvlab.kernel.fake.md import Recipe, fits_journal

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

_VALUES = (
    "--metadata",
    "--homehost",
    "--name",
    "--uuid",
    "--level",
    "--raid-devices",
    "--bitmap",
    "--chunk",
    "--write-journal",
)
_MANAGE = ("--fail", "--remove", "--add", "--add-journal", "--replace", "--with")


def mdadm(world: World, argv: Sequence[str]) -> str:
    """Dispatch on the mode."""
    modes = {
        "--create": _create,
        "--assemble": _assemble,
        "--detail": _detail,
        "--examine": _examine,
        "--stop": _stop,
        "--zero-superblock": _zero,
        "--readonly": _read_only,
        "--manage": _manage,
    }
    words = read(argv, flags=(*modes, "--run", "--export", "--assume-clean"), values=(*_VALUES, *_MANAGE))
    (mode,) = words.flags & set(modes)
    return modes[mode](world, words)


def _disk(world: World, path: str) -> Disk:
    try:
        return world.disks.at(path)
    except OSError as error:
        raise Exit(1, f"mdadm: cannot open {path}: {error.strerror}") from None


def _create(world: World, words: Words) -> str:
    node, *members = words.rest
    level = words.values["--level"]
    journal = words.values.get("--write-journal")
    if journal and level not in ("4", "5", "6"):
        raise Exit(2, "mdadm: --write-journal is only supported for RAID level 4/5/6.")
    if len(members) != int(words.values["--raid-devices"]):
        raise Exit(2, f"mdadm: You have listed {len(members)} devices, which is not the number of raid devices")
    parts = [_free(world, m) for m in members]
    log = _free(world, journal) if journal else None
    if log and not fits_journal(log):
        raise Exit(1, f"mdadm: {journal} is not suitable for this array.\nmdadm: create aborted")
    clean = "--assume-clean" in words.flags
    recipe = Recipe(node.rpartition("/")[2], words.values["--uuid"], level, parts, log, clean)
    try:
        world.arrays.create(recipe)
    except OSError as error:
        raise Exit(1, f"mdadm: cannot create {node}: {error.strerror}") from None
    return ""


def _assemble(world: World, words: Words) -> str:
    node, *paths = words.rest
    uuid = words.values["--uuid"]
    parts = [_free(world, path) for path in paths]
    for part in parts:
        if part.marks.get("md") != uuid:
            raise Exit(1, f"mdadm: no RAID superblock on /dev/{part.name}\nmdadm: it has no superblock - assembly aborted")
    try:
        world.arrays.assemble(node.rpartition("/")[2], uuid, parts)
    except OSError as error:
        raise Exit(1, f"mdadm: failed to RUN_ARRAY {node}: {error.strerror}") from None
    return ""


def _free(world: World, path: str) -> Disk:
    disk = _disk(world, path)
    if disk.claimed():
        raise Exit(1, f"mdadm: cannot open {path}: Device or resource busy")
    return disk


def _detail(world: World, words: Words) -> str:
    (node,) = words.rest
    array = world.arrays.all.get(_disk(world, node).name)
    if array is None:
        raise Exit(1, f"mdadm: {node} does not appear to be an md device")
    if not array.parts:  # it has no superblock to read the UUID from yet
        return ""
    return f"MD_LEVEL=raid{array.level}\nMD_DEVICES={len(array.parts)}\nMD_METADATA=1.2\nMD_UUID={array.uuid}\n"


def _examine(world: World, words: Words) -> str:
    (node,) = words.rest
    disk = _disk(world, node)
    if "md" not in disk.marks:
        raise Exit(1, f"mdadm: No md superblock detected on {node}.")
    return f"MD_METADATA=1.2\nMD_UUID={disk.marks['md']}\n"


def _stop(world: World, words: Words) -> str:
    for node in words.rest:
        try:
            world.arrays.stop(_disk(world, node).name)
        except OSError as error:
            raise Exit(1, f"mdadm: Cannot get exclusive access to {node}: {error.strerror}") from None
    return ""


def _read_only(world: World, words: Words) -> str:
    for node in words.rest:
        try:
            world.arrays.make_read_only(_disk(world, node).name)
        except OSError as error:
            raise Exit(1, f"mdadm: failed to set readonly for {node}: {error.strerror}") from None
    return ""


def _manage(world: World, words: Words) -> str:
    """One change to one array (Manage.c)."""
    (node,) = words.rest
    name = _disk(world, node).name
    named = {option: _disk(world, words.values[option]) for option in _MANAGE if option in words.values}
    arrays = world.arrays
    try:
        match named:
            case {"--replace": disk, "--with": spare}:
                arrays.replace(name, disk, spare)
            case {"--fail": disk}:
                arrays.fail(name, disk)
            case {"--remove": disk}:
                arrays.remove(name, disk)
            case {"--add-journal": disk}:
                arrays.add_journal(name, _free(world, f"/dev/{disk.name}"))
            case {"--add": disk}:
                arrays.add(name, _free(world, f"/dev/{disk.name}"))
    except OSError as error:
        raise Exit(2 if "--fail" in named else 1, f"mdadm: {node}: {error.strerror}") from None
    return ""


def _zero(world: World, words: Words) -> str:
    for node in words.rest:
        disk = _disk(world, node)
        if disk.claimed():
            raise Exit(2, f"mdadm: Couldn't open {node} for write - not zeroing")
        disk.marks.pop("md", None)  # a blank one is "Unrecognised", with exit code 0 all the same
        world.tick(f"mdadm --zero-superblock: {node} is blank")
    return ""
