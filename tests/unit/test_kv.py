# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys and values: a dictionary under random operations, sizes and deletes, on a full device too; statuses, space, Lists."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kvdrive import KIB, MIB, UNIT, Shell, do, drive, keys_of, status, store

from nvlab.sim import (
    ALL_NAMESPACES,
    Config,
    Data,
    Device,
    Fault,
    KeyOpcode,
    Kind,
    NamespaceSwitch,
    Opcode,
    Rule,
    Status,
    StoreOption,
    commands,
    key_commands,
    key_list,
    key_space,
    model,
    places,
)

SOAK = 50 if os.environ.get("NVLAB_SOAK") else 1
many = settings(deadline=None, max_examples=80 * SOAK)
OK = Status.SUCCESS


def steps(seed: int, n: int, population: int) -> Iterator[tuple[str, bytes, int, int]]:
    """What to do, with which key, size and option; keys are some of ``population``, of every length."""
    rng = np.random.default_rng(seed)
    keys = [rng.integers(0, 4, int(rng.integers(1, 17))).astype(np.uint8).tobytes() for _ in range(population)]
    what = rng.choice(["store"] * 8 + ["retrieve"] * 5 + ["delete"] * 3 + ["exist", "list", "flush"], n)
    sizes = rng.choice([0, 1, 100, UNIT - 1, UNIT, UNIT + 1, 5000, 20000, 64 * KIB, 64 * KIB + 1], n)
    for each, size in zip(what.tolist(), sizes.tolist(), strict=True):
        yield each, keys[int(rng.integers(0, population))], size, int(rng.choice([0, 0, 0, 1, 2, 3]))


# -- a dictionary --------------------------------------------------------------------------------------------------


@many
@given(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([3, 30, 300]), st.booleans(), st.booleans())
def test_a_device_is_a_dictionary(seed: int, n: int, population: int, vwc: bool, plp: bool) -> None:
    shell = Shell(drive(vwc=vwc, plp=int(plp)))
    for what, key, size, option in steps(seed, n, population):
        shell.step(what, key, size, option)
    shell.check()


@pytest.mark.slow
@settings(deadline=None, max_examples=15 * SOAK)
@given(st.integers(0, 2**32), st.sampled_from([0, 1]), st.integers(0, 4))
def test_so_is_one_that_is_full_and_collects_all_the_time(seed: int, hot_cold: int, policy: int) -> None:
    shell = Shell(drive(MIB, hot_cold=hot_cold, gc_policy=policy, spare=100, blocks=40))
    refused = 0
    for what, key, size, option in steps(seed, 1500, 200):
        refused += shell.step("store" if what == "list" else what, key, size, option) == Status.CAPACITY_EXCEEDED
    shell.check()
    stats = shell.device.stats()
    assert refused and stats["gc_units"] and stats["victims"]


def test_a_value_is_what_was_stored_last_and_only_as_much_as_fits_the_buffer() -> None:
    device = drive()
    assert store(device, b"k", 10_000) == OK and store(device, b"k", 5000) == OK
    command = key_commands(KeyOpcode.RETRIEVE, [b"k"], 100)
    decision = device.submit(command)[0]
    assert (decision["status"], decision["data"], decision["result"]) == (OK, Data.VALUE, 5000)
    assert sum(size for _, size in places(device, command)) == 100
    assert device.submit(key_commands(KeyOpcode.RETRIEVE, [b"k"], 0))[0]["result"] == 5000, "how large it is, without it"


def test_a_value_of_no_bytes_exists_and_takes_no_room() -> None:
    device = drive()
    assert store(device, b"k", 0) == OK
    assert do(device, KeyOpcode.EXIST, b"k") == OK
    space = key_space(device)
    assert space and (space.keys, space.used) == (1, 0)


def test_the_length_is_part_of_a_key_and_what_is_behind_it_is_not() -> None:
    device = drive()
    for key in (b"a", b"a\0", b"a" + bytes(15)):
        assert store(device, key, len(key)) == OK
    dirty = key_commands(KeyOpcode.RETRIEVE, [b"a" + b"xyz" * 5], 100)
    dirty["action"] = 1
    assert device.submit(dirty)[0]["result"] == 1
    assert sorted(keys_of(device)) == [b"a", b"a\0", b"a" + bytes(15)]


# -- statuses, as the Key Value command set 1.0 has them -----------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "exists", "expected"),
    [
        (0, False, OK),
        (0, True, OK),
        (StoreOption.REPLACE, False, Status.KEY_DOES_NOT_EXIST),
        (StoreOption.REPLACE, True, OK),
        (StoreOption.ADD, False, OK),
        (StoreOption.ADD, True, Status.KEY_EXISTS),
        (StoreOption.ADD | StoreOption.REPLACE, False, Status.KEY_DOES_NOT_EXIST),
        (StoreOption.ADD | StoreOption.REPLACE, True, Status.KEY_EXISTS),
        (4, True, OK),  # compression, of which there is none
    ],
)
def test_options_of_store(option: int, exists: bool, expected: Status) -> None:
    device = drive()
    if exists:
        store(device, b"k", 1)
    assert store(device, b"k", 2, option=option) == expected
    assert status(device, KeyOpcode.RETRIEVE, b"k", 9) == (
        (OK, 2) if expected == OK else (OK, 1) if exists else (Status.KEY_DOES_NOT_EXIST, 0)
    )


@pytest.mark.parametrize("opcode", [KeyOpcode.RETRIEVE, KeyOpcode.EXIST])
def test_what_is_not_there_is_not_found(opcode: KeyOpcode) -> None:
    assert do(drive(), opcode, b"k", 10) == Status.KEY_DOES_NOT_EXIST


def test_deleting_nothing_is_an_error_only_if_the_host_wants_it() -> None:
    """Feature 20h, EDNEK."""
    device = drive()
    assert do(device, KeyOpcode.DELETE, b"k") == OK
    device.switch(1, NamespaceSwitch.STRICT_DELETE)
    assert do(device, KeyOpcode.DELETE, b"k") == Status.KEY_DOES_NOT_EXIST
    with pytest.raises(ValueError, match="no meaning"):
        device.switch(1, NamespaceSwitch.DULBE)
    with pytest.raises(ValueError, match="no meaning"):
        Device(Config(8192, 1, Kind.SSD)).switch(1, NamespaceSwitch.STRICT_DELETE)


@pytest.mark.parametrize("opcode", [*KeyOpcode])
def test_keys_have_1_to_16_bytes(opcode: KeyOpcode) -> None:
    device = drive()
    store(device, bytes(16), 1)
    assert do(device, opcode, bytes(17), 4) == Status.INVALID_FIELD
    assert do(device, opcode, b"", 4) == (OK if opcode == KeyOpcode.LIST else Status.INVALID_KEY_SIZE)
    assert do(device, opcode, bytes(16), 4) == OK


def test_a_value_has_a_largest_size() -> None:
    device = drive(kv_value=7)
    assert store(device, b"k", 7 * KIB) == OK
    assert store(device, b"k", 7 * KIB + 1) == Status.INVALID_VALUE_SIZE


def test_a_list_needs_room_for_its_head() -> None:
    assert do(drive(), KeyOpcode.LIST, b"", 3) == Status.INVALID_FIELD


@pytest.mark.parametrize("opcode", [Opcode.COMPARE, Opcode.WRITE_ZEROES, Opcode.DSM, Opcode.COPY, Opcode.VERIFY, 0x7D])
def test_commands_for_blocks_are_none_of_this_command_set(opcode: int) -> None:
    assert drive().submit(commands(opcode, 0, 0))[0]["status"] == Status.INVALID_OPCODE


def test_all_namespaces_are_for_flush_alone() -> None:
    device = drive()
    assert device.submit(commands(Opcode.FLUSH, nsid=ALL_NAMESPACES))[0]["status"] == OK
    command = key_commands(KeyOpcode.EXIST, [b"k"])
    command["nsid"] = ALL_NAMESPACES
    assert device.submit(command)[0]["status"] == Status.INVALID_NAMESPACE


def test_a_protected_namespace_takes_no_changes() -> None:
    device = drive()
    store(device, b"k", 1)
    device.switch(1, NamespaceSwitch.PROTECTED)
    assert store(device, b"k", 1) == do(device, KeyOpcode.DELETE, b"k") == Status.WRITE_PROTECTED
    assert do(device, KeyOpcode.RETRIEVE, b"k", 9) == do(device, KeyOpcode.EXIST, b"k") == OK


def test_its_namespace_is_the_only_one() -> None:
    device = drive()
    with pytest.raises(ValueError, match="no meaning"):
        device.create(2, 100)
    with pytest.raises(ValueError, match="no meaning"):
        device.delete(1)
    assert key_space(device, 2) is None and key_space(Device(Config(8192))) is None


def test_a_format_leaves_nothing() -> None:
    shell = Shell(drive())
    for i in range(100):
        shell.step("store", b"%d" % i, 20_000, 0)
    shell.device.format(1, 12)
    shell.oracle.clear()
    shell.check()
    for i in range(300):
        shell.step("store", b"%d" % i, 30_000, 0)
    shell.check()


# -- space ---------------------------------------------------------------------------------------------------------


def test_space_is_counted_in_units_and_a_full_device_can_still_replace_what_it_has() -> None:
    device = drive(MIB, kv_value=64)
    space = key_space(device)
    assert space and space.capacity == MIB - 64 * KIB
    n = space.capacity // (64 * KIB)
    assert [store(device, b"%d" % i, 64 * KIB) for i in range(n)] == [OK] * n
    space = key_space(device)
    assert space and space.used == space.capacity
    assert store(device, b"new", 1) == Status.CAPACITY_EXCEEDED
    assert store(device, b"new", 0) == OK, "it takes no room"
    for i in range(200):
        assert store(device, b"%d" % (i % n), 64 * KIB - i) == OK
    assert store(device, b"new", 1) == Status.CAPACITY_EXCEEDED, "a unit that is not full is taken whole"
    assert do(device, KeyOpcode.DELETE, b"3") == OK
    assert [store(device, b"new%d" % i, 1) for i in range(17)] == [OK] * 16 + [Status.CAPACITY_EXCEEDED]
    assert device.audit() is None


def test_keys_have_a_largest_number() -> None:
    device = drive(kv_keys=10)
    assert [store(device, b"%d" % i, 1) for i in range(11)] == [OK] * 10 + [Status.CAPACITY_EXCEEDED]
    assert store(device, b"3", 2) == OK
    assert do(device, KeyOpcode.DELETE, b"4") == OK and store(device, b"new", 2) == OK
    space = key_space(device)
    assert space and (space.keys, space.max_keys, space.max_key) == (10, 10, 16)


def test_every_key_has_a_place_up_to_the_last_unit() -> None:
    """One key for each 4 KiB by default; the index is a third empty, however keys meet in it."""
    device = drive(32 * MIB, kv_value=4)
    space = key_space(device)
    assert space and space.max_keys == 8192
    decisions = device.submit(key_commands(KeyOpcode.STORE, [b"%d" % i for i in range(8191)], 4096))
    assert not decisions["status"].any()
    assert device.audit() is None
    decisions = device.submit(key_commands(KeyOpcode.DELETE, [b"%d" % i for i in range(0, 8191, 2)]))
    assert not decisions["status"].any()
    assert device.audit() is None and sorted(keys_of(device)) == sorted(b"%d" % i for i in range(1, 8191, 2))


def test_accounts_are_exact() -> None:
    device = drive(MIB, kv_value=8)
    rng = np.random.default_rng(1)
    for _ in range(20):
        device.submit(key_commands(KeyOpcode.STORE, [b"%d" % i for i in rng.integers(0, 110, 200)], 8000))
    stats = device.stats()
    assert stats["host_units"] == 20 * 200 * 2
    assert stats["programmed_units"] + stats["open_units"] == stats["host_units"] + stats["gc_units"] + stats["pad_units"]
    assert stats["value_units"] == 2 * stats["keys"] and stats["value_bytes"] == 8000 * stats["keys"]
    assert stats["gc_units"] > 0, "what was deleted and replaced is collected"
    counters = device.counters()
    assert counters["stores"] == 4000 and counters["bytes_written"] == 32_000_000


def test_what_there_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="no room for two values of kv_value"):
        drive(MIB, kv_value=1024)
    Device(Config(256, 1, Kind.KV, 12, model=model(kv_value=512)))


# -- lists ---------------------------------------------------------------------------------------------------------


def test_lists_go_on_from_a_key_whether_it_is_there_or_not() -> None:
    device = drive()
    device.submit(key_commands(KeyOpcode.STORE, [b"%d" % i for i in range(100)], 1))
    order = keys_of(device)
    assert sorted(order) == sorted(b"%d" % i for i in range(100))
    assert keys_of(device, start=order[40]) == order[40:], "it is the first, if it is there"
    do(device, KeyOpcode.DELETE, order[40])
    assert keys_of(device, start=order[40]) == order[41:]
    command = key_commands(KeyOpcode.LIST, [order[10]], 4 + 3 * 20)
    device.submit(command)
    assert key_list(device, command) == order[10 : 10 + len(key_list(device, command))]


@many
@given(st.integers(0, 2**32), st.integers(24, 400))
def test_what_is_there_all_the_time_is_listed_once_while_others_come_and_go(seed: int, size: int) -> None:
    device, rng = drive(), np.random.default_rng(seed)
    stays = [b"s%d" % i for i in range(150)]
    device.submit(key_commands(KeyOpcode.STORE, stays, 1))
    found: list[bytes] = []
    last = b""
    while True:
        command = key_commands(KeyOpcode.LIST, [last], size)
        device.submit(command)
        piece = key_list(device, command)
        piece = piece[1:] if piece and piece[0] == last else piece
        if not piece:
            break
        found += piece
        last = piece[-1]
        opcode = KeyOpcode.STORE if rng.integers(0, 2) else KeyOpcode.DELETE
        device.submit(key_commands(opcode, [b"c%d" % i for i in rng.integers(0, 40, 20)], 1))
    assert sorted(key for key in found if key in set(stays)) == sorted(stays)


# -- faults --------------------------------------------------------------------------------------------------------


def test_rules_hit_commands_with_keys_but_not_by_ranges_of_blocks() -> None:
    device = drive()
    device.set_rule(0, Rule(Fault.FAIL, opcode=KeyOpcode.STORE, status=Status.READ_ERROR, count=1))
    device.set_rule(1, Rule(Fault.DELAY, delay=10**9, nlb=1 << 40))
    assert store(device, b"k", 1) == Status.READ_ERROR
    assert do(device, KeyOpcode.EXIST, b"k") == Status.KEY_DOES_NOT_EXIST
    assert int(device.submit(key_commands(KeyOpcode.STORE, [b"k"], 1))[0]["target"]) < 10**9


def test_a_corrupted_byte_is_one_of_the_value() -> None:
    device = drive()
    store(device, b"k", 300)
    store(device, b"none", 0)
    device.set_rule(0, Rule(Fault.CORRUPT))
    hit = device.submit(key_commands(KeyOpcode.RETRIEVE, [b"k"] * 200, 1 << 16))
    assert (hit["fault"] == Fault.CORRUPT).all() and hit["corrupt"].max() < 300 and len(set(hit["corrupt"])) > 50
    others = device.submit(key_commands(KeyOpcode.RETRIEVE, [b"none"], 100)), device.submit(key_commands(KeyOpcode.EXIST, [b"k"]))
    assert not any(each["fault"].any() for each in others)


def test_a_lost_store_stores_nothing() -> None:
    device = drive()
    device.set_rule(0, Rule(Fault.DROP, opcode=KeyOpcode.STORE))
    store(device, b"k", 300)
    assert do(device, KeyOpcode.EXIST, b"k") == Status.KEY_DOES_NOT_EXIST
