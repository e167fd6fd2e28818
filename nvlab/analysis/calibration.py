# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a fitted profile is off, cell by cell: the figure of `nvlab calibrate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nvlab.analysis.style import DASHES, MARKERS, blank, color, in_house_style, write_figure
from nvlab.units import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Load = tuple[str, int, int]  # rw, bytes of an I/O, in flight
LEAST = 10.0  # per cent: an axis spans at least this


@in_house_style
def write_errors(base: Path, loads: Sequence[Load], error: NDArray[np.float64], caption: str) -> Path:
    """Write ``base``.png and ``base``.svg: over queue depth, how far the throughput of each block size is off.

    ``error``: predicted over measured, less one, shape (n,), in the order of ``loads``. Returned is the PNG.
    """
    directions = sorted({load[0] for load in loads})
    drawn, axes = blank(0.6 + 2.0 * len(directions), caption, rows=len(directions), sharex=True)
    for axis, rw in zip(axes, directions, strict=True):
        _panel(axis, rw, loads, 100 * error)
    axes[-1].set_xlabel("I/Os in flight")
    write_figure(drawn, base, f"error of each cell: {caption}")
    return base.with_name(f"{base.name}.png")


def _panel(axis: Axes, rw: str, loads: Sequence[Load], error: NDArray[np.float64]) -> None:
    mine = [(bs, qd, value) for (each, bs, qd), value in zip(loads, error, strict=True) if each == rw]
    for index, size in enumerate(sorted({bs for bs, _, _ in mine})):
        points = sorted((qd, value) for bs, qd, value in mine if bs == size)
        marker, dashes = MARKERS[index % len(MARKERS)], DASHES[(index + 1) % len(DASHES)]
        qds, off = zip(*points, strict=True)
        axis.plot(qds, off, color=color(index + 1), linestyle=dashes, marker=marker, markersize=3.5, label=format_size(size))
    most = max(LEAST, 1.1 * max(abs(value) for _, _, value in mine))
    axis.set(title=f"{rw}: predicted throughput off by", ylim=(-most, most), ylabel="%")
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted({qd for _, qd, _ in mine}))
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.axhline(0, linewidth=0.8, color="black")
    axis.legend(ncols=5, fontsize=7, loc="upper left")
