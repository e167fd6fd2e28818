# SPDX-License-Identifier: GPL-2.0-or-later
"""Zones of the core: that they do what the standard's tables say, whatever comes, and keep what they were told."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoned import ALL, EO, IO, READ, RO, SEND, WRITE, C, E, F, Limits, O
from zonedrive import CAPACITY, SIZE, ZONES, Shell, do, drive, limits, send, states, stream

from nvlab.sim import (
    RANGE,
    Config,
    Data,
    Device,
    Flag,
    NamespaceSwitch,
    Opcode,
    Status,
    ZoneAction,
    Zoned,
    ZoneOpcode,
    ZoneState,
    changed_zones,
    commands,
    extend,
    report,
    zoned,
    zones,
)

MS = 1_000_000
SOAK = 100 if os.environ.get("NVLAB_SOAK") else 1
many = settings(deadline=None, max_examples=60 * SOAK)

# -- the tables ----------------------------------------------------------------------------------------------------


def read_only(device: Device, z: int) -> None:
    """The medium fails while the zone is written, and no longer."""
    device.set_model(program_fail=100_000)
    while (zone := zones(device)[z]).state != RO:
        if zone.state == F:
            send(device, ZoneAction.RESET, z)
        do(device, ZoneOpcode.APPEND, z * SIZE, 8)
    device.set_model(program_fail=0)


def bring(device: Device, z: int, state: ZoneState) -> None:
    """Have a zone in a state, by commands that the tables are not asked about."""
    if state in (IO, EO, C, F):
        do(device, Opcode.WRITE, z * SIZE, 8)
    if state == EO:
        send(device, ZoneAction.OPEN, z)
    if state == C:
        send(device, ZoneAction.CLOSE, z)
    if state == F:
        do(device, Opcode.WRITE, z * SIZE + 8, CAPACITY - 8)
    if state in (RO, O):
        read_only(device, z)
    if state == O:
        send(device, ZoneAction.OFFLINE, z)
    assert zones(device)[z].state == state


each_state = pytest.mark.parametrize("state", list(ZoneState))


@each_state
@pytest.mark.parametrize("action", list(SEND))
def test_an_action_makes_of_a_zone_what_the_standard_says(state: ZoneState, action: ZoneAction) -> None:
    device = drive(zone_extension=1)
    bring(device, 3, state)
    after = SEND[action][state]
    status, expected = (after, state) if isinstance(after, Status) else (Status.SUCCESS, after)
    assert (send(device, action, 3), zones(device)[3].state) == (status, expected)
    assert device.audit() is None


@each_state
@pytest.mark.parametrize("action", list(ALL))
def test_an_action_on_all_zones_is_for_those_in_some_states(state: ZoneState, action: ZoneAction) -> None:
    device = drive()
    bring(device, 3, state)
    assert send(device, action, flags=Flag.ALL_ZONES) == Status.SUCCESS
    assert zones(device)[3].state == (SEND[action][state] if state in ALL[action] else state)
    assert states(device).count(E) >= ZONES - 1


@each_state
@pytest.mark.parametrize("opcode", [Opcode.WRITE, Opcode.WRITE_ZEROES, Opcode.WRITE_UNCORRECTABLE, ZoneOpcode.APPEND])
def test_a_write_opens_a_zone_that_may_be_written(state: ZoneState, opcode: int) -> None:
    device = drive()
    bring(device, 3, state)
    before = zones(device)[3]
    after = WRITE[state]
    status, expected = (after, state) if isinstance(after, Status) else (Status.SUCCESS, after)
    slba = 3 * SIZE if opcode == ZoneOpcode.APPEND else before.wp
    assert (do(device, opcode, slba, 2), zones(device)[3].state) == (status, expected)
    assert zones(device)[3].wp == before.wp + (2 if status == Status.SUCCESS else 0)


@each_state
@pytest.mark.parametrize("opcode", [Opcode.READ, Opcode.COMPARE, Opcode.VERIFY])
def test_all_zones_but_offline_ones_can_be_read(state: ZoneState, opcode: Opcode) -> None:
    device = drive()
    bring(device, 3, state)
    assert do(device, opcode, 3 * SIZE, 5) == READ[state]
    assert zones(device)[3].state == state


def test_a_write_that_fills_a_zone_makes_it_full() -> None:
    device = drive()
    assert do(device, Opcode.WRITE, 0, CAPACITY) == Status.SUCCESS
    assert states(device)[0] == F
    assert do(device, Opcode.WRITE, SIZE, CAPACITY + 1) == Status.ZONE_BOUNDARY
    assert do(device, ZoneOpcode.APPEND, SIZE, CAPACITY + 1) == Status.ZONE_BOUNDARY


# -- anything, against the model -----------------------------------------------------------------------------------


@many
@given(limits, st.integers(0, 2**32 - 1))
def test_zones_do_what_the_standard_says_whatever_comes(said: Limits, seed: int) -> None:
    """States, write pointers, limits, statuses, content; appends go where nothing was, as the model's do."""
    shell = Shell(said)
    for step in stream(seed, 200):
        shell.step(*step)
        shell.check()


def test_the_random_steps_reach_every_state_and_status() -> None:
    """Or the test above would say little."""
    met: set[object] = set()
    for seed in range(20):
        shell = Shell(Limits(active=4, open=2, append=16, extension=True, zrwas=1, zrwa=16, flush=4))
        for step in stream(seed, 200):
            shell.step(*step)
            met |= {shell.status, *states(shell.device)}
    refusals = {status for status in Status if status.name.startswith(("ZONE", "ZRWA", "TOO_MANY"))}
    assert met >= {E, IO, EO, C, F} | refusals - {Status.ZONE_READ_ONLY, Status.ZONE_OFFLINE, Status.ZONE_OPERATION}


# -- limits --------------------------------------------------------------------------------------------------------


def test_a_write_closes_the_zone_that_was_written_least_lately() -> None:
    device = drive(zone_max_open=2)
    for z in (0, 1, 0, 2):
        assert do(device, ZoneOpcode.APPEND, z * SIZE) == Status.SUCCESS
    assert states(device)[:3] == [IO, C, IO]


def test_zones_opened_by_command_are_not_closed_for_others() -> None:
    device = drive(zone_max_open=2)
    assert [send(device, ZoneAction.OPEN, z) for z in (0, 1)] == [Status.SUCCESS] * 2
    assert do(device, Opcode.WRITE, 2 * SIZE) == Status.TOO_MANY_OPEN
    assert send(device, ZoneAction.OPEN, 2) == Status.TOO_MANY_OPEN


def test_active_zones_are_not_finished_for_others() -> None:
    device = drive(zone_max_active=2, zone_max_open=1, zone_extension=1)
    assert [do(device, Opcode.WRITE, z * SIZE) for z in (0, 1)] == [Status.SUCCESS] * 2
    assert do(device, Opcode.WRITE, 2 * SIZE) == Status.TOO_MANY_ACTIVE
    assert send(device, ZoneAction.SET_EXTENSION, 2) == Status.TOO_MANY_ACTIVE
    assert send(device, ZoneAction.FINISH, 0) == do(device, Opcode.WRITE, 2 * SIZE) == Status.SUCCESS


def test_all_closed_zones_are_opened_or_none() -> None:
    device = drive(zone_max_open=2)
    for z in range(3):
        do(device, Opcode.WRITE, z * SIZE)
        send(device, ZoneAction.CLOSE, z)
    assert send(device, ZoneAction.OPEN, flags=Flag.ALL_ZONES) == Status.TOO_MANY_OPEN
    assert states(device)[:3] == [C, C, C]
    send(device, ZoneAction.FINISH, 0)
    assert send(device, ZoneAction.OPEN, flags=Flag.ALL_ZONES) == Status.SUCCESS
    assert states(device)[:3] == [F, EO, EO]


def test_a_namespace_that_is_protected_has_no_active_zones() -> None:
    device = drive()
    for z, state in enumerate((IO, EO, C)):
        bring(device, z, state)
    device.switch(1, NamespaceSwitch.PROTECTED)
    assert states(device)[:4] == [F, F, F, E]
    assert do(device, Opcode.WRITE, 3 * SIZE) == send(device, ZoneAction.RESET, 0) == Status.WRITE_PROTECTED
    device.switch(1, 0)
    assert send(device, ZoneAction.RESET, 0) == Status.SUCCESS


# -- what hosts are told -------------------------------------------------------------------------------------------


def ask(device: Device, slba: int = 0, size: int = 4096, **more: int) -> bytes:
    command = commands(ZoneOpcode.RECEIVE, slba, 0, **more)
    assert device.submit(command)[0]["data"] == Data.REPORT
    return report(device, command, size)


def told(raw: bytes, extension: int = 0) -> list[tuple[int, int, int, int, int]]:
    """Of each zone reported: state, attributes, capacity, start, write pointer."""
    assert len(raw) % 8 == 0 and raw[8:64] == bytes(56)
    found = []
    for at in range(64, len(raw), 64 + extension):
        kind, state, attributes, capacity, start, wp = struct.unpack_from("<BBB5xQQQ", raw, at)
        assert kind == 2, "sequential write required"
        found.append((state >> 4, attributes, capacity, start, wp))
    return found


def test_a_report_has_each_zone_with_its_state_and_pointer() -> None:
    device = drive()
    for z, state in enumerate((IO, EO, C, F)):
        bring(device, z, state)
    raw = ask(device)
    assert struct.unpack_from("<Q", raw) == (ZONES,)
    assert told(raw)[:5] == [
        (IO, 0, CAPACITY, 0, 8),
        (EO, 0, CAPACITY, SIZE, SIZE + 8),
        (C, 0, CAPACITY, 2 * SIZE, 2 * SIZE + 8),
        (F, 0, CAPACITY, 3 * SIZE, 2**64 - 1),
        (E, 0, CAPACITY, 4 * SIZE, 4 * SIZE),
    ]
    assert len(told(raw)) == ZONES


@pytest.mark.parametrize(("option", "state"), [*enumerate([E, IO, EO, C, F, RO, O], 1)])
def test_a_report_has_the_zones_in_one_state(option: int, state: ZoneState) -> None:
    device = drive()
    for z, each in enumerate([IO, EO, C, F, RO, O]):
        bring(device, z, each)
    assert [zone[0] for zone in told(ask(device, option=option))] == [state] * (ZONES - 6 if state == E else 1)
    assert told(ask(device, option=9)) == []


def test_a_report_says_how_many_there_are_or_how_many_it_has() -> None:
    device = drive()
    short = 64 + 2 * 64 + 63
    assert struct.unpack_from("<Q", ask(device, 3 * SIZE + 7, size=short)) == (ZONES - 3,)
    assert struct.unpack_from("<Q", ask(device, 3 * SIZE + 7, size=short, flags=Flag.PARTIAL)) == (2,)
    assert [zone[3] for zone in told(ask(device, 3 * SIZE + 7, size=short))] == [3 * SIZE, 4 * SIZE]
    assert ask(device, size=4) == struct.pack("<I", ZONES)


def test_an_extended_report_has_what_the_host_attached() -> None:
    device = drive(zone_extension=2)
    command = commands(ZoneOpcode.SEND, 2 * SIZE, 0, action=ZoneAction.SET_EXTENSION)
    assert device.submit(command)[0]["data"] == Data.EXTENSION
    with pytest.raises(ValueError, match="has 128 bytes, not 3"):
        extend(device, command, b"abc")
    extend(device, command, bytes(range(128)))
    raw = ask(device, action=1)
    assert [zone[:2] for zone in told(raw, 128)][1:3] == [(E, 0), (C, 0x80)]
    assert raw[64 + 2 * 192 + 64 : 64 + 3 * 192] == bytes(range(128))
    assert Device.load(device.save(), device.config).audit() is None
    assert report(Device.load(device.save(), device.config), commands(ZoneOpcode.RECEIVE, action=1), 4096) == raw
    assert send(device, ZoneAction.RESET, 2) == Status.SUCCESS
    assert [zone[:2] for zone in told(ask(device, action=1), 128)][2] == (E, 0)


def test_reports_that_there_are_not_are_refused() -> None:
    device = drive()
    for more in ({"action": 1}, {"action": 2}, {"option": 8}, {"option": 10}):
        assert do(device, ZoneOpcode.RECEIVE, 0, 0, **more) == Status.INVALID_FIELD, more
    assert do(device, ZoneOpcode.RECEIVE, ZONES * SIZE, 0) == Status.LBA_OUT_OF_RANGE


def test_the_list_of_changes_has_zones_that_failed_and_no_others() -> None:
    device = drive()
    for z, state in enumerate((IO, EO, C, F)):
        bring(device, z, state)
    assert changed_zones(device) == []
    bring(device, 5, O)
    read_only(device, 4)
    assert changed_zones(device, clear=False) == changed_zones(device) == [5 * SIZE, 4 * SIZE]
    assert changed_zones(device) == []
    assert device.counters()["zone_changes"] == 2


def test_a_list_that_is_too_short_says_so() -> None:
    device = drive(count=600, erase_fail=1_000_000)
    device.submit(commands(ZoneOpcode.APPEND, np.arange(600) * SIZE, CAPACITY))
    assert send(device, ZoneAction.RESET, flags=Flag.ALL_ZONES) == Status.SUCCESS
    assert states(device) == [O] * 600
    assert changed_zones(device) is None
    assert changed_zones(device) == []


def test_a_zoned_namespace_says_what_identify_needs() -> None:
    device = drive(zone_max_active=6, zone_max_open=3, zone_append=64, zone_extension=1, zone_read_across=1,
                   zrwa_zones=2, zrwa_size=64, zrwa_flush=16)  # fmt: skip
    assert zoned(device) == Zoned(
        size=SIZE, capacity=CAPACITY, zones=ZONES, max_active=6, max_open=3, append=16, append_shift=4, extension=64,
        zrwa=16, zrwa_flush=4, zrwa_zones=2, read_across=1,
    )  # fmt: skip
    assert zoned(device, 2) is None and zones(Device(Config(8))) == []


# -- what there cannot be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"zone_size": 1000}, "zone_size is not a power of two"),
        ({"zone_capacity": 2048}, "zone_capacity is larger than zone_size"),
        ({"zone_capacity": 6}, "zone_capacity is not a multiple of 4 KiB"),
        ({"zone_max_active": 2, "zone_max_open": 3}, "zone_max_open is larger than zone_max_active"),
        ({"zone_append": 12}, "zone_append is not a power of two"),
        ({"zone_append": 4}, "zone_append is not a power of two from 8 KiB on"),
        ({"zone_dies": 3}, "zone_dies does not divide"),
        ({"zrwa_zones": 1}, "needs a zrwa_size and a zrwa_flush"),
        ({"zrwa_zones": 1, "zrwa_size": 8, "zrwa_flush": 2}, "zrwa_flush is not a multiple of 4 KiB"),
        ({"zrwa_zones": 1, "zrwa_size": 20, "zrwa_flush": 8}, "zrwa_size is not a multiple of zrwa_flush"),
        ({"zrwa_zones": 1, "zrwa_size": 1024, "zrwa_flush": 4}, "zrwa_size is larger than zone_capacity"),
        ({"zrwa_zones": 1, "zrwa_size": 640, "zrwa_flush": 640}, "zone_capacity is not a multiple of zrwa_flush"),
        ({"zrwa_zones": 3, "zrwa_size": 8, "zrwa_flush": 4, "zone_max_active": 2}, "zrwa_zones is larger than zone_max_active"),
        ({"zone_conventional": 8}, "no room for a zone"),
    ],
)
def test_each_thing_that_cannot_be_has_its_own_words(changes: dict[str, int], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        drive(**changes)


def test_the_namespaces_of_a_zoned_device_are_fixed() -> None:
    device = drive()
    with pytest.raises(ValueError):
        device.delete(1)
    with pytest.raises(ValueError):
        device.create(2, 8)


# -- beside the zones ----------------------------------------------------------------------------------------------


def test_what_has_no_zones_is_an_ordinary_namespace() -> None:
    device = drive(count=ZONES + 2, zone_conventional=1)
    assert (device.namespace(2).blocks, device.namespace(1).blocks) == (256, ZONES * SIZE)
    assert do(device, Opcode.WRITE, 100, 8, nsid=2) == do(device, Opcode.WRITE, 50, 8, nsid=2) == Status.SUCCESS
    assert device.written(0, 256, 2).nonzero()[0].tolist() == [*range(50, 58), *range(100, 108)]
    assert not device.written(0, ZONES * SIZE).any()
    for opcode in ZoneOpcode:
        assert do(device, opcode, nsid=2) == Status.INVALID_OPCODE
    for seed in range(4):
        slba = np.random.default_rng(seed).integers(0, 256, 1000)
        assert not device.submit(commands(Opcode.WRITE, slba, nsid=2))["status"].any()
    assert device.stats()["gc_units"] > 0 and device.audit() is None
    device.format(2, 12)
    assert not device.written(0, 256, 2).any()


def test_a_format_empties_all_zones() -> None:
    device = drive()
    for z, state in enumerate((IO, EO, C, F, RO)):
        bring(device, z, state)
    device.format(1, 9)
    assert set(states(device)) == {E} and not device.written(0, ZONES * SIZE * 8).any()
    assert (zoned(device).size, zoned(device).capacity) == (SIZE * 8, CAPACITY * 8)
    assert do(device, Opcode.WRITE, 0, CAPACITY * 8) == Status.SUCCESS


def test_copies_go_to_the_write_pointer() -> None:
    device = drive()
    do(device, Opcode.WRITE, 0, 8)
    copy = commands(Opcode.COPY, [SIZE, SIZE + 1, SIZE + 4], 1)
    sources = np.array([(0, 4), (0, 4), (2, 6)], RANGE)
    assert device.submit(copy, sources)["status"].tolist() == [Status.SUCCESS, Status.ZONE_INVALID_WRITE, Status.SUCCESS]
    assert zones(device)[1].wp == SIZE + 10


def test_deallocation_is_a_hint() -> None:
    device = drive()
    do(device, Opcode.WRITE, 0, 8)
    device.submit(commands(Opcode.DSM, flags=Flag.DEALLOCATE), np.array([(0, 8)], RANGE))
    assert device.written(0, 8).all()


def test_a_read_goes_across_zones_where_the_drive_can() -> None:
    for across, status in ((0, Status.ZONE_BOUNDARY), (1, Status.SUCCESS)):
        assert do(drive(zone_read_across=across), Opcode.READ, SIZE - 1, 2) == status
