# SPDX-License-Identifier: GPL-2.0-or-later
"""The result for a terminal: plain text, at most 100 columns, no colour, no tty needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nvlab.analysis.compare import Comparison, Measurement, comparisons, ratio
from nvlab.analysis.runs import Run
from nvlab.units import human_time

_ABSOLUTE = ("IOPS", "MB/s", "mean", "p50", "p99", "p99.9", "max")
_RELATIVE = ("IOPS", "p50", "p99")
EMULATED = "emulated CPU (TCG): compare the variants; the absolute figures say nothing about real hardware"


def terminal_table(run: Run) -> str:
    """IOPS, MB/s and latency of every workload, and against the baseline of its load."""
    blocks = [_block(comparison) for comparison in comparisons(run)]
    notes = [f"! {EMULATED}"] if run.emulated else []
    return "\n\n".join([*blocks, *notes]) if blocks else "nothing was measured"


def _block(comparison: Comparison) -> str:
    others = comparison.others()
    head = [comparison.title, *_ABSOLUTE, *([f"× {name}" for name in _RELATIVE] if others else [])]
    rows = [
        [f"  {row.variant}", *cells(row), *(relative(row, comparison.baseline) if others else [])]
        for row in comparison.rows
    ]
    return _aligned([head, *rows])


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


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    )
