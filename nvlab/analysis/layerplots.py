# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the microseconds went: a waterfall of what each layer adds, and the percentiles at each layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nvlab.analysis import style
from nvlab.analysis.latencies import LayerLatency
from nvlab.analysis.plots import PERCENTILES, Picture, heights, percentile_legend, short
from nvlab.analysis.runs import Run
from nvlab.units import human_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Layers = Sequence[LayerLatency]


@style.in_house_style
def waterfall(run: Run, load: str, variants: Mapping[str, Layers]) -> Picture:
    """The mean time at each layer, from the top of the stack down, cut into what is below it and what it adds itself."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    says = "Mean latency at each layer, from the target down. Pale: at the layers below it. Solid: what the layer adds itself."
    picture = _panels(run, load, variants, _fall, f"waterfall-{load}", says)
    axes = picture.drawn.axes
    axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8)
    longest = max(one.whole.mean() for layers in variants.values() for one in layers)
    axes[-1].set(xlim=(0, 1.15 * longest), xlabel="mean latency at the layer")  # room for the numbers
    axes[-1].xaxis.set_major_locator(MaxNLocator(5))
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: human_time(value) if value else "0"))
    return picture


def _fall(axes: Axes, layers: Layers) -> None:
    rows = np.arange(len(layers))
    below, added = [x.below for x in layers], [x.added for x in layers]
    axes.barh(rows, below, 0.62, color=style.color(1), alpha=0.25, label="below it")
    axes.barh(rows, added, 0.62, below, color=style.color(1), label="the layer itself")
    for row, one in enumerate(layers):
        said = f" +{human_time(one.added)}" if one.below else f" {human_time(one.added)}"
        axes.annotate(said, (one.whole.mean(), row), va="center", fontsize=7, color=style.INK, annotation_clip=False)


@style.in_house_style
def layer_percentiles(run: Run, load: str, variants: Mapping[str, Layers]) -> Picture:
    """Median to 99.9th percentile of latency at each layer, on one logarithmic axis."""
    says = "Median (●), 90th (|), 99th (◆) and 99.9th (▲) percentile of the latency at each layer, with what is below it."
    picture = _panels(run, load, variants, _spans, f"layer-latency-{load}", says)
    axes = picture.drawn.axes
    values = [one.whole.percentile(p) for layers in variants.values() for one in layers for p in (50, 99.9)]
    style.latency_axis(axes[-1].xaxis, min(values), max(values))
    axes[-1].set_xlabel("latency at the layer")
    percentile_legend(axes[0])
    return picture


def _spans(axes: Axes, layers: Layers) -> None:
    for row, one in enumerate(layers):
        values = [one.whole.percentile(p) for p, _, _ in PERCENTILES]
        color = style.color(2 if one.op == "write" else 1)
        axes.plot([values[0], values[-1]], [row, row], color=color, linewidth=2, alpha=0.45, solid_capstyle="butt")
        for value, (_, marker, _) in zip(values, PERCENTILES, strict=True):
            axes.plot([value], [row], marker=marker, color=color, markersize=6, markeredgewidth=2 if marker == "|" else 0)


def _panels(
    run: Run, load: str, variants: Mapping[str, Layers], draw: Callable[[Axes, Layers], None], name: str, says: str
) -> Picture:
    """One panel for each target, a row in it for each layer, in one scale."""
    height = 0.75 + sum(0.42 + 0.27 * len(layers) for layers in variants.values())
    drawn, panels = style.figure(run, height, rows=len(variants), sharex=True, **heights(variants))
    for axes, (variant, layers) in zip(panels, variants.items(), strict=True):
        draw(axes, layers)
        axes.set_yticks(range(len(layers)), [short(one.name) for one in layers])
        axes.set_ylim(len(layers) - 0.5, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_title(f"{load} on {variant}")
    return Picture(name, says, drawn)
