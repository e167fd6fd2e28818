# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault rules of the core against the same rules written down in plain Python."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.sim import (
    ANY_OPCODE,
    MAX_RULES,
    MILLION,
    RANGE,
    Config,
    Data,
    Device,
    Fault,
    Flag,
    Opcode,
    Rule,
    Status,
    Timing,
    commands,
)

BLOCKS = 4096
WORD = (1 << 64) - 1
MEDIA_ERROR = 0x4281
LOSES = Fault.DROP | Fault.FATAL | Fault.UNPLUG
CHANGES = (Opcode.WRITE, Opcode.WRITE_ZEROES)
# the others can make a command of this stream fail without a rule
OPCODES = [opcode for opcode in Opcode if opcode not in (Opcode.WRITE_UNCORRECTABLE, Opcode.COPY)]


def splitmix64(state: int) -> tuple[int, int]:
    """The next state and number."""
    state = (state + 0x9E3779B97F4A7C15) & WORD
    x = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & WORD
    return state, x ^ x >> 31


@dataclass
class Matcher:
    """One rule in one slot of a device."""

    rule: Rule
    random: int
    seen: int = 0
    hits: int = 0
    read_only: int = 0

    @staticmethod
    def of(rule: Rule, slot: int, seed: int) -> Matcher:
        return Matcher(rule, splitmix64((splitmix64(seed)[1] + slot) & WORD)[1])

    def draw(self, below: int) -> int:
        self.random, number = splitmix64(self.random)
        return number % below

    def matches(self, cmd: np.void, ranges: list[tuple[int, int]]) -> bool:
        rule, opcode = self.rule, int(cmd["opcode"])
        if (
            rule.opcode not in (ANY_OPCODE, opcode)
            or rule.nsid not in (0, cmd["nsid"])
            or rule.qid not in (0, cmd["qid"])
        ):
            return False
        if rule.fault == Fault.CORRUPT and opcode not in (Opcode.READ, Opcode.WRITE):
            return False
        touched = ranges if opcode == Opcode.DSM else [(int(cmd["slba"]), int(cmd["nlb"]))]
        touched = [] if opcode == Opcode.FLUSH else touched
        wanted = range(rule.slba, rule.slba + rule.nlb)
        return not rule.nlb or any(n and max(a, wanted.start) < min(a + n, wanted.stop) for a, n in touched)

    def hit(self, cmd: np.void, ranges: list[tuple[int, int]]) -> bool:
        rule = self.rule
        if (rule.count and self.hits >= rule.count) or not self.matches(cmd, ranges):
            return False
        self.seen += 1
        if self.seen % rule.every or (rule.chance < MILLION and self.draw(MILLION) >= rule.chance):
            return False
        self.hits += 1
        return True


def expected(
    matchers: list[Matcher], cmd: np.void, ranges: list[tuple[int, int]], shift: int
) -> tuple[int, int, int, int]:
    """Fault bits, status, delay and corrupted byte of a valid command."""
    fault, status, delay, corrupt = Fault(0), 0, 0, 0
    for m in matchers:
        if m.hit(cmd, ranges):
            fault |= m.rule.fault
            status = status or (m.rule.status if m.rule.fault == Fault.FAIL else 0)
            delay += m.rule.delay if m.rule.fault == Fault.DELAY else 0
            if m.rule.fault == Fault.CORRUPT:
                corrupt = m.draw(int(cmd["nlb"]) << shift)
            if m.rule.fault == Fault.READ_ONLY:
                m.read_only = int(cmd["nsid"])
        discards = cmd["opcode"] == Opcode.DSM and cmd["flags"] & Flag.DEALLOCATE
        if m.read_only == cmd["nsid"] and (discards or int(cmd["opcode"]) in CHANGES):
            fault |= Fault.READ_ONLY
            status = status or Status.READ_ONLY
    return int(fault), 0 if fault & LOSES else int(status), delay, corrupt


rules = st.builds(
    Rule,
    fault=st.sampled_from(list(Fault)),
    opcode=st.sampled_from([ANY_OPCODE, ANY_OPCODE, *Opcode]),
    nsid=st.sampled_from([0, 0, 1, 2]),
    qid=st.sampled_from([0, 0, 1, 2]),
    slba=st.integers(0, BLOCKS),
    nlb=st.sampled_from([0, 0, 1, 64, BLOCKS, 2**64 - 1 - BLOCKS]),
    every=st.integers(1, 4),
    chance=st.sampled_from([MILLION, MILLION, 500_000, 1]),
    count=st.integers(0, 3),
    status=st.just(MEDIA_ERROR),
    delay=st.integers(1, 10**9),
)
range_lists = st.lists(st.tuples(st.integers(0, BLOCKS - 64), st.integers(0, 64)), min_size=1, max_size=3)


@st.composite
def valid_streams(draw: st.DrawFn) -> list[tuple[np.ndarray, list[tuple[int, int]]]]:
    stream, now = [], 0
    for _ in range(draw(st.integers(1, 40))):
        opcode, now = draw(st.sampled_from(OPCODES)), now + draw(st.integers(0, 1000))
        ranges = draw(range_lists) if opcode == Opcode.DSM else []
        nlb = len(ranges) or draw(st.integers(1, 64))
        slba, qid = draw(st.integers(0, BLOCKS - 64)), draw(st.integers(1, 3))
        cmd = commands(opcode, slba, nlb, now=now, flags=Flag.DEALLOCATE, qid=qid)
        stream.append((cmd, ranges))
    return stream


@settings(deadline=None, max_examples=300)
@given(st.lists(rules, max_size=5), valid_streams(), st.integers(0, WORD), st.sampled_from([9, 12]))
def test_rules_hit_what_the_oracle_says(given_rules, stream, seed, shift) -> None:
    device = Device(Config(blocks=BLOCKS, seed=seed, block_shift=shift))
    for slot, rule in enumerate(given_rules):
        device.set_rule(slot, rule)
    matchers = [Matcher.of(rule, slot, seed) for slot, rule in enumerate(given_rules)]
    for cmd, ranges in stream:
        decision = device.submit(cmd, np.array(ranges, RANGE))[0]
        fault, status, delay, corrupt = expected(matchers, cmd[0], ranges, shift)
        assert (decision["fault"], decision["status"], decision["corrupt"]) == (fault, status, corrupt)
        assert decision["target"] == cmd["now"][0] + delay
    assert [device.hits(slot) for slot in range(len(matchers))] == [m.hits for m in matchers]
    assert device.seq == len(stream) + len(given_rules)


@settings(deadline=None)
@given(st.lists(rules, max_size=5), valid_streams(), st.integers(0, WORD))
def test_what_a_rule_stops_changes_nothing(given_rules, stream, seed) -> None:
    """Commands that fail or are lost leave the map of the medium as if they had never come."""
    device, without = Device(Config(blocks=BLOCKS, seed=seed)), Device(Config(blocks=BLOCKS))
    for slot, rule in enumerate(given_rules):
        device.set_rule(slot, rule)
    for cmd, ranges in stream:
        decision = device.submit(cmd, np.array(ranges, RANGE))[0]
        if decision["status"] or decision["fault"] & LOSES:
            assert decision["data"] == Data.NONE
        else:
            without.submit(cmd, np.array(ranges, RANGE))
    assert np.array_equal(device.written(0, BLOCKS), without.written(0, BLOCKS))


def reads(n: int) -> np.ndarray:
    return commands(Opcode.READ, np.arange(n), now=np.arange(n))


def test_every_third_at_most_twice() -> None:
    device = Device(Config(blocks=BLOCKS))
    device.set_rule(0, Rule(Fault.FAIL, every=3, count=2, status=MEDIA_ERROR))
    assert np.flatnonzero(device.submit(reads(12))["status"]).tolist() == [2, 5]
    assert device.hits(0) == 2 and device.counters()["faults"] == 2


def test_chance_is_of_the_seed_and_of_the_slot() -> None:
    def hit(seed: int, slot: int) -> list[int]:
        device = Device(Config(blocks=BLOCKS, seed=seed))
        device.set_rule(slot, Rule(Fault.FAIL, chance=100_000, status=MEDIA_ERROR))
        return np.flatnonzero(device.submit(reads(4000))["status"]).tolist()

    assert hit(7, 0) == hit(7, 0)
    assert len({tuple(hit(seed, slot)) for seed, slot in ((7, 0), (8, 0), (7, 1))}) == 3
    assert 320 < len(hit(7, 0)) < 480  # 4000 draws at 0.1: within four standard deviations


def test_a_rule_set_again_begins_anew_and_its_hits_outlive_it() -> None:
    device = Device(Config(blocks=BLOCKS))
    rule = Rule(Fault.FAIL, count=1, status=MEDIA_ERROR)
    device.set_rule(3, rule)
    device.submit(reads(2))
    device.set_rule(3, None)
    assert device.hits(3) == 1 and not device.submit(reads(2))["status"].any()
    device.set_rule(3, rule)
    assert device.hits(3) == 0 and device.submit(reads(1))["status"][0] == MEDIA_ERROR


def test_read_only_lasts_until_the_rule_goes() -> None:
    device = Device(Config(blocks=BLOCKS))
    device.set_rule(0, Rule(Fault.READ_ONLY, opcode=Opcode.WRITE, every=2, count=1))
    opcodes = [Opcode.WRITE, Opcode.WRITE, Opcode.READ, Opcode.WRITE_ZEROES, Opcode.FLUSH]
    assert device.submit(commands(opcodes))["status"].tolist() == [0, Status.READ_ONLY, 0, Status.READ_ONLY, 0]
    device.set_rule(0, None)
    assert device.submit(commands(Opcode.WRITE))["status"][0] == Status.SUCCESS


def test_a_delay_adds_to_the_model_and_does_not_occupy_it() -> None:
    device = Device(Config(blocks=BLOCKS, timing=Timing(read_time=100, units=1)))
    device.set_rule(0, Rule(Fault.DELAY, delay=1000, count=1))
    assert device.submit(commands(Opcode.READ, [0, 0]))["target"].tolist() == [1100, 200]


GOOD = Rule(Fault.FAIL, status=MEDIA_ERROR)


@pytest.mark.parametrize(
    "rule",
    [
        replace(GOOD, fault=Fault(0)),
        replace(GOOD, fault=Fault.FAIL | Fault.DELAY),
        replace(GOOD, fault=Fault.DELAY),
        replace(GOOD, status=0),
        replace(GOOD, status=0x8000),
        replace(GOOD, every=0),
        replace(GOOD, chance=0),
        replace(GOOD, chance=MILLION + 1),
        replace(GOOD, opcode=0x100),
        replace(GOOD, slba=2, nlb=2**64 - 2),
        replace(GOOD, fault=Fault.DELAY, delay=1 << 50),
    ],
)
def test_a_rule_without_meaning_is_refused_and_takes_no_number(rule: Rule) -> None:
    device = Device(Config(blocks=BLOCKS))
    with pytest.raises(ValueError, match="the core refuses"):
        device.set_rule(0, rule)
    with pytest.raises(ValueError, match="the core refuses"):
        device.set_rule(MAX_RULES, GOOD)
    assert device.seq == 0
