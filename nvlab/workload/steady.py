# SPDX-License-Identifier: GPL-2.0-or-later
"""When a load is steady: rounds of it are alike within limits, over a window of the last ones. Pure, stdlib only.

The rule is that of the SNIA Solid State Storage Performance Test Specification (PTS 2.0, "Steady State"): over the window, the
values lie within so many per cent of their mean (excursion), and the line fitted to them by least squares changes by no more
than so many per cent of the mean from the first round to the last (slope).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

UNLIKE = 1e6  # per cent of a mean of 0, of which nothing is a share: beyond any limit, and JSON has no infinity
OF = ("iops", "latency")  # what a round's value may be: I/Os per second, or the mean latency in ns


@dataclass(frozen=True)
class Limits:
    """``window`` rounds within ``excursion`` and ``slope`` (per cent of their mean), by round ``most`` at the latest."""

    window: int = 5
    excursion: float = 20.0
    slope: float = 10.0
    most: int = 25
    of: str = "iops"


@dataclass(frozen=True)
class Window:
    """What the last rounds were like. ``excursion`` and ``slope`` in per cent of ``mean``, never negative."""

    mean: float
    excursion: float
    slope: float

    def within(self, limits: Limits) -> bool:
        return self.excursion <= limits.excursion and self.slope <= limits.slope


@dataclass(frozen=True)
class Verdict:
    """How a series of rounds ended: the value of each, and whether the last window was within the limits."""

    limits: Limits
    values: tuple[float, ...]
    last: Window
    reached: bool

    def counts(self, number: int) -> bool:
        """Whether round ``number`` (from 0) is of the last window, whose rounds are the result."""
        return number >= len(self.values) - self.limits.window

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "values": list(self.values)}


def look(values: Sequence[float]) -> Window:
    """The window that these values are: at least two, none negative."""
    n, mean = len(values), math.fsum(values) / len(values)
    if mean <= 0:
        return Window(mean, UNLIKE, UNLIKE)
    middle = (n - 1) / 2
    rise = math.fsum((i - middle) * (value - mean) for i, value in enumerate(values))
    slope = rise / math.fsum((i - middle) ** 2 for i in range(n))
    return Window(mean, 100 * (max(values) - min(values)) / mean, 100 * abs(slope) * (n - 1) / mean)


def until_steady(limits: Limits, one_round: Callable[[int], float], tell: Callable[[int, float, Window | None], None]) -> Verdict:
    """Do rounds, numbered from 0, until the last ``window`` of them are steady, or there were ``most``.

    ``tell`` hears of each round: its number, its value, and the window that ends with it once there are enough.
    """
    values: list[float] = []
    while True:
        values.append(one_round(len(values)))
        last = look(values[-limits.window :]) if len(values) >= limits.window else None
        tell(len(values) - 1, values[-1], last)
        if last and (last.within(limits) or len(values) >= limits.most):
            return Verdict(limits, tuple(values), last, last.within(limits))


def value_of(of: str, results: Sequence[Mapping[str, float]]) -> float:
    """What one round counts as: results of ``ios``, ``iops`` and ``mean`` latency (ns), one for each section and direction."""
    ios = sum(result["ios"] for result in results)
    if of == "iops" or not ios:
        return sum(result["iops"] for result in results)
    return sum(result["mean"] * result["ios"] for result in results) / ios
