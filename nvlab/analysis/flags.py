# SPDX-License-Identifier: GPL-2.0-or-later
"""What a reader must know of single repeats: which stick out, were disturbed, were never steady. None is dropped for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nvlab.analysis.arrivals import arrivals
from nvlab.analysis.devices import lateness
from nvlab.analysis.drill import drilled, failures
from nvlab.analysis.durability import swallowed
from nvlab.analysis.latencies import uncounted
from nvlab.analysis.runs import Run, Workload
from nvlab.record import PROC
from nvlab.record.format import OPS
from nvlab.units import human_time

_LEAST = 5  # values before one of them can stick out
_FAR = 3.5  # modified z score (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993)
_OMITTED = 0.001  # share of I/Os that may be late
_STOLEN = 0.01  # share of CPU time that other guests may have had


def notes(run: Run) -> list[str]:
    """Every remark on the workloads of a run, in sentences."""
    return [note for variants in run.loads().values() for note in _of_load(variants)]


def _of_load(variants: Mapping[str, Sequence[Workload]]) -> Iterator[str]:
    yield from drilled([work for works in variants.values() for work in works])
    for works in variants.values():
        yield from _notes(works)


def _notes(works: Sequence[Workload]) -> Iterator[str]:
    name = f"{works[0].load} on {works[0].variant}"
    for number in dict.fromkeys(w.repeat for w in works):
        which = f"{name}, repeat {number + 1}" if number or len(works) > 1 else name
        yield from _unsteady(which, next(w for w in works if w.repeat == number))
    values = [sum(r["iops"] for r in w.results) for w in works]
    for index in outliers(values):
        others = float(np.median(np.delete(values, index)))
        yield f"{_which(name, works[index])} is an outlier: {values[index]:.0f} IOPS, the others {others:.0f}"
    yield from (f"{name}: {what}" for what in (*uncounted(works), *swallowed(works[-1]), *lateness(works)))
    for work in works:
        yield from (f"{_which(name, work)}: {what}" for what in (*failures(work), *omissions(work)))
        yield from (f"{_which(name, work)} was disturbed: {what}" for what in disturbances(work))


def steadiness(run: Run) -> list[str]:
    """What was found steady, and after how many rounds, in sentences."""
    return [said for variants in run.loads().values() for works in variants.values() for said in _steady(works)]


def _steady(works: Sequence[Workload]) -> Iterator[str]:
    """Of one load on one variant; what was not steady in every repeat is among the :func:`notes`."""
    found = [next(w for w in works if w.repeat == n).steady for n in dict.fromkeys(w.repeat for w in works)]
    if not all(verdict and verdict["reached"] for verdict in found):
        return
    rounds = sorted({len(verdict["values"]) for verdict in found})
    after = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    worst = [max(verdict["last"][figure] for verdict in found) for figure in ("excursion", "slope")]
    window = found[0]["limits"]["window"]
    yield (
        f"{works[0].load} on {works[0].variant}: steady after {after} rounds; of the last {window} the excursion is "
        f"{worst[0]:.1f} % at most, the slope {worst[1]:.1f} %"
    )


def _which(name: str, work: Workload) -> str:
    rounds = f", round {work.facts['round'] + 1}" if "round" in work.facts else ""
    return f"{name}, repeat {work.repeat + 1}{rounds}"


def _unsteady(which: str, work: Workload) -> Iterator[str]:
    verdict = work.steady
    if verdict and not verdict["reached"]:
        last, limits = verdict["last"], verdict["limits"]
        yield (
            f"{which}: NOT STEADY after {len(verdict['values'])} rounds; of the last {limits['window']} the excursion is "
            f"{last['excursion']:.0f} % (limit {limits['excursion']:g}) and the slope {last['slope']:.0f} % ({limits['slope']:g})"
        )


def outliers(values: Sequence[float]) -> list[int]:
    """The places of values that are far from the others, by the median distance from the median; none of fewer than 5."""
    if len(values) < _LEAST:
        return []
    distance = np.abs(np.asarray(values, np.float64) - np.median(values))
    # where most are equal, what differs by a thousandth is none
    usual = max(float(np.median(distance)), 1e-3 * abs(float(np.median(values))))
    return [int(place) for place in np.flatnonzero(0.6745 * distance > _FAR * usual)]


def omissions(work: Workload) -> Iterator[str]:
    """Where a load of a given rate was not what its users would have seen (:mod:`nvlab.analysis.arrivals`)."""
    for found in arrivals(work):
        if found.late > _OMITTED:
            shown = work.total_latency(found.section, OPS.index(found.op)).percentile(99)
            yield (
                f"{100 * found.late:.2g} % of the {found.op}s were submitted late ({found.got:.0f} of {found.asked:.0f} a second "
                f"came): from when they were due p99 is {human_time(found.from_due.percentile(99))}, not {human_time(shown)}"
            )


def disturbances(work: Workload) -> Iterator[str]:
    """What happened to the CPUs meanwhile, by the kernel's counters before and after."""
    path = work.path / PROC
    if not path.is_file():  # simulated
        return
    said = json.loads(path.read_text(encoding="utf-8"))
    if said["after"].get("throttled") != said["before"].get("throttled"):
        yield "its CPUs were throttled, for heat or power"
    spent = [after - before for before, after in zip(_ticks(said["before"]), _ticks(said["after"]), strict=False)]
    if len(spent) > 7 and spent[7] > _STOLEN * sum(spent[:8]):
        yield f"other guests had {100 * spent[7] / sum(spent[:8]):.0f} % of its CPU time"


def _ticks(said: dict[str, str]) -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal, ... of all CPUs (proc(5), /proc/stat)."""
    line = re.search(r"^cpu +(.*)$", said.get("stat", ""), re.M)
    return [int(tick) for tick in line[1].split()] if line else []
