# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab.ko's trace: complete, in order, times that agree; what a slow reader loses is counted, or held up; nothing hangs."""

from __future__ import annotations

import argparse
import errno
import os
import select
import struct
import sys
import threading
import time
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

from kmod_common import (
    CONFIGFS,
    HANG,
    check,
    controller,
    disk,
    equal,
    errno_of,
    fio,
    load,
    main,
    new_messages,
    parser,
    powered,
    rule,
    run,
    stats,
    unload,
    wait_for,
    write,
)
from kmod_traced import Reading, TraceReader, trace_node, twin

DEVICE = CONFIGFS / "t"
NODE = trace_node("t")
COMMAND, RANGES, CONFIG, TIMING, RESET, RULE = range(1, 7)
NEVER = 0xFFFF
GIVEN_UP = "its reader reads nothing"
RECORD = struct.Struct("<QHHHHQQQQQQQIIBBHHHI")
NAMES = ("seq", "kind", "qid", "cid", "status", "fetched", "decided", "target", "copied", "completed", "interrupted",
         "slba", "nlb", "nsid", "opcode", "flags", "data", "posted", "fault", "corrupt")


class Record(dict):
    """One record by the names of struct nvc_trace_command."""

    __getattr__ = dict.__getitem__


def records(raw: bytes) -> list[Record]:
    return [Record(zip(NAMES, RECORD.unpack_from(raw, at), strict=True)) for at in range(0, len(raw), 128)]


def device(args: argparse.Namespace, **attributes: object) -> AbstractContextManager[Path]:
    """A device with a trace."""
    settings = {"memmap_start": args.start, "memmap_size": args.size, "cpus": args.cpus, "seed": 7, **attributes}
    return powered("t", **settings)


def load_on(node: Path, ios: int, *more: str) -> None:
    done = fio(node, "--rw=randrw", "--bs=4k", "--iodepth=8", "--size=32M", f"--number_ios={ios}", *more)
    check(f"fio: {ios} commands", done.returncode == 0, err=done.stderr[-300:])


def no_gaps(name: str, found: list[Record]) -> None:
    """Every input of the core is there once."""
    seqs = sorted(r.seq for r in found if r.kind not in (RANGES, CONFIG) and r.seq)
    equal(name, seqs, list(range(1, len(seqs) + 1)))


def agrees(found: list[Record]) -> None:
    """The times of each command, one after the other."""
    done = [r for r in found if r.kind == COMMAND and r.posted != NEVER and r.seq]
    bad = [r for r in done if not (
        0 < r.fetched <= r.decided <= r.copied <= r.completed <= r.interrupted
        and r.decided <= r.target <= r.completed and r.posted == r.status == 0)]
    check("fetch, decision, copy, target, completion, interrupt follow each other", done and not bad, bad=bad[:3])
    # the core numbers them in the order of its time, whichever worker asked
    ordered = sorted(done, key=lambda r: r.seq)
    check("decisions in the order of their numbers", all(a.decided <= b.decided for a, b in pairwise(ordered)))


def complete(args: argparse.Namespace) -> None:
    """Commands, ranges and all other inputs, of a device that is used hard."""
    with device(args, trace=16384, read_delay=20_000) as dev:
        reading = Reading("t", 0.002)
        equal("one reader at a time", errno_of(lambda: os.open(NODE, os.O_RDWR)), errno.EBUSY)
        load_on(disk(dev), 100)
        run("udevadm", "settle")  # it looks at the disk too
        equal("cut", write(dev / "cut", 1), 0)
        node = disk(dev)
        load_on(node, 2000)
        equal("timing", write(dev / "read_delay", 30_000), 0)
        with rule(dev, action="delay", delay=1000, count=1):
            equal("discard", run("blkdiscard", "-o", "65536", "-l", "8192", str(node)).returncode, 0)
            before = len(records(reading.sofar()))
            equal("reset", write(controller(dev) / "reset_controller", 1), 0)
            disk(dev)
        run("udevadm", "settle")  # it looks at the disk too
        seen = stats(dev)
        raw = reading.finish()
        found = records(raw)
        check("the reset was in the middle", before < len(found))
        equal("nothing lost", reading.reader.overruns, 0)
        reading.reader.close()
        counted(found, seen)
        agrees(found)
        workers(seen)
        twin(args.python, raw, 2000, seen)


def counted(found: list[Record], seen: dict[str, int]) -> None:
    """Records and statistics say the same."""
    no_gaps("every number once", found)
    commands = [r for r in found if r.kind == COMMAND and r.posted != NEVER]
    equal("commands recorded as counted", len(commands) >= seen["commands"] > 2000, True)
    equal("reads", sum(r.opcode == 2 for r in commands if r.seq), seen["reads"])
    equal("one configuration, number 0", [r.seq for r in found if r.kind == CONFIG], [0])
    equal("one change of timing", sum(r.kind == TIMING for r in found), 1)
    check("resets", sum(r.kind == RESET for r in found) >= 1)
    equal("a rule set and removed", sum(r.kind == RULE for r in found), 2)
    discards = {r.seq for r in found if r.kind == COMMAND and r.opcode == 9}
    ranges = [r for r in found if r.kind == RANGES]
    check("ranges of the discard", ranges and {r.seq for r in ranges} == discards, ranges=len(ranges))


def workers(seen: dict[str, int]) -> None:
    """Each worker's own statistics; the device's are their sum, or the worst."""
    if not Path("/sys/kernel/debug/nvlab").exists():
        run("mount", "-t", "debugfs", "none", "/sys/kernel/debug")
    each = [dict(line.split() for line in path.read_text().splitlines()) for path in Path("/sys/kernel/debug/nvlab/t").iterdir()]
    check("a file per worker", len(each) >= 1)
    check("commands are the sum", sum(int(w["commands"]) for w in each) >= seen["commands"])
    check("worst is the worst", max(int(w["worst"]) for w in each) >= seen["worst"] > 0)
    check("lateness", seen["timed"] >= seen["late"] and seen["lateness"] >= seen["worst"], seen=seen)


def overruns(args: argparse.Namespace) -> None:
    """Nobody reads: the oldest records stay, the rest is counted."""
    with device(args, trace=256) as dev:
        node = disk(dev)
        load_on(node, 2000)
        commands = stats(dev)["commands"]  # before the records are read: others use the disk too
        reader, raw = TraceReader(NODE), bytearray()
        kept, lost = reader.drain(raw.extend), reader.overruns
        check("full rings, and the rest counted", 256 <= kept <= reader.rings * 256 and lost > 1000, kept=kept, lost=lost)
        done = sum(r.kind == COMMAND for r in records(bytes(raw)))
        check("commands recorded or lost", done + lost >= commands, done=done, lost=lost, commands=commands)
        node.open("rb").read(1 << 20)
        check("room again", reader.drain(raw.extend) > 0)
        equal("nothing more was lost", reader.overruns, lost)
        reader.close()
    equal("no size", refused_sizes(), [errno.EINVAL, errno.ERANGE, errno.ERANGE])


def refused_sizes() -> list[int]:
    DEVICE.mkdir()
    try:
        return [write(DEVICE / "trace", n) for n in (1000, 128, 1 << 21)]
    finally:
        DEVICE.rmdir()


def lossless(args: argparse.Namespace) -> None:
    """A slow reader slows the device down, and misses nothing."""
    with device(args, trace=256, trace_lossless=1) as dev:
        node = disk(dev)
        reading = Reading("t", 0.25)
        load_on(node, 2000)
        found = records(reading.finish())
        check("the device waited", reading.reader.stalls > 3, stalls=reading.reader.stalls)
        equal("nothing lost", reading.reader.overruns, 0)
        no_gaps("lossless: every number once", found)
        agrees(found)
        reading.reader.close()


def waiting(args: argparse.Namespace) -> None:
    """A reader need not look all the time: it is woken for a quarter of a ring, for a device that waits, and for the end."""
    with device(args, trace=1024, trace_lossless=1) as dev:
        node = disk(dev)
        reader = TraceReader(NODE)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        run("udevadm", "settle")
        reader.drain(lambda _: None)
        equal("nothing there", poll.poll(0), [])
        load_on(node, 4)
        equal("a few may wait", poll.poll(0), [])
        job = threading.Thread(target=lambda: load_on(node, 3000))
        started = time.monotonic()
        job.start()
        woken = 0
        while job.is_alive():
            ready = poll.poll(1000)
            woken += bool(ready) and reader.drain(lambda _: None) > 0
        job.join()
        took = time.monotonic() - started
        check("woken when there was much", woken > 3, woken=woken, seconds=took)
        equal("nothing lost", reader.overruns, 0)
        equal("power off", write(dev / "power", 0), 0)
        check("woken for the end", any(event & select.POLLHUP for _, event in poll.poll(5000)))
        reader.close()


def stuck_reader(args: argparse.Namespace) -> None:
    """A reader that reads nothing holds up the device for seconds, its removal not at all."""
    with device(args, trace=256, trace_lossless=1) as dev:
        node = disk(dev)
        reader = TraceReader(NODE)
        with new_messages() as said:
            started = time.monotonic()
            load_on(node, 1500)
            took = time.monotonic() - started
        check("patience lasts for seconds", took > 4, seconds=took)
        check("patience has an end", reader.overruns > 0, overruns=reader.overruns)
        equal("it is told once", said.having(GIVEN_UP), 1)
        check("each ring waited once at most", 0 < reader.stalls <= reader.rings, stalls=reader.stalls, rings=reader.rings)
        equal("off and on", [write(dev / "power", x) for x in (0, 1)], [0, 0])
        check("the old trace ended", reader.ended)
        reader.close()
        # on a host that is slow enough its patience may end before the power is off: that would say nothing
        check("the power goes off during a stall", any(removed_while_stalled(dev) for _ in range(3)))


def removed_while_stalled(dev: Path) -> bool:
    """Whether its patience lasted until then."""
    node = disk(dev)
    reader = TraceReader(NODE)
    job = threading.Thread(target=lambda: fio(node, "--rw=randread", "--bs=4k", "--iodepth=8", "--size=32M"))
    with new_messages() as said:
        job.start()
        wait_for("a stall", lambda: reader.stalls)
        in_time = not said.having(GIVEN_UP)
        started = time.monotonic()
        equal("power off", write(dev / "power", 0), 0)
        took = time.monotonic() - started
    if in_time:
        waited = said.having(GIVEN_UP) or reader.overruns
        check("removal does not wait for a reader", not waited, overruns=reader.overruns, seconds=took)
    job.join(HANG)
    equal("fio has ended", job.is_alive(), False)
    rest = reader.drain(lambda _: None)
    check("the rest can still be read", rest > 100 and reader.ended, records=rest)
    reader.close()
    if not in_time:
        equal("power on", write(dev / "power", 1), 0)
    return in_time


def body(args: argparse.Namespace) -> None:
    equal("load", load(args.module), 0)
    complete(args)
    overruns(args)
    lossless(args)
    waiting(args)
    stuck_reader(args)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--python", default=sys.executable, help="a Python that has what nvlab's simulator needs")
    main(body, arguments)
