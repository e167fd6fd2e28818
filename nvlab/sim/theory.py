# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of drives on paper, and how to measure the models against it."""

from __future__ import annotations

import numpy as np

from nvlab.sim.device import Config, Device, commands
from nvlab.sim.structs import Opcode


def greedy_amplification(line: int, lines: float, units: int) -> float:
    """Write amplification of greedy collection under uniform random writes, in steady state.

    ``line``: units of a line; ``lines``: how many hold data; ``units``: logical units, all written.

    Lines lose one valid unit at a rate proportional to those they have, so in equilibrium the number of lines with i valid ones
    goes as 1/i, from a full line down to the victims' x. They hold all ``units``: (H(line) - H(x)) / (line - x) = lines / units,
    H the harmonic numbers; the amplification is line / (line - x). For long lines H becomes the logarithm, and this the closed
    form of Bux and Iliadis (Performance Evaluation 67, 2010) and of Desnoyers (SYSTOR 2012).
    """
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, line + 1))])
    x = np.arange(line)
    excess = (harmonic[line] - harmonic[x]) / (line - x) - lines / units
    victim = np.interp(0, -excess, x)
    return float(line / (line - victim))


def steady_state(config: Config) -> tuple[float, dict[str, int]]:
    """Write amplification of an SSD under uniform random writes of one block, and its accounts in the end.

    It is written once in order, four times over at random to reach its steady state, and twice more to be measured.
    """
    device, blocks = Device(config), config.blocks
    rng = np.random.default_rng(1)
    device.submit(commands(Opcode.WRITE, np.arange(blocks)))
    device.submit(commands(Opcode.WRITE, rng.integers(0, blocks, 4 * blocks)))
    before = device.stats()
    device.submit(commands(Opcode.WRITE, rng.integers(0, blocks, 2 * blocks)))
    after = device.stats()
    programmed, host = (after[name] - before[name] for name in ("programmed_units", "host_units"))
    return programmed / host, after
