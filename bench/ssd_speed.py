# SPDX-License-Identifier: GPL-2.0-or-later
"""Page programs per second of the SSD's model, one processor: uniform random 4 KiB writes in steady state, greedy.

A page program is a 4 KiB unit that the model maps, moves and accounts for, written by the host or by collection.

python bench/ssd_speed.py [GIB...]
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

from nvlab.sim import Config, Device, Kind, Opcode, commands, model
from nvlab.sim._core import ffi

BATCH = 1 << 20
SPARES = {"28 %": 280, "12.7 %": 127, "7 %": 70}


def write(device: Device, slba: NDArray[np.int64]) -> float:
    """Seconds of processor time that the core takes for writes of one unit each, a command every 10 us."""
    spent = 0.0
    for first in range(0, len(slba), BATCH):
        part = slba[first : first + BATCH]
        cmds = commands(Opcode.WRITE, part, now=device.seq * 10_000 + np.arange(len(part)) * 10_000)
        start = time.process_time()
        device.submit(cmds)
        spent += time.process_time() - start
    return spent


def steady(device: Device, rng: np.random.Generator) -> None:
    """Fill the drive, then overwrite it at random until write amplification has settled."""
    units = device.config.blocks
    write(device, np.arange(units))
    for _ in range(3):
        write(device, rng.integers(0, units, units))


def measure(gib: int, spare: int) -> tuple[float, float, float, float, float]:
    """Seconds of processor time to make the drive, its memory over its capacity, seconds to its steady state, write
    amplification, programs per second.
    """
    start = time.process_time()
    device = Device(Config(gib << 18, 1, Kind.SSD, 12, True, model=model(spare=spare)))
    made = time.process_time() - start
    rng = np.random.default_rng(1)
    start = time.process_time()
    steady(device, rng)
    settled = time.process_time() - start
    before = device.stats()
    spent = write(device, rng.integers(0, gib << 18, 4 * BATCH))
    after = device.stats()
    programmed, host = (after[name] - before[name] for name in ("programmed_units", "host_units"))
    return made, ffi.sizeof(device._memory) / (gib << 30), settled, programmed / host, programmed / spent


def main() -> None:
    for gib in map(int, sys.argv[1:] or ("4", "64")):
        for name, spare in SPARES.items():
            made, share, settled, amplification, rate = measure(gib, spare)
            print(
                f"{gib:3} GiB, {name:>6} spare: {rate / 1e6:5.2f} million page programs per second, "
                f"WAF {amplification:5.2f}, made in {made:.2f} s, steady after {settled:.0f} s, memory {share:.2%} of capacity",
                flush=True,
            )


if __name__ == "__main__":
    main()
