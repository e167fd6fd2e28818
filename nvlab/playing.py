# SPDX-License-Identifier: GPL-2.0-or-later
"""One load on one simulated device, from its first command to its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvlab.errors import DeadlineExceeded, UsageError
from nvlab.happening import Happens, Outcome
from nvlab.layers.device import Device as DeviceSpec
from nvlab.layers.keyload import KINDS as COMMANDS
from nvlab.layers.keyload import KeyLoad as KeyLoadSpec
from nvlab.record.accounts import grown
from nvlab.record.format import OPS
from nvlab.record.rounds import record_course
from nvlab.record.simulated import Piece, describe, totals, value_in, write_results
from nvlab.sim import KeyOpcode, Opcode, Status, ZoneOpcode
from nvlab.sim.aged import REST, Simulated
from nvlab.sim.closed import Happening, Job, closed_loop
from nvlab.sim.inputs import read_recorded
from nvlab.sim.kvload import KeyLoad, sizes
from nvlab.sim.load import Load
from nvlab.sim.zoneload import ZonedLoad, finish_all
from nvlab.workload.course import Course, Phase, Stage, keys_in
from nvlab.workload.fio import DEFAULT_RUNTIME, Section, Target, job_sections, planned_seconds, render_job
from nvlab.workload.keyrun import planned_seconds as keys_seconds

Emit = Callable[[dict[str, Any]], None]
RECORDED = {"retrieve": "read", "store": "write"}  # commands of keys that are recorded by another name


@dataclass(frozen=True)
class Work:
    """One load on one device: sections of a job, recorded I/O, or keys; and what comes before it, with fio's keys."""

    on: str
    name: str
    load: str
    variant: str
    baseline: bool
    repeat: int
    seed: int
    spec: DeviceSpec
    sections: tuple[Section, ...] = ()
    recorded: Path | None = None
    keys: KeyLoadSpec | None = None
    table: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    course: Course = field(default_factory=Course)
    phase: Phase = "measure"
    counted: bool = True
    happens: tuple[Happens, ...] = ()


def play(directory: Path, work: Work, made: Simulated, emit: Emit) -> None:
    """Run a load on a device with all that comes before it, as in a live lab, and record it in ``directory``.

    Raises UsageError where the device refuses it or what was recorded cannot be read, DeadlineExceeded.
    """

    def run(into: Path, stage: Stage, counted: bool) -> float:
        into.mkdir()
        began = made.now
        changed: dict[str, Any] = {"phase": stage.phase, "counted": counted, "seed": stage.seed(work.seed)}
        if stage.phase != "measure" or stage.number:
            changed |= {"happens": ()}
        _record(into, replace(_staged(work, stage), **changed), made)
        if stage.within and made.now - began - REST > stage.within * 1e9:
            raise DeadlineExceeded(f"{work.name}: {stage.name} did not end within {stage.within:.0f} s of virtual time")
        return value_in(into, work.course.steady.of if work.course.steady else "iops")

    if work.keys:
        _store(work, work.keys, made)
    if work.course.plain:
        _record(directory, work, made)
    else:
        record_course(directory, work.name, work.course, work.table, run, emit)


def _staged(work: Work, stage: Stage) -> Work:
    """The load of a stage."""
    if work.keys:
        return replace(work, keys=KeyLoadSpec(**keys_in(stage, asdict(work.keys))))
    return replace(work, sections=job_sections(stage.table, work.name))


def _record(directory: Path, work: Work, made: Simulated) -> None:
    _finish_zones(made)
    began, before = made.now, totals(made.device)
    planned = keys_seconds(asdict(work.keys)) if work.keys else planned_seconds(work.sections)
    outcomes = [event.on(made.device, began, planned) for event in work.happens]
    try:
        if work.keys:
            pieces = _run_keys(_keyload(work.keys, work.seed), made, outcomes)
            job = "".join(f"# {key} = {value}\n" for key, value in asdict(work.keys).items())
        elif work.recorded:
            pieces = _replay(work.recorded, made)
            job = f"# recorded I/O: {work.recorded}\n"
        else:
            pieces = list(_run(work, made, outcomes))
            job = render_job(work.sections, Target("device", f"/dev/{work.on}"), seed=work.seed, engine="io_uring")
    except (ValueError, OSError) as error:
        raise UsageError(f"{work.name}: {error}", hint="nothing was recorded of it") from error
    ended = max((int(piece.t.max()) for piece in pieces if len(piece.t)), default=began)
    made.now = max(made.now, ended)
    for outcome in outcomes:
        if outcome.due is None:
            made.now = outcome.happen(made.now)
    made.now += REST
    described = [{"name": s.name, "keys": dict(s.keys)} for s in work.sections] or [{"name": work.name, "keys": {}}]
    if work.keys:
        described[0]["kv"] = {key: value for key, value in asdict(work.keys).items() if value is not None}
    kept = ("name", "load", "variant", "baseline", "repeat", "seed", "phase", "counted", "changed")
    facts = {key: getattr(work, key) for key in kept} | {"sections": described, "course": work.course.to_json()}
    facts |= {"events": [outcome.to_json() for outcome in outcomes]} if outcomes else {}
    describe(directory, facts | {"target": {"kind": "simulated", "path": work.on}}, job, began, ended)
    write_results(directory, pieces, made.device, {work.on: grown(before, totals(made.device))})


def _coming(outcomes: Sequence[Outcome], now: int) -> list[Happening]:
    """The events that are still to come at ``now`` ns."""
    return [happening for outcome in outcomes for happening in outcome.happenings(now)]


def _run(work: Work, made: Simulated, outcomes: Sequence[Outcome]) -> Iterator[Piece]:
    """The sections of a job: those between two stonewalls at the same time."""
    for turn, group in enumerate(_groups(work.sections)):
        if turn:
            _finish_zones(made)
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
        ended = closed_loop(made.device, jobs, _coming(outcomes, start))
        for done, (index, number, counted) in zip(ended, whose, strict=True):
            made.now = max([made.now, *map(int, done.decisions["target"][-1024:])])
            yield _piece(index, number, done.commands, done.decisions, counted, made.shift)


def _finish_zones(made: Simulated) -> None:
    """What a load left open does not count against the next."""
    if made.zoned:
        made.now = int(made.device.submit(_at(finish_all(), made.now))["target"][0]) + REST


def _keyload(spec: KeyLoadSpec, seed: int) -> KeyLoad:
    said = {key: value for key, value in asdict(spec).items() if key not in COMMANDS}
    return KeyLoad(**said, parts={KeyOpcode[kind.upper()]: getattr(spec, kind) for kind in COMMANDS}, seed=seed)


def _store(work: Work, spec: KeyLoadSpec, made: Simulated) -> None:
    """Store all keys of a load, before the first of its stages. Raises UsageError where the device refuses them."""
    try:
        made.now = _keyload(spec, work.seed).fill(made.device, made.now) + REST
    except ValueError as error:
        raise UsageError(f"{work.name}: {error}, when the keys were stored", hint="nothing was recorded of it") from error


def _run_keys(load: KeyLoad, made: Simulated, outcomes: Sequence[Outcome]) -> list[Piece]:
    pieces, counted = [], made.now + load.ramp_time
    for job, done in enumerate(load.run(made.device, made.now, _coming(outcomes, made.now))):
        made.now = max(made.now, int(done.decisions["target"].max(initial=0)))
        kept = done.commands["now"] >= counted
        cmds, decisions = done.commands[kept], done.decisions[kept]
        latency = decisions["target"] - cmds["now"]
        pieces.append(Piece(0, job, decisions["target"], latency, _ops(cmds), sizes(cmds, decisions)))
    return pieces


def _ops(cmds: NDArray[np.void]) -> NDArray[np.uint8]:
    """What commands of keys are recorded as, shape (n,)."""
    found = np.zeros(len(cmds), np.uint8)
    for kind in COMMANDS:
        found[cmds["opcode"] == KeyOpcode[kind.upper()]] = OPS.index(RECORDED.get(kind, kind))
    return found


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
