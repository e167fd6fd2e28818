# SPDX-License-Identifier: GPL-2.0-or-later
"""Tries on a stack that is up, and at rest, where FLUSH and FUA get to. Stdlib only; interprets nothing.

A FLUSH is tried on every device of the stack, by ``fsync`` of it, which changes nothing. A write with FUA is tried on the target
alone, and only while nobody else has it: its first block is read, and the same bytes are written back.

``layers.json`` has of it ``queues`` {layer: {"write_cache", "fua", of an array "journal_mode": as sysfs has them}} and
``tries`` [{"on", "do": "flush" or "fua", "seen" {layer: {flag: how many}}, "error"}], each try several times: arrays flush
their members on their own, now and then.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nvlab.record.samplers import Watch

TRIES = 3
_DEADLINE = 20.0  # s that a FLUSH may take
_BLOCK = 4096
_QUEUE = ("queue/write_cache", "queue/fua", "md/journal_mode")

Flags = Callable[[], Mapping[int, Mapping[str, int]]]
Stack = Mapping[str, Sequence[str]]


def probe(flags: Flags, watches: Sequence[Watch], target: str, below: Stack) -> dict[str, Any]:
    """Try all devices from the ``target`` down; ``flags`` counts them by the place of a device in the watches."""
    mine = reached(below, target)
    devices = {watch.layer: watch.name for watch in watches if watch.kind == "block" and watch.layer in mine}
    places = {n: watch.layer for n, watch in enumerate(watches) if watch.layer in devices}
    tries = [("flush", layer, _flush) for layer in devices] + [("fua", target, _rewrite)] * (target in devices)
    found: list[dict[str, Any]] = []
    for do, layer, act in tries:
        for _ in range(TRIES):
            before = flags()
            error = _in_time(lambda act=act, layer=layer: act(devices[layer]))  # type: ignore[misc]
            found.append({"on": layer, "do": do, "seen": _difference(before, flags(), places), "error": error})
            if error:
                break
    return {"queues": {layer: _queue(name) for layer, name in devices.items()}, "tries": found}


def reached(below: Stack, target: str) -> set[str]:
    """A target and all that is below it."""
    return {target}.union(*(reached(below, lower) for lower in below.get(target, ())))


def _difference(
    before: Mapping[int, Mapping[str, int]], after: Mapping[int, Mapping[str, int]], places: Mapping[int, str]
) -> dict[str, dict[str, int]]:
    """How many more there are, by layer; only what there is at all."""
    more = {places[n]: {flag: count - before[n][flag] for flag, count in after[n].items()} for n in places if n in after}
    return {layer: {flag: n for flag, n in counts.items() if n} for layer, counts in more.items() if any(counts.values())}


def _in_time(act: Callable[[], None]) -> str:
    """Do it in a thread, as a device may never answer; what went wrong."""
    said: list[str] = ["it does not end: it waits in the kernel"]

    def work() -> None:
        try:
            act()
            said[0] = ""
        except OSError as error:
            said[0] = error.strerror or str(error)

    thread = threading.Thread(target=work, name="durability", daemon=True)
    thread.start()
    thread.join(_DEADLINE)
    return said[0]


def _flush(name: str) -> None:
    fd = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _rewrite(name: str) -> None:
    """Read the first block and write it back with FUA. Raises OSError: EBUSY where a file system or another layer has it."""
    if (Path("/sys/class/block") / name / "queue/zoned").read_text().strip() != "none":
        raise OSError(0, "zones are written in order alone")
    fd = os.open(f"/dev/{name}", os.O_RDWR | os.O_EXCL | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, _BLOCK) as block:  # aligned, as O_DIRECT wants it
            if os.preadv(fd, [block], 0) == _BLOCK:
                os.pwritev(fd, [block], 0, os.RWF_DSYNC)
    finally:
        os.close(fd)


def _queue(name: str) -> dict[str, str]:
    directory = Path("/sys/class/block") / name
    return {file.name: file.read_text().strip() for file in (directory / said for said in _QUEUE) if file.exists()}
