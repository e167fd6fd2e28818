# SPDX-License-Identifier: GPL-2.0-or-later
"""Admin and I/O commands through the driver's passthrough: what is in order, and the status of what is not."""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import struct
import time
from pathlib import Path
from typing import Any

from kmod_common import (
    check,
    controller,
    disk,
    equal,
    load_first,
    main,
    page_buffer,
    parser,
    passthru,
    run,
    size,
    unload,
)

# opcodes
DELETE_SQ, CREATE_SQ, GET_LOG, DELETE_CQ, CREATE_CQ, IDENTIFY, ABORT, SET, GET = 0, 1, 2, 4, 5, 6, 8, 9, 10
FLUSH, WRITE, READ, WRITE_UNCOR, COMPARE, WRITE_ZEROES, DSM, VERIFY = 0, 1, 2, 4, 5, 8, 9, 12
# status
OK, INVALID_OPCODE, INVALID_FIELD, SEQUENCE, INVALID_NS, LBA_RANGE = 0, 0x4001, 0x4002, 0x400C, 0x400B, 0x4080
CQ_INVALID, QID_INVALID, QUEUE_SIZE, VECTOR_INVALID, LOG_INVALID = 0x4100, 0x4101, 0x4102, 0x4108, 0x4109
QUEUE_DELETION, NOT_SAVEABLE, NOT_PER_NS = 0x410C, 0x410D, 0x410F
ALL = 0xFFFFFFFF


class Drive:
    """The controller and its namespace, opened."""

    def __init__(self) -> None:
        self.node = disk()
        self.name = controller().name
        self.ctrl = os.open(f"/dev/{self.name}", os.O_RDWR)
        self.ns = os.open(self.node, os.O_RDWR)
        self.page = page_buffer()
        self.blocks = int(Path(f"/sys/block/{self.node.name}/size").read_text())

    def admin(self, opcode: int, data: Any = None, **kw: int) -> tuple[int, int]:
        return passthru(self.ctrl, opcode=opcode, data=data, **kw)

    def io(self, opcode: int, data: Any = None, nsid: int = 1, **kw: int) -> tuple[int, int]:
        return passthru(self.ns, True, opcode=opcode, nsid=nsid, data=data, **kw)

    def read_page(self, opcode: int, **kw: int) -> bytes:
        ctypes.memset(self.page, 0xEE, 4096)
        status, _ = self.admin(opcode, self.page, **kw)
        equal(f"opcode {opcode} {kw}", status, OK)
        return self.page.raw


def identify(d: Drive, args: argparse.Namespace) -> None:
    """Identify: fields that drivers and tools go by, and every wrong namespace."""
    ctrl = d.read_page(IDENTIFY, cdw10=1)
    check("SN is printable, padded", ctrl[4:24].isascii() and ctrl[4:7] == b"NVL", sn=ctrl[4:24])
    equal("VER", struct.unpack_from("<I", ctrl, 80)[0], 0x10400)
    equal("SQES and CQES", ctrl[512:514], b"\x66\x44")
    equal("NN", struct.unpack_from("<I", ctrl, 516)[0], 32)
    equal("capacity, and none of it free", struct.unpack_from("<QQQ", ctrl, 280), (size(args.size) - (1 << 20), 0, 0))
    check("SUBNQN ends", ctrl[768:1024].rstrip(b"\0").startswith(b"nqn.2014-08.org.nvmexpress:uuid:"))
    ns = d.read_page(IDENTIFY, cdw10=0, nsid=1)
    nsze, ncap, nuse = struct.unpack_from("<QQQ", ns)
    equal("NSZE", nsze * 512, size(args.size) - (1 << 20))
    equal("NCAP and NUSE", (ncap, nuse), (nsze, nsze))
    equal("LBADS", ns[130], 9)
    check("NGUID and EUI64", any(ns[104:120]) and any(ns[120:128]))
    equal("active list", d.read_page(IDENTIFY, cdw10=2)[:8], struct.pack("<II", 1, 0))
    equal("active list above 1", d.read_page(IDENTIFY, cdw10=2, nsid=1)[:4], bytes(4))
    equal("descriptors", d.read_page(IDENTIFY, cdw10=3, nsid=1)[:2], b"\x01\x08")
    equal("inactive is all zeros", d.read_page(IDENTIFY, cdw10=0, nsid=2), bytes(4096))
    common = d.read_page(IDENTIFY, cdw10=0, nsid=ALL)
    equal("formats of all", (common[25], common[130], common[134], common[:8]), (1, 9, 12, bytes(8)))
    equal("one controller, number 1", d.read_page(IDENTIFY, cdw10=0x13)[:6], struct.pack("<HHH", 1, 1, 0))
    equal("none from number 2 on", d.read_page(IDENTIFY, cdw10=0x13 | 2 << 16)[:2], bytes(2))
    equal("it has namespace 1", d.read_page(IDENTIFY, cdw10=0x12, nsid=1)[:4], struct.pack("<HH", 1, 1))
    equal("allocated list", d.read_page(IDENTIFY, cdw10=0x10)[:8], struct.pack("<II", 1, 0))
    equal("allocated namespace", d.read_page(IDENTIFY, cdw10=0x11, nsid=1), ns)
    equal("command set vector", d.read_page(IDENTIFY, cdw10=0x1C | ALL >> 16 << 16)[:16], struct.pack("<QQ", 1, 0))
    equal("command set of the controller", d.read_page(IDENTIFY, cdw10=6), bytes(4096))
    equal("command set of the namespace", d.read_page(IDENTIFY, cdw10=5, nsid=1), bytes(4096))
    equal("ready, whatever its command set", d.read_page(IDENTIFY, cdw10=8, nsid=1)[14], 1)
    for cns, nsid, want in ((0, 0, INVALID_NS), (0, 33, INVALID_NS), (2, ALL, INVALID_NS), (2, ALL - 1, INVALID_NS),
                            (3, 2, INVALID_FIELD), (3, 0, INVALID_NS), (3, 33, INVALID_NS), (0x11, 0, INVALID_NS),
                            (0x11, ALL, INVALID_NS), (0x12, 2, INVALID_FIELD), (0x12, 33, INVALID_NS),
                            (5, 2, INVALID_FIELD), (8, 0, INVALID_NS), (8, 2, INVALID_FIELD), (8, 33, INVALID_NS),
                            (0x1C | 7 << 16, 0, INVALID_FIELD), (0x99, 0, INVALID_FIELD)):
        equal(f"CNS {cns:#x}, NSID {nsid:#x}", d.admin(IDENTIFY, d.page, cdw10=cns, nsid=nsid)[0], want)


def log(d: Drive, lid: int, length: int, offset: int = 0, nsid: int = ALL) -> tuple[int, bytes]:
    """Get Log Page."""
    buf = ctypes.create_string_buffer(b"\xee" * length, length)
    words = length // 4 - 1
    status, _ = d.admin(GET_LOG, buf, nsid=nsid, cdw10=lid | (words & 0xFFFF) << 16, cdw11=words >> 16, cdw12=offset)
    return status, buf.raw


def logs(d: Drive) -> None:
    """Error, SMART, firmware, effects; lengths and offsets; what is not there."""
    before = struct.unpack_from("<Q", log(d, 1, 64)[1])[0]
    d.admin(0x7F)
    status, errors = log(d, 1, 4096)
    count, sqid, _, field = struct.unpack_from("<QHHH", errors)
    equal("an error more", (status, count), (OK, before + 1))
    equal("its queue and status", (sqid, field >> 1), (0, INVALID_OPCODE))
    os.pread(d.ns, 4096, 0)
    smart = log(d, 2, 512)[1]
    equal("temperature", struct.unpack_from("<H", smart, 1)[0], 300)
    equal("spare", smart[3], 100)
    check("reads counted", struct.unpack_from("<Q", smart, 64)[0] > 0)
    equal("error entries", struct.unpack_from("<Q", smart, 176)[0], count)
    equal("SMART at an offset", log(d, 2, 64, 64)[1], log(d, 2, 512)[1][64:128])
    equal("firmware", log(d, 3, 512)[1][:1], b"\x01")
    effects = log(d, 5, 4096)[1]
    equal("effects", [struct.unpack_from("<I", effects, 4 * x)[0] & 1 for x in (IDENTIFY, 0x80, 0x7F)], [1, 1, 0])
    equal("I/O effects", struct.unpack_from("<III", effects, 1024), (1, 3, 1))
    equal("beyond the end are zeros", log(d, 2, 8192)[1][512:], bytes(8192 - 512))
    for name, got, want in (
        ("no such log", log(d, 0x70, 512), LOG_INVALID), ("odd offset", log(d, 2, 64, 2), INVALID_FIELD),
        ("offset beyond", log(d, 2, 64, 4096), INVALID_FIELD), ("of a namespace", log(d, 2, 512, nsid=1), INVALID_FIELD),
    ):
        equal(name, got[0], want)


def features(d: Drive) -> None:
    """Each feature: what is read back, its default, and what it refuses."""
    for fid, nsid, value, default in (
        (1, 0, 0x01020304, 3), (2, 0, 0x20, 0), (5, 1, 1 << 16 | 10, 0), (8, 0, 0x0203, 0), (0xA, 0, 1, 0),
        (0xB, 0, 0x11F, 0), (0x84, 1, 1, 0),
    ):
        before = d.admin(GET, cdw10=fid, nsid=nsid)
        equal(f"set feature {fid:#x}", d.admin(SET, cdw10=fid, cdw11=value, nsid=nsid)[0], OK)
        equal(f"get feature {fid:#x}", d.admin(GET, cdw10=fid, nsid=nsid), (OK, value))
        equal(f"its default {fid:#x}", d.admin(GET, cdw10=fid | 1 << 8, nsid=nsid), (OK, default))
        equal(f"what is saved {fid:#x}", d.admin(GET, cdw10=fid | 2 << 8, nsid=nsid), (OK, default))
        equal(f"it is changeable {fid:#x}", d.admin(GET, cdw10=fid | 3 << 8, nsid=nsid), (OK, 6 if nsid else 4))
        d.admin(SET, cdw10=fid, cdw11=before[1], nsid=nsid)
    memory_features(d)
    queues = d.admin(GET, cdw10=7)[1]
    check("number of queues", queues & 0xFFFF == queues >> 16 and queues & 0xFFFF >= 3, value=hex(queues))
    d.admin(SET, cdw10=4, cdw11=350)
    equal("temperature threshold", d.admin(GET, cdw10=4), (OK, 350))
    equal("and the lower one", d.admin(GET, cdw10=4, cdw11=1 << 20), (OK, 0))
    equal("all sensors", d.admin(SET, cdw10=4, cdw11=0xF << 16 | 343)[0], OK)
    equal("the first of them", d.admin(GET, cdw10=4), (OK, 343))
    for value in (1 | 1 << 16, 1):
        d.admin(SET, cdw10=9, cdw11=value)
        equal("vector config", d.admin(GET, cdw10=9, cdw11=1), (OK, value))
    equal("the admin vector's", d.admin(GET, cdw10=9), (OK, 1 << 16))
    for name, kw, want in (
        ("no such feature", {"cdw10": 0x77}, INVALID_FIELD), ("not saveable", {"cdw10": 1 | 1 << 31}, NOT_SAVEABLE),
        ("power state 1", {"cdw10": 2, "cdw11": 1}, INVALID_FIELD),
        ("not saveable, nor there", {"cdw10": 0x77 | 1 << 31}, INVALID_FIELD),
        ("no such vector", {"cdw10": 9, "cdw11": 4000}, INVALID_FIELD),
        ("admin vector coalesced", {"cdw10": 9, "cdw11": 0}, INVALID_FIELD),
        ("of a namespace", {"cdw10": 1, "cdw11": 3, "nsid": 1}, NOT_PER_NS),
        ("error recovery of none", {"cdw10": 5, "cdw11": 3}, INVALID_NS),
        ("error recovery, inactive", {"cdw10": 5, "cdw11": 3, "nsid": 2}, INVALID_FIELD),
        ("error recovery, no valid NSID", {"cdw10": 5, "cdw11": 3, "nsid": 33}, INVALID_NS),
        ("protect for ever", {"cdw10": 0x84, "cdw11": 3, "nsid": 1}, INVALID_FIELD),
        ("protect all", {"cdw10": 0x84, "cdw11": 1, "nsid": ALL}, INVALID_FIELD),
        ("events that are not there", {"cdw10": 0xB, "cdw11": 1 << 9}, INVALID_FIELD),
        ("third threshold", {"cdw10": 4, "cdw11": 2 << 20}, INVALID_FIELD),
        ("no such sensor", {"cdw10": 4, "cdw11": 3 << 16}, INVALID_FIELD),
        ("cache that is not there", {"cdw10": 6, "cdw11": 1}, INVALID_FIELD),
    ):
        equal(name, d.admin(SET, **kw)[0], want)
    # the driver of some kernels keeps this one for itself
    for value, want in ((0x00030003, SEQUENCE), (0xFFFF, INVALID_FIELD)):
        status = d.admin(SET, cdw10=7, cdw11=value)[0]
        check(f"number of queues {value:#x}", status in (want, -errno.EACCES), status=hex(status))
    equal("no such select", d.admin(GET, cdw10=1 | 7 << 8)[0], INVALID_FIELD)


def memory_features(d: Drive) -> None:
    """Timestamp and Host Behavior Support, whose values are in memory."""
    stamp = ctypes.create_string_buffer(struct.pack("<Q", 123_456_789), 8)
    equal("set the timestamp", d.admin(SET, stamp, cdw10=0xE)[0], OK)
    time.sleep(0.01)
    equal("get the timestamp", d.admin(GET, stamp, cdw10=0xE)[0], OK)
    value, = struct.unpack("<Q", stamp.raw)
    check("it goes on, set by the host", 10 <= (value & (1 << 48) - 1) - 123_456_789 < 60_000 and value >> 48 == 2, value=value)
    host = ctypes.create_string_buffer(b"\1", 512)
    status = d.admin(SET, host, cdw10=0x16)[0]
    if status == -errno.EACCES:  # newer drivers keep this feature to themselves
        return
    equal("set host behavior", status, OK)
    ctypes.memset(host, 0xEE, 512)
    equal("get host behavior", (d.admin(GET, host, cdw10=0x16)[0], host.raw), (OK, b"\1" + bytes(511)))
    host = ctypes.create_string_buffer(b"\2", 512)
    equal("no such behavior", d.admin(SET, host, cdw10=0x16)[0], INVALID_FIELD)


def queues(d: Drive) -> None:
    """Create and Delete with everything wrong in turn; the driver uses queues 1 to its number of CPUs."""
    used, free, none = 1, d.admin(GET, cdw10=7)[1] % 65536 + 1, 5000
    pc = 1
    for name, opcode, kw, want in (
        ("delete SQ 0", DELETE_SQ, {"cdw10": 0}, QID_INVALID), ("delete CQ 0", DELETE_CQ, {"cdw10": 0}, QID_INVALID),
        ("delete SQ not there", DELETE_SQ, {"cdw10": free}, QID_INVALID),
        ("delete CQ not there", DELETE_CQ, {"cdw10": free}, QID_INVALID),
        ("delete SQ beyond", DELETE_SQ, {"cdw10": none}, QID_INVALID),
        ("delete CQ in use", DELETE_CQ, {"cdw10": used}, QUEUE_DELETION),
        ("create CQ 0", CREATE_CQ, {"cdw10": 15 << 16, "cdw11": pc}, QID_INVALID),
        ("create CQ twice", CREATE_CQ, {"cdw10": 15 << 16 | used, "cdw11": pc}, QID_INVALID),
        ("create CQ beyond", CREATE_CQ, {"cdw10": 15 << 16 | none, "cdw11": pc}, QID_INVALID),
        ("create CQ of 1", CREATE_CQ, {"cdw10": free, "cdw11": pc}, QUEUE_SIZE),
        ("create CQ too large", CREATE_CQ, {"cdw10": 5000 << 16 | free, "cdw11": pc}, QUEUE_SIZE),
        ("create CQ in pieces", CREATE_CQ, {"cdw10": 15 << 16 | free, "cdw11": 0}, INVALID_FIELD),
        ("create CQ, no such vector", CREATE_CQ, {"cdw10": 15 << 16 | free, "cdw11": 4000 << 16 | 2 | pc},
         VECTOR_INVALID),
        ("create SQ 0", CREATE_SQ, {"cdw10": 15 << 16, "cdw11": used << 16 | pc}, QID_INVALID),
        ("create SQ twice", CREATE_SQ, {"cdw10": 15 << 16 | used, "cdw11": used << 16 | pc}, QID_INVALID),
        ("create SQ on CQ 0", CREATE_SQ, {"cdw10": 15 << 16 | free, "cdw11": pc}, QID_INVALID),
        ("create SQ, CQ not there", CREATE_SQ, {"cdw10": 15 << 16 | free, "cdw11": free << 16 | pc}, CQ_INVALID),
        ("create SQ of 1", CREATE_SQ, {"cdw10": free, "cdw11": used << 16 | pc}, QUEUE_SIZE),
        ("create SQ in pieces", CREATE_SQ, {"cdw10": 15 << 16 | free, "cdw11": used << 16}, INVALID_FIELD),
    ):
        equal(name, d.admin(opcode, d.page if opcode in (CREATE_CQ, CREATE_SQ) else None, **kw)[0], want)


def others(d: Drive) -> None:
    """Abort completes; what is not offered is refused."""
    equal("abort what is not there", d.admin(ABORT, cdw10=1 | 0x1234 << 16), (OK, 1))
    equal("abort on no queue", d.admin(ABORT, cdw10=5000)[0], INVALID_FIELD)
    for opcode in (0x03, 0x10, 0x14, 0x18, 0x7C, 0x84, 0xC0, 0xFF):
        equal(f"admin opcode {opcode:#x}", d.admin(opcode)[0], INVALID_OPCODE)


def lba(slba: int, nlb: int) -> dict[str, int]:
    """Command words of an LBA range; nlb counts from 1."""
    return {"cdw10": slba & ALL, "cdw11": slba >> 32, "cdw12": nlb - 1}


def ranges(*items: tuple[int, int]) -> Any:
    """A Dataset Management list of (slba, nlb)."""
    raw = b"".join(struct.pack("<IIQ", 0, n, s) for s, n in items)
    return ctypes.create_string_buffer(raw, len(raw))


def io(d: Drive) -> None:
    """I/O commands at and over every edge."""
    last = d.blocks - 1
    block = ctypes.create_string_buffer(os.urandom(512), 512)
    back = ctypes.create_string_buffer(512)
    equal("write the last block", d.io(WRITE, block, **lba(last, 1))[0], OK)
    equal("read the last block", d.io(READ, back, **lba(last, 1))[0], OK)
    equal("the same", back.raw, block.raw)
    equal("flush", d.io(FLUSH)[0], OK)
    two = ctypes.create_string_buffer(1024)
    for name, opcode, data, kw, want in (
        ("read over the end", READ, two, lba(last, 2), LBA_RANGE),
        ("write over the end", WRITE, two, lba(last, 2), LBA_RANGE),
        ("read beyond", READ, block, lba(d.blocks, 1), LBA_RANGE),
        ("read that wraps", READ, block, lba((1 << 64) - 1, 1), LBA_RANGE),
        ("zeroes over the end", WRITE_ZEROES, None, lba(last, 2), LBA_RANGE),
        ("zeroes beyond", WRITE_ZEROES, None, lba(1 << 60, 65536), LBA_RANGE),
        ("uncorrectable over the end", WRITE_UNCOR, None, lba(last, 2), LBA_RANGE),
        ("compare over the end", COMPARE, two, lba(last, 2), LBA_RANGE),
        ("verify over the end", VERIFY, None, lba(last, 2), LBA_RANGE),
        ("opcode 90h", 0x90, None, {}, INVALID_OPCODE), ("vendor opcode", 0xFE, block, {}, INVALID_OPCODE),
        ("too long for MDTS", READ, block, lba(0, 65536), INVALID_FIELD),
        ("deallocate beyond", DSM, ranges((0, 8), (d.blocks, 1)), {"cdw10": 1, "cdw11": 4}, LBA_RANGE),
    ):
        equal(name, d.io(opcode, data, **kw)[0], want)
    equal("nothing was written", d.io(READ, back, **lba(last, 1))[0] or back.raw == block.raw, True)
    discards(d, block, back)


def discards(d: Drive, block: Any, back: Any) -> None:
    """Write Zeroes and Dataset Management do what they say, and hints nothing."""
    for at in (100, 200, 300, 301):
        d.io(WRITE, block, **lba(at, 1))
    equal("write zeroes", d.io(WRITE_ZEROES, None, **lba(100, 1))[0], OK)
    equal("deallocate two ranges", d.io(DSM, ranges((200, 1), (300, 1)), cdw10=1, cdw11=4)[0], OK)
    equal("a hint", d.io(DSM, ranges((301, 1)), cdw10=0, cdw11=1)[0], OK)
    for at, want in ((100, bytes(512)), (200, bytes(512)), (300, bytes(512)), (301, block.raw)):
        d.io(READ, back, **lba(at, 1))
        equal(f"block {at}", back.raw == want, True)
    mixed = ctypes.create_string_buffer(b"\xcc" * 2048, 2048)
    d.io(READ, mixed, **lba(299, 4))
    equal("a read of both", mixed.raw, bytes(1024) + block.raw + bytes(512))


def largest(d: Drive) -> None:
    """The largest transfer the driver makes, from every offset in a page that a PRP may have."""
    length = 480 << 10  # the driver's limit is 127 segments
    raw = ctypes.create_string_buffer(length + 8192)
    base = -ctypes.addressof(raw) % 4096
    for offset in (0, 512, 2048, 4092):
        data = (ctypes.c_char * (length - 4096)).from_buffer(raw, base + offset)
        want = os.urandom(length - 4096)
        ctypes.memmove(data, want, len(want))
        status = d.io(WRITE, data, **lba(4096, len(want) // 512))[0]
        ctypes.memset(data, 0, len(want))
        status |= d.io(READ, data, **lba(4096, len(want) // 512))[0]
        check(f"480 KiB at offset {offset}", status == OK and data.raw == want, status=hex(status & 0xFFFF))
        del data


def tools(d: Drive) -> None:
    """nvme-cli's reading commands."""
    ctrl, ns = f"/dev/{d.name}", str(d.node)
    for words, shown in (
        ("list", ns), ("list-subsys", d.name), (f"id-ctrl {ctrl}", "NVL"), (f"id-ns {ns}", "nsze"),
        (f"nvm-id-ctrl {ctrl}", "vsl"),
        (f"nvm-id-ns {ns}", "lbstm"), (f"cmdset-ind-id-ns {ns} -n 1", "nstat"), (f"list-ns {ctrl}", "[   0]:0x1"),
        (f"list-ns {ctrl} --all", "[   0]:0x1"), (f"list-ctrl {ctrl}", "[   0]:0x1"), (f"list-ctrl {ctrl} -n 1", "[   0]:0x1"),
        (f"ns-descs {ns}", "uuid"), (f"id-iocs {ctrl}", ""), (f"smart-log {ctrl}", "temperature"),
        (f"error-log {ctrl}", "error_count"), (f"fw-log {ctrl}", "afi"), (f"effects-log {ctrl} --csi=0", "Namespace Management"),
        (f"changed-ns-list-log {ctrl}", ""), (f"get-ns-id {ns}", "namespace-id:1"), (f"show-topology -v {ctrl}", d.name),
        (f"show-regs {ctrl}", "version : 10400"), (f"show-regs {ctrl} -H", "Controller Ready"), ("zns list", "Node"),
        (f"get-log {ctrl} --log-id=2 --log-len=512", "log-id:2"), (f"verify {ns} --start-block=0 --block-count=7", "Success"),
        *((f"get-feature {ctrl} -f {fid}", "") for fid in (1, 2, 4, 7, 8, 9, 0xA, 0xB, 0xE, 0x16)),
        *((f"get-feature {ns} -f {fid}", "") for fid in (5, 0x84)),
    ):
        done = run("nvme", *words.split())
        good = done.returncode == 0 and shown in done.stdout
        check(f"nvme {words}", good, out=(done.stdout + done.stderr)[-300:])
    refused_tools(ctrl, ns)


def refused_tools(ctrl: str, ns: str) -> None:
    """Its commands that read what this device does not offer: each is told why."""
    offered = run("nvme", "help").stdout
    refused = {
        "Invalid Log Page": (
            *(f"{name} {ctrl}" for name in (
                "supported-log-pages", "self-test-log", "device-self-test", "sanitize-log", "ana-log", "lba-status-log",
                "resv-notif-log", "fid-support-effects-log", "mi-cmd-support-effects-log")),
            f"endurance-log {ctrl} -g 1", f"persistent-event-log {ctrl} --action=0", f"predictable-lat-log {ctrl} -i 1",
            f"pred-lat-event-agg-log {ctrl} --log-entries=1", f"endurance-event-agg-log {ctrl} --log-entries=1",
            f"media-unit-stat-log {ctrl} -d 1", f"supported-cap-config-log {ctrl} -d 1",
            f"telemetry-log {ctrl} --output-file=/tmp/log", f"boot-part-log {ctrl} --output-file=/tmp/log"),
        "Invalid Field in Command": (
            *(f"{name} {ctrl}" for name in (
                "id-nvmset", "id-uuid", "id-domain", "list-endgrp", "id-ns-granularity", "id-ns-lba-format",
                "nvm-id-ns-lba-format", "primary-ctrl-caps", "list-secondary", "zns id-ctrl")),
            f"zns id-ns {ns}"),
        "Invalid Command Opcode": (
            f"get-property {ctrl} --offset=8", f"get-lba-status {ns} --start-lba=0 --max-dw=16 --action=0x11",
            f"resv-report {ns}", f"dir-receive {ns} --dir-type=0 --dir-oper=1", f"io-mgmt-recv {ns} --mo=1 --data-len=64",
            f"security-recv {ctrl} --size=512", f"fdp status {ns}"),
    }
    for status, commands in refused.items():
        known = [words for words in commands if f" {words.split()[0]} " in offered]
        check(f"nvme of this version has commands for {status}", 2 * len(known) > len(commands), known=known)
        for words in known:
            done = run("nvme", *words.split())
            good = done.returncode > 0 and status in done.stderr
            check(f"nvme {words}: {status}", good, out=(done.stdout + done.stderr)[-300:])


def body(args: argparse.Namespace) -> None:
    """All of it on one device, which must work as before afterwards."""
    equal("load", load_first(args), 0)
    d = Drive()
    identify(d, args)
    logs(d)
    features(d)
    queues(d)
    others(d)
    io(d)
    largest(d)
    if run("nvme", "version").returncode == 0:
        tools(d)
    equal("still live", (controller() / "state").read_text(), "live\n")
    os.close(d.ns)
    os.close(d.ctrl)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    main(body, parser(__doc__))
