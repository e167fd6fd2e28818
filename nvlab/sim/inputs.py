# SPDX-License-Identifier: GPL-2.0-or-later
"""Recorded I/O of others as commands for the simulator: fio's iolog, blkparse's text, the MSR Cambridge traces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nvlab.sim.structs import COMMAND, MAX_BLOCKS, Opcode

READ, WRITE, FLUSH = 0, 1, 2
Row = tuple[int, int, int, int]  # ns, one of the above, byte, bytes

_BLKPARSE = re.compile(
    r"\s*\d+,\d+\s+\d+\s+\d+\s+(?P<s>\d+)\.(?P<ns>\d{9})\s+\d+"  # device, CPU, number, time, process
    r"\s+(?P<action>[A-Z])\s+(?P<rwbs>[A-Z]+)(?:\s+(?P<sector>\d+) \+ (?P<n>\d+))?"
)
_MSR = re.compile(r"(?P<t>\d+),[^,]*,\d+,(?P<op>Read|Write),(?P<at>\d+),(?P<bytes>\d+),\d+\s*")


@dataclass(frozen=True)
class Recorded:
    """I/O in the order it was submitted, all of shape (n,): ``t`` in ns from the first, ``op`` (read, write, flush), ``at`` and
    ``size`` in bytes. ``skipped`` counts what was none of them, such as discards."""

    t: NDArray[np.int64]
    op: NDArray[np.int64]
    at: NDArray[np.int64]
    size: NDArray[np.int64]
    skipped: int

    def commands(self, blocks: int, block_shift: int) -> tuple[NDArray[np.void], int]:
        """Commands, dtype ``COMMAND``, for a device; and how many lay beyond its end, and were folded back into it.

        Each covers the blocks that its bytes touch. Raises ValueError for one that is longer than a command may be.
        """
        first = self.at >> block_shift
        nlb = ((self.at + np.maximum(self.size, 1) - 1) >> block_shift) - first + 1
        if len(nlb) and nlb.max() > min(MAX_BLOCKS, blocks):
            raise ValueError(f"an I/O of {int(self.size.max())} bytes is longer than the device or a command can be")
        beyond = first + nlb > blocks
        found = np.zeros(len(self.t), COMMAND)
        found["now"], found["nsid"] = self.t, 1
        found["opcode"] = np.choose(self.op, [Opcode.READ, Opcode.WRITE, Opcode.FLUSH])
        found["slba"], found["nlb"] = np.where(beyond, first % (blocks - nlb + 1), first), nlb
        return found, int(np.count_nonzero(beyond & (self.op != FLUSH)))


def read_recorded(path: Path) -> Recorded:
    """Read a file of any of the formats; its beginning says which. Raises ValueError for others, and for a wrong line."""
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.readline()
        file.seek(0)
        rows = list(_format_of(head)(file))
    kept = np.array([row for row in rows if row is not None], np.int64).reshape(-1, 4)
    if not len(kept):
        raise ValueError(f"{path} has no I/O in it")
    kept = kept[np.argsort(kept[:, 0], kind="stable")]
    t, op, at, size = kept.T
    return Recorded(t - t[0], op, at, size, sum(row is None for row in rows))


def _format_of(head: str) -> Callable[[Iterable[str]], Iterator[Row | None]]:
    if head.startswith("fio version 2 iolog"):
        return _iolog_2
    if head.startswith("fio version 3 iolog"):
        return _iolog_3
    if _MSR.fullmatch(head):
        return _msr
    if _BLKPARSE.match(head):
        return _blkparse
    raise ValueError(f"begins neither as fio's iolog, blkparse's output nor an MSR Cambridge trace: {head[:60]!r}")


_FIO_ACTIONS = {"read": READ, "write": WRITE, "sync": FLUSH, "datasync": FLUSH}
_FIO_OTHERS = {"add", "open", "close", "trim"}


def _iolog_2(lines: Iterable[str]) -> Iterator[Row | None]:
    """``FILE ACTION [OFFSET LENGTH]``; ``FILE wait US`` is the time to the next, as :manpage:`fio(1)` has it."""
    now = 0
    for number, line in _numbered(lines):
        words = line.split()
        if words[1:2] == ["wait"]:
            now += int(words[2]) * 1000
        else:
            yield _fio_row(number, now, words[1:])


def _iolog_3(lines: Iterable[str]) -> Iterator[Row | None]:
    """``US FILE ACTION [OFFSET LENGTH]``."""
    for number, line in _numbered(lines):
        words = line.split()
        yield _fio_row(number, int(words[0]) * 1000, words[2:])


def _fio_row(number: int, now: int, words: list[str]) -> Row | None:
    if words and words[0] in _FIO_ACTIONS:
        at, size = (int(word) for word in words[1:3]) if len(words) > 2 else (0, 0)
        return now, _FIO_ACTIONS[words[0]], at, size
    if words and words[0] in _FIO_OTHERS:
        return None
    raise ValueError(f"line {number} of fio's iolog says nothing that is known: {' '.join(words)[:60]!r}")


def _numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines, 1) if number > 1 and line.strip())


def _msr(lines: Iterable[str]) -> Iterator[Row | None]:
    """``Timestamp,Host,Disk,Type,Offset,Size,ResponseTime``; times in units of 100 ns, since the year 1601."""
    began: int | None = None
    for number, line in enumerate(lines, 1):
        found = _MSR.fullmatch(line)
        if not found:
            raise ValueError(f"line {number} is not one of an MSR Cambridge trace: {line[:60]!r}")
        began = int(found["t"]) if began is None else began
        yield (int(found["t"]) - began) * 100, READ if found["op"] == "Read" else WRITE, int(found["at"]), int(found["bytes"])


def _blkparse(lines: Iterable[str]) -> Iterator[Row | None]:
    """blkparse's default lines: what was queued (Q) counts, the rest are later stages of it, and the summary at the end."""
    for line in lines:
        found = _BLKPARSE.match(line)
        if not found or found["action"] != "Q":
            continue
        now = int(found["s"]) * 10**9 + int(found["ns"])
        where = int(found["sector"] or 0) * 512, int(found["n"] or 0) * 512
        if "D" in found["rwbs"]:
            yield None
        elif "R" in found["rwbs"] and where[1]:
            yield now, READ, *where
        elif "W" in found["rwbs"] and where[1]:
            yield now, WRITE, *where
        elif "F" in found["rwbs"]:
            yield now, FLUSH, 0, 0
