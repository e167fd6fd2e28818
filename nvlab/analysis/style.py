# SPDX-License-Identifier: GPL-2.0-or-later
"""How figures look: fit to print, colour-blind safe, and the same drawing for light and dark pages.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), told apart by line style as well. A figure is as wide as a
column of a paper, so it is readable on a phone without zooming. In an SVG for a page the colours become CSS variables.
"""

from __future__ import annotations

import functools
import html
import io
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from nvlab.analysis.runs import Run
from nvlab.units import human_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

WIDTH = 5.0  # inches
DPI = 200
INK, MUTED, GRID = "#1b1f24", "#5b6571", "#d6dade"
#: the first is the baseline's
SERIES = ("#767f89", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES: Sequence[Any] = ((0, (4, 2)), "solid", "solid", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 1)), "solid")
MARKERS = ("s", "o", "D", "^", "v", "P", "X")

_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    color: f"--series-{i}" for i, color in enumerate(SERIES)
}
_SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # names come from the user's scenario
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.5,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def in_house_style(draw: Callable[P, T]) -> Callable[P, T]:
    """Runs a drawing function with our settings, and leaves a notebook's own as they were."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **options: P.kwargs) -> T:
        import matplotlib

        with matplotlib.rc_context(_SETTINGS):
            return draw(*args, **options)

    return wrapped


def use_house_style() -> None:
    """For a notebook: what it draws itself looks like our figures from now on, in the colours of :data:`SERIES`."""
    import matplotlib
    from matplotlib.rcsetup import cycler

    own = {"axes.prop_cycle": cycler(color=[*SERIES[1:], SERIES[0]]), "text.parse_math": True}
    matplotlib.rcParams.update(_SETTINGS | own)


def color(index: int) -> str:
    return SERIES[index % len(SERIES)]


def blank(height: float, caption: str, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of the house's look with ``rows`` axes above each other, and a caption below."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    below = 0.2 / height  # room for the caption
    drawn = Figure(
        figsize=(WIDTH, height),
        dpi=DPI,
        facecolor="white",
        layout=ConstrainedLayoutEngine(rect=(0, below, 1, 1 - below)),
    )
    axes = drawn.subplots(rows, 1, squeeze=False, **options)[:, 0]
    drawn.text(0.01, 0.03 / height, caption, fontsize=6, color=MUTED)
    return drawn, list(axes)


def figure(run: Run, height: float, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """The same for a run: its id and commit in the caption."""
    drawn, axes = blank(height, caption(run), rows, **options)
    if run.emulated:
        drawn.text(
            0.55,
            0.5,
            "TCG: relative only",
            fontsize=26,
            color=MUTED,
            alpha=0.13,
            rotation=18,
            ha="center",
            va="center",
            zorder=0,
        )
    return drawn, axes


def caption(run: Run) -> str:
    """What identifies a figure when it is met alone."""
    parts = [f"run {run.id}", run.commit and f"nvlab {run.commit}", run.kernel and f"Linux {run.kernel}"]
    return " · ".join(part for part in parts if part)


def latency_axis(axis: Any, low: float, high: float) -> None:
    """A logarithmic axis of latencies (ns), labelled in human units; more labels where it spans little."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    decades = math.log10(max(high / max(low, 1), 1.01))
    steps = (
        (1.0,)
        if decades > 3
        else (1.0, 3.0)
        if decades > 1.6
        else (1.0, 2.0, 5.0)
        if decades > 0.7
        else (1, 1.5, 2, 3, 4, 5, 7)
    )
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: human_time(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


@in_house_style
def write_figure(drawn: Figure, base: Path, says: str) -> str:
    """Write ``base``.png and ``base``.svg. Returned is the SVG for a page: transparent, in the page's own colours and font.

    The canvases are used directly: ``savefig`` would draw everything once more for each file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(drawn).print_png(base.with_name(f"{base.name}.png"))  # type: ignore[no-untyped-call]
    drawn.set_layout_engine("none")  # laid out now
    drawn.patch.set_visible(False)
    text = _svg(drawn, base.name)
    base.with_name(f"{base.name}.svg").write_text(text, encoding="utf-8")
    return _for_page(text[text.index("<svg") :], says)


def _svg(drawn: Figure, salt: str) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):  # ids of several figures on one page must not meet
        FigureCanvasSVG(drawn).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _for_page(text: str, says: str) -> str:
    for value, variable in _VARIABLES.items():
        text = text.replace(value, f"var({variable})")
    text = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "inherit", text)
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*pt"', "", head)  # as wide as its column; viewBox keeps the shape
    return f'{head} role="img" aria-label="{html.escape(says)}">{rest}'
