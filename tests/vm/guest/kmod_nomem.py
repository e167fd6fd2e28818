# SPDX-License-Identifier: GPL-2.0-or-later
"""Every allocation of loading, of a new device and of its power=1 fails in turn: each time cleanly, or it does not matter.

With other kinds of device, and in loading with one, it is one in a few.

The kernel must have CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC: see Documentation/fault-injection/fault-injection.rst, fail-nth.
"""

from __future__ import annotations

import argparse
import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kmod_common import (
    CONFIGFS,
    check,
    equal,
    insert,
    load,
    main,
    make,
    page_buffer,
    parser,
    passthru64,
    run,
    size,
    unload,
    write,
)
from kmod_kv import generic
from kmod_ns import SMALL_SSD, SMALL_ZNS, unmade

DEBUGFS = Path("/sys/kernel/debug")
NAME = "a-name-that-must-be-allocated"
LIMIT = 5000
SPARSE = 23  # most allocations of these are those of a plain device: every such fails
# request_mem_region() does not say why it failed, and the PCI core not even that it did: hence the two other errors
POWER = {0, errno.ENOMEM, errno.EADDRINUSE, errno.EIO}


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
        first = f"memmap_start={args.start} memmap_size={args.size} cpus={args.cpus}"
        each("load with a device", lambda: insert(file.fileno(), first), lambda: undo() and gone(), POWER, SPARSE * args.step)


def making() -> None:
    """mkdir."""
    path = CONFIGFS / NAME

    def made() -> int:
        try:
            path.mkdir()
        except OSError as err:
            return err.errno or -1
        return 0

    def undo() -> bool:
        if path.exists():
            path.rmdir()
        return not path.exists()

    each("mkdir", made, undo, {0, errno.ENOMEM}, 1)


def powering(args: argparse.Namespace, step: int, namespaces: int = 0, **settings: object) -> None:
    """power=1, the PCI core and the driver's probe included."""
    path = make(NAME, **{"memmap_start": size(args.start), "memmap_size": args.size, "cpus": args.cpus, **settings})
    for nsid in range(1, namespaces + 1):
        (path / "namespaces" / str(nsid)).mkdir()
        equal(f"size of {nsid}", write(path / "namespaces" / str(nsid) / "size", "8M"), 0)
    power = os.open(path / "power", os.O_WRONLY)

    def on() -> int:
        try:
            os.write(power, b"1")
        except OSError as err:
            return err.errno or -1
        return 0

    def undo() -> bool:
        return write(path / "power", 0) == 0 and gone()

    each(f"power of {settings.get('kind', 'nvm')}", on, undo, POWER, step)
    os.close(power)
    equal("power, undisturbed", write(path / "power", 1), 0)
    with generic(path).open("rb", buffering=0) as node:
        equal("it works", passthru64(node.fileno(), opcode=2, nsid=1, data=page_buffer())[0], 0)
    unmade(path)


def body(args: argparse.Namespace) -> None:
    """One after the other."""
    prepare_faults()
    loading(args)
    equal("load", load(args.module), 0)
    making()
    powering(args, args.step)
    ssd = {f"medium/{name}": value for name, value in SMALL_SSD.items()}
    powering(args, SPARSE * args.step, 2, kind="ssd", memmap_size="21M", vwc=1, trace=1024, controllers=2, **ssd)
    zns = {f"medium/{name}": value for name, value in SMALL_ZNS.items()}
    powering(args, SPARSE * args.step, kind="zns", memmap_size="21M", block_size=4096, vwc=1, **zns)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--step", type=int, default=1, help="of the allocations of loading and power=1, every such")
    main(body, arguments)
