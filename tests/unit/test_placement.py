# SPDX-License-Identifier: GPL-2.0-or-later
"""Flexible Data Placement in the core, against what was told to each handle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.medium import model
from nvlab.sim import UNMAPPED, Config, Device, Kind, Opcode, Status, commands
from nvlab.sim.placement import Statistics, events, handles, placed, statistics, tell, update
from nvlab.sim.structs import HandleEvent, ManagementOpcode, Tell

UNIT_BLOCKS = 8
GEOMETRY = {"channels": 2, "dies": 1, "planes": 1, "program_pages": 1, "cell_bits": 1, "page_size": 8192, "pages": 8, "blocks": 0}
many = settings(max_examples=15, deadline=None)


def drive(units: int = 2048, count: int = 4, persistent: bool = True, spare: int = 400, **changes: int) -> Device:
    medium = model(**GEOMETRY, spare=spare, fdp_handles=count, fdp_persistent=persistent, buffer=0, plp=1, **changes)
    return Device(Config(blocks=units * UNIT_BLOCKS, kind=Kind.SSD, vwc=True, model=medium))


def write(device: Device, units: np.ndarray, handle: np.ndarray | int) -> None:
    assert not device.submit(placed(commands(Opcode.WRITE, units * UNIT_BLOCKS, UNIT_BLOCKS), handle))["status"].any()


@st.composite
def histories(draw: st.DrawFn) -> tuple[Device, list[tuple[int, int, int]]]:
    """A device, and what is done to it: a handle, a unit and how many from there on, or 0 to update the handle."""
    count = draw(st.integers(1, 6))
    device = drive(draw(st.integers(200, 1500)), count, draw(st.booleans()), gc_policy=draw(st.integers(0, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    units = device.stats()["units"]
    first = rng.integers(0, units, 250)
    length = np.minimum(rng.integers(1, 64, 250), units - first) * (rng.random(250) > 0.05)
    return device, list(zip(rng.integers(0, count, 250).tolist(), first.tolist(), length.tolist(), strict=True))


@many
@given(histories())
def test_accounts_of_all_handles_add_up_exactly(history: tuple[Device, list[tuple[int, int, int]]]) -> None:
    device, steps = history
    told = np.zeros(len(handles(device)), np.int64)
    for number, (handle, first, length) in enumerate(steps):
        if not length:
            assert not update(device, handle)["status"][0]
            continue
        write(device, np.arange(first, first + length), handle)
        told[handle] += length
        assert number % 10 or device.audit() is None
    found, stats, log = handles(device), device.stats(), statistics(device)
    assert [handle.host_units for handle in found] == told.tolist()
    assert told.sum() == stats["host_units"]
    assert log.host_bytes == told.sum() * 4096
    assert log.media_bytes == stats["programmed_units"] * 4096
    assert log.media_bytes + stats["open_units"] * 4096 >= log.host_bytes
    assert log.erased_bytes == stats["erases"] * stats["line_units"] * 4096
    gc = sum(handle.gc_units for handle in found)
    assert gc == stats["gc_units"] if device.config.model["fdp_persistent"] else gc <= stats["gc_units"]


@many
@given(histories())
def test_no_superblock_mixes_handles_that_are_isolated_for_good(history: tuple[Device, list[tuple[int, int, int]]]) -> None:
    """Of the others none does that collection has not written to."""
    device, steps = history
    owner = np.full(device.stats()["units"], -1)
    for handle, first, length in steps:
        if length:
            write(device, np.arange(first, first + length), handle)
            owner[first : first + length] = handle
        else:
            update(device, handle)
        if not device.config.model["fdp_persistent"] and device.stats()["gc_units"]:
            break
    places = device.mapping()
    written = places != UNMAPPED
    lines = places[written] // device.stats()["line_units"]
    pairs = np.unique(np.stack([lines, owner[written]]), axis=1)
    assert len(pairs[0]) == len(np.unique(lines)) or not device.config.model["fdp_persistent"]
    if not device.stats()["gc_units"]:
        assert len(pairs[0]) == len(np.unique(lines))


@many
@given(histories())
def test_a_snapshot_in_between_changes_nothing(history: tuple[Device, list[tuple[int, int, int]]]) -> None:
    device, steps = history
    tell(device, 0, Tell.MOVED | Tell.NOT_FULL)
    twin = Device(device.config)
    tell(twin, 0, Tell.MOVED | Tell.NOT_FULL)
    for number, (handle, first, length) in enumerate(steps[:200]):
        for one in (device, twin):
            write(one, np.arange(first, first + length), handle) if length else update(one, handle)
        if not number % 40:
            twin = Device.load(twin.save(), twin.config)
    assert handles(twin) == handles(device)
    assert statistics(twin) == statistics(device)
    for controller in (False, True):
        assert np.array_equal(events(twin, controller=controller), events(device, controller=controller))


def test_without_handles_a_directive_changes_nothing() -> None:
    plain, other = drive(count=0), drive(count=0)
    write(other, np.arange(500), 3)
    assert not plain.submit(commands(Opcode.WRITE, np.arange(500) * UNIT_BLOCKS, UNIT_BLOCKS))["status"].any()
    assert np.array_equal(plain.mapping(), other.mapping())
    assert handles(plain) == []
    with pytest.raises(ValueError, match="set fdp_handles"):
        statistics(plain)
    assert plain.submit(commands(ManagementOpcode.RECEIVE))["status"][0] == Status.INVALID_OPCODE


def test_a_handle_is_full_when_its_room_was_written_and_an_update_begins_another() -> None:
    device = drive()
    line = device.stats()["line_units"]
    write(device, np.arange(5), 1)
    assert handles(device)[1].room_units == line - 5
    assert not update(device, 1)["status"][0]
    assert (handles(device)[1].room_units, handles(device)[1].reclaim_units) == (line, 1)
    write(device, np.arange(line), 1)
    assert handles(device)[1].reclaim_units == 2
    write(device, np.arange(1), 1)
    assert (handles(device)[1].reclaim_units, handles(device)[1].room_units) == (3, line - 1)


def test_an_update_of_what_is_no_handle_changes_none() -> None:
    device = drive()
    write(device, np.arange(5), 1)
    assert update(device, 1, 4)["status"][0] == Status.INVALID_FIELD
    assert handles(device)[1].room_units == device.stats()["line_units"] - 5


def test_hosts_are_told_of_what_they_ask_for_and_of_the_latest_alone() -> None:
    device = drive()
    for _ in range(2):  # nobody asked for the first
        write(device, np.arange(3), 2)
        update(device, 2, now=5)
        tell(device, 2, Tell.NOT_FULL)
    write(device, np.arange(3), 9)
    tell(device, 0, Tell.BAD_IDENTIFIER)
    write(device, np.arange(70), 9)
    found = events(device, controller=False)
    assert len(found) == 63
    assert set(found["type"]) == {HandleEvent.BAD_IDENTIFIER}
    assert set(found["pid"]) == {9}
    assert handles(device)[0].host_units == 73
    with pytest.raises(ValueError, match="no meaning"):
        tell(device, 4, Tell.MOVED)


def test_what_collection_moves_is_told_with_its_place_and_number() -> None:
    device = drive(count=2)
    tell(device, 1, Tell.MOVED)
    rng = np.random.default_rng(1)
    for _ in range(4):
        write(device, rng.integers(0, 2048, 2048), 1)
    found = events(device, controller=True)
    assert len(found) and set(found["type"]) == {HandleEvent.MOVED}
    assert (found["lba"] % UNIT_BLOCKS == 0).all() and (found["lba"] < 2048 * UNIT_BLOCKS).all()
    assert (found["blocks"] <= device.stats()["line_units"] * UNIT_BLOCKS).all()
    assert set(found["ruh"]) == {1} and set(found["nsid"]) == {1}


def test_data_that_die_together_cost_no_copies_when_they_lie_together() -> None:
    """A log that goes round, and a small set that is overwritten at random (as CacheLib's: Allison et al., EuroSys 2025)."""
    waf = {}
    for count in (0, 2):
        device = drive(4096, count, spare=150)
        rng = np.random.default_rng(2)
        log, at = np.arange(400, 4096), 0
        for _ in range(200):
            write(device, np.concatenate([log, log])[at : at + 100], 0)
            at = (at + 100) % len(log)
            write(device, rng.integers(0, 400, 100), 1)
        waf[count] = device.stats()["programmed_units"] / device.stats()["host_units"]
    assert waf[2] < 1.15 < 1.4 < waf[0], waf


@pytest.mark.parametrize("kind", [Kind.ZNS, Kind.KV])
def test_other_kinds_have_no_handles(kind: Kind) -> None:
    with pytest.raises(ValueError, match="core refuses"):
        Device(Config(blocks=1 << 18, kind=kind, model=model(fdp_handles=2)))


def test_statistics_of_a_new_device_are_nothing() -> None:
    assert statistics(drive()) == Statistics(0, 0, 0)
