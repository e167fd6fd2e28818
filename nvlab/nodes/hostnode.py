# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine of its own as the node of labs, this one or another: nothing is started, and the journal there says what stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from nvlab.errors import EnvironmentNotReady
from nvlab.nodes.agent import Emit
from nvlab.nodes.session import Session
from nvlab.plan import Needs
from nvlab.units import GIB, human_size

_BUILD = 900.0  # seconds to build nvlab.ko there
_ASK = 180.0
CONNECT = 180.0  # seconds for an agent to start and answer: a Python that begins from nothing, on whatever machine


class HostNode(ABC):
    """What this machine and another have in common as nodes."""

    name: str  # "local", or the host's name for ssh
    where: str
    remedy = "take down another lab there, end other programs, or make disks and caches smaller"
    _told: dict[str, Any] | None = None
    _kept: Session | None = None  # the one that told, for who connects next: to begin one takes seconds

    @abstractmethod
    def dial(self) -> Session:
        """A session with a new agent."""

    def connect(self) -> Session:
        kept, self._kept = self._kept, None
        return kept or self.dial()

    @abstractmethod
    def known(self) -> dict[str, Any]:
        """See :class:`nvlab.nodes.node.Node`."""

    def running(self) -> bool:
        return True

    def told(self, what: str) -> Any:
        """What it says of itself, asked once: "machine", "facts" or "status" (see :mod:`nvlab.nodes.labs`)."""
        if self._told is None:
            self._kept = session = self.connect()
            self._told = {name: session.call(name, deadline=_ASK) for name in ("machine", "facts", "status")}
        return self._told[what]

    def holds(self, lab: str) -> bool:
        return lab in [known["lab"] for known in self.told("status")]

    def cpus(self) -> int:
        return int(self.told("machine")["cpus"])

    def prepare(self, lab: str, needs: Needs, emit: Emit) -> None:
        emit({"kind": "host", "name": self.name, **self.told("machine")})
        if needs.reserved:
            self._check_reserved(sum(size for _, size in needs.reserved), self.told("facts"))

    def _check_reserved(self, need: int, facts: Mapping[str, Any]) -> None:
        """Raise EnvironmentNotReady when less memory is set aside than a lab's devices take, with the way to more of it."""
        there, taken = (sum(size for _, size in facts[key]) for key in ("reserved", "taken"))
        if need <= there - taken:
            return
        total = -(-(need + taken + GIB // 2) // GIB)  # what alignment takes included
        others = f", other labs have {human_size(taken)} of it" if taken else ""
        lost = f"; memmap= asks for {', '.join(facts['lost'])}, which Linux has not left alone" if facts["lost"] else ""
        raise EnvironmentNotReady(
            f"virtual devices need {human_size(need)} of memory that Linux does not use;"
            f" {self.where} {human_size(there) if there else 'none'} is set aside{others}{lost}",
            hint=f"{self.where}: nvlab grub plan --size {total}G shows a place for it, nvlab grub apply --size {total}G sets it"
            " aside for the next boot; reboot, then nvlab grub check",
        )

    def module(self, session: Session) -> str:
        return str(session.call("module", deadline=_BUILD))

    def check(self, states: Mapping[str, Any]) -> None:
        del states

    def summary(self, session: Session) -> dict[str, Any]:
        return {**session.call("machine", deadline=_ASK), "place": self.name}

    def claim(self, lab: str) -> None:
        del lab  # its journal will say so

    def release(self, lab: str) -> None:
        del lab  # its journal is gone

    def vacate(self) -> None:
        """Nothing was started."""
        return
