# SPDX-License-Identifier: GPL-2.0-or-later
"""Two controllers that share a subsystem: native multipath over them, the loss of one, namespaces of one, of both."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kmod_common import (
    CONFIGFS,
    Load,
    check,
    equal,
    fio_beside,
    load,
    main,
    make,
    new_messages,
    page_buffer,
    parser,
    passthru,
    read,
    run,
    stats,
    unload,
    wait_for,
    write,
)

DEVICE = CONFIGFS / "pair"
PCI = Path("/sys/bus/pci/devices")
MIB = 1 << 20
IDENTIFY, MANAGE, ATTACH, GET_FEATURES, SET_FEATURES = 6, 0x0D, 0x15, 0x0A, 9
BAD_LIST, PRIVATE = 0x411C, 0x4119
VWC = 6
ENOUGH, LONG = 10, 300  # resets and removals, and the seconds after which no more than these are wanted


def functions() -> list[Path]:
    """The PCI functions of the two, by their identifier."""
    return [PCI / address for address in read(DEVICE / "pci").split()]


def controllers() -> list[Path]:
    """/sys/class/nvme/nvmeX of both, once they are live."""

    def live() -> list[Path] | None:
        found = [path for function in functions() for path in (function / "nvme").glob("nvme*")]
        with contextlib.suppress(OSError):
            if len(found) == 2 and all(read(path / "state") == "live" for path in found):
                return found
        return None

    return wait_for("two controllers", live) or []


def subsystem() -> Path:
    """/sys/class/nvme-subsystem/nvme-subsysN."""
    wanted = read(DEVICE / "subnqn")
    (found,) = [s for s in Path("/sys/class/nvme-subsystem").iterdir() if read(s / "subsysnqn") == wanted]
    return found


def head(nsid: int = 1) -> Path:
    """The disk above all paths of a namespace."""

    def found() -> Path | None:
        for path in subsystem().glob("nvme*n*"):
            if (path / "nsid").exists() and read(path / "nsid") == str(nsid) and int(read(path / "size")):
                return Path("/dev") / path.name
        return None

    return wait_for(f"namespace {nsid}", found)


def paths(nsid: int = 1) -> int:
    """How many ways there are to a namespace."""
    return sum(
        (path / "nsid").exists() and read(path / "nsid") == str(nsid)
        for function in functions()
        for path in function.glob("nvme/nvme*/nvme*c*n*")
    )


class Admin:
    """The admin queue of a controller."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(f"/dev/{path.name}", os.O_RDWR)
        self.page = page_buffer()

    def __call__(self, opcode: int, raw: bytes | None = None, **kw: Any) -> tuple[int, int]:
        if raw is not None:
            ctypes.memmove(self.page, raw.ljust(4096, b"\0"), 4096)
        return passthru(self.fd, opcode=opcode, data=self.page if raw is not None else None, **kw)

    def identify(self, cns: int, nsid: int = 0, first: int = 0) -> bytes:
        equal(f"identify {cns:#x}", self(IDENTIFY, b"", cdw10=first << 16 | cns, nsid=nsid)[0], 0)
        return bytes(self.page.raw)

    def ids(self, cns: int, nsid: int = 0, first: int = 0) -> list[int]:
        """A controller list."""
        count, *rest = struct.unpack("<2048H", self.identify(cns, nsid, first))
        return list(rest[:count])

    def active(self) -> list[int]:
        return [n for n in struct.unpack("<1024I", self.identify(2)) if n]

    def attach(self, nsid: int, *ids: int, select: int = 0) -> int:
        return self(ATTACH, struct.pack(f"<{len(ids) + 1}H", len(ids), *ids), cdw10=select, nsid=nsid)[0]


@contextlib.contextmanager
def open_admins() -> Iterator[list[Admin]]:
    admins = [Admin(path) for path in controllers()]
    try:
        yield admins
    finally:
        for admin in admins:
            os.close(admin.fd)


@contextlib.contextmanager
def load_on(node: Path, verify: bool = True) -> Iterator[Load]:
    """fio, from its first commands on.

    Not io_uring: Linux 6.1 lets its I/O fail with EAGAIN when it goes on over another path (nvme_failover_req() leaves
    REQ_NOWAIT set).
    """
    words = ["--ioengine=libaio", "--bs=4k", "--iodepth=8", "--size=24M"]
    words += ["--rw=randwrite", "--verify=crc32c", "--verify_fatal=1"] if verify else ["--rw=randrw"]
    before = stats(DEVICE)["commands"]
    with fio_beside(node, *words) as load:
        wait_for("fio's first I/O", lambda: stats(DEVICE)["commands"] > before + 500 or not load.runs())
        yield load


def refused(args: argparse.Namespace) -> None:
    """What cannot be."""
    equal("none, nine", [write(DEVICE / "controllers", n) for n in (0, 9)], [errno.ERANGE] * 2)
    for key, value in (("memmap_size", "8M"), ("controllers", 8)):
        equal(f"{key} = {value}", write(DEVICE / key, value), 0)
    with new_messages() as said:
        equal("registers and nothing else", write(DEVICE / "power", 1), errno.ENOSPC)
    check("says how much it takes", any("8 MiB are for registers, so at least 9M" in line for line in said), said=said)
    for key, value in (("memmap_size", "66M"), ("controllers", 2)):
        equal(f"{key} = {value}", write(DEVICE / key, value), 0)


def shown() -> None:
    """One subsystem, two controllers, a disk above both."""
    both = controllers()
    equal("addresses", len({f.name for f in functions()}), 2)
    equal("busy while on", write(DEVICE / "controllers", 1), errno.EBUSY)
    equal("identifiers", [read(path / "cntlid") for path in both], ["1", "2"])
    equal("one serial number", {read(path / "serial") for path in both}, {read(DEVICE / "serial")})
    wait_for("both paths", lambda: paths() == 2)
    equal("capacity", int(read(Path("/sys/block") / head().name / "size")), 64 * MIB // 512)
    with open_admins() as admins:
        for n, admin in enumerate(admins):
            raw = admin.identify(1)
            equal("CMIC: several controllers", (raw[76] & 2, struct.unpack_from("<H", raw, 78)[0]), (2, n + 1))
            equal("NMIC: shared", admin.identify(0, 1)[30] & 1, 1)
            equal("who is there", (admin.ids(0x13), admin.ids(0x13, first=2), admin.ids(0x13, first=3)), ([1, 2], [2], []))
            equal("who has it", admin.ids(0x12, 1), [1, 2])
            equal("command sets of either", [admin(IDENTIFY, b"", cdw10=c << 16 | 0x1C)[0] for c in (1, 2, 0xFFFF, 0, 3)],
                  [0, 0, 0, 0x4002, 0x4002])


def workers(index: int) -> int:
    """Commands that a controller's workers completed."""
    done = 0
    for path in Path(f"/sys/kernel/debug/nvlab/pair:{index}").glob("cpu*"):
        done += int(dict(line.split() for line in path.read_text().splitlines())["commands"])
    return done


def shared() -> None:
    """Both ways lead to the same data, and in turns if so asked."""
    (subsystem() / "iopolicy").write_text("round-robin")
    before = [workers(1), workers(2)]
    with load_on(head()) as load:
        wait_for("many commands", lambda: sum(workers(n + 1) - before[n] for n in range(2)) > 4000 or not load.runs())
        load.passes("verified over both paths")
    done = [workers(n + 1) - before[n] for n in range(2)]
    check("in turns", min(done) > max(done) / 4 > 0, done=done)
    check("the device counts both", stats(DEVICE)["commands"] >= sum(done), done=done)


def cycle(n: int) -> bool:
    """Reset one, remove the other, find it again."""
    (controllers()[n % 2] / "reset_controller").write_text("1")
    controllers()
    (functions()[(n + 1) % 2] / "remove").write_text("1")
    gone = wait_for("the path to go", lambda: paths() == 1)
    Path("/sys/bus/pci/rescan").write_text("1")
    return bool(gone and controllers() and wait_for("the path to come", lambda: paths() == 2))


def resets(times: int) -> None:
    """Either may be reset or removed under load, many times; nobody above notices. Where it takes long, ten times will do."""
    cycles, end = 0, time.monotonic() + LONG
    with load_on(head()) as load:
        while cycles < min(times, ENOUGH) or (cycles < times and time.monotonic() < end):
            if not cycle(cycles):
                return
            cycles += 1
        load.passes(f"verified through {cycles} resets and removals")


def caches() -> None:
    """A feature of a controller is its own, and the cache is one."""
    with open_admins() as (one, two):
        equal("off for one", one(SET_FEATURES, cdw10=VWC, cdw11=0)[0], 0)
        equal("as each says", (one(GET_FEATURES, cdw10=VWC)[1], two(GET_FEATURES, cdw10=VWC)[1]), (0, 1))
        equal("on again", one(SET_FEATURES, cdw10=VWC, cdw11=1)[0], 0)


def namespaces() -> None:
    """One that only one controller has; one that may be no other's."""
    with open_admins() as (one, two):
        equal("taken from the second, by the first", one.attach(1, 2, select=1), 0)
        equal("each its own", (one.active(), two.active()), ([1], []))
        check("its path goes", wait_for("the path to go", lambda: paths() == 1))
        with load_on(head()) as load:
            load.passes("verified over the other")
        equal("given back, by the second", two.attach(1, 2), 0)
        check("its path comes", wait_for("the path to come", lambda: paths() == 2))
        equal("no such controller", one.attach(1, 3), BAD_LIST)
        equal("delete", one(MANAGE, None, cdw10=1, nsid=1)[0], 0)
        check("both paths go", wait_for("the paths to go", lambda: paths() == 0))
        raw = bytearray(struct.pack("<QQ", 8192, 8192).ljust(4096, b"\0"))
        equal("a private one", one(MANAGE, bytes(raw), cdw10=0), (0, 1))
        equal("not for both", one.attach(1, 1, 2), PRIVATE)
        equal("for the second", two.attach(1, 2), 0)
        equal("not for the first too", one.attach(1, 1), PRIVATE)
        equal("each its own", (one.active(), two.active()), ([], [1]))


def impatient() -> None:
    """Have the driver give up a command after three seconds, not thirty."""
    for function in functions():
        for path in function.glob("nvme/nvme*/nvme*c*n*/queue/io_timeout"):
            path.write_text("3000")


def losses() -> None:
    """One of two controllers fails, then the link of the other is lost: the one that is left goes on."""
    equal("off and on", [write(DEVICE / "power", n) for n in (0, 1)], [0, 0])
    wait_for("both paths", lambda: len(controllers()) == 2 and paths() == 2)
    (subsystem() / "iopolicy").write_text("round-robin")
    impatient()
    rule = DEVICE / "faults" / "path"
    rule.mkdir()
    with load_on(head()) as load, new_messages() as said:
        for key, value in (("action", "fatal"), ("controller", 2), ("count", 1), ("enable", 1)):
            equal(f"rule: {key} = {value}", write(rule / key, value), 0)
        check("hit", wait_for("the fault", lambda: read(rule / "hits") == "1"))
        path = next(functions()[1].glob("nvme/nvme*/state"))
        # of the message, not of the state, which may be another for a moment only
        check("it is reset", wait_for("the reset", lambda: said.having("controller is down; will reset")))
        before = workers(2)  # of one that failed no command is completed until it is reset
        check("and lives again", wait_for("the controller", lambda: read(path) == "live"))
        check("and works", wait_for("its commands", lambda: workers(2) > before + 100))
        equal("off", write(rule / "enable", 0), 0)
        for key, value in (("action", "link-loss"), ("controller", 1), ("enable", 1)):
            equal(f"rule: {key} = {value}", write(rule / key, value), 0)
        check("pulled", wait_for("the path to go", lambda: not (functions()[0] / "nvme").exists()))
        before = workers(2)
        check("the other works", wait_for("its commands", lambda: workers(2) > before + 100))
        load.passes("verified through the loss of either")
    rule.rmdir()


def ends() -> None:
    """The power goes off under load: errors, and no hang."""
    equal("off and on", [write(DEVICE / "power", n) for n in (0, 1)], [0, 0])
    wait_for("both paths", lambda: len(controllers()) == 2 and paths() == 2)
    with load_on(head(), verify=False) as load:
        equal("off", write(DEVICE / "power", 0), 0)
        load.fails("fio ends with an error")


def body(args: argparse.Namespace) -> None:
    """All of it."""
    if not Path("/sys/kernel/debug").is_mount():
        run("mount", "-t", "debugfs", "none", "/sys/kernel/debug")
    equal("load", load(args.module), 0)
    make("pair", memmap_start=args.start, memmap_size="66M", cpus=args.cpus, vwc=1, seed=7)
    refused(args)
    equal("power", write(DEVICE / "power", 1), 0)
    shown()
    shared()
    resets(args.cycles)
    caches()
    namespaces()
    losses()
    ends()
    DEVICE.rmdir()
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--cycles", type=int, default=50, help="resets and removals of either controller under load")
    main(body, arguments)
