# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts latencies in this process, out of the records of the block layer's tracepoints. Stdlib only; interprets nothing.

For kernels that do not describe their types, so that no program in them can follow a bio: :mod:`nvlab.record.blockmatch` has it
found by device and sectors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

from nvlab.kernel.perf import LOST, Record, Rings
from nvlab.kernel.tracefs import Tracepoint, mounted, tracepoint
from nvlab.record.blockmatch import FIELDS, FIELDS_OF, Matcher

_EVERY = 0.1  # s between looks at the rings
_SETTLED = 10**9  # ns; a CPU that was stopped while it wrote a record has gone on by then
_HEADS = "/devices/virtual/nvme-subsystem/"  # where sysfs has the disks whose I/O may take several paths


class InRings:
    """Counts from when it is made until :meth:`close`. ``names`` of devices by their numbers; a slot is the place there.

    Raises OSError where the kernel has no tracefs (ENODEV) or gives no records (EPERM, EACCES), ValueError.
    """

    def __init__(self, names: Mapping[int, str], *, exported: bool = False) -> None:
        self.left_out = "no record of the target's says which device a command is for" if exported else ""
        slots = {number: slot for slot, number in enumerate(names)}
        self._matcher = Matcher(slots, {number for number, name in names.items() if _is_head(name)})
        handlers = self._matcher.handlers()
        tracepoints = _tracepoints(handlers)
        self._handlers = {each.id: handlers[each.name] for each in tracepoints}
        self._rings = Rings(tracepoints)
        self._waiting: list[Record] = []
        self._records_lost = 0
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="layers", daemon=True)
        self._thread.start()

    def latencies(self) -> Mapping[int, int]:
        """{place, as :func:`nvlab.record.blockprobe.first_bucket` has it: count}"""
        self._catch_up(time.monotonic_ns())
        with self._lock:
            return dict(self._matcher.latencies)

    def flags(self, slot: int) -> Sequence[int]:
        self._catch_up(time.monotonic_ns())
        return tuple(self._matcher.flags[slot])

    def lost(self) -> int:
        """Records that there was no room for."""
        return self._records_lost

    def missed(self) -> int:
        """What could not be told apart, or has not ended."""
        return self._matcher.missed + self._matcher.unfinished()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._rings.close()

    def _follow(self) -> None:
        while not self._over.wait(_EVERY):
            self._catch_up(time.monotonic_ns() - _SETTLED)

    def _catch_up(self, until: int) -> None:
        """Count what happened until then, in its order: each CPU has only its own in order."""
        with self._lock:
            found = sorted(self._waiting + self._rings.take(), key=attrgetter("time"))
            self._waiting = [record for record in found if record.time > until]
            for record in found[: len(found) - len(self._waiting)]:
                self._count(record)

    def _count(self, record: Record) -> None:
        if record.id == LOST:
            self._records_lost += record.fields[0]
            self._matcher.forget()
        else:
            self._handlers[record.id](record.time, *record.fields)


def _tracepoints(names: Iterable[str]) -> list[Tracepoint]:
    with mounted() as root:
        return [tracepoint(root, f"block/{name}", FIELDS_OF.get(name, FIELDS), arrays=("rwbs",)) for name in names]


def _is_head(name: str) -> bool:
    return _HEADS in str(Path("/sys/class/block", name).resolve())
