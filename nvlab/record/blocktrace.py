# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency of every watched block device while a load is measured. Stdlib only; interprets nothing.

It is counted in the kernel where that describes its types (:mod:`nvlab.record.blockbpf`), else in this process, out of the
kernel's records (:mod:`nvlab.record.blockrings`). What is made in the kernel hangs on this process either way, so that nothing
needs to be undone.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from nvlab.errors import EnvironmentNotReady
from nvlab.kernel.btf import KERNEL
from nvlab.record.blockbpf import InKernel
from nvlab.record.blockprobe import BUCKETS, FLAGS, KINDS, OPS
from nvlab.record.blockrings import InRings
from nvlab.record.samplers import Watch

Way = Literal["bpf", "perf"]
_MINOR_BITS = 20


class Counting(Protocol):
    """One way to count, at work since it was made. ``left_out``: why the target's commands are not counted."""

    left_out: str

    def latencies(self) -> Mapping[int, int]: ...

    def flags(self, slot: int) -> Sequence[int]: ...

    def lost(self) -> int: ...

    def missed(self) -> int: ...

    def close(self) -> None: ...


class BlockTracer:
    """Counts from :meth:`start` to :meth:`close`, of the devices that the block ``watches`` name when it is made.

    ``way``: "bpf", or "perf" where the kernel does not describe its types; None for what this kernel has. ``exported``: whether a
    target serves some of them, whose commands are to be counted, too.
    """

    def __init__(self, watches: Sequence[Watch], way: Way | None = None, *, exported: bool = False) -> None:
        self._exported = exported
        self.way: Way = way or ("bpf" if KERNEL.exists() else "perf")
        found = [(n, watch.name, _number(watch.name)) for n, watch in enumerate(watches) if watch.kind == "block"]
        self._names = {number: name for _, name, number in found if number}
        self._watches = list({number: n for n, _, number in found if number}.values())  # by slot
        self._counting: Counting | None = None

    def start(self) -> None:
        """Begin. Raises EnvironmentNotReady where this kernel cannot be looked into."""
        try:
            begin = InKernel if self.way == "bpf" else InRings
            self._counting = begin(self._names, exported=self._exported)
        except (OSError, ValueError) as error:
            raise EnvironmentNotReady(f"latency by layer (layers = true): {_why(error)}", hint=_cure(error)) from error

    def flags(self) -> dict[int, dict[str, int]]:
        """Of each device, by its place in the watches: how often each of the flags was seen since the start."""
        counting = self._started()
        return {watch: dict(zip(FLAGS, counting.flags(slot), strict=True)) for slot, watch in enumerate(self._watches)}

    def counted(self) -> dict[str, Any]:
        """What was counted until now, as ``layers.json`` has it (:mod:`nvlab.record`)."""
        counting = self._started()
        return {
            "way": self.way,
            "latencies": [self._row(place, count) for place, count in sorted(counting.latencies().items())],
            "flags": [{"watch": watch, **flags} for watch, flags in self.flags().items()],
            "lost": counting.lost(),
            "missed": counting.missed(),
            "left_out": counting.left_out,
        }

    def close(self) -> None:
        """End, and take all of it out of the kernel."""
        if self._counting:
            self._counting.close()
            self._counting = None

    def _started(self) -> Counting:
        assert self._counting, "it has not been started"
        return self._counting

    def _row(self, place: int, count: int) -> list[int]:
        """Watch, kind, op, bucket, count."""
        rest, bucket = divmod(place, BUCKETS)
        rest, op = divmod(rest, len(OPS))
        slot, kind = divmod(rest, len(KINDS))
        return [self._watches[slot], kind, op, bucket, count]


def _number(name: str) -> int:
    """A block device's number as the kernel has it inside; 0 where there is no such device."""
    try:
        major, minor = Path("/sys/class/block", name, "dev").read_text().split(":")
    except OSError:
        return 0
    return int(major) << _MINOR_BITS | int(minor)


def _why(error: OSError | ValueError) -> str:
    if _is_bare(error):
        return f"the kernel has neither types ({KERNEL}) nor tracepoints (tracefs) to be read"
    return str(error.strerror if isinstance(error, OSError) else error)


def _cure(error: OSError | ValueError) -> str:
    if _is_bare(error):
        return "use a kernel with CONFIG_DEBUG_INFO_BTF, as Debian's are, or with CONFIG_BLK_DEV_IO_TRACE; or leave layers out"
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return "it needs root, and a kernel that is not locked down (cat /sys/kernel/security/lockdown); or leave layers out"
    return "leave layers out, and report this kernel"


def _is_bare(error: OSError | ValueError) -> bool:
    """Whether what is missing was left out when the kernel was built."""
    return isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENODEV, errno.ENOSYS)
