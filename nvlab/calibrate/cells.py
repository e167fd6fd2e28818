# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep: loads of one direction, block size and queue depth each, and the figures of each that a fit looks at. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvlab.units import KIB, format_size

DIRECTIONS = ("randread", "read", "randwrite", "write")
PERCENTILES = (10, 40, 60, 90)  # off the thirds and quarters at which a page's type changes, and among those fio gives
FIGURES = ("iops", *(f"p{p}" for p in PERCENTILES))
BS = tuple(KIB << shift for shift in (2, 3, 4, 5, 7))
MOST = 4 << 20  # bytes in flight
QD = tuple(1 << shift for shift in range(9))


@dataclass(frozen=True, order=True)
class Cell:
    """One load: ``rw`` as fio has it, ``bs`` in bytes, ``qd`` I/Os in flight."""

    rw: str
    bs: int
    qd: int

    @property
    def reads(self) -> bool:
        return self.rw.endswith("read")

    def __str__(self) -> str:
        return f"{self.rw} {format_size(self.bs).lower()} qd{self.qd}"


@dataclass(frozen=True)
class Sweep:
    """What was measured: of n cells the natural logarithms of ``FIGURES`` (per second; ns), shape (n, 5), nan where unknown,
    and how many times each was measured, shape (n,): their means count."""

    cells: tuple[Cell, ...]
    logs: NDArray[np.float64]
    repeats: NDArray[np.int64]

    def part(self, kept: Sequence[bool]) -> Sweep:
        """Some of its cells."""
        rows = np.array(kept, bool)
        return Sweep(tuple(itertools.compress(self.cells, kept)), self.logs[rows], self.repeats[rows])


def gathered(measured: Iterable[tuple[Cell, NDArray[np.float64]]]) -> Sweep:
    """A sweep of single measurements, those of one cell put together."""
    found: dict[Cell, list[NDArray[np.float64]]] = {}
    for cell, logs in measured:
        found.setdefault(cell, []).append(logs)
    cells = tuple(sorted(found))
    means = np.array([np.mean(found[cell], axis=0) for cell in cells]).reshape(-1, len(FIGURES))
    return Sweep(cells, means, np.array([len(found[cell]) for cell in cells], np.int64))


def product(rw: Iterable[str], bs: Iterable[int] = BS, qd: Iterable[int] = QD) -> tuple[Cell, ...]:
    """Every combination, in order, but for those with so many bytes in flight that they only wait longer."""
    return tuple(Cell(*each) for each in itertools.product(rw, bs, qd) if each[1] * each[2] <= MOST or each[2] == 1)


def figures(latencies: NDArray[np.int64], iops: float, shift: int = 0) -> NDArray[np.float64]:
    """Logarithms of ``FIGURES``, shape (5,), of latencies in ns; with a ``shift``, of percentiles that much higher."""
    ranks = (np.array(PERCENTILES) + shift) * len(latencies) // 100
    found = np.partition(latencies, ranks)[ranks]
    return np.log(np.maximum(1.0, [iops, *found]))
