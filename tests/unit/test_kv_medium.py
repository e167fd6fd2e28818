# SPDX-License-Identifier: GPL-2.0-or-later
"""Values on their medium: what each thing costs, what survives when the power goes, and that a snapshot goes on the same."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kvdrive import KIB, MIB, UNIT, Shell, drive, keys_of, status
from test_kv import steps

from nvlab.sim import Device, KeyOpcode, Opcode, Status, commands, key_commands, key_space, places

US, MS = 1_000, 1_000_000
SOAK = 50 if os.environ.get("NVLAB_SOAK") else 1
many = settings(deadline=None, max_examples=60 * SOAK)

# One die of one plane, no transfer or firmware time: times are easy to say
PLAIN = {
    "channels": 1, "dies": 1, "read_lsb": 50 * US, "program_lsb": 500 * US, "erase": 3 * MS, "channel_speed": 0,
    "link_speed": 0, "fw_read": 0, "fw_read_large": 0, "fw_write": 0, "fw_write_unit": 0,
}  # fmt: skip


def plain(*, vwc: bool = True, **changes: int) -> Device:
    return drive(vwc=vwc, **PLAIN | changes)


def due(device: Device, opcode: KeyOpcode, key: bytes = b"k", size: int = UNIT, now: int = 0) -> int:
    """When a command is due, ns; it is not refused."""
    decision = device.submit(key_commands(opcode, [key], size, now=now))[0]
    assert decision["status"] == Status.SUCCESS
    return int(decision["target"])


def flushed(device: Device, now: int) -> int:
    return int(device.submit(commands(Opcode.FLUSH, now=now))[0]["target"])


def size_of(device: Device, key: bytes) -> int | None:
    """How large a key's value is; None without it."""
    said, size = status(device, KeyOpcode.RETRIEVE, key)
    return size if said == Status.SUCCESS else None


# -- what things cost ----------------------------------------------------------------------------------------------


def test_a_store_is_due_when_it_is_buffered_or_when_it_is_programmed() -> None:
    assert due(plain(), KeyOpcode.STORE) == 0
    assert due(plain(vwc=False), KeyOpcode.STORE, size=3 * UNIT) == 3 * 500 * US
    assert due(plain(vwc=False, plp=1), KeyOpcode.STORE, size=3 * UNIT) == 0
    assert due(plain(vwc=False), KeyOpcode.STORE, size=0) == 0, "nothing to program"


def test_a_full_buffer_makes_stores_wait() -> None:
    device = plain(buffer=0)
    assert [due(device, KeyOpcode.STORE, b"%d" % i) for i in range(6)] == [0, 0, 0, 0, 500 * US, 1000 * US]


def test_a_retrieve_senses_each_page_once_however_the_value_is_scattered() -> None:
    """What lies on one page was stored together, though its units are any."""
    device = plain(page_size=16384)
    for i in range(8):
        due(device, KeyOpcode.STORE, b"%d" % i, UNIT, now=i)
    for i in range(0, 8, 2):
        due(device, KeyOpcode.DELETE, b"%d" % i, now=10)
    due(device, KeyOpcode.STORE, b"large", 4 * UNIT, now=20)
    flushed(device, 30)
    command = key_commands(KeyOpcode.RETRIEVE, [b"large"], 1 << 20, now=10 * MS)
    assert int(device.submit(command)[0]["target"]) == 10 * MS + 50 * US
    assert len(places(device, command)) == 4, "every other unit"
    assert device.stats()["senses"] == 1
    due(device, KeyOpcode.RETRIEVE, b"large", 100, now=20 * MS)
    assert device.stats()["senses"] == 2, "no more is read than is wanted"


def test_only_what_is_asked_for_goes_over_the_link() -> None:
    device = plain(link_speed=1000)
    due(device, KeyOpcode.STORE, size=10_000)
    flushed(device, 0)
    assert due(device, KeyOpcode.RETRIEVE, size=1000, now=100 * MS) == 100 * MS + 50 * US + 1 * US
    assert due(device, KeyOpcode.RETRIEVE, size=1 << 20, now=200 * MS) == 200 * MS + 150 * US + 10_000 - 8192
    assert due(plain(link_speed=1000), KeyOpcode.STORE, size=10_000) == 10 * US


def test_looking_into_the_index_costs_firmware_time() -> None:
    device = plain(fw_read=7, fw_read_large=11, fw_write=13, fw_write_unit=2)
    assert due(device, KeyOpcode.STORE, size=2 * UNIT) == 13 + 2 * 2
    assert due(device, KeyOpcode.EXIST, now=MS) == MS + 7
    assert due(device, KeyOpcode.LIST, now=MS) == MS + 11
    assert due(device, KeyOpcode.DELETE, now=MS) == MS + 13
    assert due(device, KeyOpcode.DELETE, now=MS) == MS + 13, "there is nothing to delete"
    assert device.stats()["senses"] == 0


def test_what_was_deleted_costs_collection_nothing() -> None:
    """The same stores, with the old values deleted long before or replaced late: what is dead is not copied."""

    def copied(window: int) -> int:
        device = drive(2 * MIB, spare=100, blocks=40)
        for i in range(6000):
            assert status(device, KeyOpcode.STORE, b"%d" % i, UNIT)[0] == Status.SUCCESS
            status(device, KeyOpcode.DELETE, b"%d" % (i - window))
        return device.stats()["gc_units"]

    assert copied(50) == 0, "in the order of their stores"

    device = drive(2 * MIB, spare=100, blocks=40)
    for i in np.random.default_rng(1).integers(0, 480, 6000).tolist():
        status(device, KeyOpcode.STORE, b"%d" % i, UNIT)
    assert device.stats()["gc_units"] > 1000, "at random"


# -- the power goes ------------------------------------------------------------------------------------------------


def test_what_was_neither_flushed_nor_programmed_is_lost_and_the_old_value_is_back() -> None:
    device = plain(page_size=16384)
    due(device, KeyOpcode.STORE, b"kept", 3 * UNIT)
    flushed(device, 0)
    due(device, KeyOpcode.STORE, b"kept", 100, now=10 * MS)
    due(device, KeyOpcode.STORE, b"new", 2 * UNIT, now=10 * MS)
    _, ready = device.cut(10 * MS + 1)
    assert (size_of(device, b"kept"), size_of(device, b"new")) == (3 * UNIT, None)
    assert ready > 10 * MS and device.stats()["lost_units"] == 3 and device.audit() is None
    space = key_space(device)
    assert space and (space.keys, space.used) == (1, 3 * UNIT)


def test_what_was_flushed_or_had_time_to_be_programmed_is_kept() -> None:
    for wait, kept in ((499 * US, None), (500 * US, UNIT)):
        device = plain()
        due(device, KeyOpcode.STORE)
        device.cut(wait)
        assert size_of(device, b"k") == kept
    device = plain(page_size=16384)
    due(device, KeyOpcode.STORE)
    device.cut(flushed(device, 0))
    assert size_of(device, b"k") == UNIT


def test_a_value_of_many_programs_is_all_there_or_not_at_all() -> None:
    for at in (0, 700 * US, 7_900 * US, 8 * MS):
        device = plain(vwc=False)
        due(device, KeyOpcode.STORE, b"k", 100)
        assert due(device, KeyOpcode.STORE, b"k", 16 * UNIT, now=100 * MS) == 108 * MS
        device.cut(100 * MS + at)
        assert size_of(device, b"k") == (16 * UNIT if at == 8 * MS else 100)


def test_several_stores_of_a_key_are_undone_one_after_the_other() -> None:
    device = plain(page_size=16384)
    for size in (1, 2, 3):
        due(device, KeyOpcode.STORE, b"k", size)
        flushed(device, 0) if size == 1 else None
    device.cut(499 * US)
    assert size_of(device, b"k") is None
    device = plain(page_size=16384)
    due(device, KeyOpcode.STORE, b"k", 1)
    flushed(device, 0)
    for size in (2, 3):
        due(device, KeyOpcode.STORE, b"k", size, now=10 * MS)
    device.cut(10 * MS)
    assert size_of(device, b"k") == 1


def test_a_delete_is_kept_and_brings_nothing_back() -> None:
    device = plain(page_size=16384)
    due(device, KeyOpcode.STORE, b"k", 1)
    flushed(device, 0)
    due(device, KeyOpcode.STORE, b"k", 2, now=10 * MS)
    due(device, KeyOpcode.DELETE, b"k", now=10 * MS)
    due(device, KeyOpcode.STORE, b"k", 3, now=10 * MS)
    device.cut(10 * MS)
    assert size_of(device, b"k") is None and keys_of(device) == []


def test_with_power_loss_protection_nothing_is_lost() -> None:
    device = plain(page_size=16384, plp=1)
    due(device, KeyOpcode.STORE, b"k", 2)
    device.cut(0)
    assert size_of(device, b"k") == 2 and device.stats()["lost_units"] == 0


def test_what_is_replaced_on_a_full_device_keeps_its_room_only_while_there_is_more() -> None:
    """Then the newer value is kept, whatever becomes of it."""
    device = drive(MIB, kv_value=64, channels=1, dies=1, program_lsb=4 * 10**9)
    n = (MIB - 64 * KIB) // (64 * KIB)
    for turn in range(3):
        for i in range(n):
            assert due(device, KeyOpcode.STORE, b"%d" % i, 64 * KIB - turn) >= 0
            assert device.audit() is None
    device.cut(0)
    assert device.audit() is None
    assert all((size_of(device, b"%d" % i) or 0) > 64 * KIB - 3 for i in range(n))


@many
@given(st.integers(0, 2**32), st.integers(1, 200), st.booleans())
def test_after_a_cut_each_key_has_what_it_was_told_once(seed: int, n: int, vwc: bool) -> None:
    """And no less than what a flush, or the command's own end, had promised."""
    shell = Shell(drive(vwc=vwc))
    told: dict[bytes, list[tuple[int, int] | None]] = {}
    sure: dict[bytes, int] = {}
    for what, key, size, option in steps(seed, n, 20):
        done = shell.step(what, key, size, option) == Status.SUCCESS
        if done and what == "store":
            told.setdefault(key, [None]).append(shell.oracle[key])
            if not vwc and shell.due <= shell.now + 1:
                sure[key] = len(told[key]) - 1
        elif done and what == "delete" and key in told:
            told[key].append(None)
            sure[key] = len(told[key]) - 1
        elif what == "flush" and vwc and shell.due <= shell.now + 1:
            sure = {each: len(versions) - 1 for each, versions in told.items()}
    shell.device.cut(shell.now + 1)
    assert shell.device.audit() is None
    assert set(keys_of(shell.device)) <= set(told)
    for key, versions in told.items():
        size = size_of(shell.device, key)
        left = [v for v in versions[sure.get(key, 0) :] if (v[0] if v else None) == size]
        assert left, key
        command = key_commands(KeyOpcode.RETRIEVE, [key], 1 << 20)
        origins = {int(shell.memory[unit]) for at, _ in places(shell.device, command) for unit in [at // UNIT]}
        assert not size or origins & {v[1] for v in left if v}


# -- snapshots -----------------------------------------------------------------------------------------------------


@many
@given(st.integers(0, 2**32), st.integers(0, 200), st.integers(1, 100))
def test_a_snapshot_goes_on_the_same(seed: int, before: int, after: int) -> None:
    shell = Shell(drive())
    todo = list(steps(seed, before + after, 30))
    for step in todo[:before]:
        shell.step(*step)
    twin = Device.load(shell.device.save(), shell.device.config)
    for what, key, size, option in todo[before:]:
        opcode = Opcode.FLUSH if what == "flush" else KeyOpcode[what.upper()]
        command = key_commands(opcode, [key], size, option=option, now=shell.now + 1)
        assert shell.device.submit(command) == twin.submit(command)
    assert twin.save() == shell.device.save() and twin.audit() is None


def test_after_it_was_switched_off_in_order_nothing_is_undone() -> None:
    device = plain(page_size=16384)
    due(device, KeyOpcode.STORE, b"k", 2, now=10**12)
    device.wake(5)
    device.cut(6)
    assert size_of(device, b"k") == 2 and device.audit() is None


def test_a_damaged_snapshot_is_refused() -> None:
    shell = Shell(drive())
    for step in steps(1, 200, 30):
        shell.step(*step)
    image = bytearray(shell.device.save())
    image[-1000] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        Device.load(bytes(image), shell.device.config)
