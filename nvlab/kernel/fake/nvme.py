# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of NVMe: controllers, subsystems and the disks of their namespaces, as sysfs shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nvlab.kernel.fake.block import Disk
from nvlab.kernel.fake.tree import Attr, Device, Dir, Link, PlainDir

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World


@dataclass
class Controller:
    """One nvmeN, with the disks of its namespaces by nsid (native multipath: the disk is named after the subsystem).

    ``first``: the controller whose subsystem and disks it shares, as their second path; it goes before that one.
    """

    instance: int
    transport: str
    address: str
    nqn: str
    identity: dict[str, str]  # hostnqn, hostid, serial, model
    module: str
    state: str = "live"
    first: Controller | None = None
    disks: dict[int, Disk] = field(default_factory=dict)
    generic: list[str] = field(default_factory=list)  # namespaces of a command set that Linux does not know

    @property
    def name(self) -> str:
        return f"nvme{self.instance}"


class Nvme:
    """Every controller of the machine."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.controllers: dict[str, Controller] = {}
        world.modules.on("nvme_core", lambda _: self._load(), self._unload)
        world.modules.on("nvme", lambda _: world.virtual.bind(), lambda: world.virtual.unbind())
        world.modules.pin("nvme_tcp", lambda: any(c.transport == "tcp" for c in self.controllers.values()))

    def _load(self) -> None:
        self._world.tree.ensure("/sys/class/nvme")
        self._world.tree.ensure("/sys/class/nvme-subsystem")
        self._world.tree.ensure("/sys/class/nvme-generic")

    def _unload(self) -> None:
        self._world.tree.ensure("/sys/class").take("nvme")
        self._world.tree.ensure("/sys/class").take("nvme-subsystem")
        self._world.tree.ensure("/sys/class").take("nvme-generic")

    def add(self, controller: Controller, delete: Callable[[], None] | None = None) -> None:
        """A controller comes up; ``delete`` is what writing its delete_controller does."""
        self.controllers[controller.name] = controller
        shown = {
            "transport": controller.transport,
            "address": controller.address,
            "subsysnqn": controller.nqn,
            **controller.identity,
        }
        attributes = Dir({key: Attr(value) for key, value in shown.items()})
        attributes.put("state", Attr(lambda: controller.state))
        if delete:
            attributes.put("delete_controller", Attr(None, lambda _: _once(attributes, "delete_controller", delete)))
        self._world.tree.ensure("/sys/class/nvme").put(controller.name, attributes)
        if not controller.first:
            subsystem = Dir({"subsysnqn": Attr(controller.nqn)})
            self._world.tree.ensure("/sys/class/nvme-subsystem").put(f"nvme-subsys{controller.instance}", subsystem)
        self._world.tree.ensure("/dev", PlainDir).put(controller.name, Device("char", controller.name))

    def next_instance(self) -> int:
        return next(n for n in range(4096) if f"nvme{n}" not in self.controllers)

    def add_namespace(
        self, controller: Controller, nsid: int, size: int, uuid: str = "", marks: dict[str, str] | None = None
    ) -> None:
        """The scan finds a namespace; ``marks`` are what is written on it."""
        name = f"nvme{controller.instance}n{nsid}"
        extra = {
            "nsid": Attr(str(nsid)),
            "uuid": Attr(uuid),
            "device": Link(f"/sys/class/nvme-subsystem/nvme-subsys{controller.instance}"),
        }
        controller.disks[nsid] = self._world.disks.add(
            Disk(name, size, controller.module, marks, discard=2199023255040), extra
        )

    def add_generic(self, controller: Controller, nsid: int) -> None:
        """The scan finds a namespace of a command set that Linux does not know: it has no disk that can be seen."""
        name = f"ng{controller.instance}n{nsid}"
        subsystem = Link(f"/sys/class/nvme-subsystem/nvme-subsys{controller.instance}")
        self._world.tree.ensure("/sys/class/nvme-generic").put(name, Dir({"device": subsystem}))
        self._world.tree.ensure("/dev", PlainDir).put(name, Device("char", name))
        controller.generic.append(name)

    def drop_namespace(self, controller: Controller, nsid: int) -> None:
        self._world.disks.remove(controller.disks.pop(nsid))

    def remove(self, controller: Controller) -> None:
        """The controller goes with its disks."""
        for nsid in list(controller.disks):
            self.drop_namespace(controller, nsid)
        for name in controller.generic:
            self._world.tree.ensure("/sys/class/nvme-generic").take(name)
            self._world.tree.ensure("/dev", PlainDir).take(name)
        self._world.tree.ensure("/sys/class/nvme").take(controller.name)
        if not controller.first:
            self._world.tree.ensure("/sys/class/nvme-subsystem").take(f"nvme-subsys{controller.instance}")
        self._world.tree.ensure("/dev", PlainDir).take(controller.name)
        del self.controllers[controller.name]


def _once(directory: Dir, name: str, act: Callable[[], None]) -> None:
    """An attribute that removes itself before it acts (device_remove_file_self)."""
    directory.take(name)
    act()
