# SPDX-License-Identifier: GPL-2.0-or-later
"""Load and unload the module N times: no leak, no splat, no matter where the driver's probe stands."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from kmod_common import check, disk, dmesg, equal, load_first, main, parser, unload, wait_for

STEP_MS = 10
ALLOWED_KIB = 8 << 10


def free_kib() -> int:
    """MemAvailable, without caches, which earlier tests filled."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def cycle(args: argparse.Namespace, n: int) -> bool:
    """Every third time wait for the disk and read it, else unload a moment after loading."""
    code = load_first(args)
    if code:
        return check(f"cycle {n}: load", False, errno=code)
    if n % 3 == 0:
        node = disk()
        if node is None or len(node.open("rb").read(1 << 20)) != 1 << 20:
            return check(f"cycle {n}: read", False)
    else:
        time.sleep(n % 7 * STEP_MS / 1000)  # not a wait: a different moment of the probe each time
    code = unload()
    return True if code == 0 else check(f"cycle {n}: unload", False, code=code)


def body(args: argparse.Namespace) -> None:
    """Warm up, then compare memory before and after."""
    warm = min(10, args.n // 2)
    good = all(cycle(args, n) for n in range(warm))
    before = free_kib()
    check("every cycle", good and all(cycle(args, n) for n in range(warm, args.n)), cycles=args.n)
    # what was freed by RCU comes back a moment later
    check("no memory lost", wait_for("the memory to come back", lambda: before - free_kib() < ALLOWED_KIB), cycles=args.n)
    left = [p.name for p in Path("/sys/bus/pci/devices").glob("1*:00:00.0")]
    equal("no device left", left, [])
    claims = [line for line in Path("/proc/iomem").read_text().splitlines() if "nvlab" in line]
    equal("no memory claimed", claims, [])
    check("no complaint", "irq" not in "".join(x for x in dmesg().splitlines() if "nobody cared" in x))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("n", type=int, nargs="?", default=100)
    main(body, arguments)
