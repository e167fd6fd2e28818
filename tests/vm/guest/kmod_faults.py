# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab.ko's faults by rule, as the stock driver sees them: each kind hits what it should, and the drive gets over it."""

from __future__ import annotations

import argparse
import contextlib
import errno
import mmap
import os
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import kmod_common
from kmod_common import (
    CONFIGFS,
    Load,
    check,
    controller,
    disk,
    equal,
    errno_of,
    fio,
    load,
    main,
    new_messages,
    page_buffer,
    parser,
    passthru,
    pci,
    read,
    stats,
    unload,
    wait_for,
    write,
)

DEVICE = CONFIGFS / "f"
FAULTS = DEVICE / "faults"
MEDIA_ERROR = 0x4281
INTERNAL_ERROR = 0x4006
LBA = 100_000  # where nobody but these tests looks


rule = partial(kmod_common.rule, DEVICE)


def hits(path: Path) -> int:
    return int(read(path / "hits"))


def pread(lba: int = LBA) -> int:
    """One 4 KiB read by the block layer; 0 or the errno."""
    fd, buf = os.open(disk(DEVICE), os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 4096)
    try:
        return errno_of(lambda: os.preadv(fd, [buf], lba * 512))
    finally:
        os.close(fd)


def pwrite(lba: int = LBA) -> int:
    """One 4 KiB write by the block layer; 0 or the errno."""
    fd, buf = os.open(disk(DEVICE), os.O_WRONLY | os.O_DIRECT), mmap.mmap(-1, 4096)
    try:
        return errno_of(lambda: os.pwritev(fd, [buf], lba * 512))
    finally:
        os.close(fd)


def statuses(n: int, lba: int = LBA) -> list[int]:
    """What n reads of one block answer to a passthrough command."""
    fd, data = os.open(disk(DEVICE), os.O_RDWR), page_buffer(512)
    try:
        return [passthru(fd, io=True, opcode=2, nsid=1, data=data, cdw10=lba)[0] for _ in range(n)]
    finally:
        os.close(fd)


def refuses() -> None:
    """What an attribute does not take, and when."""
    path = FAULTS / "bad"
    path.mkdir()
    bad = {"action": "explode", "opcode": "frobnicate", "status": -1, "queue": 65536, "chance": "half", "enable": "maybe"}
    for key, value in bad.items():
        check(f"{key} = {value} is refused", write(path / key, value) in (errno.EINVAL, errno.ERANGE))
    equal("no status", write(path / "enable", 1), errno.EINVAL)
    equal("a status", write(path / "status", MEDIA_ERROR), 0)
    equal("beyond certainty", [write(path / "chance", 1_000_001), write(path / "enable", 1)], [0, errno.ERANGE])
    equal("never", [write(path / "chance", 1), write(path / "every", 0), write(path / "enable", 1)], [0, 0, errno.EINVAL])
    equal("at last", [write(path / "every", 1), write(path / "enable", 1)], [0, 0])
    equal("busy while on", write(path / "status", 1), errno.EBUSY)
    equal("a device with a rule stays", errno_of(DEVICE.rmdir), errno.ENOTEMPTY)
    path.rmdir()
    made = [FAULTS / str(n) for n in range(32)]
    for one in made:
        one.mkdir()
    equal("a 33rd", errno_of((FAULTS / "more").mkdir), errno.ENOSPC)
    for one in made:
        one.rmdir()


def fails() -> None:
    """A status, for a range of blocks."""
    with rule(action="status", opcode="read", slba=LBA, nlb=8, status=MEDIA_ERROR) as path:
        with new_messages() as said:
            equal("an error of the medium", pread(), errno.ENODATA)
        words = f"critical medium error, dev {disk(DEVICE).name}, sector {LBA}"
        check("a medium error at the block", any(words in line for line in said), said=said[-3:])
        equal("hits", hits(path), 1)
        equal("beside it", pread(LBA + 8), 0)
        equal("a write of it", pwrite(), 0)
        equal("the status itself", statuses(1), [MEDIA_ERROR])
        equal("off", write(path / "enable", 0), 0)
        equal("hits can still be read", hits(path), 2)
        equal("no more", statuses(2), [0, 0])
    equal("no directory, no rule", pread(), 0)
    with rule(action="status", opcode="read", slba=LBA, nlb=8, status=INTERNAL_ERROR):
        equal("an error of the drive", pread(), errno.EIO)


def counts() -> None:
    """Every nth, so many times, by chance."""
    with rule(action="status", opcode=2, slba=LBA, nlb=1, status=MEDIA_ERROR, every=3, count=2):
        got = statuses(12)
        equal("every third, twice", [n for n, s in enumerate(got) if s], [2, 5])
    chosen = []
    for _ in range(2):
        with rule(action="status", slba=LBA, nlb=1, status=MEDIA_ERROR, chance=200_000) as path:
            got = statuses(100)
            chosen.append([n for n, s in enumerate(got) if s])
            equal("hits counted", hits(path), len(chosen[-1]))
    equal("the seed's chance", chosen[0], chosen[1])
    check("a fifth or so", 5 < len(chosen[0]) < 40, hits=len(chosen[0]))
    with rule(action="status", status=MEDIA_ERROR, slba=LBA, nlb=1, queue=200):
        equal("another queue", statuses(1), [0])


def delays() -> None:
    took = []
    with rule(action="delay", delay=50_000_000, slba=LBA, nlb=1):
        for _ in range(10):
            start = time.monotonic()
            equal("a delayed read", pread(), 0)
            took.append(time.monotonic() - start)
    check("50 ms", 0.05 <= min(took) < 0.5, seconds=took)


@contextlib.contextmanager
def patience(milliseconds: int) -> Iterator[None]:
    """How long the driver waits for a command; 30 s again afterwards, so that it gives up none that a slow host keeps waiting."""
    attribute = Path(f"/sys/block/{disk(DEVICE).name}/queue/io_timeout")
    equal("patience", write(attribute, milliseconds), 0)
    yield
    equal("patience again", write(attribute, 30_000), 0)


def recovers(name: str, said: list[str], *wanted: str) -> None:
    for words in wanted:
        check(f"{name}: {words}", any(re.search(words, line) for line in said), said=said[-6:])


def drops() -> None:
    """A lost command: the driver waits, aborts, resets, and repeats it."""
    with rule(action="drop", opcode="read", slba=LBA, nlb=1, count=1) as path, new_messages() as said:
        with patience(500):
            equal("read after all", pread(), 0)
        equal("hits", hits(path), 1)
    recovers("drop", said, "timeout, aborting", "timeout, reset controller")
    with rule(action="delay", delay=3600 * 10**9, slba=LBA, nlb=1, count=1), new_messages() as said, patience(5000):
        equal("aborted, and repeated", pread(), 0)  # as long again it waits for the abort
    recovers("stuck", said, "timeout, aborting", "Abort status: 0x0")
    check("an abort was enough", not any("reset controller" in line for line in said))


def fatal() -> None:
    """A controller that fails is reset."""
    with rule(action="fatal", opcode="read", slba=LBA, nlb=1, count=1), new_messages() as said, patience(500):
        equal("read after all", pread(), 0)
    recovers("fatal", said, "controller is down; will reset: CSTS=0x3")
    check("live again", controller(DEVICE))


def corrupts() -> None:
    """What fio wrote, or reads, is not what it gets."""
    job = ("--rw=randwrite", "--bs=4k", "--iodepth=4", "--size=2M", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1")
    for opcode in ("write", "read"):
        with rule(action="corrupt", opcode=opcode, every=100) as path:
            done = fio(disk(DEVICE), *job)
            check(f"a corrupted {opcode} is found", done.returncode != 0 and "verify" in done.stderr + done.stdout,
                  out=done.stderr[-300:])
            check("hits", hits(path) > 0)
    equal("and without", fio(disk(DEVICE), *job).returncode, 0)


def read_only() -> None:
    """From the second write on nothing can be changed."""
    with rule(action="read-only", opcode="write", slba=LBA, nlb=64, every=2) as path:
        with new_messages() as said:
            equal("second write fails", [pwrite(), pwrite()], [0, errno.ENODATA])
        recovers("read-only", said, "critical medium error")
        equal("elsewhere too", [pwrite(LBA + 4096), pread()], [errno.ENODATA, 0])
        equal("off", write(path / "enable", 0), 0)
        equal("writes again", pwrite(), 0)


def unplugs() -> None:
    """The link is lost under I/O: errors, no hang; power off and on plugs it in again."""
    node, where = disk(DEVICE), pci(DEVICE)
    job = Load(node, "--rw=randrw", "--bs=4k", "--iodepth=16", "--size=32M")
    before = stats(DEVICE)["commands"]
    wait_for("I/O", lambda: stats(DEVICE)["commands"] > before + 200)
    with rule(action="link-loss", every=50, count=1) as path:
        job.fails("fio failed")
        wait_for("the function to go", lambda: not where.exists())
        equal("hits", hits(path), 1)
        equal("the power is on", read(DEVICE / "power"), "1")
        equal("a rescan finds nothing", [write(Path("/sys/bus/pci/rescan"), 1), where.exists()], [0, False])
    equal("off and on", [write(DEVICE / "power", x) for x in (0, 1)], [0, 0])
    equal("it is back", pread(), 0)


def survives_power() -> None:
    """A rule that is on when the power goes on is in force."""
    with rule(action="status", slba=LBA, nlb=1, status=MEDIA_ERROR) as path:
        equal("off and on", [write(DEVICE / "power", x) for x in (0, 1)], [0, 0])
        equal("in force", statuses(1), [MEDIA_ERROR])
        equal("off while the power is off", [write(DEVICE / "power", 0), write(path / "enable", 0)], [0, 0])
        equal("on", write(DEVICE / "power", 1), 0)
        equal("not in force", statuses(1), [0])


def body(args: argparse.Namespace) -> None:
    equal("load", load(args.module), 0)
    DEVICE.mkdir()
    for key, value in {"memmap_start": args.start, "memmap_size": args.size, "cpus": args.cpus, "seed": 3, "power": 1}.items():
        equal(key, write(DEVICE / key, value), 0)
    for part in (refuses, fails, counts, delays, drops, fatal, corrupts, read_only, unplugs, survives_power):
        part()
    DEVICE.rmdir()
    equal("unload", unload(), 0)


if __name__ == "__main__":
    main(body, parser(__doc__))
