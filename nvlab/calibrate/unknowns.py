# SPDX-License-Identifier: GPL-2.0-or-later
"""What a sweep can say of a drive: the parameters of each kind that a fit looks for, and why not the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nvlab.calibrate.cells import Cell
from nvlab.medium import MAX_TIME, PARAMETERS, TIMING, Profile

Part = Literal["reads", "writes", "all"]
SPEEDS = {"channel_speed", "link_speed"}
_SMALL = 300  # ns: a time is looked for on a scale that is logarithmic well above this, and reaches zero
_TYPES = ("lsb", "csb", "msb", "tsb")
_NVM: dict[str, Part] = {"read_delay": "reads", "read_time": "reads", "write_delay": "writes", "write_time": "writes"}
_SSD: dict[str, Part] = {
    "fw_read": "reads", "fw_read_large": "reads", "channel_speed": "all", "link_speed": "all",
    "fw_write": "writes", "fw_write_unit": "writes",
}
_SHAPES = {"nvm": ("units", "unit_shift"), "ssd": ("channels", "dies")}

# Parameters that the loads of a sweep cannot show, and why.
_BUILT = "the fit takes it as given: a data sheet says it"
_COLLECTED = "the sweep writes without collection"
_OTHERS: dict[str, dict[str, str]] = {
    "nvm": {},
    "ssd": {
        **dict.fromkeys(("planes", "page_size", "cell_bits", "program_pages", "multi_plane"), _BUILT),
        **dict.fromkeys(("blocks", "pages", "spare", "gc_policy", "gc_choices", "gc_low", "gc_background"), _COLLECTED),
        **dict.fromkeys(("gc_idle", "hot_cold", "wear_gap", "erase"), _COLLECTED),
        **dict.fromkeys(("suspend", "suspend_time"), "no load of the sweep reads and writes at once"),
        **dict.fromkeys(("plp", "awupf", "recovery"), "only a power cut shows it"),
        **dict.fromkeys(("read_disturb", "retention"), "a sweep neither reads nor waits for so long"),
        **dict.fromkeys(("endurance", "bad_factory", "erase_fail", "program_fail"), "only a worn drive shows it"),
        "mapping_cache": "a sweep reads of too little of the drive",
        "buffer": "how long a burst of writes is taken says it, and a sweep has none",
    },
}


@dataclass(frozen=True)
class Unknown:
    """A parameter that a fit looks for, on a scale of its own on which equal steps are about equal shares."""

    name: str
    part: Part

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest value looked at; a speed of 0 takes no time, which no finite one comes to."""
        if self.name in TIMING:
            return TIMING[self.name][1:]
        row = PARAMETERS[self.name]
        return (1, row.high) if self.name in SPEEDS else (row.low, min(row.high, MAX_TIME))

    @property
    def _zero(self) -> int:
        return 0 if self.name in SPEEDS else _SMALL

    def scaled(self, value: int) -> float:
        """Where a value is on the scale."""
        return math.log(value + self._zero)

    def value(self, scaled: float) -> int:
        """The whole number there, within the limits."""
        low, high = self.limits
        return round(min(high, max(low, math.exp(min(scaled, 60)) - self._zero)))

    def share(self, value: int) -> float:
        """The part of the value that a small step on the scale is of it, per step."""
        return (value + self._zero) / max(value, 1)

    def touches(self, cell: Cell) -> bool:
        """Whether a cell may depend on it. A write of less than a mapping unit reads the rest of it."""
        return self.part == "all" or (self.part == "reads") == cell.reads or bool(cell.bs % 4096)


def candidates(profile: Profile) -> list[Unknown]:
    """What a sweep of reads and writes may show of such a drive."""
    parts = _NVM if profile.kind == "nvm" else _SSD | _nand(profile.model)
    return [Unknown(name, part) for name, part in parts.items()]


def unknowns(profile: Profile, cells: Sequence[Cell]) -> list[Unknown]:
    """What to look for: of the candidates those that some of the cells may depend on, without speeds that take no time."""
    values = profile.timing or profile.model
    found = [unknown for unknown in candidates(profile) if unknown.name not in SPEEDS or values[unknown.name]]
    return [unknown for unknown in found if any(unknown.touches(cell) for cell in cells)]


def _nand(model: Mapping[str, int]) -> dict[str, Part]:
    """Times of the NAND: of the types of page that such cells have, and of programs that begin with one."""
    bits = model["cell_bits"]
    types = ("lsb", "msb") if bits == 2 else _TYPES[:bits]
    begun = {number * model["program_pages"] % bits for number in range(bits)}
    reads: dict[str, Part] = {f"read_{name}": "reads" for name in types}
    return reads | {f"program_{types[number]}": "writes" for number in sorted(begun)}


def spread(values: Mapping[str, int]) -> dict[str, int]:
    """The same, with times of one sort somewhat apart, a lower page's less: from equal ones no fit finds which is which."""
    found = dict(values)
    for sort in ("read", "program"):
        for number, name in enumerate(name for name in (f"{sort}_{kind}" for kind in _TYPES) if name in values):
            found[name] = round(values[name] * (0.8 + 0.15 * number))
    return found


def traded(values: Mapping[str, int], factor: float) -> dict[str, int]:
    """Senses scaled by a factor, and the firmware's time such that a lone read takes as long as before; {} without."""
    senses = {name: values[name] for name in (f"read_{kind}" for kind in _TYPES) if name in values}
    if not senses:
        return {}
    saved = round(sum(senses.values()) / len(senses) * (1 - factor))
    fw = {name: max(0, values[name] + saved) for name in ("fw_read", "fw_read_large") if name in values}
    return {**values, **{name: round(value * factor) for name, value in senses.items()}, **fw}


def groups(unknowns: Sequence[Unknown]) -> list[list[Unknown]]:
    """Those that may be off by one common factor, and each of the rest."""
    found: dict[str, list[Unknown]] = {}
    for unknown in unknowns:
        sort, _, kind = unknown.name.partition("_")
        found.setdefault(sort if kind in _TYPES else unknown.name, []).append(unknown)
    return list(found.values())


def shape(profile: Profile) -> dict[str, int]:
    """The whole numbers that a fit tries neighbours of, as the profile has them."""
    values = profile.timing or profile.model
    return {name: values[name] for name in _SHAPES[profile.kind]}


def neighbours(now: Mapping[str, int]) -> list[dict[str, int]]:
    """Shapes next to one: each number halved and doubled, and what keeps the number of dies the same."""
    found: list[dict[str, int]] = []
    for name, value in now.items():
        near = (value - 1, value + 1) if name == "unit_shift" else (value // 2, value * 2)
        found += [{**now, name: other} for other in near]
    if "dies" in now:
        channels, dies = now["channels"], now["dies"]
        found += [{"channels": channels * 2, "dies": dies // 2}, {"channels": channels // 2, "dies": dies * 2}]
    return [each for each in found if _possible(each)]


def _possible(shape: Mapping[str, int]) -> bool:
    limits = {name: TIMING[name][1:] if name in TIMING else (PARAMETERS[name].low, PARAMETERS[name].high) for name in shape}
    return all(low <= shape[name] <= high for name, (low, high) in limits.items())


def beyond(profile: Profile) -> dict[str, str]:
    """Parameters of the kind that no sweep shows, and why not."""
    return _OTHERS[profile.kind]
