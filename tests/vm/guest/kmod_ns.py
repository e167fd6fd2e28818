# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces: by configfs, by Namespace Management, attached, formatted; the pool; many devices at once."""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import struct
import time
from pathlib import Path
from typing import Any

from kmod_common import (
    CONFIGFS,
    check,
    controller,
    equal,
    errno_of,
    fio,
    fio_beside,
    load,
    main,
    make,
    page_buffer,
    parser,
    passthru,
    pci,
    read,
    size,
    stats,
    unload,
    wait_for,
    write,
)
from kmod_kv import Store, generic

MIB = 1 << 20
LIVE = ("power", "hold", "temperature", "read_delay", "read_time", "write_delay", "write_time", "nr_io_units", "io_unit_shift")
ALL = 0xFFFFFFFF
IDENTIFY, GET_LOG, MANAGE, ATTACH, FORMAT = 6, 2, 0x0D, 0x15, 0x80
READ, WRITE = 2, 1
FIELD, INVALID_NS, PENDING = 0x4002, 0x400B, 0
BAD_FORMAT, NO_CAPACITY, NO_NSID = 0x410A, 0x4115, 0x4116
ATTACHED, NOT_ATTACHED, THIN, BAD_LIST = 0x4118, 0x411A, 0x411B, 0x411C


def unmade(path: Path) -> None:
    """Remove a device, and the namespaces asked for."""
    for space in (path / "namespaces").iterdir():
        space.rmdir()
    path.rmdir()


class Subsystem:
    """A controller, opened, and what it says of its namespaces."""

    def __init__(self, device: Path) -> None:
        self.device = device
        self.path = controller(device)
        self.fd = os.open(f"/dev/{self.path.name}", os.O_RDWR)
        self.page = page_buffer()

    def admin(self, opcode: int, data: Any = None, **kw: int) -> tuple[int, int]:
        return passthru(self.fd, opcode=opcode, data=data, **kw)

    def identify(self, cns: int, nsid: int = 0) -> bytes:
        equal(f"identify {cns:#x}, {nsid}", self.admin(IDENTIFY, self.page, cdw10=cns, nsid=nsid)[0], 0)
        return bytes(self.page.raw)

    def listed(self, cns: int) -> list[int]:
        return [n for n in struct.unpack("<1024I", self.identify(cns)) if n]

    def unallocated(self) -> int:
        return int(struct.unpack_from("<Q", self.identify(1), 296)[0])

    def capacity(self, nsid: int) -> tuple[int, int]:
        """Blocks, and bytes of a block."""
        raw = self.identify(0x11, nsid)
        return struct.unpack_from("<Q", raw)[0], 1 << raw[130 + 4 * (raw[26] & 15)]

    def create(self, blocks: int, fmt: int = 0, **bad: int) -> tuple[int, int]:
        raw = bytearray(4096)
        struct.pack_into("<QQ", raw, 0, blocks, bad.get("ncap", blocks))
        raw[26], raw[29], raw[30] = fmt, bad.get("dps", 0), bad.get("nmic", 0)
        ctypes.memmove(self.page, bytes(raw), 4096)
        return self.admin(MANAGE, self.page, cdw10=0, nsid=bad.get("nsid", 0), cdw11=bad.get("csi", 0) << 24)

    def delete(self, nsid: int) -> int:
        return self.admin(MANAGE, None, cdw10=1, nsid=nsid)[0]

    def attach(self, nsid: int, *controllers: int, select: int = 0, count: int | None = None) -> int:
        many = len(controllers) if count is None else count
        raw = struct.pack(f"<H{len(controllers)}H", many, *controllers)
        ctypes.memmove(self.page, raw.ljust(4096, b"\0"), 4096)
        return self.admin(ATTACH, self.page, cdw10=select, nsid=nsid)[0]

    def disk(self, nsid: int) -> Path:
        """/dev node of a namespace, once it is there."""
        def found() -> Path | None:
            for path in self.path.glob("nvme*n*"):
                if (path / "nsid").exists() and read(path / "nsid") == str(nsid) and int(read(path / "size")):
                    return Path("/dev") / path.name if (Path("/dev") / path.name).exists() else None
            return None

        return wait_for(f"namespace {nsid}", found)

    def gone(self, nsid: int) -> bool:
        """Whether the node of a namespace goes away."""
        def missing() -> bool:
            return all(read(p / "nsid") != str(nsid) for p in self.path.glob("nvme*n*") if (p / "nsid").exists())

        return bool(wait_for(f"namespace {nsid} to go", missing))


def pattern(node: Path, byte: int | None = None, length: int = 64 << 10) -> bytes:
    """Write one byte all over the beginning of a disk, or read it, past the page cache."""
    import mmap

    buffer = mmap.mmap(-1, length)
    fd = os.open(node, os.O_RDWR | os.O_DIRECT)
    try:
        if byte is None:
            os.preadv(fd, [buffer], 0)
        else:
            buffer[:] = bytes([byte]) * length
            os.pwritev(fd, [buffer], 0)
    finally:
        os.close(fd)
    return bytes(buffer)


def configured(args: argparse.Namespace) -> Path:
    """Namespaces asked for in configfs."""
    device = make("d0", memmap_start=args.start, memmap_size="129M", cpus=args.cpus, queues=3, entries=64, mdts=3,
                  firmware="FW-7", temperature=301)
    spaces = device / "namespaces"
    for name in ("0", "33", "x", "-1"):
        equal(f"no namespace {name}", errno_of((spaces / name).mkdir), errno.EINVAL)
    for nsid, attributes in {1: {"size": "32M"}, 2: {"size": "16M", "block_size": 4096}, 7: {"attached": 0},
                             9: {"size": "1000K"}}.items():
        (spaces / str(nsid)).mkdir()
        for key, value in attributes.items():
            equal(f"namespace {nsid}: {key}", write(spaces / str(nsid) / key, value), 0)
    equal("the same in other words", errno_of((spaces / "07").mkdir), errno.EEXIST)
    equal("no such block size", write(spaces / "1" / "block_size", 1024), errno.EINVAL)
    for name, value, want in (("queues", 257, errno.ERANGE), ("entries", 1, errno.ERANGE), ("mdts", 9, errno.ERANGE),
                              ("firmware", "123456789", errno.ENAMETOOLONG), ("entries", "x", errno.EINVAL)):
        equal(f"{name} = {value}", write(device / name, value), want)
    equal("power", write(device / "power", 1), 0)
    equal("no more while on", errno_of((spaces / "3").mkdir), errno.EBUSY)
    for name in ("queues", "entries", "mdts", "firmware"):
        equal(f"{name} is busy", write(device / name, 4), errno.EBUSY)
    equal("may change while on", unchanged(device), dict.fromkeys(LIVE, 0))
    equal("nor those of a namespace", unchanged(spaces / "1"), {})
    return device


def unchanged(directory: Path) -> dict[str, int]:
    """Write to each attribute what it says: the outcomes, but for those that are busy."""
    attributes = [path for path in directory.iterdir() if path.is_file() and path.stat().st_mode & 0o600 == 0o600]
    check(f"attributes of {directory.name}", len(attributes) > 2, names=sorted(path.name for path in attributes))
    outcomes = {path.name: write(path, f"{read(path)}\n") for path in attributes}
    return {name: code for name, code in outcomes.items() if code != errno.EBUSY}


def presented(device: Path) -> Subsystem:
    """They are there, as asked for, each with its own content."""
    s = Subsystem(device)
    equal("active", s.listed(2), [1, 2, 9])
    equal("allocated", s.listed(0x10), [1, 2, 7, 9])
    equal("sizes", [s.capacity(n) for n in (1, 2, 7, 9)],
          [(65536, 512), (4096, 4096), ((128 - 32 - 16 - 2) * 2048, 512), (2000, 512)])
    equal("nothing left", s.unallocated(), 0)
    ctrl = s.identify(1)
    equal("firmware revision", ctrl[64:72], b"FW-7    ")
    equal("MDTS and MAXCMD", (ctrl[77], struct.unpack_from("<H", ctrl, 514)[0]), (3, 64))
    equal("queues", s.admin(0x0A, cdw10=7)[1], 2 << 16 | 2)
    nodes = {n: s.disk(n) for n in (1, 2, 9)}
    for nsid, node in nodes.items():
        pattern(node, 0xA0 + nsid)
    for nsid, node in nodes.items():
        equal(f"content of {nsid}", set(pattern(node)), {0xA0 + nsid})
        equal(f"transfer limit of {nsid}", read(Path(f"/sys/block/{node.name}/queue/max_hw_sectors_kb")), "32")
    ids = {read(Path(f"/sys/block/{node.name}/wwid")) for node in nodes.values()}
    equal("each has a name of its own", len(ids), 3)
    done = fio(nodes[1], "--rw=randwrite", "--bs=4k", "--iodepth=16", "--size=8M", "--verify=crc32c", "--verify_fatal=1")
    check("fio verifies beside the others", done.returncode == 0, err=done.stderr[-300:])
    equal("which did not notice", [set(pattern(nodes[n])) for n in (2, 9)], [{0xA2}, {0xA9}])
    return s


def managed(s: Subsystem) -> None:
    """Delete, create, attach and detach while the others work."""
    equal("delete 7", s.delete(7), 0)
    equal("what it had is free", s.unallocated(), 78 * MIB)
    status, nsid = s.create(20480, 0)
    equal("create, the lowest number", (status, nsid), (0, 3))
    equal("it is no disk yet", s.listed(2), [1, 2, 9])
    equal("attach", s.attach(3, 1), 0)
    # without being asked to rescan: the driver reads which namespace the event is about
    node = s.disk(3)
    equal("it reads as zeros", set(pattern(node)), {0})
    pattern(node, 0xA3)
    first = read(Path(f"/sys/block/{node.name}/wwid"))
    equal("attach twice", s.attach(3, 1), ATTACHED)
    equal("detach", s.attach(3, 1, select=1), 0)
    check("it goes away", s.gone(3))
    equal("detach twice", s.attach(3, 1, select=1), NOT_ATTACHED)
    equal("attach again", s.attach(3, 1), 0)
    equal("with its data", set(pattern(s.disk(3))), {0xA3})
    equal("delete it attached", s.delete(3), 0)
    check("it goes away too", s.gone(3))
    equal("create it again", (s.create(20480, 0), s.attach(3, 1)), ((0, 3), 0))
    equal("without data", set(pattern(s.disk(3))), {0})
    check("and with another name", read(Path(f"/sys/block/{s.disk(3).name}/wwid")) != first)


def refusals(s: Subsystem) -> None:
    """Every wrong field of management and attachment."""
    for name, got, want in (
        ("too large", s.create(1 << 40)[0], NO_CAPACITY), ("nothing", s.create(0)[0], FIELD),
        ("thin", s.create(2048, ncap=1024)[0], THIN), ("format 2", s.create(2048, 2)[0], BAD_FORMAT),
        ("protection", s.create(2048, dps=1)[0], BAD_FORMAT), ("with an NSID", s.create(2048, nsid=5)[0], FIELD),
        ("NMIC", s.create(2048, nmic=2)[0], FIELD), ("command set 1", s.create(2048, csi=1)[0], FIELD),
        ("select", s.admin(MANAGE, s.page, cdw10=2)[0], FIELD), ("delete 0", s.delete(0), INVALID_NS),
        ("delete 33", s.delete(33), INVALID_NS), ("delete what is not there", s.delete(20), FIELD),
        ("attach 0", s.attach(0, 1), INVALID_NS), ("attach what is not there", s.attach(20, 1), FIELD),
        ("attach to nobody", s.attach(1), BAD_LIST), ("attach to another", s.attach(1, 2), BAD_LIST),
        ("attach twice in a list", s.attach(1, 1, 1), BAD_LIST), ("too many", s.attach(1, 1, count=2048), BAD_LIST),
        ("attach, select", s.attach(1, 1, select=2), FIELD),
    ):
        equal(f"refused: {name}", got, want)
    numbers = [s.create(8, 0) for _ in range(28)]
    equal("32 namespaces", (sorted(n for _, n in numbers), {st for st, _ in numbers}), ([4, 5, 6, 7, 8, *range(10, 33)], {0}))
    equal("no more", s.create(8, 0)[0], NO_NSID)
    equal("all allocated", s.listed(0x10), list(range(1, 33)))
    for _, nsid in numbers:
        s.delete(nsid)
    equal("deleted", s.listed(0x10), [1, 2, 3, 9])


def formats(s: Subsystem) -> None:
    """Format one, to the other block size and back; what is refused; all at once."""
    pattern(s.disk(1), 0x5A)
    for lbaf, blocks, length in ((1, 8192, 4096), (0, 65536, 512)):
        equal(f"format {lbaf}", s.admin(FORMAT, cdw10=lbaf, nsid=1)[0], 0)
        equal("capacity", s.capacity(1), (blocks, length))
        node = s.disk(1)
        size_of = Path(f"/sys/block/{node.name}/queue/logical_block_size")
        wait_for(f"blocks of {length}", lambda f=size_of, want=str(length): read(f) == want)
        equal("no data", set(pattern(node)), {0})
        pattern(node, 0x5B)
    equal("the others have theirs", set(pattern(s.disk(9))), {0xA9})
    for name, kw, want in (
        ("format 2", {"cdw10": 2, "nsid": 1}, BAD_FORMAT), ("protection", {"cdw10": 1 << 5, "nsid": 1}, BAD_FORMAT),
        ("crypto erase", {"cdw10": 2 << 9, "nsid": 1}, FIELD), ("NSID 0", {}, INVALID_NS), ("NSID 33", {"nsid": 33}, INVALID_NS),
        ("inactive", {"nsid": 20}, FIELD),
    ):
        equal(f"refused: {name}", s.admin(FORMAT, **kw)[0], want)
    equal("format all, erased", s.admin(FORMAT, cdw10=1 << 9, nsid=ALL)[0], 0)
    for nsid in (1, 2, 9):
        node = s.disk(nsid)
        wait_for("blocks of 512", lambda n=node: read(Path(f"/sys/block/{n.name}/queue/logical_block_size")) == "512")
        equal(f"no data in {nsid}", set(pattern(node)), {0})
    equal("delete all", s.delete(ALL), 0)
    equal("none", (s.listed(2), s.listed(0x10), s.unallocated()), ([], [], 128 * MIB))


def cycles(s: Subsystem) -> None:
    """Power off and on: as configured; the life of the device goes on."""
    equal("off", write(s.device / "power", 0), 0)
    os.close(s.fd)
    equal("on", write(s.device / "power", 1), 0)
    s = Subsystem(s.device)
    equal("as configured", s.listed(0x10), [1, 2, 7, 9])
    equal("a new device reads zeros", set(pattern(s.disk(1))), {0})
    s.admin(GET_LOG, s.page, nsid=ALL, cdw10=127 << 16 | 2)
    equal("power cycles, none unsafe", struct.unpack_from("<QQQQQ", s.page.raw, 112)[::4], (2, 0))
    equal("off", write(s.device / "power", 0), 0)
    os.close(s.fd)
    equal("too large", write(s.device / "namespaces" / "1" / "size", "200M"), 0)
    equal("does not fit", write(s.device / "power", 1), errno.ENOSPC)


# of 20 MiB of storage
SMALL_SSD = {"channels": 2, "dies": 2, "planes": 1, "page_size": 4096, "cell_bits": 1, "program_pages": 1}
SMALL_ZNS = {**SMALL_SSD, "zone_size": 2048, "zone_capacity": 1024, "zone_conventional": 4, "zone_max_active": 4,
             "zone_max_open": 4}
SMALL_KV = {**SMALL_SSD, "kv_value": 64, "kv_keys": 100, "buffer": 256, "spare": 100}
ZNS, KV = 7, 8  # of the devices of the pool; the others are plain, SSD and disk in turn
REMOVED = (3, 17, 4, 23, 0)
BUSY = ((6, 2), (10, 1))  # devices that are written while others come and go, and their namespaces


def pooled(n: int) -> Path:
    """The nth device: of its kind, with two namespaces (one of keys)."""
    kind = {ZNS: "zns", KV: "kv"}.get(n, ("nvm", "ssd", "hdd")[n % 3])
    medium = {"zns": SMALL_ZNS, "kv": SMALL_KV, "ssd": SMALL_SSD}.get(kind, {})
    device = make(f"p{n}", memmap_size="21M", cpus=str(n % 4), kind=kind, block_size=4096,
                  **{f"medium/{name}": value for name, value in medium.items()})
    if kind not in ("zns", "kv"):  # whose namespaces the medium says
        for nsid in (1, 2):
            (device / "namespaces" / str(nsid)).mkdir()
        equal(f"{device.name}: size", write(device / "namespaces/1/size", "8M"), 0)
    return device


def gone(device: Path) -> None:
    """Remove one, and see it gone."""
    function = pci(device)
    unmade(device)
    check(f"{device.name} is gone", not function.exists() and not device.exists())


class Contents:
    """What each device of the pool was given, and whether it still has it."""

    def __init__(self, devices: list[Path]) -> None:
        self.spaces = {}
        for n, device in enumerate(devices):
            if n == KV:
                with Store(generic(device)) as store:
                    store.store(b"key", bytes([n]) * 9000)
                continue
            s = Subsystem(device)
            for nsid in (1, 2):
                node = self.spaces[n, nsid] = s.disk(nsid)
                pattern(node, 10 * n + nsid)
            os.close(s.fd)
        self.keys = devices[KV]

    def verify(self, when: str, skip: tuple[tuple[int, int], ...] = ()) -> None:
        """All that is still there."""
        there = {key: node for key, node in self.spaces.items() if key[0] not in REMOVED and key not in skip}
        wrong = [key for key, node in there.items() if set(pattern(node)) != {10 * key[0] + key[1]}]
        equal(f"{when}: namespaces that changed", (wrong, len(there)), ([], 2 * (23 - len(REMOVED)) - len(skip)))
        with Store(generic(self.keys)) as store:
            equal(f"{when}: the value", store.retrieve(b"key"), bytes([KV]) * 9000)


def pools(args: argparse.Namespace) -> None:
    """24 devices of all kinds out of the pool, made and removed in any order while others work."""
    equal("no pool", ((CONFIGFS / "pool").read_text(), (CONFIGFS / "free").read_text()), ("\n", ""))
    place = f"{size(args.start) >> 20}M"
    for text, want in ((f"513M${place}", 0), ("513M", errno.EINVAL), ("1M$1G", errno.ENOSPC), ("64M$1G", errno.EFAULT)):
        equal(f"pool {text}", write(CONFIGFS / "pool", text), want)
    equal("it is free", (CONFIGFS / "free").read_text(), f"513M${place}\n")
    devices = [pooled(n) for n in range(24)]
    for device in devices:
        equal(f"{device.name}: power", write(device / "power", 1), 0)
    starts = [int(read(device / "memmap_start")) for device in devices]
    equal("one after the other", starts, [size(args.start) + n * 21 * MIB for n in range(24)])
    equal("9 MiB are left", (CONFIGFS / "free").read_text(), f"9M${(size(args.start) >> 20) + 24 * 21}M\n")
    contents = Contents(devices)
    contents.verify("at first")
    equal("no room", write(make("p24", memmap_size="21M") / "power", 1), errno.ENOSPC)
    (CONFIGFS / "p24").rmdir()
    large = replaced(devices, [contents.spaces[key] for key in BUSY], starts[3])
    contents.verify("afterwards", skip=BUSY)
    for device in (large, *(devices[n] for n in range(24) if n not in REMOVED)):
        gone(device)
    equal("all is free", (CONFIGFS / "free").read_text(), f"513M${place}\n")


def replaced(devices: list[Path], busy: list[Path], start: int) -> Path:
    """Five are removed, and a large one comes where two of them were, while fio works on others."""
    job = ("--rw=randwrite", "--bs=4k", "--iodepth=8", "--size=4M", "--verify=crc32c", "--verify_fatal=1")
    written = [devices[n] for n, _ in BUSY]
    with fio_beside(busy[0], *job) as one, fio_beside(busy[1], *job) as two:
        for n in REMOVED:
            gone(devices[n])
        large = make("large", memmap_size="42M")
        equal("where two were", (write(large / "power", 1), int(read(large / "memmap_start"))), (0, start))
        equal("reads zeros", set(pattern(Subsystem(large).disk(1))), {0})
        before = [stats(device)["commands"] for device in written]
        wait_for("fio to work on", lambda: all(stats(device)["commands"] > was + 200
                                               for device, was in zip(written, before, strict=True)))
        for load in (one, two):
            load.passes("fio works meanwhile, and verifies")
    return large


def body(args: argparse.Namespace) -> None:
    """All of it."""
    equal("load", load(args.module), 0)
    began = time.monotonic()
    device = configured(args)
    s = presented(device)
    managed(s)
    refusals(s)
    formats(s)
    cycles(s)
    unmade(device)
    check("namespaces took", True, seconds=time.monotonic() - began)
    pools(args)
    check("all took", True, seconds=time.monotonic() - began)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    main(body, parser(__doc__))
