# SPDX-License-Identifier: GPL-2.0-or-later
"""From a scenario and what is known of the node to a plan. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nvlab.errors import InvalidScenario, UsageError
from nvlab.layers import KINDS, device, event, workload
from nvlab.layers.base import Built, Facts, Lab, LayerKind, Object
from nvlab.plan import Needs, Plan, Step
from nvlab.scenario import Scenario
from nvlab.scenario.load import check_layers
from nvlab.scenario.references import order

_CONFIGFS_USERS = ("nullblk", "device", "nvmet")


def make_plan(scenario: Scenario, name: str | None = None, facts: Facts | None = None) -> Plan:
    """The plan of a lab called ``name``. Raises UsageError (the name), InvalidScenario, EnvironmentNotReady (memory)."""
    if name is not None and not re.fullmatch(LayerKind.NAME, name):
        raise UsageError(
            f"{name!r} cannot be a lab's name", hint="a small letter, then small letters, digits, - and _, at most 31 in all"
        )
    live = (problem for obj in scenario.of("workload") for problem in workload.not_live(obj))
    if problems := [*check_layers(scenario.objects, scenario.events, facts), *live]:
        raise InvalidScenario(scenario.source, problems)
    lab = Lab(name or scenario.name, scenario.objects, facts or Facts())
    built = {n: KINDS[lab.objects[n].table].build(lab.objects[n], lab) for n in order(scenario.objects)}
    layers = [step for part in built.values() for step in part.steps]
    last = [step for part in built.values() for step in part.last]
    steps = _unique([*_first_steps(built), *layers, *last])
    return Plan(
        lab=lab.name,
        title=scenario.title,
        steps=steps,
        layers=tuple(part.layer for part in built.values() if part.steps),
        needs=_needs(lab, steps, built),
        workloads=tuple(run for o in scenario.of("workload") for run in _runs(o, scenario, lab)),
        notes=tuple(dict.fromkeys(lab.notes)),
    )


def modules_by_owner(scenario: Scenario, facts: Facts) -> dict[str, tuple[str, ...]]:
    """{module: the objects that need it}, for a scenario of which :func:`make_plan` makes a plan."""
    lab = Lab(scenario.name, scenario.objects, facts)
    owners: dict[str, tuple[str, ...]] = {}
    for name in order(scenario.objects):
        obj = lab.objects[name]
        for module in KINDS[obj.table].build(obj, lab).modules:
            owners[module] = (*owners.get(module, ()), obj.path)
    return owners


def _first_steps(built: Mapping[str, Built]) -> Iterator[Step]:
    """The modules of all layers at once (a modprobe takes long in an emulated guest), then configfs."""
    modules: dict[str, Mapping[str, Any]] = {}
    for part in built.values():
        modules |= part.modules
    if modules:
        yield Step("modules", "module.load", {"modules": modules}, "node")
    if any(s.verb.partition(".")[0] in _CONFIGFS_USERS for part in built.values() for s in part.steps):
        yield Step("configfs", "mount.configfs", {}, "node")


def _unique(steps: list[Step]) -> tuple[Step, ...]:
    """Each step once, where it first stands: several devices insert one module."""
    first: dict[str, Step] = {}
    for step in steps:
        first.setdefault(step.id, step)
    return tuple(first.values())


def _needs(lab: Lab, steps: tuple[Step, ...], built: Mapping[str, Built]) -> Needs:
    sizes = [o.spec.size * o.spec.count for o in lab.objects.values() if o.table == "disk" and o.spec.size]
    caches = [o.spec.size for o in lab.objects.values() if o.table == "cache"]
    own = [r for r in lab.placement.taken if r not in lab.facts.taken]
    modules = sorted({name for part in built.values() for name in part.modules})
    return Needs(cpus=lab.facts.cpus, memory=sum(sizes) + sum(caches), reserved=tuple(own), modules=tuple(modules))


def _runs(obj: Object, scenario: Scenario, lab: Lab) -> Iterator[Mapping[str, Any]]:
    """A workload's runs, the first of them with its events."""
    events = [event.planned(e, lab) for e in scenario.events if e.during == obj.name]
    for number, run in enumerate(workload.runs(obj, lab)):
        yield {**run, **_recorded(scenario, lab), **({"events": events} if events and not number else {})}


def _recorded(scenario: Scenario, lab: Lab) -> dict[str, Any]:
    """What the recorder samples beside every load, the traces it reads, and the devices' own counters."""
    devices = {"traces": device.traces, "accounts": device.accounts}
    said = {key: [found for obj in scenario.of("device") for found in read(obj, lab)] for key, read in devices.items()}
    return {"watches": _watches(scenario), **{key: found for key, found in said.items() if found}}


def _watches(scenario: Scenario) -> list[dict[str, str]]:
    """What the recorder samples: every block device and wire of the lab, by layer; its name in the kernel as a reference."""
    lab = Lab(scenario.name, scenario.objects)
    found: list[dict[str, str]] = []
    for obj in scenario.objects.values():
        # what has keys has no block device
        kind = "" if obj.table == "device" and obj.spec.profile.kind == "kv" else KINDS[obj.table].watch
        if kind == "net":
            found.append({"layer": obj.name, "kind": kind, "name": f"{{{obj.name}.interface}}"})
            continue
        for name in lab.blocks(obj.name) if kind else ():
            found.append({"layer": name, "kind": "block", "name": f"{{{name}.name}}"})
            if kind != "block":
                found.append({"layer": name, "kind": kind, "name": f"{{{name}.name}}"})
    return found
