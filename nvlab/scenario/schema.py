# SPDX-License-Identifier: GPL-2.0-or-later
"""The layers' dataclasses as pydantic validators and as a JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, with_config

from nvlab.layers import KINDS, event, power
from nvlab.layers.base import LayerKind
from nvlab.layers.fields import Doc
from nvlab.medium import Profile
from nvlab.scenario.compare import Compare

SCHEMA_VERSION = 1
COMPARES = "The same lab with one key changed, measured in turns."


@cache
def adapter(spec: type) -> TypeAdapter[Any]:
    """The validator of a layer's dataclass; keys it does not know are errors."""
    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(spec))


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a scenario file, for editors that check TOML against one."""
    tables: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for kind in KINDS.values():
        schema = adapter(kind.spec).json_schema()
        definitions |= schema.pop("$defs", {})
        for inner in nested(kind.spec):
            _describe(inner, definitions[inner.__name__])
        _describe(kind.spec, schema)
        tables[kind.table] = {
            "type": "object",
            "description": kind.doc,
            "propertyNames": {"pattern": f"^{LayerKind.NAME}$"},
            "additionalProperties": schema,
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nvlab scenario",
        "type": "object",
        "required": ["schema"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": SCHEMA_VERSION},
            "title": {"type": "string"},
            "name": {"type": "string", "pattern": f"^{LayerKind.NAME}$"},
            **tables,
            "event": {"type": "array", "description": event.DOC, "items": {"anyOf": list(_event_schemas())}},
            "compare": {"type": "array", "description": COMPARES, "items": _described(Compare)},
        },
        "$defs": definitions,
    }


def _described(spec: type) -> dict[str, Any]:
    schema = adapter(spec).json_schema()
    _describe(spec, schema)
    return schema


def _event_schemas() -> Iterator[dict[str, Any]]:
    """The schema of everything that may happen: the keys of every event, with those of its own."""
    for kind in (*(kind for layer in KINDS.values() for kind in layer.events), *power.EVENTS):
        common, own = _described(event.When), _described(kind.spec)
        required, properties = [*common.get("required", ())], dict(common["properties"])
        if kind in power.EVENTS:
            del properties["on"]
        else:
            required.append("on")
        required += own.get("required", ())
        properties |= {"do": {"const": kind.do}} | own.get("properties", {})
        yield own | {"title": kind.do, "description": kind.doc, "required": required, "properties": properties}


def docs(spec: type) -> dict[str, str]:
    """The line of documentation of every field."""
    hints = get_type_hints(spec, include_extras=True)
    return {f.name: _doc(hints[f.name]) for f in fields(spec)}


def _doc(hint: Any) -> str:
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((m.text for m in marks if isinstance(m, Doc)), "")


def nested(spec: type) -> list[type]:
    """The dataclasses of a spec's inner tables."""
    hints = get_type_hints(spec)
    return [o for hint in hints.values() for o in get_args(hint) if isinstance(o, type) and is_dataclass(o)]


def _describe(spec: type, schema: dict[str, Any]) -> None:
    for name, text in docs(spec).items():
        schema["properties"][name]["description"] = text
    for f in fields(spec):
        if isinstance(f.default, Profile):  # as one would write it
            schema["properties"][f.name]["default"] = f.default.name
