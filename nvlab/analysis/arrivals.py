# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads of a given rate: whether I/Os came when they were due, and how long they took from then on.

fio (and the simulator) measure latency from submission. With a rate, an I/O is due at a time that does not depend on the device;
where all of ``iodepth`` are in flight it is submitted later, and the wait is in no latency that fio reports. That is coordinated
omission: a stall of a second counts as a few slow I/Os, not as all those that should have come meanwhile. The trace has the times
of submission, and a constant rate says when each was due, so that the wait can be added.

A schedule begins with the I/O that was earliest by it. fio logs whole ms (latencies in ns), so that of a live run what is due is
known to a millisecond. fio's Poisson arrivals are in no log: of those nothing is said here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvlab.analysis.hist import Histogram
from nvlab.analysis.runs import Workload
from nvlab.record.format import OPS

NS_PER_S = 1_000_000_000
_LIVE_RESOLUTION = 2_000_000  # ns: fio's log cuts each time to its ms, the first one's too


@dataclass(frozen=True, eq=False)
class Arrivals:
    """One op of one section. ``asked`` and ``got`` in I/Os per second; ``late``: share submitted after it was due."""

    section: int
    op: str
    asked: float
    got: float
    late: float
    from_due: Histogram


def arrivals(work: Workload) -> list[Arrivals]:
    """Of every section with a constant rate of I/Os that was traced; without one none."""
    return [found for index, section in enumerate(work.facts["sections"]) for found in _arrivals(work, index, section)]


def _arrivals(work: Workload, index: int, section: Mapping[str, Any]) -> Iterator[Arrivals]:
    mine = work.latency[work.latency["section"] == index]
    for rate, ops in _schedules(section):
        rows = mine[np.isin(mine["op"], ops)]
        if len(rows):
            yield from _scheduled(work, rows, index, rate)


def _schedules(section: Mapping[str, Any]) -> Iterator[tuple[int, list[int]]]:
    """(I/Os per second, the ops that share them): each of fio's directions has a rate of its own, of keys all have one."""
    keys = section["keys"]
    if "rate_iops" in section.get("kv", {}):
        yield section["kv"]["rate_iops"], list(range(len(OPS)))
    elif "rate_iops" in keys and keys.get("rate_process", "linear") == "linear":
        rates = [int(part or 0) for part in keys["rate_iops"].split(",")]
        yield from ((rate, [op]) for op in range(len(OPS)) if (rate := rates[min(op, len(rates) - 1)]))


def _scheduled(work: Workload, rows: NDArray[np.void], section: int, rate: int) -> Iterator[Arrivals]:
    jobs = [_ordered(rows[rows["job"] == job]) for job in np.unique(rows["job"])]
    done = np.concatenate(jobs)
    wait = np.concatenate([lateness(_submitted(job), rate) for job in jobs])
    least = NS_PER_S // rate if work.facts["engine"] == "nvlab.sim" else max(_LIVE_RESOLUTION, NS_PER_S // rate)
    wait = np.where(wait > least, wait, 0)
    for op in np.unique(done["op"]):
        mine = done["op"] == op
        got = sum(r["iops"] for r in work.results if r["section"] == section and r["op"] == OPS[op])
        from_due = Histogram.of(done["latency"][mine] + wait[mine].astype(np.uint64))
        asked = rate * len(jobs) * float(mine.mean())
        yield Arrivals(section, OPS[op], asked, got, float((wait[mine] > 0).mean()), from_due)


def _submitted(job: NDArray[np.void]) -> NDArray[np.int64]:
    return np.asarray(job["t"] - job["latency"].astype(np.int64))


def _ordered(job: NDArray[np.void]) -> NDArray[np.void]:
    return job[np.argsort(_submitted(job), kind="stable")]


def lateness(submitted: NDArray[np.int64], rate: float) -> NDArray[np.int64]:
    """By how many ns each submission came after it was due, in the order of submission: ``rate`` a second, from the earliest."""
    ordered = np.sort(submitted)
    behind = ordered - (np.arange(len(ordered)) * (NS_PER_S / rate)).astype(np.int64)
    return behind - behind.min() if len(behind) else behind
