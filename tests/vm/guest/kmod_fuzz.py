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
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from kmod_common import (
    CDWS,
    FIRST,
    check,
    controller,
    disk,
    equal,
    finish,
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
FEW = 16  # of the entries of a page of ranges or addresses, so many are new each time: a guest takes long to draw a number
# what is drawn from a table; None stands for what is drawn anew
WORDS = (ALL, ALL - 1, 0xFFFF, 0xFFFE0000, 0x80000000, 0xFFF0FFF)
NSIDS = (1, 1, 1, 1, 1, 1, 0, 2, ALL, None)
ADMIN = (GET_LOG, IDENTIFY, ABORT, SET, GET, None)
IO = (FLUSH, WRITE, WRITE, READ, READ, 4, 5, 8, DSM, 0xC, 0x19, None)
BLOCKS = (1, 1, 2, 7, 8, 9, 64, None)
OFFSETS = (1, 2, 3, 4, 8, 512, 2048, 4088, 4092, None)
IN_BAR = (0, 8, 0x1000, 0x80000, MIB, 2 * MIB)
NOWHERE = (0, 0xA0000, 0xFEE00000, 0xFEC00000, 0xFFFFF000, 1 << 45, 1 << 51, 1 << 63, (1 << 64) - PAGE)
PROCESSES = 4
QIDS = (0, *range(3, 12), 64, 65, 0x7FFF, 0xFFFF)

Cdws = dict[str, int]
T = TypeVar("T")


def shown(what: object) -> object:
    """Numbers as a person compares them."""
    if isinstance(what, dict):
        return {name: shown(value) for name, value in what.items()}
    return hex(what) if isinstance(what, int) else what


class Fuzz:
    """The generator of commands, and what it did last."""

    def __init__(self, seed: int, blocks: int) -> None:
        self.random = random.Random(seed)
        self.unit = self.random.random
        self.seed, self.blocks = seed, blocks
        self.done = 0
        self.last: deque[tuple[object, ...]] = deque(maxlen=128)
        self.page_of_ranges = b""

    def note(self, *what: object) -> None:
        """Remember it, in case it was one too many."""
        self.last.append((self.done, *what))

    def failed(self, what: str, **detail: object) -> None:
        """A failed check, with all that is needed to see it again."""
        last = [" ".join([f"{done}:", *(str(shown(word)) for word in words)]) for done, *words in self.last]
        check(what, False, seed=self.seed, done=self.done, last=last, **detail)

    def below(self, end: int) -> int:
        """A number from 0: what randrange() takes five times as long for."""
        return int(self.unit() * end)

    def pick(self, table: Sequence[T]) -> T:
        """One of a table."""
        return table[int(self.unit() * len(table))]

    def word(self) -> int:
        """32 bits: small, all ones, one bit, or anything."""
        pick = self.below(5)
        if pick < 2:
            return self.below(8)
        if pick == 2:
            return self.pick(WORDS)
        return 1 << self.below(32) if pick == 3 else self.random.getrandbits(32)

    def slba(self) -> int:
        """Where a command may change blocks: the scratch area, its end, beyond it, and what wraps."""
        first = SCRATCH // BLOCK
        pick = self.below(8)
        if pick == 0:
            return self.blocks - self.below(64)
        if pick == 1:
            return self.pick((self.blocks, self.blocks + 1, 1 << 32, 1 << 55, 1 << 63, (1 << 64) - 1))
        if pick == 2:
            return max(first, self.random.getrandbits(64))
        return first + self.below(self.blocks - first)

    def nsid(self) -> int:
        """Mostly the one there is."""
        nsid = self.pick(NSIDS)
        return self.word() if nsid is None else nsid

    def admin(self) -> tuple[int, int, Cdws]:
        """An admin command that takes nothing away: opcode, NSID, double words."""
        r, below = self.random, self.below
        opcode = self.pick(ADMIN)
        opcode = below(256) if opcode is None else opcode
        cdws = {name: self.word() for name in CDWS}
        if opcode == GET_LOG and r.random() < 0.8:
            cdws["cdw10"] = below(8) | below(1 << 9) << 16 | r.getrandbits(1) << 15
            cdws["cdw12"] = self.pick((0, 0, 4, 64, 512, 4092, 4096, cdws["cdw12"]))
            cdws["cdw11"] = cdws["cdw13"] = 0
        elif opcode == IDENTIFY and r.random() < 0.8:
            cdws["cdw10"] = self.pick((0, 1, 2, 3, below(0x20), cdws["cdw10"]))
        elif opcode in (SET, GET) and r.random() < 0.8:
            cdws["cdw10"] = below(0x20) | below(8) << 8
        return opcode, self.nsid(), cdws

    def io(self, bytes_max: int) -> tuple[int, Cdws, int]:
        """An I/O command whose data are at most so many bytes: opcode, double words, bytes of data."""
        r, slba, blocks_max = self.random, self.slba(), bytes_max // BLOCK
        opcode, blocks = self.pick(IO), self.pick(BLOCKS)
        opcode = self.below(256) if opcode is None else opcode
        blocks = 1 + self.below(blocks_max) if blocks is None else min(blocks, blocks_max)
        cdws = {"cdw10": slba & ALL, "cdw11": slba >> 32, "cdw12": blocks - 1}
        if r.random() < 0.2:
            cdws["cdw12"] |= self.word() & 0xFFFF0000
        if r.random() < 0.2:
            cdws |= {f"cdw{i}": self.word() for i in range(13, 16)}
        if opcode == DSM:
            return opcode, {"cdw10": self.pick((0, 1, 15, 255, self.word())), "cdw11": self.word()}, PAGE
        return opcode, cdws, blocks * BLOCK

    def ranges(self) -> bytes:
        """256 ranges for Dataset Management: new ones, then those of the time before."""
        count = FEW if self.page_of_ranges else 256
        new = b"".join(struct.pack("<IIQ", self.word(), self.pick((0, 1, 8, 4096, self.word())), self.slba())
                       for _ in range(count))
        self.page_of_ranges = (new + self.page_of_ranges)[:PAGE]
        return self.page_of_ranges


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


def at_once(seed: int, blocks: int, count: int) -> int:
    """Several processes, each with a seed of its own: a command through the driver is mostly waited for. Commands done."""
    pids = []
    for n in range(PROCESSES):
        pid = os.fork()
        if not pid:
            fuzz = Fuzz(seed * PROCESSES + n, blocks)
            with contextlib.suppress(Exception), showing(fuzz):
                by_driver(fuzz, count // PROCESSES)
            os._exit(finish())
        pids.append(pid)
    equal("through the driver, at once", [os.waitpid(pid, 0)[1] for pid in pids], [0] * PROCESSES)
    return count // PROCESSES * PROCESSES


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
            fuzz.note("admin", opcode, "nsid", nsid, cdws)
            status, _ = passthru(ctrl, opcode=opcode, nsid=nsid, data=buffer, **cdws)
        else:
            opcode, cdws, length = fuzz.io(BUFFER)
            if opcode == DSM:
                buffer[:PAGE] = fuzz.ranges()
            data = None if opcode == FLUSH or fuzz.random.random() < 0.05 else buffer
            fuzz.note("io", opcode, cdws, "data", length if data is not None else None)
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
        self.entries = {pick: b"".join(struct.pack("<Q", pick()) for _ in range(64)) for pick in (self.page, self.address)}

    def begin(self) -> None:
        """Enable, with fresh queues."""
        self.admin = self.bare.enable(sq_size=32, cq_size=32)
        self.bare.wait(ALL, RDY)
        mem = self.bare.mem
        self.io = [Queue(self.bare, qid, entries, entries) for qid, entries in ((1, 16), (2, 64))]
        for queue in self.io:
            q, phys, cdw10 = queue.qid, mem.phys, queue.sq_size - 1 << 16 | queue.qid
            done = self.admin.status(CREATE_CQ, prp1=phys + queue.cq, cdw10=cdw10, cdw11=1)
            done |= self.admin.status(CREATE_SQ, prp1=phys + queue.sq, cdw10=cdw10, cdw11=q << 16 | 1)
            if done:
                self.fuzz.failed("queues can be made", status=hex(done))
        self.lists, self.sq_ring, self.cq_ring = mem.take(4), mem.take(16), mem.take(4)
        self.data = mem.take(0)
        mem.map[self.fence:] = self.FENCE

    def page(self) -> int:
        """One of our pages for data."""
        pages = (self.fence - self.data) // PAGE
        return self.bare.mem.phys + self.data + PAGE * self.fuzz.below(pages)

    def no_ram(self) -> int:
        """An address that no data may come from or go to."""
        fuzz = self.fuzz
        pick = fuzz.below(4)
        if pick == 0:
            return self.bar + fuzz.pick(IN_BAR)
        if pick == 1:
            return max(self.end_of_ram, fuzz.random.getrandbits(64))
        return fuzz.pick(NOWHERE) if pick == 2 else self.end_of_ram

    def address(self) -> int:
        """Mostly one of our pages, sometimes not from its start; or what is no RAM."""
        pick = self.fuzz.below(8)
        if pick < 5:
            return self.page()
        if pick == 5:
            offset = self.fuzz.pick(OFFSETS)
            return self.page() + (self.fuzz.below(PAGE) if offset is None else offset)
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
        fuzz, mem = self.fuzz, self.bare.mem
        first = fuzz.pick((0, 0, 1, 255, 447, 510, 511, fuzz.below(512)))
        pick = self.page if fuzz.random.random() < 0.5 else self.address
        at = self.lists + first * 8
        new = struct.pack(f"<{FEW}Q", *[pick() for _ in range(FEW)])
        self.entries[pick] = mem.map[at:at + 64 * 8] = new + self.entries[pick][:-len(new)]
        chain = mem.phys + self.lists + PAGE * fuzz.below(4) + fuzz.pick((0, 0, 0, 8))
        struct.pack_into("<Q", mem.map, self.lists + PAGE - 8, chain)
        return mem.phys + at + fuzz.pick((0, 0, 0, 0, 0, 0, 4, 1))

    def flags(self) -> int:
        """Of a command: fused, SGL, reserved; mostly none."""
        return 0 if self.fuzz.below(10) else self.fuzz.below(256)

    def put(self, queue: Queue, opcode: int, prp1: int, prp2: int, cdws: Cdws) -> int:
        """A command that the doorbell does not announce yet; its identifier."""
        nsid, flags = self.fuzz.nsid(), self.flags()
        self.fuzz.note("sq", queue.qid, opcode, "nsid", nsid, "flags", flags, "prps", prp1, prp2, cdws)
        return queue.submit(opcode, nsid, prp1, prp2, flags, ring=False, **cdws)

    def put_io(self, queue: Queue) -> int:
        """One I/O command."""
        opcode, cdws, length = self.fuzz.io(BUFFER)
        prp1, prp2 = self.prps(length)
        if opcode == DSM:
            at = self.page() - self.bare.mem.phys
            self.bare.mem.map[at:at + PAGE] = self.fuzz.ranges()
            prp1 = self.bare.mem.phys + at + self.fuzz.pick((0, 0, 0, 1, 1 << 60))
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
            opcode = self.fuzz.pick(DESTRUCTIVE)
        prp1, prp2 = self.prps(asked(opcode, cdws))
        return self.put(queue, opcode, prp1, prp2, cdws)

    def queue_command(self, cdws: Cdws) -> tuple[int, int, int, Cdws]:
        """Create or delete a queue, of any identifier but those in use: opcode, PRPs, double words."""
        fuzz, phys = self.fuzz, self.bare.mem.phys
        opcode, qid = fuzz.pick(QUEUES), fuzz.pick(QIDS)
        upper = fuzz.pick((0, 1, 2, qid, qid, 9, 200, 0xFFFF))
        size = fuzz.pick((0, 1, 7, 63, 1022, 1023, 1024, 0xFFFF))
        ring = phys + (self.sq_ring if opcode == CREATE_SQ else self.cq_ring)
        prp1 = fuzz.pick((ring, ring, ring + fuzz.below(PAGE), self.no_ram()))
        flags = fuzz.pick((1, 1, 1, 0, 3, 0xFFFF))
        return opcode, prp1, self.address(), {**cdws, "cdw10": size << 16 | qid, "cdw11": upper << 16 | flags}

    def batch(self) -> bool:
        """A few commands on one queue, or all it holds, announced at once; each is answered once, in any order."""
        r = self.fuzz.random
        admin = r.random() < 0.3
        queue = self.admin if admin else self.fuzz.pick(self.io)
        put = self.put_admin if admin else self.put_io
        want = {put(queue) for _ in range(self.fuzz.pick((1, 1, 4, 8, 12, queue.sq_size - 1)))}
        if r.random() < 0.04:
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
        value = self.fuzz.pick((queue.sq_size, 0xFFFF, ALL))
        self.fuzz.note("sq", queue.qid, "doorbell", value)
        queue.ring(value)

    def scribble(self) -> None:
        """Doorbells of any queue, the interrupt table, CC, Bus Master, a function level reset; then a new beginning."""
        r, bare = self.fuzz.random, self.bare
        for _ in range(r.randrange(1, 6)):
            pick, value = r.randrange(8), self.fuzz.word()
            self.fuzz.note("scribble", pick, value)
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
            if self.fuzz.random.random() < 0.02:
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
        fuzz.done = at_once(args.seed, blocks, args.n // 4)
        kept(node, "after the driver's")
        by_rings(fuzz, args.n // 2, wild=False)
        kept(disk(), "after ours")
        by_rings(fuzz, args.n // 4, wild=True)
    for power in (0, 1):
        equal(f"power {power}", write(FIRST / "power", power), 0)
    done = fio(disk(), "--rw=randwrite", "--bs=4k", "--iodepth=8", "--size=16M", "--verify=crc32c", "--verify_fatal=1",
               deadline=600)
    check("and it verifies", done.returncode == 0, err=done.stderr[-300:])
    write(Path("/proc/sys/vm/nr_hugepages"), 0)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("n", type=int, nargs="?", default=20_000)
    arguments.add_argument("--seed", type=int, default=1)
    main(body, arguments)
