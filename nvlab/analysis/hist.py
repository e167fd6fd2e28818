# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency histograms in fio's own buckets (:mod:`nvlab.record.buckets`): merged exactly, read as percentiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nvlab.record.buckets import COUNT, bounds_of, bucket_of, middle_of

_CHUNK = (
    1 << 18
)  # values bucketed at a time: what is in the cache is three times as fast, and a mapped trace stays on disk


@dataclass(frozen=True, eq=False)
class Histogram:
    """``counts``: how many latencies fell into each of fio's buckets, shape (1856,)."""

    counts: NDArray[np.int64]

    @staticmethod
    def empty() -> Histogram:
        return Histogram(np.zeros(COUNT, np.int64))

    @staticmethod
    def of(latencies: NDArray[np.unsignedinteger]) -> Histogram:
        """The histogram of latencies in ns; the array may be memory-mapped and larger than memory."""
        counts = np.zeros(COUNT, np.int64)
        for start in range(0, len(latencies), _CHUNK):
            counts += np.bincount(bucket_of(latencies[start : start + _CHUNK]), minlength=COUNT)
        return Histogram(counts)

    @staticmethod
    def of_buckets(buckets: ArrayLike, counts: ArrayLike) -> Histogram:
        """From pairs of bucket and count."""
        total = np.zeros(COUNT, np.int64)
        np.add.at(total, np.asarray(buckets, np.int64), np.asarray(counts, np.int64))
        return Histogram(total)

    def __add__(self, other: Histogram) -> Histogram:
        """Both together; exact, since the buckets are the same."""
        return Histogram(self.counts + other.counts)

    @staticmethod
    def merge(parts: Iterable[Histogram]) -> Histogram:
        return sum(parts, start=Histogram.empty())

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def percentile(self, percent: float) -> float:
        """The latency in ns that ``percent`` (over 0, to 100) of the I/Os did not exceed, as fio names it; nan if there are none.

        The middle of the first bucket at which the running count reaches the share: within 0.8 % of the true value.
        """
        if not self.total:
            return float("nan")
        # 99.9 is no binary fraction: without the rounding 999.0000000001 of 1000 would be asked for
        wanted = np.ceil(np.round(percent / 100 * self.total, 6))
        return float(middle_of(np.searchsorted(np.cumsum(self.counts), max(wanted, 1))))

    def mean(self) -> float:
        """Mean latency in ns, each I/O taken at the middle of its bucket; nan if there are none."""
        total = self.total
        return float(self.counts @ middle_of(np.arange(COUNT)) / total) if total else float("nan")

    def cdf(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Upper bounds in ns of the buckets that hold something, and the share of I/Os at or below each."""
        used = np.flatnonzero(self.counts)
        low, width = bounds_of(used)
        share = np.cumsum(self.counts[used]) / max(self.total, 1)
        return (low + width).astype(np.float64), share
