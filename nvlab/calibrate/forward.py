# SPDX-License-Identifier: GPL-2.0-or-later
"""The forward model: what the simulator says that each cell of a sweep would have measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from nvlab.calibrate.cells import FIGURES, Cell, figures
from nvlab.medium import PARAMETERS, Profile
from nvlab.sim.aged import REST, Simulated, aged
from nvlab.sim.closed import Job, closed_loop
from nvlab.sim.device import Config, Device
from nvlab.sim.load import Load
from nvlab.sim.structs import Kind

SIZE = 1 << 28  # bytes of the simulated drive: what the loads of a sweep cost does not depend on it
SHIFT = 9
COUNTED = 1024  # reads of a cell, at least
WRITTEN = 1 << 24  # bytes of a cell of writes that count, about
NEAR = 4  # per cent: how far a percentile may lie off
MAX_WARM = 1 << 27  # bytes written before any count
# Room to write without collection, which is not part of a sweep, and none of the work of idle times.
_FRESH = {
    "spare": 4000, "gc_background": 0, "wear_gap": 0, "bad_factory": 0, "erase_fail": 0, "program_fail": 0,
    "read_disturb": 0, "retention": 0,
}  # fmt: skip


class Forward:
    """The simulator under the loads of a sweep: a drive like ``profile``, with other values of some parameters.

    Reads meet a drive that was filled once in order, writes one that has room to write without collection. The same ``seed``
    makes the same choices, so that figures of two drives differ by the drives alone; ``counted`` reads of each cell count.
    """

    def __init__(self, profile: Profile, *, seed: int = 1, counted: int = COUNTED, shift: int = 0) -> None:
        self.profile, self.seed, self._counted, self._shift = profile, seed, counted, shift
        self._filled = lru_cache(8)(self._fill)
        self._loads = cache(self._load)

    def predict(self, values: Mapping[str, int], cells: Sequence[Cell]) -> NDArray[np.float64]:
        """Logarithms of ``FIGURES`` of each cell, shape (n, 5). Raises ValueError where there can be no such drive."""
        config = self._config(values)
        made, filled = self._begin(config)
        found = np.empty((len(cells), len(FIGURES)))
        for row, cell in zip(found, cells, strict=True):
            if filled and not cell.reads:
                made.device.restore(filled)
            row[:] = self._measure(made, cell, config)
        return found

    def _config(self, values: Mapping[str, int]) -> Config:
        if self.profile.kind == "nvm":
            return Config.of(replace(self.profile, timing={**self.profile.timing, **values}), SIZE, block_shift=SHIFT)
        return Config.of(self.profile, SIZE, seed=self.seed, block_shift=SHIFT, **{**values, **_FRESH})

    def _begin(self, config: Config) -> tuple[Simulated, bytes]:
        """A drive to begin with, and the snapshot of it to begin with again, where that matters."""
        built = {name: value for name, value in config.model.items() if not PARAMETERS[name].live}
        if self.profile.kind == "nvm":
            return Simulated(Device(config)), b""
        snapshot, now = self._filled(tuple(built.items()))
        return Simulated(Device.load(snapshot, config), now), snapshot

    def _fill(self, built: tuple[tuple[str, int], ...]) -> tuple[bytes, int]:
        """A drive of what cannot change in use, filled: its snapshot and its clock."""
        made = aged(Device(self._config({name: value for name, value in built if name not in _FRESH})), 0, self.seed)
        return made.device.save(), made.now

    def _load(self, cell: Cell, count: int) -> NDArray[np.void]:
        keys = {"rw": cell.rw, "bs": str(cell.bs), "number_ios": str(count), "norandommap": "1"}
        load = Load.of(keys, SIZE >> SHIFT, SHIFT, self.seed, "0")
        return np.concatenate(list(load.commands(str(cell), 0)))

    def _lengths(self, cell: Cell, config: Config) -> tuple[int, int]:
        """I/Os of a cell that do not count, and then those that do: many where many wait for each other."""
        if config.kind is Kind.NVM:
            return 4 * cell.qd, max(self._counted // 4, 4 * cell.qd)
        if cell.reads:
            return 4 * cell.qd, max(self._counted, 24 * cell.qd)
        return 4 * cell.qd + _warm(config) // cell.bs, max(256, min(4096, WRITTEN // cell.bs), 4 * cell.qd)

    def _measure(self, made: Simulated, cell: Cell, config: Config) -> NDArray[np.float64]:
        skipped, counted = self._lengths(cell, config)
        load = self._loads(cell, skipped + counted).copy()
        done = closed_loop(made.device, [Job(iter([load]), cell.qd, made.now)])[0]
        ends = np.sort(done.decisions["target"])
        latencies = (done.decisions["target"] - done.commands["now"]).astype(np.int64)
        made.now = int(ends[-1]) + REST
        first, last = skipped, skipped + counted - cell.qd  # to the last submission: after it ever fewer are in flight
        iops = (last - first) * 1e9 / max(1, int(ends[last - 1]) - int(ends[first - 1] if first else load["now"][0]))
        return figures(latencies[skipped:], iops, self._shift)


class Sway:
    """How far figures go up and down by the choice of places alone, and by a percentile's place near a jump."""

    def __init__(self, profile: Profile) -> None:
        self._forwards = [Forward(profile, seed=2 + n, shift=shift) for n, shift in enumerate((0, -NEAR, NEAR, 0))]

    def of(self, values: Mapping[str, int], cells: Sequence[Cell]) -> NDArray[np.float64]:
        """Standard deviations of the logarithms, shape (n, 5)."""
        several = np.array([forward.predict(values, cells) for forward in self._forwards])
        return np.asarray(several.std(axis=0, ddof=1))


def _warm(config: Config) -> int:
    """Bytes to write before the write buffer is as full as it will be."""
    buffered = config.vwc or config.model["plp"]
    return min(MAX_WARM, 3 * config.model["buffer"] << 10) if buffered else 0
