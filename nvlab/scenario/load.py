# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a scenario: TOML, then each table's shape, then the references between objects."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nvlab.errors import InvalidScenario, Problem, UsageError
from nvlab.layers import KINDS
from nvlab.layers.base import Facts, Lab, LayerKind, Object
from nvlab.scenario.references import check_references, sound
from nvlab.scenario.schema import SCHEMA_VERSION, adapter

MAX_BYTES = 1 << 20  # of a scenario file; one that is larger is not a scenario
_TOP = ("schema", "title", "name", *KINDS)


@dataclass(frozen=True)
class Scenario:
    """A valid scenario: its objects in the order of the file."""

    name: str
    title: str
    source: str
    text: str = field(repr=False)
    objects: Mapping[str, Object] = field(default_factory=dict)

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


def loads(text: str, *, source: str = "<text>", name: str = "lab", directory: Path | None = None) -> Scenario:
    """The scenario in a text; ``name`` is the lab's unless the text has one, ``directory`` where files it names are."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidScenario(source, [Problem("", f"it is not TOML: {error}")]) from None
    problems = [*_check_top(data)]
    objects: dict[str, Object] = {}
    for kind in KINDS.values():
        for obj in _objects(kind, data.get(kind.table, {}), directory, problems):
            if obj.name in objects:
                problems.append(Problem(obj.path, f"the name is taken by {objects[obj.name].path}; names are unique in a file"))
            objects[obj.name] = obj
    problems += check_references(objects, _declared(data))
    problems += check_layers(sound(objects))
    if problems:
        raise InvalidScenario(source, problems)
    return Scenario(str(data.get("name", name)), str(data.get("title", "")), source, text, objects)


def check_layers(objects: Mapping[str, Object], facts: Facts | None = None) -> list[Problem]:
    """What the layers find wrong with objects whose references hold, on a node of these facts."""
    lab = Lab("check", objects, facts or Facts())
    return [problem for obj in objects.values() for problem in KINDS[obj.table].check(obj, lab)]


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


def _objects(kind: LayerKind, tables: Any, directory: Path | None, problems: list[Problem]) -> Iterator[Object]:
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
                yield Object(kind.table, name, adapter(kind.spec).validate_python(table, context=directory))
            except ValidationError as error:
                problems.extend(_problem(where, kind, e) for e in error.errors())


def _problem(where: str, kind: LayerKind, error: Mapping[str, Any]) -> Problem:
    """One of pydantic's errors in the user's words."""
    path = ".".join((where, *(str(part) for part in error["loc"] if part != kind.spec.__name__)))
    match error["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return Problem(path, f"is not a key of this table{did_you_mean(str(error['loc'][-1]), _keys(kind, error['loc']))}")
        case "missing" | "missing_keyword_only_argument" | "missing_argument":
            return Problem(path, "is missing")
        case "value_error":
            return Problem(path, str(error["ctx"]["error"]))
        case "dataclass_type" | "dataclass_exact_type" | "model_type":
            return Problem(path, "is not a table")
    return Problem(path, error["msg"])


def _keys(kind: LayerKind, loc: tuple[Any, ...]) -> list[str]:
    """The keys that the innermost table of ``loc`` may have."""
    spec = adapter(kind.spec).json_schema()
    for part in loc[:-1]:
        prop = spec.get("properties", {}).get(part, {})
        options = (prop, prop.get("additionalProperties") or {}, *prop.get("anyOf", ()))
        names = [str(option.get("$ref", "")).rpartition("/")[2] for option in options]
        spec = {**spec, **next((spec["$defs"][n] for n in names if n), {})}
    return list(spec.get("properties", {}))


def _declared(data: Mapping[str, Any]) -> dict[str, str]:
    """Every name the file defines, with its table; also of objects that are wrong: to refer to one is no second mistake."""
    return {name: table for table in KINDS if isinstance(data.get(table), dict) for name in data[table]}


def did_you_mean(word: str, known: Any) -> str:
    """"; did you mean "x"?" for the nearest known word, or nothing."""
    close = get_close_matches(word, list(known), 1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _stem_name(path: Path) -> str:
    """A lab's name from its file's: small letters, digits, - and _."""
    name = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:31]
    return name if re.fullmatch(LayerKind.NAME, name) else f"lab-{name}"[:31]
