# SPDX-License-Identifier: GPL-2.0-or-later
"""The same load on several variants: one row of figures for each, and how they stand to the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nvlab.analysis.hist import Histogram
from nvlab.analysis.runs import Run, Workload
from nvlab.record.format import OPS


@dataclass(frozen=True, eq=False)
class Measurement:
    """One direction of one load on one variant, over all its repeats. Latencies in ns from submission to completion.

    ``repeats``: the same of each repeat, by its number.
    """

    variant: str
    ios: int
    iops: float
    bytes_per_s: float
    mean: float
    max: float
    latency: Histogram
    repeats: Mapping[int, Measurement] = field(default_factory=dict)

    def percentile(self, percent: float) -> float:
        """A latency percentile in ns, never beyond the largest latency seen: the middle of its bucket may be."""
        return min(self.latency.percentile(percent), self.max)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared: one direction of one section of one load. ``rows``: the baseline first, then in the order of running."""

    load: str
    section: str
    op: str
    rows: tuple[Measurement, ...]

    @property
    def title(self) -> str:
        """ "randrw, read", with the section's name where the load has several."""
        return f"{self.load} {self.section}, {self.op}" if self.section else f"{self.load}, {self.op}"

    @property
    def slug(self) -> str:
        """The title as part of a file name."""
        return "-".join(filter(None, (self.load, self.section, self.op))).replace("/", "-").replace(" ", "-")

    @property
    def baseline(self) -> Measurement:
        """The row that ratios refer to: the one that says so, or the first that ran."""
        return self.rows[0]

    def others(self) -> bool:
        """Whether there is something to compare."""
        return len(self.rows) > 1


def comparisons(run: Run) -> list[Comparison]:
    """Every load of a run, section by section and direction by direction."""
    return [found for load, variants in run.loads().items() for found in _compare(load, variants)]


def _compare(load: str, variants: Mapping[str, Sequence[Workload]]) -> Iterator[Comparison]:
    sections = next(iter(variants.values()))[0].sections
    for index, section in enumerate(sections):
        for op in OPS:
            rows = tuple(_rows(variants, index, op))
            if rows:
                yield Comparison(load, section if len(sections) > 1 else "", op, rows)


def _rows(variants: Mapping[str, Sequence[Workload]], section: int, op: str) -> Iterator[Measurement]:
    for variant, workloads in variants.items():
        found = [(w, r) for w in workloads for r in w.results if r["section"] == section and r["op"] == op]
        if found:
            numbers = dict.fromkeys(w.repeat for w, _ in found)
            parts = {n: _measure(variant, [(w, r) for w, r in found if w.repeat == n], section, op) for n in numbers}
            yield replace(_measure(variant, found, section, op), repeats=parts)


def _measure(variant: str, found: Sequence[tuple[Workload, dict[str, Any]]], section: int, op: str) -> Measurement:
    results = [result for _, result in found]
    ios = sum(r["ios"] for r in results)
    return Measurement(
        variant=variant,
        ios=ios,
        iops=sum(r["iops"] for r in results) / len(results),
        bytes_per_s=sum(r["bytes_per_s"] for r in results) / len(results),
        mean=sum(r["total"]["mean"] * r["ios"] for r in results) / ios,
        max=max(r["total"]["max"] for r in results),
        latency=Histogram.merge(w.total_latency(section, OPS.index(op)) for w, _ in found),
    )


def ratio(value: float, base: float) -> float:
    """``value`` as a multiple of ``base``; nan where there is no base."""
    return value / base if base else float("nan")
