# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab.ko as an SSD and as a disk: data, collection, exact accounts, live changes, and a twin that says the same."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from kmod_common import (
    HANG,
    check,
    controller,
    disk,
    equal,
    errno_of,
    fio,
    load,
    main,
    page_buffer,
    parser,
    passthru,
    powered,
    read,
    rule,
    run,
    size,
    stats,
    unload,
    wait_for,
    write,
)
from kmod_traced import Reading, twin

REGION = 65 << 20  # 64 MiB of storage
SMALL = {  # a fast little drive whose lines are soon full
    "channels": 2,
    "dies": 2,
    "planes": 1,
    "blocks": 64,
    "cell_bits": 2,
    "program_pages": 1,
    "read_lsb": 2000,
    "read_msb": 3000,
    "program_lsb": 10_000,
    "program_msb": 20_000,
    "erase": 50_000,
    "spare": 280,
    "fw_read": 500,
    "fw_write": 500,
}
ACCOUNTS = ("host_units", "gc_units", "pad_units", "programmed_units", "open_units", "programs", "erases")


def device(start: int, kind: str, medium: dict[str, int], **attributes: object) -> AbstractContextManager[Path]:
    """A device of a kind."""
    settings = {"kind": kind, "memmap_start": start, "memmap_size": REGION, **attributes}
    return powered("s", **settings, **{f"medium/{name}": value for name, value in medium.items()})


def refused(dev: Path) -> None:
    """What may not change in use, and what is no number for it."""
    equal("kind in use", write(dev / "kind", "nvm"), errno.EBUSY)
    equal("dies in use", write(dev / "medium/dies", 4), errno.EBUSY)
    equal("out of range", write(dev / "medium/dies", 65), errno.ERANGE)
    equal("no number", write(dev / "medium/erase", "x"), errno.EINVAL)


def file_system(node: Path) -> None:
    """mkfs, a file, and the file again."""
    script = f"""
    set -e; mkdir -p /tmp/s; mkfs.ext4 -q -F {node}; mount {node} /tmp/s
    head -c 8M /dev/urandom > /tmp/s/f; sha256sum < /tmp/s/f > /tmp/s.sum
    umount /tmp/s; mount {node} /tmp/s; sha256sum < /tmp/s/f | cmp - /tmp/s.sum; umount /tmp/s
    """
    done = run("bash", "-c", script)
    check("ext4", done.returncode == 0, err=done.stderr[-300:])


def collected(dev: Path, node: Path) -> None:
    """Random writes of more than the drive holds: lines are collected, and every account adds up."""
    anywhere = ("--rw=randwrite", "--bs=4k", "--iodepth=8")
    done = fio(node, *anywhere, "--verify=crc32c", "--verify_backlog=512")
    check("fio --verify", done.returncode == 0, err=done.stderr[-400:])
    # some blocks again before others, so that a line is never all stale
    done = fio(node, *anywhere, "--norandommap", "--number_ios=12000")
    check("fio, blocks again", done.returncode == 0, err=done.stderr[-400:])
    s = stats(dev)
    check("lines were collected", s["gc_units"] > 0 and s["erases"] > 0, gc=s["gc_units"], erases=s["erases"])
    written = s["host_units"] + s["gc_units"] + s["pad_units"]
    equal("what was programmed was written, copied or padded", s["programmed_units"] + s["open_units"], written)
    equal("lines", sum(s[f"{state}_lines"] for state in ("free", "open", "closed", "retired")), s["lines"])


def log_says(dev: Path) -> None:
    """The vendor's log has the accounts, in the order of the C structure."""
    data = page_buffer(512)
    with open(f"/dev/{controller(dev).name}", "rb") as node:
        status, _ = passthru(node.fileno(), opcode=0x02, nsid=0xFFFFFFFF, data=data, cdw10=0xC0 | 127 << 16)
    equal("log C0h", status, 0)
    numbers = struct.unpack_from("<27Q", ctypes.string_at(ctypes.addressof(data), 512))
    now = stats(dev)
    equal("the same as in stats", list(numbers[: len(ACCOUNTS)]), [now[name] for name in ACCOUNTS])


def log_waf(dev: Path) -> int:
    """Write amplification in thousandths, by nvme-cli out of the vendor's log."""
    words = ["nvme", "get-log", f"/dev/{controller(dev).name}", "--log-id=0xc0", "--log-len=512", "-b"]
    done = subprocess.run(words, capture_output=True, timeout=HANG, check=False)
    if not check("nvme get-log", done.returncode == 0 and len(done.stdout) == 512, err=done.stderr[-300:]):
        return 0
    return int(struct.unpack_from("<Q", done.stdout, 504)[0])


def amplified(said: dict[str, int], *told: int) -> None:
    """The twin's quotient is what the live device told, and more than one."""
    if said:
        units = sum(said[name] for name in ("host_units", "gc_units", "pad_units", "map_units"))
        equal("write amplification", told, (units * 1000 // said["host_units"],) * len(told))
        check("was written more than once", told[0] > 1000, waf=told)


def faulty(dev: Path, node: Path) -> None:
    """A rule that fails writes, and one that delays everything."""
    buffer = mmap.mmap(-1, 4096)
    fd = os.open(node, os.O_RDWR | os.O_DIRECT)
    with rule(dev, "bad", action="status", status=0x4002, opcode="write", count=2) as bad:
        with rule(dev, "slow", action="delay", delay=2_000_000, count=40) as slow:
            refused = [errno_of(lambda: os.pwrite(fd, buffer, 0)) for _ in range(3)]
            for at in range(50):
                os.preadv(fd, [buffer], at * 4096)
            equal("hits", [int(read(path / "hits")) for path in (bad, slow)], [2, 40])
        equal("two writes fail", [error > 0 for error in refused], [True, True, False])
    os.close(fd)


def cut(dev: Path, node: Path) -> Path:
    """The power fails after writes that were not flushed. The disk that is there then."""
    lost = stats(dev).get("lost_units", 0)
    buffer = mmap.mmap(-1, 4096)
    fd = os.open(node, os.O_RDWR | os.O_DIRECT)
    for at in range(5):
        os.pwrite(fd, buffer, at * 4096)
    equal("cut", write(dev / "cut", 1), 0)
    os.close(fd)
    node = disk(dev)
    if "lost_units" in stats(dev):
        check("something was lost", stats(dev)["lost_units"] > lost)
    return node


def trimmed(dev: Path, node: Path) -> None:
    """All is deallocated: nothing is mapped any more."""
    before = stats(dev)["mapped_units"]
    equal("blkdiscard", run("blkdiscard", str(node)).returncode, 0)
    for _ in range(8):  # units come free a little with each command
        with open(node, "rb", buffering=0) as raw:
            os.posix_fadvise(raw.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            raw.read(1 << 16)
    after = stats(dev)["mapped_units"]
    check("mapped units", after == 0 < before, before=before, after=after)


def smart_log(dev: Path) -> bytes:
    """SMART, of the controller."""
    data = page_buffer(512)
    with open(f"/dev/{controller(dev).name}", "rb") as node:
        equal("SMART", passthru(node.fileno(), opcode=0x02, nsid=0xFFFFFFFF, data=data, cdw10=2 | 127 << 16)[0], 0)
    return bytes(data.raw)


def health(dev: Path) -> tuple[int, ...]:
    """SMART's critical warning, available spare, its threshold, percentage used."""
    log = smart_log(dev)
    return log[0], *log[3:6]


class Events:
    """Asynchronous events of health, as the driver hands them on to whoever listens."""

    def __init__(self, dev: Path) -> None:
        self.name = controller(dev).name.encode()
        self.ctrl = os.open(f"/dev/{self.name.decode()}", os.O_RDWR)
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)  # NETLINK_KOBJECT_UEVENT
        self.socket.setblocking(False)
        self.socket.bind((0, 1))
        self.seen: list[int] = []

    def enable(self, warnings: int) -> None:
        """Have these critical warnings told, beside what the driver wants."""
        _, wanted = passthru(self.ctrl, opcode=0x0A, cdw10=0x0B)
        equal("events", passthru(self.ctrl, opcode=0x09, cdw10=0x0B, cdw11=wanted & ~0xFF | warnings)[0], 0)

    def so_far(self) -> list[int]:
        """Log, information and type of each since the beginning."""
        with contextlib.suppress(BlockingIOError):
            while True:
                words = self.socket.recv(8192).split(b"\0")
                if any(word.endswith(b"/" + self.name) for word in words):
                    self.seen += [int(word[9:], 0) for word in words if word.startswith(b"NVME_AEN=")]
        return self.seen

    def close(self) -> None:
        self.socket.close()
        os.close(self.ctrl)


def worn(args: argparse.Namespace) -> None:
    """Blocks go bad until there is no reserve: SMART says how far it has come, and warns who wants to be warned."""
    medium = SMALL | {"erase_fail": 300_000, "endurance": 0}
    with device(size(args.start), "ssd", medium, vwc=1, seed=7, cpus=args.cpus) as dev:
        node, events = disk(dev), Events(dev)
        equal("as new", health(dev), (0, 100, 10, 0))
        writes = ("--rw=randwrite", "--bs=4k", "--iodepth=8", "--norandommap")
        done = fio(node, *writes, "--io_size=1G")
        check("writes end", done.returncode != 0, err=done.stderr[-300:])
        s = stats(dev)
        equal("it only reads", (s["read_only"], len(node.read_bytes())), (1, REGION - (1 << 20)))
        equal("no reserve, and read-only", health(dev), (1 | 8, 0, 10, 0))
        equal("endurance, in use", write(dev / "medium/endurance", 1_000_000), 0)
        equal("hardly used", health(dev)[3], s["most_erases"] * 100 // 1_000_000)
        equal("endurance, in use", write(dev / "medium/endurance", 1), 0)
        equal("beyond what it stands", health(dev)[3], min(s["most_erases"] * 100, 255))
        equal("nobody wanted to be told", events.so_far(), [])
        for warnings, told in ((8, [0x020001]), (8 | 1, [0x020001, 0x020201])):
            events.enable(warnings)
            wait_for(f"event {told[-1]:x}h", lambda told=told: events.so_far() == told, 10)
        equal("each once", events.so_far(), [0x020001, 0x020201])
        events.close()


def ssd(args: argparse.Namespace) -> None:
    """Everything an SSD is asked for, traced."""
    with device(size(args.start), "ssd", SMALL, vwc=1, seed=7, cpus=args.cpus, trace=16384, trace_lossless=1) as dev:
        reading = Reading("s", 0.002)
        node = disk(dev)
        refused(dev)
        file_system(node)
        equal("erase, in use", write(dev / "medium/erase", 60_000), 0)
        collected(dev, node)
        equal("reset", write(controller(dev) / "reset_controller", 1), 0)
        node = disk(dev)
        equal("programs, in use", write(dev / "medium/program_msb", 30_000), 0)
        log_says(dev)
        faulty(dev, node)
        node = cut(dev, node)
        trimmed(dev, node)
        run("udevadm", "settle")  # it looks at the disk too
        raw, live, waf = reading.complete(), stats(dev), log_waf(dev)
    amplified(twin(args.python, raw, 10_000, live), waf, live["waf"])


def small_map(args: argparse.Namespace) -> None:
    """Memory for a quarter of the map, lines that wear by reads and by age: all happen, and the twin does the same."""
    medium = SMALL | {"mapping_cache": 16, "read_disturb": 300, "retention": 500}
    with device(size(args.start), "ssd", medium, vwc=1, seed=7, cpus=args.cpus, trace=16384, trace_lossless=1) as dev:
        reading = Reading("s", 0.002)
        node = disk(dev)
        for rw in ("write", "randrw"):
            bs = "--bs=64k" if rw == "write" else "--bs=4k"
            done = fio(node, f"--rw={rw}", bs, "--iodepth=8", "--number_ios=3000", "--norandommap")
            check(f"fio, {rw}", done.returncode == 0, err=done.stderr[-300:])
        run("udevadm", "settle")
        raw, s, waf = reading.complete(), stats(dev), log_waf(dev)
    check("the map was read and written", s["map_misses"] > 500 and s["map_reads"] > 500 and s["map_units"] > 500, stats=s)
    check("lines were refreshed", s["disturb_victims"] > 0 and s["retention_victims"] > 0, stats=s)
    written = s["host_units"] + s["gc_units"] + s["pad_units"] + s["map_units"]
    equal("what was programmed adds up with the map", s["programmed_units"] + s["open_units"], written)
    amplified(twin(args.python, raw, 4_000, s), waf, s["waf"])


def hdd(args: argparse.Namespace) -> None:
    """A disk takes the time to seek, 8.5 ms on average, and half a turn of 8.3 ms; it has a twin as well."""
    with device(size(args.start), "hdd", {}, vwc=1, cpus=args.cpus, trace=16384, trace_lossless=1) as dev:
        reading = Reading("s", 0.002)
        node = disk(dev)
        done = fio(node, "--rw=randread", "--bs=4k", "--iodepth=1", "--number_ios=60", "--norandommap", "--output-format=json")
        took = json.loads(done.stdout)["jobs"][0]["read"]["clat_ns"]
        # a busy host makes some of them take longer, but none less
        check("a random read takes milliseconds", took["mean"] > 10e6 and took["min"] < 20e6, ns=took)
        equal("an SSD's accounts are not a disk's", "gc_units" in stats(dev), False)
        equal("reset", write(controller(dev) / "reset_controller", 1), 0)
        equal("seeks, in use", write(dev / "medium/seek_average", 9_000_000), 0)
        faulty(dev, disk(dev))
        node = cut(dev, disk(dev))
        done = fio(node, "--rw=randrw", "--bs=4k", "--iodepth=8", "--number_ios=200", "--norandommap", "--fsync=50")
        check("fio", done.returncode == 0, err=done.stderr[-300:])
        run("udevadm", "settle")
        raw, live = reading.complete(), stats(dev)
    twin(args.python, raw, 260, live)


def body(args: argparse.Namespace) -> None:
    equal("load", load(args.module), 0)
    ssd(args)
    small_map(args)
    worn(args)
    hdd(args)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--python", default=sys.executable, help="a Python that has what nvlab's simulator needs")
    main(body, arguments)
