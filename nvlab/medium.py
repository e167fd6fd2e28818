# SPDX-License-Identifier: GPL-2.0-or-later
"""What a device is made of: the parameters of a medium, and profiles, files that give every one they set a unit and a source."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nvlab.data import kmod_dir

PROFILES = Path(__file__).with_name("profiles")
ROW = re.compile(r'^NVC_PARAM\((\w+), (\d+), (\d+), (\d+), ([01]), "([^"]*)", "([^"]*)"\)$', re.M)


@dataclass(frozen=True)
class Parameter:
    """One row of the core's table; ``live`` ones may change while the device is in use."""

    name: str
    unit: str
    what: str
    low: int
    high: int
    initial: int
    live: bool


def _table() -> dict[str, Parameter]:
    """The rows of ``kmod/core/model.def``, which the core and the module are made of too."""
    rows = ROW.findall((kmod_dir() / "core/model.def").read_text())
    return {
        name: Parameter(name, unit, what, int(low), int(high), int(initial), live == "1")
        for name, low, high, initial, live, unit, what in rows
    }


PARAMETERS: Mapping[str, Parameter] = _table()


def model(**values: int) -> dict[str, int]:
    """All parameters, those not named at their initial value. Raises ValueError for one that does not exist."""
    unknown = values.keys() - PARAMETERS.keys()
    if unknown:
        raise ValueError(f"there is no parameter {', '.join(sorted(unknown))}")
    return {name: row.initial for name, row in PARAMETERS.items()} | values


@dataclass(frozen=True)
class Profile:
    """A drive: its kind ("nvm", "ssd", "hdd"), whether it has a volatile write cache, its model (or timing, of kind nvm), and
    where each number comes from."""

    name: str
    title: str
    kind: str
    vwc: bool
    model: dict[str, int]
    timing: dict[str, int]
    sources: dict[str, str]


KINDS = ("nvm", "ssd", "hdd")
TIMING_UNITS = {
    "read_delay": "ns",
    "read_time": "ns",
    "write_delay": "ns",
    "write_time": "ns",
    "units": "",
    "unit_shift": "log2 bytes",
}


def _value(where: str, units: Mapping[str, str], name: str, entry: Mapping[str, object]) -> int:
    if name not in units:
        raise ValueError(f"{where}: there is no parameter {name}")
    if set(entry) != {"value", "unit", "source"}:
        raise ValueError(f"{where}.{name}: needs a value, a unit and a source, and nothing else")
    if entry["unit"] != units[name]:
        raise ValueError(f'{where}.{name}: its unit is "{units[name]}", not "{entry["unit"]}"')
    if not isinstance(entry["value"], int) or not entry["source"]:
        raise ValueError(f"{where}.{name}: needs a whole number, and a source that says something")
    return entry["value"]


def load_profile(path: Path) -> Profile:
    """Read a profile, the package's or a user's own. Raises ValueError with what is wrong, and where."""
    table = tomllib.loads(path.read_text())
    where = path.stem
    kind = str(table.get("kind"))
    if kind not in KINDS:
        raise ValueError(f"{where}: kind {kind!r} is not one of: {', '.join(KINDS)}")
    units = TIMING_UNITS if kind == "nvm" else {row.name: row.unit for row in PARAMETERS.values()}
    entries = table.get("parameters", {})
    values = {name: _value(where, units, name, entry) for name, entry in entries.items()}
    return Profile(
        where,
        table["title"],
        kind,
        bool(table["vwc"]),
        model() if kind == "nvm" else model(**values),
        values if kind == "nvm" else {},
        {name: entry["source"] for name, entry in entries.items()},
    )


def profiles() -> dict[str, Profile]:
    """The package's own profiles, by name."""
    return {path.stem: load_profile(path) for path in sorted(PROFILES.glob("*.toml"))}
