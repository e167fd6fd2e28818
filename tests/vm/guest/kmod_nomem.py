# SPDX-License-Identifier: GPL-2.0-or-later
"""Every allocation of loading, of a new device and of its power=1 fails in turn: each time cleanly, or it does not matter.

The kernel must have CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC: see Documentation/fault-injection/fault-injection.rst, fail-nth.
"""

from __future__ import annotations

import argparse
import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kmod_common import CONFIGFS, check, disk, equal, insert, load, main, parser, run, size, unload, write

DEBUGFS = Path("/sys/kernel/debug")
NAME = "a-name-that-must-be-allocated"
LIMIT = 5000


def prepare_faults() -> None:
    """All allocations may fail, not just those that cannot wait; without a stack trace for each."""
    if not (DEBUGFS / "failslab").exists():
        run("mount", "-t", "debugfs", "none", str(DEBUGFS))
    for kind in ("failslab", "fail_page_alloc"):
        write(DEBUGFS / kind / "ignore-gfp-wait", "N")
        write(DEBUGFS / kind / "verbose", 0)
    write(DEBUGFS / "fail_page_alloc/ignore-gfp-highmem", "N")
    write(DEBUGFS / "fail_page_alloc/min-order", 0)


def failing(nth: int, action: Callable[[], int]) -> tuple[int, bool]:
    """The errno of ``action``, whose ``nth`` allocation fails, and whether it had so many."""
    control = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
    try:
        os.write(control, str(nth).encode())
        code = action()
        left = int(os.pread(control, 16, 0))
        os.write(control, b"0")
    finally:
        os.close(control)
    return code, not left


def each(name: str, action: Callable[[], int], undo: Callable[[], bool], may: set[int], step: int) -> None:
    """Fail every ``step``-th allocation of ``action``; ``undo`` says whether what it made is gone."""
    codes: Counter[str] = Counter()
    for nth in range(1, LIMIT, step):
        code, reached = failing(nth, action)
        if not reached and code == 0:
            check(f"{name}: with enough memory", undo(), allocations=nth - 1, codes=codes)
            return
        codes[errno.errorcode.get(code, str(code))] += 1
        if code not in may or not undo():
            check(f"{name}: allocation {nth}", False, code=code, codes=codes)
            return
    check(f"{name}: ends", False, codes=codes)


def gone() -> bool:
    """No trace of a device: neither of its function nor of its memory."""
    functions = list(Path("/sys/bus/pci/devices").glob("1*:00:00.0"))
    return not functions and "nvlab" not in Path("/proc/iomem").read_text()


def loading(args: argparse.Namespace) -> None:
    """insmod, without a device: most of its allocations are the kernel's own."""
    def undo() -> bool:
        return not Path("/sys/module/nvlab").exists() or unload() == 0

    with args.module.open("rb") as file:
        each("load", lambda: insert(file.fileno()), undo, {0, errno.ENOMEM}, args.step)


def making() -> None:
    """mkdir."""
    path = CONFIGFS / NAME

    def make() -> int:
        try:
            path.mkdir()
        except OSError as err:
            return err.errno or -1
        return 0

    def undo() -> bool:
        if path.exists():
            path.rmdir()
        return not path.exists()

    each("mkdir", make, undo, {0, errno.ENOMEM}, 1)


def powering(args: argparse.Namespace) -> None:
    """power=1, the PCI core and the driver's probe included.

    request_mem_region() does not say why it failed, and the PCI core not even that it did: hence the two other errors.
    """
    path = CONFIGFS / NAME
    path.mkdir()
    for key, value in {"memmap_start": size(args.start), "memmap_size": args.size, "cpus": args.cpus}.items():
        equal(key, write(path / key, value), 0)
    power = os.open(path / "power", os.O_WRONLY)

    def on() -> int:
        try:
            os.write(power, b"1")
        except OSError as err:
            return err.errno or -1
        return 0

    def undo() -> bool:
        return write(path / "power", 0) == 0 and gone()

    each("power", on, undo, {0, errno.ENOMEM, errno.EADDRINUSE, errno.EIO}, args.step)
    os.close(power)
    equal("power, undisturbed", write(path / "power", 1), 0)
    equal("it works", len(disk(path).open("rb").read(4096)), 4096)
    path.rmdir()


def body(args: argparse.Namespace) -> None:
    """One after the other."""
    prepare_faults()
    loading(args)
    equal("load", load(args.module), 0)
    making()
    powering(args)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--step", type=int, default=1, help="of the allocations of loading and power=1, every such")
    main(body, arguments)
