# SPDX-License-Identifier: GPL-2.0-or-later
"""A zoned device driven from user space: which command sets a host enables, and what a notice of zones is about."""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

from kmod_common import IDENTIFY, disk, equal, load, main, parser, unload, wait_for, write
from kmod_rings import ALL, CFS, ENABLE, FIELD, RDY, Bare, Queue
from kmod_zns import APPEND, GONE, READ, RECEIVE, RESET, SEND, SET, SIZE, zoned

EVERY_SET = ENABLE | 6 << 4
ASYNC_EVENT = 0x0C


def io_queue(bare: Bare, q: Queue) -> Queue:
    """A pair without interrupt."""
    io = Queue(bare, 1, 16, 16)
    equal("create CQ", q.status(5, prp1=bare.mem.phys + io.cq, cdw10=15 << 16 | 1, cdw11=1), 0)
    equal("create SQ", q.status(1, prp1=bare.mem.phys + io.sq, cdw10=15 << 16 | 1, cdw11=1 << 16 | 1), 0)
    return io


def sees(bare: Bare, cc: int, active: tuple[int, ...], want: int) -> tuple[Queue, Queue, int]:
    """Enable the controller so, and see what of NSID 1 there is. Its queues, and a page of memory."""
    q = bare.enable(sq_size=16, cq_size=16, cc=cc)
    bare.wait(ALL, RDY)
    page = bare.mem.take()
    address = bare.mem.phys + page
    equal("active list", q.status(IDENTIFY, prp1=address, cdw10=2), 0)
    equal("active", struct.unpack_from("<3I", bare.mem.map, page), active)
    io = io_queue(bare, q)
    equal("its descriptors", q.status(IDENTIFY, nsid=1, prp1=address, cdw10=3), want)
    equal("a read of it", io.status(READ, nsid=1, prp1=address), want)
    equal("a report", io.status(RECEIVE, nsid=1, prp1=address, cdw12=31), want)
    equal("a read of the other", io.status(READ, nsid=2, prp1=address), 0)
    return q, io, page


def notice(device: Path, bare: Bare, q: Queue, io: Queue, page: int) -> None:
    """A zone that turns offline: the event says which log, and of which namespace."""
    address = bare.mem.phys + page
    equal("notices", q.status(SET, cdw10=0x0B, cdw11=1 << 27), 0)
    q.submit(ASYNC_EVENT)
    # enough for a program: what holds nothing is not erased
    equal("append", {io.status(APPEND, nsid=1, prp1=address, cdw10=3 * SIZE) for _ in range(16)}, {0})
    equal("erases fail", write(device / "medium/erase_fail", 1_000_000), 0)
    equal("reset", io.status(SEND, nsid=1, cdw10=3 * SIZE, cdw13=RESET), 0)
    wait_for("the event", q.peek)
    equal("double words 0 and 1", struct.unpack_from("<II", bare.mem.map, q.cq + 16 * q.head), (0xBFEF02, 1))
    q.reap()
    equal("report", io.status(RECEIVE, nsid=1, prp1=address, cdw10=3 * SIZE, cdw12=31), 0)
    equal("the zone", bare.mem.map[page + 65] >> 4, GONE)


def body(args: argparse.Namespace) -> None:
    equal("load", load(args.module), 0)
    with zoned(args.start, "nvlab0", cpus=args.cpus) as device:
        disk(device)
        bare = Bare()
        sees(bare, ENABLE, (2, 0, 0), FIELD)
        equal("disable", bare.disable(), True)
        notice(device, bare, *sees(bare, EVERY_SET, (1, 2, 0), 0))
        equal("disable", bare.disable(), True)
        bare.enable(cc=ENABLE | 7 << 4)
        equal("no such sets", bare.wait(ALL, CFS) and bare.disable(), True)
        bare.close()
        disk(device)
    write(Path("/proc/sys/vm/nr_hugepages"), 0)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    main(body, parser(__doc__))
