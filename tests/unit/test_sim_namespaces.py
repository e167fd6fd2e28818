# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces of the core: made, deleted, formatted, attached and switched, and none sees another's blocks."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.sim import (
    ALL_NAMESPACES,
    MAX_NAMESPACES,
    RANGE,
    Config,
    Device,
    Fault,
    Flag,
    NamespaceSwitch,
    Opcode,
    Rule,
    Status,
    commands,
)

SOAK = 100 if os.environ.get("NVLAB_SOAK") else 1
UNIT = 2 << 20  # what namespaces begin at a multiple of
CAPACITY = 8 * UNIT + 4096 * 3  # bytes

many = settings(deadline=None, max_examples=100 * SOAK)


def device() -> Device:
    """One without a namespace."""
    made = Device(Config(blocks=CAPACITY // 512))
    made.delete(1)
    return made


def one(target: Device, opcode: Opcode, slba: int = 0, nlb: int = 1, **more: int) -> Status:
    """The status of one command."""
    return Status(target.submit(commands(opcode, slba, nlb, **more))["status"][0])


def test_a_new_device_is_one_namespace() -> None:
    new = Device(Config(blocks=CAPACITY // 4096, block_shift=12))
    found = new.namespace(1)
    assert found is not None
    assert (found.blocks, found.start, found.block_shift) == (CAPACITY // 4096, 0, 12)
    assert [nsid for nsid in range(MAX_NAMESPACES + 2) if new.namespace(nsid)] == [1]
    assert new.free() == (0, 0)


@dataclass
class Model:
    """Namespaces by number: block shift, capacity in bytes, written blocks, controllers."""

    shift: dict[int, int] = field(default_factory=dict)
    size: dict[int, int] = field(default_factory=dict)
    written: dict[int, set[int]] = field(default_factory=dict)


nsids = st.integers(1, 4)
actions = st.one_of(
    st.tuples(st.just("create"), nsids, st.integers(1, 3 * UNIT // 4096), st.sampled_from([9, 12])),
    st.tuples(st.just("delete"), nsids, st.just(0), st.just(0)),
    st.tuples(st.just("format"), nsids, st.just(0), st.sampled_from([9, 12])),
    st.tuples(st.just("write"), nsids, st.integers(0, 1000), st.integers(1, 5000)),
    st.tuples(st.just("zero"), nsids, st.integers(0, 1000), st.integers(1, 5000)),
)


def apply(target: Device, model: Model, action: str, nsid: int, a: int, b: int) -> None:
    """Do one thing to both; refusals agree too."""
    there = nsid in model.size
    if action == "create":
        size, fits = a * 4096, a * 4096 <= target.free()[1]
        if there or not fits:
            with pytest.raises(OSError) as refused:
                target.create(nsid, size >> b, b)
            assert refused.value.errno == (errno.EEXIST if there else errno.ENOSPC)
            return
        target.create(nsid, size >> b, b)
        model.shift[nsid], model.size[nsid], model.written[nsid] = b, size, set()
    elif not there and action in ("delete", "format"):
        with pytest.raises(OSError) as refused:
            target.delete(nsid) if action == "delete" else target.format(nsid, b)
        assert refused.value.errno == errno.ENXIO
    elif action == "delete":
        target.delete(nsid)
        del model.shift[nsid], model.size[nsid], model.written[nsid]
    elif action == "format":
        target.format(nsid, b)
        model.shift[nsid], model.written[nsid] = b, set()
    else:
        inside = there and a + b <= model.size[nsid] >> model.shift[nsid]
        expected = Status.SUCCESS if inside else Status.LBA_OUT_OF_RANGE if there else Status.INVALID_FIELD
        opcode = Opcode.WRITE if action == "write" else Opcode.WRITE_ZEROES
        assert one(target, opcode, a, b, nsid=nsid) == expected
        if inside:
            touched = set(range(a, a + b))
            model.written[nsid] = model.written[nsid] | touched if action == "write" else model.written[nsid] - touched


@many
@given(st.lists(actions, max_size=40))
def test_namespaces_are_apart(steps: list[tuple[str, int, int, int]]) -> None:
    """Whatever is done, each has its own content; pieces do not overlap; what is free can be used and nothing is lost."""
    target, model = device(), Model()
    for step in steps:
        apply(target, model, *step)
    used = []
    for nsid in range(1, 5):
        found = target.namespace(nsid)
        assert (found is not None) == (nsid in model.size)
        if found is None:
            continue
        assert (found.bytes, found.block_shift) == (model.size[nsid], model.shift[nsid])
        assert found.blocks == found.bytes >> found.block_shift
        assert set(np.flatnonzero(target.written(0, found.blocks, nsid))) == model.written[nsid]
        used.append((found.start, -(-found.bytes // UNIT) * UNIT))
    used.sort()
    assert all(start % UNIT == 0 for start, _ in used)
    assert all(a + size <= b for (a, size), (b, _) in pairwise(used))
    assert target.free()[0] == CAPACITY - sum(min(size, CAPACITY - start) for start, size in used)
    if target.free()[1] >= 512:
        target.create(9, target.free()[1] // 512)


def test_a_namespace_made_where_another_was_reads_as_zeros() -> None:
    target = device()
    target.create(1, 8192)
    one(target, Opcode.WRITE, 0, 8192)
    one(target, Opcode.WRITE_UNCORRECTABLE, 5, 1)
    target.delete(1)
    target.create(2, 1024, 12)
    assert not target.written(0, 1024, 2).any()
    assert target.readable(0, 1024, 2).all()
    assert one(target, Opcode.READ, nsid=1) == Status.INVALID_FIELD


def test_a_format_that_leaves_no_block_is_refused() -> None:
    target = device()
    target.create(1, 1)
    with pytest.raises(ValueError, match="no meaning"):
        target.format(1, 12)
    with pytest.raises(ValueError, match="no meaning"):
        target.format(1, 10)


def test_a_command_reaches_only_what_is_attached_to_its_controller() -> None:
    target = device()
    target.create(3, 100, attached=0b10)
    assert [one(target, Opcode.READ, nsid=3, ctrl=ctrl) for ctrl in (0, 1, 2, 32)] == [
        Status.INVALID_FIELD, Status.SUCCESS, Status.INVALID_FIELD, Status.INVALID_FIELD,
    ]  # fmt: skip
    target.attach(3, 0b01)
    assert [one(target, Opcode.READ, nsid=3, ctrl=ctrl) for ctrl in (0, 1)] == [Status.SUCCESS, Status.INVALID_FIELD]
    assert one(target, Opcode.FLUSH, nsid=ALL_NAMESPACES) == Status.SUCCESS


def test_a_fault_on_one_path_spares_the_other() -> None:
    target = device()
    target.create(1, 100, attached=0b11)
    target.set_rule(0, Rule(Fault.FAIL, status=Status.READ_ERROR, ctrl=2))
    assert [one(target, Opcode.READ, ctrl=ctrl) for ctrl in (0, 1)] == [Status.SUCCESS, Status.READ_ERROR]
    with pytest.raises(ValueError, match="beyond its limit"):
        target.set_rule(0, Rule(Fault.FAIL, status=Status.READ_ERROR, ctrl=33))


def test_a_protected_namespace_takes_no_changes() -> None:
    target = device()
    target.create(1, 1000)
    target.switch(1, NamespaceSwitch.PROTECTED)
    changing = (Opcode.WRITE, Opcode.WRITE_ZEROES, Opcode.WRITE_UNCORRECTABLE)
    assert {one(target, opcode) for opcode in changing} == {Status.WRITE_PROTECTED}
    assert {one(target, opcode) for opcode in (Opcode.READ, Opcode.COMPARE, Opcode.VERIFY, Opcode.FLUSH)} == {0}
    ranges = np.array([(0, 1)] * 3, RANGE)
    listed = commands([Opcode.DSM, Opcode.DSM, Opcode.COPY], [0, 0, 9], flags=[Flag.DEALLOCATE, 0, 0])
    assert list(target.submit(listed, ranges)["status"]) == [Status.WRITE_PROTECTED, 0, Status.WRITE_PROTECTED]
    target.switch(1, 0)
    assert one(target, Opcode.WRITE) == Status.SUCCESS


def test_blocks_without_data_are_an_error_where_the_host_wants_it() -> None:
    target = device()
    target.create(1, 1000)
    one(target, Opcode.WRITE, 10, 10)
    target.switch(1, NamespaceSwitch.DULBE)
    assert one(target, Opcode.READ, 10, 10) == Status.SUCCESS
    assert {one(target, opcode, 15, 6) for opcode in (Opcode.READ, Opcode.COMPARE, Opcode.VERIFY)} == {
        Status.DEALLOCATED
    }
    with pytest.raises(ValueError, match="no meaning"):
        target.switch(1, 4)


def test_every_change_takes_a_number_and_a_refusal_none() -> None:
    target = device()
    before = target.seq
    target.create(1, 8)
    target.format(1, 9)
    target.attach(1, 0)
    target.switch(1, 1)
    target.set_cache(False)
    assert target.seq == before + 5
    for nsid in (0, MAX_NAMESPACES + 1):
        with pytest.raises(ValueError, match="no meaning"):
            target.create(nsid, 8)
    with pytest.raises(OSError, match="EEXIST"):
        target.create(1, 8)
    assert target.seq == before + 5
