# SPDX-License-Identifier: GPL-2.0-or-later
"""Tracepoints by ``perf_event_open(2)``: their records in rings that the kernel fills and this process empties. Stdlib only.

What is made here hangs on file descriptors alone, as with :mod:`nvlab.kernel.bpf`. An instance of tracefs would outlive a process
that is killed.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from nvlab.kernel.tracefs import Tracepoint
from nvlab.units import parse_cpus

_PERF_EVENT_OPEN = 298  # the system call's number on x86-64
_CLOSE_ON_EXEC = 8
_SET_OUTPUT = 0x2405
_TRACEPOINT = 2  # enum perf_type_id
_TIME, _RAW = 1 << 2, 1 << 10  # enum perf_event_sample_format
_SAMPLE_ID_ALL, _USE_CLOCKID = 1 << 18, 1 << 25  # in struct perf_event_attr: losses have a time as well; of the clock named there
_MONOTONIC = 1
_ATTR = struct.Struct("<IIQQQQQIIQQQQIi")  # up to clockid
_HEAD, _DATA = 1024, mmap.PAGESIZE  # in a ring's mapping: data_head and data_tail, and the data
_LOST, _SAMPLE = 2, 9  # enum perf_event_type
_RECORD = struct.Struct("<IHH")  # type, misc, size
_SAMPLED = struct.Struct("<8xQIH")  # time, bytes of what follows, the first two of which are the tracepoint's number
_RAW_AT = 20
_LOSS = struct.Struct("<8xQQQ")  # number of the event, how many, time
SIZE = 2 << 20  # bytes of a ring; some 20,000 records
LOST = 0  # in place of a tracepoint's number
_ONLINE = Path("/sys/devices/system/cpu/online")
_libc = ctypes.CDLL(None, use_errno=True)


class Record(NamedTuple):
    """One record: when it was, in ns of CLOCK_MONOTONIC; of which tracepoint; its fields. Of a loss how many were lost."""

    time: int
    id: int
    fields: tuple[Any, ...]


def records(data: bytes, layouts: Mapping[int, struct.Struct]) -> Iterator[Record]:
    """Those in what was taken out of a ring, by the tracepoints' numbers; of other kinds there is nothing to say. Pure."""
    at = 0
    while at + _RECORD.size <= len(data):
        kind, _, size = _RECORD.unpack_from(data, at)
        if kind == _SAMPLE:
            time, _, number = _SAMPLED.unpack_from(data, at)
            yield Record(time, number, layouts[number].unpack_from(data, at + _RAW_AT))
        elif kind == _LOST:
            _, count, time = _LOSS.unpack_from(data, at)
            yield Record(time, LOST, (count,))
        at += max(size, _RECORD.size)


class Rings:
    """One ring for each CPU, filled from now until this is closed. Raises OSError: EPERM, EACCES."""

    def __init__(self, tracepoints: Sequence[Tracepoint]) -> None:
        self._open = ExitStack()
        self._layouts = {each.id: each.fields for each in tracepoints}
        self._rings: list[_Ring] = []
        try:
            for cpu in parse_cpus(_ONLINE.read_text().strip()):
                self._begin(cpu, tracepoints)
        except BaseException:
            self._open.close()
            raise

    def _begin(self, cpu: int, tracepoints: Sequence[Tracepoint]) -> None:
        first, *others = (self._opened(each, cpu) for each in tracepoints)
        self._rings.append(_Ring(first))
        self._open.callback(self._rings[-1].close)
        for other in others:
            fcntl.ioctl(other, _SET_OUTPUT, first)

    def _opened(self, tracepoint: Tracepoint, cpu: int) -> int:
        fd = _event(tracepoint.id, cpu)
        self._open.callback(os.close, fd)
        return fd

    def take(self) -> list[Record]:
        """What has come since it was last asked for, CPU by CPU."""
        return [record for ring in self._rings for record in records(ring.take(), self._layouts)]

    def close(self) -> None:
        self._open.close()


class _Ring:
    """The memory that one CPU's records come in. The kernel writes at its head; what is before the tail it may write over."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, _DATA + SIZE)
        self._view = memoryview(self._map)
        self._ends = self._view[_HEAD : _HEAD + 16].cast("Q")  # read and written whole, eight bytes at a time

    def take(self) -> bytes:
        head, tail = self._ends
        begin, length = tail % SIZE, head - tail
        first = min(length, SIZE - begin)
        taken = self._map[_DATA + begin : _DATA + begin + first] + self._map[_DATA : _DATA + length - first]
        self._ends[1] = head
        return taken

    def close(self) -> None:
        self._ends.release()
        self._view.release()
        self._map.close()


def _event(tracepoint: int, cpu: int) -> int:
    """A descriptor of all that comes by a tracepoint on a CPU, whoever is at work there."""
    flags = _SAMPLE_ID_ALL | _USE_CLOCKID
    attr = _ATTR.pack(_TRACEPOINT, _ATTR.size, tracepoint, 1, _TIME | _RAW, 0, flags, 0, 0, 0, 0, 0, 0, 0, _MONOTONIC)
    buffer = ctypes.create_string_buffer(attr, len(attr))
    fd = int(_libc.syscall(_PERF_EVENT_OPEN, buffer, -1, cpu, -1, _CLOSE_ON_EXEC))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "perf_event_open")
    return fd
