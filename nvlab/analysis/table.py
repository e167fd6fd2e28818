# SPDX-License-Identifier: GPL-2.0-or-later
"""The result for a terminal: plain text, at most 100 columns, no colour, no tty needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nvlab.analysis import interval
from nvlab.analysis.claims import Claim, Contrast, within
from nvlab.analysis.compare import Comparison, Measurement, comparisons, ratio
from nvlab.analysis.drill import Felt, felt, kept
from nvlab.analysis.durability import DURABILITY_HEAD, durability, durability_cells
from nvlab.analysis.flags import notes, steadiness
from nvlab.analysis.interval import Interval
from nvlab.analysis.latencies import LATENCY_HEAD, LayerLatency, layer_latencies
from nvlab.analysis.runs import Run, Workload
from nvlab.units import human_time

_ABSOLUTE = ("IOPS", "MB/s", "mean", "p50", "p99", "p99.9", "max")
EVENT_HEAD = ("at", "took", "longest pause", "slowest I/O", "then")
_RELATIVE = ("IOPS", "p50", "p99")
_LONGEST = 24  # of a variant's name at the head of a column
EMULATED = "emulated CPU (TCG): compare the variants; the absolute figures say nothing about real hardware"


def terminal_table(run: Run) -> str:
    """IOPS, MB/s and latency of every workload, and against the baseline of its load; intervals where there are repeats."""
    blocks = [_block(comparison) for comparison in comparisons(run)]
    blocks += [claims_table(contrast) for contrast in within(run) if contrast.n > 1]
    blocks += [_latencies(works) for found in run.loads().values() for works in found.values() if len(works[0].layers)]
    blocks += [table for found in run.loads().values() for works in found.values() for table in _durability(works)]
    blocks += [_events(workload) for workload in run.workloads if workload.happened]
    blocks += [f"{workload.facts['name']}: {kept(workload)}" for workload in run.workloads if workload.verdict]
    said = steadiness(run) + [f"! {note}" for note in [*([EMULATED] if run.emulated else []), *notes(run)]]
    return "\n\n".join([*blocks, *(["\n".join(said)] if said else [])]) if blocks else "nothing was measured"


def claims_table(contrast: Contrast) -> str:
    """A variant against its baseline: each figure with its interval, the ratio with its own, and what follows."""
    how = f"{contrast.n} repeats, {100 * interval.LEVEL:.0f} % intervals" if contrast.n > 1 else "one repeat, no intervals"
    head = f"{contrast.title}: {contrast.variant} against {contrast.base}, {how}"
    names = [_cut(name) for name in contrast.heads]
    return "\n".join([head, aligned([["", *names, "ratio", ""], *map(claim_cells, contrast.claims)])])


def claim_cells(claim: Claim) -> list[str]:
    """A claim's figure, its baseline, its value, their ratio, what follows."""
    human = human_rate if claim.figure == "IOPS" else human_latency
    values = [f"{human(i.value)}{_half(i)}" for i in (claim.base, claim.value)]
    return [f"  {claim.figure}", *values, bounded(claim.ratio), claim.verdict]


def bounded(factor: Interval) -> str:
    """A factor with its bounds, "1.25 (1.21 to 1.30)"; digits as the width of the interval deserves."""
    if math.isnan(factor.low):
        return times(factor.value)
    width = factor.high - factor.low
    digits = min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 3
    while digits < 6 and factor.excludes(1) and 1 in (round(factor.low, digits), round(factor.high, digits)):
        digits += 1  # a bound that only looks like 1 would contradict the verdict
    return f"{factor.value:.{digits}f} ({factor.low:.{digits}f} to {factor.high:.{digits}f})"


def _half(figure: Interval) -> str:
    return "" if math.isnan(figure.half) else f" ± {100 * figure.half:.2g} %"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def human_rate(value: float) -> str:
    return f"{value:.0f}"


def _block(comparison: Comparison) -> str:
    others = comparison.others()
    repeated = any(len(row.repeats) > 1 for row in comparison.rows)
    absolute = [*_ABSOLUTE[:1], *["±"] * repeated, *_ABSOLUTE[1:]]
    head = [comparison.title, *absolute, *([f"× {name}" for name in _RELATIVE] if others else [])]
    rows = [
        [f"  {row.variant}", *_spread(cells(row), row, repeated), *(relative(row, comparison.baseline) if others else [])]
        for row in comparison.rows
    ]
    return aligned([head, *rows])


def _spread(values: list[str], row: Measurement, repeated: bool) -> list[str]:
    """The cells, with the half width of the interval of IOPS behind those."""
    half = _half(interval.mean([part.iops for part in row.repeats.values()])) if repeated else ""
    return [*values[:1], *[half.removeprefix(" ± ")] * repeated, *values[1:]]


def _latencies(works: Sequence[Workload]) -> str:
    head = [f"layers of {works[0].load} on {works[0].variant}", *LATENCY_HEAD]
    return aligned([head, *([f"  {one.name}", *latency_cells(one)] for one in layer_latencies(works))])


def _durability(works: Sequence[Workload]) -> list[str]:
    rows = [[f"  {one.layer}", *durability_cells(one)] for one in durability(works[-1])]
    return [aligned([[f"durability below {works[0].variant}", *DURABILITY_HEAD], *rows])] if rows else []


def latency_cells(one: LayerLatency) -> list[str]:
    """A layer's latencies, in the order of :data:`nvlab.analysis.latencies.LATENCY_HEAD`."""
    figures = (one.whole.mean(), *(one.whole.percentile(p) for p in (50, 99, 99.9)), one.added, one.driver.mean())
    return [f"{one.per_io:.2f}", *map(human_latency, figures)]


def _events(workload: Workload) -> str:
    head = [f"events of {workload.facts['name']}", *EVENT_HEAD]
    return aligned([head, *([f"  {event.label}", *event_cells(event)] for event in felt(workload))])


def event_cells(event: Felt) -> list[str]:
    """When an event came and what the load felt, in the order of :data:`EVENT_HEAD`."""
    at, took = ("–" if math.isnan(s) else f"{s:.1f} s" for s in (event.at, event.took))
    return [at, took, human_latency(event.pause), human_latency(event.slowest), event.found or event.result]


def cells(row: Measurement) -> list[str]:
    """The absolute figures of a row, in the order of the table's head."""
    latencies = (row.mean, row.percentile(50), row.percentile(99), row.percentile(99.9), row.max)
    return [f"{row.iops:.0f}", f"{row.bytes_per_s / 1e6:.3g}", *(human_latency(ns) for ns in latencies)]


def relative(row: Measurement, base: Measurement) -> list[str]:
    """IOPS, p50 and p99 as multiples of the baseline's; the baseline itself says so."""
    if row is base:
        return ["baseline", "", ""]
    pairs = [(row.iops, base.iops), *((row.percentile(p), base.percentile(p)) for p in (50, 99))]
    return [times(ratio(*pair)) for pair in pairs]


def human_latency(ns: float) -> str:
    return "–" if math.isnan(ns) else human_time(ns)


def times(factor: float) -> str:
    """A factor for a person, two or three digits: "0.42", "3.1", "17"."""
    if math.isnan(factor):
        return "–"
    return f"{factor:.0f}" if factor >= 9.95 else f"{factor:.1f}" if factor >= 1.95 else f"{factor:.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    )
