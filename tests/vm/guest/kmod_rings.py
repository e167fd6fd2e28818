# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller driven from user space, through resource0 and pagemap: what no driver lets one try.

Registers, ring order, full completion queues, held events, PRPs that are wrong or not memory, and that the host's
memory is left alone once it is taken back.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any

from kmod_common import (
    CDWS,
    FIRST,
    HANG,
    check,
    disk,
    equal,
    load_first,
    main,
    parser,
    pci,
    rule,
    run,
    stats,
    unload,
    wait_for,
    write,
)

PAGE, HUGE = 4096, 2 << 20
CAP, VS, CC, CSTS, AQA, ASQ, ACQ, BELLS, STRIDE = 0, 8, 0x14, 0x1C, 0x24, 0x28, 0x30, 0x1000, 64
TABLE, PBA = 0x80000, 0x90000
MSIX, MSIX_ENABLE, MSIX_MASK_ALL = 0x50, 0x8000, 0x4000  # where its capability is, and what can be written there
RDY, CFS, SHUT = 1, 2, 8
ENABLE = 6 << 16 | 4 << 20 | 1
ALL = 0xFFFFFFFF
BLOCKS_PER_PAGE = PAGE // 512
# status field of a completion: type, code and DNR
OFFSET_INVALID, TRANSFER, FIELD, NS_INVALID, SEQUENCE = 0x4013, 0x4004, 0x4002, 0x400B, 0x400C
ABORT = 8
QID_INVALID, AER_LIMIT, DELETION = 0x4101, 0x4105, 0x410C


class Memory:
    """One huge page: contiguous, in place, of known physical address."""

    def __init__(self) -> None:
        equal("a huge page", write(Path("/proc/sys/vm/nr_hugepages"), 4), 0)
        map_hugetlb = 0x40000
        self.map = mmap.mmap(-1, HUGE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | map_hugetlb)
        self.map[:] = bytes(HUGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        with Path("/proc/self/pagemap").open("rb", buffering=0) as f:
            f.seek(address // PAGE * 8)
            self.phys = (struct.unpack("<Q", f.read(8))[0] & (1 << 55) - 1) * PAGE
        self.next = 0

    def take(self, pages: int = 1) -> int:
        """Offset of fresh pages."""
        at, self.next = self.next, self.next + pages * PAGE
        return at


class Queue:
    """A pair of rings, and where the host stands in them."""

    def __init__(self, bare: Bare, qid: int, sq_size: int, cq_size: int) -> None:
        self.bare, self.qid, self.sq_size, self.cq_size = bare, qid, sq_size, cq_size
        self.sq, self.cq = bare.mem.take(), bare.mem.take()
        self.tail = self.head = self.cid = 0
        self.phase = 1

    def submit(self, opcode: int, nsid: int = 0, prp1: int = 0, prp2: int = 0, flags: int = 0, ring: bool = True,
               **cdw: int) -> int:
        """Put a command; its identifier."""
        self.cid += 1
        words = [cdw.get(name, 0) for name in CDWS]
        struct.pack_into("<BBHIQQQQ6I", self.bare.mem.map, self.sq + 64 * self.tail, opcode, flags, self.cid, nsid, 0, 0,
                         prp1, prp2, *words)
        self.tail = (self.tail + 1) % self.sq_size
        if ring:
            self.ring()
        return self.cid

    def ring(self, value: int | None = None) -> None:
        """The submission queue's doorbell."""
        self.bare.reg(BELLS + 2 * self.qid * STRIDE, self.tail if value is None else value)

    def peek(self) -> tuple[int, int, int, int] | None:
        """The next completion (result, head, cid, status) if it is there."""
        at = self.cq + 16 * self.head
        if struct.unpack_from("<H", self.bare.mem.map, at + 14)[0] & 1 != self.phase:
            return None
        result, _, head, _, cid, field = struct.unpack_from("<IIHHHH", self.bare.mem.map, at)
        return result, head, cid, field >> 1

    def reap(self, free: bool = True) -> tuple[int, int, int, int]:
        """Wait for the next completion; free its place unless told otherwise."""
        got = self.peek() or wait_for(f"a completion on queue {self.qid}", self.peek, HANG) or (0, 0, 0, 0xFFFF)
        self.head = (self.head + 1) % self.cq_size
        self.phase ^= not self.head
        if free:
            self.free()
        return got

    def free(self) -> None:
        """The completion queue's doorbell."""
        self.bare.reg(BELLS + (2 * self.qid + 1) * STRIDE, self.head)

    def status(self, *args: Any, **kw: Any) -> int:
        """Submit, reap, and the status."""
        cid = self.submit(*args, **kw)
        got = self.reap()
        return got[3] if got[2] == cid else -1


class Bare:
    """The function with a driver that leaves it alone: uio_pci_generic."""

    def __init__(self) -> None:
        self.pci = pci()
        run("modprobe", "uio_pci_generic")
        self.rebind("uio_pci_generic")
        self.mem = Memory()
        self.file = os.open(self.pci / "resource0", os.O_RDWR | os.O_SYNC)
        self.map = mmap.mmap(self.file, 1 << 20)
        self.regs = (ctypes.c_uint32 * (1 << 18)).from_buffer(self.map)
        self.command(6)
        equal("disable, as the driver left it shut down", self.disable(), True)

    def rebind(self, driver: str) -> None:
        """Give the function to a driver, from the one that has it."""
        equal("unbind", write(self.pci / "driver" / "unbind", self.pci.name), 0)
        equal("override", write(self.pci / "driver_override", driver), 0)
        equal("probe", write(Path("/sys/bus/pci/drivers_probe"), self.pci.name), 0)
        equal("driver", (self.pci / "driver").resolve().name, driver)

    def command(self, value: int) -> None:
        """The PCI command register: 2 memory, 4 bus master."""
        with (self.pci / "config").open("r+b", buffering=0) as f:
            f.seek(4)
            f.write(struct.pack("<H", value))

    def reg(self, at: int, value: int | None = None) -> int:
        """Read or write 32 bits."""
        if value is not None:
            self.regs[at // 4] = value
        return int(self.regs[at // 4])

    def reg64(self, at: int, value: int) -> None:
        self.reg(at, value & ALL)
        self.reg(at + 4, value >> 32)

    def wait(self, bits: int, want: int) -> bool:
        """For CSTS."""
        return bool(wait_for(f"CSTS {want:#x}", lambda: self.reg(CSTS) & bits == want, HANG))

    def enable(self, sq_size: int = 8, cq_size: int = 4, **bad: int) -> Queue:
        """CC.EN with an admin queue."""
        self.mem.next = 0
        self.mem.map[:] = bytes(HUGE)
        admin = Queue(self, 0, sq_size, cq_size)
        self.reg(AQA, bad.get("aqa", cq_size - 1 << 16 | sq_size - 1))
        self.reg64(ASQ, bad.get("asq", self.mem.phys + admin.sq))
        self.reg64(ACQ, bad.get("acq", self.mem.phys + admin.cq))
        self.reg(CC, bad.get("cc", ENABLE))
        return admin

    def disable(self) -> bool:
        self.reg(CC, self.reg(CC) & ~1)
        return self.wait(ALL, 0)

    def close(self) -> None:
        """Give it back to the driver."""
        del self.regs
        self.map.close()
        os.close(self.file)
        self.rebind("nvme")


def registers(bare: Bare) -> None:
    """CAP, VS; CC.EN back and forth; what cannot be enabled; shutdown."""
    cap = bare.reg(CAP) | bare.reg(CAP + 4) << 32
    equal("CAP: MQES, CQR, DSTRD", (cap & 0xFFFF, cap >> 16 & 1, cap >> 32 & 0xF), (1023, 1, 4))
    equal("VS", bare.reg(VS), 0x10400)
    toggled = 0
    for _ in range(20):
        bare.enable()
        toggled += bare.wait(ALL, RDY) and bare.disable()
    equal("CC.EN 20 times", toggled, 20)
    no_ram = int((bare.pci / "resource").read_text().split()[0], 16)
    for name, bad in {
        "ASQ in the BAR": {"asq": no_ram}, "ACQ beyond memory": {"acq": 1 << 45}, "ASQ wraps": {"asq": (1 << 64) - PAGE},
        "ASQS 0": {"aqa": 3 << 16}, "page size 8 KiB": {"cc": ENABLE | 1 << 7}, "CSS 6": {"cc": ENABLE | 6 << 4},
    }.items():
        bare.enable(**bad)
        equal(f"fatal: {name}", bare.wait(ALL, CFS) and bare.disable(), True)
    bare.enable(aqa=3 << 16)
    bare.wait(ALL, CFS)
    bare.reg(CC, ENABLE & ~1)
    bare.enable()
    equal("refused, then off and on again before anybody looked", bare.wait(ALL, RDY) and bare.disable(), True)
    bare.enable()
    bare.wait(ALL, RDY)
    bare.reg(CC, ENABLE | 1 << 14)
    equal("shutdown", bare.wait(0xC, SHUT), True)
    equal("and off", bare.disable(), True)


def order(bare: Bare) -> None:
    """Rings wrap, phases turn, SQHD is what was fetched, a full completion queue is not overrun."""
    q = bare.enable(sq_size=8, cq_size=4)
    bare.wait(ALL, RDY)
    want, got = [], []
    for _ in range(21):
        cid = q.submit(0x0A, cdw10=1)
        want.append((3, q.tail, cid, 0))
        got.append(q.reap())
    equal("21 commands through rings of 8 and 4", got, want)
    cids = [q.submit(0x0A, cdw10=7, ring=False) for _ in range(6)]
    q.ring()
    got = [q.reap(free=False) for _ in range(3)]
    time.sleep(0.3)  # not a wait: nothing must come
    equal("full: 3 of 6 came, no more", ([x[2] for x in got], q.peek()), (cids[:3], None))
    q.free()
    equal("the others, once there is room", [q.reap()[2] for _ in range(3)], cids[3:])
    bare.disable()


def events(bare: Bare) -> None:
    """Asynchronous event requests are held, up to the limit, until something happens."""
    q = bare.enable(sq_size=16, cq_size=4)
    bare.wait(ALL, RDY)
    held = [q.submit(0x0C) for _ in range(4)]
    equal("a fifth is too many", q.status(0x0C), AER_LIMIT)
    equal("others go on", [q.status(0x0A, cdw10=7) for _ in range(5)], [0] * 5)
    q.ring(999)
    result, _, cid, status = q.reap()
    equal("a bad doorbell is an event", (cid in held, status, result), (True, 0, 0x010100))
    victim = next(other for other in held if other != cid)
    abort = q.submit(8, cdw10=victim << 16)
    equal("an event request aborted", q.reap()[2:], (victim, 0x0007))
    result, _, cid, status = q.reap()
    equal("and the abort itself", (result, cid, status), (0, abort, 0))
    equal("reset with events held", bare.disable(), True)
    bells(bare)
    notices(bare)


def bells(bare: Bare) -> None:
    """A doorbell beyond its queue is an event each time, of either ring, and stops nothing for good."""
    q = bare.enable(sq_size=16, cq_size=16)
    bare.wait(ALL, RDY)
    log = bare.mem.phys + bare.mem.take()
    held = [q.submit(0x0C) for _ in range(3)]
    equal("they are held", q.status(ABORT), 0)

    def told(name: str) -> None:
        result, _, cid, status = q.reap()
        equal(name, (cid in held, status, result), (True, 0, 0x010100))
        equal("its log", q.status(2, nsid=ALL, prp1=log, cdw10=15 << 16 | 1), 0)

    q.ring(999)
    told("a tail beyond the queue")
    q.ring(ALL)
    told("and another")
    io = io_queue(bare, q)
    bare.reg(BELLS + (2 * io.qid + 1) * STRIDE, 999)
    flush = io.submit(0, nsid=1)
    told("a head beyond the queue")
    io.free()
    equal("once it makes sense", io.reap()[2:], (flush, 0))
    equal("reset", bare.disable(), True)


def notices(bare: Bare) -> None:
    """Events of health and of namespaces: only what was asked for, and not again before the log was read."""
    q = bare.enable(sq_size=16, cq_size=8)
    bare.wait(ALL, RDY)
    page = bare.mem.take(2)
    held = [q.submit(0x0C) for _ in range(4)]

    def event(name: str, want: int) -> None:
        result, _, cid, status = q.reap()
        equal(name, (cid in held, status, result), (True, 0, want))

    def read_log(lid: int, retain: bool = False) -> bytes:
        equal(f"read log {lid}", q.status(2, nsid=ALL, prp1=bare.mem.phys + page, cdw10=1023 << 16 | retain << 15 | lid), 0)
        return bytes(bare.mem.map[page:page + PAGE])

    def protect(value: int) -> None:
        equal("protect", q.status(9, nsid=1, cdw10=0x84, cdw11=value), 0)

    equal("hot, but nobody asked", q.status(9, cdw10=4, cdw11=290), 0)
    equal("well again", q.status(9, cdw10=4, cdw11=343), 0)
    equal("ask for all", q.status(9, cdw10=0xB, cdw11=0x11F), 0)
    equal("hot", q.status(9, cdw10=4, cdw11=300), 0)
    event("a temperature event", 0x020101)
    equal("its warning", read_log(2, retain=True)[0], 2)
    equal("well", q.status(9, cdw10=4, cdw11=343), 0)
    equal("hot again, but the log was not read", q.status(9, cdw10=4, cdw11=300), 0)
    equal("nothing yet", q.peek(), None)
    read_log(2)
    event("now it comes", 0x020101)
    equal("well", q.status(9, cdw10=4, cdw11=343), 0)
    protect(1)
    event("a namespace event", 0x040002)
    equal("which namespace, retained", struct.unpack_from("<II", read_log(4, retain=True)), (1, 0))
    equal("which namespace", struct.unpack_from("<II", read_log(4)), (1, 0))
    equal("none any more", read_log(4)[:4], bytes(4))
    protect(0)
    event("another", 0x040002)
    equal("reset", bare.disable(), True)


def masks(bare: Bare) -> None:
    """An interrupt that is masked, alone or with all others, is pending until it is masked no longer."""
    def control(flags: int) -> None:
        with (bare.pci / "config").open("r+b", buffering=0) as f:
            f.seek(MSIX + 2)
            f.write(struct.pack("<H", flags))

    def pending(name: str, want: int) -> None:
        equal(f"{name}: pending {want}", wait_for(name, lambda: bare.reg(PBA) & 1 == want), True)

    q = bare.enable(sq_size=16, cq_size=16)
    bare.wait(ALL, RDY)
    control(MSIX_ENABLE)
    equal("nothing was raised", bare.reg(PBA), 0)
    for name, mask, unmask in (
        ("by the table", lambda: bare.reg(TABLE + 12, 1), lambda: bare.reg(TABLE + 12, 0)),
        ("as a whole", lambda: control(MSIX_ENABLE | MSIX_MASK_ALL), lambda: control(MSIX_ENABLE)),
    ):
        mask()
        equal("a command", q.status(ABORT), 0)
        pending(f"masked {name}", 1)
        unmask()
        pending(f"no longer masked {name}", 0)
    control(MSIX_MASK_ALL)
    equal("two commands, MSI-X disabled", [q.status(ABORT), q.status(ABORT)], [0, 0])
    equal("leave nothing", bare.reg(PBA), 0)
    control(0)
    equal("reset", bare.disable(), True)


def admin_prps(bare: Bare, q: Queue, data: int) -> None:
    """PRPs of an admin command."""
    phys, no_ram = bare.mem.phys, int((bare.pci / "resource").read_text().split()[0], 16)
    for name, prp1, prp2, want in (
        ("whole page", phys + data, 0, 0), ("two halves", phys + data + 2048, phys + data + 4096, 0),
        ("odd PRP1", phys + data + 2, 0, OFFSET_INVALID), ("PRP2 with offset", phys + data + 8, phys + data + 4104,
                                                           OFFSET_INVALID),
        ("PRP1 is our BAR", no_ram, 0, TRANSFER), ("PRP1 is our storage", no_ram + (1 << 20), 0, TRANSFER),
        ("PRP1 beyond memory", 1 << 46, 0, TRANSFER), ("PRP1 in the PCI hole", 0xFEE00000, 0, TRANSFER),
        ("PRP2 beyond memory", phys + data + 8, 1 << 46, TRANSFER), ("all ones", (1 << 64) - PAGE, 0, TRANSFER),
    ):
        equal(f"identify, {name}", q.status(6, prp1=prp1, prp2=prp2, cdw10=1), want)
    equal("SGL", q.status(6, prp1=phys + data, cdw10=1, flags=0x40), FIELD)
    equal("fused", q.status(6, prp1=phys + data, cdw10=1, flags=1), FIELD)


def lba(slba: int, blocks: int) -> dict[str, int]:
    return {"cdw10": slba, "cdw12": blocks - 1}


def io_queue(bare: Bare, q: Queue) -> Queue:
    """Create a pair without interrupt; what can be wrong about it first."""
    io = Queue(bare, 1, 16, 16)
    phys = bare.mem.phys
    equal("create CQ, PRP with offset", q.status(5, prp1=phys + io.cq + 8, cdw10=15 << 16 | 1, cdw11=1), OFFSET_INVALID)
    equal("create CQ, not memory", q.status(5, prp1=1 << 46, cdw10=15 << 16 | 1, cdw11=1), TRANSFER)
    equal("create CQ", q.status(5, prp1=phys + io.cq, cdw10=15 << 16 | 1, cdw11=1), 0)
    equal("create SQ, not memory", q.status(1, prp1=1 << 46, cdw10=15 << 16 | 1, cdw11=1 << 16 | 1), TRANSFER)
    equal("create SQ", q.status(1, prp1=phys + io.sq, cdw10=15 << 16 | 1, cdw11=1 << 16 | 1), 0)
    equal("number of queues, too late", q.status(9, cdw10=7, cdw11=1 << 16 | 1), SEQUENCE)
    equal("delete CQ in use", q.status(4, cdw10=1), DELETION)
    return io


def kernel_code() -> int:
    """Where the kernel's text is in physical memory."""
    (line,) = [line for line in Path("/proc/iomem").read_text().splitlines() if line.endswith("Kernel code")]
    return int(line.split("-")[0], 16)


def io_prps(bare: Bare, io: Queue) -> None:
    """PRP lists: anywhere in a page, chained, and wrong in each place."""
    phys, pages = bare.mem.phys, 120
    data, lists = bare.mem.take(pages), bare.mem.take(3)
    want = os.urandom(pages * PAGE)
    blocks = {"nsid": 1, **lba(0, pages * BLOCKS_PER_PAGE)}

    def fill(start: int, broken: int = -1, entry: int = 0) -> int:
        """A list that begins so many bytes before the end of its page, and goes on in the next."""
        entries = [phys + data + n * PAGE for n in range(1, pages)]
        if broken >= 0:
            entries[broken] = entry
        at, first = lists + PAGE - start, start // 8 - 1
        struct.pack_into(f"<{first}Q", bare.mem.map, at, *entries[:first])
        struct.pack_into("<Q", bare.mem.map, at + 8 * first, phys + lists + PAGE)
        struct.pack_into(f"<{pages - 1 - first}Q", bare.mem.map, lists + PAGE, *entries[first:])
        return phys + at

    for start in (8, 16, 64):
        bare.mem.map[data:data + len(want)] = want
        status = io.status(1, prp1=phys + data, prp2=fill(start), **blocks)
        bare.mem.map[data:data + len(want)] = bytes(len(want))
        status |= io.status(2, prp1=phys + data, prp2=fill(start), **blocks)
        check(f"480 KiB by a list {start} bytes before the end of a page",
              status == 0 and bare.mem.map[data:data + len(want)] == want, status=hex(status))
    for name, prp2, status in (
        ("odd list", fill(64) + 4, OFFSET_INVALID), ("list beyond memory", 1 << 46, TRANSFER),
        ("entry with offset", fill(64, 3, phys + data + 512), OFFSET_INVALID),
    ):
        equal(name, io.status(2, prp1=phys + data, prp2=prp2, **blocks), status)
    equal("entry beyond memory", io.status(1, prp1=phys + data, prp2=fill(64, 20, 1 << 46), **blocks), TRANSFER)
    code = kernel_code()
    equal("into the kernel's code", io.status(2, nsid=1, prp1=code, **lba(0, 8)), TRANSFER)
    equal("into it by a list", io.status(2, prp1=phys + data, prp2=fill(64, 20, code), **blocks), TRANSFER)
    equal("out of it", io.status(1, nsid=1, prp1=code, **lba(0, 8)), 0)


def io_fields(bare: Bare, io: Queue) -> None:
    """Namespaces and flags of I/O commands."""
    page = bare.mem.phys + bare.mem.take()
    for nsid, want in ((0, NS_INVALID), (2, FIELD), (32, FIELD), (33, NS_INVALID), (ALL, NS_INVALID)):
        equal(f"read, NSID {nsid:#x}", io.status(2, nsid=nsid, prp1=page, **lba(0, 1)), want)
    equal("flush, NSID 2", io.status(0, nsid=2), FIELD)
    equal("flush, all namespaces", io.status(0, nsid=ALL), 0)
    equal("read, SGL", io.status(2, nsid=1, prp1=page, flags=0x40, **lba(0, 1)), FIELD)
    equal("read, fused", io.status(2, nsid=1, prp1=page, flags=2, **lba(0, 1)), FIELD)
    equal("more than MDTS", io.status(2, nsid=1, prp1=page, **lba(0, 2049)), FIELD)
    equal("deallocate, PRP beyond memory", io.status(9, nsid=1, prp1=1 << 46, cdw11=4), TRANSFER)


def forgotten(bare: Bare, q: Queue, io: Queue) -> None:
    """Commands deleted with their queue: the completion queue has its room back."""
    page, before = bare.mem.phys + bare.mem.take(), stats()["reads"]
    with rule(FIRST, action="delay", delay=3600 * 10**9, opcode="read"):  # no host is so slow that one of them would be done
        for _ in range(15):
            io.submit(2, nsid=1, prp1=page, **lba(BLOCKS_PER_PAGE, 1))  # not of the unit that comes next
        wait_for("all were fetched", lambda: stats()["reads"] == before + 15)
        equal("delete SQ under commands", q.status(0, cdw10=1), 0)
    io.tail = 0
    equal("create SQ again", q.status(1, prp1=bare.mem.phys + io.sq, cdw10=15 << 16 | 1, cdw11=1 << 16 | 1), 0)
    equal("it works", [io.status(0, nsid=1) for _ in range(20)], [0] * 20)


def quiet(bare: Bare, q: Queue, io: Queue) -> None:
    """Bus Master off, queue deleted, controller reset: host memory stays as it is."""
    page = bare.mem.phys + bare.mem.take()
    bare.command(2)
    io.submit(2, nsid=1, prp1=page, **lba(0, 1))
    time.sleep(0.3)  # not a wait: nothing must come
    equal("no DMA with Bus Master off", io.peek(), None)
    bare.command(6)
    equal("but then", io.reap()[3], 0)
    equal("delete SQ", q.status(0, cdw10=1), 0)
    equal("twice", q.status(0, cdw10=1), QID_INVALID)
    equal("delete CQ", q.status(4, cdw10=1), 0)
    bare.disable()
    bare.mem.map[:] = b"\x5a" * HUGE
    for n in (q, io):
        n.ring(3)
    time.sleep(0.3)  # not a wait: nothing must change
    equal("untouched after reset", bare.mem.map[:].count(0x5A), HUGE)


def body(args: argparse.Namespace) -> None:
    """Take the function from the driver, try everything, give it back."""
    equal("load", load_first(args), 0)
    disk()
    bare = Bare()
    registers(bare)
    order(bare)
    events(bare)
    masks(bare)
    q = bare.enable(sq_size=32, cq_size=32)
    bare.wait(ALL, RDY)
    admin_prps(bare, q, bare.mem.take(2))
    io = io_queue(bare, q)
    io_prps(bare, io)
    io_fields(bare, io)
    forgotten(bare, q, io)
    quiet(bare, q, io)
    bare.close()
    equal("the driver has it again", len(disk().open("rb").read(PAGE)), PAGE)
    write(Path("/proc/sys/vm/nr_hugepages"), 0)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    main(body, parser(__doc__))
