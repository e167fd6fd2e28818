# SPDX-License-Identifier: GPL-2.0-or-later
"""``nvlab simulate``: a scenario's virtual devices without a kernel, in virtual time, far faster than real time.

The device alone is simulated: not the host's drivers, nor the layers over it. Its loads are the scenario's own or a fio job
file's, in a closed loop as fio runs them, or recorded I/O at the times it was recorded. What is left behind is a run directory
like any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvlab.errors import InvalidScenario, Problem, UsageError
from nvlab.layers.base import Facts, Lab, Object, provided
from nvlab.layers.device import Device as DeviceSpec
from nvlab.layers.device import profile_of
from nvlab.layers.fault import millionths
from nvlab.layers.workload import runs
from nvlab.record import EVENTS, JOB, SAMPLES, WORKLOAD
from nvlab.record.rundir import RunDir
from nvlab.record.simulated import Piece, write_results
from nvlab.scenario import load
from nvlab.scenario.load import Scenario
from nvlab.sim import (
    ANY_OPCODE,
    MAX_RULES,
    Config,
    Device,
    Fault,
    Opcode,
    Rule,
    Status,
    ZoneOpcode,
    commands,
)
from nvlab.sim.aged import REST, Simulated, aged
from nvlab.sim.closed import Job, closed_loop
from nvlab.sim.device import refusal
from nvlab.sim.inputs import read_recorded
from nvlab.sim.load import Load, not_simulated
from nvlab.sim.zoneload import ZonedLoad, finish_all
from nvlab.workload.fio import (
    DEFAULT_RUNTIME,
    DEFAULT_SEED,
    Section,
    Target,
    is_job_file,
    job_sections,
    parse_job_file,
    render_job,
)

Emit = Callable[[dict[str, Any]], None]
OPCODES = {
    "any": ANY_OPCODE,
    "read": Opcode.READ,
    "write": Opcode.WRITE,
    "flush": Opcode.FLUSH,
    "write-zeroes": Opcode.WRITE_ZEROES,
    "dsm": Opcode.DSM,
}
WHAT = "the device alone, simulated in virtual time: neither drivers nor the layers over it"


@dataclass(frozen=True)
class Options:
    """What the command line says beside the scenario: how often the capacity is written at random first, a job file or recorded
    I/O, which device that and snapshots are of, the snapshot to begin with, where one of the end goes."""

    precondition: float = 0
    io: Path | None = None
    device: str | None = None
    restore: Path | None = None
    save: Path | None = None


def simulate(path: Path, base: Path, options: Options, argv: list[str], emit: Emit) -> Path:
    """Simulate a scenario's devices under its loads; the run directory.

    Raises InvalidScenario where a load has something else for a target than a device, or keys that the simulator has not.
    """
    from nvlab.host import provenance

    scenario = load(path)
    todo = list(_given(scenario, options.io, options) if options.io else _workloads(scenario))
    devices = _restored(scenario, options)
    saved = _chosen(scenario, options) if options.save else ""
    directory = RunDir.create(base, scenario.name)
    facts = {
        "title": scenario.title,
        "simulated": {"what": WHAT, "precondition": options.precondition},
        "warnings": [f"{WHAT[0].upper()}{WHAT[1:]}."],
        "provenance": {"controller": provenance.controller(argv)},
    }
    directory.write(scenario.name, scenario.text, str(path.resolve()), facts)
    for work in todo:
        emit({"kind": "workload", "name": work.name})
        if work.variant not in devices:
            devices[work.variant] = _prepared(work.spec, options.precondition)
        _record(directory.new_workload(work.name), work, devices[work.variant])
    if options.save:
        last = devices.get(saved) or _prepared(_devices(scenario)[saved], options.precondition)
        _save(options.save, last.device)
    return directory.path


def _save(path: Path, device: Device) -> None:
    """Write a snapshot whole or not at all: an older one may be what the device began with."""
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_bytes(device.save())
        new.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="the run itself is recorded") from error


# -- what is to be done ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """One load on one device: sections of a job, or recorded I/O."""

    name: str
    load: str
    variant: str
    baseline: bool
    round: int
    seed: int
    spec: DeviceSpec
    sections: tuple[Section, ...] = ()
    recorded: Path | None = None


def _workloads(scenario: Scenario) -> Iterator[Work]:
    devices = _devices(scenario)
    problems: list[Problem] = []
    works: list[Work] = []
    for obj in scenario.of("workload"):
        sections = job_sections(obj.spec.fio, obj.name)
        problems += _not_possible(obj, sections, devices)
        works += _works(obj, sections, devices, scenario) if not problems else []
    used = {ref for obj in scenario.of("workload") for ref in obj.spec.on}
    _refuse(scenario, [*problems, *_faults_not_possible(scenario, used), *_devices_not_possible(devices, used)])
    if not works:
        raise UsageError(f"{scenario.source} has no workload", hint="add a [workload.x], or name recorded I/O with --io")
    yield from works


def _devices(scenario: Scenario) -> dict[str, DeviceSpec]:
    return {name: obj.spec for obj in scenario.of("device") for name in provided(obj)}


def _not_possible(obj: Object, sections: Sequence[Section], devices: Mapping[str, DeviceSpec]) -> Iterator[Problem]:
    for ref in obj.spec.on:
        if ref not in devices:
            known = ", ".join(devices) or "none"
            yield Problem(f"{obj.path}.on", f"{ref!r} is no virtual device, and only these are simulated; there is: {known}")
    zones = any(devices[ref].profile.kind == "zns" for ref in obj.spec.on if ref in devices)
    for section in sections:
        for key in not_simulated(section.keys, zoned=zones):
            yield Problem(f"{obj.path}.fio.{key}", "the simulator has not got this; leave it out, or nvlab run the lab")


def _devices_not_possible(devices: Mapping[str, DeviceSpec], used: set[str]) -> Iterator[Problem]:
    for name in sorted(used & devices.keys()):
        if why := refusal(_config(devices[name])):
            yield Problem(f"device.{name}.medium", f"{why}; see size, profile and medium")


def _faults_not_possible(scenario: Scenario, used: set[str]) -> Iterator[Problem]:
    """What a fault does to a command beside its time is up to drivers, and to queues that only they have."""
    for obj in scenario.of("device"):
        for name, fault in obj.spec.fault.items() if used.intersection(provided(obj)) else ():
            path = f"{obj.path}.fault.{name}"
            if fault.action != "delay":
                yield Problem(f"{path}.action", f'only "delay" can be simulated, there is no driver to meet {fault.action!r}')
            if fault.controller:
                yield Problem(f"{path}.controller", "the simulator has no controllers; leave it out, or nvlab run the lab")
            if fault.queue:
                yield Problem(f"{path}.queue", "the simulator has no queues; leave it out, or nvlab run the lab")


def _refuse(scenario: Scenario, problems: Sequence[Problem]) -> None:
    if problems:
        raise InvalidScenario(f"{scenario.source}, simulated", problems)


def _works(
    obj: Object, sections: tuple[Section, ...], devices: Mapping[str, DeviceSpec], scenario: Scenario
) -> Iterator[Work]:
    """The runs that a lab would have."""
    for run in runs(obj, Lab(scenario.name, scenario.objects, Facts())):
        which = {key: run[key] for key in ("name", "load", "variant", "baseline", "round", "seed")}
        yield Work(**which, spec=devices[run["variant"]], sections=sections)


def _chosen(scenario: Scenario, options: Options) -> str:
    """The device that recorded I/O and snapshots are of."""
    devices = _devices(scenario)
    chosen = options.device or (next(iter(devices)) if len(devices) == 1 else "")
    if chosen not in devices:
        raise UsageError("which device is it for?", hint=f"--on one of: {', '.join(devices) or 'none, add a [device.x]'}")
    return chosen


def _given(scenario: Scenario, path: Path, options: Options) -> Iterator[Work]:
    """A file of the command line: a fio job if it begins with a section, else recorded I/O."""
    devices, chosen = _devices(scenario), _chosen(scenario, options)
    _refuse(scenario, [*_faults_not_possible(scenario, {chosen}), *_devices_not_possible(devices, {chosen})])
    zones = devices[chosen].profile.kind == "zns"
    work = Work(path.stem, path.stem, chosen, False, 0, DEFAULT_SEED, devices[chosen])
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        if is_job_file(text):
            yield replace(work, sections=_job_of(text, path, zones))
        elif zones:
            raise UsageError(f"recorded I/O cannot be replayed on {chosen}, which has zones", hint="choose another with --on")
        else:
            yield replace(work, recorded=path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _job_of(text: str, path: Path, zones: bool) -> tuple[Section, ...]:
    """The sections of a job file, whatever it says that it works on: that is the device here."""
    try:
        table = parse_job_file(text)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    for part in (table, *(value for value in table.values() if isinstance(value, dict))):
        part.pop("filename", None)
    sections = job_sections(table, path.stem)
    others = [(section.name, key) for section in sections for key in not_simulated(section.keys, zoned=zones)]
    if problems := [Problem(f"{name}.{key}", "the simulator has not got this") for name, key in others]:
        raise InvalidScenario(f"{path}, simulated", problems)
    return sections


# -- the device ------------------------------------------------------------------------------------------------


def _config(spec: DeviceSpec) -> Config:
    return Config.of(profile_of(spec), spec.size, seed=spec.seed, block_shift=spec.block_size.bit_length() - 1)


def _restored(scenario: Scenario, options: Options) -> dict[str, Simulated]:
    """The devices of snapshots, by name: those with a ``state`` of their own, and the one that the command line restores."""
    states = {name: Path(spec.state) for name, spec in _devices(scenario).items() if spec.state}
    if options.restore:
        states[_chosen(scenario, options)] = options.restore
    if states and options.precondition:
        raise UsageError("a drive of a snapshot has its past", hint="leave out --precondition, or --restore and state =")
    return {name: _restored_one(name, path, _devices(scenario)[name]) for name, path in states.items()}


def _restored_one(name: str, path: Path, spec: DeviceSpec) -> Simulated:
    """A device as the scenario has it now: what is live may differ."""
    try:
        made = Simulated(Device.load(path.read_bytes(), _config(spec)))
    except (ValueError, OSError) as error:
        hint = f"size, block_size, seed, profile and medium of device.{name} must be those it was saved with"
        raise UsageError(f"{path}: {error}", hint=hint) from error
    flushed = made.device.submit(commands(Opcode.FLUSH))  # no earlier than all it has seen
    made.now = int(flushed["target"][0]) + REST
    _set_rules(made, spec)
    return made


def _prepared(spec: DeviceSpec, precondition: float) -> Simulated:
    if precondition and spec.profile.kind == "zns":
        raise UsageError("zones cannot be written at random", hint="leave out --precondition")
    made = aged(Device(_config(spec)), precondition, spec.seed)
    _set_rules(made, spec)
    return made


def _set_rules(made: Simulated, spec: DeviceSpec) -> None:
    """Those of the scenario, and no others."""
    rules = [*_rules(spec)]
    for slot in range(MAX_RULES):
        made.device.set_rule(slot, rules[slot] if slot < len(rules) else None, made.now)


def _rules(spec: DeviceSpec) -> Iterator[Rule]:
    for fault in spec.fault.values():
        if fault.enable:
            same = {key: getattr(fault, key) for key in ("nsid", "slba", "nlb", "every", "count")}
            chance = millionths(fault.probability)
            yield Rule(Fault.DELAY, OPCODES[fault.opcode], chance=chance, delay=fault.delay or 0, **same)


# -- the loads -------------------------------------------------------------------------------------------------


def _record(directory: Path, work: Work, made: Simulated) -> None:
    began = made.now
    try:
        if work.recorded:
            pieces = _replay(work.recorded, made)
            job = f"# recorded I/O: {work.recorded}\n"
        else:
            pieces = list(_run(work, made))
            job = render_job(work.sections, Target("device", f"/dev/{work.variant}"), seed=work.seed, engine="io_uring")
    except (ValueError, OSError) as error:
        raise UsageError(f"{work.name}: {error}", hint="nothing was recorded of it") from error
    ended = max((int(piece.t.max()) for piece in pieces if len(piece.t)), default=began)
    made.now = max(made.now, ended) + REST
    (directory / JOB).write_text(job, encoding="utf-8")
    _describe(directory, work, began, ended)
    write_results(directory, pieces, made.device)


def _run(work: Work, made: Simulated) -> Iterator[Piece]:
    """The sections of a job: those between two stonewalls at the same time."""
    for group in _groups(work.sections):
        if made.zoned:  # what a load left open does not count against the next
            made.now = int(made.device.submit(_at(finish_all(), made.now))["target"][0]) + REST
        start = made.now
        loads = [Load.of(s.keys, made.blocks, made.shift, work.seed, DEFAULT_RUNTIME) for _, s in group]
        jobs, whose = [], []
        for (index, section), one in zip(group, loads, strict=True):
            first = start + one.start
            end = {"end": first + one.ramp + one.runtime} if one.runtime else {}
            made_of = ZonedLoad(one, made.zoned) if made.zoned else one
            for number in range(one.jobs):
                jobs.append(Job(made_of.commands(section.name, number), one.depth, first, interval=one.interval, **end))
                whose.append((index, number, first + one.ramp))
        for done, (index, number, counted) in zip(closed_loop(made.device, jobs), whose, strict=True):
            made.now = max([made.now, *map(int, done.decisions["target"][-1024:])])
            yield _piece(index, number, done.commands, done.decisions, counted, made.shift)


def _at(cmds: NDArray[np.void], now: int) -> NDArray[np.void]:
    cmds["now"] = now
    return cmds


def _groups(sections: Sequence[Section]) -> list[list[tuple[int, Section]]]:
    groups: list[list[tuple[int, Section]]] = []
    for index, section in enumerate(sections):
        if not groups or section.stonewalled():
            groups.append([])
        groups[-1].append((index, section))
    return groups


def _replay(path: Path, made: Simulated) -> list[Piece]:
    found, _ = read_recorded(path).commands(made.blocks, made.shift)
    found["now"] += made.now
    return [_piece(0, 0, found, made.device.submit(found), made.now, made.shift)]


def _piece(
    section: int, job: int, cmds: NDArray[np.void], decisions: NDArray[np.void], counted: int, shift: int
) -> Piece:
    """Reads and writes from ``counted`` ns on. Raises ValueError where the device refused one."""
    if len(refused := decisions["status"][decisions["status"] > 0]):
        why = "it is worn out" if refused[0] == Status.READ_ONLY else Status(refused[0]).name.lower().replace("_", " ")
        raise ValueError(f"the device refused {len(refused)} commands: {why}")
    kept = (cmds["now"] >= counted) & np.isin(cmds["opcode"], [Opcode.READ, Opcode.WRITE, ZoneOpcode.APPEND])
    cmds, decisions = cmds[kept], decisions[kept]
    op = (cmds["opcode"] != Opcode.READ).astype(np.uint8)
    size = cmds["nlb"].astype(np.uint32) << np.uint32(shift)
    return Piece(section, job, decisions["target"], decisions["target"] - cmds["now"], op, size)


# -- the record ------------------------------------------------------------------------------------------------


def _describe(directory: Path, work: Work, began: int, ended: int) -> None:
    sections = [{"name": s.name, "keys": dict(s.keys)} for s in work.sections] or [{"name": work.name, "keys": {}}]
    facts = {
        "name": work.name,
        "load": work.load,
        "variant": work.variant,
        "baseline": work.baseline,
        "round": work.round,
        "target": {"kind": "simulated", "path": work.variant},
        "seed": work.seed,
        "engine": "nvlab.sim",
        "trace": True,
        "sections": sections,
        "watches": [],
        "traces": [],
        "started": began,
        "ended": ended,
        "status": "ok",
    }
    (directory / WORKLOAD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    events = [{"t": began, "kind": "start"}, {"t": ended, "kind": "end"}]
    (directory / EVENTS).write_text("".join(json.dumps(e) + "\n" for e in events), encoding="utf-8")
    (directory / SAMPLES).write_text("", encoding="utf-8")
