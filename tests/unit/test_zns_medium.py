# SPDX-License-Identifier: GPL-2.0-or-later
"""Zones on their medium: what each thing costs, what survives when the power goes, and that a snapshot goes on the same."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoned import ACTIVE, EO, IO, RESTART, RESTART_UNWRITTEN, C, E, F, Limits
from zonedrive import CAPACITY, SIZE, ZONES, Shell, do, drive, limits, send, states, stream

from nvlab.sim import Device, Flag, Opcode, Status, ZoneAction, ZoneOpcode, commands, zones

US = 1_000
MS = 1_000_000
SOAK = 100 if os.environ.get("NVLAB_SOAK") else 1
many = settings(deadline=None, max_examples=60 * SOAK)

# One die of one plane, a page a program, no transfer or firmware time: times are easy to say
PLAIN = {
    "channels": 1, "dies": 1, "read_lsb": 50 * US, "program_lsb": 500 * US, "erase": 3 * MS, "channel_speed": 0,
    "link_speed": 0, "fw_read": 0, "fw_read_large": 0, "fw_write": 0, "fw_write_unit": 0,
}  # fmt: skip


def plain(*, vwc: bool = True, **changes: int) -> Device:
    return drive(vwc=vwc, **PLAIN | changes)


def due(device: Device, opcode: int, slba: int = 0, nlb: int = 1, **more: int) -> int:
    """When a command is due, ns; it is not refused."""
    decision = device.submit(commands(opcode, slba, nlb, **more))[0]
    assert decision["status"] == Status.SUCCESS
    return int(decision["target"])


def done(device: Device, action: ZoneAction, z: int = 0, **more: int) -> int:
    return due(device, ZoneOpcode.SEND, z * SIZE, 0, action=action, **more)


# -- what things cost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [Opcode.WRITE, ZoneOpcode.APPEND])
def test_a_write_is_due_when_it_is_buffered_and_with_fua_when_it_is_programmed(opcode: int) -> None:
    assert due(plain(), opcode) == 0
    assert due(plain(), opcode, flags=Flag.FUA) == 500 * US
    assert due(plain(vwc=False), opcode, nlb=3) == 3 * 500 * US
    assert due(plain(vwc=False, plp=1), opcode, nlb=3) == 0


def test_an_append_costs_what_a_write_does() -> None:
    same = {"fw_write": 7 * US, "fw_write_unit": 100, "link_speed": 1000, "channel_speed": 400}
    assert due(plain(**same), ZoneOpcode.APPEND, nlb=20) == due(plain(**same), Opcode.WRITE, nlb=20)


def test_a_full_buffer_makes_writes_wait_for_programs() -> None:
    """Four programs fit (the least); each further write waits for one more of the only die."""
    device = plain(buffer=0)
    assert [due(device, ZoneOpcode.APPEND) for _ in range(6)] == [0, 0, 0, 0, 500 * US, 1000 * US]


def test_a_zone_fills_no_more_of_the_buffer_than_it_may() -> None:
    device = plain(channels=2, zone_dies=1, buffer=64, zone_buffer=8)
    assert [due(device, ZoneOpcode.APPEND) for _ in range(4)] == [0, 0, 500 * US, 1000 * US]
    assert due(device, ZoneOpcode.APPEND, SIZE) == 0, "another zone, on the other die"


def test_zones_on_dies_of_their_own_do_not_wait_for_each_other() -> None:
    for dies, last in ((1, 500 * US), (0, 1000 * US)):
        device = plain(channels=2, zone_dies=dies)
        due(device, Opcode.WRITE, 0, 1, flags=Flag.FUA)
        assert due(device, Opcode.WRITE, SIZE, 1, flags=Flag.FUA) == last


def test_what_a_flush_saves_of_a_word_is_programmed_again_when_the_word_is_full() -> None:
    device = plain(page_size=16384)
    due(device, ZoneOpcode.APPEND)
    assert due(device, Opcode.FLUSH, now=7) == 7 + 500 * US
    assert due(device, Opcode.FLUSH, now=10 * MS) == 10 * MS, "it is saved"
    assert due(device, ZoneOpcode.APPEND, nlb=3, flags=Flag.FUA, now=20 * MS) == 20 * MS + 500 * US
    stats = device.stats()
    assert (stats["programs"], stats["host_units"], stats["pad_units"]) == (2, 4, 4)


def test_a_read_costs_a_sense_unless_it_is_buffered_or_was_never_written() -> None:
    device = plain(page_size=16384)
    due(device, ZoneOpcode.APPEND, nlb=9, now=0)
    assert due(device, Opcode.READ, 8, now=100 * MS) == 100 * MS, "in the word that is gathered"
    assert due(device, Opcode.READ, 9, now=110 * MS) == 110 * MS, "behind the write pointer"
    assert due(device, Opcode.READ, 0, 8, now=120 * MS) == 120 * MS + 2 * 50 * US, "two pages of one die"
    assert device.stats()["senses"] == 2


def test_a_reset_costs_an_erase_of_what_was_written() -> None:
    device = plain(channels=2, dies=2, pages=16)
    assert done(device, ZoneAction.RESET) == 0, "an empty zone"
    due(device, ZoneOpcode.APPEND, nlb=2, flags=Flag.FUA)
    assert done(device, ZoneAction.RESET, now=MS) == 4 * MS
    due(device, ZoneOpcode.APPEND, nlb=CAPACITY, now=10 * MS)
    begin = int(device.times().max())
    assert done(device, ZoneAction.RESET, now=begin) == begin + CAPACITY // 4 // 16 * 3 * MS, "three blocks of each die"
    assert (device.stats()["erases"], device.stats()["zone_erases"]) == (2, 2)


def test_a_reset_stalls_no_other_zone_but_what_is_written_to_its_own_waits() -> None:
    """The erase is done in the die's spare time, though there is but one die."""
    device = plain()
    due(device, ZoneOpcode.APPEND, 0, 4, flags=Flag.FUA)
    due(device, ZoneOpcode.APPEND, SIZE, 4, flags=Flag.FUA)
    assert done(device, ZoneAction.RESET, now=100 * MS) == 103 * MS
    assert due(device, Opcode.READ, SIZE, now=101 * MS) == 101 * MS + 50 * US
    assert due(device, ZoneOpcode.APPEND, SIZE, flags=Flag.FUA, now=101 * MS) == 101 * MS + 550 * US
    assert due(device, ZoneOpcode.APPEND, 0, flags=Flag.FUA, now=101 * MS) == 103 * MS + 500 * US


def test_a_reset_of_all_zones_erases_side_by_side() -> None:
    device = plain(channels=4, zone_dies=1)
    for z in range(4):
        due(device, ZoneOpcode.APPEND, z * SIZE, flags=Flag.FUA)
    assert done(device, ZoneAction.RESET, flags=Flag.ALL_ZONES, now=10 * MS) == 13 * MS


def test_to_finish_a_zone_is_to_program_the_rest_of_it() -> None:
    """The less it holds the longer, as drives do it; or not at all."""
    for held in (0, 50, CAPACITY - 1):
        device = plain()
        if held:
            due(device, Opcode.WRITE, 0, held, flags=Flag.FUA)
        assert done(device, ZoneAction.FINISH, now=500 * MS) == 500 * MS + (CAPACITY - held) * 500 * US
        assert device.stats()["pad_units"] == CAPACITY - held
    assert done(plain(zone_finish=0), ZoneAction.FINISH, now=7) == 7


def test_a_finished_zone_is_erased_as_a_whole() -> None:
    device = plain(pages=16)
    done(device, ZoneAction.FINISH)
    assert done(device, ZoneAction.RESET, now=500 * MS) == 500 * MS + CAPACITY // 16 * 3 * MS


@pytest.mark.parametrize("action", [ZoneAction.OPEN, ZoneAction.CLOSE, ZoneAction.SET_EXTENSION])
def test_other_actions_cost_firmware_alone(action: ZoneAction) -> None:
    device = plain(fw_write=5 * US, zone_extension=1)
    if action == ZoneAction.CLOSE:
        due(device, ZoneOpcode.APPEND)
    assert done(device, action, now=MS) == MS + 5 * US


def test_a_random_write_area_takes_writes_without_a_program_until_they_are_committed() -> None:
    device = plain(vwc=False, zrwa_zones=1, zrwa_size=32, zrwa_flush=16)
    send(device, ZoneAction.OPEN, flags=Flag.ZRWA)
    for _ in range(5):
        assert due(device, Opcode.WRITE, 0, 8) == 0
    assert (device.stats()["programs"], zones(device)[0].wp) == (0, 0)
    assert due(device, Opcode.WRITE, 8, 1) == 0
    assert (device.stats()["programs"], zones(device)[0].wp) == (4, 4), "one grain was committed for it"
    assert due(device, ZoneOpcode.SEND, 7, 0, action=ZoneAction.FLUSH_ZRWA, now=MS) == MS, "it is in the buffer"
    assert (device.stats()["programs"], zones(device)[0].wp) == (8, 8)


def test_zones_and_what_has_none_share_the_dies() -> None:
    device = drive(count=ZONES + 2, zone_conventional=1, **PLAIN)
    due(device, Opcode.WRITE, 0, 4, nsid=2, flags=Flag.FUA)
    assert due(device, ZoneOpcode.APPEND, flags=Flag.FUA, now=100 * US) == 5 * 500 * US


def test_a_failing_medium_takes_zones_away_and_nothing_else() -> None:
    """Programs and erases that fail: every zone ends read-only or offline, and what was written can be read until then."""
    device = drive(program_fail=20_000, erase_fail=20_000)
    for _ in range(60):
        for z, zone in enumerate(zones(device)):
            if zone.state in ACTIVE | {E}:
                do(device, ZoneOpcode.APPEND, z * SIZE, min(64, z * SIZE + CAPACITY - zone.wp))
            elif zone.state == F:
                send(device, ZoneAction.RESET, z)
            assert device.audit() is None
    assert not ACTIVE & {*states(device)} and device.counters()["zone_changes"] == ZONES


# -- when the power goes -------------------------------------------------------------------------------------------


def promised(shell: Shell, flags: int) -> bool:
    """Whether what is written is kept from when the command is due."""
    model = shell.device.config.model
    return bool(model["plp"] or not shell.device.config.vwc or flags & Flag.FUA)


@many
@given(limits, st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 1), st.integers(0, 3 * MS))
def test_a_zone_keeps_what_was_flushed_and_loses_only_its_end(said: Limits, seed: int, vwc: bool, plp: int, later: int) -> None:
    """States are those of the standard's initial states; write pointers go back, to no less than what was promised."""
    shell = Shell(said, vwc=vwc, plp=plp)
    kept: list[tuple[int, int, int]] = []  # from when, which zone, how far
    rng = np.random.default_rng(seed)
    for step in stream(seed, 60):
        shell.step(*step)
        for z, zone in enumerate(shell.oracle.zones):
            kept = [each for each in kept if each[1] != z or each[2] <= zone.wp]
        if shell.status == Status.SUCCESS and step[0] in ("write", "append") and promised(shell, 0):
            kept.append((shell.due, step[1], shell.oracle.zones[step[1]].wp))
        if rng.integers(0, 10) == 0:
            shell.do(Opcode.FLUSH, 0, 0)
            if vwc:
                kept += [(shell.due, z, zone.wp) for z, zone in enumerate(shell.oracle.zones)]
    check_cut(shell, [(z, wp) for when, z, wp in kept if when <= shell.now + later], shell.now + later)


def check_cut(shell: Shell, owed: list[tuple[int, int]], now: int) -> None:
    before, content = shell.oracle.zones, shell.content()
    shell.device.cut(now)
    assert shell.device.audit() is None
    after = shell.content()
    for z, (was, found) in enumerate(zip(before, zones(shell.device), strict=True)):
        wp, start = found.wp - found.start, z * SIZE
        safe = shell.device.config.model["plp"] or was.zrwa
        assert max([each for zone, each in owed if zone == z], default=0) <= wp <= was.wp or was.state == F
        assert wp == was.wp or was.state == F or not safe
        unwritten = not wp and not was.extended and not was.zrwa
        table = RESTART_UNWRITTEN if unwritten and was.state in RESTART_UNWRITTEN else RESTART
        assert found.state == table[was.state]
        expected = content[start : start + SIZE].copy()
        if wp != was.wp and was.state != F:
            expected[wp:] = 0
        if was.state == F:  # a prefix, as long as it must be
            expected[wp:] = 0 if wp < expected.nonzero()[0].max(initial=-1) + 1 else expected[wp:]
        assert np.array_equal(after[start : start + SIZE], expected)


def test_the_write_pointer_goes_back_to_the_first_program_that_was_under_way() -> None:
    device = plain()
    due(device, Opcode.WRITE, 0, 10)
    device.cut(3 * 500 * US)
    assert zones(device)[0].wp == 3 and states(device)[0] == C
    assert device.written(0, 12).tolist() == [True] * 3 + [False] * 9
    assert device.stats()["lost_units"] == 7
    assert do(device, Opcode.WRITE, 3) == Status.SUCCESS


def test_what_a_flush_saved_of_a_word_survives() -> None:
    device = plain(page_size=16384)
    due(device, ZoneOpcode.APPEND, nlb=6)
    flushed = due(device, Opcode.FLUSH)
    due(device, ZoneOpcode.APPEND, nlb=1)
    for when, wp in ((0, 0), (flushed - 1, 4), (flushed, 6)):
        copy = Device.load(device.save(), device.config)
        copy.cut(when)
        assert zones(copy)[0].wp == wp


@pytest.mark.parametrize("opcode", [Opcode.READ, Opcode.COMPARE, Opcode.VERIFY])
def test_what_was_read_with_fua_survives_and_what_was_read_without_does_not(opcode: Opcode) -> None:
    for flags, wp, took in ((0, 0, 0), (Flag.FUA, 6, 2 * 500 * US)):
        device = plain(page_size=16384)
        due(device, ZoneOpcode.APPEND, nlb=6)
        read = due(device, opcode, 5, flags=flags)
        assert read == took
        device.cut(read)
        assert zones(device)[0].wp == wp


def test_a_read_with_fua_of_what_a_zone_would_keep_waits_for_nothing() -> None:
    device = plain(page_size=16384)
    due(device, ZoneOpcode.APPEND, nlb=6)
    device.submit(commands(Opcode.FLUSH))
    due(device, ZoneOpcode.APPEND, nlb=1, now=10 * MS)
    due(device, ZoneOpcode.APPEND, SIZE, 1, now=10 * MS)
    assert due(device, Opcode.READ, 0, 4, now=10 * MS, flags=Flag.FUA) == 10 * MS + 50 * US
    device.cut(11 * MS)
    assert [zone.wp - zone.start for zone in zones(device)][:2] == [6, 0]


def test_a_drive_is_as_worn_as_the_zone_that_was_erased_most() -> None:
    device = plain(endurance=8)
    for _ in range(3):
        due(device, Opcode.WRITE, SIZE)
        due(device, Opcode.FLUSH)
        done(device, ZoneAction.FINISH, 1)
        done(device, ZoneAction.RESET, 1)
    assert device.health() == {"spare": 100, "used": 300 // 8, "read_only": 0}


def test_after_a_cut_a_device_takes_what_it_took_before() -> None:
    """Limits are kept: what is closed then counts as active."""
    device = drive(zone_max_active=3)
    for z in range(3):
        due(device, ZoneOpcode.APPEND, z * SIZE, flags=Flag.FUA)
    _, ready = device.cut(10**9)
    assert states(device)[:4] == [C, C, C, E] and ready >= 10**9 + 100 * MS
    assert do(device, ZoneOpcode.APPEND, 3 * SIZE, now=ready) == Status.TOO_MANY_ACTIVE
    assert do(device, ZoneOpcode.APPEND, 2 * SIZE, now=ready) == Status.SUCCESS


def test_switched_off_in_order_a_device_loses_nothing_and_begins_as_the_standard_says() -> None:
    device = drive()
    for z, state in enumerate((IO, EO, C, F)):
        do(device, Opcode.WRITE, z * SIZE, CAPACITY if state == F else 6)
    send(device, ZoneAction.OPEN, 1)
    send(device, ZoneAction.CLOSE, 2)
    send(device, ZoneAction.OPEN, 4)
    device.wake(5)
    assert states(device)[:6] == [RESTART[IO], RESTART[EO], RESTART[C], RESTART[F], RESTART_UNWRITTEN[EO], E]
    assert device.audit() is None and device.stats()["lost_units"] == 0
    assert device.written(0, SIZE).sum() == 6


# -- the same again ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@many
@given(limits, st.integers(0, 2**32 - 1), st.integers(1, 100))
def test_a_restored_snapshot_goes_on_as_if_nothing_had_been(said: Limits, seed: int, after: int) -> None:
    kept, moved = Shell(said, program_fail=3000, erase_fail=3000), Shell(said, program_fail=3000, erase_fail=3000)
    for n, step in enumerate(stream(seed, 100)):
        if n == after:
            moved.device = Device.load(moved.device.save(), moved.device.config)
        opcode = {"write": Opcode.WRITE, "append": ZoneOpcode.APPEND, "read": Opcode.READ}.get(step[0], ZoneOpcode.SEND)
        wp = zones(kept.device)[step[1]].wp
        slba = wp - step[2] - 1 if step[2] < 0 else step[1] * SIZE + step[2]
        cmd = commands(opcode, slba % (ZONES * SIZE), step[3], now=n * 100 * US, action=abs(step[2]) % 6)
        assert np.array_equal(kept.device.submit(cmd), moved.device.submit(cmd))
    assert kept.device.stats() == moved.device.stats() and kept.device.counters() == moved.device.counters()
    assert zones(kept.device) == zones(moved.device)
    assert np.array_equal(kept.device.times(), moved.device.times())
