# SPDX-License-Identifier: GPL-2.0-or-later
"""Where memory is, who has it, and where a region for virtual devices fits. Pure: texts of /proc and /sys in, spans out.

A region is hidden from Linux by ``memmap=SIZE$START`` (Documentation/admin-guide/kernel-parameters.txt): the early boot code
keeps the kernel's own image out of it (arch/x86/boot/compressed/kaslr.c), and the rest of the kernel never sees it as RAM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nvlab.errors import UsageError
from nvlab.units import GIB, MIB, format_size, human_size, parse_memmap

LOWEST = 4 * GIB  # below it are the PCI hole, firmware, the kernel's image and its initrd
UNIT = MIB  # of a size: nvlab.ko's own
PAGE = 2 * MIB  # of a start: an x86-64 large page
ALIGNMENTS = (GIB, 128 * MIB, PAGE)  # the largest page of the direct map, a section of the memory model, a large page
LEAST_LEFT = GIB  # bytes of RAM that Linux keeps

RAM = "System RAM"
KERNEL = "the running kernel"


@dataclass(frozen=True, order=True)
class Span:
    """Physical addresses ``start`` up to, not including, ``end``."""

    start: int
    end: int
    name: str = ""

    @property
    def size(self) -> int:
        return self.end - self.start

    def meets(self, other: Span) -> bool:
        return self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        return f"{self.start:#x}-{self.end - 1:#x}"


@dataclass(frozen=True)
class Resource:
    """A line of /proc/iomem: its span, and how many others it lies in."""

    span: Span
    depth: int


# -- reading -----------------------------------------------------------------------------------------------------

_LINE = re.compile(r"( *)([0-9a-f]+)-([0-9a-f]+) : (.*)")


def parse_iomem(text: str) -> list[Resource]:
    """/proc/iomem; nothing when it shows no addresses, which is what all but root get to see."""
    lines = [match for line in text.splitlines() if (match := _LINE.fullmatch(line))]
    return [Resource(Span(int(m[2], 16), int(m[3], 16) + 1, m[4]), len(m[1]) // 2) for m in lines if m[3].strip("0")]


def parse_firmware(entries: Iterable[tuple[str, str, str]]) -> list[Span]:
    """/sys/firmware/memmap: (start, end, type) of each entry, as text. It is the map before any ``memmap=``."""
    return sorted(Span(int(start, 16), int(end, 16) + 1, kind) for start, end, kind in entries)


# -- sets of spans -----------------------------------------------------------------------------------------------


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same addresses in as few spans as can be, in order."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.size > 0):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(Span(span.start, span.end))
    return merged


def common(one: Iterable[Span], other: Iterable[Span]) -> list[Span]:
    """What is in both."""
    others = merge(other)
    return [Span(max(a.start, b.start), min(a.end, b.end)) for a in merge(one) for b in others if a.meets(b)]


def without(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """``spans`` less ``holes``."""
    holes = merge(holes)
    return [piece for span in merge(spans) for piece in _pieces(span, holes)]


def _pieces(span: Span, holes: Sequence[Span]) -> Iterator[Span]:
    start = span.start
    for hole in holes:
        if hole.meets(span):
            if hole.start > start:
                yield Span(start, hole.start)
            start = max(start, hole.end)
    if start < span.end:
        yield Span(start, span.end)


# -- the memory of a machine -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """What a region may be made of.

    ``ram``: all RAM there is, by the firmware; ``linux``: what the running kernel has of it (and what it would have without
    our own region); ``busy``: what has a fixed place in it, by name; ``nodes``: the memory of each NUMA node.
    """

    ram: tuple[Span, ...]
    linux: tuple[Span, ...]
    busy: tuple[Span, ...]
    nodes: dict[int, tuple[Span, ...]]

    def free(self, node: int) -> list[Span]:
        """Where a region may lie on ``node``."""
        usable = common(common(self.ram, self.linux), self.nodes[node])
        return common(without(usable, self.busy), [Span(LOWEST, 1 << 64)])

    def node_of(self, region: Span) -> int | None:
        """The node that has all of ``region``; None when there is no such node."""
        return next((node for node, spans in self.nodes.items() if not without([region], spans)), None)


def memory_of(
    firmware: Sequence[Span],
    iomem: Sequence[Resource],
    nodes: dict[int, Sequence[Span]],
    busy: Sequence[Span] = (),
    own: Span | None = None,
) -> Memory:
    """The memory of a machine.

    ``busy``: contiguous-memory areas, which /proc/iomem does not show; ``own``: the region that nvlab has reserved already,
    which therefore is no RAM to the running kernel and on no node that it knows of.
    """
    ours = [own] if own and _reserved(own, iomem) else []
    linux = [r.span for r in iomem if r.span.name == RAM] + ours
    tops = [r.span for r in iomem if r.depth == 0 and r.span.name == RAM]
    inside = [r.span for r in iomem if r.depth and any(r.span.meets(top) for top in tops)]
    image = [span for span in inside if span.name.startswith("Kernel ")]
    if image:  # its parts, and what lies between them: that was initialisation code
        inside = [Span(min(image).start, max(span.end for span in image), KERNEL), *(s for s in inside if s not in image)]
    return Memory(
        ram=tuple(merge(span for span in firmware if span.name == RAM)),
        linux=tuple(merge(linux)),
        busy=(*inside, *busy),
        nodes={node: tuple(merge(spans)) for node, spans in nodes.items()},
    )


def left_alone(cmdline: str, iomem: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(start, size) of the regions that a command line's ``memmap=`` hides: those that Linux has left alone, and the others.

    ``iomem`` is /proc/iomem as root sees it: asking is not getting (a region that overlaps the kernel's own image, say).
    """
    asked, resources = parse_memmap(cmdline), parse_iomem(iomem)
    good = [(start, size) for start, size in asked if _reserved(Span(start, start + size), resources)]
    return good, [region for region in asked if region not in good]


def _reserved(region: Span, iomem: Sequence[Resource]) -> bool:
    return not without([region], [r.span for r in iomem if r.depth == 0 and r.span.name == "Reserved"])


# -- a place -----------------------------------------------------------------------------------------------------


def place(memory: Memory, size: int, node: int | None = None) -> Span:
    """The best region of ``size`` bytes: of the largest alignment that fits, and of those the highest.

    ``node``: on this one; without it, on the node with the largest free span. Raises UsageError when there is no room.
    """
    check_size(memory, size)
    if node is None:
        node = max(memory.nodes, key=lambda n: max((span.size for span in memory.free(n)), default=0))
    elif node not in memory.nodes:
        raise UsageError(f"--node {node}: there is no such NUMA node", hint=f"nodes with memory: {_list(memory.nodes)}")
    for alignment in ALIGNMENTS:
        for span in reversed(memory.free(node)):
            start = (span.end - size) // alignment * alignment
            if start >= span.start:
                return Span(start, start + size)
    raise UsageError(f"--size {format_size(size)}: node {node} has no such free span above 4 GiB", hint=_largest(memory))


def check_size(memory: Memory, size: int) -> None:
    """Raises UsageError when no machine like this one could reserve ``size`` bytes."""
    if size < 2 * UNIT or size % UNIT:
        below = max(size // UNIT, 2) * UNIT
        raise UsageError(
            f"--size {format_size(size)}: must be a multiple of {human_size(UNIT)}, and at least {human_size(2 * UNIT)}",
            hint=f"--size {format_size(below)} or {format_size(below + UNIT)}",
        )
    total = sum(span.size for span in common(memory.ram, memory.linux))
    if total - size < LEAST_LEFT:
        raise UsageError(
            f"--size {format_size(size)}: Linux has {human_size(total)} and must keep {human_size(LEAST_LEFT)}",
            hint=_largest(memory),
        )


def check_place(memory: Memory, region: Span, node: int | None = None) -> None:
    """Raises UsageError that says what is wrong with a region somebody has chosen; all is well otherwise."""
    check_size(memory, region.size)
    problem = _problem(memory, region, node)
    if problem:
        where = f"--start {format_size(region.start)} --size {format_size(region.size)}"
        raise UsageError(f"{where}: {problem}", hint=_instead(memory, region.size, node))


def _instead(memory: Memory, size: int, node: int | None) -> str:
    try:
        start = place(memory, size, node).start
    except UsageError as none:
        return str(none.hint)
    return f"--start {format_size(start)} is free, and what is chosen without --start"


def _problem(memory: Memory, region: Span, node: int | None) -> str:
    if region.start % PAGE:
        return f"the start is no multiple of {human_size(PAGE)}"
    met = next((span for span in memory.busy if span.meets(region)), None)
    if met:
        return f"{met} belongs to {met.name}"
    if region.start < LOWEST:
        return "the start lies below 4 GiB, where firmware, PCI and the kernel are"
    outside = without([region], memory.ram)
    if outside:
        top = max(span.end for span in memory.ram)
        return f"{outside[0]} is no RAM (RAM ends at {human_size(top)})"
    taken = without([region], memory.linux)
    if taken:
        return f"{taken[0]} is reserved for something else already"
    lies_on = memory.node_of(region)
    if lies_on is None:
        return "it is not all on one NUMA node"
    return f"it is on NUMA node {lies_on}, not on {node}" if node not in (None, lies_on) else ""


def _largest(memory: Memory) -> str:
    sizes = {node: max((span.size for span in memory.free(node)), default=0) // UNIT * UNIT for node in memory.nodes}
    largest = "largest free span above 4 GiB: " + ", ".join(f"{human_size(size)} on node {n}" for n, size in sizes.items())
    if any(span.name == KERNEL and span.start >= LOWEST for span in memory.busy):
        largest += "; the kernel lies in between, placed at random: after another reboot it lies elsewhere"
    return largest


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
