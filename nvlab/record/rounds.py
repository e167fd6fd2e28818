# SPDX-License-Identifier: GPL-2.0-or-later
"""A workload with all that comes before it, round by round until it is steady. Stdlib only: the node runs it too.

Every stage has a directory of its own below the workload's, numbered in the order of running: ``01-precondition``, ``02-warmup``,
``03-round-1`` and so on, each as :mod:`nvlab.record` describes it. Which rounds count is known at the end, and written then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nvlab.record import WORKLOAD
from nvlab.record.events import Emit
from nvlab.record.fioresult import value_in
from nvlab.record.recorder import Stop, Where, Workload, nothing_can_happen, run_workload, write_json
from nvlab.record.timeline import Happen
from nvlab.workload.course import Course, Stage, keys_in
from nvlab.workload.steady import Verdict, Window

#: records a stage in a new directory, "counted" or not; its value
RunStage = Callable[[Path, Stage, bool], float]


def run_course(
    out: Path,
    work: Workload,
    emit: Emit,
    stop: Stop,
    *,
    happen: Happen = nothing_can_happen,
    where: Where | None = None,
) -> dict[str, Any]:
    """Run ``work`` with all its stages, recorded in or below the new directory ``out``; the verdict, where there is one.

    ``happen`` lets its events happen, in the first stage that is measured; ``where`` says where its target is after that. What
    comes before is fio's also for a load that keeps a ledger.

    Each stage has a deadline, and there are no more rounds than the course says. Raises as
    :func:`~nvlab.record.recorder.run_workload`; what was recorded until then is there, and no round until steady counts.
    """
    course = Course.from_json(work.course)
    recorded = partial(run_workload, emit=emit, stop=stop, happen=happen, where=where)

    def run(directory: Path, stage: Stage, counted: bool) -> float:
        changed: dict[str, Any] = {"table": stage.table, "phase": stage.phase, "counted": counted, "seed": stage.seed(work.seed)}
        if stage.phase != "measure":
            changed |= {"trace": False, "ledger": False, "layers": False}
        if stage.phase != "measure" or stage.number:
            changed |= {"events": ()}
        if work.kv:
            changed |= {"kv": keys_in(stage, work.kv), "store": directory.name.startswith("01-")}
        recorded(directory, replace(work, **changed), deadline=stage.within)
        return value_in(directory, course.steady.of if course.steady else "iops")

    if course.plain:
        recorded(out, work)
        return {}
    return record_course(out, work.name, course, work.table, run, emit)


def record_course(
    out: Path, name: str, course: Course, table: Mapping[str, Any], run: RunStage, emit: Emit
) -> dict[str, Any]:
    """Record every stage of a course below ``out`` by ``run``, then which rounds count; the verdict, where there is one."""
    rounds: list[Path] = []

    def do(stage: Stage) -> float:
        directory = out / f"{sum(1 for _ in out.iterdir()) + 1:02d}-{stage.name}"
        measured = stage.phase == "measure"
        rounds.extend([directory] if measured else [])
        return run(directory, stage, measured and course.steady is None)

    def tell(number: int, value: float, last: Window | None) -> None:
        window = {"excursion": last.excursion, "slope": last.slope} if last else {}
        emit({"kind": "round", "workload": name, "round": number, "value": value, **window})

    out.mkdir(parents=True, exist_ok=True)
    verdict = course.follow(table, do, tell)
    if verdict is None:
        return {}
    _mark(rounds, verdict)
    emit({"kind": "steady", "workload": name, "reached": verdict.reached, "rounds": len(rounds)})
    return verdict.to_json()


def _mark(rounds: list[Path], verdict: Verdict) -> None:
    """Write into the record of each round whether it counts, and why."""
    for number, directory in enumerate(rounds):
        described = json.loads((directory / WORKLOAD).read_text(encoding="utf-8"))
        more = {"round": number, "counted": verdict.counts(number), "steady": verdict.to_json()}
        write_json(directory / WORKLOAD, described | more)
