# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens before a load is measured, and how often it is: fill the device, warm up, rounds until they are steady.

A *stage* is one job of fio, with a record of its own. Where a workload asks for none of this it is a single stage. The course is
the same for a live lab and for a simulated device; who runs the stages is not known here. Pure, stdlib only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nvlab.units import parse_time
from nvlab.workload.keys import ALIASES
from nvlab.workload.steady import Limits, Verdict, Window, until_steady

Phase = Literal["precondition", "warmup", "measure"]
Told = Callable[[int, float, Window | None], None]

# of a job that is to last as long as it is told, and no less
_LENGTHS = ("runtime", "time_based", "ramp_time", "startdelay", "loops", "number_ios", "io_size")
_WARMUP = 1 << 20  # beyond any round


@dataclass(frozen=True)
class Stage:
    """A job: ``table`` holds fio's keys. ``within`` is its deadline in seconds, where it has one of its own.

    Rounds are numbered from 0, and each makes random choices of its own: the same ones again would not be a longer load.
    """

    name: str
    phase: Phase
    table: Mapping[str, Any]
    within: float | None = None
    number: int = 0

    def seed(self, seed: int) -> int:
        """For the workload's ``seed``; far enough from those of the next repeats."""
        return seed + 1_000_003 * self.number


@dataclass(frozen=True)
class Course:
    """``fill`` times the capacity in order, then ``random`` times at random, ``within`` seconds; ``warmup`` in seconds."""

    fill: int = 0
    random: int = 0
    within: float = 3600
    warmup: float = 0
    steady: Limits | None = None

    def to_json(self) -> dict[str, Any]:
        """For the plan; nothing at all for a course of a single stage."""
        return {} if self.plain else {**vars(self), "steady": vars(self.steady) if self.steady else None}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Course:
        return Course(**{**data, "steady": Limits(**data["steady"]) if data.get("steady") else None})

    @property
    def plain(self) -> bool:
        """Whether there is one stage and no more."""
        return not (self.fill or self.random or self.warmup or self.steady)

    def before(self, table: Mapping[str, Any]) -> Iterator[Stage]:
        """What comes before the first round of the load ``table``."""
        if sections := self._filling():
            yield Stage("precondition", "precondition", sections, self.within)
        if self.warmup:
            yield Stage("warmup", "warmup", lasting(table, self.warmup), number=_WARMUP)

    def _filling(self) -> dict[str, Any]:
        # fio's own limit lies beyond the deadline: at fio's it would end as if all had been written
        common = {"iodepth": 32, "time_based": False, "runtime": f"{math.ceil(2 * self.within)}s", "stonewall": True}
        filling: dict[str, Any] = {}
        if self.fill:
            filling["fill"] = {"rw": "write", "bs": "128k", "loops": self.fill, **common}
        if self.random:
            filling["random"] = {"rw": "randwrite", "bs": "4k", "norandommap": True, "loops": self.random, **common}
        return filling

    def follow(self, table: Mapping[str, Any], do: Callable[[Stage], float], tell: Told) -> Verdict | None:
        """Run all stages by ``do``, which gives the value of each; the verdict, where the course goes on until it is steady."""
        for stage in self.before(table):
            do(stage)
        if self.steady is None:
            do(Stage("round-1", "measure", table))
            return None
        return until_steady(self.steady, lambda n: do(Stage(f"round-{n + 1}", "measure", table, number=n)), tell)


def keys_in(stage: Stage, kv: Mapping[str, Any]) -> dict[str, Any]:
    """A load of keys in a stage: a warm-up is as long as it should be, whatever the load says of its own length."""
    if stage.phase != "warmup":
        return dict(kv)
    return {**kv, "runtime": parse_time(stage.table["runtime"]), "ramp_time": 0, "number_ios": None}


def lasting(table: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The job of ``table`` with every section as long as ``seconds``, whatever it says of its own length."""

    def without(keys: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in keys.items() if ALIASES.get(key, key) not in _LENGTHS}
        return {key: without(value) if isinstance(value, Mapping) else value for key, value in kept.items()}

    return {**without(table), "runtime": f"{max(1, round(seconds * 1000))}ms"}
