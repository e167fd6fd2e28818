# SPDX-License-Identifier: GPL-2.0-or-later
"""The samplers' text to arrays: block statistics, numbers of MD, device mapper and interfaces, and changes of state."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nvlab.record import SAMPLES
from nvlab.record.format import BLOCK, BLOCK_DTYPE, BLOCK_FIELDS, COUNTERS, COUNTERS_DTYPE, STATES

Numbers = dict[str, int]

_NAMED = re.compile(r"([A-Za-z][A-Za-z /_-]*)\((\d+)\)")
_TEXT_FILES = ("array_state", "sync_action", "consistency_policy", "journal_mode")

# Documentation/admin-guide/device-mapper/cache.rst and writecache.rst; "a/b" pairs count as two
_DM_CACHE = (
    *(
        "metadata block size",
        "used metadata blocks",
        "total metadata blocks",
        "cache block size",
        "used blocks",
        "total blocks",
    ),
    *("read hits", "read misses", "write hits", "write misses", "demotions", "promotions", "dirty"),
)
_WRITECACHE = (
    *("error", "total blocks", "free blocks", "blocks under writeback", "reads", "read hits", "writes", "write hits"),
    *("write misses", "writes around", "writes allocated", "writes blocked", "flushes", "discards"),
)


def convert_samples(directory: Path, watches: Sequence[Mapping[str, str]]) -> None:
    """Write ``block.npy``, ``counters.npy`` and ``states.json`` from ``samples.jsonl``."""
    blocks: list[tuple[int, ...]] = []
    rows: list[tuple[int, int, int, int]] = []
    names: dict[str, int] = {}
    states: list[dict[str, Any]] = []
    last: dict[tuple[int, str], str] = {}
    for t, watch, values in _samples(directory / SAMPLES):
        if watches[watch]["kind"] == "block":
            blocks += _block_row(t, watch, values)
        for name, value in _numbers(watches[watch]["kind"], values).items():
            rows.append((t, watch, names.setdefault(name, len(names)), value))
        states += _changes(t, watch, values, last)
    np.save(directory / BLOCK, np.array(blocks, BLOCK_DTYPE))
    np.save(directory / COUNTERS, np.array(rows, COUNTERS_DTYPE))
    described = {"counters": list(names), "states": states}
    (directory / STATES).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _samples(path: Path) -> Iterator[tuple[int, int, dict[str, str]]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            sample = json.loads(line)
        except json.JSONDecodeError:  # the last line of a guest that died
            return
        yield sample["t"], sample["w"], sample["v"]


def _block_row(t: int, watch: int, values: Mapping[str, str]) -> list[tuple[int, ...]]:
    fields = [int(word) for word in values.get("stat", "").split()]
    if not fields:
        return []
    fields += [0] * (len(BLOCK_FIELDS) - len(fields))  # flushes came with Linux 5.5
    return [(t, watch, *fields[: len(BLOCK_FIELDS)])]


def _changes(t: int, watch: int, values: Mapping[str, str], last: dict[tuple[int, str], str]) -> list[dict[str, Any]]:
    changed = [name for name in _TEXT_FILES if name in values and last.get((watch, name)) != values[name]]
    last.update({(watch, name): values[name] for name in changed})
    return [{"t": t, "watch": watch, "file": name, "text": values[name]} for name in changed]


def _numbers(kind: str, values: Mapping[str, str]) -> Numbers:
    if kind in ("md", "net"):
        return file_numbers(values)
    return dm_numbers(values.get("status", "")) if kind == "dm" else {}


def file_numbers(values: Mapping[str, str]) -> Numbers:
    """The numbers among an array's or an interface's files; progress of a resync as "sync done" of "sync total" sectors."""
    numbers = {name.replace("_", " "): int(text) for name, text in values.items() if re.fullmatch(r"\d+", text)}
    progress = re.fullmatch(r"(\d+) / (\d+)", values.get("sync_completed", ""))
    if progress:
        numbers |= {"sync done": int(progress[1]), "sync total": int(progress[2])}
    return numbers


def dm_numbers(status: str) -> Numbers:
    """The counters in a mapped device's status: RapidDisk's prose, dm-cache's and dm-writecache's positions."""
    target, _, text = status.partition(" ")
    parse = _DM_TARGETS.get(target)
    return parse(text) if parse else {}


def _positions(names: Sequence[str]) -> Callable[[str], Numbers]:
    return lambda text: {n: int(w) for n, w in zip(names, re.split(r"[ /]", text), strict=False) if w.isdigit()}


def _prose(text: str) -> Numbers:
    return {name.strip(): int(value) for name, value in _NAMED.findall(text)}


_DM_TARGETS: Mapping[str, Callable[[str], Numbers]] = {
    "rapiddisk-cache": _prose,
    "cache": _positions(_DM_CACHE),
    "writecache": _positions(_WRITECACHE),
}
