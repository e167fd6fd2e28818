# SPDX-License-Identifier: GPL-2.0-or-later
"""The NVMe target in configfs: what it accepts in which state, as measured on 6.1 and 6.12."""

from __future__ import annotations

import errno
import itertools
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from nvlab.kernel.fake.block import Disk
from nvlab.kernel.fake.configfs import Group, Item
from nvlab.kernel.fake.ports import Port, Ports
from nvlab.kernel.fake.tree import Attr, Dir, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

DISCOVERY = "nqn.2014-08.org.nvmexpress.discovery"
_ONCE = ("serial", "model", "version")  # fixed once a host has come


class Namespace:
    """One namespace of a subsystem."""

    def __init__(self, fresh: int) -> None:
        self.values = {
            "device_path": "(null)",
            "device_uuid": str(uuid.UUID(int=fresh)),
            "device_nguid": "00000000-0000-0000-0000-000000000000",
            "ana_grpid": "1",
            "buffered_io": "0",
        }
        self.disk: Disk | None = None


class Subsystem:
    """One subsystem: attributes, namespaces by nsid, hosts let in."""

    def __init__(self, nqn: str, fresh: int) -> None:
        self.nqn = nqn
        self.values = {
            "allow_any_host": "0",
            "serial": f"{fresh:020x}",
            "model": "Linux",
            "version": "1.3",
            "cntlid_min": "1",
            "cntlid_max": "65519",
            "qid_max": "128",
        }
        self.namespaces: dict[int, Namespace] = {}
        self.hosts: set[str] = set()
        self.discovered = False  # a host has connected once


class Nvmet:
    """The target: subsystems, ports, hosts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._fresh = itertools.count(1)  # what the kernel takes at random
        self.subsystems: dict[str, Subsystem] = {}
        self.ports: dict[int, Port] = {}
        self.changed: Callable[[str], None] = lambda _: None  # told the NQN whose namespaces changed
        self._groups = {
            "hosts": Group(lambda _: Item()),
            "subsystems": Group(self._make_subsystem, self._drop_subsystem),
            "ports": Ports(world, self.ports, self.subsystems),
        }
        world.modules.on("nvmet", lambda _: self._load(), lambda: world.configfs.unregister("nvmet"))
        world.modules.pin("nvmet", lambda: any(g.children() for g in self._groups.values()))
        world.modules.pin("nvmet_tcp", lambda: any(p.listening for p in self.ports.values()))

    def _load(self) -> None:
        top = Group()
        for name, group in self._groups.items():
            top.put(name, group)
        self._world.configfs.register("nvmet", top)

    # -- subsystems ----------------------------------------------------------------------------------------

    def _make_subsystem(self, nqn: str) -> Item:
        if nqn == DISCOVERY:
            self._world.say("nvmet: can't create discovery subsystem through configfs")
            raise refuse(errno.EINVAL)
        subsystem = self.subsystems[nqn] = Subsystem(nqn, next(self._fresh))
        item = Item()
        for key in subsystem.values:
            item.put(f"attr_{key}", self._attribute(subsystem, key))
        item.put("allowed_hosts", _AllowedHosts(self._world, subsystem))
        item.put("namespaces", Group(lambda n: self._make_namespace(subsystem, n), lambda n: self._drop(subsystem, n)))
        return item

    def _drop_subsystem(self, nqn: str) -> None:
        del self.subsystems[nqn]

    def _attribute(self, subsystem: Subsystem, key: str) -> Attr:
        return Attr(lambda: subsystem.values[key], lambda text: self._set(subsystem, key, text))

    def _set(self, subsystem: Subsystem, key: str, text: str) -> None:
        value = text.strip()
        if key in _ONCE and subsystem.discovered:
            self._world.say(f"nvmet: Can't set {key} number. {subsystem.values[key]} is already assigned")
            raise refuse(errno.EINVAL)
        if key == "allow_any_host" and value == "1" and subsystem.hosts:
            self._world.say("nvmet: Can't set allow_any_host when explicit hosts are set!")
            raise refuse(errno.EINVAL)
        subsystem.values[key] = value

    # -- namespaces ----------------------------------------------------------------------------------------

    def _make_namespace(self, subsystem: Subsystem, name: str) -> Item:
        if not name.isdigit() or int(name) in (0, 0xFFFFFFFF):
            raise refuse(errno.EINVAL)
        namespace = subsystem.namespaces[int(name)] = Namespace(next(self._fresh))
        item = Item()
        for key in namespace.values:
            item.put(key, self._setting(namespace, key))
        item.put(
            "enable", Attr(lambda: str(int(bool(namespace.disk))), lambda t: self._enable(subsystem, int(name), t))
        )
        item.put("revalidate_size", Attr(None, lambda t: self._revalidate(namespace, t)))
        return item

    def _setting(self, namespace: Namespace, key: str) -> Attr:
        def store(text: str) -> None:
            if namespace.disk and key == "buffered_io":
                self._world.say("nvmet: disable ns before setting buffered_io value.")
                raise refuse(errno.EINVAL)
            if namespace.disk and key.startswith("device_"):
                raise refuse(errno.EBUSY)
            namespace.values[key] = _checked(key, text)

        return Attr(lambda: namespace.values[key], store)

    def _enable(self, subsystem: Subsystem, nsid: int, text: str) -> None:
        if text.strip() not in ("0", "1"):
            raise refuse(errno.EINVAL)
        namespace = subsystem.namespaces[nsid]
        if text.strip() == "0":
            self._disable(subsystem, nsid)
        elif namespace.disk is None:
            namespace.disk = self._open(namespace.values["device_path"])
            namespace.disk.users.add(f"nvmet:{subsystem.nqn}:{nsid}")
            self.changed(subsystem.nqn)

    def _open(self, path: str) -> Disk:
        try:
            if path == "(null)":
                raise refuse(errno.EINVAL)
            disk = self._world.disks.at(path)
            if disk.read_only:
                raise refuse(errno.EACCES)
        except OSError as error:
            shown = "(null)" if path == "(null)" else path
            self._world.say(f"nvmet: failed to open block device {shown}: (-{error.errno})")
            raise
        return disk

    def _disable(self, subsystem: Subsystem, nsid: int) -> None:
        namespace = subsystem.namespaces[nsid]
        if namespace.disk:
            namespace.disk.release(f"nvmet:{subsystem.nqn}:{nsid}")
            namespace.disk = None
            self.changed(subsystem.nqn)

    def _revalidate(self, namespace: Namespace, text: str) -> None:
        if namespace.disk is None or text.strip() in ("0", "n"):
            self._world.say("nvmet: enable ns before revalidate.")
            raise refuse(errno.EINVAL)

    def _drop(self, subsystem: Subsystem, name: str) -> None:
        self._disable(subsystem, int(name))
        del subsystem.namespaces[int(name)]


class _AllowedHosts(Dir):
    """Links to hosts; none may be made while any host is let in."""

    def __init__(self, world: World, subsystem: Subsystem) -> None:
        super().__init__()
        self._world, self._subsystem = world, subsystem

    def symlink(self, name: str, target: str) -> None:
        item = self._world.configfs.item(target)
        if self._subsystem.values["allow_any_host"] == "1":
            self._world.say("nvmet: can't add hosts when allow_any_host is set!")
            raise refuse(errno.EINVAL)
        host = target.rpartition("/")[2]
        self.put(name, self._world.configfs.link(item, target, f"{self._subsystem.nqn}/allowed/{name}"))
        self._subsystem.hosts.add(host)

    def unlink(self, name: str) -> None:
        self._world.configfs.unlink(self, name, f"{self._subsystem.nqn}/allowed/{name}")
        self._subsystem.hosts.discard(name)


def _checked(key: str, text: str) -> str:
    """The value as the kernel keeps it. Raises EINVAL."""
    value = text.strip("\n")
    if key in ("device_uuid", "device_nguid"):
        try:
            return str(uuid.UUID(value))
        except ValueError:
            raise refuse(errno.EINVAL) from None
    if key == "ana_grpid" and not 1 <= int(value) <= 128:
        raise refuse(errno.EINVAL)
    return value
