# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab.ko with keys: every command, option and status of a key value namespace through Linux's generic device, what Identify and
the logs say, random operations against a dictionary, a full drive, power cuts, and a twin that agrees."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import struct
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

from kmod_common import (
    HANG,
    Drive,
    check,
    controller,
    equal,
    load,
    main,
    make,
    new_messages,
    page_buffer,
    parser,
    passthru64,
    pci,
    powered,
    read,
    size,
    stats,
    unload,
    wait_for,
    write,
)
from kmod_power import node_of, read_all, write_all
from kmod_traced import CHECKOUT, Reading, twin

sys.path.insert(0, str(CHECKOUT))
from nvlab.kv import FullError, KeyExistsError, KeyNotFoundError, KeyValueError, Opcode, Status, Store

KIB, MIB = 1 << 10, 1 << 20
REGION = 17 << 20  # 16 MiB of storage
KEYED: dict[str, int] = {
    "channels": 2, "dies": 2, "planes": 1, "page_size": 4096, "cell_bits": 1, "program_pages": 1, "blocks": 40, "erase": 300_000,
    "program_lsb": 50_000, "kv_value": 64, "kv_keys": 700, "buffer": 256, "spare": 100,
}
LARGEST = 64 * KIB
CAPACITY = 16 * MIB - LARGEST
GET_LOG, SET, GET, NS_MANAGEMENT, NS_ATTACHMENT, FORMAT = 2, 9, 10, 0x0D, 0x15, 0x80
INVALID_OPCODE, INVALID_FIELD, NO_SUCH_NAMESPACE, PROTECTED = 0x4001, 0x4002, 0x400B, 0x4020
SETS_REJECTED, INVALID_SET, LOG_INVALID, FORMAT_INVALID = 0x412B, 0x412C, 0x4109, 0x410A
OK = 0


def keyed(start: str, name: str = "k", **attributes: object) -> AbstractContextManager[Path]:
    """A device with keys; ``medium`` among the attributes replaces what is in KEYED."""
    medium = {f"medium/{key}": value for key, value in (KEYED | attributes.pop("medium", {})).items()}  # type: ignore[operator]
    settings = {"kind": "kv", "memmap_start": size(start), "memmap_size": REGION, "block_size": 4096, **attributes}
    return powered(name, **settings, **medium)


def generic(device: Path) -> Path:
    """/dev/ngXnY of a device, once it can be opened: of the controller, or of several controllers' subsystem."""

    def found() -> Path | None:
        ctrl = controller(device)
        shared = [path.parent for path in Path("/sys/class/nvme-subsystem").glob(f"*/{ctrl.name}")]
        for path in (path for above in (ctrl, *shared) for path in above.glob("ng*n*")):
            node = Path("/dev") / path.name
            with contextlib.suppress(OSError):  # its node comes a moment after it
                os.close(os.open(node, os.O_RDONLY))
                return node
        return None

    return wait_for(f"the generic device of {device.name}", found)


class KeyDrive(Drive, Store):
    """A device with keys, its generic device and its controller opened."""

    def __init__(self, device: Path) -> None:
        Store.__init__(self, generic(device))
        Drive.__init__(self, device)

    def close(self) -> None:
        Store.close(self)
        Drive.close(self)

    def io(self, opcode: int, key: bytes = b"k", length: int = 0, nsid: int = 1, **kw: int) -> tuple[int, int]:
        """A command as the client would not send it: status and result."""
        data = page_buffer(length) if length else None
        words = struct.unpack("<4I", key[:16].ljust(16, b"\0"))
        return passthru64(self._fd, opcode=opcode, nsid=nsid, data=data,
                          **{"cdw2": words[0], "cdw3": words[1], "cdw14": words[2], "cdw15": words[3], "cdw10": length,
                             "cdw11": len(key), **kw})


def status_of(act: object, *args: object, **kw: object) -> object:
    """The status that the client's exception has, or what it returned."""
    try:
        return act(*args, **kw)  # type: ignore[operator]
    except KeyValueError as error:
        return Status(error.status).name


def says(d: KeyDrive) -> None:
    """Identify of both command sets, the features of this one, the effects of its commands."""
    ctrl = d.identify(1)[1]
    equal("OACS: no namespace management", struct.unpack_from("<H", ctrl, 256)[0], 2)
    equal("ONCS: select, timestamp", struct.unpack_from("<H", ctrl, 520)[0], 0x50)
    status, raw = d.identify(5, csi=1, nsid=1)
    equal("NSZE, NUSE, NKVF", (status, *struct.unpack_from("<Q8xQxB", raw)), (OK, CAPACITY, 0, 0))
    equal("NOVG", struct.unpack_from("<I", raw, 32)[0], 4096)
    equal("its format", struct.unpack_from("<HBBIII", raw, 72), (16, 0, 0, LARGEST, 700, 0))
    equal("identifiers", raw[48:72], d.identify(3, nsid=1)[1][4 + 8 + 4:][:16] + d.identify(3, nsid=1)[1][4:12])
    equal("by the client", d.space(), type(d.space())(CAPACITY, 0, 16, LARGEST, 700))
    status, raw = d.identify(8, nsid=1)
    equal("of any command set", (status, raw[8], raw[14]), (OK, 0, 1))
    equal("limits of the set", d.identify(6, csi=1), (OK, bytes(4096)))
    for cns, csi, nsid, want in ((0, 0, 1, INVALID_SET), (0x11, 0, 1, INVALID_SET), (5, 1, 2, INVALID_FIELD),
                                 (8, 0, 2, INVALID_FIELD), (5, 2, 1, INVALID_FIELD), (6, 2, 0, INVALID_FIELD)):
        equal(f"CNS {cns:#x} of set {csi}, NSID {nsid}", d.identify(cns, csi, nsid)[0], want)
    for csi, listed in ((0, (0, 0)), (1, (1, 0))):
        equal(f"active of set {csi}", d.identify(7, csi)[1][:8], struct.pack("<II", *listed))
    equal("its descriptor", d.identify(3, nsid=1)[1][52:57], bytes([4, 1, 0, 0, 1]))
    equal("combinations", d.identify(0x1C)[1][:16], struct.pack("<QQ", 3, 0))
    equal("another than that in force", d.admin(SET, cdw10=0x19, cdw11=1)[0], SETS_REJECTED)
    for csi, want_effects in ((0, [0] * 6), (1, [1, 3, 1, 1, 3, 1])):
        raw = d.admin(GET_LOG, 4096, nsid=0xFFFFFFFF, cdw10=5 | 1023 << 16, cdw14=csi << 24)[1]
        effects = struct.unpack_from("<256I", raw, 1024)
        equal(f"effects of set {csi}", [effects[opcode] for opcode in Opcode], want_effects)
        equal(f"and no others {csi}", sum(map(bool, effects)), sum(map(bool, want_effects)))
    equal("effects of no set", d.admin(GET_LOG, 4096, nsid=0xFFFFFFFF, cdw10=5 | 1023 << 16, cdw14=2 << 24)[0], LOG_INVALID)
    equal("namespaces are fixed", [d.admin(op, 4096)[0] for op in (NS_MANAGEMENT, NS_ATTACHMENT)], [INVALID_OPCODE] * 2)
    equal("a feature of blocks", d.admin(SET, nsid=1, cdw10=5, cdw11=1 << 16)[0], INVALID_FIELD)


def stores(d: KeyDrive) -> None:
    """Values of every kind of size, into buffers of every kind."""
    for length in (0, 1, 3, 4095, 4096, 4097, 3 * 4096 + 5, LARGEST):
        value = random.Random(length).randbytes(length)
        d.store(b"one", value)
        equal(f"{length} bytes", d.retrieve(b"one") == value, True)
        equal(f"{length} bytes, how many", d.send(Opcode.RETRIEVE, b"one"), length)
    data = page_buffer(8)
    words = {"cdw2": int.from_bytes(b"one", "little"), "cdw11": 3, "cdw10": 8}
    equal("the beginning", passthru64(d._fd, opcode=Opcode.RETRIEVE, nsid=1, data=data, **words), (OK, LARGEST))
    equal("of it", data.raw, value[:8])
    d.store(b"one", b"short")
    data = page_buffer(4096)
    data[:] = b"\xee" * 4096  # type: ignore[assignment]
    equal("a large buffer", passthru64(d._fd, opcode=Opcode.RETRIEVE, nsid=1, data=data, **words | {"cdw10": 4096}), (OK, 5))
    equal("is left alone behind it", data.raw, b"short" + b"\xee" * 4091)
    for key in (b"\0", b"\0\0", b"k" * 15, b"k" * 16, bytes(range(16))):
        d.store(key, key * 3)
    equal("keys of every length", [d.retrieve(k) for k in (b"\0", b"\0\0", b"k" * 15, b"k" * 16)],
          [k * 3 for k in (b"\0", b"\0\0", b"k" * 15, b"k" * 16)])
    equal("raw, and not compressed", (d.io(Opcode.RETRIEVE, b"one", 8, cdw11=3 | 1 << 8)[0],
                                      d.io(Opcode.STORE, b"two", 8, cdw11=3 | 4 << 8)[0]), (OK, OK))


def options(d: KeyDrive) -> None:
    """What may not be there, what must be, and what else is refused."""
    d.store(b"k", b"v")
    for name, got, want in (
        ("add what is there", status_of(d.store, b"k", b"w", add=True), "KEY_EXISTS"),
        ("replace what is not", status_of(d.store, b"n", b"w", replace=True), "KEY_DOES_NOT_EXIST"),
        ("replace", status_of(d.store, b"k", b"x", replace=True), None),
        ("add", status_of(d.store, b"n", b"y", add=True), None),
        ("both", status_of(d.store, b"k", b"w", add=True, replace=True), "KEY_EXISTS"),
        ("retrieve nothing", status_of(d.retrieve, b"none"), "KEY_DOES_NOT_EXIST"),
        ("exists", (d.exists(b"k"), d.exists(b"none")), (True, False)),
        ("delete nothing", status_of(d.delete, b"none"), None),
        ("delete", status_of(d.delete, b"n"), None),
        ("it is gone", d.exists(b"n"), False),
        ("too large", status_of(d.store, b"big", bytes(LARGEST + 1)), "INVALID_VALUE_SIZE"),
        ("no key", [status_of(act, b"") for act in (d.retrieve, d.delete, d.exists)], ["INVALID_KEY_SIZE"] * 3),
        ("nor to store", status_of(d.store, b"", b"v"), "INVALID_KEY_SIZE"),
        ("too long a key", status_of(d.store, b"k" * 17, b"v"), "INVALID_FIELD"),
        ("the value is as it was", d.retrieve(b"k"), b"x"),
    ):
        equal(name, got, want)
    equal("exceptions", [type(e) for e in map(raised, (lambda: d.retrieve(b"n"), lambda: d.store(b"k", b"", add=True)))],
          [KeyNotFoundError, KeyExistsError])
    equal("no such commands", [d.io(opcode)[0] for opcode in (0x04, 0x05, 0x08, 0x09, 0x19, 0x7D, 0x81)], [INVALID_OPCODE] * 7)
    equal("no such namespaces", [d.io(Opcode.EXIST, nsid=n)[0] for n in (2, 0, 33)], [-22] * 3)
    equal("more than a transfer", d.io(Opcode.RETRIEVE, b"k", 4096, cdw10=MIB + 1)[0], INVALID_FIELD)
    equal("flush", status_of(d.flush), None)
    equal("strict deletes", (d.admin(SET, nsid=1, cdw10=0x20, cdw11=1)[0], d.admin(GET, nsid=1, cdw10=0x20)[::2]), (OK, (OK, 1)))
    equal("delete nothing", status_of(d.delete, b"none"), "KEY_DOES_NOT_EXIST")
    equal("no longer", (d.admin(SET, nsid=1, cdw10=0x20)[0], status_of(d.delete, b"none")), (OK, None))
    equal("protect", d.admin(SET, nsid=1, cdw10=0x84, cdw11=1)[0], OK)
    equal("protected", (status_of(d.store, b"k", b"z"), status_of(d.delete, b"k"), d.retrieve(b"k")),
          ("WRITE_PROTECTED", "WRITE_PROTECTED", b"x"))
    equal("no longer", (d.admin(SET, nsid=1, cdw10=0x84)[0], status_of(d.store, b"k", b"z")), (OK, None))


def raised(act: object) -> BaseException | None:
    try:
        act()  # type: ignore[operator]
    except KeyValueError as error:
        return error
    return None


def lists(d: KeyDrive) -> None:
    """What a List has, for how much room; all keys, each once."""
    clear(d)
    equal("of nothing", (d.list(), [*d.keys()]), ([], []))
    there = {f"key {n}".encode() for n in range(500)} | {b"a", b"0123456789abcdef"}
    for key in there:
        d.store(key, b"")
    order = [*d.keys()]
    equal("all, once", (sorted(order), len(order)), (sorted(there), len(there)))
    equal("the order is the same", d.list(room=16 * KIB), order)
    equal("from one on", d.list(order[300], 16 * KIB), order[300:])
    d.delete(order[300])
    equal("from one that is gone", d.list(order[300], 16 * KIB), order[301:])
    equal("room for a few", (d.list(room=4), d.list(room=16), len(d.list(room=100)) in range(4, 13)), ([], order[:1], True))
    equal("room for no count", d.io(Opcode.LIST, b"", 3)[0], INVALID_FIELD)
    data = page_buffer(16 * KIB)
    data[:] = b"\xee" * len(data)  # type: ignore[assignment]
    equal("behind them", passthru64(d._fd, opcode=Opcode.LIST, nsid=1, data=data, cdw10=16 * KIB)[0], OK)
    equal("nothing shows", data.raw[-4096:], bytes(4096))
    equal("stats", stats(d.device)["keys"], len(there) - 1)


def clear(d: KeyDrive) -> None:
    for key in [*d.keys()]:
        d.delete(key)


def oracle(d: KeyDrive, steps: int = 600) -> None:
    """Random operations; a dictionary says what must be there."""
    clear(d)
    dice, want = random.Random(7), dict[bytes, bytes]()
    wrong = []
    for step in range(steps):
        key = b"o%d" % dice.randrange(120)
        what = dice.choice(("store", "store", "store", "retrieve", "retrieve", "delete", "exist", "add", "replace", "flush"))
        value = dice.randbytes(dice.choice((0, 7, 4096, 5000, 20_000, LARGEST))) if what in ("store", "add", "replace") else b""
        try:
            got = one(d, what, key, value)
        except KeyValueError as error:
            got = Status(error.status)
        if got != expected(want, what, key, value):
            wrong.append((step, what, key, got if isinstance(got, int) else type(got)))
    equal("operations that went otherwise", wrong[:5], [])
    equal("keys in the end", sorted(d.keys()), sorted(want))
    equal("values in the end", [key for key in want if d.retrieve(key) != want[key]], [])
    units = sum(-(-len(value) // 4096) for value in want.values())
    equal("space", (d.space().used, stats(d.device)["value_units"]), (units * 4096, units))
    equal("bytes", stats(d.device)["value_bytes"], sum(map(len, want.values())))


def one(d: KeyDrive, what: str, key: bytes, value: bytes) -> object:
    if what in ("store", "add", "replace"):
        d.store(key, value, add=what == "add", replace=what == "replace")
        return None
    if what == "flush":
        return d.flush()
    return {"retrieve": d.retrieve, "delete": d.delete, "exist": d.exists}[what](key)


def expected(want: dict[bytes, bytes], what: str, key: bytes, value: bytes) -> object:
    """What an operation must return or raise; the dictionary is as it is afterwards."""
    if what == "retrieve":
        return want.get(key, Status.KEY_DOES_NOT_EXIST)
    if what == "exist":
        return key in want
    if what == "add" and key in want:
        return Status.KEY_EXISTS
    if what == "replace" and key not in want:
        return Status.KEY_DOES_NOT_EXIST
    if what == "delete":
        want.pop(key, None)
    elif what != "flush":
        want[key] = value
    return None


def full(d: KeyDrive) -> None:
    """Until there is no room, for values and then for keys: what is there can still be replaced, and what is deleted is room."""
    clear(d)
    count = 0
    try:
        while count < 1000:
            d.store(b"f%d" % count, bytes([count % 251]) * LARGEST)
            count += 1
    except FullError:
        pass
    equal("values there is room for", count, CAPACITY // LARGEST)
    equal("full", (d.space().used, status_of(d.store, b"x", b"x")), (CAPACITY, "CAPACITY_EXCEEDED"))
    equal("of no bytes", status_of(d.store, b"x", b""), None)
    for turn in range(2):
        for n in range(0, count, 3):
            d.store(b"f%d" % n, bytes([(n + turn) % 251]) * LARGEST)
    equal("replaced", [n for n in range(count) if d.retrieve(b"f%d" % n) != bytes([(n + (n % 3 == 0)) % 251]) * LARGEST], [])
    check("collection had to copy", stats(d.device)["gc_units"] > 0, gc_units=stats(d.device)["gc_units"])
    d.delete(b"f1")
    equal("room again", status_of(d.store, b"x", bytes(LARGEST)), None)
    clear(d)
    for n in range(700):
        d.store(b"%d" % n, b"")
    equal("keys there is room for", status_of(d.store, b"one more", b""), "CAPACITY_EXCEEDED")
    equal("replacing one", status_of(d.store, b"17", b"x"), None)


def slower(d: KeyDrive) -> None:
    """Its medium takes longer to read, in use: a value that is not in the buffer any more comes as much later."""
    clear(d)
    d.store(b"slow", bytes(4096))
    d.flush()
    equal("senses, in use", write(d.device / "medium/read_lsb", 250_000_000), 0)
    began = time.monotonic()
    equal("its value", d.retrieve(b"slow"), bytes(4096))
    check("after the time that it takes now", time.monotonic() - began > 0.25, seconds=time.monotonic() - began)
    equal("senses, in use", write(d.device / "medium/read_lsb", 50_000), 0)
    d.delete(b"slow")


def faults(d: KeyDrive) -> None:
    """Rules hit commands of keys."""
    rules = d.device / "faults"

    def rule(name: str, **attributes: object) -> Path:
        (rules / name).mkdir()
        for key, value in {**attributes, "enable": 1}.items():
            equal(f"{name}: {key}", write(rules / name / key, value), 0)
        return rules / name

    clear(d)
    d.store(b"k", bytes(10_000))
    bad = rule("bad", action="status", status=0x4002, opcode="write", count=1)
    equal("a Store is a write", [status_of(d.store, b"k", b"v") for _ in range(2)], ["INVALID_FIELD", None])
    bad.rmdir()
    d.store(b"k", bytes(10_000))
    rot = rule("rot", action="corrupt", opcode="read", count=1)
    equal("on the way: bytes that differ", [10_000 - d.retrieve(b"k").count(0) for _ in range(2)], [1, 0])
    rot.rmdir()
    rot = rule("rot", action="corrupt", opcode="write", count=1)
    d.store(b"k", bytes(10_000))
    equal("as stored", [10_000 - d.retrieve(b"k").count(0) for _ in range(2)], [1, 1])
    rot.rmdir()
    slow = rule("slow", action="delay", delay=300_000_000, count=1)
    began = time.monotonic()
    d.exists(b"k")
    check("late", time.monotonic() - began > 0.3)
    slow.rmdir()


def formats(d: KeyDrive) -> None:
    """All keys go; there is one format."""
    d.store(b"k", b"v")
    equal("another format", d.admin(FORMAT, nsid=1, cdw10=1)[0], FORMAT_INVALID)
    equal("format", d.admin(FORMAT, nsid=1, cdw10=0)[0], OK)
    equal("nothing left", ([*d.keys()], d.space().used), ([], 0))
    d.store(b"k", b"again")
    equal("and used again", d.retrieve(b"k"), b"again")


def counted(d: KeyDrive) -> None:
    """SMART has commands of keys among reads and writes."""
    now = stats(d.device)
    smart = d.admin(GET_LOG, 512, nsid=0xFFFFFFFF, cdw10=2 | 127 << 16)[1]
    equal("host reads and writes", struct.unpack_from("<Q8xQ", smart, 64), (now["retrieves"], now["stores"]))
    check("and there were some", min(now[name] for name in ("stores", "retrieves", "deletes", "lists", "exists")) > 10, stats=now)


def ended(args: argparse.Namespace, device: Path, reading: Reading, least: int) -> None:
    """The trace has all, and the twin says the same."""
    raw, live = reading.complete(), stats(device)
    twin(args.python, raw, least, live)


def commands(args: argparse.Namespace) -> None:
    """All of it on one traced device."""
    with keyed(args.start, cpus=args.cpus, vwc=1, seed=11, trace=16384, trace_lossless=1) as device:
        reading = Reading("k", 0.002)
        d = KeyDrive(device)
        disks = [*(pci(device) / "nvme").glob("nvme*/nvme*n*")]
        equal("a hidden disk", [(read(path / "hidden"), (Path("/dev") / path.name).exists()) for path in disks], [("1", False)])
        for part in (says, stores, options, lists, oracle, full, slower, faults, counted, formats):
            part(d)
        d.close()
        ended(args, device, reading, 3000)


# -- power -------------------------------------------------------------------------------------------------------------


class Ledger(threading.Thread):
    """Stores versions of some keys and flushes now and then, until the drive is gone."""

    KEYS = 60

    def __init__(self, device: Path, begun: list[int], seed: int) -> None:
        super().__init__()
        self.begun, self.acked, self.durable = begun, list(begun), list(begun)
        self.stored, self.dice, self.drive = 0, random.Random(seed), Store(generic(device))
        self.start()

    def run(self) -> None:
        try:
            while True:
                self.one(self.dice.randrange(self.KEYS))
        except (OSError, KeyValueError):
            self.drive.close()

    def one(self, n: int) -> None:
        self.begun[n] += 1
        self.drive.store(b"p%d" % n, valued(n, self.begun[n]))
        self.acked[n] = self.begun[n]
        self.stored += 1
        if not self.stored % 40:
            before = list(self.acked)
            self.drive.flush()
            self.durable = before


def valued(n: int, version: int) -> bytes:
    """The value of a key: as long and of such content as its version says."""
    return struct.pack("<II", n, version) * (1 + 700 * (version % 9))


def versions(device: Path) -> list[int]:
    """The version of each key on the drive, 0 for none; -1 where it is not whole."""
    found = []
    with Store(generic(device)) as store:
        for n in range(Ledger.KEYS):
            try:
                value = store.retrieve(b"p%d" % n)
            except KeyNotFoundError:
                found.append(0)
                continue
            version = struct.unpack_from("<II", value)[1]
            found.append(version if value == valued(n, version) else -1)
    return found


def cuts(args: argparse.Namespace) -> None:
    """Power cuts under stores: whole values, none older than what was flushed; held and switched on again all is there."""
    slow = {"program_lsb": 2_000_000, "page_size": 16384}
    with keyed(args.start, cpus=args.cpus, vwc=1, seed=3, trace=16384, trace_lossless=1, medium=slow) as device:
        reading = Reading("k", 0.002)
        now = [0] * Ledger.KEYS
        for seed in range(4):
            ledger = Ledger(device, list(now), seed)
            wait_for("stores", lambda ledger=ledger, seed=seed: ledger.stored > 50 + 37 * seed or not ledger.is_alive())
            equal(f"cut {seed}", write(device / "cut", 1), 0)
            ledger.join(HANG)
            now = versions(device)
            bad = [n for n in range(Ledger.KEYS) if not ledger.durable[n] <= now[n] <= ledger.begun[n]]
            equal(f"torn, lost or never stored {seed}", [(n, ledger.durable[n], now[n], ledger.begun[n]) for n in bad], [])
        check("something was lost", stats(device)["lost_units"] > 0, lost=stats(device)["lost_units"])
        ended(args, device, reading, 200)
        equal("hold", write(device / "hold", 1), 0)
        equal("off and on", (write(device / "power", 0), write(device / "power", 1)), (0, 0))
        equal("all is there", versions(device), now)


def moved(args: argparse.Namespace) -> None:
    """What a drive holds after a cut goes to another like it: keys, values, and all that was counted."""
    medium = {f"medium/{key}": value for key, value in KEYED.items()}
    whole, want, before = b"", [0] * Ledger.KEYS, dict[str, int]()
    for n, name in enumerate(("one", "two")):
        device = make(name, kind="kv", memmap_start=size(args.start) + n * REGION, memmap_size=REGION, block_size=4096, vwc=1,
                      seed=5, cpus=args.cpus, **medium, hold=1)
        if whole:
            equal("the state of the other", write_all(name, whole), 0)
        equal(f"{name}: power", write(device / "power", 1), 0)
        if not whole:
            ledger = Ledger(device, list(want), 1)
            wait_for("stores", lambda ledger=ledger: ledger.stored > 100 or not ledger.is_alive())
            equal("cut", write(device / "cut", 1), 0)
            ledger.join(HANG)
            want, before = versions(device), stats(device)
            check("there are keys", sum(map(bool, want)) > 20)
            equal("off", write(device / "power", 0), 0)
            with node_of(name).open("rb", buffering=0) as state:
                whole = read_all(state)
        else:
            now = stats(device)
            kept = ("keys", "value_units", "value_bytes", "stores", "lost_units", "power_cuts", "erased_units")
            equal("what was counted", {key: now[key] for key in kept}, {key: before[key] for key in kept})
            equal("the same versions", versions(device), want)
            with Store(generic(device)) as store:
                store.store(b"p0", valued(0, want[0] + 1))
            equal("and it goes on", versions(device), [want[0] + 1, *want[1:]])
            equal("off", write(device / "power", 0), 0)
        equal("let go", write(device / "hold", 0), 0)
        device.rmdir()


def paths(args: argparse.Namespace) -> None:
    """Two controllers: one generic device above both, which goes on by the other when one is lost."""
    with keyed(args.start, cpus=args.cpus, vwc=1, controllers=2) as device, Store(generic(device)) as store:
        store.store(b"k", bytes(9000))
        equal("of both", (store.retrieve(b"k"), store.space().used), (bytes(9000), 3 * 4096))


def refused(args: argparse.Namespace) -> None:
    """What cannot be, said in words."""
    settings = {"kind": "kv", "memmap_start": size(args.start), "memmap_size": REGION}
    device = make("r", **settings, **{f"medium/{key}": value for key, value in (KEYED | {"kv_value": 9000}).items()})
    with new_messages() as said:
        equal("large values: power", write(device / "power", 1), 22)
    check("says why", any("no room for two values of kv_value" in line for line in said), said=said)
    equal("values", write(device / "medium/kv_value", 64), 0)
    (device / "namespaces/1").mkdir()
    with new_messages() as said:
        equal("other namespaces: power", write(device / "power", 1), 22)
    check("says why", any("that its medium says" in line for line in said), said=said)
    (device / "namespaces/1").rmdir()
    device.rmdir()


def body(args: argparse.Namespace) -> None:
    equal("load", load(args.module), 0)
    for part in (commands, cuts, moved, paths, refused):
        part(args)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--python", default="python3", help="a Python that has what nvlab's simulator needs")
    main(body, arguments)
