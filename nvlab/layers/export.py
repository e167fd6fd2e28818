# SPDX-License-Identifier: GPL-2.0-or-later
"""`[export.x]`: block devices as namespaces of a subsystem, over NVMe/TCP, for named hosts on a named address or over a wire."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.base import BLOCK, Built, Deed, Event, EventKind, Lab, LayerKind, Object
from nvlab.layers.fields import Doc, Flag, Names, Ref, Refs, Text, Whole
from nvlab.plan import Layer, Step

DEFAULT = "127.0.0.1:4420"
LISTEN = Text(r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\])?:\d{1,5}", f'an address and a port, like "{DEFAULT}"')
NQN = r"nqn\.\d{4}-\d{2}\.[\w.:-]{1,200}"
HOST = Text(rf"[a-z][a-z0-9_-]{{0,30}}|{NQN}", "the name of a connect table or a host NQN")


@dataclass(frozen=True, kw_only=True)
class Export:
    """An NVMe/TCP subsystem."""

    on: Annotated[tuple[str, ...], Refs(BLOCK), Doc("its namespaces, numbered from 1")]
    listen: Annotated[
        str | None, LISTEN, Doc(f'address and port it listens on (default: "{DEFAULT}"); over a wire the port alone (":4420")')
    ] = None
    over: Annotated[str | None, Ref(("wire",)), Doc("the wire at whose far end it listens (default: none, the loopback)")] = None
    hosts: Annotated[tuple[str, ...], Names(HOST), Doc("who may connect: connect tables or host NQNs")] = ()
    allow_any_host: Annotated[bool, Flag(), Doc("let anybody in")] = False


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Export = obj.spec
    yield from _check_address(obj)
    _, port = where(spec)
    if not 1 <= int(port) <= 65535:
        yield Problem(f"{obj.path}.listen", f"{port} is not a TCP port")
    if spec.allow_any_host and spec.hosts:
        yield Problem(f"{obj.path}.hosts", "the kernel takes named hosts or allow_any_host, not both")
    if not spec.allow_any_host and not spec.hosts:
        yield Problem(f"{obj.path}.hosts", "nobody could connect; name the hosts, or set allow_any_host = true")
    for host in spec.hosts:
        if not host.startswith("nqn.") and getattr(lab.objects.get(host), "table", "") != "connect":
            yield Problem(f"{obj.path}.hosts", f"{host!r} is neither a connect table of this file nor a host NQN")


def _check_address(obj: Object) -> Iterator[Problem]:
    host, _, port = (obj.spec.listen or DEFAULT).rpartition(":")
    if obj.spec.over:
        if obj.spec.listen and host:
            over = f"over {obj.spec.over!r} it listens on that wire's own address"
            yield Problem(f"{obj.path}.listen", f'{over}, not on {host}; say the port alone, ":{port}", or leave over out')
        return
    if not host:
        yield Problem(f"{obj.path}.listen", f'":{port}" has no address; only an export over a wire does without')
        return
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        yield Problem(f"{obj.path}.listen", f"{host} is not an IP address")


def host_nqn(lab: Lab, name: str) -> str:
    """The NQN of a host named in a scenario: a connect table's own, or the one written out."""
    return name if name.startswith("nqn.") else lab.nqn("host", name)


def where(spec: Export) -> tuple[str, str]:
    """(traddr, trsvcid) of an export; over a wire the address is for the engine to resolve."""
    host, _, port = (spec.listen or DEFAULT).rpartition(":")
    return f"{{{spec.over}.far}}" if spec.over else host.strip("[]"), str(int(port))


def _shown(name: str, spec: Export) -> dict[str, str]:
    """What exposes an export: its subsystem, the port, and the network namespace that this listens in."""
    there = {"netns": f"{{{spec.over}.netns}}"} if spec.over else {}
    return {"port": f"{{{name}.port.number}}", "nqn": f"{{{name}.nqn}}", **there}


def build(obj: Object, lab: Lab) -> Built:
    spec: Export = obj.spec
    nqn = lab.nqn("export", obj.name)
    traddr, trsvcid = where(spec)
    hosts = [host_nqn(lab, h) for h in spec.hosts]
    serial = lab.uuid("serial", obj.name).replace("-", "")[:20]
    subsystem = {
        "nqn": nqn,
        "attributes": {"serial": serial, "model": "nvlab"},
        "hosts": hosts,
        "allow_any_host": spec.allow_any_host,
    }
    base, port = f"export.{obj.name}", f"{obj.name}.port"
    steps = [
        *(Step(f"{base}/host-{i}", "nvmet.host", {"nqn": h}, obj.path) for i, h in enumerate(hosts, 1)),
        Step(f"{base}/subsystem", "nvmet.subsystem", subsystem, obj.path, provides=obj.name),
        *_namespaces(obj, lab, nqn),
        Step(f"{base}/port", "nvmet.port", {"traddr": traddr, "trsvcid": trsvcid}, obj.path, provides=port),
        Step(base, "nvmet.expose", _shown(obj.name, spec), obj.path),
    ]
    who = "anybody" if spec.allow_any_host else ", ".join(spec.hosts)
    on = f"{traddr}:{trsvcid} over {spec.over}" if spec.over else spec.listen or DEFAULT
    layer = Layer(obj.path, f"{nqn} on {on}, hosts: {who}")
    return Built(steps, layer, {"configfs": {}, "nvmet": {}, "nvmet-tcp": {}})


def _namespaces(obj: Object, lab: Lab, nqn: str) -> Iterator[Step]:
    for nsid, dev in enumerate(lab.devs(obj.spec.on), 1):
        args = {
            "nqn": nqn,
            "nsid": nsid,
            "device": dev,
            "uuid": lab.uuid("namespace", obj.name, str(nsid)),
            "nguid": lab.uuid("nguid", obj.name, str(nsid)),
        }
        yield Step(f"export.{obj.name}/namespace-{nsid}", "nvmet.namespace", args, obj.path)


# -- events ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PortDown:
    """The port shows the subsystem no longer: hosts lose their connection, and try to have it back (connect's give_up_after)."""


@dataclass(frozen=True, kw_only=True)
class PortUp:
    """The port shows the subsystem again; hosts come back with their next attempt (connect's reconnect_delay)."""


@dataclass(frozen=True, kw_only=True)
class NamespaceOff:
    """A namespace is disabled: it vanishes from its hosts, and what they have under way fails."""

    nsid: Annotated[int, Whole(1, 1024), Doc("which of its namespaces")] = 1


@dataclass(frozen=True, kw_only=True)
class NamespaceOn(NamespaceOff):
    """A namespace is enabled again, and appears to its hosts."""


def _check_namespace(event: Event, lab: Lab) -> Iterator[Problem]:
    count = len(lab.devs(lab.objects[event.name].spec.on))
    if event.spec.nsid > count:
        yield Problem(f"{event.path}.nsid", f"export {event.name!r} has {count} namespace{'s' if count > 1 else ''}")


def _port(event: Event, lab: Lab) -> Deed:
    return Deed(f"{event.name} {event.do}", [(f"nvmet.{event.do}", _shown(event.name, lab.objects[event.name].spec))])


def _namespace(event: Event, lab: Lab) -> Deed:
    args = {"nqn": f"{{{event.name}.nqn}}", "nsid": event.spec.nsid}
    return Deed(f"{event.name} {event.do} {event.spec.nsid}", [(f"nvmet.{event.do}", args)])


EVENTS = (
    EventKind("port-down", PortDown, _port),
    EventKind("port-up", PortUp, _port),
    EventKind("namespace-off", NamespaceOff, _namespace, _check_namespace),
    EventKind("namespace-on", NamespaceOn, _namespace, _check_namespace),
)
KIND = LayerKind("export", Export, check, build, watch="", doc="An NVMe/TCP subsystem of the kernel's target.", events=EVENTS)
