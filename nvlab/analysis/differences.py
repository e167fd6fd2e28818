# SPDX-License-Identifier: GPL-2.0-or-later
"""What two runs differ in beside their figures: scenarios, what they ran on, the jobs themselves; nothing that is the same."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nvlab.analysis.runs import Run
from nvlab.record import SCENARIO

#: differ from run to run whatever is measured: times, loads, counters, addresses
_PASSING = ("identity", "argv", "load", "clock", "interrupts", "mdstat", "iomem", "MemAvailable", "boot_seconds", "nvme", "block")

#: what makes another machine of it, by the end of its path: such figures are compared with a warning
_HEAVY = ("kernel.release", "cpu.model", "cpu.online", "fio.sha256", "accelerator.qemu", "accelerator.cpus", "build_id")


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same, by its path. None: it is only in the other."""

    path: str
    first: Any
    second: Any

    @property
    def heavy(self) -> bool:
        """Whether it makes another machine, or another load, of it."""
        return self.path.startswith("job.") or self.path.endswith(_HEAVY)

    def __str__(self) -> str:
        return f"{self.path}: {_said(self.first)} → {_said(self.second)}"


def incomparable(first: Run, second: Run) -> list[str]:
    """Why no ratio of two runs means anything; empty when it may."""
    found = []
    if bool(first.simulated) != bool(second.simulated):
        found.append("one is simulated, the other live")
    if first.accelerator != second.accelerator:
        names = {"none": "no virtual machine", "kvm": "KVM", "tcg": "emulation (TCG)"}
        found.append(" against ".join(names.get(run.accelerator, run.accelerator) for run in (first, second)))
    return found


def differences(first: Run, second: Run) -> list[Difference]:
    """All that differs, the scenario first."""
    one, other = dict(_facts(first)), dict(_facts(second))
    return [
        Difference(path, one.get(path), other.get(path))
        for path in dict.fromkeys([*one, *other])
        if one.get(path) != other.get(path)
    ]


def _facts(run: Run) -> Iterator[tuple[str, Any]]:
    text = (run.path / SCENARIO).read_text(encoding="utf-8")
    scenario = {key: value for key, value in tomllib.loads(text).items() if key != "title"}
    yield from _flat("scenario", scenario)
    for work in run.workloads:
        for section in work.facts["sections"]:
            yield from _flat(f"job.{work.load}.{section['name']}", section["keys"])
    yield from _flat("accelerator", run.guest)
    yield from _flat("simulated", run.facts.get("simulated", {}))
    for side in ("node", "controller"):
        yield from _flat(side, run.facts.get("provenance", {}).get(side, {}))


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if path.rpartition(".")[2] in _PASSING:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}", inner)
    elif isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        for number, inner in enumerate(value, 1):
            yield from _flat(f"{path}.{number}", inner)
    else:
        yield path, value


def _said(value: Any) -> str:
    text = "–" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"
