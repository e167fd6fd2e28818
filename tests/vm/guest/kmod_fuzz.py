# SPDX-License-Identifier: GPL-2.0-or-later
"""N random commands: through the driver's passthrough, then through rings of our own, where every address can be wrong.

Whatever comes, the controller answers each command once, writes to no memory that it was not given, and keeps the data that
no command was to change. The same seed gives the same commands; what was done last is shown when something fails.

A host that lies to its own driver (a buffer shorter than the command says) or to the device (PRPs of memory that others use)
destroys itself on any drive: so lengths are honest through the driver, and all RAM that PRPs name is ours.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import struct
import time
from collections import deque
from pathlib import Path

from kmod_common import (
    FIRST,
    check,
    controller,
    disk,
    equal,
    fio,
    load_first,
    main,
    page_buffer,
    parser,
    passthru,
    unload,
    wait_for,
    write,
)
from kmod_rings import ALL, BELLS, CC, CFS, CSTS, ENABLE, HUGE, PAGE, RDY, STRIDE, Bare, Queue

MIB = 1 << 20
BLOCK = 512
KEPT = 32 * MIB  # from the start of the disk: no command changes it
SCRATCH = 64 * MIB  # from here on everything may change
BUFFER = 128 << 10
DELETE_SQ, CREATE_SQ, GET_LOG, DELETE_CQ, CREATE_CQ, IDENTIFY, ABORT, SET, GET, AER = 0, 1, 2, 4, 5, 6, 8, 9, 10, 12
NS_MANAGE, NS_ATTACH, FORMAT, SANITIZE = 0x0D, 0x15, 0x80, 0x84
QUEUES = (DELETE_SQ, CREATE_SQ, DELETE_CQ, CREATE_CQ)
DESTRUCTIVE = (NS_MANAGE, NS_ATTACH, FORMAT, SANITIZE)
FLUSH, WRITE, READ, DSM = 0, 1, 2, 9
NO_ANSWER = 0xFFFF

Cdws = dict[str, int]


class Fuzz:
    """The generator of commands, and what it did last."""

    def __init__(self, seed: int, blocks: int) -> None:
        self.random = random.Random(seed)
        self.seed, self.blocks = seed, blocks
        self.done = 0
        self.last: deque[str] = deque(maxlen=24)

    def note(self, what: str) -> None:
        """Remember it, in case it was one too many."""
        self.last.append(f"{self.done}: {what}")

    def failed(self, what: str, **detail: object) -> None:
        """A failed check, with all that is needed to see it again."""
        check(what, False, seed=self.seed, done=self.done, last=list(self.last), **detail)

    def word(self) -> int:
        """32 bits: small, all ones, one bit, or anything."""
        pick = self.random.randrange(5)
        if pick < 2:
            return self.random.randrange(8)
        if pick == 2:
            return self.random.choice((ALL, ALL - 1, 0xFFFF, 0xFFFE0000, 0x80000000, 0xFFF0FFF))
        return 1 << self.random.randrange(32) if pick == 3 else self.random.getrandbits(32)

    def slba(self) -> int:
        """Where a command may change blocks: the scratch area, its end, beyond it, and what wraps."""
        first = SCRATCH // BLOCK
        pick = self.random.randrange(8)
        if pick == 0:
            return self.blocks - self.random.randrange(64)
        if pick == 1:
            return self.random.choice((self.blocks, self.blocks + 1, 1 << 32, 1 << 55, 1 << 63, (1 << 64) - 1))
        if pick == 2:
            return max(first, self.random.getrandbits(64))
        return self.random.randrange(first, self.blocks)

    def nsid(self) -> int:
        """Mostly the one there is."""
        return self.random.choice((1, 1, 1, 1, 1, 1, 0, 2, ALL, self.word()))

    def admin(self) -> tuple[int, int, Cdws]:
        """An admin command that takes nothing away: opcode, NSID, double words."""
        r = self.random
        opcode = r.choice((GET_LOG, IDENTIFY, ABORT, SET, GET, r.randrange(256)))
        cdws = {f"cdw{i}": self.word() for i in range(10, 16)}
        if opcode == GET_LOG and r.random() < 0.8:
            cdws |= {"cdw10": r.randrange(8) | r.randrange(1 << 9) << 16 | r.getrandbits(1) << 15, "cdw11": 0}
            cdws |= {"cdw12": r.choice((0, 0, 4, 64, 512, 4092, 4096, self.word())), "cdw13": 0}
        elif opcode == IDENTIFY and r.random() < 0.8:
            cdws["cdw10"] = r.choice((0, 1, 2, 3, r.randrange(0x20), self.word()))
        elif opcode in (SET, GET) and r.random() < 0.8:
            cdws["cdw10"] = r.randrange(0x20) | r.randrange(8) << 8
        return opcode, self.nsid(), cdws

    def io(self, bytes_max: int) -> tuple[int, Cdws, int]:
        """An I/O command whose data are at most so many bytes: opcode, double words, bytes of data."""
        r, slba = self.random, self.slba()
        opcode = r.choice((FLUSH, WRITE, WRITE, READ, READ, 4, 5, 8, DSM, 0xC, 0x19, r.randrange(256)))
        blocks = r.choice((1, 1, 2, 7, 8, 9, 64, r.randrange(1, bytes_max // BLOCK + 1)))
        blocks = min(blocks, bytes_max // BLOCK)
        cdws = {"cdw10": slba & ALL, "cdw11": slba >> 32, "cdw12": blocks - 1}
        if r.random() < 0.2:
            cdws["cdw12"] |= self.word() & 0xFFFF0000
        if r.random() < 0.2:
            cdws |= {f"cdw{i}": self.word() for i in range(13, 16)}
        if opcode == DSM:
            return opcode, {"cdw10": r.choice((0, 1, 15, 255, self.word())), "cdw11": self.word()}, PAGE
        return opcode, cdws, blocks * BLOCK

    def ranges(self) -> bytes:
        """256 ranges for Dataset Management."""
        return b"".join(
            struct.pack("<IIQ", self.word(), self.random.choice((0, 1, 8, 4096, self.word())), self.slba())
            for _ in range(256))


# -- the data that must stay ---------------------------------------------------------------------------------


def pattern(block: int) -> bytes:
    """What a MiB of the kept area holds."""
    return random.Random(block).randbytes(MIB)


def keep(node: Path) -> None:
    """Write the kept area."""
    with node.open("r+b", buffering=0) as disk_file:
        for block in range(KEPT // MIB):
            disk_file.write(pattern(block))
        os.fsync(disk_file.fileno())


def kept(node: Path, when: str) -> None:
    """It still holds what it held; read past the page cache."""
    fd, buffer = os.open(node, os.O_RDONLY | os.O_DIRECT), page_buffer(MIB)
    wrong = [block for block in range(KEPT // MIB)
             if os.preadv(fd, [buffer], block * MIB) != MIB or bytes(buffer) != pattern(block)]
    os.close(fd)
    equal(f"{when}: the data that nobody changed", wrong, [])


# -- through the driver --------------------------------------------------------------------------------------


def asked(opcode: int, cdws: Cdws) -> int:
    """Bytes that an admin command moves."""
    if opcode == GET_LOG:
        return ((cdws["cdw10"] >> 16 | (cdws["cdw11"] & 0xFFFF) << 16) + 1) * 4
    return PAGE


def by_driver(fuzz: Fuzz, count: int) -> None:
    """Commands that the driver passes on: those that would take its queues away or never end are left out."""
    node, refused, done = disk(), 0, 0
    ctrl, ns = os.open(f"/dev/{controller().name}", os.O_RDWR), os.open(node, os.O_RDWR)
    buffer = page_buffer(BUFFER)
    while done < count:
        if fuzz.random.random() < 0.5:
            opcode, nsid, cdws = fuzz.admin()
            if opcode in (AER, *QUEUES, *DESTRUCTIVE) or asked(opcode, cdws) > BUFFER:
                continue
            fuzz.note(f"admin {opcode:#x} nsid {nsid:#x} {cdws}")
            status, _ = passthru(ctrl, opcode=opcode, nsid=nsid, data=buffer, **cdws)
        else:
            opcode, cdws, length = fuzz.io(BUFFER)
            if opcode == DSM:
                buffer[:PAGE] = fuzz.ranges()
            data = None if opcode == FLUSH or fuzz.random.random() < 0.05 else buffer
            fuzz.note(f"io {opcode:#x} {cdws} data {data is not None} {length}")
            status, _ = passthru(ns, True, opcode=opcode, nsid=1, data=data, **cdws)
        refused += status != 0
        done += 1
        fuzz.done += 1
        if status < 0 and -status not in (5, 22, 13):  # EIO, EINVAL, EACCES
            fuzz.failed("the driver got an answer", errno=-status)
            break
    os.close(ctrl)
    os.close(ns)
    check("commands through the driver", done == count, done=done, refused=refused)


# -- through rings of our own --------------------------------------------------------------------------------


def beyond_ram() -> int:
    """The first address that is no RAM, nor anything after it."""
    lines = [line.split() for line in Path("/proc/iomem").read_text().splitlines() if "System RAM" in line]
    return max(int(line[0].split("-")[1], 16) for line in lines) + 1


class Rings:
    """The function in our hands: an admin queue and two I/O queues, and memory for data with a fence behind it.

    Data never come where PRP lists and rings are read from: what they hold would be taken for addresses.
    """

    FENCE = b"\x5a" * (8 * PAGE)

    def __init__(self, bare: Bare, fuzz: Fuzz, wild: bool) -> None:
        self.bare, self.fuzz, self.wild = bare, fuzz, wild
        self.end_of_ram = beyond_ram()
        self.bar = int((bare.pci / "resource").read_text().split()[0], 16)
        self.fence = HUGE - len(self.FENCE)
        self.begin()

    def begin(self) -> None:
        """Enable, with fresh queues."""
        self.admin = self.bare.enable(sq_size=32, cq_size=32)
        self.bare.wait(ALL, RDY)
        mem = self.bare.mem
        self.io = [Queue(self.bare, qid, 16, 16) for qid in (1, 2)]
        for queue in self.io:
            q, phys = queue.qid, mem.phys
            done = self.admin.status(CREATE_CQ, prp1=phys + queue.cq, cdw10=15 << 16 | q, cdw11=1)
            done |= self.admin.status(CREATE_SQ, prp1=phys + queue.sq, cdw10=15 << 16 | q, cdw11=q << 16 | 1)
            if done:
                self.fuzz.failed("queues can be made", status=hex(done))
        self.lists, self.sq_ring, self.cq_ring = mem.take(4), mem.take(16), mem.take(4)
        self.data = mem.take(0)
        mem.map[self.fence:] = self.FENCE

    def page(self) -> int:
        """One of our pages for data."""
        pages = (self.fence - self.data) // PAGE
        return self.bare.mem.phys + self.data + PAGE * self.fuzz.random.randrange(pages)

    def no_ram(self) -> int:
        """An address that no data may come from or go to."""
        r = self.fuzz.random
        return r.choice((
            self.bar + r.choice((0, 8, 0x1000, 0x80000, MIB, 2 * MIB)), r.randrange(self.end_of_ram, 1 << 64),
            r.choice((0, 0xA0000, 0xFEE00000, 0xFEC00000, 0xFFFFF000, 1 << 45, 1 << 51, 1 << 63, (1 << 64) - PAGE)),
            self.end_of_ram))

    def address(self) -> int:
        """Mostly one of our pages, sometimes not from its start; or what is no RAM."""
        r = self.fuzz.random
        pick = r.randrange(8)
        if pick < 5:
            return self.page()
        if pick == 5:
            return self.page() + r.choice((1, 2, 3, 4, 8, 512, 2048, 4088, 4092, r.randrange(PAGE)))
        return self.no_ram()

    def prps(self, length: int) -> tuple[int, int]:
        """Both, for so many bytes; what lies behind the second is a list just when the device takes it for one."""
        prp1 = self.address()
        offset = prp1 % PAGE
        # once formatted anew, a block may be eight times as long
        fits = [offset + n * length <= 2 * PAGE for n in ((1, 8) if self.wild else (1,))]
        if all(fits):
            return prp1, self.address()
        return prp1, self.no_ram() if any(fits) else self.list()

    def list(self) -> int:
        """The address of a list of good or any addresses, somewhere in our pages of lists; they chain, also in circles."""
        r, mem = self.fuzz.random, self.bare.mem
        first = r.choice((0, 0, 1, 255, 447, 510, 511, r.randrange(512)))
        pick = self.page if r.random() < 0.5 else self.address
        at = self.lists + first * 8
        struct.pack_into("<64Q", mem.map, at, *[pick() for _ in range(64)])
        chain = mem.phys + self.lists + PAGE * r.randrange(4) + r.choice((0, 0, 0, 8))
        struct.pack_into("<Q", mem.map, self.lists + PAGE - 8, chain)
        return mem.phys + at + r.choice((0, 0, 0, 0, 0, 0, 4, 1))

    def flags(self) -> int:
        """Of a command: fused, SGL, reserved; mostly none."""
        return self.fuzz.random.choice((0,) * 9 + (self.fuzz.random.randrange(256),))

    def put(self, queue: Queue, opcode: int, prp1: int, prp2: int, cdws: Cdws) -> int:
        """A command that the doorbell does not announce yet; its identifier."""
        nsid, flags = self.fuzz.nsid(), self.flags()
        self.fuzz.note(f"sq {queue.qid}: {opcode:#x} nsid {nsid:#x} flags {flags:#x} prps {prp1:#x} {prp2:#x} {cdws}")
        return queue.submit(opcode, nsid, prp1, prp2, flags, ring=False, **cdws)

    def put_io(self, queue: Queue) -> int:
        """One I/O command."""
        opcode, cdws, length = self.fuzz.io(BUFFER)
        prp1, prp2 = self.prps(length)
        if opcode == DSM:
            at = self.page() - self.bare.mem.phys
            self.bare.mem.map[at:at + PAGE] = self.fuzz.ranges()
            prp1 = self.bare.mem.phys + at + self.fuzz.random.choice((0, 0, 0, 1, 1 << 60))
        return self.put(queue, opcode, prp1, prp2, cdws)

    def put_admin(self, queue: Queue) -> int:
        """One admin command."""
        r = self.fuzz.random
        opcode, _, cdws = self.fuzz.admin()
        if opcode in QUEUES or r.random() < 0.3:
            return self.put(queue, *self.queue_command(cdws))
        if opcode == AER or (opcode in DESTRUCTIVE and not self.wild):
            opcode = IDENTIFY
        if self.wild and r.random() < 0.1:
            opcode = r.choice(DESTRUCTIVE)
        prp1, prp2 = self.prps(asked(opcode, cdws))
        return self.put(queue, opcode, prp1, prp2, cdws)

    def queue_command(self, cdws: Cdws) -> tuple[int, int, int, Cdws]:
        """Create or delete a queue, of any identifier but those in use: opcode, PRPs, double words."""
        r, phys = self.fuzz.random, self.bare.mem.phys
        opcode = r.choice(QUEUES)
        qid = r.choice((0, *range(3, 12), 64, 65, 0x7FFF, 0xFFFF))
        upper = r.choice((0, 1, 2, qid, qid, 9, 200, 0xFFFF))
        size = r.choice((0, 1, 7, 63, 1022, 1023, 1024, 0xFFFF))
        ring = phys + (self.sq_ring if opcode == CREATE_SQ else self.cq_ring)
        prp1 = r.choice((ring, ring, ring + r.randrange(PAGE), self.no_ram()))
        flags = r.choice((1, 1, 1, 0, 3, 0xFFFF))
        return opcode, prp1, self.address(), {**cdws, "cdw10": size << 16 | qid, "cdw11": upper << 16 | flags}

    def batch(self) -> bool:
        """A few commands on one queue, announced at once; each is answered once, in any order."""
        r = self.fuzz.random
        admin = r.random() < 0.3
        queue = self.admin if admin else r.choice(self.io)
        put = self.put_admin if admin else self.put_io
        want = {put(queue) for _ in range(r.choice((1, 1, 4, 8, 12)))}
        if r.random() < 0.02:
            self.bad_bell(queue)
        queue.ring()
        count = len(want)
        for _ in range(count):
            _, head, cid, status = queue.reap()
            if status == NO_ANSWER or cid not in want or head >= queue.sq_size:
                self.fuzz.failed("each command is answered once", cid=cid, head=head, status=hex(status),
                                 open=sorted(want), csts=hex(self.bare.reg(CSTS)))
                return False
            want.remove(cid)
        self.fuzz.done += count
        return True

    def bad_bell(self, queue: Queue) -> None:
        """A doorbell beyond the queue is ignored, and the next good one is not."""
        value = self.fuzz.random.choice((queue.sq_size, 0xFFFF, ALL))
        self.fuzz.note(f"sq {queue.qid} doorbell {value:#x}")
        queue.ring(value)

    def scribble(self) -> None:
        """Doorbells of any queue, the interrupt table, CC, Bus Master, a function level reset; then a new beginning."""
        r, bare = self.fuzz.random, self.bare
        for _ in range(r.randrange(1, 6)):
            pick, value = r.randrange(8), self.fuzz.word()
            self.fuzz.note(f"scribble {pick} {value:#x}")
            if pick < 3:
                bare.reg(BELLS + r.randrange(2 * 64) * STRIDE, r.choice((value, r.randrange(32))))
            elif pick == 3:
                bare.reg(0x80000 + 4 * r.randrange(4 * 64), value)
            elif pick < 6:
                bare.reg(CC, r.choice((value, ENABLE | 1 << 14, ENABLE | 2 << 14, ENABLE | 3 << 4, ENABLE ^ 1)))
            elif pick == 6:
                bare.command(r.choice((0, 2, 4, 6)))
            else:
                write(bare.pci / "reset", 1)
            if r.random() < 0.5:
                time.sleep(r.random() / 500)  # not a wait: another moment each time
        bare.command(6)
        self.settle()
        self.begin()

    def settle(self) -> None:
        """Disabled, whatever state it was in."""
        self.bare.reg(CC, ENABLE & ~1)
        if not wait_for("CSTS 0", lambda: self.bare.reg(CSTS) & (RDY | CFS) == 0, 10):
            self.fuzz.failed("the controller can be reset", csts=hex(self.bare.reg(CSTS)))

    def run(self, count: int) -> None:
        """So many commands."""
        end = self.fuzz.done + count
        good = True
        while good and self.fuzz.done < end:
            good = self.batch()
            if self.fuzz.random.random() < 0.01:
                self.scribble()
            if self.bare.mem.map[self.fence:] != self.FENCE:
                self.fuzz.failed("the fence stands")
                good = False
        check("commands through rings", good, done=self.fuzz.done, wild=self.wild)
        self.settle()


@contextlib.contextmanager
def showing(fuzz: Fuzz):
    """Say what was done last if the program breaks."""
    try:
        yield
    except Exception as err:
        fuzz.failed("the program itself", error=repr(err))
        raise


def by_rings(fuzz: Fuzz, count: int, wild: bool) -> None:
    """The driver lets go, we fuzz, the driver takes it back."""
    bare = Bare()
    Rings(bare, fuzz, wild).run(count)
    bare.close()


def body(args: argparse.Namespace) -> None:
    """First what leaves the data alone, then what may take them away."""
    equal("load", load_first(args), 0)
    node = disk()
    blocks = int(Path(f"/sys/block/{node.name}/size").read_text())
    fuzz = Fuzz(args.seed, blocks)
    keep(node)
    with showing(fuzz):
        by_driver(fuzz, args.n // 4)
        kept(node, "after the driver's")
        by_rings(fuzz, args.n // 2, wild=False)
        kept(disk(), "after ours")
        by_rings(fuzz, args.n // 4, wild=True)
    for power in (0, 1):
        equal(f"power {power}", write(FIRST / "power", power), 0)
    done = fio(disk(), "--rw=randwrite", "--bs=4k", "--iodepth=8", "--size=16M", "--verify=crc32c", "--verify_fatal=1")
    check("and it verifies", done.returncode == 0, err=done.stderr[-300:])
    write(Path("/proc/sys/vm/nr_hugepages"), 0)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("n", type=int, nargs="?", default=20_000)
    arguments.add_argument("--seed", type=int, default=1)
    main(body, arguments)
