# SPDX-License-Identifier: GPL-2.0-or-later
"""`[[event]]`: what happens to the lab while a workload runs. Not a layer: each layer's file says what may happen to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from nvlab.errors import Problem
from nvlab.kernel.act import act
from nvlab.layers import KINDS, power
from nvlab.layers.base import Event, EventKind, Lab, LayerKind
from nvlab.layers.fields import At, Doc, Ref, Text
from nvlab.workload import keyrun
from nvlab.workload.fio import check_job, job_sections, planned_seconds

DOC = """\
What happens while a workload runs: a member fails, a device becomes slow. Events happen once, in the first repeat of their
workload on its first target, and not while that is preconditioned or warmed up; of labs that are compared in each. They come one
after the other; one that takes its time holds up those after it. `nvlab plan` shows what each will do. What an event has changed
stays changed when the workload is over, until another event or `nvlab down`. When one fails, the run fails.

A share, and the progress that `nvlab run` shows, is of planned time: `startdelay`, `ramp_time` and `runtime` of a load, whether
or not `size` or `number_ios` ends it before."""


@dataclass(frozen=True, kw_only=True)
class When:
    """The keys of every event."""

    at: Annotated[Any, At(), Doc("a time after the workload's first I/O, a share of its planned time, or once it has ended")]
    do: Annotated[str, Text(r"[a-z][a-z-]{0,30}", "a word"), Doc("what happens; what else there is to say depends on it")]
    on: Annotated[str | None, Ref(()), Doc("the object that it happens to; none for what happens to the whole machine")] = None
    during: Annotated[str | None, Ref(("workload",)), Doc("the workload (default: the first of the file)")] = None


def kind_of(table: LayerKind | None, do: str) -> EventKind | None:
    """What ``do`` is for a layer, or for the whole machine."""
    return next((kind for kind in (table.events if table else power.EVENTS) if kind.do == do), None)


def _kind(event: Event, lab: Lab) -> EventKind:
    kind = kind_of(KINDS[lab.objects[event.name].table] if event.on else None, event.do)
    assert kind, "it was checked when it was read"
    return kind


def check(event: Event, lab: Lab) -> Iterator[Problem]:
    """What is wrong with an event whose names are right."""
    yield from _kind(event, lab).check(event, lab)
    if lab.objects[event.during].spec.steady:
        what = f"workload {event.during!r} goes on until it is steady, and what happens would keep it from that"
        yield Problem(f"{event.path}.during", f"{what}; leave its steady out (precondition and warmup may stay)")
    planned = _planned(event, lab)
    if planned is not None and event.at.ns / 1e9 > planned:
        yield Problem(f"{event.path}.at", f"workload {event.during!r} is planned to end after {planned:g} s")


def _planned(event: Event, lab: Lab) -> float | None:
    """How many seconds the event's workload is meant to run; None where its job is wrong, which is said elsewhere."""
    load = lab.objects[event.during].spec
    if load.kv:
        return keyrun.planned_seconds(vars(load.kv))
    return None if check_job(load.fio, "") else planned_seconds(job_sections(load.fio, "job"))


def planned(event: Event, lab: Lab) -> Mapping[str, Any]:
    """The event as data: ``owner``, ``label``, when (``at`` s, a ``share``, or neither: at the end), its ``acts`` and their
    ``deadline`` in s, and ``ends`` where the load does with it.
    """
    deed = _kind(event, lab).deed(event, lab)
    limits = [getattr(op, "deadline", 0.0) for name, args in deed.acts for op in act(name).ops(args)]
    limits += [act(name).deadline for name, _ in deed.acts]
    when = {"share": event.at.share} if event.at.share is not None else {} if event.at.ended else {"at": event.at.ns / 1e9}
    acts = [{"act": name, "args": dict(args)} for name, args in deed.acts]
    owner = lab.objects[event.name].path if event.on else "machine"
    ends = {"ends": True} if deed.ends else {}
    return {"owner": owner, "label": deed.label, **when, "acts": acts, "deadline": sum(limits), **ends}
