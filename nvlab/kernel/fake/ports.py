# SPDX-License-Identifier: GPL-2.0-or-later
"""Ports of the NVMe target: the first link makes one listen, and from then on its address is fixed."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from nvlab.kernel.fake.configfs import Group, Item
from nvlab.kernel.fake.net import ROOT
from nvlab.kernel.fake.tree import Attr, Dir, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.nvmet import Subsystem
    from nvlab.kernel.fake.world import World

_CODES = {"rdma": 1, "fc": 2, "tcp": 3, "loop": 254, "": 0}


class Port:
    """One port, by its number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.values = {"trtype": "", "adrfam": "", "traddr": "", "trsvcid": "", "treq": "not specified"}
        self.subsystems: set[str] = set()
        self.namespace = ROOT  # the network namespace that it listens in

    @property
    def listening(self) -> bool:
        return bool(self.subsystems)

    @property
    def address(self) -> tuple[str, str]:
        return self.values["traddr"], self.values["trsvcid"]


class Ports(Group):
    """The directory of ports."""

    def __init__(self, world: World, ports: dict[int, Port], subsystems: dict[str, Subsystem]) -> None:
        super().__init__(self._make_port, self._drop_port)
        self._world, self._ports, self._subsystems = world, ports, subsystems

    def _make_port(self, name: str) -> Item:
        if not name.isdigit() or int(name) > 0xFFFF:
            raise refuse(errno.EINVAL)
        port = self._ports[int(name)] = Port(int(name))
        item = Item()
        for key in port.values:
            item.put(f"addr_{key}", self._setting(port, key))
        item.put("param_inline_data_size", Attr("-1"))
        item.put("subsystems", _PortSubsystems(self._world, port, self._ports, self._subsystems))
        item.put("referrals", Group(lambda _: Item()))
        item.put("ana_groups", _AnaGroups())
        return item

    def _drop_port(self, name: str) -> None:
        del self._ports[int(name)]

    def _setting(self, port: Port, key: str) -> Attr:
        def store(text: str) -> None:
            if port.listening:
                self._world.say(
                    f"nvmet: Disable port '{port.number}' before changing attribute in nvmet_addr_{key}_store"
                )
                raise refuse(errno.EACCES)
            port.values[key] = _checked(key, text)

        return Attr(lambda: port.values[key], store)


def _checked(key: str, text: str) -> str:
    value = text.strip("\n")
    allowed = {
        "trtype": ("rdma", "fc", "tcp", "loop"),
        "adrfam": ("pcie", "ipv4", "ipv6", "ib", "fc", "loop"),
        "treq": ("not specified", "required", "not required"),
    }
    if value not in allowed.get(key, (value,)):
        raise refuse(errno.EINVAL)
    return value


class _AnaGroups(Group):
    """Group 1 is always there; 2 to 128 are users'."""

    def __init__(self) -> None:
        super().__init__(self._make_group)
        self.put("1", Dir({"ana_state": _state("optimized")}))

    def _make_group(self, name: str) -> Item:
        if not name.isdigit() or not 1 < int(name) <= 128:
            raise refuse(errno.EINVAL)
        item = Item()
        item.put("ana_state", _state("inaccessible"))
        return item


def _state(first: str) -> Attr:
    states = ("optimized", "non-optimized", "inaccessible", "persistent-loss", "change")
    held = [first]

    def store(text: str) -> None:
        if text.strip() not in states:
            raise refuse(errno.EINVAL)
        held[0] = text.strip()

    return Attr(lambda: held[0], store)


class _PortSubsystems(Dir):
    """Links to the subsystems that a port shows."""

    def __init__(self, world: World, port: Port, ports: dict[int, Port], subsystems: dict[str, Subsystem]) -> None:
        super().__init__()
        self._world, self._port, self._ports, self._subsystems = world, port, ports, subsystems

    def symlink(self, name: str, target: str) -> None:
        item = self._world.configfs.item(target)
        nqn = target.rpartition("/")[2]
        if nqn not in self._subsystems:
            raise refuse(errno.EINVAL, target)
        if not self._port.listening:
            self._listen()
        self.put(name, self._world.configfs.link(item, target, f"port/{self._port.number}/{name}"))
        self._port.subsystems.add(nqn)

    def unlink(self, name: str) -> None:
        self._world.configfs.unlink(self, name, f"port/{self._port.number}/{name}")
        self._port.subsystems.discard(name)

    def _listen(self) -> None:
        values = self._port.values
        kind = values["trtype"]
        if kind != "tcp" or not self._world.modules.request("nvmet_tcp"):
            self._world.say(f"nvmet: transport type {_CODES[kind]} not supported")
            raise refuse(errno.EINVAL)
        if values["adrfam"] not in ("ipv4", "ipv6"):
            self._world.say("nvmet_tcp: address family 255 not supported")
            raise refuse(errno.EINVAL)
        if not values["traddr"] or not values["trsvcid"].isdigit():
            self._world.say(f"nvmet_tcp: malformed ip/port passed: {values['traddr']}:{values['trsvcid']}")
            raise refuse(errno.EINVAL)
        self._bind()

    def _bind(self) -> None:
        address = self._port.address
        here = self._world.net.here
        if not self._world.net.has(address[0]):
            self._world.say("nvmet_tcp: failed to bind port socket -99")
            raise refuse(errno.EADDRNOTAVAIL)
        others = {(p.namespace, p.address) for p in self._ports.values() if p.listening}
        if (here, address) in others | {(ROOT, other) for other in self._world.listeners}:
            self._world.say("nvmet_tcp: failed to bind port socket -98")
            raise refuse(errno.EADDRINUSE)
        self._port.namespace = here
