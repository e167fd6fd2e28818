# SPDX-License-Identifier: GPL-2.0-or-later
"""The network: namespaces, the veth pairs between them, who has which address, and what ip, tc, unshare and nsenter do to it."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from nvlab.kernel.fake.argv import Exit
from nvlab.kernel.fake.tree import Attr, Dir, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

ROOT = ""  # the network namespace that the machine starts with; another one goes by the file where it is mounted
_LOOPBACK = ("127.", "0.0.0.0", "::1", "::")
_OPTIONS = {"address": "", "mtu": "1500", "gso_max_segs": "65535"}  # of an interface, with what a veth has by itself


@dataclass(eq=False)
class Interface:
    """One end of a veth pair."""

    namespace: str
    options: dict[str, str]
    peer: Interface | None = None
    addresses: list[IPv4Interface] = field(default_factory=list)
    up: bool = False
    qdisc: tuple[str, ...] = ()


class Network:
    """All namespaces with their interfaces by name. ``here``: the namespace of what runs at the moment."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.spaces: dict[str, dict[str, Interface]] = {ROOT: {}}
        self.here = ROOT
        self._sysfs = world.tree.ensure("/sys/class/net")
        world.modules.pin("veth", lambda: any(self.spaces.values()))
        world.modules.pin("sch_netem", lambda: any(i.qdisc for space in self.spaces.values() for i in space.values()))

    @contextmanager
    def inside(self, path: str) -> Iterator[None]:
        """setns(2) to the namespace mounted at ``path``; "" stays. Raises ENOENT, EINVAL."""
        if path and path not in self.spaces:
            self._world.tree.node(path)
            raise refuse(errno.EINVAL, path)
        before, self.here = self.here, path or self.here
        try:
            yield
        finally:
            self.here = before

    def unshare(self, path: str) -> None:
        """A new namespace, kept by a mount on the file at ``path``. Raises ENOENT."""
        self._world.tree.node(path)
        self.spaces[path] = {}
        self._world.mounts.keep_namespace(path)

    def dissolve(self, path: str) -> None:
        """The mount that kept a namespace is gone: so is all that was in it, with the other ends."""
        for name in list(self.spaces[path]):
            self.drop(self.spaces[path][name])
        del self.spaces[path]

    def add(self, name: str, interface: Interface) -> None:
        """An interface comes; sysfs shows those of the root namespace."""
        self.spaces[interface.namespace][name] = interface
        if interface.namespace == ROOT:
            self._sysfs.put(name, Dir({key: Attr(value) for key, value in interface.options.items()}))

    def drop(self, interface: Interface) -> None:
        """An interface goes, and its peer with it."""
        for end in filter(None, (interface, interface.peer)):
            space = self.spaces[end.namespace]
            name = next(name for name, there in space.items() if there is end)
            del space[name]
            if end.namespace == ROOT:
                self._sysfs.take(name)

    def listing(self) -> list[object]:
        found = [(space, name, str(vars(i) | {"peer": ""})) for space, there in self.spaces.items() for name, i in there.items()]
        return [*sorted(self.spaces), *sorted(found)]

    def has(self, address: str) -> bool:
        """Whether an address is one of those ``here``."""
        if address.startswith(_LOOPBACK):
            return True
        return any(address == str(own.ip) for i in self.spaces[self.here].values() for own in i.addresses)

    def answering(self, address: str) -> str:
        """The namespace that answers at ``address`` when the root namespace asks. Raises ENETUNREACH."""
        if self.has(address):
            return ROOT
        for interface in self.spaces[ROOT].values():
            peer = interface.peer
            if peer and interface.up and peer.up and any(address == str(own.ip) for own in peer.addresses):
                return peer.namespace
        raise refuse(errno.ENETUNREACH)


# -- the programs ----------------------------------------------------------------------------------------------


def unshare(world: World, argv: Sequence[str]) -> str:
    option, path, program = *argv[1].split("="), argv[2]
    assert (option, program) == ("--net", "true"), f"the fake unshare does not know {argv}"
    try:
        world.net.unshare(path)
    except OSError as error:
        raise Exit(1, f"unshare: mount /proc/7/ns/net on {path} failed: {error.strerror}") from None
    return ""


def nsenter(world: World, argv: Sequence[str]) -> str:
    option, path = argv[1].split("=")
    assert option == "--net" and argv[2] in _INSIDE, f"the fake nsenter does not know {argv}"
    try:
        with world.net.inside(path):
            return _INSIDE[argv[2]](world, argv[2:])
    except OSError as error:
        what = "cannot open" if error.errno == errno.ENOENT else "reassociate to namespace 'ns/net' failed:"
        raise Exit(1, f"nsenter: {what} {path}: {error.strerror}") from None


def ip(world: World, argv: Sequence[str]) -> str:
    match list(argv[1:]):
        case ["link", "add", name, *words]:
            return _add(world, name, words)
        case ["link", "del", name]:
            world.net.drop(_interface(world, name))
        case ["link", "set", name, "up"]:
            _interface(world, name).up = True
        case ["address", "add", address, "dev", name]:
            return _address(_interface(world, name), IPv4Interface(address))
        case ["-json", "-4", "route", "show", "table", "all"]:
            return json.dumps(list(_routes(world.net)))
        case words:
            raise AssertionError(f"the fake ip does not know {words}: teach it, from what the real one does")
    return ""


def _add(world: World, name: str, words: list[str]) -> str:
    """``ip link add NAME OPTIONS type veth peer name PEER OPTIONS netns FILE``: both ends at once, or none."""
    near, far = words[: words.index("type")], words[words.index("type") :]
    assert far[:4] == ["type", "veth", "peer", "name"], words
    options = dict(zip(far[5::2], far[6::2], strict=True))
    there = options.pop("netns")
    ends = (name, world.net.here, dict(zip(near[::2], near[1::2], strict=True))), (far[4], there, options)
    if there not in world.net.spaces:
        raise Exit(*((2, "RTNETLINK answers: Invalid argument") if world.tree.lexists(there) else (255, 'Invalid "netns" value')))
    if not world.modules.request("veth"):
        raise Exit(2, "RTNETLINK answers: Operation not supported")
    if any(end in world.net.spaces[space] for end, space, _ in ends):
        raise Exit(2, "RTNETLINK answers: File exists")
    made = [Interface(space, _OPTIONS | given) for _, space, given in ends]
    assert all(interface.options.keys() == _OPTIONS.keys() for interface in made), words
    made[0].peer, made[1].peer = made[1], made[0]
    for (end, _, _), interface in zip(ends, made, strict=True):
        world.net.add(end, interface)
    return ""


def _interface(world: World, name: str) -> Interface:
    try:
        return world.net.spaces[world.net.here][name]
    except KeyError:
        raise Exit(1, f'Cannot find device "{name}"') from None


def _address(interface: Interface, address: IPv4Interface) -> str:
    if address in interface.addresses:
        raise Exit(2, "Error: ipv4: Address already assigned.")
    interface.addresses.append(address)
    return ""


def _routes(net: Network) -> Iterator[dict[str, str]]:
    yield {"dst": "default", "dev": "eth0"}
    for name, interface in net.spaces[net.here].items():
        for address in interface.addresses:
            yield {"type": "local", "dst": str(address.ip), "dev": name, "table": "local"}
            if interface.up:
                yield {"dst": str(address.network), "dev": name}


def tc(world: World, argv: Sequence[str]) -> str:
    argv = tuple(argv)
    assert argv[1:4] == ("qdisc", "add", "dev") and argv[5:7] == ("root", "netem"), f"the fake tc does not know {argv}"
    interface = _interface(world, argv[4])
    if not world.modules.request("sch_netem"):
        raise Exit(2, "Error: Specified qdisc kind is unknown.")
    if interface.qdisc:
        raise Exit(2, "Error: Exclusivity flag on, cannot modify.")
    interface.qdisc = tuple(argv[6:])
    return ""


_INSIDE = {"ip": ip, "tc": tc}
