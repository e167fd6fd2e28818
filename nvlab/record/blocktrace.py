# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency of every watched block device, counted in the kernel while a load is measured. Stdlib only; interprets nothing.

What it makes in the kernel hangs on this process (:mod:`nvlab.kernel.bpf`), so that nothing needs to be undone.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

from nvlab.errors import EnvironmentNotReady
from nvlab.kernel.bpf import Attached, Counters, Map
from nvlab.kernel.btf import KERNEL, Btf
from nvlab.record.blockprobe import BUCKETS, FLAGS, KINDS, OPS, Layout, Maps, first_bucket, programs
from nvlab.record.samplers import Watch

_IN_FLIGHT = 1 << 14  # bios, and requests, that may be under way at one time
_MINOR_BITS = 20


class BlockTracer:
    """Counts from :meth:`start` to :meth:`close`, of the devices that the block ``watches`` name when it starts."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        self._devices = [(n, device) for n, w in enumerate(watches) if w.kind == "block" and (device := _number(w.name))]
        self._open = ExitStack()
        self._attached: list[Attached] = []

    def start(self) -> None:
        """Begin. Raises EnvironmentNotReady where this kernel cannot be looked into."""
        try:
            self._start()
        except (OSError, ValueError) as error:
            self._open.close()
            raise EnvironmentNotReady(f"latency by layer (layers = true): {_why(error)}", hint=_cure(error)) from error

    def _start(self) -> None:
        layout = Layout.of(Btf())
        slots = max(1, len(self._devices))
        devices, bios, requests = (Map.hash(*sizes) for sizes in ((4, 4, slots), (8, 16, _IN_FLIGHT), (8, 16, _IN_FLIGHT)))
        self._latencies = Counters(slots * len(KINDS) * len(OPS) * BUCKETS)
        self._flags, self._lost = Counters(slots * len(FLAGS)), Counters(1)
        for each in (devices, bios, requests, self._latencies, self._flags, self._lost):
            self._open.callback(each.close)
        for slot, (_, device) in enumerate(self._devices):
            devices.update(struct.pack("<I", device), struct.pack("<I", slot))
        maps = Maps(devices.fd, bios.fd, requests.fd, self._latencies.fd, self._flags.fd, self._lost.fd)
        for tracepoint, program in programs(layout, maps):
            self._attached.append(Attached(tracepoint, program))
            self._open.callback(self._attached[-1].close)

    def flags(self) -> dict[int, dict[str, int]]:
        """Of each device, by its place in the watches: how often each of the flags was seen since the start."""
        none = [0] * len(FLAGS)
        counted = {watch: self._flags.read(slot * len(FLAGS), len(FLAGS)) for slot, (watch, _) in enumerate(self._devices)}
        return {watch: dict(zip(FLAGS, counts or none, strict=True)) for watch, counts in counted.items()}

    def counted(self) -> dict[str, Any]:
        """What was counted until now, as ``layers.json`` has it (:mod:`nvlab.record`)."""
        return {
            "latencies": self._rows(),
            "flags": [{"watch": watch, **flags} for watch, flags in self.flags().items()],
            "lost": sum(self._lost.read()),
            "missed": sum(attached.misses() for attached in self._attached),
        }

    def close(self) -> None:
        """End, and take all of it out of the kernel."""
        self._open.close()

    def _rows(self) -> list[list[int]]:
        """What is not 0 of the histograms: watch, kind, op, bucket, count."""
        rows = []
        for slot, kind, op in product(range(len(self._devices)), range(len(KINDS)), range(len(OPS))):
            counts = self._latencies.read(first_bucket(slot, kind, op), BUCKETS)
            watch = self._devices[slot][0]
            rows += [[watch, kind, op, bucket, count] for bucket, count in enumerate(counts) if count]
        return rows


def _number(name: str) -> int:
    """A block device's number as the kernel has it inside; 0 where there is no such device."""
    try:
        major, minor = Path("/sys/class/block", name, "dev").read_text().split(":")
    except OSError:
        return 0
    return int(major) << _MINOR_BITS | int(minor)


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"the kernel does not describe its types ({KERNEL} is missing)"
    return str(error.strerror if isinstance(error, OSError) else error)


def _cure(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "use a kernel with CONFIG_DEBUG_INFO_BTF, as Debian's are, or leave layers out"
    if isinstance(error, OSError) and error.errno == errno.EPERM:
        return "BPF needs root, and a kernel that is not locked down (cat /sys/kernel/security/lockdown); or leave layers out"
    return "leave layers out, and report this kernel"
