# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab.ko with reclaim unit handles: commands, features, logs and directives of placement, nvme-cli's words, and a twin."""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import struct
import threading
from pathlib import Path
from typing import Any

from kmod_common import (
    HANG,
    DiskDrive,
    check,
    equal,
    load,
    main,
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
from kmod_traced import Reading, twin

REGION = 65 << 20  # 64 MiB of storage
HANDLES, UNIT = 4, 4096
PLACED: dict[str, int] = {
    "channels": 2, "dies": 2, "planes": 1, "blocks": 64, "cell_bits": 1, "program_pages": 1, "read_lsb": 1000,
    "program_lsb": 5000, "erase": 20_000, "spare": 400, "fdp_handles": HANDLES, "fdp_persistent": 1,
}
FLUSH, WRITE, READ, RECEIVE, SEND = 0x00, 0x01, 0x02, 0x12, 0x1D
GET_LOG, SET, GET, DIRECTIVE_SEND, DIRECTIVE_RECEIVE = 2, 9, 10, 0x19, 0x1A
CONFIGS, USAGE, STATISTICS, EVENTS = 0x20, 0x21, 0x22, 0x23
OK, INVALID_OPCODE, INVALID_FIELD, LOG_INVALID, SEQUENCE = 0, 0x4001, 0x4002, 0x4109, 0x400C


class Drive(DiskDrive):
    """A device whose data can be placed."""

    def log(self, lid: int, group: int = 1, specific: int = 0) -> tuple[int, bytes]:
        return self.admin(GET_LOG, 4096, cdw10=1023 << 16 | specific << 8 | lid, cdw11=group << 16)[:2]

    def io(self, opcode: int, data: Any = None, **kw: int) -> int:
        return passthru(self.ns, io=True, opcode=opcode, nsid=1, data=data, **kw)[0]

    def write(self, unit: int, pid: int | None = None, kind: int = 2) -> int:
        data = page_buffer(UNIT)
        ctypes.memset(data, unit & 0xFF, UNIT)
        directive = {} if pid is None else {"cdw13": pid << 16}
        return self.io(WRITE, data, cdw10=unit * 8, cdw12=7 | (0 if pid is None else kind << 20), **directive)

    def update(self, *pids: int, operation: int = 1) -> int:
        data = page_buffer(4096)
        struct.pack_into(f"<{len(pids)}H", data, 0, *pids)
        return self.io(SEND, data, cdw10=(len(pids) - 1) << 16 | operation)

    def room(self) -> list[tuple[int, int, int]]:
        """Of each handle the placement identifier, its number and the blocks left."""
        data = page_buffer(4096)
        equal("handles' status", self.io(RECEIVE, data, cdw10=1, cdw11=1023), OK)
        (n,) = struct.unpack_from("<H", data, 14)
        return [struct.unpack_from("<HH4xQ", data, 16 + 32 * i) for i in range(n)]

    def statistics(self) -> tuple[int, int, int]:
        status, raw = self.log(STATISTICS)
        equal("statistics", status, OK)
        return struct.unpack_from("<Q8xQ8xQ8x", raw)

    def events(self, host: bool) -> list[tuple[int, ...]]:
        """Type, flags, identifier, NSID, blocks moved, first of them, handle."""
        status, raw = self.log(EVENTS, specific=host)
        equal("events", status, OK)
        (n,) = struct.unpack_from("<I", raw)
        return [struct.unpack_from("<BBH8xI2xHQ6xB", raw, 64 + 64 * i) for i in range(n)]


def says(d: Drive) -> None:
    """Identify, effects, the directives that there are, the configuration."""
    ctrl = d.identify(1)[1]
    equal("CTRATT: endurance groups, FDP", struct.unpack_from("<I", ctrl, 96)[0] & (1 << 19 | 1 << 4), 1 << 19 | 1 << 4)
    equal("ENDGIDMAX", struct.unpack_from("<H", ctrl, 340)[0], 1)
    check("OACS: directives", struct.unpack_from("<H", ctrl, 256)[0] >> 5 & 1)
    equal("ENDGID", struct.unpack_from("<H", d.identify(0, nsid=1)[1], 102)[0], 1)
    equal("endurance groups", struct.unpack_from("<HH", d.identify(0x19)[1]), (1, 1))
    raw = d.admin(DIRECTIVE_RECEIVE, 4096, cdw10=1023, cdw11=1, nsid=1)[1]
    equal("directives there, enabled, kept", (raw[0], raw[32], raw[64]), (5, 5, 4))
    equal("no others", d.admin(DIRECTIVE_RECEIVE, 4096, cdw10=1023, cdw11=0x101, nsid=1)[0], INVALID_FIELD)
    equal("none to enable", passthru(d.ctrl, opcode=DIRECTIVE_SEND, nsid=1, cdw11=1, cdw12=1 << 8)[0], INVALID_FIELD)
    status, raw = d.log(CONFIGS)
    line = stats(d.device)["line_units"]
    equal("a configuration", (status, *struct.unpack_from("<HB", raw)), (OK, 0, 0))
    equal("its size, attributes", struct.unpack_from("<HB", raw, 16), (64 + 4 * HANDLES, 0x90))
    equal("groups, handles, identifiers", struct.unpack_from("<IHH", raw, 20), (1, HANDLES, HANDLES - 1))
    equal("a reclaim unit", struct.unpack_from("<Q", raw, 32)[0], line * UNIT)
    equal("isolated for good", [raw[80 + 4 * i] for i in range(HANDLES)], [2] * HANDLES)
    status, raw = d.log(USAGE)
    equal("usage", (status, raw[0], raw[8]), (OK, HANDLES, 2))
    for lid in (CONFIGS, USAGE, STATISTICS, EVENTS):
        equal(f"log {lid:#x} of no group", d.log(lid, group=2)[0], LOG_INVALID)


def feature(d: Drive) -> None:
    """FDP is enabled and stays so; what events are told."""
    status, _, result = d.admin(GET, 4096, cdw10=0x1D, cdw11=1)
    equal("enabled", (status, result), (OK, 1))
    equal("as it is", passthru(d.ctrl, opcode=SET, cdw10=0x1D, cdw11=1, cdw12=1)[0], OK)
    equal("not off", passthru(d.ctrl, opcode=SET, cdw10=0x1D, cdw11=1, cdw12=0)[0], SEQUENCE)
    equal("of no group", passthru(d.ctrl, opcode=SET, cdw10=0x1D, cdw11=2, cdw12=1)[0], INVALID_FIELD)
    told(d, {0: 0, 3: 0, 0x80: 0})
    equal("tell", tell(d, 1, 0, 0x80), OK)
    equal("tell of handle 0", tell(d, 0, 3), OK)
    told(d, {0: 1, 3: 0, 0x80: 1})
    equal("an event that never is", tell(d, 1, 1), INVALID_FIELD)
    equal("no such handle", tell(d, HANDLES, 0), INVALID_FIELD)


def tell(d: Drive, handle: int, *types: int) -> int:
    data = page_buffer(4096)
    data[: len(types)] = bytes(types)
    return passthru(d.ctrl, opcode=SET, nsid=1, data=data, cdw10=0x1E, cdw11=len(types) << 16 | handle, cdw12=1)[0]


def told(d: Drive, want: dict[int, int]) -> None:
    status, raw, result = d.admin(GET, 4096, nsid=1, cdw10=0x1E, cdw11=255 << 16 | 1)
    equal("events told", (status, result, dict(zip(raw[:6:2], raw[1:6:2], strict=True))), (OK, 3, want))


def placed(d: Drive) -> None:
    """Writes through handles: what is left of their units, what is no handle, what the update tells."""
    blocks = stats(d.device)["line_units"] * 8
    equal("all units are whole", d.room(), [(i, i, blocks) for i in range(HANDLES)])
    equal("write", [d.write(unit, 1) for unit in range(3)], [OK] * 3)
    equal("without a directive: handle 0", d.write(3), OK)
    equal("a directive that is none", d.write(3, 1, kind=1), INVALID_FIELD)
    equal("an identifier that is none", d.write(3, 9), OK)
    equal("left", [room for _, _, room in d.room()], [blocks - 16, blocks - 24, blocks, blocks])
    equal("update", d.update(1, 2), OK)
    equal("one anew", [room for _, _, room in d.room()], [blocks - 16, blocks, blocks, blocks])
    equal("an update of none", d.update(1, HANDLES), INVALID_FIELD)
    equal("no operation", d.update(0, operation=0), OK)
    equal("an operation that is none", d.update(0, operation=2), INVALID_FIELD)
    equal("events of hosts", [(e[0], e[2], e[3], e[6]) for e in d.events(host=True)], [(3, 9, 1, 0), (0, 1, 1, 1)])


def collected(d: Drive) -> None:
    """Through two handles more than the drive holds: statistics that add up, events of what was moved."""
    units, rng = stats(d.device)["units"], random.Random(3)
    before = d.statistics()
    data = page_buffer(32 * UNIT)
    for _ in range(1000):
        at, handle = rng.randrange(units // 32) * 32, rng.randrange(1, 3)
        if d.io(WRITE, data, cdw10=at * 8, cdw12=255 | 2 << 20, cdw13=handle << 16):
            check("write", False)
    host, media, erased = d.statistics()
    seen = stats(d.device)
    equal("host bytes", host - before[0], 1000 * 32 * UNIT)
    equal("media bytes", media, seen["programmed_units"] * UNIT)
    equal("erased bytes", erased, seen["erased_units"] * UNIT)
    check("more was written than hosts wrote", media + seen["open_units"] * UNIT >= host and seen["gc_units"] > 0, seen=seen)
    moved = d.events(host=False)
    check("moves", moved and {(e[0], e[2], e[3], e[6]) for e in moved} == {(0x80, 1, 1, 1)}, moved=moved[:3])


def in_words(d: Drive) -> None:
    """nvme-cli: fdp, all of its commands."""
    def said(*words: str) -> str:
        done = run("nvme", "fdp", *words)
        check(f"nvme fdp {words[0]}", done.returncode == 0, out=done.stdout[-300:], err=done.stderr[-300:])
        return done.stdout

    check("configs", said("configs", d.path, "-e", "1"))
    check("usage", said("usage", d.path, "-e", "1"))
    found = json.loads(said("stats", d.path, "-e", "1", "-o", "json"))
    equal("stats as the log", [int(value) for value in found.values()][:3], list(d.statistics()))
    check("status", "RUAMW" in said("status", str(d.node)).upper() or "Available" in said("status", str(d.node)))
    said("update", str(d.node), "-p", "1")
    said("set-events", str(d.node), "-p", "1", "-t", "0", "-e")
    said("events", d.path, "-e", "1", "-E")


class Writer(threading.Thread):
    """Writes versions of some units, each through any handle, and flushes now and then, until the drive is gone."""

    UNITS = 64

    def __init__(self, device: Path, begun: list[int], seed: int) -> None:
        super().__init__(daemon=True)
        self.begun, self.acked, self.durable = begun, list(begun), list(begun)
        self.written, self.dice, self.drive = 0, random.Random(seed), Drive(device)
        self.start()

    def run(self) -> None:
        while self.one(self.dice.randrange(self.UNITS), self.dice.randrange(HANDLES)):
            pass
        self.drive.close()

    def one(self, unit: int, handle: int) -> bool:
        self.begun[unit] += 1
        data = page_buffer(UNIT)
        data[:] = versioned(unit, self.begun[unit])
        if self.drive.io(WRITE, data, cdw10=unit * 8, cdw12=7 | 2 << 20, cdw13=handle << 16):
            return False
        self.acked[unit] = self.begun[unit]
        self.written += 1
        if not self.written % 40:
            before = list(self.acked)
            if self.drive.io(FLUSH):
                return False
            self.durable = before
        return True


def versioned(unit: int, version: int) -> bytes:
    return struct.pack("<II", unit, version) * (UNIT // 8) if version else bytes(UNIT)


def versions(d: Drive) -> list[int]:
    """The version of each unit on the drive, 0 if it was never written; -1 where it is not whole."""
    data, found = page_buffer(UNIT), []
    for unit in range(Writer.UNITS):
        equal(f"read {unit}", d.io(READ, data, cdw10=unit * 8, cdw12=7), OK)
        version = struct.unpack_from("<II", data)[1]
        found.append(version if data.raw == versioned(unit, version) else -1)
    return found


def cuts(args: argparse.Namespace) -> None:
    """Power cuts under writes through handles: what was flushed is there, accounts add up; what is held is the same when on."""
    medium = {f"medium/{name}": value for name, value in (PLACED | {"program_lsb": 2_000_000, "buffer": 256}).items()}
    with powered("s", kind="ssd", memmap_start=args.start, memmap_size=REGION, cpus=args.cpus, vwc=1, seed=3, trace=16384,
                 trace_lossless=1, **medium) as device:
        reading, now = Reading("s", 0.002), [0] * Writer.UNITS
        for seed in range(3):
            writer = Writer(device, list(now), seed)
            wait_for("writes", lambda w=writer, least=90 + 37 * seed: w.written > least or not w.is_alive())
            equal(f"cut {seed}", write(device / "cut", 1), 0)
            writer.join(HANG)
            d = Drive(device)
            now = versions(d)
            bad = [n for n in range(Writer.UNITS) if not writer.durable[n] <= now[n] <= writer.begun[n]]
            equal(f"torn, lost or never written {seed}", [(n, writer.durable[n], now[n], writer.begun[n]) for n in bad], [])
            accounts(d)
            d.close()
        check("something was lost", stats(device)["lost_units"] > 0, lost=stats(device)["lost_units"])
        run("udevadm", "settle")
        twin(args.python, reading.complete(), 200, stats(device))
        held(device, now)


def accounts(d: Drive) -> None:
    """The log says of the media what the drive counted, and no handle has more room than a unit."""
    seen, (host, media, erased) = stats(d.device), d.statistics()
    equal("media and erased bytes", (media, erased), (seen["programmed_units"] * UNIT, seen["erased_units"] * UNIT))
    check("host bytes", host >= Writer.UNITS * UNIT, host=host)
    blocks, room = seen["line_units"] * 8, d.room()
    check("handles", [row[:2] for row in room] == [(i, i) for i in range(HANDLES)] and all(0 < row[2] <= blocks for row in room),
          room=room)


def held(device: Path, want: list[int]) -> None:
    """Off and on: the same data, statistics, and room of handles."""
    d = Drive(device)
    equal("flush", d.io(FLUSH), OK)
    before = d.statistics(), d.room()
    d.close()
    equal("hold, off and on", [write(device / name, value) for name, value in (("hold", 1), ("power", 0), ("power", 1))], [0] * 3)
    d = Drive(device)
    equal("the same statistics and room", (d.statistics(), d.room()), before)
    equal("the same data", versions(d), want)
    d.close()
    equal("let go", (write(device / "power", 0), write(device / "hold", 0)), (0, 0))


def without(args: argparse.Namespace) -> None:
    """A device that has no handles has nothing of all this."""
    with powered("p", kind="ssd", memmap_start=args.start, memmap_size=REGION, **{"medium/blocks": 64}) as device:
        d = Drive(device)
        equal("no management", d.io(RECEIVE, page_buffer(4096), cdw10=1, cdw11=1023), INVALID_OPCODE)
        equal("no update", d.update(0), INVALID_OPCODE)
        equal("no log", d.log(STATISTICS)[0], LOG_INVALID)
        equal("no directives", d.admin(DIRECTIVE_RECEIVE, 4096, cdw10=1023, cdw11=1)[0], INVALID_OPCODE)
        equal("nobody looks at one", d.write(0, 1), OK)
        d.close()


def body(args: argparse.Namespace) -> None:
    args.start = size(args.start)
    equal("load", load(args.module), 0)
    medium = {f"medium/{name}": value for name, value in PLACED.items()}
    with powered("s", kind="ssd", memmap_start=args.start, memmap_size=REGION, cpus=args.cpus, vwc=1, trace=16384,
                 trace_lossless=1, **medium) as device:
        reading = Reading("s", 0.01)
        d = Drive(device)
        for part in (says, feature, placed, collected, in_words):
            part(d)
        d.close()
        run("udevadm", "settle")
        twin(args.python, reading.complete(), 1000, stats(device))
    cuts(args)
    without(args)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--python", required=True)
    main(body, arguments)
