# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine must offer for labs to live on it: a line to its agent, and what the controller must know of it.

A guest (guestnode.py), this machine (local.py) and another one (ssh.py) are nodes; places.py finds the one that is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from nvlab.nodes.agent import Emit
from nvlab.nodes.session import Session
from nvlab.plan import Needs


class Node(Protocol):
    """A machine that labs live on."""

    @property
    def where(self) -> str:
        """For people: "in guest default", "on this machine"."""

    @property
    def remedy(self) -> str:
        """What to do when it has too little memory for one more lab."""

    def known(self) -> dict[str, Any]:
        """What a lab's record keeps, to find it again: {"node": "vm", "guest": "default"}."""

    def running(self) -> bool:
        """Whether there is anything to connect to; a host of its own always is."""

    def connect(self) -> Session:
        """A session with its agent. Raises EnvironmentNotReady, NodeLost, Conflict."""

    def holds(self, lab: str) -> bool:
        """Whether something of ``lab`` stands on it."""

    def cpus(self) -> int:
        """How many CPUs it has, or will have."""

    def prepare(self, lab: str, needs: Needs, emit: Emit) -> None:
        """Have it ready for ``lab``, and announce it. Raises EnvironmentNotReady when it has too little of what is needed."""

    def module(self, session: Session) -> str:
        """``nvlab.ko`` for its kernel: a path on it."""

    def check(self, states: Mapping[str, Any]) -> None:
        """Raise UsageError when it cannot get at files that devices are to begin with."""

    def summary(self, session: Session) -> dict[str, Any]:
        """What a run's record says of it: accelerator ("none" on bare metal), why, kernel, cpus, memory (bytes), place."""

    def claim(self, lab: str) -> None:
        """Note that ``lab`` is about to be on it, which runs."""

    def release(self, lab: str) -> None:
        """Note that ``lab`` is gone."""

    def vacate(self) -> None:
        """End what was started for labs, once none of them is left."""
