# SPDX-License-Identifier: GPL-2.0-or-later
"""Zones as they are used: blkzone, fio, zonefs, two paths, resets under load, power cuts, and what a drive holds."""

from __future__ import annotations

import argparse
import ctypes
import errno
import mmap
import os
import random
import re
import struct
import subprocess
import threading
import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

from kmod_common import (
    HANG,
    check,
    controller,
    disk,
    equal,
    errno_of,
    finish,
    fio,
    fio_beside,
    load,
    main,
    make,
    parser,
    read,
    run,
    size,
    stats,
    unload,
    wait_for,
    write,
)
from kmod_power import node_of, read_all, write_all
from kmod_traced import Reading, twin
from kmod_zns import BLOCK, CAPACITY, CLOSED, EMPTY, FULL, REGION, SIZE, ZONED, ZONES, Drive, zoned

ZONE, USABLE = SIZE * BLOCK, CAPACITY * BLOCK  # bytes
SLOW = {"program_lsb": 400_000, "program_msb": 800_000, "buffer": 256, "recovery": 10}  # so that much is under way
CUTS = 8
WRITERS = 4
# io_uring hands what would block to other threads, and writes to a zone must keep their order
ZBD = ("--ioengine=libaio", "--zonemode=zbd", "--max_open_zones=4")
MOUNT = Path("/tmp/zones")


def passes(name: str, done: subprocess.CompletedProcess[str]) -> None:
    """A program that ended well."""
    check(name, done.returncode == 0, err=(done.stdout + done.stderr)[-600:])


def in_order(node: Path) -> None:
    """Before Linux 6.10 it is the scheduler that keeps several writes to a zone in order."""
    write(Path(f"/sys/block/{node.name}/queue/scheduler"), "mq-deadline")


def blkzone(action: str, node: Path, first: int = 0, count: int = ZONES) -> subprocess.CompletedProcess[str]:
    return run("blkzone", action, "-o", str(first * ZONE // 512), "-c", str(count), str(node))


def states(node: Path) -> list[tuple[int, int]]:
    """State and write pointer of each zone in blocks, as Linux says."""
    rows = re.findall(r"wptr 0x(\w+) .*zcond: *(\d+)", blkzone("report", node).stdout)
    return [(int(state), int(pointer, 16) * 512 // BLOCK) for pointer, state in rows]


def tools(node: Path) -> None:
    """What the kernel says of the disk, and blkzone."""
    queue = Path(f"/sys/block/{node.name}/queue")
    names = ("zoned", "chunk_sectors", "nr_zones", "max_open_zones", "max_active_zones", "zone_append_max_bytes")
    equal("the disk", [read(queue / name) for name in names], ["host-managed", str(ZONE // 512), str(ZONES), "4", "6", "65536"])
    report = blkzone("report", node).stdout.splitlines()
    check("report", len(report) == ZONES and "start: 0x000004000, len 0x004000, cap 0x003000" in report[1], line=report[1:2])
    for action, state in (("open", 3), ("close", CLOSED), ("finish", FULL), ("reset", EMPTY)):
        passes(f"blkzone {action}", blkzone(action, node, 1, 1))
        equal(f"after {action}", states(node)[1][0], state)


def loads(device: Path, node: Path) -> None:
    """fio fills zones, checks them, and resets them on its way; beside it the space without zones is written."""
    in_order(node)
    passes("in order", fio(node, "--rw=write", "--bs=64k", "--iodepth=8", "--size=64M", "--verify=crc32c", *ZBD))
    passes("anywhere", fio(node, "--rw=randwrite", "--bs=16k", "--iodepth=4", "--io_size=48M", "--verify=crc32c",
                           "--verify_backlog=256", *ZBD))
    passes("reads", fio(node, "--rw=randread", "--bs=4k", "--iodepth=16", "--number_ios=3000", *ZBD))
    passes("without zones", fio(disk(device, nsid=2), "--rw=randwrite", "--bs=4k", "--iodepth=8",
                                "--io_size=16M", "--verify=crc32c"))


def goes_on(device: Path, name: str) -> None:
    """Wait until more was read, or written."""
    before = stats(device)[name]
    wait_for(f"more {name}", lambda: stats(device)[name] > before + 20)


def resets(device: Path, node: Path) -> None:
    """Zones are reset while others are written, then the controller while they are read, and while they are written."""
    passes("reset all", blkzone("reset", node))
    half = ZONES // 2
    buffer = mmap.mmap(-1, 1 << 20)
    with fio_beside(node, "--rw=write", "--bs=64k", "--iodepth=4", f"--size={half * ZONE}", "--verify=crc32c", *ZBD,
                    "--max_open_zones=2") as load:
        zone, times, tries, end = half, 0, 0, time.monotonic() + 8
        fd = os.open(node, os.O_WRONLY | os.O_DIRECT)
        while load.runs() and (tries < 4 or time.monotonic() < end):
            os.pwritev(fd, [buffer], zone * ZONE)
            times += blkzone("reset", node, zone, 1).returncode == 0
            zone = zone + 1 if zone + 1 < ZONES else half
            tries += 1
        os.close(fd)
        load.passes("written beside resets")
    check("resets", times > 3, times=times, tries=tries)
    equal("those zones", {state for state, _ in states(node)[half:]}, {EMPTY})
    with fio_beside(node, "--rw=randread", "--bs=4k", "--iodepth=8", *ZBD) as load:
        for _ in range(3):
            goes_on(device, "reads")
            equal("reset the controller", write(controller(device) / "reset_controller", 1), 0)
        goes_on(device, "reads")
        load.passes("read over resets")
    with fio_beside(node, "--rw=write", "--bs=64k", "--iodepth=4", *ZBD) as load:
        goes_on(device, "writes")
        equal("reset the controller", write(controller(device) / "reset_controller", 1), 0)
        controller(device)
        check("fio ends", load.end())
    # a write that was done and not completed cannot be done again: fio may have met an error, and nothing more
    passes("reset all", blkzone("reset", disk(device)))
    in_order(disk(device))
    passes("afterwards", fio(disk(device), "--rw=write", "--bs=64k", "--iodepth=8", "--size=32M", "--verify=crc32c", *ZBD))


def zonefs_begins(node: Path) -> None:
    """Writes the super block of zonefs (fs/zonefs/zonefs.h), whose checksum is over itself without one, into zone 0."""
    passes("reset all", blkzone("reset", node))
    fields = struct.pack("<4s4x32s16sQ", b"SFOZ", b"nvlab", uuid.uuid4().bytes, 0).ljust(BLOCK, b"\0")
    buffer = mmap.mmap(-1, BLOCK)
    buffer[:] = fields[:4] + struct.pack("<I", zlib.crc32(fields) ^ 0xFFFFFFFF) + fields[8:]
    fd = os.open(node, os.O_WRONLY | os.O_DIRECT)
    os.pwritev(fd, [buffer], 0)
    os.close(fd)
    passes("finish", blkzone("finish", node, 0, 1))


class Aio:
    """Linux's asynchronous I/O, a write at a time: zonefs of 6.1 appends what is synchronous, and looks for it behind its end."""

    def __init__(self) -> None:
        self.libc, self.context = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
        equal("io_setup", self.libc.syscall(206, 1, ctypes.byref(self.context)), 0)

    def write(self, fd: int, buffer: mmap.mmap, offset: int) -> int:
        """Bytes written, or -errno."""
        where = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        pwrite = ctypes.create_string_buffer(struct.pack("<QIIHhIQQqQII", 0, 0, 0, 1, 0, fd, where, len(buffer), offset, 0, 0, 0))
        pointer, event = ctypes.pointer(pwrite), (ctypes.c_int64 * 4)()
        if self.libc.syscall(209, self.context, 1, ctypes.byref(pointer)) != 1:
            return -ctypes.get_errno()
        self.libc.syscall(208, self.context, 1, 1, event, None)
        return int(event[2])


def zonefs(node: Path) -> None:
    """A file for each zone: appended to, emptied, filled up; the same after it was mounted again."""
    run("modprobe", "zonefs")
    zonefs_begins(node)
    MOUNT.mkdir(exist_ok=True)
    passes("mount", run("mount", "-t", "zonefs", str(node), str(MOUNT)))
    files = sorted((MOUNT / "seq").iterdir(), key=lambda path: int(path.name))
    equal("files", len(files), ZONES - 1)
    aio, chance, want = Aio(), random.Random(2), dict.fromkeys(files[:4], b"")
    for _ in range(60):
        path = chance.choice(files[:4])
        buffer = mmap.mmap(-1, BLOCK * chance.randrange(1, 40))
        buffer[:] = os.urandom(len(buffer))
        fd = os.open(path, os.O_WRONLY | os.O_DIRECT | (os.O_SYNC if chance.random() < 0.5 else 0))
        equal("appended", aio.write(fd, buffer, len(want[path])), len(buffer))
        want[path] += buffer[:]
        equal("not at the end", errno_of(lambda fd=fd, buffer=buffer: os.pwritev(fd, [buffer], 0)), errno.EINVAL)
        os.close(fd)
    os.truncate(files[5], USABLE)
    os.truncate(files[0], 0)
    want[files[0]] = b""
    for again in ("", ", mounted again"):
        for path, content in want.items():
            equal(f"{path.name}{again}", path.read_bytes() == content, True)
        equal(f"one that was filled up{again}", files[5].stat().st_size, USABLE)
        passes("umount", run("umount", str(MOUNT)))
        passes("mount", run("mount", "-t", "zonefs", str(node), str(MOUNT)))
    passes("umount", run("umount", str(MOUNT)))
    equal("zones", [states(node)[zone][0] for zone in (1, 6)], [EMPTY, FULL])


def stress(path: Path, seed: int, end: float) -> None:
    """Append to a file of zonefs and empty it, until the end; what it holds then is in a plain file of its name."""
    aio, chance, want, emptied = Aio(), random.Random(seed), b"", False
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    while time.monotonic() < end or not emptied:
        buffer = mmap.mmap(-1, BLOCK * chance.randrange(1, 40))
        if chance.random() < 0.05 or len(want) + len(buffer) > USABLE:
            os.ftruncate(fd, 0)
            want, emptied = b"", True
        buffer[:] = chance.randbytes(len(buffer))
        if aio.write(fd, buffer, len(want)) != len(buffer):
            raise OSError(errno.EIO, f"{path} at {len(want)}")
        want += buffer[:]
    os.close(fd)
    Path(f"/tmp/stress-{path.name}").write_bytes(want)


def forked(work: Callable[[], None]) -> int:
    """A process that does it and ends, with 0 if no check of its failed."""
    pid = os.fork()
    if not pid:
        failed = errno_of(work)
        check("a process of its own", not failed, errno=failed)
        os._exit(finish())
    return pid


def zonefs_at_once(node: Path) -> None:
    """Processes that append to files of their own and empty them, all at once; the same after it was mounted again."""
    zonefs_begins(node)
    passes("mount", run("mount", "-t", "zonefs", str(node), str(MOUNT)))
    files, end = [MOUNT / "seq" / str(n) for n in range(WRITERS)], time.monotonic() + 8
    pids = [forked(lambda path=path, seed=seed: stress(path, seed, end)) for seed, path in enumerate(files)]
    equal("all of them ended well", [os.waitpid(pid, 0)[1] for pid in pids], [0] * WRITERS)
    for again in ("", ", mounted again"):
        same = [path.read_bytes() == Path(f"/tmp/stress-{path.name}").read_bytes() for path in files]
        equal(f"what they left{again}", same, [True] * WRITERS)
        passes("umount", run("umount", str(MOUNT)))
        passes("mount", run("mount", "-t", "zonefs", str(node), str(MOUNT)))
    passes("umount", run("umount", str(MOUNT)))


def used(args: argparse.Namespace) -> None:
    with zoned(args.start, cpus=args.cpus, vwc=1) as device:
        tools(disk(device))
        loads(device, disk(device))
        resets(device, disk(device))
        zonefs(disk(device))
        zonefs_at_once(disk(device))


def head(device: Path, functions: list[Path]) -> Path | None:
    """The disk above all paths to namespace 1, once there are all."""
    def first(path: Path) -> bool:
        return (path / "nsid").exists() and read(path / "nsid") == "1"

    for path in Path("/sys/class/nvme-subsystem").glob("*/nvme*n*"):
        ours = first(path) and read(path.parent / "subsysnqn") == read(device / "subnqn") and int(read(path / "size"))
        if ours and all(any(map(first, function.glob("nvme/nvme*/nvme*c*n*"))) for function in functions):
            return Path("/dev") / path.name
    return None


def two_paths(args: argparse.Namespace) -> None:
    """A disk above both controllers; what is written by it is there after one is gone."""
    with zoned(args.start, "w", REGION + (1 << 20), controllers=2, cpus=args.cpus) as device:
        functions = [Path("/sys/bus/pci/devices") / address for address in read(device / "pci").split()]
        node = wait_for("the disk above both", lambda: head(device, functions))
        equal("its zones", len(states(node)), ZONES)
        # writes of a job go one after the other: there is no scheduler above two paths
        job = ("--rw=write", "--bs=64k", "--iodepth=1", "--size=32M", "--verify=crc32c", *ZBD)
        passes("written and verified", fio(node, *job))
        equal("one goes", write(functions[0] / "remove", 1), 0)
        passes("verified by the other", fio(node, *job, "--rw=read"))
        passes("written by the other", fio(node, *job))


class Ledger:
    """Of each zone how far it was written, how far that was acknowledged, how far it is durable, and with which content."""

    def __init__(self) -> None:
        self.begun, self.acked, self.durable = ([0] * ZONES for _ in range(3))
        self.life = [0] * ZONES

    def block(self, zone: int, at: int) -> bytes:
        return struct.pack("<QQQ", zone, at, self.life[zone]).ljust(512, b"\x5a") * (BLOCK // 512)


class Writer(threading.Thread):
    """Writes four zones in turn, a few blocks at a time, flushes now and then, resets what is full; ends with the first error."""

    def __init__(self, node: Path, ledger: Ledger, seed: int) -> None:
        super().__init__(daemon=True)
        self.node, self.ledger, self.random = node, ledger, random.Random(seed)
        self.written = self.error = 0
        self.start()

    def run(self) -> None:
        fd = os.open(self.node, os.O_WRONLY | os.O_DIRECT)
        try:
            while True:
                self.one(fd, self.random.randrange(4))
        except OSError as error:
            self.error = error.errno or -1
        finally:
            os.close(fd)

    def one(self, fd: int, zone: int) -> None:
        ledger, at = self.ledger, self.ledger.acked[zone]
        if at == CAPACITY:
            self.reset(fd, zone)
            at = 0
        count = min(self.random.randrange(1, 33), CAPACITY - at)
        buffer = mmap.mmap(-1, count * BLOCK)
        buffer[:] = b"".join(ledger.block(zone, at + n) for n in range(count))
        ledger.begun[zone] = at + count
        os.pwritev(fd, [buffer], zone * ZONE + at * BLOCK)
        ledger.acked[zone] = at + count
        self.written += 1
        if not self.written % 24:
            before = list(ledger.acked)
            os.fsync(fd)
            ledger.durable = before

    def reset(self, fd: int, zone: int) -> None:
        """From here on the zone may be empty, or full as before."""
        ledger = self.ledger
        ledger.durable[zone] = 0
        if blkzone("reset", self.node, zone, 1).returncode:
            raise OSError(errno.EIO, "reset")
        ledger.begun[zone] = ledger.acked[zone] = 0
        ledger.life[zone] += 1


def wrong(node: Path, zone: int, state: int, pointer: int, ledger: Ledger) -> str | None:
    """What of a zone is not as a cut may leave it; what it holds is durable from now on."""
    end = CAPACITY if state == FULL else pointer
    if not ledger.durable[zone] <= end <= ledger.begun[zone]:
        return f"ends at {end}, durable {ledger.durable[zone]}, begun {ledger.begun[zone]}"
    if state not in (EMPTY, CLOSED, FULL) or (state == EMPTY) != (end == 0):
        return f"state {state}, pointer {pointer}"
    buffer = mmap.mmap(-1, USABLE)
    fd = os.open(node, os.O_RDONLY | os.O_DIRECT)
    for at in range(0, USABLE, 1 << 20):
        os.preadv(fd, [memoryview(buffer)[at:at + (1 << 20)]], zone * ZONE + at)
    os.close(fd)
    blocks = [buffer[at * BLOCK:(at + 1) * BLOCK] for at in range(CAPACITY)]
    kept = next((at for at in range(end) if blocks[at] != ledger.block(zone, at)), end)
    # a zone that was full stays full, whatever of its end was not on the medium yet
    if kept < (ledger.durable[zone] if state == FULL else end) or blocks[kept:] != [bytes(BLOCK)] * (CAPACITY - kept):
        return f"block {kept} of {end}, durable {ledger.durable[zone]}"
    ledger.begun[zone] = ledger.acked[zone] = end
    ledger.durable[zone] = kept
    return None


def pull(device: Path, seed: int, ledger: Ledger, least: int) -> None:
    """Cut the power under a writer; see what is left."""
    writer = Writer(disk(device), ledger, seed)
    wait_for("writes", lambda: writer.written > least or not writer.is_alive())
    equal(f"cut {seed}", write(device / "cut", 1), 0)
    writer.join(HANG)
    check(f"the writer met an error {seed}", writer.error, alive=writer.is_alive())
    node = disk(device)
    found = zones_of(device)
    equal(f"zones {seed}", [wrong(node, zone, *found[zone], ledger) for zone in range(4)], [None] * 4)


def zones_of(device: Path) -> list[tuple[int, int]]:
    """State and write pointer of each zone, as the drive says."""
    d = Drive(device)
    try:
        return d.zones()
    finally:
        d.close()


def cuts(args: argparse.Namespace) -> None:
    """Again and again, at any moment; the twin says the same of each."""
    chance = random.Random(5)
    with zoned(args.start, "p", cpus=args.cpus, vwc=1, seed=3, medium=SLOW, trace=16384, trace_lossless=1) as device:
        reading = Reading("p", 0.002)
        ledger = Ledger()
        for seed in range(CUTS):
            pull(device, seed, ledger, chance.randrange(20, 300))
        live = stats(device)
        check("something was lost", live["lost_units"] > 0, lost=live["lost_units"])
        equal("cuts", live["power_cuts"], CUTS)
        run("udevadm", "settle")
        raw, live = reading.complete(), stats(device)
    twin(args.python, raw, 500, live)


def held(args: argparse.Namespace) -> None:
    """Switched off in order it keeps its zones, closed; so does a drive like it that its state is written to."""
    settings = {"kind": "zns", "memmap_start": size(args.start), "memmap_size": REGION, "block_size": BLOCK, "vwc": 1}
    medium = {f"medium/{name}": value for name, value in ZONED.items()}
    want: tuple[list[tuple[int, int]], bytes] | None = None
    whole = b""
    for name in ("one", "two"):
        device = make(name, **settings, **medium)
        equal("hold", write(device / "hold", 1), 0)
        if want:
            equal("the state of the other", write_all(name, whole), 0)
        equal("power", write(device / "power", 1), 0)
        if not want:
            in_order(disk(device))
            passes("written", fio(disk(device), "--rw=write", "--bs=64k", "--iodepth=4", "--size=30M", *ZBD))
            passes("a little", run("dd", "if=/dev/urandom", f"of={disk(device)}", "bs=64k", "count=3", "oflag=direct",
                                   f"seek={10 * ZONE >> 16}"))
            before = zones_of(device), content(disk(device))
            equal("off", write(device / "power", 0), 0)
            with node_of(name).open("rb", buffering=0) as state:
                whole = read_all(state)
            equal("on", write(device / "power", 1), 0)
            want = [(CLOSED if 1 < state < CLOSED else state, at) for state, at in before[0]], before[1]
        equal(f"{name}: its zones", zones_of(device), want[0])
        check(f"{name}: its content", content(disk(device)) == want[1])
        equal("off", write(device / "power", 0), 0)
        equal("let go", write(device / "hold", 0), 0)
        device.rmdir()


def content(node: Path) -> bytes:
    """All of a disk, past the page cache."""
    return subprocess.run(("dd", f"if={node}", "bs=1M", "iflag=direct", "status=none"), capture_output=True, check=True).stdout


def body(args: argparse.Namespace) -> None:
    equal("load", load(args.module), 0)
    used(args)
    two_paths(args)
    cuts(args)
    held(args)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--python", default="python3", help="a Python that has what nvlab's simulator needs")
    main(body, arguments)
