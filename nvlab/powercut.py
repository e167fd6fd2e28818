# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller's part of a power cut of a whole guest, and of the recovery and verdict after it.

The cut is the event's: from one moment on no virtual device of the guest fetches or completes a command, and what they had
buffered is taken back as their models say. To whatever is above them in the guest that is the moment of its death: nothing that
it does from then on reaches a device. The load is stopped at once, and leaves its ledger. A write counts as acknowledged, or as
flushed, when the load was told so: all that whoever told it could go by is what the devices had completed before. The ledger is
fetched out of the guest, and what the cores of the devices know; and the guest is reset, without a word to it. Its next boot
finds nothing of the old one but the reserved memory. The lab is put together again (:mod:`nvlab.recovery`), and the ledger is
held against what is there.

From before the load begins until the lab stands again its record says so: when nvlab ends in between, ``nvlab down`` ends the
guest, and that is all there is to clean.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvlab.errors import Conflict, UsageError
from nvlab.nodes.guestnode import GuestNode
from nvlab.plan import Plan
from nvlab.receive import receive
from nvlab.record import WORKLOAD
from nvlab.record.recorder import CUT, write_json
from nvlab.recovery import held, recovery
from nvlab.workload.ledger import LEDGER

if TYPE_CHECKING:
    from nvlab.nodes.node import Node
    from nvlab.nodes.session import Session

Emit = Callable[[dict[str, Any]], None]

_ASK = 60.0
_JUDGE = 660.0  # s for the ledger to be held against the target: longer than the node gives it itself
_ENDANGERED = "power"  # key of a lab's record


def cuts(work: Mapping[str, Any]) -> bool:
    """Whether the machine dies in a workload of a plan."""
    return any(event.get("ends") for event in work.get("events", ()))


def endangered(known: Mapping[str, Any]) -> bool:
    """Whether a recorded lab may be one whose machine has died and was not recovered."""
    return _ENDANGERED in known


def check(node: Node, works: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageError where a machine is to die that nvlab cannot bring back."""
    if any(map(cuts, works)) and not isinstance(node, GuestNode):
        raise UsageError(
            f'the power of the machine is to be cut (do = "power-cut"), and that is a real one {node.where}',
            hint="build the lab in a guest: --on vm",
        )


class Drill:
    """A workload ``work`` in which the machine of a lab dies. ``keep`` changes the lab's record."""

    def __init__(
        self, known: Mapping[str, Any], work: Mapping[str, Any], node: Node, keep: Callable[[Mapping[str, Any]], None]
    ) -> None:
        assert isinstance(node, GuestNode), "it was checked"
        self.lab, self.work, self.node = str(known["lab"]), work, node
        self._known, self._keep = known, keep
        self._plan = Plan.from_json(known["plan"])

    @contextmanager
    def endangered(self) -> Iterator[None]:
        """While it runs: no other lab may come into the guest, and what is left is the guest's end. Raises Conflict."""
        with self.node.locked():
            if others := [lab for lab in self.node.labs() if lab != self.lab]:
                raise Conflict(
                    f"{', '.join(others)} lives in guest {self.node.name!r} too, whose power is to be cut",
                    hint="take down what else lives there, or give this lab a guest of its own (--guest NAME)",
                )
            self._keep({**self._known, _ENDANGERED: "may be cut"})
            yield
            self._keep(self._known)

    def recover(self, session: Session, into: Path, emit: Emit) -> Session | None:
        """After a load whose record is in ``into``: if the power was cut, put the lab together again and judge it.

        The session with the next boot, if there was one. Raises what ``up`` does, GuestLost.
        """
        cut = [path for path in into.rglob(WORKLOAD) if json.loads(path.read_text(encoding="utf-8"))["status"] == CUT]
        if not cut:
            return None
        (record,) = cut
        images = self._images(session)
        emit({"kind": "note", "text": f"resetting guest {self.node.name}"})
        began = time.monotonic()
        self.node.reset()
        booted = time.monotonic()
        plan = recovery(self._plan, images)
        fresh = self.node.connect()
        try:
            fresh.call("up", {"plan": plan.to_json()}, emit)
            stands = time.monotonic()
            took = {"boot_seconds": round(booted - began, 2), "up_seconds": round(stands - booted, 2)}
            self._judge(fresh, record, took, emit)
        except BaseException:
            fresh.close()
            raise
        return fresh

    def _images(self, session: Session) -> dict[str, str]:
        """What the core of each device knows, in files that the guest will see."""
        from nvlab.sim.state import HEADER

        self.node.images.mkdir(exist_ok=True)
        files = {name: self.node.images / name for name in held(self._plan)}
        for name, path in files.items():
            with os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
                receive(session, f"/dev/nvlab-state-{name}", file.fileno(), lambda share: None, header=HEADER)
        return {name: str(path) for name, path in files.items()}

    def _judge(self, session: Session, record: Path, took: Mapping[str, float], emit: Emit) -> None:
        """Hold the ledger against what is there, and write the verdict into the load's record."""
        facts = json.loads(record.read_text(encoding="utf-8"))
        there = str(session.call("room", {"lab": self.lab}, deadline=_ASK))
        session.put(record.with_name(LEDGER), there)
        asked = {"lab": self.lab, "directory": there, "target": self.work["target"]["path"]}
        said = session.call("judge", asked, emit, deadline=_JUDGE)
        more = {"status": "ok", "verdict": said["verdict"], "recovery": {**took, "kernel": said["kernel"]}}
        write_json(record, facts | more)
        emit({"kind": "verdict", "workload": facts["name"], **said["verdict"]})
