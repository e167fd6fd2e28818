# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel is to be booted with: a region of memory, CPUs, and why these. Pure: a machine and a request in, a plan out."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from nvlab.errors import Conflict, UsageError
from nvlab.host import isolation, memmap
from nvlab.host.isolation import Isolation, Topology
from nvlab.host.memmap import Memory, Span
from nvlab.kernel.module import canonical
from nvlab.units import GIB, MIB, format_cpus, format_size, human_size, parse_cpus, parse_size

T = TypeVar("T")

REGIONS_KASLR_KNOWS = 4  # arch/x86/boot/compressed/kaslr.c, MAX_MEMMAP_REGIONS


@dataclass(frozen=True)
class Machine:
    """What a plan is made from.

    ``cmdline``: of the running kernel, less what nvlab asked for itself; ``config``: its options for CPUs that are on, None where
    that cannot be read; ``modules``: those of the asked ones that it has, ``builtin``: all that it has built in, in its
    spelling; ``used``: bytes in use now; ``notes``: what could not be found out.
    """

    memory: Memory
    cpus: Topology
    cmdline: tuple[str, ...] = ()
    config: Collection[str] | None = None
    modules: frozenset[str] = frozenset()
    builtin: frozenset[str] = frozenset()
    used: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What the user asks for. ``cpus``: None leaves the choice to the plan, () isolates none."""

    size: int
    start: int | None = None
    node: int | None = None
    cpus: tuple[int, ...] | None = None
    intremap: str | None = None
    multipath: str | None = None
    modules: tuple[str, ...] = ()


def request_of(options: Mapping[str, Any]) -> Request:
    """A request in the words of the command line, where sizes, CPUs and modules are texts. Raises UsageError."""

    def value(name: str, parse: Callable[[str], T]) -> T | None:
        try:
            return None if options.get(name) is None else parse(options[name])
        except ValueError as wrong:
            raise UsageError(f"--{name}: {wrong}") from None

    return Request(
        size=value("size", parse_size) or 0,
        start=value("start", parse_size),
        node=options.get("node"),
        cpus=value("cpus", lambda text: () if text == "none" else parse_cpus(text)),
        intremap=options.get("intremap"),
        multipath=options.get("multipath"),
        modules=value("modules", _names) or (),
    )


def _names(text: str) -> tuple[str, ...]:
    names = text.split(",")
    wrong = next((name for name in names if not re.fullmatch(r"[A-Za-z0-9_-]+", name)), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is not the name of a module; write nvme-tcp,nvmet-tcp")
    return tuple(names)


@dataclass(frozen=True)
class Reservation:
    """A plan: the region, the division of CPUs, all parameters for the kernel, settings of modules, and the reasons.

    ``arguments`` hide the region by ``memmap=SIZE$START``; :meth:`without_dollar` has the form for boot loaders that have no
    way to pass on a dollar sign.
    """

    start: int
    size: int
    node: int
    workers: tuple[int, ...]
    housekeeping: tuple[int, ...]
    arguments: tuple[str, ...]
    multipath: str | None
    modules: tuple[str, ...]
    why: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Reservation:
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return Reservation(**values)

    @property
    def region(self) -> Span:
        return Span(self.start, self.start + self.size)

    def without_dollar(self) -> Reservation:
        """The same by ``memmap=SIZE%START-1+2``: RAM (1) becomes reserved (2).

        The early boot code takes no heed of this form, so the kernel must not be placed at random: nokaslr.
        """
        words = (f"memmap={format_size(self.size)}%{format_size(self.start)}-1+2", "nokaslr", *self.arguments[1:])
        why = "this boot loader cannot pass on a dollar sign, so memmap= has its other form; that one needs nokaslr"
        return replace(self, arguments=words, why=(*self.why, why))


def plan(machine: Machine, request: Request) -> Reservation:
    """The best answer to ``request`` on ``machine``. Raises UsageError or Conflict, saying what is wrong and what would do."""
    region, node = _region(machine, request)
    cpus = _cpus(machine, request, node)
    words = [f"memmap={format_size(region.size)}${format_size(region.start)}"]
    words += isolation.arguments(cpus, machine.config)
    words += [f"intremap={request.intremap}"] if request.intremap else []
    multipath = request.multipath
    if multipath and "nvme_core" in machine.builtin:  # then modprobe.d is read by nobody
        words.append(f"nvme_core.multipath={'Y' if multipath == 'on' else 'N'}")
        multipath = None
    _check_cmdline(machine.cmdline, words)
    _check_modules(machine.modules, request.modules)
    return Reservation(
        start=region.start,
        size=region.size,
        node=node,
        workers=cpus.workers,
        housekeeping=cpus.housekeeping,
        arguments=tuple(words),
        multipath=multipath,
        modules=request.modules,
        why=tuple(_reasons(machine, request, region, node, cpus)),
        notes=(*machine.notes, *cpus.notes, *_notes(machine, region, cpus, multipath)),
    )


def _region(machine: Machine, request: Request) -> tuple[Span, int]:
    memory, node = machine.memory, request.node
    if node is None and request.cpus and request.cpus[0] in machine.cpus:
        near = machine.cpus[request.cpus[0]].node
        node = near if near in memory.nodes and request.start is None else None
    if request.start is None:
        region = memmap.place(memory, request.size, node)
    else:
        region = Span(request.start, request.start + request.size)
        memmap.check_place(memory, region, node)
    lies_on = memory.node_of(region)
    assert lies_on is not None  # both ways of choosing made sure of it
    return region, lies_on


def _cpus(machine: Machine, request: Request, node: int) -> Isolation:
    if request.cpus is None:
        return isolation.propose(machine.cpus, node)
    return isolation.divide(machine.cpus, request.cpus, node)


def _check_cmdline(cmdline: Sequence[str], words: Sequence[str]) -> None:
    """Nothing may be on the command line twice: the kernel would take one of them, or mix the two."""
    keys = {word.partition("=")[0] for word in words if not word.startswith("memmap=")}
    there = next((word for word in cmdline if word.partition("=")[0] in keys), None)
    if there:
        raise Conflict(
            f"the kernel's command line has {there!r} already, and nvlab does not own that",
            hint="take it out of the boot loader's configuration; if nvlab grub revert did, reboot first",
        )


def _check_modules(known: Collection[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if canonical(name) not in known]
    if missing:
        raise UsageError(f"--modules {missing[0]}: the running kernel has no such module", hint="modinfo NAME knows them")


def _reasons(machine: Machine, request: Request, region: Span, node: int, cpus: Isolation) -> Iterator[str]:
    memory = machine.memory
    if request.start is None:
        step = next(a for a in memmap.ALIGNMENTS if region.start % a == 0)
        yield f"the highest free span on node {node} that begins at a multiple of {human_size(step)}"
    else:
        yield f"--start says where; it is free, and on node {node}"
    others = [span for n, spans in memory.nodes.items() for span in spans if n != node]
    yield "in RAM by the firmware's map, above 4 GiB" + (", and nothing of it is on another node" * bool(others))
    names = ", ".join(sorted({span.name for span in memory.busy if span.name}))
    yield f"clear of what has a place there: {names}" if names else "nothing else has a place there"
    left = sum(span.size for span in memmap.without(memmap.common(memory.ram, memory.linux), [region]))
    yield f"Linux keeps {human_size(left)}"
    if cpus.workers:
        yield f"workers have {format_cpus(cpus.workers)}; {format_cpus(cpus.housekeeping)} do all the rest, interrupts included"


def _notes(machine: Machine, region: Span, cpus: Isolation, multipath: str | None) -> Iterator[str]:
    memory = machine.memory
    left = sum(span.size for span in memmap.without(memmap.common(memory.ram, memory.linux), [region]))
    if machine.used > left:
        yield f"{human_size(machine.used)} are in use now, more than the {human_size(left)} that Linux will have"
    if sum(word.startswith("memmap=") for word in machine.cmdline) >= REGIONS_KASLR_KNOWS:
        yield f"more than {REGIONS_KASLR_KNOWS} memmap= make the kernel give up its random place in memory"
    if cpus.workers:
        yield f"an NVMe/TCP connection can have {len(cpus.housekeeping)} queues at most, one per CPU that is not isolated"
    if multipath:
        yield "if nvme_core is in the initramfs, make that again (update-initramfs -u, dracut -f): it has its own modprobe.d"


def describe(reservation: Reservation) -> str:
    """A plan for a person."""
    r = reservation
    lines = [
        f"region   {human_size(r.size)} at {_at(r.start)}, node {r.node}",
        f"workers  {format_cpus(r.workers) or 'no CPUs of their own'}",
        f"kernel   {' '.join(r.arguments)}",
    ]
    lines += [f"modules  {' '.join(r.modules)}"] if r.modules else []
    lines += [f"         native NVMe multipath {r.multipath}"] if r.multipath else []
    lines += ["why", *(f"  {reason}" for reason in r.why)]
    return "\n".join([*lines, *(f"! {note}" for note in r.notes)])


def _at(start: int) -> str:
    return f"{start // GIB} GiB" if start % GIB == 0 else f"{start // MIB} MiB"
