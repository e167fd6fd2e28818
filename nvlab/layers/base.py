# SPDX-License-Identifier: GPL-2.0-or-later
"""What a layer is, and what it may ask while it turns its spec into steps.

A layer's file holds a frozen dataclass (its spec) and a :class:`LayerKind`. ``check`` yields what is wrong with an object
in its lab, ``build`` gives its steps; both are pure.
"""

from __future__ import annotations

import hashlib
import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from nvlab.errors import EnvironmentNotReady, Problem
from nvlab.layers.fields import marked_references
from nvlab.plan import Layer, Step

BLOCK = ("device", "disk", "raid", "cache", "connect")  # tables whose objects are block devices

_NAMESPACE = uuid.UUID("6f9d1f6e-27c4-5b0e-9c55-3f6d0b1c8a11")  # of every identity nvlab derives from a lab's name
REGION_ALIGN = 2 << 20  # bytes; lets the module map a region with huge pages


@dataclass(frozen=True)
class Facts:
    """What a plan must know of the node: kernel release, CPUs, reserved memory and what labs already use of it, modules.

    ``isolated``: CPUs that nothing but devices is to run on (isolcpus=).
    ``modules`` is None where the node cannot be asked (a plan before any guest runs).
    """

    release: str = ""
    cpus: int = 4
    isolated: tuple[int, ...] = ()
    reserved: tuple[tuple[int, int], ...] = ((5 << 30, 4 << 30),)  # (start, size) in bytes
    taken: tuple[tuple[int, int], ...] = ()
    modules: frozenset[str] | None = None
    nvlab_ko: str = "nvlab.ko"


@dataclass
class Placement:
    """Hands out regions of the reserved memory, first fit; a lab's placement is decided when it is planned."""

    reserved: Sequence[tuple[int, int]]
    taken: list[tuple[int, int]]

    def take(self, size: int, owner: str) -> int:
        """The start of a free region of ``size`` bytes, aligned to 2 MiB."""
        for start, length in sorted(self.reserved):
            at = _up(start)
            for used_start, used_size in sorted(self.taken):
                if at + size > used_start and used_start + used_size > at:
                    at = _up(used_start + used_size)
            if at + size <= start + length:
                self.taken.append((at, size))
                return at
        free = sum(n for _, n in self.reserved) - sum(n for _, n in self.taken)
        raise EnvironmentNotReady(
            f"{owner}: no reserved region of {size >> 20} MiB is free ({max(0, free) >> 20} MiB are, in pieces)",
            hint="take down another lab, or make the devices smaller",
        )


def _up(address: int) -> int:
    return -(-address // REGION_ALIGN) * REGION_ALIGN


@dataclass(frozen=True)
class Object:
    """One object of a scenario: its table, name and spec."""

    table: str
    name: str
    spec: Any

    @property
    def path(self) -> str:
        """Its place in the TOML file."""
        return f"{self.table}.{self.name}"


@dataclass(frozen=True)
class Moment:
    """When in a workload: so many ns after its first I/O, at a share (0 to 1) of its planned time, or once it has ended."""

    ns: int = 0
    share: float | None = None
    ended: bool = False


@dataclass(frozen=True)
class Event:
    """One ``[[event]]`` of a scenario: what happens, to which object ("" for the whole machine), when; ``spec`` has the keys that
    its ``do`` has.
    """

    path: str
    do: str
    on: str
    during: str
    at: Moment
    spec: Any

    @property
    def name(self) -> str:
        """The object's name; ``on`` may be one of its count."""
        return self.on.partition(".")[0]


@dataclass
class Lab:
    """A scenario being planned: its objects by name, the node's facts, and the identities derived from its name."""

    name: str
    objects: Mapping[str, Object]
    facts: Facts = field(default_factory=Facts)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.placement = Placement(self.facts.reserved, list(self.facts.taken))

    def uuid(self, *words: str) -> str:
        """A UUID that is always the same for this lab and these words."""
        return str(uuid.uuid5(_NAMESPACE, "/".join((self.name, *words))))

    def ident(self, *words: str, limit: int = 31) -> str:
        """A name for the kernel, at most ``limit`` characters, telling and unique: "nvlab-hybrid-pool-1"."""
        full = "-".join(("nvlab", self.name, *words))
        if len(full) <= limit:
            return full
        return f"{full[: limit - 9]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"

    def disk_ident(self, *words: str) -> str:
        """A name for a disk. mdadm 4.2 dies of a buffer overflow over members whose names, "p1" included, exceed 27."""
        return self.ident(*words, limit=25)

    def nqn(self, kind: str, name: str) -> str:
        """A qualified name under nvlab's own authority, telling which lab it is of."""
        return f"nqn.2026-11.io.nvlab:{kind}:{self.name}:{name}"

    def blocks(self, ref: str) -> list[str]:
        """What stands for a reference to block devices: the providers' names, "pool" giving all of its count."""
        name, _, which = ref.partition(".")
        obj = self.objects[name]
        names = provided(obj)
        return [names[int(which) - 1]] if which else names

    def users(self, ref: str) -> list[Object]:
        """What stands on any of the block devices that a reference is to; loads do not count."""
        mine = set(self.blocks(ref))
        layers = (obj for obj in self.objects.values() if obj.table != "workload")
        return [obj for obj in layers if any(mine & set(self.blocks(used)) for used in self._used(obj))]

    def _used(self, obj: Object) -> list[str]:
        return [ref for _, ref, tables in marked_references(obj.path, obj.spec) if set(tables) & set(BLOCK)]

    def stack(self, target: str) -> dict[str, object]:
        """What a load's target is on, as a run has it (:mod:`nvlab.record`)."""
        return {"target": target, "below": self.below(), "exported": self.exported()}

    def below(self) -> dict[str, list[str]]:
        """Of each block device and file system that is on others: on which, all by their names."""
        found = {name: self._below(obj) for obj in self.objects.values() if obj.table != "workload" for name in provided(obj)}
        return {name: below for name, below in found.items() if below}

    def exported(self) -> dict[str, str]:
        """Of each block device that hosts reach through an export: through which."""
        return {name: obj.name for obj in self.objects.values() if obj.table == "export" for name in self._below(obj)}

    def _below(self, obj: Object) -> list[str]:
        """The block devices that an object is directly on; a connection is on one namespace of its export."""
        exports = [self.objects[ref] for _, ref, tables in marked_references(obj.path, obj.spec) if "export" in tables]
        if exports:
            return self._below(exports[0])[obj.spec.nsid - 1 : obj.spec.nsid]
        return [name for ref in self._used(obj) for name in self.blocks(ref)]

    def devs(self, refs: Sequence[str]) -> list[str]:
        """Arguments that the engine resolves to device nodes."""
        return [f"{{{name}.dev}}" for ref in refs for name in self.blocks(ref)]

    def has_module(self, name: str) -> bool:
        """Whether the node can load a module; True where it cannot be asked."""
        return self.facts.modules is None or name.replace("-", "_") in self.facts.modules


def provided(obj: Object) -> list[str]:
    """The names under which an object's block devices are known to later steps."""
    count = getattr(obj.spec, "count", 1)
    return [f"{obj.name}.{i}" for i in range(1, count + 1)] if count > 1 else [obj.name]


@dataclass(frozen=True)
class Built:
    """What a layer contributes to the plan; ``last`` are steps for when all layers stand."""

    steps: Sequence[Step]
    layer: Layer
    modules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> parameters
    last: Sequence[Step] = ()


@dataclass(frozen=True)
class Deed:
    """What an event does: acts (:mod:`nvlab.kernel.act`) with their arguments; ``label`` marks it on a figure. Whether the load
    ``ends`` with it, whatever it has under way.
    """

    label: str
    acts: Sequence[tuple[str, Mapping[str, Any]]]
    ends: bool = False


def _nothing_wrong(event: Event, lab: Lab) -> Iterator[Problem]:
    del event, lab
    yield from ()


@dataclass(frozen=True)
class EventKind:
    """Something that may happen to a layer's objects: its ``do``, the spec of its further keys, and its two functions."""

    do: str
    spec: type
    deed: Callable[[Event, Lab], Deed]
    check: Callable[[Event, Lab], Iterator[Problem]] = _nothing_wrong

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.spec.__doc__ or "")


@dataclass(frozen=True)
class LayerKind:
    """One layer: the table it is written as, its spec and its two functions."""

    table: str
    spec: type
    check: Callable[[Object, Lab], Iterator[Problem]]
    build: Callable[[Object, Lab], Built]
    watch: Literal["block", "md", "dm", "net", ""] = "block"  # how a recorder samples it
    doc: str = ""
    events: Sequence[EventKind] = ()

    NAME: ClassVar[str] = r"[a-z][a-z0-9_-]{0,30}"
