# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts latencies in the kernel, by the programs of :mod:`nvlab.record.blockprobe`. Stdlib only; interprets nothing."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack

from nvlab.kernel.bpf import Attached, Counters, Map
from nvlab.kernel.btf import Btf
from nvlab.record.blockprobe import BUCKETS, FLAGS, KINDS, OPS, Layout, Maps, programs

_IN_FLIGHT = 1 << 14  # bios, and requests, that may be under way at one time


class InKernel:
    """Counts from when it is made until :meth:`close`. ``devices`` are numbers; a device's slot is its place among them.

    Raises OSError: FileNotFoundError where the kernel does not describe its types, EPERM; ValueError.
    """

    def __init__(self, devices: Collection[int]) -> None:
        self._open = ExitStack()
        self._attached: list[Attached] = []
        self._slots = max(1, len(devices))
        try:
            self._begin(Layout.of(Btf()), devices)
        except (OSError, ValueError):
            self._open.close()
            raise

    def _begin(self, layout: Layout, devices: Collection[int]) -> None:
        sizes = ((4, 4, self._slots), (8, 16, _IN_FLIGHT), (8, 16, _IN_FLIGHT))
        slots, bios, requests = (Map.hash(*each) for each in sizes)
        self._latencies = Counters(self._slots * len(KINDS) * len(OPS) * BUCKETS)
        self._flags, self._lost = Counters(self._slots * len(FLAGS)), Counters(1)
        for each in (slots, bios, requests, self._latencies, self._flags, self._lost):
            self._open.callback(each.close)
        for slot, device in enumerate(devices):
            slots.update(struct.pack("<I", device), struct.pack("<I", slot))
        maps = Maps(slots.fd, bios.fd, requests.fd, self._latencies.fd, self._flags.fd, self._lost.fd)
        for tracepoint, program in programs(layout, maps):
            self._attached.append(Attached(tracepoint, program))
            self._open.callback(self._attached[-1].close)

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
