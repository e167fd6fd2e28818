# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened over time: throughput from a trace of I/Os, rates from running counters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 18
NS_PER_S = 1_000_000_000
SECTOR = 512


@dataclass(frozen=True, eq=False)
class Series:
    """``iops`` and ``bytes_per_s`` in the intervals whose middles are ``t`` (seconds since the origin); all of one shape (n,)."""

    t: NDArray[np.float64]
    iops: NDArray[np.float64]
    bytes_per_s: NDArray[np.float64]


def throughput(trace: NDArray[np.void], interval: float, origin: int, until: int, op: int | None = None) -> Series:
    """Completions of ``trace`` (LATENCY_DTYPE, may be memory-mapped) from ``origin`` to ``until`` (ns), every ``interval`` s.

    ``op`` counts only reads (0), writes (1) or trims (2). The last interval is left out when it is not a whole one.
    """
    step = round(interval * NS_PER_S)
    bins = max((until - origin) // step, 0)
    ios, size = np.zeros(bins + 1), np.zeros(bins + 1)
    for start in range(0, len(trace), _CHUNK):
        part = trace[start : start + _CHUNK]
        where = np.clip((part["t"] - origin) // step, -1, bins)
        keep = where >= 0 if op is None else (where >= 0) & (part["op"] == op)
        ios += np.bincount(where[keep], minlength=bins + 1)
        size += np.bincount(where[keep], weights=part["size"][keep], minlength=bins + 1)
    middles = (np.arange(bins) + 0.5) * interval
    return Series(middles.astype(np.float64), ios[:bins] / interval, size[:bins] / interval)


def block_rates(samples: NDArray[np.void], origin: int, op: str) -> Series:
    """Rates between neighbouring samples (BLOCK_DTYPE, one watch) of ``op`` "reads" or "writes"."""
    sectors = {"reads": "read_sectors", "writes": "write_sectors"}[op]
    if len(samples) < 2:
        nothing = np.empty(0)
        return Series(nothing, nothing, nothing)
    t = (samples["t"] - origin) / NS_PER_S
    step = np.diff(t)
    ios = np.diff(samples[op].astype(np.float64)) / step
    return Series((t[1:] + t[:-1]) / 2, ios, np.diff(samples[sectors].astype(np.float64)) * SECTOR / step)


@dataclass(frozen=True)
class Traffic:
    """What a block device was asked between two samples. Times in ns; ``wait`` is the mean time of one request."""

    reads: int
    read_bytes: int
    writes: int
    write_bytes: int
    flushes: int
    wait: float


def traffic(samples: NDArray[np.void]) -> Traffic:
    """The difference between the first and the last of a device's samples (BLOCK_DTYPE, one watch)."""
    if len(samples) < 2:
        return Traffic(0, 0, 0, 0, 0, float("nan"))
    change = {
        name: int(samples[name][-1]) - int(samples[name][0]) for name in samples.dtype.names or () if name != "watch"
    }
    requests = change["reads"] + change["writes"]
    wait = (change["read_ticks"] + change["write_ticks"]) * 1e6 / requests if requests else float("nan")
    return Traffic(
        reads=change["reads"],
        read_bytes=change["read_sectors"] * SECTOR,
        writes=change["writes"],
        write_bytes=change["write_sectors"] * SECTOR,
        flushes=change["flushes"],
        wait=wait,
    )
