# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts latencies in the kernel, by the programs of :mod:`nvlab.record.blockprobe`. Stdlib only; interprets nothing."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack

from nvlab.kernel.assembler import Program
from nvlab.kernel.bpf import Attached, Counters, Map
from nvlab.kernel.btf import KERNEL, Btf
from nvlab.record.blockprobe import BUCKETS, FLAGS, KINDS, OPS, Layout, Maps, Target, programs, target_programs

_IN_FLIGHT = 1 << 14  # bios, and requests, that may be under way at one time
_TARGET = KERNEL.with_name("nvmet")


class InKernel:
    """Counts from when it is made until :meth:`close`. ``devices`` are numbers; a device's slot is its place among them.

    ``exported``: count the target's commands, too. ``left_out``: why they are not counted though they should be.

    Raises OSError: FileNotFoundError where the kernel does not describe its types, EPERM; ValueError.
    """

    def __init__(self, devices: Collection[int], *, exported: bool = False) -> None:
        self._open = ExitStack()
        self._attached: list[Attached] = []
        self._slots = max(1, len(devices))
        try:
            types = Btf()
            layout = Layout.of(types)
            maps = self._made(devices)
            self.left_out = self._follow_target(types, layout, maps) if exported else ""
            self._attach(programs(layout, maps))
        except (OSError, ValueError):
            self._open.close()
            raise

    def _made(self, devices: Collection[int]) -> Maps:
        sizes = ((4, 4, self._slots), (8, 16, _IN_FLIGHT), (8, 16, _IN_FLIGHT))
        slots, bios, requests = (Map.hash(*each) for each in sizes)
        self._latencies = Counters(self._slots * len(KINDS) * len(OPS) * BUCKETS)
        self._flags, self._lost = Counters(self._slots * len(FLAGS)), Counters(1)
        for each in (slots, bios, requests, self._latencies, self._flags, self._lost):
            self._open.callback(each.close)
        for slot, device in enumerate(devices):
            slots.update(struct.pack("<I", device), struct.pack("<I", slot))
        return Maps(slots.fd, bios.fd, requests.fd, self._latencies.fd, self._flags.fd, self._lost.fd)

    def _attach(self, wanted: Iterable[tuple[str, Program]]) -> None:
        for tracepoint, program in wanted:
            self._attached.append(Attached(tracepoint, program))
            self._open.callback(self._attached[-1].close)

    def _follow_target(self, types: Btf, layout: Layout, maps: Maps) -> str:
        """Why that cannot be; the devices are counted without it."""
        try:
            self._attach(target_programs(layout, Target.of(Btf(_TARGET, types)), maps))
        except (OSError, ValueError) as error:
            return str(error)
        return ""

    def latencies(self) -> Mapping[int, int]:
        """{place, as :func:`nvlab.record.blockprobe.first_bucket` has it: count}"""
        found: dict[int, int] = {}
        for first in range(0, self._slots * len(KINDS) * len(OPS) * BUCKETS, BUCKETS):
            found |= {first + n: count for n, count in enumerate(self._latencies.read(first, BUCKETS)) if count}
        return found

    def flags(self, slot: int) -> Sequence[int]:
        return self._flags.read(slot * len(FLAGS), len(FLAGS)) or [0] * len(FLAGS)

    def lost(self) -> int:
        """What there was no room for."""
        return sum(self._lost.read())

    def missed(self) -> int:
        """How often a program was left out."""
        return sum(attached.misses() for attached in self._attached)

    def close(self) -> None:
        self._open.close()
