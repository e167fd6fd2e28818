# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a scenario: TOML, then each table's shape, then the references between objects."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nvlab.errors import InvalidScenario, Problem, UsageError
from nvlab.layers import KINDS
from nvlab.layers.base import Event, Facts, Lab, LayerKind, Object
from nvlab.layers.beside import Files
from nvlab.scenario.compare import Compare, changed, check, label
from nvlab.scenario.events import check_events, event_references, read_events
from nvlab.scenario.references import check_references, sound
from nvlab.scenario.schema import SCHEMA_VERSION, adapter
from nvlab.scenario.words import did_you_mean, problem

MAX_BYTES = 1 << 20  # of a scenario file; one that is larger is not a scenario
COMPARE, EVENT = "compare", "event"
_TOP = ("schema", "title", "name", *KINDS, EVENT, COMPARE)


@dataclass(frozen=True)
class Comparison:
    """A comparison with the lab of each of its values."""

    spec: Compare
    labs: tuple[Scenario, ...]


@dataclass(frozen=True)
class Scenario:
    """A valid scenario: its objects and events in the order of the file, and the files that it names."""

    name: str
    title: str
    source: str
    text: str = field(repr=False)
    objects: Mapping[str, Object] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()

    def of(self, table: str) -> list[Object]:
        """The objects of one table, in order."""
        return [o for o in self.objects.values() if o.table == table]


def load(path: Path) -> Scenario:
    """The scenario in a file. Raises UsageError when it cannot be read, InvalidScenario with all that is wrong."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="nvlab's own scenarios are in scenarios/") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MiB: not a scenario")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidScenario(str(path), [Problem("", "it is not UTF-8 text")]) from None
    return loads(text, source=str(path), name=_stem_name(path), directory=path.parent)


def loads(
    text: str,
    *,
    source: str = "<text>",
    name: str = "lab",
    directory: Path | None = None,
    given: Mapping[str, Path] | None = None,
) -> Scenario:
    """The scenario in a text; ``name`` is the lab's unless the text has one.

    Files that it names are looked for in ``directory``; those ``given`` by name are taken instead.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidScenario(source, [Problem("", f"it is not TOML: {error}")]) from None
    problems = [*_check_top(data)]
    files = Files(directory or Path(), given or {})
    objects, events = _read(data, files, problems)
    whole = Scenario(str(data.get("name", name)), str(data.get("title", "")), source, text, objects, events, files.named)
    # a lab that is wrong anyway is wrong with each value
    compared = () if problems else tuple(_comparisons(whole, data, files, problems))
    if problems:
        raise InvalidScenario(source, problems)
    return replace(whole, comparisons=compared)


def _read(
    data: Mapping[str, Any], files: Files, problems: list[Problem]
) -> tuple[dict[str, Object], tuple[Event, ...]]:
    """The objects of a scenario's tables and its events; what is wrong goes into ``problems``."""
    objects: dict[str, Object] = {}
    for kind in KINDS.values():
        for obj in _objects(kind, data.get(kind.table, {}), files, problems):
            if obj.name in objects:
                problems.append(Problem(obj.path, f"the name is taken by {objects[obj.name].path}; names are unique in a file"))
            objects[obj.name] = obj
    events = tuple(read_events(data.get(EVENT, []), _declared(data), problems))
    problems += check_references(objects, _declared(data), event_references(events))
    problems += check_layers(sound(objects), events)
    return objects, events


def _comparisons(
    base: Scenario, data: Mapping[str, Any], files: Files, problems: list[Problem]
) -> Iterator[Comparison]:
    tables = data.get(COMPARE, [])
    if not isinstance(tables, list):
        problems.append(Problem(COMPARE, "write [[compare]]"))
        return
    for number, table in enumerate(tables, 1):
        where = COMPARE if len(tables) == 1 else f"{COMPARE}.{number}"
        try:
            spec: Compare = adapter(Compare).validate_python(table)
        except ValidationError as error:
            problems.extend(problem(where, Compare, e) for e in error.errors())
            continue
        problems.extend(check(spec, where, data))
        yield Comparison(spec, tuple(_labs(base, spec, where, data, files, problems)))


def _labs(
    base: Scenario, spec: Compare, where: str, data: Mapping[str, Any], files: Files, problems: list[Problem]
) -> Iterator[Scenario]:
    """The lab of each value; what only the value makes wrong is told as the comparison's."""
    for value in spec.values:
        found: list[Problem] = []
        try:
            objects, events = _read(changed(data, spec.key, value), files, found)
        except ValueError as error:
            problems.append(Problem(f"{where}.key", str(error)))
            return
        problems += [Problem(f"{where}.values", f"with {spec.key} = {label(value)}, {p.where}: {p.what}") for p in found]
        yield replace(base, objects=objects, events=events)


def check_layers(objects: Mapping[str, Object], events: Sequence[Event] = (), facts: Facts | None = None) -> list[Problem]:
    """What the layers find wrong with objects whose references hold, and with events, on a node of these facts."""
    lab = Lab("check", objects, facts or Facts())
    return [*(found for obj in objects.values() for found in KINDS[obj.table].check(obj, lab)), *check_events(events, lab)]


def _check_top(data: Mapping[str, Any]) -> Iterator[Problem]:
    if type(data.get("schema")) is not int or data["schema"] != SCHEMA_VERSION:  # true and 1.0 are equal to 1
        yield Problem("schema", f"write schema = {SCHEMA_VERSION} (the version of the format) at the top of the file")
    for key in data:
        if key not in _TOP:
            yield Problem(key, f"is not a table of a scenario{did_you_mean(key, _TOP)}")
    if not isinstance(data.get("title", ""), str):
        yield Problem("title", "is not text")
    if not re.fullmatch(LayerKind.NAME, str(data.get("name", "lab"))):
        yield Problem("name", "a lab's name is a small letter, then small letters, digits, - and _, at most 31 in all")
    if not any(data.get(table) for table in KINDS):
        yield Problem("", "it describes nothing; begin with a [device.x] or a [disk.x]")


def _objects(kind: LayerKind, tables: Any, files: Files, problems: list[Problem]) -> Iterator[Object]:
    if not isinstance(tables, dict):
        problems.append(Problem(kind.table, f"write [{kind.table}.NAME]"))
        return
    for name, table in tables.items():
        where = f"{kind.table}.{name}"
        if not isinstance(table, dict):
            problems.append(Problem(where, f"is not a table; write [{kind.table}.NAME]"))
        elif not re.fullmatch(LayerKind.NAME, name):
            problems.append(Problem(where, "a name is a small letter, then small letters, digits, - and _, at most 31 in all"))
        else:
            try:
                yield Object(kind.table, name, adapter(kind.spec).validate_python(table, context=files))
            except ValidationError as error:
                problems.extend(problem(where, kind.spec, e) for e in error.errors())


def _declared(data: Mapping[str, Any]) -> dict[str, str]:
    """Every name the file defines, with its table; also of objects that are wrong: to refer to one is no second mistake."""
    return {name: table for table in KINDS if isinstance(data.get(table), dict) for name in data[table]}


def _stem_name(path: Path) -> str:
    """A lab's name from its file's: small letters, digits, - and _."""
    name = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:31]
    return name if re.fullmatch(LayerKind.NAME, name) else f"lab-{name}"[:31]
