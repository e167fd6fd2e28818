# SPDX-License-Identifier: GPL-2.0-or-later
"""The core against a device written down in plain Python: every number equal, for any sequence of commands."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.sim import (
    ALL_NAMESPACES,
    COMMAND,
    DECISION,
    MAX_BLOCKS,
    MAX_NAMESPACES,
    MAX_RANGES,
    MAX_SOURCES,
    RANGE,
    Config,
    Data,
    Device,
    Flag,
    Opcode,
    Rule,
    Status,
    Timing,
    commands,
)
from nvlab.sim._core import ffi
from nvlab.sim.structs import WITH_RANGES

US = 1_000
SOAK = 100 if os.environ.get("NVLAB_SOAK") else 1

# A loaded machine is no reason to fail
many = settings(deadline=None, max_examples=100 * SOAK)


@dataclass
class Oracle:
    """What ``kmod/core`` promises of a device as new, without its data structures: sets of blocks, a list of servers."""

    config: Config
    timing: Timing = field(init=False)
    written: set[int] = field(default_factory=set)
    bad: set[int] = field(default_factory=set)
    busy: dict[int, int] = field(default_factory=dict)
    written_at: int = 0
    now: int = 0
    seq: int = 0

    def __post_init__(self) -> None:
        self.timing = self.config.timing

    def submit(self, cmd: np.void, ranges: list[tuple[int, int]]) -> tuple[int, int, Status, Data]:
        self.seq += 1
        self.now = max(self.now, int(cmd["now"]))
        status = self.status(cmd, ranges)
        if status is not Status.SUCCESS:
            return self.seq, self.now, status, Data.NONE
        return self.seq, self.target(cmd, ranges), status, self.data(cmd, ranges)

    def status(self, cmd: np.void, ranges: list[tuple[int, int]]) -> Status:
        opcode, nsid, slba, nlb = (int(cmd[name]) for name in ("opcode", "nsid", "slba", "nlb"))
        if opcode not in list(Opcode):
            return Status.INVALID_OPCODE
        if opcode == Opcode.FLUSH and nsid == ALL_NAMESPACES:
            return Status.SUCCESS
        if not 1 <= nsid <= MAX_NAMESPACES:
            return Status.INVALID_NAMESPACE
        if nsid != 1:
            return Status.INVALID_FIELD
        if opcode == Opcode.FLUSH:
            return Status.SUCCESS
        if opcode == Opcode.COPY:
            return self.copy_status(slba, ranges)
        if not 1 <= nlb <= (MAX_RANGES if opcode == Opcode.DSM else MAX_BLOCKS):
            return Status.INVALID_FIELD
        touched = ranges if opcode == Opcode.DSM else [(slba, nlb)]
        if not self.inside(touched):
            return Status.LBA_OUT_OF_RANGE
        reads = opcode in (Opcode.READ, Opcode.COMPARE, Opcode.VERIFY)
        return Status.READ_ERROR if reads and self.bad & blocks_of(touched) else Status.SUCCESS

    def copy_status(self, slba: int, ranges: list[tuple[int, int]]) -> Status:
        length = sum(count for _, count in ranges)
        if len(ranges) > MAX_SOURCES:
            return Status.COPY_LIMIT
        if not ranges or not all(count for _, count in ranges):
            return Status.INVALID_FIELD
        if length << self.config.block_shift > 1 << 20:
            return Status.COPY_LIMIT
        if not self.inside([*ranges, (slba, length)]):
            return Status.LBA_OUT_OF_RANGE
        for source in ranges:
            if blocks_of([source]) & blocks_of([(slba, length)]):
                return Status.OVERLAP
            if blocks_of([source]) & self.bad:
                return Status.READ_ERROR
        return Status.SUCCESS

    def inside(self, touched: list[tuple[int, int]]) -> bool:
        return all(first + count <= self.config.blocks for first, count in touched)

    def target(self, cmd: np.void, ranges: list[tuple[int, int]]) -> int:
        opcode, slba, nlb = (int(cmd[name]) for name in ("opcode", "slba", "nlb"))
        if opcode == Opcode.FLUSH:
            return max(self.now, self.written_at) if self.config.vwc else self.now
        if opcode in (Opcode.READ, Opcode.COMPARE, Opcode.VERIFY):
            return self.read(slba, nlb)
        if opcode == Opcode.DSM and not cmd["flags"] & Flag.DEALLOCATE:
            return self.now
        begin = max([self.now, *(self.read(*source) for source in ranges)]) if opcode == Opcode.COPY else self.now
        if opcode == Opcode.DSM:
            slba = ranges[0][0]
        length = {Opcode.WRITE: nlb, Opcode.COPY: sum(count for _, count in ranges)}.get(Opcode(opcode), 1)
        end = self.occupy(begin, slba, length, self.timing.write_delay, self.timing.write_time)
        self.written_at = max(self.written_at, end)
        return end

    def read(self, slba: int, nlb: int) -> int:
        return self.occupy(self.now, slba, nlb, self.timing.read_delay, self.timing.read_time)

    def occupy(self, begin: int, slba: int, nlb: int, delay: int, time: int) -> int:
        first, last = ((block << self.config.block_shift) for block in (slba, slba + nlb))
        units = range(first >> self.timing.unit_shift, (last - 1 >> self.timing.unit_shift) + 1)
        touched = [unit % self.timing.units for unit in units]
        end = max(begin, self.busy.get(touched[0], 0)) + delay
        for server in touched:
            end = max(end, self.busy.get(server, 0)) + time
            self.busy[server] = end
        return end

    def data(self, cmd: np.void, ranges: list[tuple[int, int]]) -> Data:
        opcode = Opcode(cmd["opcode"])
        if opcode == Opcode.FLUSH:
            return Data.NONE
        blocks = blocks_of([(int(cmd["slba"]), int(cmd["nlb"]))]) if opcode not in (Opcode.DSM, Opcode.COPY) else set()
        held = len(blocks & self.written)
        if opcode in (Opcode.READ, Opcode.COMPARE):
            return Data.ZERO if not held else Data.COPY if held == len(blocks) else Data.MIXED
        if opcode == Opcode.WRITE:
            self.written |= blocks
            self.bad -= blocks
            return Data.COPY if held == len(blocks) else Data.FRESH
        if opcode == Opcode.WRITE_UNCORRECTABLE:
            self.bad |= blocks
        elif opcode == Opcode.WRITE_ZEROES or (opcode == Opcode.DSM and cmd["flags"] & Flag.DEALLOCATE):
            gone = blocks or blocks_of(ranges)
            self.written -= gone
            self.bad -= gone
        elif opcode == Opcode.COPY:
            return self.copy(int(cmd["slba"]), ranges)
        return Data.NONE

    def copy(self, slba: int, ranges: list[tuple[int, int]]) -> Data:
        sources = [block for first, count in ranges for block in range(first, first + count)]
        copied = {slba + n for n, block in enumerate(sources) if block in self.written}
        before = copied <= self.written
        destination = blocks_of([(slba, len(sources))])
        self.written = self.written - destination | copied
        self.bad -= destination
        return Data.COPY if before else Data.FRESH


def blocks_of(ranges: list[tuple[int, int]]) -> set[int]:
    """All blocks of some ranges (first, count)."""
    return {block for first, count in ranges for block in range(first, first + count)}


BLOCKS = 3 * 4096 + 100  # three chunks of the map and a part of one

timings = st.builds(
    Timing,
    read_delay=st.integers(0, 10_000),
    read_time=st.integers(0, 10_000),
    write_delay=st.integers(0, 10_000),
    write_time=st.integers(0, 2**32 - 1),
    units=st.sampled_from([1, 2, 3, 8, 1024]),
    unit_shift=st.integers(12, 16),
)
configs = st.builds(
    Config, blocks=st.just(BLOCKS), block_shift=st.sampled_from([9, 12]), vwc=st.booleans(), timing=timings
)
lbas = st.one_of(st.integers(0, BLOCKS + 10), st.sampled_from([4095, 4096, 2**63, 2**64 - 1]))
lengths = st.one_of(st.integers(0, 40), st.sampled_from([4096, 8192, BLOCKS, 65536, 65537, 2**32 - 1]))
range_lists = st.lists(st.tuples(lbas, lengths), max_size=4)
copy_lists = st.one_of(st.lists(st.tuples(st.integers(0, BLOCKS), st.integers(0, 40)), max_size=4), range_lists)


@st.composite
def streams(draw: st.DrawFn) -> tuple[np.ndarray, list[list[tuple[int, int]]]]:
    """Commands as a hostile host sends them, and for each its Dataset Management or Copy ranges."""
    rows, owned = [], []
    for _ in range(draw(st.integers(1, 30))):
        opcode = draw(st.one_of(st.sampled_from(list(Opcode)), st.integers(0, 255)))
        listed = opcode in WITH_RANGES
        ranges = draw(copy_lists if opcode == Opcode.COPY else range_lists) if listed else []
        nlb = len(ranges) if listed else draw(lengths)
        nsid = draw(st.sampled_from([1, 1, 1, 1, 1, 1, 0, 2, MAX_NAMESPACES + 1, ALL_NAMESPACES]))
        rows.append((draw(st.integers(0, 10**6)), draw(lbas), nlb, nsid, opcode, draw(st.integers(0, 3)), 1, 0, 0, 0, 0))
        owned.append(ranges)
    return np.array(rows, COMMAND), owned


def flatten(owned: list[list[tuple[int, int]]]) -> np.ndarray:
    return np.array([pair for ranges in owned for pair in ranges], RANGE)


def plain(decisions: np.ndarray) -> list[tuple[int, ...]]:
    """What an oracle without fault rules says of each command."""
    assert not decisions["fault"].any() and not decisions["corrupt"].any()
    return [tuple(map(int, row)) for row in decisions[["seq", "target", "status", "data"]]]


@many
@given(configs, streams())
def test_every_decision_equals_the_oracle(config: Config, stream) -> None:
    cmds, owned = stream
    device, oracle = Device(config), Oracle(config)
    expected = [oracle.submit(cmd, ranges) for cmd, ranges in zip(cmds, owned, strict=True)]
    decisions = device.submit(cmds, flatten(owned))
    assert plain(decisions) == [tuple(map(int, row)) for row in expected]
    assert set(np.flatnonzero(device.written(0, BLOCKS))) == oracle.written
    assert set(np.flatnonzero(~device.readable(0, BLOCKS))) == oracle.bad


@many
@given(configs, streams())
def test_a_batch_equals_one_by_one(config: Config, stream) -> None:
    cmds, owned = stream
    whole, single = Device(config), Device(config)
    batch = whole.submit(cmds, flatten(owned))
    alone = [single.submit(cmds[i : i + 1], flatten(owned[i : i + 1])) for i in range(len(cmds))]
    assert np.array_equal(batch, np.concatenate(alone))
    assert whole.counters() == single.counters()


@many
@given(configs, streams())
def test_a_command_that_fails_changes_nothing(config: Config, stream) -> None:
    """Left out, failed commands leave the same targets, map and counters behind; only time has passed."""
    cmds, owned = stream
    cmds["now"] = np.maximum.accumulate(cmds["now"])
    with_failures, without = Device(config), Device(config)
    decisions = with_failures.submit(cmds, flatten(owned))
    good = decisions["status"] == Status.SUCCESS
    kept = without.submit(cmds[good], flatten([r for r, g in zip(owned, good, strict=True) if g]))
    assert np.array_equal(kept["target"], decisions["target"][good])
    assert np.array_equal(with_failures.written(0, BLOCKS), without.written(0, BLOCKS))
    failed = {
        "errors": int((~good).sum()),
        "media_errors": int((decisions["status"] == Status.READ_ERROR).sum()),
    }
    assert with_failures.counters() == without.counters() | failed


@many
@given(configs, streams())
def test_nothing_is_due_before_its_time(config: Config, stream) -> None:
    cmds, owned = stream
    decisions = Device(config).submit(cmds, flatten(owned))
    done = decisions["status"] == Status.SUCCESS
    for opcode, delay, time in (
        (Opcode.READ, config.timing.read_delay, config.timing.read_time),
        (Opcode.WRITE, config.timing.write_delay, config.timing.write_time),
    ):
        picked = done & (cmds["opcode"] == opcode)
        assert (decisions["target"][picked] >= cmds["now"][picked] + delay + time).all()
    assert (decisions["target"] >= cmds["now"]).all()


@many
@given(configs, streams(), timings, st.integers(0, 2**20))
def test_a_live_change_of_timing_counts_from_the_next_command(config, stream, timing, now) -> None:
    cmds, owned = stream
    half = len(cmds) // 2
    device, oracle = Device(config), Oracle(config)
    targets = list(device.submit(cmds[:half], flatten(owned[:half]))["target"])
    device.set_timing(timing, now)
    targets += list(device.submit(cmds[half:], flatten(owned[half:]))["target"])

    expected = [oracle.submit(c, r)[1] for c, r in zip(cmds[:half], owned[:half], strict=True)]
    oracle.timing, oracle.now = timing, max(oracle.now, now)
    expected += [oracle.submit(c, r)[1] for c, r in zip(cmds[half:], owned[half:], strict=True)]
    assert targets == expected
    assert device.seq == len(cmds) + 1


edges = st.one_of(st.sampled_from([0, 1, 63, 64, 65, 4095, 4096, 4097, 8191, 8192]), st.integers(0, BLOCKS))


@many
@given(st.lists(st.tuples(st.sampled_from(["write", "zero", "deallocate"]), edges, edges), max_size=12))
def test_the_map_of_written_blocks_at_its_inner_edges(changes: list[tuple[str, int, int]]) -> None:
    device, expected = Device(Config(blocks=BLOCKS)), np.zeros(BLOCKS, bool)
    for change, a, b in changes:
        slba, nlb = min(a, b), max(abs(a - b), 1) if min(a, b) < BLOCKS else 0
        if change == "deallocate":
            device.submit(commands(Opcode.DSM, flags=Flag.DEALLOCATE), np.array([(slba, nlb)], RANGE))
        elif nlb:
            device.submit(commands(Opcode.WRITE if change == "write" else Opcode.WRITE_ZEROES, slba, nlb))
        expected[slba : slba + nlb] = change == "write"
    assert np.array_equal(device.written(0, BLOCKS), expected)


def test_a_deallocation_is_one_unit_of_work_and_a_hint_is_none() -> None:
    device = Device(Config(blocks=1024, timing=Timing(write_delay=5 * US, write_time=2 * US)))
    hint, real = device.submit(
        commands(Opcode.DSM, nlb=2, flags=[0, Flag.DEALLOCATE]), np.array([(0, 800), (0, 8)] * 2, RANGE)
    )
    assert (hint["target"], real["target"]) == (0, 7 * US)


def test_reads_on_different_units_overlap_and_on_one_unit_queue() -> None:
    device = Device(Config(blocks=1024, timing=Timing(read_delay=10 * US, read_time=2 * US, units=4)))
    apart = device.submit(commands(Opcode.READ, [0, 8, 16, 24], 8))
    assert list(apart["target"]) == [12 * US] * 4
    behind = device.submit(commands(Opcode.READ, [32, 32], 8))
    assert list(behind["target"]) == [24 * US, 36 * US]


def test_a_read_costs_each_unit_it_touches() -> None:
    device = Device(Config(blocks=1024, timing=Timing(read_time=2 * US, units=4)))
    assert device.submit(commands(Opcode.READ, 4, 8))["target"][0] == 4 * US  # half of two units


def test_a_unit_may_be_smaller_than_a_block() -> None:
    timing = Timing(read_time=2 * US, units=3, unit_shift=9)
    device = Device(Config(blocks=1024, block_shift=12, timing=timing))
    assert device.submit(commands(Opcode.READ))["target"][0] == 8 * 2 * US


def test_zero_timing_is_due_on_arrival() -> None:
    device = Device(Config(blocks=1024))
    decisions = device.submit(commands([Opcode.READ, Opcode.WRITE, Opcode.FLUSH], now=[5, 6, 7]))
    assert list(decisions["target"]) == [5, 6, 7]


def test_time_that_runs_backwards_is_taken_as_the_latest_seen() -> None:
    device = Device(Config(blocks=1024))
    assert list(device.submit(commands(Opcode.READ, now=[100, 40]))["target"]) == [100, 100]


@pytest.mark.parametrize(("vwc", "due"), [(True, 9 * US), (False, 1 * US)])
def test_flush_waits_for_writes_under_way_where_there_is_a_cache(vwc: bool, due: int) -> None:
    device = Device(Config(blocks=1024, vwc=vwc, timing=Timing(write_delay=9 * US, read_delay=50 * US)))
    device.submit(commands([Opcode.WRITE, Opcode.READ], [0, 8]))
    assert device.submit(commands(Opcode.FLUSH, now=1 * US))["target"][0] == due


def test_a_reset_drops_work_but_keeps_content_and_counters() -> None:
    device = Device(Config(blocks=1024, vwc=True, timing=Timing(write_delay=9 * US, units=1)))
    device.submit(commands(Opcode.WRITE, 8, 8))
    device.reset(now=1 * US)
    flush, read = device.submit(commands([Opcode.FLUSH, Opcode.READ], 8, 8))
    assert flush["target"] == read["target"] == 1 * US
    assert read["data"] == Data.COPY
    assert device.counters()["writes"] == 1


def test_counters_say_what_was_done() -> None:
    device = Device(Config(blocks=4096))
    opcodes = [Opcode.WRITE, Opcode.READ, Opcode.FLUSH, Opcode.WRITE_ZEROES, Opcode.DSM, Opcode.DSM, 0x7F]
    device.submit(
        commands(opcodes, 0, [8, 4, 0, 2, 1, 1, 1], flags=[0, 0, 0, 0, Flag.DEALLOCATE, 0, 0]),
        np.array([(0, 100), (0, 7)], RANGE),
    )
    assert device.counters() == {
        "reads": 1, "writes": 1, "flushes": 1, "zeroes": 1, "dsms": 2, "uncorrectables": 0, "compares": 0, "verifies": 0,
        "copies": 0, "errors": 1, "faults": 0, "blocks_read": 4, "blocks_written": 8, "blocks_zeroed": 2,
        "blocks_deallocated": 100, "blocks_copied": 0, "bytes_read": 2048, "bytes_written": 4096, "media_errors": 0,
        "appends": 0, "zone_sends": 0, "zone_receives": 0, "zone_changes": 0, "stores": 0, "retrieves": 0,
        "deletes": 0, "lists": 0, "exists": 0, "io_sends": 0, "io_receives": 0,
        "busy": 0,
    }  # fmt: skip


def test_more_ranges_than_the_standard_allows_are_refused() -> None:
    device = Device(Config(blocks=4096))
    device.submit(commands(Opcode.WRITE, 0, 8))
    assert device.submit(commands(Opcode.DSM, nlb=257, flags=Flag.DEALLOCATE))["status"][0] == Status.INVALID_FIELD
    assert device.written(0, 8).all()


@pytest.mark.parametrize(
    "config",
    [
        Config(blocks=0),
        Config(blocks=8, block_shift=10),
        Config(blocks=2**39 + 1),
        Config(blocks=8, timing=Timing(units=0)),
        Config(blocks=8, timing=Timing(units=1025)),
        Config(blocks=8, timing=Timing(unit_shift=8)),
        Config(blocks=8, timing=Timing(unit_shift=31)),
    ],
)
def test_a_configuration_without_meaning_is_refused(config: Config) -> None:
    with pytest.raises(ValueError, match="the core refuses"):
        Device(config)


def test_a_timing_without_meaning_is_refused_and_takes_no_number() -> None:
    device = Device(Config(blocks=8, timing=Timing(read_delay=7)))
    with pytest.raises(ValueError, match="a field has no meaning"):
        device.set_timing(Timing(units=0))
    assert device.seq == 0
    assert device.submit(commands(Opcode.READ))["target"][0] == 7


def test_arrays_of_another_layout_are_refused() -> None:
    device = Device(Config(blocks=8))
    with pytest.raises(TypeError, match="dtype"):
        device.submit(np.zeros(3, DECISION))
    with pytest.raises(ValueError, match="take 2 ranges, not 1"):
        device.submit(commands(Opcode.DSM, nlb=2), np.zeros(1, RANGE))
    with pytest.raises(ValueError, match="not all within"):
        device.written(0, 9)
    with pytest.raises(ValueError, match="not all within the 0 of namespace 2"):
        device.readable(0, 1, nsid=2)


def test_strided_commands_are_taken_in_order() -> None:
    cmds = commands(Opcode.READ, np.arange(8), now=np.arange(8))
    assert list(Device(Config(blocks=8)).submit(cmds[::2])["target"]) == [0, 2, 4, 6]


@pytest.mark.parametrize(("python", "native"), [(Config, "nvc_config"), (Timing, "nvc_timing"), (Rule, "nvc_rule")])
def test_python_names_every_field_of_the_c_structure(python: type, native: str) -> None:
    assert {f.name for f in fields(python)} == {name for name, _ in ffi.typeof(f"struct {native}").fields}


def test_a_device_costs_little_memory_and_nothing_to_make() -> None:
    """1 TiB of 512-byte blocks: the map is 256 MiB of address space, untouched until written to."""
    big = Config(blocks=2**31)
    device = Device(big)
    assert ffi.sizeof(device._memory) < 0.001 * big.blocks * 512
    device.submit(commands(Opcode.WRITE, big.blocks - 1))
    assert device.written(big.blocks - 2, 2).tolist() == [False, True]


@settings(deadline=None, max_examples=30 * SOAK)
@given(configs, st.integers(0, 2**32 - 1))
def test_long_random_streams_equal_the_oracle(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 400
    cmds = commands(
        rng.choice([op for op in Opcode if op not in (Opcode.DSM, Opcode.COPY)], n),
        rng.integers(0, BLOCKS, n),
        rng.integers(1, 300, n),
        now=np.cumsum(rng.integers(0, 20 * US, n)),
    )
    oracle = Oracle(config)
    expected = [tuple(map(int, oracle.submit(cmd, []))) for cmd in cmds]
    assert plain(Device(config).submit(cmds)) == expected


def test_blocks_made_uncorrectable_fail_until_they_are_written_again() -> None:
    device = Device(Config(blocks=1024))
    device.submit(commands([Opcode.WRITE, Opcode.WRITE_UNCORRECTABLE], [0, 2], [16, 4]))
    opcodes = [Opcode.READ, Opcode.COMPARE, Opcode.VERIFY, Opcode.READ]
    assert list(device.submit(commands(opcodes, [0, 5, 3, 6], [3, 1, 1, 10]))["status"]) == [Status.READ_ERROR] * 3 + [
        0
    ]
    device.submit(commands([Opcode.WRITE, Opcode.WRITE_ZEROES], [2, 4], [2, 1]))
    assert list(np.flatnonzero(~device.readable(0, 1024))) == [5]
    assert device.counters()["media_errors"] == 3


def test_a_copy_reads_its_sources_at_once_and_then_writes() -> None:
    timing = Timing(read_delay=10 * US, read_time=1 * US, write_delay=30 * US, write_time=2 * US, units=64)
    device = Device(Config(blocks=1024, timing=timing))
    device.submit(commands(Opcode.WRITE, 0, 8))
    device.reset(now=1000 * US)
    sources = np.array([(0, 8), (16, 8)], RANGE)
    copied = device.submit(commands(Opcode.COPY, 512, 2, now=1000 * US), sources)[0]
    assert copied["target"] == (1000 + 10 + 1 + 30 + 2 * 2) * US
    assert copied["data"] == Data.FRESH
    assert list(np.flatnonzero(device.written(500, 40))) == list(range(12, 20))
    assert device.submit(commands(Opcode.COPY, 512, 2, now=2000 * US), sources)[0]["data"] == Data.COPY


@pytest.mark.parametrize(
    ("ranges", "status"),
    [
        ([(0, 8)] * 129, Status.COPY_LIMIT),
        ([(0, 2049)], Status.COPY_LIMIT),
        ([(0, 1024), (0, 1024)], Status.SUCCESS),
        ([(4000, 8)], Status.OVERLAP),
        ([(8190, 3)], Status.LBA_OUT_OF_RANGE),
        ([], Status.INVALID_FIELD),
    ],
)
def test_a_copy_has_limits(ranges: list[tuple[int, int]], status: Status) -> None:
    device = Device(Config(blocks=8192))
    got = device.submit(commands(Opcode.COPY, 4001, len(ranges)), np.array(ranges, RANGE))["status"][0]
    assert got == status


def test_a_cache_that_is_disabled_has_nothing_to_flush() -> None:
    device = Device(Config(blocks=1024, vwc=True, timing=Timing(write_delay=9 * US)))
    device.submit(commands(Opcode.WRITE))
    device.set_cache(False)
    assert device.submit(commands(Opcode.FLUSH, now=1 * US))["target"][0] == 1 * US
    device.set_cache(True)
    assert device.submit(commands(Opcode.FLUSH, now=1 * US))["target"][0] == 9 * US


@many
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30)), max_size=20), st.integers(0, 60))
def test_busy_time_is_that_of_the_union_of_commands(work: list[tuple[int, int]], reset_after: int) -> None:
    """Each command runs alone on its unit from its arrival; a reset drops what is left."""
    device, now, busy = Device(Config(blocks=2**20, timing=Timing(units=1024))), 0, set()
    for n, (pause, length) in enumerate(work):
        now += pause
        device.set_timing(Timing(read_time=length, units=1024), now)
        device.submit(commands(Opcode.READ, 8 * n, now=now))
        busy |= set(range(now, now + length))
    device.reset(now + reset_after)
    assert device.counters()["busy"] == len({t for t in busy if t < now + reset_after})
