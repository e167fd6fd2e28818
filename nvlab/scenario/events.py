# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the ``[[event]]`` tables of a scenario: the keys that every event has, then those of what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from nvlab.errors import Problem
from nvlab.layers import KINDS, power
from nvlab.layers import event as events
from nvlab.layers.base import Event, EventKind, Lab, Moment
from nvlab.layers.event import When
from nvlab.layers.fields import Reference, marked_references
from nvlab.scenario.references import holds
from nvlab.scenario.schema import adapter
from nvlab.scenario.words import did_you_mean, problem

_COMMON = [f.name for f in fields(When)]
TABLES = tuple(table for table, kind in KINDS.items() if kind.events)  # whose objects something may happen to


def read_events(tables: Any, declared: Mapping[str, str], problems: list[Problem]) -> Iterator[Event]:
    """The events whose shape is right. ``declared``: every name of the file and its table."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problems.append(Problem("event", "write [[event]]"))
        return
    first = next((name for name, table in declared.items() if table == "workload"), None)
    for number, table in enumerate(tables, 1):
        yield from _read(f"event.{number}", table, declared, first, problems)


def _read(
    path: str, table: dict[str, Any], declared: Mapping[str, str], first: str | None, problems: list[Problem]
) -> Iterator[Event]:
    try:
        when: When = adapter(When).validate_python({key: table[key] for key in _COMMON if key in table})
    except ValidationError as error:
        problems.extend(problem(path, When, e) for e in error.errors())
        return
    during = when.during or first
    if during is None:
        problems.append(Problem(path, "there is no workload during which it could happen"))
        return
    kind = _kind(path, when, declared, problems)
    if kind is None:
        return
    own = {key: value for key, value in table.items() if key not in _COMMON}
    try:
        spec = adapter(kind.spec).validate_python(own)
    except ValidationError as error:
        problems.extend(problem(path, kind.spec, e, _COMMON) for e in error.errors())
        return
    yield Event(path, when.do, when.on or "", during, Moment(*when.at), spec)


def _kind(path: str, when: When, declared: Mapping[str, str], problems: list[Problem]) -> EventKind | None:
    """What ``do`` is for the object; of an object that is not there, nothing can be said but that."""
    machine = events.kind_of(None, when.do)
    if machine and when.on:
        problems.append(Problem(f"{path}.on", f"{when.do} happens to the whole machine; leave this out"))
        return None
    if machine:
        return machine
    if when.on is None:
        near = did_you_mean(when.do, [kind.do for kind in power.EVENTS])
        problems.append(Problem(f"{path}.on", f"is missing: {when.do} happens to an object{near}"))
        return None
    table = declared.get(when.on.partition(".")[0])
    if table is None:
        near = did_you_mean(when.on, [name for name, its in declared.items() if its in TABLES])
        problems.append(Problem(f"{path}.on", f'"{when.on}" is not defined{near}'))
        return None
    kind = events.kind_of(KINDS[table], when.do)
    if kind is None:
        known = [kind.do for kind in KINDS[table].events]
        what = f"it may: {', '.join(known)}{did_you_mean(when.do, known)}" if known else "nothing can"
        problems.append(Problem(f"{path}.do", f'"{when.do}" cannot happen to a {table}; {what}'))
    return kind


def event_references(found: Sequence[Event]) -> Iterator[Reference]:
    """(TOML path, name, tables it may be of) for every reference of the events."""
    for event in found:
        if event.on:
            yield f"{event.path}.on", event.on, TABLES
        yield f"{event.path}.during", event.during, ("workload",)
        yield from marked_references(event.path, event.spec)


def check_events(found: Sequence[Event], lab: Lab) -> Iterator[Problem]:
    """What the layers find wrong with events all of whose names hold."""
    for event in found:
        if all(holds(lab.objects, reference) for reference in event_references([event])):
            yield from events.check(event, lab)
    yield from power.check_beside(found, lab)
