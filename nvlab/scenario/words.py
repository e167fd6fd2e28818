# SPDX-License-Identifier: GPL-2.0-or-later
"""What is wrong with a table, in the user's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from nvlab.errors import Problem
from nvlab.scenario.schema import adapter


def problem(where: str, spec: type, error: Mapping[str, Any], also: Sequence[str] = ()) -> Problem:
    """One of pydantic's errors about a table of ``spec``; ``also`` are keys that another spec of the same table has."""
    path = ".".join((where, *(str(part) for part in error["loc"] if part != spec.__name__)))
    match error["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            known = [*_keys(spec, error["loc"]), *also]
            return Problem(path, f"is not a key of this table{did_you_mean(str(error['loc'][-1]), known)}")
        case "missing" | "missing_keyword_only_argument" | "missing_argument":
            return Problem(path, "is missing")
        case "value_error":
            return Problem(path, str(error["ctx"]["error"]))
        case "dataclass_type" | "dataclass_exact_type" | "model_type":
            return Problem(path, "is not a table")
    return Problem(path, error["msg"])


def _keys(of: type, loc: tuple[Any, ...]) -> list[str]:
    """The keys that the innermost table of ``loc`` may have."""
    spec = adapter(of).json_schema()
    for part in loc[:-1]:
        prop = spec.get("properties", {}).get(part, {})
        options = (prop, prop.get("additionalProperties") or {}, *prop.get("anyOf", ()))
        names = [str(option.get("$ref", "")).rpartition("/")[2] for option in options]
        spec = {**spec, **next((spec["$defs"][n] for n in names if n), {})}
    return list(spec.get("properties", {}))


def did_you_mean(word: str, known: Any) -> str:
    """"; did you mean "x"?" for the nearest known word, or nothing."""
    close = get_close_matches(word, list(known), 1)
    return f'; did you mean "{close[0]}"?' if close else ""
