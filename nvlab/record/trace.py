# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a virtual device's trace from the memory it shares, into a file as it is. Stdlib only; interprets nothing.

The layout is ``kmod/core/nvc_trace.h``'s: a page that describes the rings, then each ring as a page with its counters and its
records, 128 bytes each. :mod:`nvlab.record.tracefile` makes arrays of the file.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRACES = "trace"  # in a workload's directory: LAYER.raw, its trace
_PAGE = 4096
_MAP = struct.Struct("<IIIIQQ")  # version, bytes of a record, rings, records of a ring, bytes from ring to ring, ended
_VERSION = 3
_ENDED = 3  # in words of 64 bits from the start of the mapping
_TAIL, _OVERRUNS, _STALLS, _HEAD = 0, 1, 2, 8  # the same, from the start of a ring
_AT_REST = 0.2  # s that a few records may wait; when a ring is a quarter full, the module wakes us

Sink = Callable[[memoryview], object]


class TraceReader:
    """The one reader of a device's trace. Raises OSError (ENOENT: it has none, EBUSY: somebody else reads it)."""

    def __init__(self, path: str | Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = self._mapped(self._fd)
        except BaseException:
            os.close(self._fd)
            raise
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")

    def _mapped(self, fd: int) -> mmap.mmap:
        with mmap.mmap(fd, _PAGE) as head:
            version, self.record, self.rings, self.entries, self.stride, _ = _MAP.unpack_from(head)
        if version != _VERSION:
            raise OSError(f"the trace has format {version}, this nvlab reads {_VERSION}")
        return mmap.mmap(fd, _PAGE + self.rings * self.stride)

    def fileno(self) -> int:
        """To be polled: readable when a ring is a quarter full or the device waits for us, hung up when its power is off."""
        return self._fd

    def drain(self, sink: Sink) -> int:
        """Pass on every record there is, ring after ring, then free their places; how many there were."""
        return sum(self._drain_ring(_PAGE + ring * self.stride, sink) for ring in range(self.rings))

    def _drain_ring(self, start: int, sink: Sink) -> int:
        words, word = self._words, start // 8
        tail, head = words[word + _TAIL], words[word + _HEAD]
        records = start + _PAGE
        at = head
        while at < tail:
            piece = min(tail - at, self.entries - at % self.entries)  # one ends where the ring does
            first = records + at % self.entries * self.record
            sink(self._bytes[first : first + piece * self.record])
            at += piece
        words[word + _HEAD] = tail
        return int(tail - head)

    def _sum(self, which: int) -> int:
        return sum(self._words[(_PAGE + ring * self.stride) // 8 + which] for ring in range(self.rings))

    @property
    def overruns(self) -> int:
        """Records that were not written for want of room, since the power went on."""
        return self._sum(_OVERRUNS)

    @property
    def stalls(self) -> int:
        """Times that the device waited for this reader."""
        return self._sum(_STALLS)

    @property
    def ended(self) -> bool:
        """Whether the device's power is off: what is drained after this is the rest."""
        return bool(self._words[_ENDED])

    def close(self) -> None:
        self._words.release()
        self._bytes.release()
        self._map.close()
        os.close(self._fd)


@dataclass(frozen=True)
class Traced:
    """A device whose trace is to be recorded: the layer it is ("nvme.2") and the node of its trace."""

    layer: str
    path: str


class TraceRecorder:
    """Drains the traces of some devices into files, in a thread of its own from :meth:`start` to :meth:`stop`."""

    def __init__(self, directory: Path, traced: Sequence[Traced]) -> None:
        self._traced = tuple(traced)
        self._readers: list[TraceReader] = []
        self._counts = [0] * len(self._traced)
        self._error = ""
        if self._traced:
            directory.mkdir()
        self._files = [(directory / f"{t.layer}.raw").open("wb") for t in self._traced]
        self._ended = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)

    def start(self) -> None:
        """Begin. Raises OSError when a trace cannot be read."""
        try:
            for traced in self._traced:
                self._readers.append(TraceReader(traced.path))
        except BaseException:
            self._close()
            raise
        self._thread.start()

    def stop(self) -> list[dict[str, Any]]:
        """End; for each device what was recorded: {"layer", "records", "overruns", "stalls", "error"}."""
        os.eventfd_write(self._ended, 1)
        self._thread.join()
        found = [
            {"layer": t.layer, "records": n, "overruns": r.overruns, "stalls": r.stalls, "error": self._error}
            for t, n, r in zip(self._traced, self._counts, self._readers, strict=True)
        ]
        self._close()
        return found

    def _run(self) -> None:
        try:
            self._follow()
        except OSError as error:  # no space left, say: the measurement goes on, its trace does not
            self._error = str(error)

    def _follow(self) -> None:
        poll = select.poll()
        for fd in (self._ended, *(reader.fileno() for reader in self._readers)):
            poll.register(fd, select.POLLIN)
        ready: dict[int, int] = {}
        while self._ended not in ready:
            ready = dict(poll.poll(_AT_REST * 1000))
            self._drain()
            for fd in (fd for fd, event in ready.items() if event & select.POLLHUP):
                poll.unregister(fd)

    def _drain(self) -> None:
        for index, reader in enumerate(self._readers):
            self._counts[index] += reader.drain(self._files[index].write)

    def _close(self) -> None:
        os.close(self._ended)
        for reader in self._readers:
            reader.close()
        for file in self._files:
            file.close()
