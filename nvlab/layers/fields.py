# SPDX-License-Identifier: GPL-2.0-or-later
"""What a field of a scenario may hold: markers for the layers' dataclasses, and how each reads what the user wrote.

A marker's ``read`` takes the TOML value and returns the value of the field, or raises ValueError in the user's words.
:mod:`nvlab.scenario` turns markers into validators and into the JSON Schema for editors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from nvlab.medium import PARAMETERS
from nvlab.units import MAX_BYTES, MAX_NS, format_size, format_time, parse_cpus, parse_size, parse_time


class Marker:
    """Reads one TOML value.

    The two hooks are how pydantic asks a marker; its schemas are plain dicts, so nothing is imported here.
    """

    def read(self, value: Any) -> Any:
        """The field's value; ValueError in the user's words."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """JSON Schema of what the user may write."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        return {"type": "function-plain", "function": {"type": "no-info", "function": self.read}}

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        return self.schema()


@dataclass(frozen=True)
class Doc:
    """One line about a field, with its unit: shown in editors and in the reference."""

    text: str


@dataclass(frozen=True)
class Size(Marker):
    """Bytes, written "512M"."""

    low: int = 0
    high: int = MAX_BYTES
    multiple: int = 1

    def read(self, value: Any) -> int:
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError(f'{value!r} is not a size; write it like "512M"')
        size = parse_size(value)
        if not self.low <= size <= self.high:
            raise ValueError(f"{value!r} is out of range ({format_size(self.low)} to {format_size(self.high)})")
        if size % self.multiple:
            raise ValueError(f"{value!r} is not a multiple of {format_size(self.multiple)}")
        return size

    def schema(self) -> dict[str, Any]:
        example = format_size(min(max(self.low, 512 << 20), self.high))
        return {"type": ["string", "integer"], "pattern": r"^\s*\d+\s*[KMGTkmgt]?([iI]?[bB])?\s*$", "examples": [example]}


@dataclass(frozen=True)
class Sizes(Marker):
    """Bytes from one size to another, written "1k-16k"; or one size."""

    low: int = 0
    high: int = MAX_BYTES

    def read(self, value: Any) -> tuple[int, int]:
        ends = value.split("-") if isinstance(value, str) else [value]
        if len(ends) > 2:
            raise ValueError(f'{value!r} is neither a size nor two, like "1k-16k"')
        sizes = [Size(self.low, self.high).read(end) for end in ends]
        if sizes[0] > sizes[-1]:
            raise ValueError(f"{value!r} begins with the larger size")
        return sizes[0], sizes[-1]

    def schema(self) -> dict[str, Any]:
        size = r"\s*\d+\s*[KMGTkmgt]?([iI]?[bB])?\s*"
        return {"type": ["string", "integer"], "pattern": f"^{size}(-{size})?$", "examples": ["4k", "1k-16k"]}


@dataclass(frozen=True)
class Duration(Marker):
    """Nanoseconds, written "20us"."""

    low: int = 0
    high: int = MAX_NS

    def read(self, value: Any) -> int:
        if not isinstance(value, str) and value != 0:
            raise ValueError(f'{value!r} is not a time; write it with its unit, like "20us"')
        time = parse_time(value)
        if not self.low <= time <= self.high:
            raise ValueError(f"{value!r} is out of range ({format_time(self.low)} to {format_time(self.high)})")
        return time

    def schema(self) -> dict[str, Any]:
        pattern = r"^\s*(\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|h)|0)\s*$"
        return {"anyOf": [{"type": "string", "pattern": pattern}, {"const": 0}], "examples": ["20us", "4ms", "10s"]}


@dataclass(frozen=True)
class At(Marker):
    """A moment of a workload: "5s" after its first I/O, "30%" of its planned time, or "end"; read as (ns, share, ended)."""

    def read(self, value: Any) -> tuple[int, float | None, bool]:
        if value == "end":
            return 0, None, True
        if isinstance(value, str) and (share := re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*", value)):
            if float(share[1]) > 100:
                raise ValueError(f"{value!r} is beyond the workload's end (100%)")
            return 0, float(share[1]) / 100, False
        try:
            return Duration().read(value), None, False
        except ValueError:
            said = f'{value!r} is neither a time, like "5s", nor a share of the workload, like "30%", nor "end"'
            raise ValueError(said) from None

    def schema(self) -> dict[str, Any]:
        pattern = r"^(\s*\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|h|%)\s*|end)$"
        return {"anyOf": [{"type": "string", "pattern": pattern}, {"const": 0}], "examples": ["5s", "30%", "end"]}


@dataclass(frozen=True)
class Whole(Marker):
    """A whole number within limits."""

    low: int = 0
    high: int = 1 << 31

    def read(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{value!r} is not a whole number")
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is out of range ({self.low} to {self.high})")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Probability(Marker):
    """A number above 0, up to 1, in steps of a millionth."""

    def read(self, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{value!r} is not a number")
        if not 1e-6 <= value <= 1:
            raise ValueError(f"{value} is out of range (0.000001 to 1)")
        return float(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": 1e-6, "maximum": 1, "examples": [0.01]}


@dataclass(frozen=True)
class Percent(Marker):
    """A number of per cent above 0, up to 100."""

    def read(self, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{value!r} is not a number of per cent; write it like 20")
        if not 0 < value <= 100:
            raise ValueError(f"{value} is out of range (above 0, to 100 per cent)")
        return float(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "exclusiveMinimum": 0, "maximum": 100, "examples": [20]}


@dataclass(frozen=True)
class Cpus(Marker):
    """How many CPUs (2), or which ("2-3"); read as an int or as a tuple of numbers."""

    def read(self, value: Any) -> int | tuple[int, ...]:
        if isinstance(value, int) and not isinstance(value, bool):
            return Whole(1, 256).read(value)
        if not isinstance(value, str):
            raise ValueError(f'{value!r} is neither a number of CPUs nor a list like "2-3"')
        return parse_cpus(value)

    def schema(self) -> dict[str, Any]:
        pattern = r"^\s*\d+(-\d+)?\s*(,\s*\d+(-\d+)?\s*)*$"
        return {"anyOf": [Whole(1, 256).schema(), {"type": "string", "pattern": pattern}], "examples": [2, "2-3"]}


@dataclass(frozen=True)
class Text(Marker):
    """Text of a form; ``what`` says the form in words."""

    pattern: str
    what: str

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            raise ValueError(f"{value!r} is not {self.what}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True)
class Flag(Marker):
    """true or false."""

    def read(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice(Marker):
    """One of a few values."""

    values: tuple[str | int, ...]

    def read(self, value: Any) -> str | int:
        if value not in self.values or isinstance(value, bool):
            names = ", ".join(map(str, self.values))
            raise ValueError(f"{value!r} is not one of: {names}")
        return value  # type: ignore[no-any-return]

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.values)}


@dataclass(frozen=True)
class Ref(Marker):
    """The name of another object, of one of the ``tables`` ("pool", or "pool.2" for one of its count)."""

    tables: tuple[str, ...]

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError(f"{value!r} is not a name")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


@dataclass(frozen=True)
class Refs(Marker):
    """One name or a list of names, read as a tuple."""

    tables: tuple[str, ...]

    def read(self, value: Any) -> tuple[str, ...]:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not values or not all(isinstance(v, str) and v for v in values):
            raise ValueError(f"{value!r} is neither a name nor a list of names")
        return tuple(values)

    def schema(self) -> dict[str, Any]:
        name = {"type": "string"}
        return {"anyOf": [name, {"type": "array", "items": name, "minItems": 1}]}


@dataclass(frozen=True)
class Names(Marker):
    """A list of texts of a form."""

    form: Text

    def read(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list")
        return tuple(self.form.read(v) for v in value)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.form.schema()}


@dataclass(frozen=True)
class Medium(Marker):
    """A table of parameters of a medium, by the core's names."""

    def read(self, value: Any) -> dict[str, int]:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not a table")
        return {name: self._number(name, number) for name, number in value.items()}

    @staticmethod
    def _number(name: str, number: Any) -> int:
        if name not in PARAMETERS:
            near = get_close_matches(name, PARAMETERS, 1)
            raise ValueError(f"there is no parameter {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        row = PARAMETERS[name]
        try:
            return Whole(row.low, row.high).read(number)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def schema(self) -> dict[str, Any]:
        properties = {
            row.name: Whole(row.low, row.high).schema() | {"description": f"{row.what} ({row.unit})" if row.unit else row.what}
            for row in PARAMETERS.values()
        }
        return {"type": "object", "properties": properties, "additionalProperties": False}


@dataclass(frozen=True)
class Table(Marker):
    """A table that another part of nvlab checks (fio's keys)."""

    def read(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not a table")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


Reference = tuple[str, str, tuple[str, ...]]  # TOML path, name, tables it may be of


def marked_references(path: str, spec: Any) -> Iterator[Reference]:
    """Every reference of a spec: the fields that are marked as one."""
    hints = get_type_hints(type(spec), include_extras=True)
    for f in fields(spec):
        value = getattr(spec, f.name)
        where = f"{path}.{f.name}"
        if is_dataclass(value):
            yield from marked_references(where, value)
        marks = get_args(hints[f.name])[1:] if get_origin(hints[f.name]) is Annotated else ()
        for mark in marks:
            if isinstance(mark, Ref) and value is not None:
                yield where, value, mark.tables
            elif isinstance(mark, Refs):
                yield from ((where, ref, mark.tables) for ref in value)
