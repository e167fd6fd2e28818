# SPDX-License-Identifier: GPL-2.0-or-later
"""``nvlab repro``: a recorded run done again, from what the run directory itself holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvlab.errors import UsageError
from nvlab.record import SCENARIO
from nvlab.record.rundir import RunDir

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Place:
    """Where a live lab is built: ``on`` as for ``nvlab up`` (default: where the run was); of a guest its name and its kernel."""

    on: str = ""
    guest: str = "default"
    kernel: str | None = None


def repeat(run: RunDir, base: Path, place: Place, argv: list[str], emit: Emit) -> Path:
    """Do what ``run`` recorded again, simulated or live; the new run directory. A lab is removed afterwards.

    A guest runs the kernel of ``place``, or one of the release that the run had.

    Raises Conflict when a lab of its name is up, and whatever ``nvlab up``, ``run`` and ``simulate`` do.
    """
    from nvlab.scenario import loads

    facts, files = run.read(), run.kept()
    text, source = (run.path / SCENARIO).read_text(encoding="utf-8"), facts["scenario"]["source"]
    scenario = loads(text, source=source, name=facts["lab"], directory=Path(source).parent, given=files)
    if facts.get("simulated"):
        from nvlab.simulate import Options, simulate_scenario

        return simulate_scenario(scenario, source, base, Options.from_json(facts["simulated"], files), argv, emit)
    from nvlab import controller

    there = facts.get("accelerator")
    if not there:
        raise UsageError(f"{run.id} does not say where it was measured", hint="nvlab up FILE, nvlab run, nvlab compare")
    on = place.on or there.get("place", "")
    options = controller.Options(facts["lab"], place.kernel or there["kernel"], there["cpus"], place.guest, on)
    controller.up_scenario(scenario, source, options, emit)
    try:
        return controller.run(facts["lab"], base, argv, emit)
    finally:
        controller.down(facts["lab"], emit)


def built_otherwise(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The objects ("device.ssd") whose steps differ between the plans of two runs' ``run.json``."""
    one, other = ({step["id"]: step for step in run.get("plan", {}).get("steps", ())} for run in (first, second))
    differ = [id for id in dict.fromkeys([*one, *other]) if one.get(id) != other.get(id)]
    return list(dict.fromkeys((one.get(id) or other[id])["owner"] for id in differ))
