# SPDX-License-Identifier: GPL-2.0-or-later
"""`[[compare]]`: the same lab with one key changed, measured in turns. Pure.

The order is A B, B A, A B, …: each value as often first as last, so that what drifts slowly (heat, a busy host) favours none.
The n-th repeat of one value and that of another are a pair (:mod:`nvlab.analysis.claims`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any

from nvlab.errors import Problem
from nvlab.layers import KINDS
from nvlab.layers.fields import Doc, Marker, Text, Whole

Value = Any  # what TOML may hold

_KEY = r"[a-z]+\.[a-z][a-z0-9_-]*(\.[A-Za-z0-9_-]+)+"


@dataclass(frozen=True)
class Values(Marker):
    """A list of values that differ."""

    def read(self, value: Any) -> tuple[Value, ...]:
        if not isinstance(value, list) or not 2 <= len(value) <= 8:
            raise ValueError("is not a list of 2 to 8 values")
        if len({label(v) for v in value}) < len(value):
            raise ValueError("has a value twice")
        return tuple(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "minItems": 2, "maxItems": 8}


@dataclass(frozen=True, kw_only=True)
class Compare:
    """A comparison."""

    key: Annotated[str, Text(_KEY, "the path of a key, like raid.md.journal.mode"), Doc("the key that is changed, by its path")]
    values: Annotated[tuple[Value, ...], Values(), Doc("what it is set to; the first is the baseline")]
    repeats: Annotated[int, Whole(2, 1000), Doc("how often each value is measured; even numbers cancel a drift best")] = 6


def label(value: Value) -> str:
    """A value as one calls a variant: text as it is, anything else as it would be written."""
    return value if isinstance(value, str) else json.dumps(value, separators=(", ", " = "), default=str)


def order(values: int, repeats: int) -> Iterator[tuple[int, int]]:
    """(repeat, value) by number, in the order of measuring: forwards and backwards in turns."""
    for repeat in range(repeats):
        yield from ((repeat, value) for value in (range(values) if repeat % 2 == 0 else reversed(range(values))))


def changed(data: Mapping[str, Any], key: str, value: Value) -> dict[str, Any]:
    """A scenario's tables with ``key`` set to ``value``. Raises ValueError when there is no such object."""
    tables = deepcopy(dict(data))
    table, name, *inner = key.split(".")
    if table not in KINDS or name not in tables.get(table, {}):
        there = ", ".join(f"{t}.{n}" for t in KINDS for n in tables.get(t, {}))
        raise ValueError(f"{table}.{name} is not in this file; there is: {there}")
    place = tables[table][name]
    for part in inner[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise ValueError(f"{part!r} of {key} is not a table")
    place[inner[-1]] = deepcopy(value)
    return tables


def check(compare: Compare, where: str, data: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with a comparison, beside what is with its values."""
    for name, table in data.get("workload", {}).items():
        if table.get("repeats", 1) != 1:
            yield Problem(f"workload.{name}.repeats", f"{where}.repeats says how often; leave this out")


def as_variant(run: Mapping[str, Any], compare: Compare, repeat: int, value: int, several: bool) -> dict[str, Any]:
    """What is to be run of one value, once: values are variants of a load, of which each target has one of its own.

    ``several``: there are several targets or comparisons, so that a load must say which it is of.
    """
    name, said = str(run["load"]), label(compare.values[value])
    what = f"{name} on {run['variant']}, {compare.key}" if several else name
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", said).strip("-")[:24]
    return {
        **run,
        "name": f"{run['name']}-{slug or value + 1}-{repeat + 1}",
        "load": what,
        "variant": said,
        "baseline": value == 0,
        "changed": {"key": compare.key, "value": compare.values[value]},
        "repeat": repeat,
        "seed": run["seed"] + repeat,  # the same for all values of a repeat: they are to meet the same load
    }


def variants(runs: Sequence[Mapping[str, Any]], compare: Compare, repeat: int, value: int, of: int) -> list[dict[str, Any]]:
    """:func:`as_variant` of all ``runs`` of a lab; ``of`` comparisons in all."""
    targets = {run["load"]: {r["variant"] for r in runs if r["load"] == run["load"]} for run in runs}
    return [as_variant(run, compare, repeat, value, of > 1 or len(targets[run["load"]]) > 1) for run in runs]
