# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be claimed of two variants: each figure with its interval, and their ratio with its own.

Within a run, repeats are pairs: the n-th of one variant ran next to the n-th of the other. Between two runs nothing is paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nvlab.analysis import interval
from nvlab.analysis.compare import Comparison, Measurement, comparisons
from nvlab.analysis.interval import Interval
from nvlab.analysis.runs import Run

Figure = Callable[[Measurement], float]

#: what is claimed of: IOPS per second, latencies in ns
FIGURES: dict[str, Figure] = {
    "IOPS": lambda row: row.iops,
    "mean": lambda row: row.mean,
    "p50": lambda row: row.percentile(50),
    "p99": lambda row: row.percentile(99),
}


@dataclass(frozen=True)
class Claim:
    """One figure of a variant and of its baseline: means over the repeats, and how many times the baseline's it is."""

    figure: str
    base: Interval
    value: Interval
    ratio: Interval

    @property
    def verdict(self) -> str:
        if math.isnan(self.ratio.low):
            return "one repeat: nothing is claimed"
        if not self.ratio.excludes(1):
            return "no difference shown"
        return "higher" if self.ratio.value > 1 else "lower"


    def within(self, tolerance: float) -> bool:
        """Whether the ratio is no farther from 1 than a share of ``tolerance``, up or down; also where neither did anything."""
        if self.base.value == self.value.value:
            return True
        return 1 / (1 + tolerance) <= self.ratio.value <= 1 + tolerance


@dataclass(frozen=True, eq=False)
class Contrast:
    """A variant against a baseline under one load: ``title`` is the load's, ``heads`` what a table calls the two."""

    title: str
    base: str
    variant: str
    claims: tuple[Claim, ...]
    heads: tuple[str, str]

    @property
    def n(self) -> int:
        return self.claims[0].ratio.n


def within(run: Run) -> list[Contrast]:
    """Every variant of a run against the baseline of its load, repeat by repeat."""
    return [found for comparison in comparisons(run) for found in _contrasts(comparison)]


def _contrasts(comparison: Comparison) -> Iterator[Contrast]:
    base = comparison.baseline
    for row in comparison.rows[1:]:
        both = sorted(row.repeats.keys() & base.repeats.keys())
        if not both:  # a run that broke off
            continue
        pairs = [base.repeats[n] for n in both], [row.repeats[n] for n in both]
        claims = tuple(_claims(*pairs, interval.paired_ratio))
        yield Contrast(comparison.title, base.variant, row.variant, claims, (base.variant, row.variant))


def between(base: Run, run: Run) -> list[Contrast]:
    """Every variant that two runs have in common, the second against the first."""
    first = {c.title: {row.variant: row for row in c.rows} for c in comparisons(base)}
    return [
        Contrast(
            f"{c.title}, {row.variant}" if len(c.rows) > 1 else c.title,
            base.id,
            run.id,
            tuple(_claims([*old.repeats.values()], [*row.repeats.values()], interval.ratio)),
            ("first run", "second run"),
        )
        for c in comparisons(run)
        for row in c.rows
        if (old := first.get(c.title, {}).get(row.variant))
    ]


def _claims(bases: list[Measurement], rows: list[Measurement], ratio: Callable[..., Interval]) -> Iterator[Claim]:
    for name, figure in FIGURES.items():
        old, new = [figure(row) for row in bases], [figure(row) for row in rows]
        yield Claim(name, interval.mean(old), interval.mean(new), ratio(new, old))
