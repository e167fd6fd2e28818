# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to happen while a workload runs, and what became of it. Stdlib only."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nvlab.errors import NvlabError
from nvlab.record.events import EventLog

_LOOK = 0.02  # seconds between looks for the load's first I/O
_GRACE = 30.0  # seconds beyond the deadlines of its own waits that an event may take, before it counts as stuck

Planned = Mapping[str, Any]  # owner, label, at (s) or share or neither (at the end), acts, deadline (s)
Happen = Callable[[Planned], str]  # does it; the state that was found then. Raises NvlabError


class Timeline:
    """Lets the events of one workload happen in a thread of its own, each at its time or, if that is later, after the one before.

    Time counts from the load's first I/O: fio may take long to start. After an event that failed the others are left out: what
    they were to meet is not there.
    """

    def __init__(self, planned: Sequence[Planned], happen: Happen, log: EventLog) -> None:
        self._planned = planned
        self._happen = happen
        self._log = log
        self._loaded = threading.Event()
        self._over = threading.Event()
        self._outcomes = [_not_reached(event) for event in planned]
        self._thread = threading.Thread(target=self._run, name="timeline", daemon=True)

    def start(self, target: Path, seconds: float) -> None:
        """A workload on ``target`` (a device or a directory), which is planned to take so many seconds, is about to start."""
        self._target, self._seconds = target, seconds
        self._before = _ios(target)
        if self._planned:
            self._thread.start()

    def loaded(self) -> None:
        """The load does I/O, as it says itself; not every device counts its own."""
        self._loaded.set()

    def finish(self, *, stopped: bool = False) -> list[dict[str, Any]]:
        """The workload is over: wait for the event that is under way and for those that come now; what became of each.

        ``stopped``: it did not end by itself, and nothing more is to come.
        """
        self._stopped = stopped
        self._over.set()
        if self._planned:
            self._thread.join(_GRACE + sum(event["deadline"] for event in self._planned))
        stuck = self._thread.is_alive()
        for outcome in self._outcomes:
            if stuck and outcome["begun"] and not outcome["ended"]:
                outcome |= {"result": "failed", "message": "it does not end: it waits in the kernel"}
        return [dict(outcome) for outcome in self._outcomes]

    def _run(self) -> None:
        began = self._first_io()
        if began is None:
            return
        pairs = list(zip(self._outcomes, self._planned, strict=True))
        for outcome, event in pairs:
            outcome["due"] = _due(event, began, self._seconds)
        for outcome, event in sorted((pair for pair in pairs if pair[0]["due"]), key=lambda pair: int(pair[0]["due"])):
            if self._comes(outcome) and not self._do(outcome, event):
                return
        self._over.wait()
        for outcome, event in pairs:
            if _at_the_end(event) and (self._stopped or not self._do(outcome, event)):
                return

    def _first_io(self) -> int | None:
        """When the load began; None when it ended without that."""
        while _ios(self._target) == self._before and not self._loaded.wait(_LOOK):
            if self._over.is_set():
                return None
        return time.monotonic_ns()

    def _comes(self, outcome: Mapping[str, Any]) -> bool:
        """Wait for its time; False when the load ends before it."""
        return not self._over.wait(max(0.0, (outcome["due"] - time.monotonic_ns()) / 1e9))

    def _do(self, outcome: dict[str, Any], event: Planned) -> bool:
        outcome["begun"] = time.monotonic_ns()
        self._log.add("event", label=event["label"], owner=event["owner"])
        try:
            outcome |= {"found": self._happen(event), "result": "done"}
        except NvlabError as error:
            outcome |= {"result": "failed", "message": error.message, "kernel": list(error.kmsg)}
        outcome["ended"] = time.monotonic_ns()
        said = {key: outcome[key] for key in ("owner", "label", "result", "found")}
        self._log.add("event-end", **said)
        return not outcome["message"]


def _not_reached(event: Planned) -> dict[str, Any]:
    said = {"owner": event["owner"], "label": event["label"], "result": "not reached"}
    return {**said, "due": None, "begun": None, "ended": None, "found": "", "message": "", "kernel": []}


def _at_the_end(event: Planned) -> bool:
    return "at" not in event and "share" not in event


def _due(event: Planned, began: int, seconds: float) -> int | None:
    """When an event is to happen, ns, if the load that began then takes so many seconds; None once it has ended."""
    if _at_the_end(event):
        return None
    after: float = event["at"] if "at" in event else event["share"] * seconds
    return began + round(after * 1e9)


def _ios(target: Path) -> int | None:
    """How many reads and writes the block device at, or under, ``target`` has completed; None where nobody counts them."""
    at = target.stat()
    number = at.st_rdev if stat.S_ISBLK(at.st_mode) else at.st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").read_text().split()
    except OSError:
        return None
    return int(fields[0]) + int(fields[4])


def failure(outcomes: Sequence[Mapping[str, Any]]) -> str:
    """What went wrong with the events of a workload; empty when all that came up were done."""
    bad = next((outcome for outcome in outcomes if outcome["result"] == "failed"), None)
    return f"event {bad['label']!r} of {bad['owner']}: {bad['message']}" if bad else ""
