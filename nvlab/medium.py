# SPDX-License-Identifier: GPL-2.0-or-later
"""What a device is made of: the parameters of a medium, and profiles, files that give every one they set a unit and a source."""

from __future__ import annotations

import errno
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
    """A drive: its kind (one of ``KINDS``), whether it has a volatile write cache, its model (or timing, of kind nvm), and where
    each number comes from."""

    name: str
    title: str
    kind: str
    vwc: bool
    model: dict[str, int]
    timing: dict[str, int]
    sources: dict[str, str]


KINDS = ("nvm", "ssd", "hdd", "zns", "kv")
MAX_BYTES = 1 << 20  # of a profile's file
MAX_TIME = 4 * 10**9  # ns, of anything: the core has 32 bits for it
_TOP = {"title", "kind", "vwc", "parameters"}

# Of kind nvm: unit, lowest and highest value of each.
TIMING: Mapping[str, tuple[str, int, int]] = {
    "read_delay": ("ns", 0, MAX_TIME),
    "read_time": ("ns", 0, MAX_TIME),
    "write_delay": ("ns", 0, MAX_TIME),
    "write_time": ("ns", 0, MAX_TIME),
    "units": ("", 1, 256),
    "unit_shift": ("log2 bytes", 9, 20),
}
_MODEL = {row.name: (row.unit, row.low, row.high) for row in PARAMETERS.values()}


def load_profile(path: Path) -> Profile:
    """Read a profile, the package's or a user's own. Raises ValueError with what is wrong and where, OSError."""
    name = path.stem
    table = _read(path)
    if unknown := table.keys() - _TOP:
        raise ValueError(f"{name}: {', '.join(sorted(unknown))}: not a key of a profile; it has {', '.join(sorted(_TOP))}")
    kind, title, vwc, entries = (table.get(key) for key in ("kind", "title", "vwc", "parameters"))
    if kind not in KINDS:
        raise ValueError(f"{name}: kind {kind!r} is not one of: {', '.join(KINDS)}")
    if not isinstance(title, str) or not isinstance(vwc, bool) or not isinstance(entries, dict):
        raise ValueError(f"{name}: needs a title (text), vwc (true or false), and a table of parameters")
    rows = TIMING if kind == "nvm" else _MODEL
    values = {key: _value(f"{name}.{key}", rows.get(key), entry) for key, entry in entries.items()}
    if kind == "nvm" and (missing := TIMING.keys() - values.keys()):
        raise ValueError(f"{name}: of kind nvm, it needs {', '.join(sorted(missing))} as well")
    return Profile(
        name,
        title,
        kind,
        vwc,
        model() if kind == "nvm" else model(**values),
        values if kind == "nvm" else {},
        {key: entry["source"] for key, entry in entries.items()},
    )


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path.stem}: larger than {MAX_BYTES >> 20} MiB: not a profile")
    try:
        return tomllib.loads(data.decode())
    except ValueError as error:  # of either
        raise ValueError(f"{path.stem}: it is not TOML: {error}") from None


def _value(where: str, row: tuple[str, int, int] | None, entry: object) -> int:
    """One entry of a profile; ``row``: the unit and the limits of its parameter."""
    if row is None:
        raise ValueError(f"{where}: there is no parameter of this name")
    unit, low, high = row
    if not isinstance(entry, dict) or set(entry) != {"value", "unit", "source"}:
        raise ValueError(f"{where}: needs a value, a unit and a source, and nothing else")
    if entry["unit"] != unit:
        raise ValueError(f'{where}: its unit is "{unit}", not "{entry["unit"]}"')
    value, source = entry["value"], entry["source"]
    if type(value) is not int or not isinstance(source, str) or not source:
        raise ValueError(f"{where}: needs a whole number, and a source that says something")
    if not low <= value <= high:
        raise ValueError(f"{where}: {value} is out of range ({low} to {high})")
    return value


def profiles() -> dict[str, Profile]:
    """The package's own profiles, by name."""
    return {path.stem: load_profile(path) for path in sorted(PROFILES.glob("*.toml"))}
