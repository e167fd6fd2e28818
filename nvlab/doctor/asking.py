# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scenario asks for, read off its plan so that nothing is said twice. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nvlab.doctor.facts import Facts
from nvlab.doctor.wants import Wants
from nvlab.kernel.module import canonical
from nvlab.kernel.ops import Run
from nvlab.layers import base
from nvlab.plan import Plan, Step, ops_of, references
from nvlab.planner import make_plan, modules_by_owner
from nvlab.scenario import Scenario
from nvlab.units import parse_cpus

_ROOM = ((1 << 32, 1 << 50),)  # a region in which every scenario has its place
_LOADED_BY = {"brd.load": "brd"}  # verbs that load a module by themselves
_EVERYWHERE = frozenset({"modprobe", "rmmod", "insmod", "mount", "umount"})  # come with any system that loads modules


def wants_of(scenario: Scenario, facts: Facts, cpus: int) -> Wants:
    """What ``scenario`` wants of a node of ``cpus`` CPUs with the modules of ``facts``. Raises InvalidScenario."""
    planned = base.Facts(release=facts.release, cpus=cpus, reserved=_ROOM, modules=facts.modules)
    plan = make_plan(scenario, None, planned)
    owners = {canonical(m): ", ".join(who) for m, who in modules_by_owner(scenario, planned).items()}
    owners |= {_LOADED_BY[step.verb]: step.owner for step in plan.steps if step.verb in _LOADED_BY}
    wants = Wants(
        scenario=scenario.name,
        modules=owners,
        programs=_programs(plan),
        memory=plan.needs.memory,
        listens=dict(_listens(plan)),
        queues={s.owner: s.args["options"].get("nr_io_queues", 1) for s in plan.steps if s.verb == "fabrics.connect"},
        real=tuple(s.owner for s in plan.steps if s.verb == "disk.claim"),
        layers=tuple(dict.fromkeys(f"workload.{work['load']}" for work in plan.workloads if work.get("layers"))),
    )
    return replace(wants, **_devices(plan), **_arrays(plan), **_loads(plan))


def _listens(plan: Plan) -> Iterator[tuple[str, tuple[str, int]]]:
    """Where exports listen in the network that is there; one over a wire listens in a network of its own."""
    for step in plan.steps:
        if step.verb == "nvmet.port" and not references(step.args["traddr"]):
            yield step.owner, (step.args["traddr"], int(step.args["trsvcid"]))


def _programs(plan: Plan) -> dict[str, str]:
    found: dict[str, list[str]] = {"fio": [f"workload.{work['load']}" for work in plan.workloads]}
    for step in plan.steps:
        for op in ops_of(step):
            if isinstance(op, Run) and op.argv[0] not in _EVERYWHERE:
                found.setdefault(op.argv[0], []).append(step.owner)
    return {name: ", ".join(dict.fromkeys(owners)) for name, owners in found.items() if owners}


def _devices(plan: Plan) -> dict[str, Any]:
    """What virtual devices want."""
    steps = [(step, dict(_settings(step))) for step in plan.steps if step.verb in ("device.create", "device.stand-in")]
    return {
        "regions": tuple((step.owner, int(said["memmap_size"])) for step, said in steps),
        "cpus": {step.owner: parse_cpus(said["cpus"]) for step, said in steps if "cpus" in said},
        "devices": tuple(step.owner for step, _ in steps if step.verb == "device.create"),
        "stand_ins": tuple(step.owner for step, _ in steps if step.verb == "device.stand-in"),
    }


def _arrays(plan: Plan) -> dict[str, Any]:
    """Which arrays may lose what was flushed, and which have a journal that is there before the lab."""
    devices = [step for step in plan.steps if step.verb == "device.create"]
    volatile = {f"{{{step.provides}.dev}}": step.provides for step in devices if _volatile(step)}
    arrays = [step for step in plan.steps if step.verb == "md.create" and step.args["journal"]]
    members = {
        step.owner: tuple(str(volatile[member]) for member in step.args["members"] if member in volatile)
        for step in arrays
        if step.args["mode"] == "write-back"
    }
    return {
        "volatile_members": {owner: names for owner, names in members.items() if names},
        "real_journals": {s.owner: _name(s.args["journal"]) for s in arrays if s.args["journal_stays"]},
    }


def _volatile(step: Step) -> bool:
    """Whether a device loses what it has buffered with the power: only an SSD has such a buffer."""
    said = dict(_settings(step))
    return bool(said["vwc"]) and said.get("kind") == "ssd" and not said.get("medium/plp")


def _name(reference: str) -> str:
    return reference.strip("{}").removesuffix(".dev")


def _loads(plan: Plan) -> dict[str, Any]:
    """Which loads meet what is known of fio's engines."""
    steps = [step for step in plan.steps if step.verb == "device.create"]
    paths = {step.provides for step in steps if step.args["attributes"].get("controllers", 1) > 1}
    over: dict[str, str] = {}
    offloaded: list[str] = []
    for work in plan.workloads:
        owner, device = f"workload.{work['load']}", _name(work["target"]["path"])
        for keys in _sections(work["table"]):
            engine = keys.get("ioengine", "io_uring")  # the default where the kernel lets us have it
            if engine == "io_uring" and device in paths:
                over[owner] = device
            if engine == "psync" and keys.get("io_submit_mode") == "offload":
                offloaded.append(owner)
    return {"over_paths": over, "offloaded": tuple(dict.fromkeys(offloaded))}


def _sections(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A load's keys, for each of its sections; none of a load of keys."""
    parts = [part for part in table.values() if isinstance(part, Mapping)]
    return [{**table, **part} for part in parts] or [table] * bool(table)


def _settings(step: Step) -> Iterator[tuple[str, Any]]:
    yield from step.args["params" if step.verb == "device.stand-in" else "attributes"].items()
