# SPDX-License-Identifier: GPL-2.0-or-later
"""The proof: a known drive's own sweep, simulated and with noise, must lead back to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nvlab.calibrate.cells import Cell, Sweep, gathered
from nvlab.calibrate.forward import Forward
from nvlab.calibrate.search import CLAIMED, NOISE, Outcome
from nvlab.medium import Profile

REPEATS = 3
_SEED = 1000  # of places: none that a fit has


def simulated(profile: Profile, cells: Sequence[Cell], *, seed: int = 1, noise: float = NOISE, repeats: int = REPEATS) -> Sweep:
    """What a sweep would measure on such a drive: longer loads than a fit has, at other places, each figure off by noise."""
    rng = np.random.default_rng(seed)
    found = []
    for repeat in range(repeats):
        logs = Forward(profile, seed=_SEED + repeat, counted=4096).predict({}, cells)
        found += list(zip(cells, logs + rng.normal(0, noise, logs.shape), strict=True))
    return gathered(found)


def missed(outcome: Outcome, true: Profile) -> dict[str, float]:
    """What was claimed and is further off than claims may be: by how much, as a share."""
    values = true.timing or true.model
    off = {name: outcome.values[name] / values[name] - 1 if values[name] else float("inf") for name in outcome.claimed}
    return {name: share for name, share in off.items() if abs(share) > CLAIMED}
