# SPDX-License-Identifier: GPL-2.0-or-later
"""N random commands for a zoned drive, through the driver's passthrough: every field of what zones know may be wrong.

Afterwards the space without zones holds what it held, the twin has decided every command as the drive did and finds its zones
sound, and fio can use them. The same seed gives the same commands.
"""

from __future__ import annotations

import argparse
import ctypes
import os
from pathlib import Path

from kmod_common import (
    check,
    controller,
    disk,
    equal,
    fio,
    load,
    main,
    page_buffer,
    parser,
    passthru64,
    read,
    run,
    stats,
    unload,
    wait_for,
)
from kmod_fuzz import ALL, BUFFER, Fuzz, showing
from kmod_traced import Reading, twin
from kmod_zns import (
    APPEND,
    BLOCK,
    CLOSE,
    COMPARE,
    DSM,
    EXTEND,
    FINISH,
    FLUSH,
    FLUSH_ZRWA,
    OFFLINE,
    OPEN,
    READ,
    RECEIVE,
    RESET,
    SEND,
    SIZE,
    WRITE,
    WRITE_UNCOR,
    WRITE_ZEROES,
    ZONES,
    Drive,
    zoned,
)

COPY = 0x19
ACTIONS = (CLOSE, FINISH, OPEN, RESET, RESET, OFFLINE, EXTEND, FLUSH_ZRWA)
PLAIN = (FLUSH, READ, READ, WRITE, WRITE, WRITE_ZEROES, WRITE_UNCOR, COMPARE, DSM, COPY)
KEPT = Path("/tmp/kept")  # what the space without zones holds

Command = tuple[int, int, dict[str, int]]  # opcode, block, double words


class ZoneFuzz(Fuzz):
    """Commands for one drive, whose write pointers it asks for now and then."""

    def __init__(self, seed: int, drive: Drive) -> None:
        super().__init__(seed, SIZE * ZONES)
        self.drive, self.zones = drive, drive.zones()

    def slba(self) -> int:
        """A block of a zone, or beyond all."""
        r = self.random
        return r.randrange(self.blocks) if r.random() < 0.9 else r.choice((self.blocks, 1 << 55, r.getrandbits(64)))

    def where(self) -> int:
        """A block: the start of a zone, its write pointer, near its end, or anywhere."""
        r, zone = self.random, self.random.randrange(ZONES)
        pick = r.randrange(6)
        if pick < 2:
            return zone * SIZE
        if pick < 4:
            return zone * SIZE + min(self.zones[zone][1], SIZE)
        return (zone + 1) * SIZE - r.randrange(SIZE) if pick == 4 else self.slba()

    def send(self) -> Command:
        """Zone Management Send."""
        r = self.random
        action = r.choice(ACTIONS) if r.random() < 0.9 else r.randrange(256)
        # all zones at once seldom, or nothing else would last
        cdw13 = action | (r.random() < 0.03) << 8 | r.getrandbits(1) << 9
        return SEND, self.where(), {"cdw13": cdw13 if r.random() < 0.95 else self.word()}

    def receive(self) -> Command:
        """Zone Management Receive."""
        r = self.random
        words = r.choice((1, 16, 32, 1024, BUFFER // 4, r.randrange(1, BUFFER // 4)))
        cdw13 = r.getrandbits(1) | r.randrange(10) << 8 | r.getrandbits(1) << 16
        return RECEIVE, self.where(), {"cdw12": words - 1, "cdw13": cdw13 if r.random() < 0.9 else self.word()}

    def plain(self) -> Command:
        """What other namespaces know as well, and Zone Append."""
        r = self.random
        opcode = r.choice((APPEND, APPEND, APPEND, *PLAIN, r.randrange(256)))
        blocks = r.choice((1, 1, 2, 7, 8, 16, 31, r.randrange(1, BUFFER // BLOCK + 1)))
        cdws = {"cdw12": blocks - 1 | (self.word() & 0xFFFF0000 if r.random() < 0.1 else 0)}
        if opcode in (DSM, COPY):
            cdws["cdw12" if opcode == COPY else "cdw10"] = r.randrange(4)
        return opcode, self.where(), cdws

    def command(self) -> Command:
        return self.random.choice((self.send, self.receive, self.plain, self.plain, self.plain))()


def fuzzed(fuzz: ZoneFuzz, count: int) -> None:
    """So many commands, one after the other."""
    buffer, refused = page_buffer(BUFFER), 0
    while fuzz.done < count:
        opcode, slba, cdws = fuzz.command()
        fuzz.note(opcode, "at", slba, cdws)
        if opcode in (DSM, COPY):
            ctypes.memmove(buffer, fuzz.ranges(), 4096)
        data = None if opcode == FLUSH else buffer
        words = {"cdw10": slba & ALL, "cdw11": slba >> 32, **cdws}
        status, _ = passthru64(fuzz.drive.ns, opcode=opcode, nsid=1, data=data, **words)
        refused += status != 0
        fuzz.done += 1
        if status < 0 and -status not in (5, 22, 13):  # EIO, EINVAL, EACCES
            fuzz.failed("the driver got an answer", errno=-status)
            return
        if fuzz.done % 64 == 0:
            fuzz.zones = fuzz.drive.zones()
    check("commands", 0 < refused < count, refused=refused, of=count)


def second(device: Path) -> Path | None:
    """The disk of namespace 2, which may come after that of namespace 1."""
    disks = (path for path in controller(device).glob("nvme*n*") if read(path / "nsid") == "2" and int(read(path / "size")))
    return next((Path("/dev") / path.name for path in disks), None)


def body(args: argparse.Namespace) -> None:
    equal("load", load(args.module), 0)
    with zoned(args.start, cpus=args.cpus, vwc=1, seed=args.seed, trace=16384, trace_lossless=1) as device:
        reading = Reading("z", 0.002)
        other = wait_for("the space without zones", lambda: second(device))
        KEPT.write_bytes(os.urandom(8 << 20))
        equal("fill", run("dd", f"if={KEPT}", f"of={other}", "bs=1M", "oflag=direct").returncode, 0)
        fuzz = ZoneFuzz(args.seed, Drive(device))
        with showing(fuzz):
            fuzzed(fuzz, args.n)
        done = run("cmp", f"--bytes={8 << 20}", str(KEPT), str(other))
        check("the space without zones", done.returncode == 0, said=done.stdout + done.stderr)
        fuzz.drive.send(RESET, every=True)
        fuzz.drive.close()
        done = fio(disk(device), "--rw=write", "--bs=64k", "--iodepth=1", "--size=16M", "--verify=crc32c", "--zonemode=zbd")
        check("and fio verifies", done.returncode == 0, err=(done.stdout + done.stderr)[-400:])
        run("udevadm", "settle")
        raw, live = reading.complete(), stats(device)
    twin(args.python, raw, args.n // 2, live)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("n", type=int, nargs="?", default=5000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--python", default="python3", help="a Python that has what nvlab's simulator needs")
    main(body, arguments)
