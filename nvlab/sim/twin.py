# SPDX-License-Identifier: GPL-2.0-or-later
"""The twin: a live device's trace, replayed through the same core in user space."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvlab.medium import PARAMETERS, model
from nvlab.sim.device import Config, Device, NamespaceChange, Rule, Timing
from nvlab.sim.state import checksum
from nvlab.sim.structs import (
    COMMAND,
    DECISION,
    RANGE,
    TRACE_COMMAND,
    TRACE_CONFIG,
    TRACE_MODEL,
    TRACE_NAMESPACE,
    TRACE_RANGES,
    TRACE_RULE,
    TRACE_STATE,
    TRACE_TIMING,
    WITH_RANGES,
    Fault,
    Kind,
    TraceKind,
)

_NOT_NUMBERED = (TraceKind.RANGES, TraceKind.CONFIG, TraceKind.STATE)


@dataclass(frozen=True)
class Twin:
    """A replayed trace: its ``commands`` in the order of the core (dtype ``TRACE_COMMAND``), what the twin decided of each
    (dtype ``DECISION``), and the ``device`` as it was at the end."""

    commands: NDArray[np.void]
    decisions: NDArray[np.void]
    device: Device

    def differences(self) -> NDArray[np.intp]:
        """Which commands the twin decided otherwise than the live device did: none, if the trace is whole."""
        same = [
            self.commands[name] == self.decisions[name]
            for name in ("seq", "target", "status", "data", "fault", "corrupt", "result")
        ]
        return np.flatnonzero(~np.all(same, axis=0))


def replay(records: NDArray[np.void], state: bytes | None = None) -> Twin:
    """Replay the records of a trace, shape (n,), dtype ``TRACE_COMMAND``, in any order.

    ``state``: what the device began with, if not as new, see :func:`nvlab.sim.state.read_state`. Raises ValueError when that is
    missing or another, and when a record is missing: overruns void the twin.
    """
    models = _models(records)
    device = Device(_config(records, models.get(0)))
    began = _restored(records, state)
    if began is None:
        return _replayed(device, _inputs(records), models, _ranges(records))
    numbered = _numbered(records)
    before = numbered["fetched"] < began  # of any input but a command its time lies there
    made = _replayed(device, _whole(_take(numbered, np.flatnonzero(before))), models, {})
    if len(made.commands):
        raise ValueError("the device had commands before it was given another state; only what follows one can be replayed")
    device.restore(state or b"")
    return _replayed(device, _whole(_take(numbered, np.flatnonzero(~before)), device.seq), models, _ranges(records))


def _restored(records: NDArray[np.void], state: bytes | None) -> int | None:
    """When the device was given the state, ns; None if it never was given one."""
    found = _take(records, np.flatnonzero(records["kind"] == TraceKind.STATE)).view(TRACE_STATE)
    if len(found) > 1:
        raise ValueError(f"the trace is of a device that was given another state {len(found)} times")
    if not len(found):
        if state is not None:
            raise ValueError("the trace is of a device that began as new, not with a state")
        return None
    wanted = int(found["checksum"][0])
    if state is None:
        raise ValueError(f"the trace is of a device that began with a state, of checksum {wanted:#018x}: give that one")
    if checksum(state) != wanted:
        raise ValueError(f"this state has checksum {checksum(state):#018x}, the trace began with that of {wanted:#018x}")
    return int(found["input"]["now"][0])


def _replayed(
    device: Device, inputs: NDArray[np.void], models: dict[int, dict[str, int]], ranges: dict[int, list[NDArray[np.void]]]
) -> Twin:
    decisions = []
    commands = inputs["kind"] == TraceKind.COMMAND
    bounds = [0, *np.flatnonzero(np.diff(commands)) + 1, len(inputs)]  # of runs of commands, and of other inputs
    for first, last in pairwise(bounds if len(inputs) else ()):
        run = inputs[first:last]
        if commands[first]:
            decisions.append(device.submit(_commands(run), _ranges_of(run, ranges)))
        else:
            _change(device, run, models)
    return Twin(inputs[commands], _joined(decisions, DECISION), device)


def _inputs(records: NDArray[np.void]) -> NDArray[np.void]:
    """What has a number, in its order."""
    return _whole(_numbered(records))


def _numbered(records: NDArray[np.void]) -> NDArray[np.void]:
    kinds = np.isin(records["kind"], [kind for kind in TraceKind if kind not in _NOT_NUMBERED])
    # a model's second record and those after it have the number of the first; "slot" lies where a command's queue does
    more = (records["kind"] == TraceKind.MODEL) & (records["qid"] > 0)
    return _take(records, np.flatnonzero(kinds & ~more & (records["seq"] > 0)))


def _whole(numbered: NDArray[np.void], after: int = 0) -> NDArray[np.void]:
    """In the order of the numbers, which go on from ``after``."""
    inputs = _take(numbered, np.argsort(numbered["seq"], kind="stable"))
    missing = np.flatnonzero(inputs["seq"] != np.arange(after + 1, after + len(inputs) + 1))
    if len(missing):
        raise ValueError(f"the trace is not whole: input {after + missing[0] + 1} is missing of {int(inputs['seq'][-1])}")
    return inputs


def _take(records: NDArray[np.void], which: NDArray[np.intp]) -> NDArray[np.void]:
    """Some records, all their bytes: numpy's own way copies only what is a field of a command."""
    taken: NDArray[np.void] = records.view(np.uint8).reshape(-1, TRACE_COMMAND.itemsize)[which].view(TRACE_COMMAND)[:, 0]
    return taken


def _integers(values: np.void, spec: type) -> dict[str, Any]:
    """The fields of a structure, by the names of its dataclass."""
    return {f.name: int(values[f.name]) for f in fields(spec)}


def _models(records: NDArray[np.void]) -> dict[int, dict[str, int]]:
    """By number of the input, 0 for what the device was made as, all parameters of the medium."""
    pieces = _take(records, np.flatnonzero(records["kind"] == TraceKind.MODEL)).view(TRACE_MODEL)
    names = list(PARAMETERS)
    found: dict[int, dict[str, int]] = {}
    for piece in pieces:
        first, count = int(piece["input"]["slot"]), int(piece["input"]["set"])
        values = zip(names[first : first + count], map(int, piece["values"][:count]), strict=True)
        found.setdefault(int(piece["input"]["seq"]), {}).update(values)
    return found


def _config(records: NDArray[np.void], medium: dict[str, int] | None) -> Config:
    found = _take(records, np.flatnonzero(records["kind"] == TraceKind.CONFIG))
    if len(found) != 1:
        raise ValueError(f"the trace is not whole: it has {len(found)} configurations, not 1")
    record = found.view(TRACE_CONFIG)[0]
    return Config(
        blocks=int(record["blocks"]),
        seed=int(record["seed"]),
        kind=Kind(record["kind"]),
        block_shift=int(record["block_shift"]),
        vwc=bool(record["vwc"]),
        timing=Timing(**_integers(record["timing"], Timing)),
        model=model(**(medium or {})),
    )


def _ranges(records: NDArray[np.void]) -> dict[int, list[NDArray[np.void]]]:
    """By number of the command, its ranges in pieces."""
    pieces = _take(records, np.flatnonzero(records["kind"] == TraceKind.RANGES)).view(TRACE_RANGES)
    found: dict[int, list[NDArray[np.void]]] = {}
    for piece in pieces[np.lexsort((pieces["first"], pieces["seq"]))]:
        found.setdefault(int(piece["seq"]), []).append(piece["ranges"][: piece["count"]])
    return found


def _commands(run: NDArray[np.void]) -> NDArray[np.void]:
    commands = np.zeros(len(run), COMMAND)
    commands["now"] = run["decided"]
    for name in ("slba", "nlb", "nsid", "opcode", "flags", "qid", "ctrl", "action", "option", "key"):
        commands[name] = run[name]
    return commands


def _ranges_of(run: NDArray[np.void], ranges: dict[int, list[NDArray[np.void]]]) -> NDArray[np.void]:
    numbers = run["seq"][np.isin(run["opcode"], WITH_RANGES)]
    return _joined([piece for seq in numbers for piece in ranges.get(int(seq), ())], RANGE)


def _joined(parts: list[NDArray[np.void]], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """One array of all parts; numpy's own way drops the padding of a structure."""
    whole = np.zeros(sum(map(len, parts)), dtype)
    at = 0
    for part in parts:
        whole[at : at + len(part)] = part
        at += len(part)
    return whole


def _change(device: Device, run: NDArray[np.void], models: dict[int, dict[str, int]]) -> None:
    """Inputs other than commands."""
    views = (run.view(dtype) for dtype in (TRACE_TIMING, TRACE_RULE, TRACE_NAMESPACE))
    for timing, rule, namespace in zip(*views, strict=True):
        now, kind = int(timing["input"]["now"]), timing["input"]["kind"]
        if kind == TraceKind.RESET:
            device.reset(now)
        elif kind == TraceKind.TIMING:
            device.set_timing(Timing(**_integers(timing["timing"], Timing)), now)
        elif kind == TraceKind.RULE:
            device.set_rule(int(rule["input"]["slot"]), _rule(rule), now)
        elif kind == TraceKind.CACHE:
            device.set_cache(bool(rule["input"]["set"]), now, int(rule["input"]["slot"]))
        elif kind == TraceKind.CUT:
            device.cut(now)
        elif kind == TraceKind.WAKE:
            device.wake(now)
        elif kind == TraceKind.MODEL:
            device.set_model(now, **models[int(timing["input"]["seq"])])
        else:
            device.change(NamespaceChange(**_integers(namespace["change"], NamespaceChange)), now)


def _rule(record: np.void) -> Rule | None:
    if not record["input"]["set"]:
        return None
    plain = _integers(record["rule"], Rule)
    return Rule(**plain | {"fault": Fault(plain["fault"])})


def read(raw: bytes) -> NDArray[np.void]:
    """The records in the bytes of a trace as the kernel wrote it."""
    return np.frombuffer(raw, TRACE_COMMAND)
