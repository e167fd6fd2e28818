# SPDX-License-Identifier: GPL-2.0-or-later
"""What a layer is, and what it may ask while it turns its spec into steps.

A layer's file holds a frozen dataclass (its spec) and a :class:`LayerKind`. ``check`` yields what is wrong with an object
in its lab, ``build`` gives its steps; both are pure.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from nvlab.errors import EnvironmentNotReady, Problem
from nvlab.plan import Layer, Step

BLOCK = ("device", "disk", "raid", "cache", "connect")  # tables whose objects are block devices

_NAMESPACE = uuid.UUID("6f9d1f6e-27c4-5b0e-9c55-3f6d0b1c8a11")  # of every identity nvlab derives from a lab's name
REGION_ALIGN = 2 << 20  # bytes; lets the module map a region with huge pages


@dataclass(frozen=True)
class Facts:
    """What a plan must know of the node: kernel release, CPUs, reserved memory and what labs already use of it, modules.

    ``modules`` is None where the node cannot be asked (a plan before any guest runs).
    """

    release: str = ""
    cpus: int = 4
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
class LayerKind:
    """One layer: the table it is written as, its spec and its two functions."""

    table: str
    spec: type
    check: Callable[[Object, Lab], Iterator[Problem]]
    build: Callable[[Object, Lab], Built]
    watch: Literal["block", "md", "dm", ""] = "block"  # how a recorder samples it
    doc: str = ""

    NAME: ClassVar[str] = r"[a-z][a-z0-9_-]{0,30}"
