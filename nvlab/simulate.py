# SPDX-License-Identifier: GPL-2.0-or-later
"""``nvlab simulate``: a scenario's virtual devices without a kernel, in virtual time, far faster than real time.

The device alone is simulated: not the host's drivers, nor the layers over it. Its loads are the scenario's own or a fio job
file's, in a closed loop as fio runs them, or recorded I/O at the times it was recorded. What is left behind is a run directory
like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from nvlab.errors import InvalidScenario, Problem, UsageError
from nvlab.files import replace_file
from nvlab.happening import check, happens, set_rules
from nvlab.layers.base import Facts, Lab, Object, provided
from nvlab.layers.device import Device as DeviceSpec
from nvlab.layers.device import profile_of
from nvlab.layers.workload import runs
from nvlab.playing import Work, play
from nvlab.record.rundir import RunDir
from nvlab.scenario import load
from nvlab.scenario.compare import order, variants
from nvlab.scenario.load import Scenario
from nvlab.sim import Config, Device, Opcode, commands
from nvlab.sim.aged import REST, Simulated, aged
from nvlab.sim.device import refusal
from nvlab.sim.load import not_simulated
from nvlab.sim.state import read_state
from nvlab.workload.course import Course
from nvlab.workload.fio import (
    DEFAULT_SEED,
    Section,
    is_job_file,
    job_sections,
    parse_job_file,
)

Emit = Callable[[dict[str, Any]], None]
Change = Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]
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

    def to_json(self) -> dict[str, Any]:
        """For ``run.json``: what was beside the scenario, so that it can be done again."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in vars(self).items()}

    @staticmethod
    def from_json(said: Mapping[str, Any], files: Mapping[str, Path]) -> Options:
        """Of a recorded run, to do it again: with the ``files`` that it kept, saving nothing."""
        io, restore = (files[said[key]] if said.get(key) else None for key in ("io", "restore"))
        return Options(said["precondition"], io, said.get("device"), restore)

    def files(self) -> dict[str, Path]:
        """The files that it reads, by the names they were given."""
        return {str(path): path for path in (self.io, self.restore) if path}


def simulate(path: Path, base: Path, options: Options, argv: list[str], emit: Emit) -> Path:
    """Simulate the devices of a scenario's file under its loads; the run directory. Raises as :func:`simulate_scenario`."""
    return simulate_scenario(load(path), str(path.resolve()), base, options, argv, emit)


def simulate_scenario(
    scenario: Scenario, source: str, base: Path, options: Options, argv: list[str], emit: Emit
) -> Path:
    """The same of a scenario that was read from ``source``.

    Raises InvalidScenario where a load has something else for a target than a device, or keys that the simulator has not.
    """
    from nvlab.host import provenance

    turns = list(_turns(scenario, options))
    for lab in {id(turn.lab): turn.lab for turn in turns[1:]}.values():
        _restored(lab, options)  # whether it can be, before anything is written
    devices = _restored(turns[0].lab, options)
    saved = _chosen(scenario, options) if options.save else ""
    directory = RunDir.create(base, scenario.name)
    facts = {
        "title": scenario.title,
        "simulated": {"what": WHAT, **options.to_json()},
        "warnings": [f"{WHAT[0].upper()}{WHAT[1:]}."],
        "provenance": {"controller": provenance.controller(argv)},
    }
    directory.write(scenario.name, scenario.text, source, facts)
    directory.keep({**scenario.files, **options.files()})
    for number, turn in enumerate(turns):
        devices = _restored(turn.lab, options) if number else devices
        for work in turn.works:
            emit({"kind": "workload", "name": work.name})
            if work.on not in devices:
                devices[work.on] = _prepared(work.spec, options.precondition)
            play(directory.new_workload(work.name), work, devices[work.on], emit)
    if options.save:
        last = devices.get(saved) or _prepared(_devices(scenario)[saved], options.precondition)
        _save(options.save, last.device)
    return directory.path


def _save(path: Path, device: Device) -> None:
    """Write a snapshot whole or not at all: an older one may be what the device began with."""
    try:
        replace_file(path, device.save(), mode=0o644)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="the run itself is recorded") from error


# -- what is to be done ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """Loads on the devices of a lab, which begin anew."""

    works: Sequence[Work]
    lab: Scenario


def _turns(scenario: Scenario, options: Options) -> Iterator[Turn]:
    """All that is to be done; where values are compared, each of them on new devices, time after time."""
    if not scenario.comparisons or options.io:
        works = _given(scenario, options.io, options) if options.io else _workloads(scenario)
        yield Turn(list(works), scenario)
    of = len(scenario.comparisons)
    for comparison in scenario.comparisons if not options.io else ():
        spec, labs = comparison.spec, comparison.labs
        for repeat, value in order(len(labs), spec.repeats):
            change = partial(variants, compare=spec, repeat=repeat, value=value, of=of)
            yield Turn(list(_workloads(labs[value], change)), labs[value])


def _workloads(scenario: Scenario, change: Change = list) -> Iterator[Work]:
    devices = _devices(scenario)
    problems: list[Problem] = []
    works: list[Work] = []
    for obj in scenario.of("workload"):
        sections = () if obj.spec.kv else job_sections(obj.spec.fio, obj.name)
        problems += _not_possible(obj, sections, devices)
        works += _works(obj, sections, devices, scenario, change) if not problems else []
    used = {ref for obj in scenario.of("workload") for ref in obj.spec.on}
    problems += check(scenario.events, _lab(scenario))
    _refuse(scenario, [*problems, *_faults_not_possible(scenario, used), *_devices_not_possible(devices, used)])
    if not works:
        raise UsageError(f"{scenario.source} has no workload", hint="add a [workload.x], or name recorded I/O with --io")
    yield from works


def _lab(scenario: Scenario) -> Lab:
    return Lab(scenario.name, scenario.objects, Facts())


def _devices(scenario: Scenario) -> dict[str, DeviceSpec]:
    return {name: obj.spec for obj in scenario.of("device") for name in provided(obj)}


def _not_possible(obj: Object, sections: Sequence[Section], devices: Mapping[str, DeviceSpec]) -> Iterator[Problem]:
    if obj.spec.ledger:
        yield Problem(f"{obj.path}.ledger", "a simulation holds no data; leave it out, or nvlab run the lab")
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
    obj: Object, sections: tuple[Section, ...], devices: Mapping[str, DeviceSpec], scenario: Scenario, change: Change
) -> Iterator[Work]:
    """The runs that a lab would have, with the ``change`` that a comparison makes of them."""
    lab = _lab(scenario)
    asked = list(runs(obj, lab))
    to_come = happens([event for event in scenario.events if event.during == obj.name], lab)
    for on, run in zip((one["variant"] for one in asked), change(asked), strict=True):
        which = {key: run[key] for key in ("name", "load", "variant", "baseline", "repeat", "seed", "table")}
        which |= {"course": Course.from_json(run["course"]), "changed": run.get("changed", {})}
        yield Work(on, **which, spec=devices[on], sections=sections, keys=obj.spec.kv, happens=to_come)
        to_come = ()  # they happen once


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
    if devices[chosen].profile.kind == "kv":
        raise UsageError(f"{chosen} has keys, and {path} is of blocks", hint="give it a [workload.x] with kv")
    zones = devices[chosen].profile.kind == "zns"
    work = Work(chosen, path.stem, path.stem, chosen, False, 0, DEFAULT_SEED, devices[chosen])
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
        made = Simulated(Device.load(read_state(path), _config(spec)))
    except (ValueError, OSError) as error:
        hint = f"size, block_size, seed, profile and medium of device.{name} must be those it was saved with"
        raise UsageError(f"{path}: {error}", hint=hint) from error
    flushed = made.device.submit(commands(Opcode.FLUSH))  # no earlier than all it has seen
    made.now = int(flushed["target"][0]) + REST
    set_rules(made.device, spec, made.now)
    return made


def _prepared(spec: DeviceSpec, precondition: float) -> Simulated:
    if precondition and (what := {"zns": "zones", "kv": "keys"}.get(spec.profile.kind)):
        raise UsageError(f"{what} cannot be written at random", hint="leave out --precondition")
    made = aged(Device(_config(spec)), precondition, spec.seed)
    set_rules(made.device, spec, made.now)
    return made
