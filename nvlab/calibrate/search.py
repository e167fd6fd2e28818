# SPDX-License-Identifier: GPL-2.0-or-later
"""From a sweep to a drive: a rough start, shapes tried in turn, and what of it all may be claimed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nvlab.calibrate.cells import Sweep
from nvlab.calibrate.fit import Fit, Question, fit
from nvlab.calibrate.forward import Forward, Sway
from nvlab.calibrate.unknowns import (
    SPEEDS,
    Unknown,
    beyond,
    candidates,
    groups,
    neighbours,
    shape,
    spread,
    traded,
    unknowns,
)
from nvlab.medium import Profile

NOISE = 0.02  # standard deviation of a measured figure, as a share
CLAIMED = 0.05  # what is claimed is within this share of the truth
SURE = 3.0  # standard deviations that must fit into it
CLOSE = 6.0  # of the cost: shapes that are no worse than this cannot be told apart
TRADES = (0.4, 0.5, 0.6, 0.7, 0.85, 1.2, 1.5, 2.0)  # of the part that senses have in a lone read
FACTORS = (0.25, 0.5, 0.75, 1.3, 2.0, 4.0)  # of the rough start
ROUNDS = 2
TOGETHER = 0.6  # correlation from which on two parameters are named together
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a sweep says of a drive: ``claimed`` has the width (one standard deviation, as a share) of each value that is
    known, ``unknown`` why the others are not. ``predicted``: shape (n, 5), as the sweep's."""

    base: Profile
    sweep: Sweep
    values: dict[str, int]
    claimed: dict[str, float]
    unknown: dict[str, str]
    predicted: NDArray[np.float64]

    @property
    def error(self) -> NDArray[np.float64]:
        """Predicted over measured, less one, shape (n, 5)."""
        return np.expm1(self.predicted - self.sweep.logs)


@dataclass
class _Search:
    """A sweep to be fitted from a base."""

    sweep: Sweep
    base: Profile
    noise: float
    say: Say
    forward: Forward = field(init=False)
    sway: Sway = field(init=False)
    start: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.forward, self.sway = Forward(self.base), Sway(self.base)
        self.start = self.base.timing or self.base.model

    def part(self, reads: bool) -> Sweep:
        return self.sweep.part([cell.reads == reads for cell in self.sweep.cells])

    def question(self, sweep: Sweep, values: Mapping[str, int]) -> Question:
        """Figures may be off by noise, and by what the choice of places alone changes where the fit is now."""
        noise = self.noise / np.sqrt(sweep.repeats)[:, None]
        sigma = np.hypot(noise, self.sway.of(values, sweep.cells))
        return Question(_usable(sweep), self.forward, sigma, self.start, values)

    def rough(self, question: Question, of: Sequence[Unknown], values: Mapping[str, int]) -> dict[str, int]:
        """Each group of parameters scaled by the factor that comes closest, one after the other."""
        found = dict(values)
        for group in groups(of):
            tried = [{u.name: u.value(np.log(max(1, found[u.name] * factor))) for u in group} for factor in FACTORS]
            costs = [question.cost({**found, **each}) for each in tried]
            if min(costs) < question.cost(found):
                found |= tried[int(np.argmin(costs))]
        return self.traded(question, of, found)

    def traded(self, question: Question, of: Sequence[Unknown], values: Mapping[str, int]) -> dict[str, int]:
        """What fits best where firmware and senses share the time of a lone read otherwise: a valley that fits are slow in."""
        mine = {u.name: values[u.name] for u in of}
        tried = [{**values, **trade} for trade in (traded(mine, factor) for factor in (1.0, *TRADES)) if trade]
        if not tried:
            return dict(values)
        return tried[int(np.argmin([question.cost(each) for each in tried]))]

    def fitted(self, sweep: Sweep, of: Sequence[Unknown], values: Mapping[str, int]) -> Fit:
        """More than once: how far figures may be off is better known where the last came to, and there may be better ones."""
        for _ in range(ROUNDS):
            question = self.question(sweep, values)
            found = fit(question, of, self.rough(question, of, values))
            values = found.values
        return found


def _usable(sweep: Sweep) -> Sweep:
    """Without percentiles of what had company: they depend on which I/Os meet by chance."""
    logs = sweep.logs.copy()
    logs[np.array([cell.qd > 1 for cell in sweep.cells]), 1:] = np.nan
    return replace(sweep, logs=logs)


def calibrate(sweep: Sweep, base: Profile, *, noise: float = NOISE, say: Say = lambda _: None) -> Outcome:
    """The drive of a sweep, as far as it shows; ``base`` has what it does not. ``noise``: as ``NOISE``.

    Raises ValueError for a base of another kind than nvm and ssd, and for a sweep without cells.
    """
    if base.kind not in ("nvm", "ssd"):
        raise ValueError(f"{base.name} is of kind {base.kind}; a sweep can be fitted to one of kind nvm or ssd")
    if not sweep.cells:
        raise ValueError("there is no cell to fit anything to")
    search = _Search(sweep, base, noise, say)
    values, rivals = dict(search.start), list[Fit]()
    for reads in (True, False):
        part = search.part(reads)
        if part.cells:
            values, found = _part(search, part, values, fixed=not reads and bool(search.part(True).cells))
            rivals += found
    of = unknowns(base, sweep.cells)
    say(f"fitting {len(of)} parameters to {len(sweep.cells)} cells")
    final = search.fitted(sweep, of, values)
    return _outcome(search, final, rivals)


def _part(search: _Search, part: Sweep, values: dict[str, int], *, fixed: bool) -> tuple[dict[str, int], list[Fit]]:
    """Fit one direction; with ``fixed``, what the other has said stays. Values, and shapes that are as good."""
    of = [u for u in unknowns(search.base, part.cells) if not (fixed and u.name in SPEEDS)]
    values = values | spread({u.name: values[u.name] for u in of})
    search.say(f"fitting {len(of)} parameters to {len(part.cells)} cells that {'read' if part.cells[0].reads else 'write'}")
    best = search.fitted(part, of, values)
    return (best.values, []) if fixed else _shaped(search, part, of, best)


def _shaped(search: _Search, part: Sweep, of: Sequence[Unknown], best: Fit) -> tuple[dict[str, int], list[Fit]]:
    """The best of the shapes around, from neighbour to neighbour; and those that are no worse to speak of."""
    names, seen = list(shape(search.base)), dict[tuple[int, ...], Fit]()
    while True:
        here = {name: best.values[name] for name in names}
        seen[tuple(here.values())] = best
        for near in neighbours(here):
            if tuple(near.values()) not in seen:
                search.say("trying " + ", ".join(f"{name} {value}" for name, value in near.items()))
                question = search.question(part, {**best.values, **near})
                seen[tuple(near.values())] = fit(question, of, search.traded(question, of, question.given), iterations=10)
        found = min(seen.values(), key=lambda each: each.cost)
        if found.cost > best.cost - CLOSE:
            return best.values, [each for each in seen.values() if each is not best and each.cost < best.cost + CLOSE]
        best = search.fitted(part, of, found.values)


def _outcome(search: _Search, final: Fit, rivals: Sequence[Fit]) -> Outcome:
    values = final.values
    claimed: dict[str, float] = {}
    unknown: dict[str, str] = {}
    for index, each in enumerate(final.unknowns):
        width = final.width(index)
        others = [rival for rival in rivals if _differs(rival, each.name, values[each.name])]
        if width * SURE > CLAIMED:
            unknown[each.name] = _why(final, index, width)
        elif others:
            unknown[each.name] = f"as good with {_shape_of(others[0], search.base)}"
        else:
            claimed[each.name] = width
    for name in shape(search.base):
        others = [rival for rival in rivals if rival.values[name] != values[name]]
        if others or not any(cell.reads for cell in search.sweep.cells):
            unknown[name] = f"as good with {_shape_of(others[0], search.base)}" if others else "the sweep has no reads"
        else:
            claimed[name] = 0.0
    left = {u.name: "no cell of the sweep depends on it" for u in candidates(search.base) if u.name not in claimed | unknown}
    predicted = search.forward.predict(values, search.sweep.cells)
    return Outcome(search.base, search.sweep, values, claimed, unknown | left | beyond(search.base), predicted)


def _differs(rival: Fit, name: str, value: int) -> bool:
    """Whether another shape, which fits as well, may come with another value. It was fitted to reads: what writes show of it is
    not known, but for the firmware's part, which is the same on any number of dies."""
    if any(u.name == name for u in rival.unknowns):
        return abs(rival.values[name] / max(1, value) - 1) > CLAIMED
    return name not in ("fw_write", "fw_write_unit")


def _shape_of(fit: Fit, base: Profile) -> str:
    return ", ".join(f"{name} {fit.values[name]}" for name in shape(base))


def _why(final: Fit, index: int, width: float) -> str:
    """Why a value is not known: nothing moves with it, or only it and others together."""
    spreads = np.sqrt(np.diag(final.covariance))
    related = final.covariance[index] / spreads / spreads[index]
    others = [u.name for i, u in enumerate(final.unknowns) if i != index and abs(related[i]) > TOGETHER]
    if others:
        return f"only together with {', '.join(others)} (± {200 * width:.0f} %)"
    return "no cell moves with it to speak of" if width > 1 else f"± {200 * width:.0f} %: the sweep says no more"
