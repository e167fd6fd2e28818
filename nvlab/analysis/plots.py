# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a run: latency by share and by percentile, throughput over time, traffic at each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nvlab.analysis import style
from nvlab.analysis.compare import Comparison, ratio
from nvlab.analysis.layers import LayerTraffic
from nvlab.analysis.runs import Run, Workload
from nvlab.analysis.series import NS_PER_S, Series, block_rates, throughput
from nvlab.analysis.table import times
from nvlab.record.format import OPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NINES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
PERCENTILES = ((50.0, "o", "p50"), (90.0, "|", "p90"), (99.0, "D", "p99"), (99.9, "^", "p99.9"))
_LONGEST_NAME = 22
_NICE_INTERVALS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its file name (without suffix) and a sentence that says what it shows."""

    name: str
    says: str
    drawn: Figure


@style.in_house_style
def latency_cdf(run: Run, comparison: Comparison) -> Picture:
    """Share of I/Os that took at most so long; the share's axis gives every further nine the same height."""
    drawn, (axes,) = style.figure(run, 3.1)
    for index, row in enumerate(comparison.rows):
        latency, share = row.latency.cdf()
        # the last I/O is at 100 %, which no axis of nines can show: it stands half an I/O below
        height = -np.log10(1 - np.minimum(share, 1 - 0.5 / row.latency.total))
        line = {"color": style.color(index), "linestyle": style.DASHES[index % len(style.DASHES)]}
        axes.step(latency, height, where="post", label=short(row.variant), **line)
    highest = max(row.latency.total for row in comparison.rows)
    shown = [p for p in _NINES if p == 0 or (100 - p) / 100 * highest >= 1]
    axes.set_yticks([-np.log10(1 - p / 100) for p in shown], [f"{p:g} %" for p in shown])
    axes.set_ylim(0, None)
    low, high = _latency_range(comparison)
    style.latency_axis(axes.xaxis, low, high)
    axes.set(title=comparison.title, xlabel="latency, submission to completion", ylabel="share of I/Os at or below")
    axes.legend(loc="lower right")
    return Picture(
        f"cdf-{comparison.slug}",
        "Share of I/Os that completed within a latency; each further nine has the same height.",
        drawn,
    )


@style.in_house_style
def latency_percentiles(run: Run, comparison: Comparison) -> Picture:
    """Median to 99.9th percentile of each variant on one logarithmic axis, with its factor to the baseline."""
    drawn, (axes,) = style.figure(run, 1.35 + 0.4 * len(comparison.rows))
    for index, row in enumerate(comparison.rows):
        values = [row.percentile(p) for p, _, _ in PERCENTILES]
        axes.plot(
            [values[0], values[-1]],
            [index, index],
            color=style.color(index),
            linewidth=2,
            alpha=0.45,
            solid_capstyle="butt",
        )
        for value, (_, marker, _) in zip(values, PERCENTILES, strict=True):
            axes.plot(
                [value],
                [index],
                marker=marker,
                color=style.color(index),
                markersize=7,
                markeredgewidth=2 if marker == "|" else 0,
            )
    axes.set_yticks(range(len(comparison.rows)), [short(row.variant) for row in comparison.rows])
    axes.set_ylim(len(comparison.rows) - 0.5, -0.6)
    axes.grid(axis="y", visible=False)
    style.latency_axis(axes.xaxis, *_latency_range(comparison, percentiles=True))
    axes.set(title=comparison.title, xlabel="latency, submission to completion")
    percentile_legend(axes)
    _factors(axes, comparison)
    says = "Median (●), 90th (|), 99th (◆) and 99.9th (▲) percentile of latency, and p50 and p99 as multiples of the baseline's."
    return Picture(f"percentiles-{comparison.slug}", says, drawn)


def short(name: str) -> str:
    """A name that leaves room for the data."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def percentile_legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D

    keys = [
        Line2D(
            [],
            [],
            marker=m,
            color=style.MUTED,
            linestyle="",
            markersize=5.5,
            markeredgewidth=2 if m == "|" else 0,
            label=n,
        )
        for _, m, n in PERCENTILES
    ]
    axes.legend(
        handles=keys, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), handlelength=1, columnspacing=0.9, fontsize=8
    )


def _factors(axes: Axes, comparison: Comparison) -> None:
    base = comparison.baseline
    for index, row in enumerate(comparison.rows):
        if row is base:
            said = "baseline" if comparison.others() else ""
        else:
            p50, p99 = (times(ratio(row.percentile(p), base.percentile(p))) for p in (50, 99))
            said = f"p50 ×{p50}\np99 ×{p99}"
        place: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "va": "center", "fontsize": 8}
        axes.annotate(said, (1.02, index), color=style.INK, annotation_clip=False, **place)


def _latency_range(comparison: Comparison, percentiles: bool = False) -> tuple[float, float]:
    rows = comparison.rows
    if percentiles:
        return min(row.percentile(50) for row in rows), max(row.percentile(99.9) for row in rows)
    return min(row.percentile(0.0001) for row in rows), max(row.max for row in rows)


@style.in_house_style
def over_time(run: Run, load: str, variants: dict[str, list[Workload]]) -> Picture:
    """Throughput of each variant on one scale, rounds above each other; resynchronisation shaded, events marked."""
    from matplotlib.ticker import EngFormatter

    drawn, panels = style.figure(run, 0.9 + 1.25 * len(variants), rows=len(variants), sharex=True, sharey=True)
    for axes, (variant, rounds) in zip(panels, variants.items(), strict=True):
        for workload in rounds:
            _throughput_lines(axes, workload)
            _marks(axes, workload)
        axes.set_title(f"{load} on {variant}")
        axes.set_ylabel("IOPS")
        axes.margins(y=0.2)  # room for the events' names
        axes.yaxis.set_major_formatter(EngFormatter())
    panels[0].legend(*_once(panels), loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8)
    panels[0].set(xlim=(0, None), ylim=(0, None))  # shared by all, so only once all are drawn
    panels[-1].set_xlabel("time since the first I/O, s")
    says = "Throughput over time on one scale. Shaded: the array resynchronised. Vertical lines: events."
    return Picture(f"time-{load}", says, drawn)


def _throughput_lines(axes: Axes, workload: Workload) -> None:
    for op, series in workload_throughput(workload):
        color, dash = style.color(op + 1), style.DASHES[0] if op else "solid"
        axes.plot(
            series.t, series.iops, color=color, linestyle=dash, linewidth=1.2, label=OPS[op], drawstyle="steps-mid"
        )


def workload_throughput(workload: Workload) -> list[tuple[int, Series]]:
    """Throughput by direction: from the trace of I/Os, or, without one, from the target's own counters."""
    trace, origin = workload.latency, workload.first_io
    ops = sorted({OPS.index(result["op"]) for result in workload.results})
    if len(trace):
        until = int(trace["t"][-1])
        interval = _interval((until - origin) / NS_PER_S)
        return [(op, throughput(trace, interval, origin, until, op)) for op in ops]
    path = str(workload.facts["target"]["path"])
    target = next((w for w in workload.watched if w.kind == "block" and path == f"/dev/{w.name}"), None)
    samples = workload.samples_of(target) if target else workload.block[:0]
    return [(op, block_rates(samples, origin, f"{OPS[op]}s")) for op in ops if op < 2]


def _interval(seconds: float) -> float:
    """The interval, in s, that cuts a run into about a hundred."""
    return next((step for step in _NICE_INTERVALS if step >= seconds / 120), _NICE_INTERVALS[-1])


def _marks(axes: Axes, workload: Workload) -> None:
    for start, end, what in workload.resyncs():
        span = [(t - workload.first_io) / NS_PER_S for t in (start, end)]
        axes.axvspan(*span, color=style.SERIES[5], alpha=0.25, linewidth=0, label=what)
    for event in workload.remarkable():
        t = (event["t"] - workload.first_io) / NS_PER_S
        axes.axvline(t, color=style.SERIES[4], linewidth=1.2, linestyle=(0, (2, 1)))
        said = str(event.get("label") or event["kind"])
        place: dict[str, Any] = {
            "xycoords": axes.get_xaxis_transform(),
            "fontsize": 7,
            "rotation": 90,
            "ha": "right",
            "va": "top",
        }
        axes.annotate(said, (t, 0.98), color=style.INK, **place)


def _once(panels: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    """Handles and labels of all panels, each label once."""
    found = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    return list(found.values()), list(found)


@style.in_house_style
def layer_traffic(run: Run, load: str, variants: dict[str, list[LayerTraffic]]) -> Picture:
    """Bytes read and written at each layer for one byte that the workload moved."""
    busy = {variant: layers for variant, layers in variants.items() if layers}
    drawn, panels = style.figure(
        run, 0.75 + sum(0.42 + 0.3 * len(x) for x in busy.values()), rows=len(busy), sharex=True, **heights(busy)
    )
    for axes, (variant, layers) in zip(panels, busy.items(), strict=True):
        rows = np.arange(len(layers))
        axes.barh(rows - 0.19, [x.read for x in layers], 0.36, color=style.color(1), label="read")
        axes.barh(rows + 0.19, [x.written for x in layers], 0.36, color=style.color(2), label="written")
        axes.set_yticks(rows, [short(x.title) for x in layers])
        axes.set_ylim(len(layers) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_title(f"{load} on {variant}")
    panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8)
    panels[-1].set_xlabel("bytes at the layer for each byte of the workload")
    return Picture(f"layers-{load}", "What each layer read and wrote for every byte that the workload moved.", drawn)


def heights(busy: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Panels as high as what is drawn in them has rows."""
    return {"gridspec_kw": {"height_ratios": [len(layers) + 0.6 for layers in busy.values()]}}
