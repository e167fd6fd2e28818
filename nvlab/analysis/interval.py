# SPDX-License-Identifier: GPL-2.0-or-later
"""Confidence intervals of means and of ratios, by Student's t. Pure; numbers in, numbers out.

Ratios are taken on logarithms: a load that is twice as fast and one that is half as fast are equally far from 1, and the interval
of a ratio is never below 0. An interval needs two values at least; of one alone it is nan to nan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """``value`` with the bounds within which it lies at the level that was asked for, from ``n`` values or pairs."""

    value: float
    low: float
    high: float
    n: int

    def excludes(self, value: float) -> bool:
        """Whether the data speak against ``value``; never where there is no interval."""
        return self.low > value or self.high < value

    @property
    def half(self) -> float:
        """Half of the width, as a share of the value."""
        return (self.high - self.low) / 2 / abs(self.value) if self.value else math.nan


def mean(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of independent values."""
    centre = math.fsum(values) / len(values)
    half = _half(values, level)
    return Interval(centre, centre - half, centre + half, len(values))


def paired_ratio(values: Sequence[float], bases: Sequence[float], level: float = LEVEL) -> Interval:
    """How many times its base a value is: geometric mean over pairs that were measured one after the other.

    What drifts slowly touches both of a pair and so cancels. Raises ValueError where the pairs are no pairs.
    """
    logs = [math.log(v / b) for v, b in zip(values, bases, strict=True) if v > 0 and b > 0]
    return _from_logs(mean(logs, level)) if logs else Interval(math.nan, math.nan, math.nan, 0)


def ratio(values: Sequence[float], bases: Sequence[float], level: float = LEVEL) -> Interval:
    """The same of two series that have nothing to do with each other (Welch; the degrees of freedom rounded down)."""
    a, b = ([math.log(v) for v in series if v > 0] for series in (values, bases))
    if not a or not b:
        return Interval(math.nan, math.nan, math.nan, 0)
    centre = math.fsum(a) / len(a) - math.fsum(b) / len(b)
    n = min(len(a), len(b))
    if n < 2:
        return _from_logs(Interval(centre, math.nan, math.nan, n))
    errors = [float(np.var(series, ddof=1)) / len(series) for series in (a, b)]
    spread = sum(errors)
    shares = sum(e**2 / (len(s) - 1) for e, s in zip(errors, (a, b), strict=True))
    freedom = math.floor(spread**2 / shares) if shares else n - 1
    half = student(max(freedom, 1), level) * math.sqrt(spread)
    return _from_logs(Interval(centre, centre - half, centre + half, n))


def _from_logs(logs: Interval) -> Interval:
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.n)


def _half(values: Sequence[float], level: float) -> float:
    if len(values) < 2:
        return math.nan
    return student(len(values) - 1, level) * float(np.std(values, ddof=1)) / math.sqrt(len(values))


@cache
def student(freedom: int, level: float = LEVEL) -> float:
    """The t beyond which, either way, 1 - ``level`` of Student's distribution lies. ``freedom`` from 1, ``level`` in 0 to 1."""
    low, high = 0.0, 1.0
    while _within(high, freedom) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """The share of Student's distribution between -t and t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = total = (cosine if freedom > 1 else 0.0) if odd else 1.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine**2 * ((k - 1) / k)
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
