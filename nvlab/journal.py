# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal of one lab: append-only JSON lines, each on disk before the next thing happens.

Nothing is made before its intent is here, and nothing is removed that is not here. A record cut short by a crash is the last one,
and stands for something that had not begun: it is dropped.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvlab.files import sync_directory
from nvlab.plan import Plan, Step

FORMAT = 1


@dataclass
class Entry:
    """What the journal knows of one step: its resolved arguments, what was made, whether it is undone."""

    step: Step
    needs: tuple[str, ...]
    made: dict[str, str] | None = None
    undone: bool = False


@dataclass
class History:
    """A journal read back."""

    plan: Plan
    boot_id: str
    entries: dict[str, Entry] = field(default_factory=dict)
    complete: bool = False
    events: list[str] = field(default_factory=list)  # what was begun since the lab is up, oldest first

    def standing(self) -> list[Entry]:
        """Steps begun and not undone, oldest first."""
        return [e for e in self.entries.values() if not e.undone]

    def outputs(self) -> dict[str, str]:
        """Everything made, by reference: ``{"log.dev": "/dev/nvme0n1"}``."""
        return {
            f"{e.step.provides}.{key}": value
            for e in self.entries.values()
            if e.step.provides and e.made and not e.undone
            for key, value in e.made.items()
        }


class Journal:
    """The journal of the lab whose directory this is."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal.jsonl"

    def exists(self) -> bool:
        return bool(self._lines())

    def begin(self, plan: Plan, boot_id: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._append({"kind": "begin", "format": FORMAT, "boot_id": boot_id, "plan": plan.to_json()})
        sync_directory(self.path.parent)

    def intent(self, step: Step, args: Mapping[str, Any], needs: tuple[str, ...]) -> None:
        """``step`` is about to be done with these resolved ``args``; it builds on the steps ``needs``."""
        self._append({"kind": "intent", "id": step.id, "args": dict(args), "needs": list(needs)})

    def done(self, step_id: str, made: Mapping[str, str]) -> None:
        self._append({"kind": "done", "id": step_id, "made": dict(made)})

    def undone(self, step_id: str) -> None:
        self._append({"kind": "undone", "id": step_id})

    def complete(self) -> None:
        """The lab is up: every step is done."""
        self._append({"kind": "complete"})

    def event(self, owner: str, label: str, acts: Sequence[Mapping[str, Any]]) -> None:
        """Something is about to happen to an object of the lab. What undoes the object needs no word of it; people do."""
        self._append({"kind": "event", "owner": owner, "label": label, "acts": list(acts)})

    def remove(self) -> None:
        """The lab is gone."""
        self.path.unlink(missing_ok=True)
        sync_directory(self.path.parent)

    def read(self) -> History:
        """What the records say. Raises FileNotFoundError without a journal."""
        records = self._records()
        if not records:
            raise FileNotFoundError(self.path)
        begin, *rest = records
        history = History(Plan.from_json(begin["plan"]), begin["boot_id"])
        steps = {s.id: s for s in history.plan.steps}
        for record in rest:
            _apply(history, steps, record)
        return history

    def _records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._lines()]

    def _lines(self) -> list[bytes]:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        return [line for line in lines[:-1] if line]  # what follows the last newline was cut short

    def _append(self, record: Mapping[str, Any]) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _drop_torn_tail(fd)
            line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
            if os.write(fd, line) != len(line):  # the disk is full: write(2) says so only with the next call
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(fd)
        finally:
            os.close(fd)


def _apply(history: History, steps: Mapping[str, Step], record: Mapping[str, Any]) -> None:
    match record["kind"]:
        case "intent":
            step = steps[record["id"]]
            resolved = Step(step.id, step.verb, record["args"], step.owner, step.provides, step.lease)
            history.entries[step.id] = Entry(resolved, tuple(record["needs"]))
        case "done":
            history.entries[record["id"]].made = dict(record["made"])
        case "undone":
            history.entries[record["id"]].undone = True
        case "complete":
            history.complete = True
        case "event":
            history.events.append(f"{record['owner']}: {record['label']}")


def _drop_torn_tail(fd: int) -> None:
    """Leave the position after the last whole record, and nothing behind it."""
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        size = os.pread(fd, size, 0).rfind(b"\n") + 1
        os.ftruncate(fd, size)
    os.lseek(fd, size, os.SEEK_SET)
