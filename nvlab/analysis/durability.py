# SPDX-License-Identifier: GPL-2.0-or-later
"""Which layer passes FLUSH and FUA on, by what was tried on the running stack (:mod:`nvlab.record.durability`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nvlab.analysis.runs import Workload
from nvlab.record import LAYERS

DURABILITY_HEAD = ("says its cache is", "a FLUSH to it", "FUA at the target arrives as")
PASSED, NOT_NEEDED, SWALLOWED, UNKNOWN = "passed on", "not needed below", "SWALLOWED", "not known"
HELD = "held by its journal"
_BACK = "write back"  # sysfs, queue/write_cache: what is acknowledged may still be volatile
_THROUGH = "[write-through]"  # sysfs, md/journal_mode: the journal is flushed before a write is acknowledged (raid5-cache.c)


@dataclass(frozen=True)
class Durability:
    """One device: its cache as it says itself, what it does with a FLUSH, and as what the target's FUA gets there.

    ``flush``: "passed on" when all devices right below that need one (their cache is volatile) got one each time; "SWALLOWED"
    when one of them did not; "held by its journal" where that was flushed before any write was acknowledged, so that nothing is
    left to do; "not needed below"; of the lowest ones "done" or "no cache". ``lost``: those that lose what was acknowledged.
    """

    layer: str
    cache: str
    flush: str
    fua: str
    lost: tuple[str, ...] = ()


def durability(work: Workload) -> list[Durability]:
    """Every device from the target of a load down; empty where it was not tried."""
    path = work.path / LAYERS
    said = json.loads(path.read_text(encoding="utf-8")).get("durability") if path.is_file() else None
    return truth_table(said, work.below, work.target) if said else []


def truth_table(said: Mapping[str, Any], stack: Mapping[str, Sequence[str]], target: str) -> list[Durability]:
    """The table of what was recorded of a stack, from the top down: a scenario is written from the bottom up."""
    queues = said["queues"]

    def row(layer: str) -> Durability:
        flush, lost = _flush(said, layer, [name for name in stack.get(layer, ()) if name in queues])
        return Durability(layer, queues[layer].get("write_cache", UNKNOWN), flush, _fua(said, target, layer), lost)

    return [row(layer) for layer in reversed(list(queues))]


def durability_cells(one: Durability) -> list[str]:
    """A device's cells, in the order of :data:`DURABILITY_HEAD`."""
    return [one.cache, one.flush, one.fua]


def _flush(said: Mapping[str, Any], layer: str, below: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What becomes of a FLUSH to a layer, and which of those below that need it do not get it."""
    tries = _tries(said, "flush", layer)
    if not tries:
        return UNKNOWN, ()
    volatile = [name for name in below if said["queues"][name].get("write_cache") == _BACK]
    lost = tuple(name for name in volatile if not _always(tries, name, "flush"))
    if lost and _THROUGH in said["queues"][layer].get("journal_mode", ""):
        return HELD, ()
    if below:
        return (SWALLOWED, lost) if lost else (PASSED if volatile else NOT_NEEDED, ())
    return ("done" if _always(tries, layer, "flush") else "no cache"), ()


def _fua(said: Mapping[str, Any], target: str, layer: str) -> str:
    tries = _tries(said, "fua", target)
    if not tries:
        return UNKNOWN
    return "FUA" if _always(tries, layer, "fua") else "FLUSH" if _always(tries, layer, "flush") else "neither"


def _tries(said: Mapping[str, Any], do: str, on: str) -> list[dict[str, Any]]:
    """What was seen each time; nothing where one of the times failed."""
    tries = [one for one in said["tries"] if one["do"] == do and one["on"] == on]
    return [] if any(one["error"] for one in tries) else [one["seen"] for one in tries]


def _always(tries: Sequence[Mapping[str, Mapping[str, int]]], layer: str, flag: str) -> bool:
    return all(any(seen.get(layer, {}).get(f"{kind} {flag}") for kind in ("bio", "request")) for seen in tries)


def swallowed(work: Workload) -> Iterator[str]:
    """A warning for each layer that keeps a FLUSH from what needs one."""
    for one in durability(work):
        if one.flush == SWALLOWED:
            yield f"{one.layer} swallows FLUSH: {', '.join(one.lost)} below it may lose what was acknowledged as flushed"
