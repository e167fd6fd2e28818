# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare, Verify, Write Uncorrectable, Copy, protection; coalescing; what the logs and counters say of it all."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import json
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from kmod_admin import (
    ALL,
    COMPARE,
    DSM,
    GET,
    INVALID_FIELD,
    LBA_RANGE,
    OK,
    READ,
    SET,
    VERIFY,
    WRITE,
    WRITE_UNCOR,
    WRITE_ZEROES,
    Drive,
    lba,
    log,
    ranges,
)
from kmod_common import (
    FIRST,
    HANG,
    check,
    disk,
    equal,
    fio,
    load_first,
    main,
    parser,
    pci,
    read,
    stats,
    unload,
    wait_for,
    write,
)
from kmod_rings import MSIX, MSIX_ENABLE, MSIX_MASK_ALL

COPY = 0x19
COMPARE_FAILED, READ_ERROR, UNWRITTEN, PROTECTED = 0x4285, 0x4281, 0x4287, 0x4020
COPY_LIMIT, OVERLAP = 0x4183, 0x4187
SIZE = 512


def filled(byte: int, blocks: int = 1) -> Any:
    """Blocks of one byte."""
    return ctypes.create_string_buffer(bytes([byte]) * (SIZE * blocks), SIZE * blocks)


def content(d: Drive, slba: int, blocks: int) -> bytes:
    """What blocks hold."""
    back = filled(0xEE, blocks)
    equal(f"read {blocks} blocks at {slba}", d.io(READ, back, **lba(slba, blocks))[0], OK)
    return back.raw


def sources(*items: tuple[int, int]) -> Any:
    """Source ranges of Copy: (slba, nlb)."""
    raw = b"".join(struct.pack("<QQHHIIHH", 0, s, n - 1, 0, 0, 0, 0, 0) for s, n in items)
    return ctypes.create_string_buffer(raw, len(raw))


def copy(d: Drive, to: int, *items: tuple[int, int], flags: int = 0) -> int:
    """The status of one Copy."""
    return d.io(COPY, sources(*items), cdw10=to & ALL, cdw11=to >> 32, cdw12=len(items) - 1 | flags)[0]


def compares(d: Drive) -> None:
    """Equal, different in one byte, never written, and both in one command."""
    d.io(WRITE, filled(0x11, 8), **lba(1000, 8))
    equal("equal", d.io(COMPARE, filled(0x11, 8), **lba(1000, 8))[0], OK)
    other = filled(0x11, 8)
    other[8 * SIZE - 1] = b"\x12"
    equal("the last byte differs", d.io(COMPARE, other, **lba(1000, 8))[0], COMPARE_FAILED)
    d.io(DSM, ranges((1008, 8)), cdw11=4)
    equal("what was never written is zeros", d.io(COMPARE, filled(0, 8), **lba(1008, 8))[0], OK)
    equal("and nothing else", d.io(COMPARE, filled(1, 8), **lba(1008, 8))[0], COMPARE_FAILED)
    both = ctypes.create_string_buffer(bytes([0x11]) * SIZE + bytes(SIZE), 2 * SIZE)
    equal("both", d.io(COMPARE, both, **lba(1007, 2))[0], OK)
    equal("verify", d.io(VERIFY, None, **lba(1000, 65536))[0], OK)


def uncorrectables(d: Drive) -> None:
    """Blocks made unreadable fail every read, also the kernel's, until they are written, zeroed or deallocated."""
    d.io(WRITE, filled(0x22, 64), **lba(2048, 64))
    before = struct.unpack_from("<Q", log(d, 2, 512)[1], 160)[0]
    equal("write uncorrectable", d.io(WRITE_UNCOR, None, **lba(2056, 3))[0], OK)
    for name, opcode, data in (("read", READ, filled(0, 64)), ("compare", COMPARE, filled(0x22, 64)), ("verify", VERIFY, None)):
        equal(f"{name} of them", d.io(opcode, data, **lba(2048, 64))[0], READ_ERROR)
        entry = log(d, 1, 64)[1]
        equal(f"{name}: the first bad block is in the error log", struct.unpack_from("<QI", entry, 16), (2056, 1))
        equal(f"{name}: and the status", struct.unpack_from("<H", entry, 12)[0] >> 1, READ_ERROR)
    equal("copy of them", copy(d, 4096, (2050, 10)), READ_ERROR)
    equal("media errors", struct.unpack_from("<Q", log(d, 2, 512)[1], 160)[0], before + 4)
    equal("their neighbours", content(d, 2048, 8), filled(0x22, 8).raw)
    got = 0
    try:
        os.preadv(d.direct, [mmap.mmap(-1, 4096)], 2056 * SIZE)
    except OSError as err:
        got = err.errno or -1
    check("the kernel sees a medium error", got in (errno.EIO, errno.ENODATA), errno=got)
    d.io(WRITE, filled(0x33), **lba(2056, 1))
    d.io(WRITE_ZEROES, None, **lba(2057, 1))
    d.io(DSM, ranges((2058, 1)), cdw11=4)
    equal("mended", content(d, 2056, 4), filled(0x33).raw + bytes(2 * SIZE) + filled(0x22).raw)


def copies(d: Drive) -> None:
    """Copy of several ranges, what it refuses, and that it takes what is unwritten for zeros."""
    blob = os.urandom(40 * SIZE)
    d.io(WRITE, ctypes.create_string_buffer(blob, len(blob)), **lba(3000, 40))
    d.io(WRITE, filled(0x44, 64), **lba(5000, 64))
    d.io(DSM, ranges((3100, 8)), cdw11=4)
    equal("copy three ranges", copy(d, 5003, (3010, 20), (3100, 4), (3000, 5)), OK)
    want = filled(0x44, 3).raw + blob[10 * SIZE:30 * SIZE] + bytes(4 * SIZE) + blob[:5 * SIZE] + filled(0x44, 8).raw
    equal("what is there now", content(d, 5000, 40) == want, True)
    d.io(DSM, ranges((6000, 4000)), cdw11=4)
    equal("1 MiB to where nothing was", copy(d, 6000, (3000, 40), (5000, 40), *[(3000, 16)] * 123), OK)
    equal("the beginning of it", content(d, 6000, 80) == blob + want, True)
    ns = d.read_page(6, cdw10=0, nsid=1)
    equal("limits", struct.unpack_from("<HIB", ns, 74), (2048, 2048, 127))
    for name, to, items, flags, status in (
        ("format 1", 5000, [(3000, 1)], 0x100, INVALID_FIELD), ("a source over the end", 0, [(d.blocks - 1, 2)], 0, LBA_RANGE),
        ("destination over the end", d.blocks - 1, [(3000, 2)], 0, LBA_RANGE),
        ("onto itself", 3005, [(5000, 1), (3000, 10)], 0, OVERLAP), ("129 ranges", 0, [(3000, 1)] * 129, 0, COPY_LIMIT),
        ("2049 blocks", 8192, [(3000, 2049)], 0, COPY_LIMIT), ("2049 in two", 8192, [(3000, 2048), (1, 1)], 0, COPY_LIMIT),
    ):
        equal(f"copy: {name}", copy(d, to, *items, flags=flags), status)
    equal("nothing happened", content(d, 3000, 40) == blob, True)


def atomic(d: Drive) -> None:
    """While others write, every block that was copied or read is of one writer."""
    stop, blocks, wrote = threading.Event(), 64, [0, 0]

    def writer(which: int) -> None:
        buffers = [mmap.mmap(-1, blocks * SIZE) for _ in range(2)]
        for n, buffer in enumerate(buffers):
            buffer[:] = bytes([0x50 + 2 * which + n]) * len(buffer)
        while not stop.is_set():
            os.pwritev(d.direct, [buffers[wrote[which] % 2]], 9000 * SIZE)
            wrote[which] += 1

    d.io(WRITE, filled(0x50, blocks), **lba(9000, blocks))
    threads = [threading.Thread(target=writer, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    torn = 0
    for _ in range(60):
        copy(d, 9100, (9000, blocks))
        back = filled(0, blocks)
        for at in (9100, 9000):
            d.io(READ, back, **lba(at, blocks))
            raw = back.raw
            torn += sum(len(set(raw[n:n + SIZE])) != 1 for n in range(0, len(raw), SIZE))
    stop.set()
    for thread in threads:
        thread.join()
    check("no block is torn", torn == 0 and all(wrote), torn=torn, wrote=wrote)


@contextlib.contextmanager
def attribute(name: str, value: int) -> Iterator[None]:
    """An attribute of the device, then zero again."""
    equal(f"{name} {value}", write(FIRST / name, value), 0)
    yield
    equal(f"{name} 0", write(FIRST / name, 0), 0)


@contextlib.contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """On one CPU, with all that it starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    yield
    os.sched_setaffinity(0, before)


@contextlib.contextmanager
def feature(d: Drive, fid: int, value: int, nsid: int = 0) -> Iterator[None]:
    """A feature with another value."""
    before = d.admin(GET, cdw10=fid, nsid=nsid)[1]
    equal(f"feature {fid:#x} to {value:#x}", d.admin(SET, cdw10=fid, cdw11=value, nsid=nsid)[0], OK)
    yield
    equal(f"feature {fid:#x} back", d.admin(SET, cdw10=fid, cdw11=before, nsid=nsid)[0], OK)


def switches(d: Drive) -> None:
    """Write protection, and the error for blocks without data."""
    d.io(WRITE, filled(0x66, 8), **lba(1000, 8))
    with feature(d, 0x84, 1, nsid=1):
        for name, opcode, data, kw in (
            ("write", WRITE, filled(1), lba(1000, 1)), ("zeroes", WRITE_ZEROES, None, lba(1000, 1)),
            ("uncorrectable", WRITE_UNCOR, None, lba(1000, 1)), ("deallocate", DSM, ranges((1000, 1)), {"cdw11": 4}),
            ("copy", COPY, sources((1001, 1)), {"cdw10": 1000}),
        ):
            # once it has seen the event the driver itself may refuse, in some kernels
            status = d.io(opcode, data, **kw)[0]
            check(f"protected: {name}", status in (PROTECTED, -errno.EROFS, -errno.EPERM), status=status)
        equal("protected: format", d.admin(0x80, nsid=1)[0], PROTECTED)
        equal("a hint is none", d.io(DSM, ranges((1000, 1)), cdw11=1)[0], OK)
        equal("NSATTR", d.read_page(6, cdw10=0, nsid=1)[99], 1)
        equal("reading goes on", content(d, 1000, 8), filled(0x66, 8).raw)
    equal("writing too", d.io(WRITE, filled(0x67), **lba(1000, 1))[0], OK)
    d.io(DSM, ranges((1100, 8)), cdw11=4)
    with feature(d, 5, 1 << 16, nsid=1):
        equal("no data, an error", d.io(READ, filled(0, 8), **lba(1100, 8))[0], UNWRITTEN)
        equal("data, none", d.io(READ, filled(0, 8), **lba(1000, 8))[0], OK)
    equal("no data, zeros", content(d, 1100, 8), bytes(8 * SIZE))


def smart(d: Drive) -> dict[str, int]:
    """Counters of the SMART log."""
    raw = log(d, 2, 512)[1]
    names = ("read_units", "written_units", "reads", "writes", "busy", "cycles", "hours", "unsafe", "media", "errors")
    return {"warning": raw[0], "kelvin": struct.unpack_from("<H", raw, 1)[0],
            **{name: struct.unpack_from("<Q", raw, 32 + 16 * n)[0] for n, name in enumerate(names)}}


def counters(d: Drive) -> None:
    """SMART: exact counts of commands; units of 1000 blocks, rounded up; temperature and its warning."""
    a = smart(d)
    big = filled(0x77, 500)
    for n in range(8):
        d.io(WRITE, big, **lba(20000 + 500 * n, 500))
        d.io(READ, big, **lba(20000 + 500 * n, 500))
        d.io(COMPARE, big, **lba(20000 + 500 * n, 500))
    b = smart(d)
    # udev or the page cache may read in between, but not write
    equal("8 writes", b["writes"] - a["writes"], 8)
    check("16 reads", b["reads"] - a["reads"] >= 16, reads=b["reads"] - a["reads"])
    equal("4 units written", b["written_units"] - a["written_units"], 4)
    check("8 units read", 8 <= b["read_units"] - a["read_units"] <= 12, units=b["read_units"] - a["read_units"])
    equal("power cycles", b["cycles"], 1)
    equal("cold", (b["kelvin"], b["warning"]), (300, 0))
    equal("heat it", write(FIRST / "temperature", 350), 0)
    c = smart(d)
    equal("hot", (c["kelvin"], c["warning"]), (350, 2))
    equal("no temperature", write(FIRST / "temperature", 0), errno.ERANGE)
    equal("let it cool", write(FIRST / "temperature", 300), 0)
    check("its own statistics", stats()["copies"] > 3 and stats()["compares"] > 8, stats=stats())


def errors(d: Drive) -> None:
    """Each failure has an entry, the newest first, and says which field."""
    before = smart(d)["errors"]
    d.io(READ, filled(0), **lba(d.blocks, 1))
    d.io(0x90, None)
    d.admin(9, cdw10=0x77)
    d.admin(6, d.page, cdw10=0, nsid=99)
    raw = log(d, 1, 64 * 64)[1]
    got = [(struct.unpack_from("<H", raw, 64 * n + 12)[0] >> 1, struct.unpack_from("<H", raw, 64 * n + 14)[0],
            struct.unpack_from("<I", raw, 64 * n + 24)[0]) for n in range(4)]
    equal("four entries", got, [(0x400B, 4, 99), (0x4002, 0xFFFF, 0), (0x4001, 0, 1), (LBA_RANGE, 40, 1)])
    equal("its block", struct.unpack_from("<Q", raw, 64 * 3 + 16)[0], d.blocks)
    counts = [struct.unpack_from("<Q", raw, 64 * n)[0] for n in range(4)]
    equal("they are counted", counts, [before + 4 - n for n in range(4)])
    for _ in range(70):
        d.admin(0x7F)
    raw = log(d, 1, 64 * 64)[1]
    equal("64 are kept", [struct.unpack_from("<Q", raw, 64 * n)[0] for n in (0, 63)], [before + 74, before + 11])


def coalesces(d: Drive) -> None:
    """With coalescing a lone completion waits for the aggregation time, and many take one interrupt.

    One that does not wait is the shortest of many: how long others take is also the host's affair.
    """
    def one() -> float:
        began = time.monotonic()
        os.preadv(d.direct, [buffer], 0)
        return time.monotonic() - began

    def got() -> float:
        began = time.monotonic()
        d.admin(GET, cdw10=1)
        return time.monotonic() - began

    buffer = mmap.mmap(-1, 4096)
    plain = min(one() for _ in range(50))
    with feature(d, 8, 200 << 8 | 9):  # 20 ms, 10 completions
        slow = min(one() for _ in range(5))
        check("a lone read waits 20 ms", slow >= 0.02 > plain, slow=slow, plain=plain)
        vectors = d.admin(GET, cdw10=7)[1] % 65536 + 1
        for vector in range(1, vectors + 1):
            d.admin(SET, cdw10=9, cdw11=1 << 16 | vector)
        check("not where it is disabled", min(one() for _ in range(50)) < 0.02)
        for vector in range(1, vectors + 1):
            d.admin(SET, cdw10=9, cdw11=vector)
        check("enabled again", min(one() for _ in range(5)) >= 0.02)
        check("never the admin queue", min(got() for _ in range(20)) < 0.02)
    check("and off", min(one() for _ in range(50)) < 0.02)


def masked(d: Drive) -> None:
    """A completion behind a mask of all vectors reaches the driver once it is cleared."""
    def control(flags: int) -> None:
        with (pci() / "config").open("r+b", buffering=0) as f:
            f.seek(MSIX + 2)
            f.write(struct.pack("<H", MSIX_ENABLE | flags))

    buffer = mmap.mmap(-1, 4096)
    reader = threading.Thread(target=lambda: os.preadv(d.direct, [buffer], 0))
    before = stats()["commands"]
    control(MSIX_MASK_ALL)
    reader.start()
    check("it completes", wait_for("the command", lambda: stats()["commands"] > before))
    reader.join(0.2)
    check("and the driver does not know", reader.is_alive())
    control(0)
    reader.join(HANG)
    check("now it does", not reader.is_alive())


class Polling:
    """A submitter who never sleeps: Linux' own asynchronous I/O, asked again and again whether it is done."""

    SETUP, GETEVENTS, SUBMIT = 206, 208, 209

    def __init__(self, fd: int) -> None:
        self.call = ctypes.CDLL(None, use_errno=True).syscall
        self.context, self.event, self.now = ctypes.c_ulong(), (ctypes.c_uint64 * 4)(), (ctypes.c_long * 2)()
        self.buffer = mmap.mmap(-1, 4096)
        at = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        # aio_data, key and flags, opcode and priority and file, buffer, bytes, offset, reserved, flags and eventfd
        self.iocb = (ctypes.c_uint64 * 8)(0, 0, fd << 32, at, 4096, 0, 0, 0)
        self.list = (ctypes.c_void_p * 1)(ctypes.addressof(self.iocb))
        if self.call(self.SETUP, 8, ctypes.byref(self.context)):
            raise OSError(ctypes.get_errno(), "io_setup")

    def read(self) -> float:
        """Read a page; how long it took."""
        began = time.monotonic()
        if self.call(self.SUBMIT, self.context, 1, self.list) != 1:
            raise OSError(ctypes.get_errno(), "io_submit")
        while not self.call(self.GETEVENTS, self.context, 0, 1, self.event, self.now):
            pass
        return time.monotonic() - began


def yields(d: Drive) -> None:
    """Where commands take no time a worker lets submitters go first, but no submitter who never sleeps waits for it for long."""
    path = next(path for path in Path("/proc").glob("[0-9]*/comm") if read(path).startswith("nvlab/nvlab0/"))
    worker, cpu = int(path.parent.name), int(read(path).rpartition("/")[2])
    with pinned(cpu):
        served(worker)
        polling = Polling(d.direct)
        bases = [timed(polling, worker)]
        # he who is not found out waits for the end of a time slice, all but the first thousand times
        polled = median(polling.read() for _ in range(20_000))
        bases.append(timed(polling, worker))  # again, as the host may have become slower in between
        check("who polls is served", polled < 2 * max(bases), polled=polled, bases=bases)


def timed(polling: Polling, worker: int) -> float:
    """How long a read takes of a worker that never yields, since its commands take time: one nanosecond."""
    with attribute("read_delay", 1):
        took = median(polling.read() for _ in range(2000))
        equal("where commands take time it does not yield", os.sched_getscheduler(worker), os.SCHED_OTHER)
    return took


def served(worker: int) -> None:
    """fio's commands are served many at once, as by its policy the worker yields. Where a round of them takes very long it takes
    fio for one who polls: whether it yields then depends on the host, and is not judged."""
    policies, done = set(), threading.Event()

    def sample() -> None:
        while not done.wait(0.005):
            policies.add(os.sched_getscheduler(worker))

    sampler = threading.Thread(target=sample)
    before = stats()
    sampler.start()
    ended = fio(disk(), "--rw=randread", "--bs=4k", "--iodepth=16", "--number_ios=8000", "--size=16M", "--output-format=json")
    done.set()
    sampler.join()
    after = stats()
    if not check("fio", ended.returncode == 0, err=ended.stderr[-300:]):
        return
    batch = (after["commands"] - before["commands"]) / (after["passes"] - before["passes"])
    check("it serves what was submitted at once", batch > 4, batch=batch)
    took = 16 * json.loads(ended.stdout)["jobs"][0]["read"]["runtime"] / 8000  # ms, of as many as are under way at once
    yielded = os.SCHED_BATCH in policies
    name = "it yields" if took < 1 else "it yields: left out, the host is too slow"
    check(name, yielded or took >= 1, milliseconds=took, yielded=yielded)


def body(args: argparse.Namespace) -> None:
    """All of it on one device."""
    equal("load", load_first(args), 0)
    d = Drive()
    d.direct = os.open(disk(), os.O_RDWR | os.O_DIRECT)
    compares(d)
    uncorrectables(d)
    copies(d)
    atomic(d)
    switches(d)
    counters(d)
    errors(d)
    coalesces(d)
    masked(d)
    if not args.slow:
        yields(d)
    for fd in (d.direct, d.ns, d.ctrl):
        os.close(fd)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--slow", action="store_true", help="without what depends on how long a command takes")
    main(body, arguments)
