# SPDX-License-Identifier: GPL-2.0-or-later
"""A map that memory holds a part of: what hits, what misses cost, what is written for it, and that nothing is lost by it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.sim import RANGE, UNMAPPED, Config, Device, Flag, Kind, Opcode, commands, model

US = 1_000
MS = 1_000_000
SOAK = 100 if os.environ.get("NVLAB_SOAK") else 1
PAGE = 1024  # units that a page of the map is of
# One die, pages of a unit, and nothing but NAND takes time
PLAIN = {
    "channels": 1, "dies": 1, "planes": 1, "page_size": 4096, "cell_bits": 1, "program_pages": 1, "pages": 64,
    "blocks": 0, "read_lsb": 50 * US, "program_lsb": 500 * US, "erase": 3 * MS, "channel_speed": 0, "link_speed": 0,
    "fw_read": 0, "fw_read_large": 0, "fw_write": 0, "fw_write_unit": 0, "buffer": 64, "spare": 300,
}  # fmt: skip


def drive(of_map: int, frames: int, **changes: int) -> Device:
    """A drive whose map has so many pages, so many of them in memory."""
    return Device(
        Config(of_map * PAGE, 1, Kind.SSD, 12, True, model=model(**PLAIN | {"mapping_cache": 4 * frames} | changes))
    )


def rested(device: Device) -> int:
    """A time when all of its work is done, in whole milliseconds."""
    return (int(device.times().max()) // MS + 1) * MS


class Clock:
    """The cache once more: which pages it has, in the order of its frames, by second chance."""

    def __init__(self, frames: int) -> None:
        self.pages: list[int | None] = [None] * frames
        self.used, self.dirty = [False] * frames, [False] * frames
        self.hand = self.hits = self.misses = self.reads = self.written = 0
        self.stored: set[int] = set()

    def touch(self, page: int, units: int, change: bool) -> None:
        if page not in self.pages:
            self.misses += 1
            self.hits -= 1
            while self.pages[self.hand] is not None and self.used[self.hand]:
                self.used[self.hand] = False
                self.hand = (self.hand + 1) % len(self.pages)
            old, at = self.pages[self.hand], self.hand
            if old is not None and self.dirty[at]:
                self.written += 1
                self.stored.add(old)
            self.reads += page in self.stored
            self.pages[at], self.dirty[at] = page, False
            self.hand = (at + 1) % len(self.pages)
        self.hits += units
        at = self.pages.index(page)
        self.used[at] = True
        self.dirty[at] |= change


@settings(deadline=None, max_examples=60 * SOAK)
@given(st.integers(1, 12), st.integers(1, 14), st.integers(0, 2**32 - 1))
def test_it_is_a_clock_and_every_number_adds_up(pages: int, frames: int, seed: int) -> None:
    """On a drive with so much spare space that nothing is collected but lines of the map."""
    device, clock = drive(pages, frames, spare=4000, buffer=4096), Clock(min(frames, pages))
    rng = np.random.default_rng(seed)
    content = np.zeros(pages * PAGE, bool)
    read = written = 0
    for now in range(300):
        change = bool(rng.integers(2))
        units = int(rng.choice([1, 2, 16]))
        first = int(rng.integers(pages * PAGE - units + 1))
        device.submit(commands(Opcode.WRITE if change else Opcode.READ, first, units, now=now * MS))
        written, read = written + units * change, read + units * (not change)
        if change:
            content[first : first + units] = True
            for unit in range(first, first + units):
                clock.touch(unit // PAGE, 1, True)
        else:
            for page in range(first // PAGE, (first + units - 1) // PAGE + 1):
                clock.touch(page, min(first + units, (page + 1) * PAGE) - max(first, page * PAGE), False)
    t = device.stats()
    assert (t["map_hits"], t["map_misses"]) == (clock.hits, clock.misses)
    assert t["map_hits"] + t["map_misses"] == read + written
    assert t["map_units"] - t["map_moved"] == clock.written
    assert t["gc_units"] == 0
    if not t["map_moved"]:
        assert t["map_reads"] == clock.reads
    assert t["programmed_units"] == t["host_units"] + t["map_units"] + t["pad_units"] - t["open_units"]
    assert np.array_equal(device.mapping() != UNMAPPED, content)
    assert t["mapped_units"] == np.count_nonzero(content)
    assert device.audit() is None


def test_a_read_that_misses_costs_a_sense_more() -> None:
    device = drive(8, 2)
    device.submit(commands(Opcode.WRITE, np.arange(8) * PAGE, flags=Flag.FUA))
    now = rested(device)
    reads = commands(Opcode.READ, np.array([0, 1, 1, 0, 5]) * PAGE, now=now + np.arange(5) * MS)
    took = device.submit(reads)["target"] - reads["now"]
    # 6 and 7 are in memory and changed, so two of the reads have to write them before, which they do not wait for
    assert list(took[[2, 3]]) == [50 * US, 50 * US]
    again = commands(Opcode.READ, np.array([2, 3, 2, 4]) * PAGE, now=rested(device) + np.arange(4) * MS)
    assert list(device.submit(again)["target"] - again["now"]) == [100 * US, 100 * US, 50 * US, 100 * US]


def test_a_page_that_was_changed_is_programmed_when_it_is_given_up() -> None:
    device = drive(2, 1)
    device.submit(commands(Opcode.WRITE, [0, PAGE], flags=Flag.FUA))
    assert device.stats()["map_units"] == 1
    now = rested(device)
    # page 1 is written behind everything else on the only die; page 0 is read after that
    assert device.submit(commands(Opcode.READ, 0, now=now))["target"][0] == now + 600 * US
    now = rested(device)
    assert device.submit(commands(Opcode.READ, PAGE, now=now))["target"][0] == now + 100 * US
    assert device.stats()["map_units"] == 2


def test_a_buffered_write_does_not_wait_for_the_map_but_its_program_does() -> None:
    device = drive(2, 1)
    device.submit(commands(Opcode.WRITE, [0, PAGE, 0], flags=Flag.FUA))
    device.submit(commands(Opcode.READ, PAGE, now=rested(device)))
    now = rested(device)
    assert device.submit(commands(Opcode.WRITE, 1, now=now))["target"][0] == now
    assert device.submit(commands(Opcode.FLUSH, now=now))["target"][0] == now + 50 * US + 500 * US


def test_a_part_of_a_unit_is_merged_when_the_map_is_there() -> None:
    device = Device(Config(2 * PAGE * 8, 1, Kind.SSD, 9, True, model=model(**PLAIN | {"mapping_cache": 4})))
    device.submit(commands(Opcode.WRITE, [0, PAGE * 8], 8, flags=Flag.FUA))
    device.submit(commands(Opcode.READ, [0, PAGE * 8], 8, now=rested(device)))
    now = rested(device)
    assert device.submit(commands(Opcode.WRITE, 3, 1, now=now))["target"][0] == now + 100 * US


def test_a_hit_on_a_page_that_is_on_its_way_waits_for_it() -> None:
    device = drive(2, 1, dies=4)
    device.submit(commands(Opcode.WRITE, [0, 1, 2, 3, PAGE], flags=Flag.FUA))
    device.submit(commands(Opcode.READ, PAGE, now=rested(device)))
    now = rested(device)
    first, second = device.submit(commands(Opcode.READ, [0, 2], now=[now, now + 1]))["target"]
    assert second >= now + 100 * US
    assert device.stats()["map_misses"] == 3 and first >= now + 100 * US


def test_memory_for_all_of_the_map_is_filled_once_and_that_is_all() -> None:
    device = drive(8, 100)
    rng = np.random.default_rng(1)
    device.submit(commands(Opcode.WRITE, rng.integers(0, 8 * PAGE, 40_000)))
    t = device.stats()
    assert (t["map_misses"], t["map_reads"], t["map_units"]) == (8, 0, 0)
    assert t["gc_units"] > 0


def test_without_the_option_nothing_is_counted() -> None:
    device = drive(4, 0)
    device.submit(commands(Opcode.WRITE, np.arange(4 * PAGE)))
    device.submit(commands(Opcode.READ, np.arange(4 * PAGE)))
    assert not any(count for name, count in device.stats().items() if name.startswith("map_"))


@pytest.mark.parametrize("policy", range(5))
@pytest.mark.parametrize("frames", [1, 3])
def test_a_full_drive_written_at_random_for_days_loses_nothing(policy: int, frames: int) -> None:
    """Each write and each copy misses, nearly; with blocks that turn bad on the way."""
    worn = {"spare": 600, "bad_factory": 2_000, "erase_fail": 2, "program_fail": 1, "wear_gap": 50}
    device = drive(8, frames, dies=4, gc_policy=policy, **worn)
    units = 8 * PAGE
    device.submit(commands(Opcode.WRITE, np.arange(units)))
    for seed in range(4 * SOAK):
        slba = np.random.default_rng(seed).integers(0, units, 5 * units)
        assert not device.submit(commands(Opcode.WRITE, slba, now=device.seq * 30 * US))["status"].any()
        assert device.audit() is None
    t = device.stats()
    assert t["mapped_units"] == units and not t["read_only"]
    assert t["map_units"] > t["host_units"]


def test_little_spare_space_is_enough() -> None:
    """All lines but those that there must be hold data."""
    device = drive(16, 1, spare=0)
    units = 16 * PAGE
    device.submit(commands(Opcode.WRITE, np.arange(units)))
    assert not device.submit(commands(Opcode.WRITE, np.random.default_rng(1).integers(0, units, 4 * units)))["status"].any()
    assert device.audit() is None


def test_lines_of_the_map_are_collected_by_themselves() -> None:
    """Lines of 16 pages for a map of 64, on a drive with room for all that is written."""
    device = drive(64, 1, spare=4000, pages=16)
    rng = np.random.default_rng(1)
    device.submit(commands(Opcode.WRITE, rng.integers(0, 64 * PAGE, 20_000), now=np.arange(20_000) * MS))
    t = device.stats()
    assert t["map_moved"] > 0 and t["gc_units"] == t["victims"] == 0
    assert t["erases"] > 1000  # of 20,000 pages in lines of 16
    assert device.audit() is None


def test_what_is_deallocated_is_changed_in_the_map() -> None:
    device = drive(4, 1)
    device.submit(commands(Opcode.WRITE, np.arange(4) * PAGE))
    before = device.stats()["map_units"]
    device.submit(commands(Opcode.DSM, flags=Flag.DEALLOCATE), np.array([(0, 4 * PAGE)], RANGE))
    device.submit(commands([Opcode.FLUSH] * 2))
    t = device.stats()
    assert (t["mapped_units"], t["map_units"] - before) == (0, 4)  # the last one written, and three of these


def test_after_a_power_cut_and_after_a_rest_memory_is_empty_and_all_is_on_the_medium() -> None:
    for orderly in (False, True):
        device = drive(8, 8)
        device.submit(commands(Opcode.WRITE, np.arange(5) * PAGE, flags=Flag.FUA))
        now = rested(device)
        if orderly:
            device.wake(now)
        else:
            _, ready = device.cut(now)
            now = int(ready)
        assert device.stats()["map_units"] == 5
        now = max(now, rested(device))
        reads = commands(Opcode.READ, np.arange(5) * PAGE, now=now + np.arange(5) * MS)
        assert set(device.submit(reads)["target"] - reads["now"]) == {100 * US}
        assert device.stats()["map_reads"] == 5
        assert device.audit() is None


def test_pages_of_the_map_are_refreshed_too() -> None:
    """A page of the map that is read again and again is worn by that as any other."""
    device = drive(4, 1, read_disturb=200)
    device.submit(commands(Opcode.WRITE, np.arange(4) * PAGE, flags=Flag.FUA))
    now = rested(device)
    device.submit(commands(Opcode.READ, np.arange(600) % 2 * PAGE, now=now + np.arange(600) * 10 * MS))
    t = device.stats()
    assert t["map_moved"] > 0
    assert t["disturb_victims"] == t["victims"] >= 4  # its line, and those of the data
    assert device.audit() is None
