# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions per second of the core in user space, one processor, 4 KiB commands on a 4 GiB device.

python bench/core_speed.py [MILLIONS]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from nvlab.sim import Config, Device, Opcode, Timing, commands

BLOCKS = 8 << 20
MIXES = {
    "random read, never written": [Opcode.READ],
    "random write": [Opcode.WRITE],
    "random read and write": [Opcode.READ, Opcode.WRITE],
    "with write zeroes and flush": [Opcode.READ, Opcode.WRITE, Opcode.WRITE_ZEROES, Opcode.FLUSH],
}


def rate(mix: list[Opcode], count: int) -> float:
    """Commands decided per second, the best of three runs on one device."""
    rng = np.random.default_rng(1)
    slba = rng.integers(0, BLOCKS // 8, count) * 8
    cmds = commands(rng.choice(mix, count), slba, 8, now=np.arange(count) * 100)
    device = Device(Config(BLOCKS, timing=Timing(10_000, 2_000, 10_000, 2_000)))
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        device.submit(cmds)
        spent.append(time.perf_counter() - start)
    return count / min(spent)


def main() -> None:
    count = int(sys.argv[1] if len(sys.argv) > 1 else 4) * 1_000_000
    for name, mix in MIXES.items():
        print(f"{name:30} {rate(mix, count) / 1e6:6.1f} million decisions per second")


if __name__ == "__main__":
    main()
