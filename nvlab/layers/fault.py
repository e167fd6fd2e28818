# SPDX-License-Identifier: GPL-2.0-or-later
"""`[device.x.fault.NAME]`: a rule by which commands of a virtual device go wrong. Not a layer: a part of `device`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.base import LayerKind
from nvlab.layers.fields import Choice, Doc, Duration, Flag, Probability, Whole

MAX_FAULTS = 32  # of one device, as the core has places for
MAX_CONTROLLERS = 8  # of one device, as nvlab.ko has it
MILLION = 1_000_000
_BELONGS = {"status": "status", "delay": "delay"}  # key -> the only action that has it, and must have it


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Which commands go wrong, and how; a rule is in force from the moment its lab stands."""

    action: Annotated[
        str,
        Choice(("status", "delay", "drop", "corrupt", "fatal", "read-only", "link-loss")),
        Doc(
            "what becomes of a command: it fails; it takes longer; it is lost (timeout, abort, reset); a byte of its data is"
            " inverted; the controller fails; its namespace takes no more writes; the drive is pulled"
        ),
    ]
    status: Annotated[
        int | None, Whole(1, 0x7FFF), Doc("of action status, the status field: 0x281 unrecovered read error, +0x4000 no retry")
    ] = None
    delay: Annotated[int | None, Duration(1, 1 << 50), Doc("of action delay, how much longer")] = None
    opcode: Annotated[
        str, Choice(("any", "read", "write", "flush", "write-zeroes", "dsm")), Doc("commands it is about; dsm are discards")
    ] = "any"
    slba: Annotated[int, Whole(0, 1 << 40), Doc("first block of the range that a command must touch")] = 0
    nlb: Annotated[int, Whole(0, 1 << 40), Doc("blocks of that range; 0 is any block")] = 0
    nsid: Annotated[int, Whole(0, (1 << 32) - 1), Doc("namespace; 0 is any")] = 0
    queue: Annotated[int, Whole(0, 65535), Doc("I/O queue; 0 is any")] = 0
    controller: Annotated[int, Whole(0, MAX_CONTROLLERS), Doc("of a device with several, the one it comes to; 0 is any")] = 0
    every: Annotated[int, Whole(1, (1 << 32) - 1), Doc("of the commands it is about, every so many is hit")] = 1
    probability: Annotated[float, Probability(), Doc("chance of those, drawn from the device's seed")] = 1.0
    count: Annotated[int, Whole(0, (1 << 32) - 1), Doc("hits after which it rests; 0 is no limit")] = 0
    enable: Annotated[bool, Flag(), Doc("whether it is in force; may be switched in configfs while the lab stands")] = True


def check(path: str, faults: dict[str, Fault], blocks: int, controllers: int) -> Iterator[Problem]:
    """What is wrong with the rules of a device of ``blocks`` logical blocks and so many ``controllers``."""
    if len(faults) > MAX_FAULTS:
        yield Problem(path, f"{len(faults)} rules are too many; a device has room for {MAX_FAULTS}")
    for name, fault in faults.items():
        if not re.fullmatch(LayerKind.NAME, name):
            yield Problem(f"{path}.{name}", "a name is a small letter, then small letters, digits, - and _, at most 31 in all")
        yield from _check_one(f"{path}.{name}", fault, blocks)
        if fault.controller > controllers:
            yield Problem(f"{path}.{name}.controller", f"the device has {controllers} (see its key controllers)")


def _check_one(path: str, fault: Fault, blocks: int) -> Iterator[Problem]:
    for key, action in _BELONGS.items():
        value = getattr(fault, key)
        if value is None and fault.action == action:
            yield Problem(f"{path}.{key}", f'action = "{action}" needs it')
        if value is not None and fault.action != action:
            yield Problem(f"{path}.{key}", f'only action = "{action}" has it, and this one is "{fault.action}"')
    if fault.slba and not fault.nlb:
        yield Problem(f"{path}.nlb", f"slba = {fault.slba} begins a range; nlb says how many blocks it has")
    if fault.slba + fault.nlb > blocks:
        yield Problem(f"{path}.nlb", f"block {fault.slba + fault.nlb - 1} is beyond the device; its last is {blocks - 1}")
    if fault.action == "corrupt" and fault.opcode not in ("any", "read", "write"):
        yield Problem(f"{path}.opcode", f"{fault.opcode} carries no data to corrupt; use read, write or any")


def millionths(probability: float) -> int:
    """As the core counts chances."""
    return max(1, round(probability * MILLION))


def attributes(fault: Fault) -> dict[str, object]:
    """The rule's attributes in configfs, but for ``enable``."""
    own: dict[str, object] = {"action": fault.action}
    own |= {key: getattr(fault, key) for key in ("opcode", "slba", "nlb", "nsid", "queue", "controller", "every", "count")}
    own["chance"] = millionths(fault.probability)
    return own | {key: getattr(fault, key) for key, action in _BELONGS.items() if fault.action == action}
