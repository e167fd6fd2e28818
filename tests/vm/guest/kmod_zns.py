# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab.ko with zones: every command and status of a zoned namespace, what Identify and the logs say, and a twin that agrees."""

from __future__ import annotations

import argparse
import ctypes
import os
import struct
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from kmod_common import (
    DiskDrive,
    check,
    dmesg,
    equal,
    errno_of,
    load,
    main,
    make,
    new_messages,
    page_buffer,
    parser,
    passthru,
    passthru64,
    powered,
    run,
    size,
    stats,
    unload,
    wait_for,
    write,
)
from kmod_traced import Reading, twin

BLOCK = 4096
SIZE, CAPACITY, ZONES = 2048, 1536, 24  # blocks, and zones of 8 MiB
REGION = 257 << 20  # 256 MiB of storage, of which zones have 192
ZONED: dict[str, int] = {
    "channels": 2, "dies": 2, "planes": 1, "program_pages": 1, "cell_bits": 2, "erase": 300_000, "program_lsb": 50_000,
    "zone_size": 8192, "zone_capacity": 6144, "zone_max_active": 6, "zone_max_open": 4, "zone_append": 64,
    "zone_extension": 2, "zone_conventional": 64, "zrwa_zones": 2, "zrwa_size": 64, "zrwa_flush": 16,
}

# opcodes
FLUSH, WRITE, READ, WRITE_UNCOR, COMPARE, WRITE_ZEROES, DSM = 0, 1, 2, 4, 5, 8, 9
SEND, RECEIVE, APPEND = 0x79, 0x7A, 0x7D
GET_LOG, SET, GET, NS_MANAGEMENT, NS_ATTACHMENT, FORMAT = 2, 9, 10, 0x0D, 0x15, 0x80
# actions
CLOSE, FINISH, OPEN, RESET, OFFLINE, EXTEND, FLUSH_ZRWA = 1, 2, 3, 4, 5, 0x10, 0x11
# states
EMPTY, IMPLICIT, EXPLICIT, CLOSED, READ_ONLY, FULL, GONE = 1, 2, 3, 4, 13, 14, 15
# status
OK, INVALID_OPCODE, INVALID_FIELD, LBA_RANGE, SETS_REJECTED = 0, 0x4001, 0x4002, 0x4080, 0x412B
BAD_OPERATION, NO_ZRWA, BOUNDARY, IS_FULL, IS_READ_ONLY, IS_OFFLINE = 0x41B6, 0x41B7, 0x41B8, 0x41B9, 0x41BA, 0x41BB
NOT_AT_POINTER, MANY_ACTIVE, MANY_OPEN, NO_TRANSITION, LOG_INVALID = 0x41BC, 0x41BD, 0x41BE, 0x41BF, 0x4109
NONE = (1 << 64) - 1


def zoned(start: str, name: str = "z", region: int = REGION, **attributes: object) -> AbstractContextManager[Path]:
    """A zoned device; ``medium`` among the attributes replaces what is in ZONED."""
    medium = {f"medium/{key}": value for key, value in (ZONED | attributes.pop("medium", {})).items()}  # type: ignore[operator]
    settings = {"kind": "zns", "memmap_start": size(start), "memmap_size": region, "block_size": BLOCK, **attributes}
    return powered(name, **settings, **medium)


class Drive(DiskDrive):
    """A zoned device. Zones are numbers."""

    def io(self, opcode: int, slba: int, data: Any = None, **kw: int) -> tuple[int, int]:
        return passthru64(self.ns, opcode=opcode, nsid=1, data=data, cdw10=slba & 0xFFFFFFFF, cdw11=slba >> 32, **kw)

    def write(self, slba: int, fill: int, blocks: int = 1, opcode: int = WRITE, flags: int = 0) -> tuple[int, int]:
        data = page_buffer(blocks * BLOCK)
        ctypes.memset(data, fill, blocks * BLOCK)
        return self.io(opcode, slba, data, cdw12=blocks - 1 | flags)

    def append(self, zone: int, fill: int, blocks: int = 1, flags: int = 0) -> tuple[int, int]:
        return self.write(zone * SIZE, fill, blocks, APPEND, flags)

    def read(self, slba: int, blocks: int = 1) -> tuple[int, bytes]:
        data = page_buffer(blocks * BLOCK)
        return self.io(READ, slba, data, cdw12=blocks - 1)[0], data.raw

    def send(self, action: int, zone: int = 0, every: bool = False, option: bool = False, data: Any = None) -> int:
        return self.send_at(zone * SIZE, action | every << 8 | option << 9, data)

    def send_at(self, slba: int, cdw13: int, data: Any = None) -> int:
        return self.io(SEND, slba, data, cdw13=cdw13)[0]

    def receive(self, slba: int = 0, length: int = 64 * (ZONES + 1), option: int = 0, partial: bool = False,
                action: int = 0) -> tuple[int, bytes]:
        data = page_buffer(length)
        ctypes.memset(data, 0xEE, length)
        return self.io(RECEIVE, slba, data, cdw12=length // 4 - 1, cdw13=action | option << 8 | partial << 16)[0], data.raw

    def zones(self) -> list[tuple[int, int]]:
        """State and write pointer of each zone, the latter in blocks of the zone."""
        status, raw = self.receive()
        equal("report", status, OK)
        rows = [struct.unpack_from("<BBB5xQQQ", raw, 64 * (n + 1)) for n in range(ZONES)]
        return [(row[1] >> 4, row[5] - row[4] if row[5] != NONE else NONE) for row in rows]


def says(d: Drive) -> None:
    """Identify of both command sets, the feature that chooses them, their effects."""
    ctrl = d.identify(1)[1]
    equal("OACS: no namespace management", struct.unpack_from("<H", ctrl, 256)[0], 2)
    check("OAES: zone descriptor changes", struct.unpack_from("<I", ctrl, 92)[0] >> 27 & 1)
    equal("ZASL: 64 KiB", d.identify(6, csi=2)[1][:2], b"\x04\0")
    status, raw = d.identify(5, csi=2, nsid=1)
    equal("ZOC, OZCS, MAR, MOR", (status, *struct.unpack_from("<HHII", raw)), (OK, 0, 2, 5, 3))
    equal("ZRWA", struct.unpack_from("<IHHB", raw, 44), (2, 4, 16, 1))
    equal("formats", struct.unpack_from("<QB7xQB", raw, 2816), (SIZE * 8, 2, SIZE, 2))
    for cns, csi, nsid, want in ((5, 2, 2, INVALID_FIELD), (5, 2, 3, INVALID_FIELD), (5, 1, 1, INVALID_FIELD),
                                 (6, 1, 0, INVALID_FIELD), (7, 3, 0, INVALID_FIELD), (0x99, 2, 0, INVALID_FIELD)):
        equal(f"CNS {cns:#x} of set {csi}, NSID {nsid}", d.identify(cns, csi, nsid)[0], want)
    for csi, nsid in ((0, 2), (2, 1)):
        equal(f"active of set {csi}", d.identify(7, csi)[1][:8], struct.pack("<II", nsid, 0))
        equal(f"allocated of set {csi}", d.identify(0x1A, csi)[1][:8], struct.pack("<II", nsid, 0))
        equal(f"descriptors of NSID {nsid}", d.identify(3, nsid=nsid)[1][52:57], bytes([4, 1, 0, 0, csi]))
    equal("all", d.identify(2)[1][:12], struct.pack("<III", 1, 2, 0))
    equal("combinations", d.identify(0x1C)[1][:16], struct.pack("<QQ", 5, 0))
    equal("the one in force", d.admin(GET, cdw10=0x19)[::2], (OK, 0))
    equal("chosen", d.admin(SET, cdw10=0x19)[0], OK)
    equal("another", d.admin(SET, cdw10=0x19, cdw11=1)[0], SETS_REJECTED)
    for csi, want in ((0, (0, 0, 0)), (2, (3, 1, 3))):
        raw = d.admin(GET_LOG, 4096, nsid=0xFFFFFFFF, cdw10=5 | 1023 << 16, cdw14=csi << 24)[1]
        effects = struct.unpack_from("<256I", raw, 1024)
        equal(f"effects of set {csi}", (effects[SEND], effects[RECEIVE], effects[APPEND]), want)
    equal("effects of no set", d.admin(GET_LOG, 4096, nsid=0xFFFFFFFF, cdw10=5 | 1023 << 16, cdw14=1 << 24)[0], LOG_INVALID)
    equal("namespaces are fixed", [d.admin(op, 4096)[0] for op in (NS_MANAGEMENT, NS_ATTACHMENT)], [INVALID_OPCODE] * 2)


def appends(d: Drive) -> None:
    """Where appended data go, and every way not to append."""
    equal("append", d.append(3, 0xA1, 2), (OK, 3 * SIZE))
    equal("and more", d.append(3, 0xA2, 16, 1 << 30), (OK, 3 * SIZE + 2))
    equal("the zone", d.zones()[3], (IMPLICIT, 18))
    equal("what was appended", d.read(3 * SIZE, 20), (OK, b"\xa1" * 2 * BLOCK + b"\xa2" * 16 * BLOCK + bytes(2 * BLOCK)))
    equal("longer than ZASL", d.append(3, 1, 17)[0], INVALID_FIELD)
    equal("not to a zone", d.write(3 * SIZE + 1, 1, opcode=APPEND)[0], INVALID_FIELD)
    equal("beyond the namespace", d.append(ZONES, 1)[0], LBA_RANGE)
    for _ in range((CAPACITY - 18) // 16):
        d.append(3, 0xA3, 16)
    equal("over the capacity", d.append(3, 1, 16)[0], BOUNDARY)
    equal("what is left", d.append(3, 0xA4, (CAPACITY - 18) % 16), (OK, 4 * SIZE - SIZE + CAPACITY - (CAPACITY - 18) % 16))
    equal("full", d.zones()[3][0], FULL)
    equal("to a full one", d.append(3, 1)[0], IS_FULL)
    equal("on what has no zones", passthru64(d.ns, opcode=APPEND, nsid=1, data=page_buffer(), cdw10=SIZE)[0], OK)
    d.send(RESET, 1)
    d.send(RESET, 3)
    equal("reads as zeros again", d.read(3 * SIZE, 16), (OK, bytes(16 * BLOCK)))


def writes(d: Drive) -> None:
    """Writes go where the pointer is, and nowhere else."""
    at = 5 * SIZE
    equal("write", d.write(at, 0xB1, 4)[0], OK)
    equal("behind", d.write(at, 1)[0], NOT_AT_POINTER)
    equal("ahead", d.write(at + 5, 1)[0], NOT_AT_POINTER)
    equal("zeroes", d.io(WRITE_ZEROES, at + 4, cdw12=3)[0], OK)
    equal("zeroes elsewhere", d.io(WRITE_ZEROES, at + 4, cdw12=3)[0], NOT_AT_POINTER)
    equal("unreadable", d.io(WRITE_UNCOR, at + 8)[0], OK)
    equal("as it is", d.read(at + 8)[0], 0x4281)
    equal("compare", d.io(COMPARE, at, page_buffer(), cdw12=0)[0], 0x4285)
    equal("deallocate is a hint", passthru64(d.ns, opcode=DSM, nsid=1, data=page_buffer(), cdw10=0, cdw11=4)[0], OK)
    equal("what was written", d.read(at, 8), (OK, b"\xb1" * 4 * BLOCK + bytes(4 * BLOCK)))
    for slba in range(at + 9, at + CAPACITY, 127):
        d.write(slba, 0xB2, min(127, at + CAPACITY - slba))
    equal("the end; a full zone has no pointer", d.zones()[5], (FULL, NONE))
    equal("to a full zone", d.write(at + CAPACITY, 1)[0], IS_FULL)
    equal("across zones", d.read(at + SIZE - 1, 2)[0], BOUNDARY)
    equal("what is behind the capacity", d.read(at + CAPACITY, 1), (OK, bytes(BLOCK)))
    d.send(OPEN, 6)
    d.write(6 * SIZE, 1)
    equal("over the capacity", d.io(WRITE_ZEROES, 6 * SIZE + 1, cdw12=CAPACITY - 1)[0], BOUNDARY)
    equal("flush", passthru64(d.ns, opcode=FLUSH, nsid=1)[0], OK)
    equal("reset all", d.send(RESET, every=True), OK)
    equal("empty", d.zones(), [(EMPTY, 0)] * ZONES)


def states(d: Drive) -> None:
    """Each action in each state that a host can bring about, as the standard's table has it."""
    into = {EMPTY: (), IMPLICIT: (APPEND,), EXPLICIT: (OPEN,), CLOSED: (APPEND, CLOSE), FULL: (FINISH,)}
    after = {  # of close, finish, open, reset
        EMPTY: (None, FULL, EXPLICIT, EMPTY),
        **dict.fromkeys((IMPLICIT, EXPLICIT, CLOSED), (CLOSED, FULL, EXPLICIT, EMPTY)),
        FULL: (None, FULL, None, EMPTY),
    }
    for state, way in into.items():
        for action, then in zip((CLOSE, FINISH, OPEN, RESET, OFFLINE), (*after[state], None), strict=True):
            for step in way:
                d.append(7, 1) if step == APPEND else d.send(step, 7)
            got = d.send(action, 7), d.zones()[7][0]
            equal(f"state {state}, action {action}", got, (OK, then) if then else (NO_TRANSITION, state))
            d.send(RESET, 7)
    equal("no action", d.send_at(0, 0x7F), INVALID_FIELD)
    equal("not a zone", d.send_at(1, RESET), INVALID_FIELD)
    equal("beyond", d.send(RESET, ZONES), LBA_RANGE)
    equal("that takes no zones", d.send(EXTEND, every=True, data=page_buffer(128)), INVALID_FIELD)


def limits(d: Drive) -> None:
    """Four open at most, six active; the controller closes only what a write opened."""
    equal("open four", [d.send(OPEN, zone) for zone in range(4)], [OK] * 4)
    equal("a fifth", d.send(OPEN, 4), MANY_OPEN)
    equal("by a write", d.write(4 * SIZE, 1)[0], MANY_OPEN)
    d.write(0, 1)
    equal("close it", d.send(CLOSE, 0), OK)
    equal("by a write now", d.write(4 * SIZE, 1)[0], OK)
    equal("another closes that", (d.append(5, 1)[0], d.zones()[4][0]), (OK, CLOSED))
    equal("a seventh", (d.append(6, 1)[0], d.send(OPEN, 6)), (MANY_ACTIVE, MANY_ACTIVE))
    now = stats(d.device)
    equal("stats", (now["active_zones"], now["open_zones"], now["zones"]), (6, 4, ZONES))
    equal("open all closed ones", d.send(OPEN, every=True), MANY_OPEN)
    equal("close all", (d.send(CLOSE, every=True), stats(d.device)["open_zones"]), (OK, 0))
    equal("finish all", (d.send(FINISH, every=True), stats(d.device)["active_zones"]), (OK, 0))
    d.send(RESET, every=True)


def reports(d: Drive) -> None:
    """What a report has, and for how much room."""
    d.append(2, 1)
    d.send(FINISH, 9)
    d.send(FINISH, 11)
    status, raw = d.receive(length=8192)
    equal("zones there are", (status, struct.unpack_from("<Q", raw)[0]), (OK, ZONES))
    equal("one of them", struct.unpack_from("<BBB5xQQQ", raw, 64 * 3), (2, IMPLICIT << 4, 0, CAPACITY, 2 * SIZE, 2 * SIZE + 1))
    equal("a full one has no pointer", struct.unpack_from("<BB", raw, 64 * 10), (2, FULL << 4))
    equal("nothing of the memory shows behind it", raw[64 * (ZONES + 1):], bytes(8192 - 64 * (ZONES + 1)))
    equal("from one on", struct.unpack_from("<Q56x16xQ", d.receive(9 * SIZE + 7)[1]), (ZONES - 9, 9 * SIZE))
    status, raw = d.receive(option=5)
    equal("full ones", (struct.unpack_from("<Q", raw)[0], raw[80:88], raw[144:152]),
          (2, struct.pack("<Q", 9 * SIZE), struct.pack("<Q", 11 * SIZE)))
    equal("room for one", struct.unpack_from("<Q", d.receive(length=128 + 60)[1])[0], ZONES)
    equal("those in it", struct.unpack_from("<Q", d.receive(length=128 + 60, partial=True)[1])[0], 1)
    equal("room for nothing", d.receive(length=4), (OK, struct.pack("<I", ZONES)))
    for name, got, want in (("option", d.receive(option=8), INVALID_FIELD), ("action", d.receive(action=2), INVALID_FIELD),
                            ("place", d.receive(ZONES * SIZE), LBA_RANGE)):
        equal(f"no such {name}", got[0], want)
    d.send(RESET, every=True)


def extensions(d: Drive) -> None:
    """128 bytes of the host with a zone, until it is reset."""
    data = page_buffer(128)
    data[:] = bytes(range(128))  # type: ignore[assignment]
    equal("set", d.send(EXTEND, 8, data=data), OK)
    equal("it is closed", d.zones()[8], (CLOSED, 0))
    equal("once", d.send(EXTEND, 8, data=data), NO_TRANSITION)
    status, raw = d.receive(8 * SIZE, 64 + 2 * 192, action=1)
    equal("extended report", (status, raw[64 + 2], raw[128:256], raw[256 + 2]), (OK, 0x80, bytes(range(128)), 0))
    d.send(RESET, 8)
    equal("gone", d.receive(8 * SIZE, 64 + 192, action=1)[1][64 + 2], 0)


def random_areas(d: Drive) -> None:
    """64 KiB behind the pointer are written in any order, and committed by 16 KiB."""
    at = 10 * SIZE
    equal("allocate", [d.send(OPEN, zone, option=True) for zone in (10, 12)], [OK] * 2)
    equal("a third", d.send(OPEN, 13, option=True), NO_ZRWA)
    equal("no append", d.append(10, 1)[0], BAD_OPERATION)
    equal("in any order", [d.write(at + n, 0xC0 + n, 1)[0] for n in (5, 0, 3, 5, 1, 2, 4)], [OK] * 7)
    equal("the pointer stays", d.zones()[10], (EXPLICIT, 0))
    equal("commit", (d.send_at(at + 3, FLUSH_ZRWA), d.zones()[10][1]), (OK, 4))
    equal("not a whole grain", d.send_at(at + 5, FLUSH_ZRWA), INVALID_FIELD)
    equal("what is committed stays", d.write(at + 3, 1)[0], NOT_AT_POINTER)
    equal("beyond the area", d.write(at + 4 + 32, 1)[0], NOT_AT_POINTER)
    equal("its end commits the beginning", (d.write(at + 4 + 16, 0xD0)[0], d.zones()[10][1]), (OK, 8))
    equal("content", d.read(at, 6)[1], b"".join(bytes([0xC0 + n]) * BLOCK for n in range(6)))
    d.send(RESET, every=True)


def changes(d: Drive) -> None:
    """Zones that fail: the notice, the list of them, what can still be done with them."""
    def listed(retain: bool = False, nsid: int = 1) -> tuple[int, tuple[int, ...]]:
        status, raw, _ = d.admin(GET_LOG, 4096, nsid=nsid, cdw10=0xBF | 1023 << 16 | retain << 15)
        return status, struct.unpack_from(f"<{1 + struct.unpack_from('<H', raw)[0]}Q", raw) if status == OK else ()

    wanted = d.admin(GET, cdw10=0x0B)[2]
    equal("notices", d.admin(SET, cdw10=0x0B, cdw11=wanted | 1 << 27)[0], OK)
    equal("nothing has changed", listed(), (OK, (0,)))
    equal("of all namespaces", [listed(nsid=n)[0] for n in (0, 2, 0xFFFFFFFF)], [INVALID_FIELD] * 3)
    d.append(15, 0xE1, 16)
    equal("erases fail", write(d.device / "medium/erase_fail", 1_000_000), 0)
    with new_messages() as said:
        equal("reset", d.send(RESET, 15), OK)
        wait_for("the notice", lambda: "async event result 00bfef02" in dmesg())
    check("the notice tells the log", any("00bfef02" in line for line in said), said=said[-3:])
    equal("no more", write(d.device / "medium/erase_fail", 0), 0)
    equal("the zone", d.zones()[15], (GONE, NONE))
    equal("on the list", (listed(True), listed(), listed()), ((OK, (1, 15 * SIZE)), (OK, (1, 15 * SIZE)), (OK, (0,))))
    equal("it is offline", (d.append(15, 1)[0], d.read(15 * SIZE)[0], d.send(RESET, 15)), (IS_OFFLINE, IS_OFFLINE, NO_TRANSITION))
    equal("programs fail", write(d.device / "medium/program_fail", 100_000), 0)
    zone = 16
    while zone < ZONES - 1 and d.zones()[zone][0] != READ_ONLY:
        zone += d.append(zone, 0xE2, 16)[0] != OK
    equal("no more", write(d.device / "medium/program_fail", 0), 0)
    equal("a read-only one", d.zones()[zone][0], READ_ONLY)
    equal("is read", d.read(zone * SIZE, 1), (OK, b"\xe2" * BLOCK))
    equal("not written", d.append(zone, 1)[0], IS_READ_ONLY)
    equal("nor changed", [d.send(action, zone) for action in (RESET, OPEN, FINISH)], [NO_TRANSITION] * 3)
    equal("on the list", listed(), (OK, (1, zone * SIZE)))
    equal("offline", (d.send(OFFLINE, zone), d.zones()[zone][0]), (OK, GONE))
    equal("as the host wanted", listed(), (OK, (0,)))
    equal("stats", stats(d.device)["zone_changes"], 2)
    equal("no notices", d.admin(SET, cdw10=0x0B, cdw11=wanted)[0], OK)


def formats(d: Drive) -> None:
    """Blocks of 512 bytes: all zones are empty, and count in them."""
    d.append(1, 1)
    d.close()
    equal("format", passthru(os.open(d.path, os.O_RDWR), opcode=FORMAT, nsid=1, cdw10=0)[0], OK)
    other = Drive(d.device)
    raw = other.receive(length=128)[1]
    equal("a zone", struct.unpack_from("<BB6xQQQ", raw, 64), (2, EMPTY << 4, CAPACITY * 8, 0, 0))
    equal("append", passthru64(other.ns, opcode=APPEND, nsid=1, data=page_buffer(512), cdw10=SIZE * 8), (OK, SIZE * 8))
    equal("blkzone", run("blkzone", "reset", str(other.node)).returncode, 0)
    other.close()


def commands(args: argparse.Namespace) -> None:
    """All of it on one traced device."""
    with zoned(args.start, cpus=args.cpus, vwc=1, seed=11, trace=16384, trace_lossless=1) as device:
        reading = Reading("z", 0.002)
        d = Drive(device)
        for part in (says, appends, writes, states, limits, reports, extensions, random_areas, changes, formats):
            part(d)
        run("udevadm", "settle")  # it looks at the disks too
        raw, live = reading.complete(), stats(device)
    twin(args.python, raw, 400, live)  # that much the program asks by itself; udev asks too


def refused(args: argparse.Namespace) -> None:
    """What cannot be, said in words."""
    settings = {"kind": "zns", "memmap_start": size(args.start), "memmap_size": REGION}
    for name, changed, why in (
        ("size", {"zone_size": 8191}, "zone_size is not a power of two"),
        ("limits", {"zone_max_active": 1}, "zone_max_open is larger than zone_max_active"),
        ("no room", {"zone_conventional": 255}, "has no room for a zone"),
    ):
        device = make("r", **settings, **{f"medium/{key}": value for key, value in (ZONED | changed).items()})
        with new_messages() as said:
            equal(f"{name}: power", write(device / "power", 1), 22)
        check(f"{name}: says why", any(why in line for line in said), said=said)
        device.rmdir()
    device = make("r", **settings, **{f"medium/{key}": value for key, value in ZONED.items()})
    (device / "namespaces/1").mkdir()
    with new_messages() as said:
        equal("other namespaces: power", write(device / "power", 1), 22)
    check("says why", any("that its medium says" in line for line in said), said=said)
    equal("go", errno_of((device / "namespaces/1").rmdir), 0)
    device.rmdir()


def body(args: argparse.Namespace) -> None:
    equal("load", load(args.module), 0)
    commands(args)
    refused(args)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--python", default="python3", help="a Python that has what nvlab's simulator needs")
    main(body, arguments)
