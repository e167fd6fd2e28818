# SPDX-License-Identifier: GPL-2.0-or-later
"""Read disturb and retention: what was read too often, or written too long ago, is moved: on time, and only then."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.sim import UNMAPPED, Config, Device, Flag, Kind, Opcode, commands, model

US = 1_000
MS = 1_000_000
SOAK = 100 if os.environ.get("NVLAB_SOAK") else 1
LINE = 16  # units
# One die, pages of a unit, and nothing but NAND takes time
PLAIN = {
    "channels": 1, "dies": 1, "planes": 1, "page_size": 4096, "cell_bits": 1, "program_pages": 1, "pages": LINE,
    "blocks": 0, "read_lsb": 50 * US, "program_lsb": 500 * US, "erase": 3 * MS, "channel_speed": 0, "link_speed": 0,
    "fw_read": 0, "fw_read_large": 0, "fw_write": 0, "fw_write_unit": 0, "buffer": 64, "spare": 300,
}  # fmt: skip


def drive(units: int = 256, **changes: int) -> Device:
    """A drive that is written in order, a line in each 16 units."""
    device = Device(Config(units, 1, Kind.SSD, 12, True, model=model(**PLAIN | changes)))
    device.submit(commands(Opcode.WRITE, np.arange(units), now=0))
    return device


def flush(device: Device, now: int, times: int = 1) -> None:
    device.submit(commands([Opcode.FLUSH] * times, now=now))


def test_a_line_that_was_read_often_enough_is_moved_and_no_other() -> None:
    device = drive(read_disturb=100)
    before = device.mapping()
    now = 10_000 * MS
    device.submit(commands(Opcode.READ, np.arange(99) % LINE, now=now + np.arange(99) * MS))
    flush(device, now + 1000 * MS, 100)
    assert device.stats()["victims"] == 0
    device.submit(commands(Opcode.READ, 3, now=now + 2000 * MS))
    assert np.array_equal(device.mapping(), before)  # the read itself waits for nothing
    flush(device, now + 3000 * MS)
    t = device.stats()
    assert (t["victims"], t["disturb_victims"], t["retention_victims"], t["erases"], t["gc_units"]) == (1, 1, 0, 1, LINE)
    assert (device.mapping() != before).tolist() == [unit < LINE for unit in range(256)]
    # it is counted anew
    device.submit(commands(Opcode.READ, np.arange(99) % LINE, now=now + 4000 * MS + np.arange(99) * MS))
    flush(device, now + 5000 * MS, 100)
    assert device.stats()["disturb_victims"] == 1


def test_pages_read_for_parts_of_units_count_and_what_comes_from_the_buffer_does_not() -> None:
    device = Device(Config(2048, 1, Kind.SSD, 9, True, model=model(**PLAIN | {"read_disturb": 2})))
    device.submit(commands(Opcode.WRITE, np.arange(LINE) * 8, 8))
    device.submit(commands([Opcode.READ] * 50, (LINE - 1) * 8, 8, now=1))
    assert device.stats()["buffer_hits"] == 50
    device.submit(commands(Opcode.READ, 0, 8, now=1000 * MS))
    flush(device, 2000 * MS)
    assert device.stats()["disturb_victims"] == 0
    device.submit(commands(Opcode.WRITE, 1, 1, now=3000 * MS))
    flush(device, 4000 * MS)
    assert (device.stats()["merge_reads"], device.stats()["disturb_victims"]) == (1, 1)


@pytest.mark.parametrize(("late", "moved"), [(-1, 0), (0, 1)])
def test_a_line_is_moved_when_its_age_is_reached(late: int, moved: int) -> None:
    """Written at 0; the first command at that very time finds the first word moved."""
    device = drive(LINE, retention=100)
    flush(device, 100 * MS + late)
    t = device.stats()
    assert (t["retention_victims"], t["gc_units"]) == (moved, moved)


def test_a_line_that_is_still_open_ages_too() -> None:
    device = drive(3, retention=600)
    flush(device, 1000 * MS)
    t = device.stats()
    assert (t["retention_victims"], t["gc_units"], t["open_lines"]) == (1, 3, 1)
    assert device.audit() is None


def test_one_word_is_moved_after_the_other_however_many_commands_come() -> None:
    device = drive(LINE, retention=100)
    for n in range(LINE):
        flush(device, 100 * MS + n * 550 * US, 50)
        assert device.stats()["gc_units"] == n + 1
        flush(device, 100 * MS + (n + 1) * 550 * US - 1)
        assert device.stats()["gc_units"] == n + 1
    assert device.stats()["erases"] == 1
    flush(device, 150 * MS, 50)
    assert device.stats()["gc_units"] == LINE


def test_what_happened_in_idle_time_keeps_no_command_waiting() -> None:
    device = drive(LINE, retention=100)
    assert device.submit(commands(Opcode.READ, 0, now=150 * MS))["target"][0] == 150 * MS + 50 * US
    assert device.stats()["erases"] == 1
    busy = drive(LINE, retention=100)
    flush(busy, 100 * MS - 1)
    due = busy.submit(commands(Opcode.READ, 0, now=100 * MS))["target"][0]
    assert due == 100 * MS + 50 * US + 500 * US + 50 * US  # behind the word that is moved, whose copy is buffered no more


def test_each_line_is_moved_once_in_its_time() -> None:
    """Ten times as long as data may lie, with time between commands."""
    device = drive(retention=300)
    for now in range(200, 3200):
        flush(device, now * MS)
    t = device.stats()
    assert 9 * LINE <= t["retention_victims"] <= 10 * LINE
    assert t["victims"] == t["retention_victims"] and t["gc_units"] == t["victims"] * LINE


def test_age_is_counted_on_whatever_clock_there_is() -> None:
    """60 ms before it was switched off, and 40 ms after."""
    device = drive(LINE, retention=100)
    flush(device, 60 * MS)
    woken = Device.load(device.save(), device.config)
    woken.wake(5 * MS)
    flush(woken, 45 * MS - 1)
    assert woken.stats()["retention_victims"] == 0
    flush(woken, 45 * MS)
    assert woken.stats()["retention_victims"] == 1


def test_limits_that_are_changed_in_use_hold_at_once() -> None:
    device = drive(LINE)
    device.submit(commands(Opcode.READ, [0] * 10, now=100 * MS + np.arange(10) * MS))
    device.set_model(200 * MS, read_disturb=11, retention=1000)
    flush(device, 300 * MS)
    assert device.stats()["victims"] == 0
    device.set_model(400 * MS, read_disturb=10)
    flush(device, 500 * MS)
    assert device.stats()["disturb_victims"] == 1
    device.set_model(600 * MS, read_disturb=0, retention=250)
    flush(device, 700 * MS)
    assert device.stats()["retention_victims"] == 1


def test_a_drive_that_only_reads_moves_nothing() -> None:
    device = drive(2048, dies=8, spare=800, erase_fail=20_000, program_fail=200)
    seed = 0
    while not device.stats()["read_only"]:
        device.submit(commands(Opcode.WRITE, np.random.default_rng(seed).integers(0, 2048, 2048)))
        seed += 1
    gc = device.stats()["gc_units"]
    device.set_model(0, read_disturb=1, retention=1)
    device.submit(commands(Opcode.READ, np.arange(2048), now=3_600_000 * MS))
    flush(device, 7_200_000 * MS)
    assert device.stats()["gc_units"] == gc
    assert device.audit() is None


@settings(deadline=None, max_examples=25 * SOAK)
@given(
    st.integers(1, 3),
    st.sampled_from([1, 4, 16]),
    st.integers(600, 1500),
    st.sampled_from([0, 50, 300]),
    st.integers(0, 2**32 - 1),
)
def test_nothing_lies_longer_or_is_read_more_often_than_it_may(
    dies: int, pages: int, retention: int, disturb: int, seed: int
) -> None:
    """A command each 10 ms, so that there is time; where every unit lies is looked at after each."""
    units = 300
    changes = {"dies": dies, "page_size": 4096 * pages, "retention": retention, "read_disturb": disturb}
    device = drive(units, **changes)
    device.submit(commands(Opcode.FLUSH, now=0))
    rng = np.random.default_rng(seed)
    places, since, reads = device.mapping(), np.zeros(units), np.zeros(units, int)
    start = int(device.times().max()) // MS + 1
    for now in range(start, start + 2000, 10):
        opcode = Opcode.WRITE if rng.random() < 0.2 else Opcode.READ
        unit = int(rng.integers(units if rng.random() < 0.3 else 20))
        device.submit(commands(opcode, unit, flags=Flag.FUA, now=now * MS))
        moved = device.mapping() != places
        places = device.mapping()
        assert (places != UNMAPPED).all()
        since[moved], reads[moved] = now, 0
        reads[unit] += opcode == Opcode.READ
        assert (now - since).max() <= retention + 400  # all of the drive is moved within 250 ms, between commands
        assert not disturb or reads.max() <= disturb + 1
    t = device.stats()
    assert device.audit() is None
    assert 0 < t["disturb_victims"] + t["retention_victims"] <= t["victims"]
    assert disturb or t["retention_victims"] > 0  # where reads move all lines in time, age has none left to move
