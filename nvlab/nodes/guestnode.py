# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest as the node of labs: as large as they need, with a reserved region, there as long as a lab lives in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvlab.data import kmod_dir
from nvlab.host import kmod
from nvlab.nodes import kernels
from nvlab.nodes.agent import Emit
from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.session import Session
from nvlab.nodes.state import state_dir
from nvlab.nodes.vm import Guest, ensure
from nvlab.plan import Needs
from nvlab.units import GIB, MIB

POOL_START = 5 * GIB  # of the memory reserved in a guest: clear of the PCI hole and of the first GiB above 4
POOL_SIZE = 4 * GIB  # costs nothing until it is written, so several labs fit without a restart
MEMORY = 3 * GIB


class GuestNode(Guest):
    """A guest; :meth:`prepare` starts it on ``kernel`` with so many ``cpus``, or finds it running."""

    def __init__(self, name: str = "default", kernel: str | None = None, cpus: int = 4) -> None:
        super().__init__(name)
        self.kernel, self._cpus = kernel, cpus

    @property
    def where(self) -> str:
        return f"in guest {self.name}"

    @property
    def remedy(self) -> str:
        return "take down another lab in this guest, or use another guest (--guest NAME)"

    def known(self) -> dict[str, Any]:
        return {"node": "vm", "guest": self.name}

    def holds(self, lab: str) -> bool:
        return self.running() and lab in self.labs()

    def cpus(self) -> int:
        return self._cpus

    def prepare(self, lab: str, needs: Needs, emit: Emit) -> None:
        """Raises Conflict when it would have to be restarted under other labs."""
        fresh = not self.running()
        ensure(self._spec(needs), self.name, progress=lambda text: emit({"kind": "note", "text": text}), claim=lab)
        emit({"kind": "guest", "fresh": fresh, "name": self.name, **self.facts()})

    def _spec(self, needs: Needs) -> GuestSpec:
        """What it must have; of the memory reserved in one that runs, what it has if that will do."""
        need = sum(size for _, size in needs.reserved) + len(needs.reserved) * 2 * MIB
        pool = max(POOL_SIZE, -(-need // GIB) * GIB)
        reserved: tuple[tuple[int, int], ...] = ((POOL_START, pool),)
        if self.running():
            there = GuestSpec.from_json(self.record["spec"]).reserved
            reserved = there if sum(size for _, size in there) >= pool else reserved
        return GuestSpec(self.kernel, self._cpus, max(MEMORY, needs.memory + 2 * GIB), reserved)

    def module(self, session: Session) -> str:
        """Built here: a guest is slow, and sees our files."""
        image = kernels.find(self.record["spec"]["kernel"])
        return str(kmod.ensure(kmod_dir(), str(image.tree) if image.tree else image.release, state_dir() / "kmod"))

    def check(self, states: Mapping[str, Any]) -> None:
        del states  # it sees our files

    def summary(self, session: Session) -> dict[str, Any]:
        return self.facts()

    def facts(self) -> dict[str, Any]:
        """What the screen and a run's record say of it."""
        known = self.record
        spec = known["spec"]
        return {
            "kernel": known["kernel"],
            "cpus": spec["cpus"],
            "memory": spec["memory"],
            "accelerator": known["accel"],
            "why": known.get("why", ""),
            "qemu": known["qemu"],
            "boot_seconds": known.get("boot_seconds"),
        }

    def vacate(self) -> None:
        """End with the last lab."""
        if not self.labs():
            with self.locked():
                self.stop()
