# SPDX-License-Identifier: GPL-2.0-or-later
"""The fit: values of parameters with which the simulator comes closest to what was measured, and how far they are known.

Least squares of the logarithms (Levenberg-Marquardt: Nocedal and Wright, Numerical Optimization, 2006, 10.3), bounded in the
weight of what sticks out (Huber, Annals of Mathematical Statistics 35, 1964), with a wide prior around the base: what the
sweep does not show stays where it is. The curvature at the minimum says how far each value is known, whatever the others
are: one that no cell moves with, and one that only goes together with another, both keep the width of the prior.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nvlab.calibrate.cells import Sweep
from nvlab.calibrate.forward import Forward
from nvlab.calibrate.unknowns import Unknown

Array = NDArray[np.float64]
PRIOR = 1.5  # standard deviation of the base's values as logarithms: a factor of 4.5
HUBER = 2.5  # standard deviations beyond which a figure counts less
STEP = 0.15  # of a derivative: where I/Os meet by chance figures are ragged, and a shorter one would see nothing else
FURTHEST = 1.0  # step of an iteration, as a logarithm
ITERATIONS = 20
SETTLED = 0.1  # of the cost (a twentieth of a standard deviation squared): no more is to be gained


@dataclass(frozen=True)
class Fit:
    """Where a fit came to: scaled values, the covariance of them, all values, what is left in standard deviations (n, 5)."""

    unknowns: Sequence[Unknown]
    scaled: Array
    covariance: Array
    values: dict[str, int]
    left: Array
    cost: float

    def width(self, index: int) -> float:
        """Standard deviation of a value, as a share of it."""
        unknown = self.unknowns[index]
        return float(np.sqrt(self.covariance[index, index])) * unknown.share(self.values[unknown.name])


@dataclass(frozen=True)
class Question:
    """A sweep, the simulator, how far each figure may be off (n, 5), the base's values, and values that are given."""

    sweep: Sweep
    forward: Forward
    sigma: Array
    base: Mapping[str, int]
    given: Mapping[str, int]

    def cost(self, values: Mapping[str, int]) -> float:
        """Half of the squares of what they leave, but for the base."""
        return _cost(self.off(values), np.zeros(1))

    def off(self, values: Mapping[str, int], rows: NDArray[np.bool_] | None = None) -> Array:
        """Predicted less measured, in standard deviations, of some rows; 0 where nothing was measured."""
        rows = np.ones(len(self.sweep.cells), bool) if rows is None else rows
        part = self.sweep.part(list(rows))
        return np.nan_to_num((self.forward.predict({**self.given, **values}, part.cells) - part.logs) / self.sigma[rows])


def fit(question: Question, unknowns: Sequence[Unknown], start: Mapping[str, int], iterations: int = ITERATIONS) -> Fit:
    """From ``start`` on to the nearest minimum."""
    center = np.array([u.scaled(question.base[u.name]) for u in unknowns])
    at = np.array([u.scaled(start[u.name]) for u in unknowns])
    left = question.off(_values(unknowns, at))
    cost, damping, idle = _cost(left, at - center), 1e-3, 0
    slope = _slope(question, unknowns, at, left)
    for _ in range(iterations):
        curvature, gradient = _normal(slope, left, at - center)
        damped = curvature + damping * np.diag(np.diag(curvature))
        move = np.linalg.solve(damped, gradient)
        to = at - move * min(1.0, FURTHEST / max(1e-9, float(np.abs(move).max())))
        tried = question.off(_values(unknowns, to))
        gained = cost - _cost(tried, to - center)
        if gained > 0:
            at, left, cost, damping = to, tried, cost - gained, damping / 10
            idle = idle + 1 if gained < SETTLED else 0
            slope = _slope(question, unknowns, at, left)
        else:
            damping *= 10
        if idle > 1 or damping > 100:
            break
    return _fit(question, unknowns, at, left, slope, cost)


def _fit(question: Question, unknowns: Sequence[Unknown], at: Array, left: Array, slope: Array, cost: float) -> Fit:
    center = np.array([u.scaled(question.base[u.name]) for u in unknowns])
    curvature, _ = _normal(slope, left, at - center)
    spread = max(1.0, 2 * cost / max(1, int(np.count_nonzero(left)) - len(at)))
    values = {**question.given, **_values(unknowns, at)}
    return Fit(unknowns, at, np.asarray(np.linalg.inv(curvature) * spread), values, left, cost)


def _values(unknowns: Sequence[Unknown], scaled: Array) -> dict[str, int]:
    return {u.name: u.value(s) for u, s in zip(unknowns, scaled, strict=True)}


def _cost(left: Array, moved: Array) -> float:
    size = np.abs(left)
    huber = np.where(size <= HUBER, size**2 / 2, HUBER * (size - HUBER / 2))
    return float(huber.sum() + (moved**2).sum() / PRIOR**2 / 2)


def _normal(slope: Array, left: Array, moved: Array) -> tuple[Array, Array]:
    """Curvature (p, p) and gradient (p,) of the cost; ``slope``: (n, 5, p)."""
    weight = np.minimum(1, HUBER / np.maximum(np.abs(left), 1e-9))
    flat = slope.reshape(-1, slope.shape[-1])
    weighted = flat * weight.reshape(-1, 1)
    curvature = weighted.T @ flat + np.eye(len(moved)) / PRIOR**2
    return curvature, weighted.T @ left.ravel() + moved / PRIOR**2


def _slope(question: Question, unknowns: Sequence[Unknown], at: Array, left: Array) -> Array:
    """Derivatives of what is left, (n, 5, p): both ways, as a bottleneck bends them."""
    found = np.zeros((*left.shape, len(unknowns)))
    for index, unknown in enumerate(unknowns):
        rows = np.array([unknown.touches(cell) for cell in question.sweep.cells])
        if rows.any():
            found[rows, :, index] = _derivative(partial(_off_at, question, unknowns, rows), at, index, unknown)
    return found


def _off_at(question: Question, unknowns: Sequence[Unknown], rows: NDArray[np.bool_], scaled: Array) -> Array:
    return question.off(_values(unknowns, scaled), rows)


def _derivative(off: Callable[[Array], Array], at: Array, index: int, unknown: Unknown) -> Array:
    ends: list[tuple[float, Array]] = []
    for end in (-STEP, STEP):
        to = at.copy()
        to[index] = unknown.scaled(unknown.value(at[index] + end))
        ends.append((float(to[index]), off(to)))
    (low, below), (high, above) = ends
    return np.asarray((above - below) / max(high - low, 1e-9))
