# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a region may lie: on machines as they are, and on any that can be thought of."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from nvlab.errors import UsageError
from nvlab.host.memmap import (
    ALIGNMENTS,
    KERNEL,
    LEAST_LEFT,
    LOWEST,
    PAGE,
    RAM,
    UNIT,
    Memory,
    Resource,
    Span,
    check_place,
    common,
    memory_of,
    merge,
    parse_firmware,
    parse_iomem,
    place,
    without,
)
from nvlab.units import GIB, KIB, MIB

# -- reading -----------------------------------------------------------------------------------------------------

IOMEM = """\
00001000-0009fbff : System RAM
000f0000-000fffff : System ROM
100000000-27fffffff : System RAM
  1b0400000-1b13fffff : Kernel code
  1b2000000-1b2270f7f : Kernel data
  277000000-27effffff : Crash kernel
280000000-2ffffffff : Reserved
  280000000-2800fffff : nvlab
"""


def test_iomem_is_read_with_its_nesting():
    resources = parse_iomem(IOMEM)
    assert [r.depth for r in resources] == [0, 0, 0, 1, 1, 1, 0, 1]
    assert resources[2].span == Span(4 * GIB, 10 * GIB, RAM)


def test_others_than_root_see_no_addresses():
    assert parse_iomem("\n".join(f"{'0' * 8}-{'0' * 8} : {line.partition(' : ')[2]}" for line in IOMEM.splitlines())) == []


def test_the_kernel_is_one_block_from_its_first_part_to_its_last():
    memory = memory_of([Span(0, 10 * GIB, RAM)], parse_iomem(IOMEM), {0: [Span(0, 1 << 64)]})
    assert Span(0x1B0400000, 0x1B2270F80, KERNEL) in memory.busy
    assert {span.name for span in memory.busy} == {KERNEL, "Crash kernel"}


# -- sets of spans -------------------------------------------------------------------------------------------------

spans = st.lists(st.builds(lambda a, n: Span(a, a + n), st.integers(0, 40), st.integers(0, 12)), max_size=6)


def addresses(some) -> set[int]:
    return {address for span in some for address in range(span.start, span.end)}


@given(spans)
def test_merging_keeps_every_address_and_leaves_gaps_between(some):
    merged = merge(some)
    assert addresses(merged) == addresses(some)
    assert all(a.end < b.start for a, b in pairwise(merged))


@given(spans, spans)
def test_common_and_without_are_those_of_sets(one, other):
    assert addresses(common(one, other)) == addresses(one) & addresses(other)
    assert addresses(without(one, other)) == addresses(one) - addresses(other)


# -- any machine -----------------------------------------------------------------------------------------------------


@st.composite
def machines(draw) -> Memory:
    """RAM with holes, on one to three nodes, something here and there: in steps of 256 KiB, so that little is aligned."""
    step, cursor, firmware = 256 * KIB, 0, []
    for _ in range(draw(st.integers(1, 4))):
        start = cursor + draw(st.sampled_from([0, 1, 3, 4096])) * step
        cursor = start + draw(st.one_of(st.integers(1, 64), st.integers(10_000, 60_000))) * step
        firmware.append((hex(start), hex(cursor - 1), draw(st.sampled_from([RAM, RAM, RAM, "Reserved", "Persistent Memory"]))))
    ram = parse_firmware(firmware)
    tops = [Resource(Span(s.start, s.end, RAM if s.name == RAM and draw(st.integers(0, 9)) else "Reserved"), 0) for s in ram]
    inner = [Resource(span, 1) for span in draw(st.lists(inside(cursor), max_size=4))]
    areas = draw(st.lists(inside(cursor), max_size=2))
    cuts = [0, *sorted(draw(st.lists(st.integers(1, cursor // step), max_size=2, unique=True))), 1 << 60]
    nodes = {n: [Span(a * step, b * step)] for n, (a, b) in enumerate(pairwise(cuts))}
    return memory_of(ram, sorted([*tops, *inner], key=lambda r: r.span.start), nodes, areas)


def inside(end: int):
    names = st.sampled_from(["Kernel code", "Kernel bss", "Crash kernel", "Reserved", "CMA"])
    return st.builds(lambda a, n, name: Span(a, a + n, name), st.integers(0, end), st.integers(1, 600 * MIB), names)


sizes = st.one_of(st.integers(2, 3000).map(lambda n: n * UNIT), st.sampled_from([GIB, 2 * GIB, 7 * GIB]))


def forbids(memory: Memory, region: Span) -> bool:
    """The rules once more, in the simplest words."""
    return bool(
        region.start < LOWEST
        or region.start % PAGE
        or without([region], memory.ram)
        or without([region], memory.linux)
        or any(region.meets(span) for span in memory.busy)
        or not any(not without([region], node) for node in memory.nodes.values())
    )


@given(machines(), sizes, st.sampled_from([None, 0, 1, 2]))
def test_what_is_chosen_breaks_no_rule_or_there_is_a_reason(memory, size, node):
    try:
        region = place(memory, size, node)
    except UsageError as refused:
        assert str(refused).startswith(("--size", "--node")) and refused.hint
        return
    event("there is room")
    assert region.size == size and not forbids(memory, region)
    assert node in (None, memory.node_of(region))
    assert sum(span.size for span in common(memory.ram, memory.linux)) - size >= LEAST_LEFT
    check_place(memory, region, node)  # and a user may choose it too


@given(machines(), sizes, st.integers(0, 12 * 1024).map(lambda n: n * MIB))
def test_a_users_choice_is_refused_if_and_only_if_it_breaks_a_rule(memory, size, start):
    region = Span(start, start + size)
    left = sum(span.size for span in common(memory.ram, memory.linux)) - size
    try:
        check_place(memory, region)
    except UsageError as refused:
        assert forbids(memory, region) or left < LEAST_LEFT
        assert refused.hint
    else:
        assert not forbids(memory, region) and left >= LEAST_LEFT


@given(machines(), sizes)
def test_where_nothing_is_chosen_nothing_fits(memory, size):
    """Every start that could do is tried: the lowest aligned one of each free span."""
    left = sum(span.size for span in common(memory.ram, memory.linux)) - size
    for node in memory.nodes:
        try:
            place(memory, size, node)
        except UsageError:
            starts = [-(-span.start // PAGE) * PAGE for span in memory.free(node)]
            assert left < LEAST_LEFT or all(forbids(memory, Span(s, s + size)) for s in starts)


@given(machines(), sizes)
def test_the_largest_alignment_that_fits_is_taken(memory, size):
    node = max(memory.nodes)
    try:
        region = place(memory, size, node)
    except UsageError:
        return
    best = next(alignment for alignment in ALIGNMENTS if region.start % alignment == 0)
    for larger in ALIGNMENTS[: ALIGNMENTS.index(best)]:
        for span in memory.free(node):
            assert -(-span.start // larger) * larger + size > span.end


@given(machines(), sizes)
def test_a_region_that_nvlab_has_can_be_chosen_again(memory, size):
    """Once it is reserved it is no RAM to Linux, and still the plan is the same."""
    try:
        region = place(memory, size)
    except UsageError:
        return
    firmware = [Span(s.start, s.end, RAM) for s in memory.ram]
    left = [Resource(Span(s.start, s.end, RAM), 0) for s in without(memory.linux, [region])]
    hidden = Resource(Span(region.start, region.end, "Reserved"), 0)
    after = memory_of(firmware, [*left, hidden], memory.nodes, memory.busy, own=region)
    check_place(after, region)
    other = memory_of(firmware, [*left, hidden], memory.nodes, memory.busy)
    with pytest.raises(UsageError):
        check_place(other, region)
