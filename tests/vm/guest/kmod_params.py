# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad module parameters and attributes: each refused with its own errno and one clear kernel message."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from kmod_common import (
    CONFIGFS,
    check,
    disk,
    equal,
    load,
    load_first,
    main,
    new_messages,
    parser,
    size,
    unload,
    write,
)

MIB = 1 << 20


def bad_loads(args: argparse.Namespace) -> Iterator[tuple[str, dict[str, str], int, str]]:
    """What, parameters, errno, and words of the message."""
    good = {"memmap_start": args.start, "memmap_size": args.size}
    yield "no start", {"memmap_size": args.size}, errno.EDESTADDRREQ, "memmap_start is missing"
    yield "no size", {"memmap_start": args.start}, errno.EDESTADDRREQ, "memmap_size is missing"
    yield "only CPUs", {"cpus": "1"}, errno.EDESTADDRREQ, "memmap_start is missing"
    yield "not a size", {**good, "memmap_size": "big"}, errno.EINVAL, '"big" is not a size'
    yield "trailing text", {**good, "memmap_start": "5Gx"}, errno.EINVAL, "is not a size"
    yield "too small", {**good, "memmap_size": "1M"}, errno.ENOSPC, "too small"
    yield "odd start", {**good, "memmap_start": hex(size(args.start) + 4096)}, errno.EINVAL, "multiples of 1 MiB"
    yield "odd size", {**good, "memmap_size": "513000K"}, errno.EINVAL, "multiples of 1 MiB"
    yield "RAM", {**good, "memmap_start": "1G"}, errno.EFAULT, "is RAM that Linux uses: boot with memmap=513M$1024M"
    partly = hex(size(args.start) + 256 * MIB)
    yield "half RAM", {**good, "memmap_start": partly}, errno.EFAULT, "is RAM that Linux uses"
    yield "not reserved", {**good, "memmap_start": "64G"}, errno.EADDRNOTAVAIL, "is not reserved memory"
    yield "beyond", {**good, "memmap_start": hex(1 << 62)}, errno.ERANGE, "beyond what this CPU can address"
    yield "wraps", {**good, "memmap_size": hex((1 << 64) - MIB)}, errno.ERANGE, "beyond what this CPU can address"
    yield "no such CPU", {**good, "cpus": "1,64"}, errno.ENXIO, "there are only CPUs 0-"
    yield "no such CPU at all", {**good, "cpus": "99999"}, errno.ENXIO, "there are only CPUs 0-"
    yield "not a CPU list", {**good, "cpus": "two"}, errno.EINVAL, "is not a list"
    yield "no units", {**good, "nr_io_units": "0"}, errno.EINVAL, "out of range"
    yield "unit too large", {**good, "io_unit_shift": "63"}, errno.ERANGE, "out of range"


def refused(name: str, code: int, want: int, said: list[str], words: str) -> None:
    """Right errno, and exactly one message, with these words."""
    ours = [line for line in said if "nvlab:" in line and "taint" not in line]
    equal(f"{name}: errno", errno.errorcode.get(code, code), errno.errorcode[want])
    check(f"{name}: one message", len(ours) == 1 and words in ours[0], said=ours, want=words)
    equal(f"{name}: nothing left", Path("/sys/module/nvlab").exists(), False)


def offline_cpu(args: argparse.Namespace) -> None:
    """A CPU that exists and is off."""
    cpu = max(os.sched_getaffinity(0))
    switch = Path(f"/sys/devices/system/cpu/cpu{cpu}/online")
    equal("take a CPU offline", write(switch, 0), 0)
    with new_messages() as said:
        code = load(args.module, memmap_start=args.start, memmap_size=args.size, cpus=str(cpu))
    refused("CPU offline", code, errno.ENODEV, said, "are online")
    equal("and online", write(switch, 1), 0)


def overlap(args: argparse.Namespace) -> None:
    """A second device on the memory of the first, wholly, in its BAR, or in its last MiB."""
    equal("load", load_first(args), 0)
    disk()
    other = CONFIGFS / "other"
    other.mkdir()
    start, length = size(args.start), size(args.size)
    for name, at, long in (("same", start, length), ("its end", start + length - 2 * MIB, 2 * MIB),
                           ("its BAR", start, 2 * MIB)):
        write(other / "memmap_start", at)
        write(other / "memmap_size", long)
        with new_messages() as said:
            code = write(other / "power", 1)
        equal(f"overlap, {name}: errno", errno.errorcode.get(code, code), "EADDRINUSE")
        ours = [line for line in said if "nvlab:" in line and "taint" not in line]
        check(f"overlap, {name}: one message", len(ours) == 1 and "overlaps" in ours[0], said=ours)
    other.rmdir()
    equal("the first works on", len(disk().open("rb").read(4096)), 4096)
    equal("unload", unload(), 0)


def attributes(args: argparse.Namespace) -> None:
    """Values that an attribute refuses at once."""
    equal("load empty", load(args.module), 0)
    dev = CONFIGFS / "x"
    dev.mkdir()
    for name, value, want in (
        ("memmap_start", "here", errno.EINVAL), ("cpus", "0-", errno.EINVAL), ("cpus", "512", errno.ENXIO),
        ("block_size", 1024, errno.EINVAL), ("block_size", "x", errno.EINVAL), ("vwc", "maybe", errno.EINVAL),
        ("serial", "A" * 21, errno.ENAMETOOLONG), ("serial", "\n", errno.EINVAL), ("model", "tab\there", errno.EINVAL),
        ("subnqn", "n" * 224, errno.ENAMETOOLONG), ("read_delay", -1, errno.EINVAL),
        ("read_time", 1 << 32, errno.ERANGE),
    ):
        code = write(dev / name, value)
        equal(f"{name} = {value!r:.12}", errno.errorcode.get(code, code), errno.errorcode[want])
    code = write(dev / "power", 1)
    equal("power without memory", errno.errorcode.get(code, code), "EDESTADDRREQ")
    equal("off is off", write(dev / "power", 0), 0)
    equal("no address while off", (dev / "pci").read_text(), "\n")
    equal("no counters while off", (dev / "stats").read_text(), "")
    equal("a name too long", long_name(), errno.ENAMETOOLONG)
    dev.rmdir()
    equal("unload empty", unload(), 0)


def long_name() -> int:
    """mkdir with 33 letters."""
    try:
        (CONFIGFS / ("n" * 33)).mkdir()
    except OSError as err:
        return err.errno or -1
    return 0


def body(args: argparse.Namespace) -> None:
    """Bad loads, then what is bad only beside a good one, then that a good one still works."""
    for name, params, want, words in bad_loads(args):
        with new_messages() as said:
            code = load(args.module, **params)
        refused(name, code, want, said, words)
    offline_cpu(args)
    attributes(args)
    overlap(args)


if __name__ == "__main__":
    main(body, parser(__doc__))
