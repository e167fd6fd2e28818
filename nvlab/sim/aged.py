# SPDX-License-Identifier: GPL-2.0-or-later
"""A simulated device with a clock and a past: what a drive in use is like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvlab.sim.device import Device, commands
from nvlab.sim.structs import Kind, Opcode
from nvlab.sim.zoneload import fill, writable
from nvlab.sim.zones import Zoned, zoned

REST = 1_000_000_000  # ns of peace between two loads


@dataclass
class Simulated:
    """A device with its clock: ns, nothing is under way."""

    device: Device
    now: int = 0

    @property
    def shift(self) -> int:
        """log2 of a logical block in bytes."""
        return self.device.config.block_shift

    @property
    def zoned(self) -> Zoned | None:
        return zoned(self.device)

    @property
    def blocks(self) -> int:
        """That a load can be on: of zones what can be written."""
        return writable(self.zoned) if self.zoned else self.device.config.blocks


def aged(device: Device, precondition: float, seed: int) -> Simulated:
    """A new device that was filled once in order, then written at random ``precondition`` times over, which zones cannot be."""
    made = Simulated(device)
    if device.config.kind is Kind.KV:  # its loads store what they need
        return made
    if made.zoned:
        _write(made, fill(made.zoned))
        return made
    step = min(256, made.blocks)
    _write(made, commands(Opcode.WRITE, np.arange(made.blocks // step).astype(np.uint64) * np.uint64(step), step))
    if made.blocks % step:
        _write(made, commands(Opcode.WRITE, made.blocks - step, step))
    per_unit = max(1, 4096 >> made.shift)
    rng = np.random.default_rng(seed)
    left = int(precondition * made.blocks / per_unit)
    while left > 0:
        n = min(left, 1 << 20)
        slba = rng.integers(0, made.blocks // per_unit, n).astype(np.uint64) * np.uint64(per_unit)
        _write(made, commands(Opcode.WRITE, slba, per_unit))
        left -= n
    return made


def _write(made: Simulated, cmds: NDArray[np.void]) -> None:
    cmds["now"] = made.now
    done = made.device.submit(cmds)
    flushed = made.device.submit(commands(Opcode.FLUSH, now=int(done["target"].max())))
    made.now = int(flushed["target"][0]) + REST
