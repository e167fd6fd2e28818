# SPDX-License-Identifier: GPL-2.0-or-later
"""The models against what is known of such drives on paper."""

from __future__ import annotations

import numpy as np
import pytest

from nvlab.sim import Config, Device, Kind, Opcode, commands, model
from nvlab.sim.theory import greedy_amplification, steady_state

UNITS = 1 << 18
MS = 1_000_000


def config(spare: int, policy: int) -> Config:
    small = model(
        spare=spare, gc_policy=policy, channels=2, dies=2, planes=1, page_size=16384, cell_bits=1, program_pages=1,
        pages=8, blocks=0, plp=1,
    )  # fmt: skip
    return Config(UNITS, 1, Kind.SSD, 12, model=small)


@pytest.mark.parametrize("spare", [70, 127, 200, 280, 500])
def test_greedy_collection_writes_what_theory_says(spare: int) -> None:
    """Within 3 %; lines that collection keeps free, and half of each open one, are no room for old data."""
    measured, stats = steady_state(config(spare, policy=0))
    lines = stats["lines"] - stats["free_lines"] - 1
    assert measured == pytest.approx(greedy_amplification(stats["line_units"], lines, UNITS), rel=0.03)


def test_random_collection_writes_what_theory_says() -> None:
    """A victim is as full as the drive, 1 / (1 - units / room), or a little less: full ones are not taken."""
    measured, stats = steady_state(config(280, policy=4))
    room = (stats["lines"] - stats["free_lines"] - 1) * stats["line_units"]
    assert 0.95 < measured * (1 - UNITS / room) <= 1


def test_a_disk_reads_at_random_as_textbooks_say() -> None:
    """Average seek, half a turn, the time of 4 KiB under the head, and the electronics: within 5 %."""
    blocks = 1 << 26
    device = Device(Config(blocks, kind=Kind.HDD, model=model()))
    slba = np.random.default_rng(1).integers(0, blocks // 8, 20_000) * 8
    # one at a time, with a pause that leaves the platter anywhere
    cmds = commands(Opcode.READ, slba, 8, now=np.arange(20_000) * 50_123_457)
    measured = (device.submit(cmds)["target"] - cmds["now"]).mean()
    turn = 60e9 / 7200
    expected = 8.5e6 + turn / 2 + turn * 4 / 1024 + 0.1e6
    assert measured == pytest.approx(expected, rel=0.05)


def test_a_disk_reads_in_order_at_the_speed_of_its_tracks() -> None:
    device = Device(Config(1 << 26, kind=Kind.HDD, model=model()))
    targets = device.submit(commands(Opcode.READ, np.arange(512) * 2048, 2048))["target"]
    assert np.diff(targets)[0] == pytest.approx(60e9 / 7200 + 800_000, rel=0.001)  # and the step to the next


def test_a_disk_waits_for_the_platter_and_for_the_work_before() -> None:
    device = Device(Config(1 << 20, kind=Kind.HDD, vwc=True, model=model(disk_overhead=0, rpm=60_000, track=4)))
    first = device.submit(commands(Opcode.READ, 0, 8))["target"][0]
    assert first == 1 * MS  # the whole track, from the index mark on
    assert device.submit(commands(Opcode.WRITE, 0, 8))["target"][0] == 2 * MS
    assert device.submit(commands(Opcode.FLUSH))["target"][0] == 2 * MS
    assert device.submit(commands(Opcode.READ, 4, 4, now=3 * MS))["target"][0] == 4 * MS
