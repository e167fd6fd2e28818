# SPDX-License-Identifier: GPL-2.0-or-later
"""losetup, dmsetup, sgdisk, partx, mkfs, blkid, wipefs, mount and umount, as far as nvlab runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nvlab.kernel.fake.argv import Exit, read
from nvlab.kernel.fake.block import Disk

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World


UNMARKED, ENDMARK = "data", "data at the end"  # marks for what blkid does not recognise


def _disk(world: World, program: str, path: str) -> Disk:
    try:
        return world.disks.at(path)
    except OSError as error:
        raise Exit(2, f"{program}: {path}: {error.strerror}") from None


def _call(program: str, code: int, act: Callable[[], object]) -> None:
    try:
        act()
    except OSError as error:
        raise Exit(code, f"{program}: {error.filename or ''}: {error.strerror}") from None


def losetup(world: World, argv: Sequence[str]) -> str:
    words = read(argv, flags=("--find", "--detach"))
    (path,) = words.rest
    if "--find" in words.flags:
        _call("losetup", 1, lambda: world.loops.attach(path))
    else:
        _call("losetup", 1, lambda: world.loops.detach(path.rpartition("/")[2]))
    return ""


def dd(world: World, argv: Sequence[str]) -> str:
    """Copies into the state of a virtual device; what is in it is up to the core."""
    words = dict(word.partition("=")[::2] for word in argv[1:])
    if not world.tree.find(words["of"]):
        raise Exit(1, f"dd: failed to open '{words['of']}': No such file or directory")
    return ""


def dmsetup(world: World, argv: Sequence[str]) -> str:
    words = read(argv, flags=("--retry",), values=("--uuid", "--table"))
    verb, name = words.rest
    if verb == "create":
        uuid, table = words.values["--uuid"], words.values["--table"]
        _call(f"device-mapper: create ioctl on {name} failed", 1, lambda: world.mapper.create(name, uuid, table))
    elif verb == "reload":
        _call(f"device-mapper: reload ioctl on {name} failed", 1, lambda: world.mapper.reload(name, words.values["--table"]))
    elif verb == "resume":
        _call(f"device-mapper: resume ioctl on {name} failed", 1, lambda: world.mapper.resume(name))
    elif verb == "remove":
        _call(f"device-mapper: remove ioctl on {name} failed", 1, lambda: world.mapper.remove(name))
    elif verb != "info":
        raise AssertionError(f"the fake dmsetup does not know {verb}")
    elif name not in world.mapper.all:
        raise Exit(1, f"Device {name} not found")
    return ""


def sgdisk(world: World, argv: Sequence[str]) -> str:
    words = read(argv, flags=("--print", "--zap-all"), values=("--disk-guid", "--new", "--partition-guid"))
    (path,) = words.rest
    disk = _disk(world, "sgdisk", path)
    if "--print" in words.flags:
        return f"Disk identifier (GUID): {disk.marks.get('gpt', 'RANDOM')}\n"
    if "--zap-all" in words.flags:
        disk.marks.pop("gpt", None)
        world.tick("sgdisk --zap-all: the table is gone, the kernel has not read it again")
        _reread(world, disk)
        return ""
    disk.marks["gpt"] = words.values["--disk-guid"].upper()
    world.tick("sgdisk: the table is written, the kernel has not read it")
    _reread(world, disk)
    return ""


def _reread(world: World, disk: Disk) -> None:
    """BLKRRPART: all or nothing, and nothing while a partition is open."""
    if any(p.busy for p in disk.parts):
        return
    for part in list(disk.parts):
        world.disks.drop_part(part)
    if "gpt" in disk.marks:
        world.disks.add_part(disk, 1)


def partx(world: World, argv: Sequence[str]) -> str:
    words = read(argv, flags=("--update", "--delete"))
    disk = _disk(world, "partx", words.rest[0])
    if "--delete" in words.flags:
        if not disk.parts:
            raise Exit(1, f"partx: {words.rest[0]}: failed to read partition table")
        for part in list(disk.parts):
            _call("partx: error deleting partition", 1, lambda p=part: world.disks.drop_part(p))  # type: ignore[misc]
        return ""
    _reread(world, disk)
    return ""


def mkfs(world: World, argv: Sequence[str]) -> str:
    kind = argv[0].rpartition(".")[2]
    words = read(argv, flags=("-q",), values=("-E", "-U", "-m"))
    disk = _disk(world, argv[0], words.rest[0])
    if disk.claimed():
        raise Exit(1, f"{words.rest[0]} is apparently in use by the system; will not make a filesystem here!")
    if kind == "xfs" and disk.marks:
        raise Exit(1, f"mkfs.xfs: {words.rest[0]} appears to contain an existing signature")
    disk.marks.clear()
    world.tick(f"{argv[0]}: half of the metadata is written")
    disk.marks[kind] = words.values.get("-U") or words.values["-m"].removeprefix("uuid=")
    return ""


def cmp(world: World, argv: Sequence[str]) -> str:
    """Whether the start, or the end, of a disk is all zeros."""
    words = read(argv, flags=("--silent",), values=("--bytes", "--ignore-initial"))
    path, zeros = words.rest
    assert zeros == "/dev/zero"
    start = words.values["--ignore-initial"] == "0:0"
    if any((kind != ENDMARK) == start for kind in _disk(world, "cmp", path).marks):
        raise Exit(1)
    return ""


def blkid(world: World, argv: Sequence[str]) -> str:
    words = read(argv, flags=("--probe",), values=("--output", "--match-tag"))
    disk = _disk(world, "blkid", words.rest[0])
    marks = {kind: mark for kind, mark in disk.marks.items() if kind not in (UNMARKED, ENDMARK)}
    found = next((mark for kind, mark in marks.items() if kind != "gpt"), "")
    if not marks or (words.values.get("--match-tag") == "UUID" and not found):
        raise Exit(2)
    if words.values["--output"] == "value":
        kinds = [kind for kind in marks if kind != "gpt"]
        return f"{kinds[0] if words.values.get('--match-tag') == 'TYPE' else found}\n"
    return "".join(f"TYPE={kind}\nUUID={mark}\n" for kind, mark in marks.items())


def wipefs(world: World, argv: Sequence[str]) -> str:
    words = read(argv, flags=("--all", "--quiet"))
    disk = _disk(world, "wipefs", words.rest[0])
    if disk.claimed():
        raise Exit(1, f"wipefs: error: {words.rest[0]}: probing initialization failed: Device or resource busy")
    disk.marks.clear()
    return ""


def mount(world: World, argv: Sequence[str]) -> str:
    words = read(argv, values=("-t", "-o"))
    source, path = words.rest
    _call(f"mount: {path}", 32, lambda: world.mounts.mount(words.values["-t"], source, path))
    return ""


def umount(world: World, argv: Sequence[str]) -> str:
    (path,) = read(argv).rest
    _call(f"umount: {path}", 32, lambda: world.mounts.unmount(path))
    return ""
