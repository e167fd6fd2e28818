# SPDX-License-Identifier: GPL-2.0-or-later
"""The power of an SSD: cut while it is written to, switched off in order, and what it holds taken elsewhere and back."""

from __future__ import annotations

import argparse
import errno
import mmap
import os
import random
import struct
import threading
import time
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
    make,
    new_messages,
    page_buffer,
    parser,
    passthru,
    powered,
    run,
    size,
    stats,
    unload,
    wait_for,
    write,
)
from kmod_ssd import REGION, SMALL, smart_log
from kmod_traced import CHECKOUT, Reading, twin

MIB = 1 << 20
BLOCK = 4096
BLOCKS = 2000  # that are written to
SLOW = SMALL | {"program_lsb": 400_000, "program_msb": 800_000, "buffer": 256}  # so that much is under way
CUTS = 12


class Ledger:
    """Which version of each block was begun, which was acknowledged, and which is durable."""

    def __init__(self) -> None:
        self.begun = [0] * BLOCKS
        self.acked = [0] * BLOCKS
        self.durable = [0] * BLOCKS


def stamped(block: int, version: int) -> bytes:
    """The content of a block: its name in every 512 bytes."""
    return struct.pack("<QQ", block, version).ljust(512, b"\x5a") * (BLOCK // 512)


class Writer(threading.Thread):
    """Writes random blocks, some of them with FUA, flushes now and then, and keeps the ledger; ends with the first error."""

    def __init__(self, node: Path, ledger: Ledger, seed: int) -> None:
        super().__init__()
        self.node, self.ledger, self.random = node, ledger, random.Random(seed)
        self.written = 0
        self.error = 0
        self.start()

    def run(self) -> None:
        buffer = mmap.mmap(-1, BLOCK)
        plain, fua = (os.open(self.node, os.O_WRONLY | os.O_DIRECT | flag) for flag in (0, os.O_DSYNC))
        try:
            while True:
                self.one(plain, fua, buffer)
        except OSError as error:
            self.error = error.errno or -1
        finally:
            os.close(plain)
            os.close(fua)

    def one(self, plain: int, fua: int, buffer: mmap.mmap) -> None:
        ledger, block, durable = self.ledger, self.random.randrange(BLOCKS), self.random.random() < 0.05
        version = ledger.begun[block] = ledger.begun[block] + 1
        buffer[:] = stamped(block, version)
        os.pwritev(fua if durable else plain, [buffer], block * BLOCK)
        ledger.acked[block] = version
        if durable:
            ledger.durable[block] = version
        self.written += 1
        if not self.written % 64:
            before = list(ledger.acked)
            os.fsync(plain)
            ledger.durable = before


def found(node: Path) -> list[int]:
    """The version of each block on the drive; -1 where it is no version of this block, or not one alone."""
    versions = []
    buffer = mmap.mmap(-1, BLOCK)
    fd = os.open(node, os.O_RDONLY | os.O_DIRECT)
    try:
        for block in range(BLOCKS):
            os.preadv(fd, [buffer], block * BLOCK)
            name, version = struct.unpack_from("<QQ", buffer)
            whole = buffer[:] == (stamped(block, version) if version else bytes(BLOCK))
            versions.append(version if whole and name in (block, 0) else -1)
    finally:
        os.close(fd)
    return versions


def judged(ledger: Ledger, versions: list[int]) -> tuple[list[int], list[int], list[int]]:
    """The blocks that are torn, that were lost though durable, that were never written so."""
    torn = [block for block, version in enumerate(versions) if version < 0]
    lost = [block for block, version in enumerate(versions) if version < ledger.durable[block]]
    never = [block for block, version in enumerate(versions) if version > ledger.begun[block]]
    return torn, lost, never


def pull(device: Path, seed: int, ledger: Ledger, least: int) -> None:
    """Cut the power under a writer; see what is left."""
    writer = Writer(disk(device), ledger, seed)
    wait_for("writes", lambda: writer.written > least or not writer.is_alive())
    equal(f"cut {seed}", write(device / "cut", 1), 0)
    writer.join(HANG)
    check(f"the writer met an error {seed}", writer.error, alive=writer.is_alive())
    versions = found(disk(device))
    equal(f"torn, lost though durable, never written {seed}", judged(ledger, versions), ([], [], []))
    # what is there now is what there was before whatever comes
    ledger.begun, ledger.acked, ledger.durable = list(versions), list(versions), list(versions)


def smart(device: Path) -> tuple[int, int]:
    """Power cycles and unsafe shutdowns."""
    return struct.unpack_from("<QQQQQ", smart_log(device), 112)[::4]


def cuts(args: argparse.Namespace) -> None:
    """Again and again, with a write-back cache, at any moment; the twin says the same of each."""
    settings = {"kind": "ssd", "memmap_start": size(args.start), "memmap_size": REGION, "vwc": 1, "seed": 3, "cpus": args.cpus}
    medium = {f"medium/{name}": value for name, value in SLOW.items()}
    chance = random.Random(5)
    with powered("p", **settings, **medium, trace=16384, trace_lossless=1) as device:
        reading = Reading("p", 0.002)
        disk(device)
        ledger, before = Ledger(), smart(device)
        for seed in range(CUTS):
            pull(device, seed, ledger, chance.randrange(20, 700))
        equal("cycles, unsafe ones", [b - a for a, b in zip(before, smart(device), strict=True)], [CUTS, CUTS])
        live = stats(device)
        check("something was lost", live["lost_units"] > 0, lost=live["lost_units"])
        equal("cuts", live["power_cuts"], CUTS)
        run("udevadm", "settle")
        raw, live = reading.complete(), stats(device)
    twin(args.python, raw, 1000, live)


FUA = 1 << 30  # of double word 12
PER_BLOCK = BLOCK // 512


def io(fd: int, opcode: int, slba: int, cdw12: int, data: object = None, nsid: int = 1) -> int:
    """The status of one I/O command that begins at a block."""
    return passthru(fd, io=True, opcode=opcode, nsid=nsid, data=data, cdw10=slba, cdw12=cdw12)[0]  # type: ignore[arg-type]


def copy(fd: int, to: int, cdw12: int) -> int:
    """The status of a Copy of block 0."""
    source = page_buffer()
    struct.pack_into("<QQH", source, 0, 0, 0, PER_BLOCK - 1)
    return io(fd, 0x19, to * PER_BLOCK, cdw12, source)


def again(fd: int, to: int, cdw12: int) -> int:
    """A block is written, and stays in the buffer; the status of a Read of it."""
    buffer = mmap.mmap(-1, BLOCK)
    buffer[:] = stamped(0, 1)
    os.pwritev(fd, [buffer], to * BLOCK)
    return io(fd, 0x02, to * PER_BLOCK, cdw12 | PER_BLOCK - 1, page_buffer(BLOCK))


def forced(args: argparse.Namespace) -> None:
    """What completed with FUA outlives a cut at once, though it is less than a program; without FUA it is gone."""
    settings = {"kind": "ssd", "memmap_start": size(args.start), "memmap_size": REGION, "vwc": 1, "cpus": args.cpus}
    with powered("p", **settings, **{f"medium/{name}": value for name, value in SLOW.items()}) as device:
        buffer = mmap.mmap(-1, BLOCK)
        buffer[:] = stamped(0, 1)
        cases = [(act, fua, left) for act in (copy, again) for fua, left in ((FUA, stamped(0, 1)), (0, bytes(BLOCK)))]
        for to, (act, fua, left) in enumerate(cases, 1):
            fd = os.open(disk(device), os.O_RDWR | os.O_DIRECT)
            os.pwritev(fd, [buffer], 0)
            os.fsync(fd)
            equal(f"{act.__name__}, flags {fua:x}h", act(fd, 8 * to, fua), 0)
            equal("cut", write(device / "cut", 1), 0)
            os.close(fd)
            with open(disk(device), "rb") as node:
                node.seek(8 * to * BLOCK)
                check(f"what a cut leaves of {act.__name__}, flags {fua:x}h", node.read(BLOCK) == left)


class Halver(threading.Thread):
    """Writes a page of eight blocks of 512 bytes again and again, and deallocates its first half after even versions, its second
    after odd ones."""

    def __init__(self, node: Path, versions: int) -> None:
        super().__init__()
        self.node, self.versions, self.statuses = node, versions, set[int]()
        self.start()

    def run(self) -> None:
        fd = os.open(self.node, os.O_WRONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, BLOCK)
        for version in range(1, self.versions):
            buffer[:] = stamped(0, version)
            os.pwritev(fd, [buffer], 0)
            self.statuses.add(io(fd, 0x08, version % 2 * 4, 3))
        os.close(fd)


def seen_torn(page: bytes) -> bool:
    """Whether a page is neither a version nor what is left of it."""
    versions = [struct.unpack_from("<QQ", page, at)[1] for at in range(0, BLOCK, 512)]
    version = max(versions)
    halved = [0, version] if version % 2 == 0 else [version, 0]
    return versions not in ([version] * 8, [v for v in halved for _ in range(4)])


def atomic(args: argparse.Namespace) -> None:
    """What Identify says of blocks of 512 bytes: a page is written as one, and a cut tears no more of it than is said."""
    settings = {"kind": "ssd", "memmap_start": size(args.start), "memmap_size": REGION, "vwc": 1, "cpus": args.cpus}
    for awupf, block, told in ((0, 512, (0, 0, 0, 0, 0, 0)), (3, 512, (7, 3, 0, 7, 0, 7)), (200, 4096, (0, 0, 0, 0, 0, 0)),
                               (200, 512, (7, 7, 0, 7, 0, 7))):
        medium = {f"medium/{name}": value for name, value in (SLOW | {"awupf": awupf}).items()}
        with powered("p", **settings, **medium, block_size=block) as device:
            data = page_buffer()
            with open(f"/dev/{controller(device).name}", "rb") as node:
                passthru(node.fileno(), opcode=6, nsid=1, data=data)
            equal(f"NAWUN, NAWUPF, NACWU, NABSN, NABO, NABSPF of {awupf}", struct.unpack_from("<6H", data, 34), told)
            equal("and that these count", data.raw[24] >> 1 & 1, any(told))
            if told[1] < 7:
                continue
            halver, pages, buffer = Halver(disk(device), 1500), 0, mmap.mmap(-1, BLOCK)
            fd = os.open(disk(device), os.O_RDONLY | os.O_DIRECT)
            torn = []
            while halver.is_alive():
                os.preadv(fd, [buffer], 0)
                pages += 1
                torn += [buffer[:]] if seen_torn(buffer[:]) else []
            os.close(fd)
            equal("Write Zeroes", halver.statuses, {0})
            check("a page is never seen torn", pages > 100 and not torn, pages=pages, torn=len(torn))
            ledger = Ledger()
            equal("as new", write_zeroes(disk(device)), 0)
            pull(device, 1, ledger, 300)


def write_zeroes(node: Path) -> int:
    """Page 0 reads as zeros, for good."""
    fd = os.open(node, os.O_RDWR)
    status = io(fd, 0x08, 0, PER_BLOCK - 1)
    os.fsync(fd)
    os.close(fd)
    return status


def protected(args: argparse.Namespace) -> None:
    """With capacitors nothing acknowledged is ever lost, and with a recovery time one waits."""
    settings = {"kind": "ssd", "memmap_start": size(args.start), "memmap_size": REGION, "vwc": 0, "cpus": args.cpus}
    medium = {f"medium/{name}": value for name, value in (SLOW | {"plp": 1, "recovery": 1500}).items()}
    with powered("p", **settings, **medium) as device:
        writer = Writer(disk(device), Ledger(), 1)
        wait_for("writes", lambda: writer.written > 300)
        began = time.monotonic()
        equal("cut", write(device / "cut", 1), 0)
        writer.join(HANG)
        versions = found(disk(device))
        check("it took its time", time.monotonic() - began > 1.5, seconds=time.monotonic() - began)
        acked, begun = writer.ledger.acked, writer.ledger.begun
        equal("lost", [block for block in range(BLOCKS) if not acked[block] <= versions[block] <= begun[block]], [])
        equal("off", write(device / "power", 0), 0)
        equal("a cut of what is off", write(device / "cut", 1), errno.ENODEV)
        equal("no such cut", write(device / "cut", 0), errno.EINVAL)


def node_of(name: str) -> Path:
    return Path(f"/dev/nvlab-state-{name}")


def held(args: argparse.Namespace) -> bytes:
    """Switched off in order, it holds what it held; its state can be read, and is written to another."""
    half = REGION
    settings = {"kind": "ssd", "memmap_size": half, "vwc": 1, "seed": 3, "cpus": args.cpus}
    medium = {f"medium/{name}": value for name, value in SMALL.items()}
    one = make("one", memmap_start=size(args.start), **settings, **medium)
    equal("hold", write(one / "hold", 1), 0)
    equal("held, and off", ((one / "hold").read_text(), (one / "power").read_text()), ("1\n", "0\n"))
    equal("its settings are busy", write(one / "block_size", 4096), errno.EBUSY)
    equal("power", write(one / "power", 1), 0)
    node = disk(one)
    equal("its state is nobody's to change while on", errno_of(lambda: os.open(node_of("one"), os.O_WRONLY)), errno.EBUSY)
    done = fio(node, "--rw=randwrite", "--bs=4k", "--iodepth=8", "--norandommap", "--number_ios=24000", "--fsync=1000")
    check("aged", done.returncode == 0, err=done.stderr[-300:])
    run("sync")
    want = node.read_bytes()
    equal("off", write(one / "power", 0), 0)
    before = stats(one)
    with node_of("one").open("rb", buffering=0) as state:
        equal("one at a time", errno_of(lambda: os.open(node_of("one"), os.O_RDONLY)), errno.EBUSY)
        equal("no power meanwhile", write(one / "power", 1), errno.EBUSY)
        equal("no change meanwhile", write(one / "medium/erase", 1000), errno.EBUSY)
        whole = read_all(state)
    equal("on", write(one / "power", 1), 0)
    check("its content is there", disk(one).read_bytes() == want)
    after = stats(one)
    equal("so is its past", [after[k] for k in ("erases", "gc_units")], [before[k] for k in ("erases", "gc_units")])
    moved(args, whole, want, settings | medium)
    equal("off", write(one / "power", 0), 0)
    equal("let go", write(one / "hold", 0), 0)
    equal("its settings are free", write(one / "block_size", 4096), 0)
    one.rmdir()
    return whole


def read_all(state: object) -> bytes:
    """All of a state, in odd pieces."""
    pieces, lengths = [], [1, 100, 4096, 70_000, 1 << 20]
    while piece := state.read(lengths[len(pieces) % len(lengths)]):  # type: ignore[attr-defined]
        pieces.append(piece)
    return b"".join(pieces)


def write_all(name: str, raw: bytes) -> int:
    """0 or the errno."""
    with node_of(name).open("wb", buffering=0) as state:
        at = 0
        while at < len(raw):
            try:
                at += state.write(raw[at:at + 1_000_003])
            except OSError as error:
                return error.errno or -1
    return 0


def moved(args: argparse.Namespace, whole: bytes, want: bytes, settings: dict[str, object]) -> None:
    """Written to a drive of the same make; refused by another, and when it is damaged."""
    two = make("two", memmap_start=size(args.start) + REGION, **settings)
    equal("hold", write(two / "hold", 1), 0)
    with node_of("two").open("rb", buffering=0) as state:
        beginning = len(whole) - 64 * MIB
        fresh = read_all(state)
        equal("a new one holds nothing", fresh[beginning:].strip(b"\0"), b"")
    for name, raw, now, later in (
        ("no state", b"x" * 100_000, errno.EINVAL, errno.EBADMSG),
        ("half a state", whole[:beginning // 2], 0, errno.EBADMSG),
        ("a damaged one", whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], 0, errno.EBADMSG),
    ):
        equal(f"{name}: written", write_all("two", raw), now)
        with new_messages() as said:
            got = write(two / "power", 1)
        if now:  # nothing of it was taken
            equal(f"{name}: power", got, 0)
            equal("off", write(two / "power", 0), 0)
        else:
            equal(f"{name}: power", got, later)
            check(f"{name}: says why", any("is no state of this device" in line for line in said), said=said[-2:])
            equal("hold again", write(two / "hold", 1), 0)
    # whoever looks at a state that was written does not make it one that was checked
    equal("half a state: written", write_all("two", whole[:beginning // 2]), 0)
    node_of("two").open("rb").close()
    equal("half a state, looked at: power", write(two / "power", 1), errno.EBADMSG)
    equal("hold again", write(two / "hold", 1), 0)
    equal("beyond its end", write_all("two", whole + b"x"), errno.ENOSPC)
    equal("all of it", write_all("two", whole), 0)
    equal("power", write(two / "power", 1), 0)
    check("the other's content", disk(two).read_bytes() == want)
    equal("off", write(two / "power", 0), 0)
    two.rmdir()
    other = make("other", memmap_start=size(args.start) + REGION, **{**settings, "seed": 4})
    equal("hold", write(other / "hold", 1), 0)
    equal("of another drive", write_all("other", whole), errno.EMEDIUMTYPE)
    other.rmdir()


def copied_live(device: Path, writer: Writer) -> tuple[bytes, Ledger, dict[str, int]]:
    """What a drive holds, read under a writer; the ledger of that moment, and the accounts."""
    wait_for("writes", lambda: writer.written > 400 or not writer.is_alive())
    with node_of("p").open("rb", buffering=0) as state:
        ledger, before = Ledger(), writer.written
        ledger.acked, ledger.begun = list(writer.ledger.acked), list(writer.ledger.begun)
        equal("one at a time", errno_of(lambda: os.open(node_of("p"), os.O_RDONLY)), errno.EBUSY)
        equal("no change meanwhile", write(device / "medium/erase", 1000), errno.EBUSY)
        whole, accounts = read_all(state), stats(device)
        check("commands wait", writer.written <= before + 1, before=before, now=writer.written)
    wait_for("more writes", lambda: writer.written > before + 100 or not writer.is_alive())
    equal("no write failed", writer.error, 0)
    return whole, ledger, accounts


def live(args: argparse.Namespace) -> None:
    """What a drive in use holds, of one moment: commands wait, but not for ever; its twin and a drive of the same make go on."""
    medium = {f"medium/{name}": value for name, value in SLOW.items()}
    settings = {"kind": "ssd", "memmap_size": REGION, "vwc": 1, "seed": 3, "cpus": args.cpus, "trace": 16384, "trace_lossless": 1}
    with powered("p", memmap_start=size(args.start), **settings, **medium) as device:
        node = disk(device)
        done = fio(node, "--rw=randwrite", "--bs=4k", "--iodepth=8", "--norandommap", "--number_ios=24000", "--offset=16M")
        check("aged", done.returncode == 0, err=done.stderr[-300:])
        writer = Writer(node, Ledger(), 1)
        whole, ledger, accounts = copied_live(device, writer)
        restored(args, whole, ledger, accounts, settings | medium)
        with node_of("p").open("rb", buffering=0) as state:
            state.read(5000)
            before = writer.written
            wait_for("commands to be let go", lambda: writer.written > before + 10 or not writer.is_alive(), 40)
            equal("what was read is of no moment then", errno_of(lambda: state.read(5000)), errno.ESTALE)
        with node_of("p").open("rb", buffering=0) as state:
            equal("a cut while it is read", write(device / "cut", 1), 0)
            equal("what was read is no longer so", errno_of(lambda: state.read(5000)), errno.ESTALE)
        writer.join(HANG)
        check("a cut is an error", writer.error > 0, error=writer.error)


def restored(
    args: argparse.Namespace, whole: bytes, ledger: Ledger, accounts: dict[str, int], settings: dict[str, object]
) -> None:
    """Another drive goes on from it, and so does its twin."""
    path = Path("/tmp/live-state")
    path.write_bytes(whole)
    two = make("two", memmap_start=size(args.start) + REGION, **settings)
    equal("hold", write(two / "hold", 1), 0)
    equal("all of it", write_all("two", whole), 0)
    reading = Reading("two", 0.002)
    equal("power", write(two / "power", 1), 0)
    node, kept = disk(two), ("host_units", "gc_units", "erases", "power_cuts")
    equal("its accounts go on", {k: stats(two)[k] for k in kept}, {k: accounts[k] for k in kept})
    versions = found(node)
    wrong = [block for block, v in enumerate(versions) if not ledger.acked[block] <= v <= ledger.begun[block]]
    equal("its content is of that moment", wrong, [])
    done = fio(node, "--rw=randwrite", "--bs=4k", "--iodepth=8", "--norandommap", "--number_ios=4000")
    check("it goes on", done.returncode == 0, err=done.stderr[-300:])
    run("udevadm", "settle")
    raw, now = reading.complete(), stats(two)
    two.rmdir()
    twin(args.python, raw, 4000, now, path)


AGED = """
import sys
import numpy as np
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from nvlab.sim import Config, Device, Kind, Opcode, commands, model
medium = dict(pair.split("=") for pair in sys.argv[3].split(","))
device = Device(Config(blocks=131072, seed=3, kind=Kind.SSD, block_shift=9, vwc=True,
                       model=model(**{k: int(v) for k, v in medium.items()})))
rng = np.random.default_rng(1)
units = 131072 // 8
device.submit(commands(Opcode.WRITE, np.arange(units) * 8, 8))
for _ in range(6):
    device.submit(commands(Opcode.WRITE, rng.integers(0, units, units) * 8, 8))
Path(sys.argv[2]).write_bytes(device.save())
before = device.stats()
device.submit(commands(Opcode.WRITE, rng.integers(0, units, units) * 8, 8))
after = device.stats()
host = after["host_units"] - before["host_units"]
print((host + after["gc_units"] - before["gc_units"]) / host)
"""


def aged(args: argparse.Namespace) -> None:
    """A drive aged in the simulator is at steady state from its first second; blocks it says are written read as zeros."""
    path = Path("/tmp/aged")
    words = ",".join(f"{name}={value}" for name, value in SMALL.items())
    done = run(args.python, "-c", AGED, str(CHECKOUT), str(path), words, deadline=900)
    if not check("aged in the simulator", done.returncode == 0, err=done.stderr[-500:]):
        return
    expected = float(done.stdout)
    settings = {"kind": "ssd", "memmap_size": REGION, "vwc": 1, "seed": 3, "cpus": args.cpus}
    medium = {f"medium/{name}": value for name, value in SMALL.items()}
    device = make("old", memmap_start=size(args.start), **settings, **medium)
    equal("hold", write(device / "hold", 1), 0)
    equal("state", write_all("old", path.read_bytes()), 0)
    equal("power", write(device / "power", 1), 0)
    node = disk(device)
    equal("reads as zeros", node.read_bytes().strip(b"\0"), b"")
    before = stats(device)
    done = fio(node, "--rw=randwrite", "--bs=4k", "--iodepth=8", "--norandommap", "--number_ios=6000", "--randseed=1")
    check("written", done.returncode == 0, err=done.stderr[-300:])
    after = stats(device)
    host = after["host_units"] - before["host_units"]
    waf = (host + after["gc_units"] - before["gc_units"]) / host
    check("at steady state at once", abs(waf / expected - 1) < 0.15, waf=waf, expected=expected)
    device.rmdir()


def body(args: argparse.Namespace) -> None:
    """All of it."""
    equal("load", load(args.module), 0)
    cuts(args)
    forced(args)
    atomic(args)
    protected(args)
    held(args)
    live(args)
    aged(args)
    equal("nothing is left", sorted(p.name for p in CONFIGFS.iterdir()), ["blackout", "free", "pool", "version"])
    equal("no node is left", list(Path("/dev").glob("nvlab-state-*")), [])
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--python", default="python3", help="one with numpy, for the simulator")
    main(body, arguments)
