# SPDX-License-Identifier: GPL-2.0-or-later
"""`[wire.x]`: a network between an initiator and its target on one node: an MTU, a delay, a rate, packets that are cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.base import Built, Lab, LayerKind, Object
from nvlab.layers.fields import Doc, Duration, Flag, Text, Whole
from nvlab.plan import Layer, Step
from nvlab.units import human_time

NAMESPACES = "/run/nvlab/net"
_MICROSECOND = 1000
_OWN = [IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15")]  # RFC 1918, RFC 2544
_TESTS = _OWN[-1]  # for tests of networks: nobody on the Internet has these addresses
NETWORK = Text(r"\d{1,3}(\.\d{1,3}){3}/30", 'an IPv4 network of four addresses, like "10.77.0.0/30"')


@dataclass(frozen=True, kw_only=True)
class Wire:
    """A wire."""

    mtu: Annotated[int, Whole(576, 65521), Doc("bytes of the largest IP packet")] = 1500
    delay: Annotated[int, Duration(0, 10**9), Doc("how long every packet takes, one way; whole microseconds")] = 0
    rate: Annotated[int | None, Whole(1, 400_000), Doc("Mbit/s, each way (default: as fast as the CPU)")] = None
    offload: Annotated[bool, Flag(), Doc("let up to 64 KiB pass as one packet, whatever the mtu: segmentation offload")] = False
    network: Annotated[
        str | None, NETWORK, Doc("its addresses, private or in 198.18.0.0/15 (default: there, by the names of lab and wire)")
    ] = None


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Wire = obj.spec
    if spec.delay % _MICROSECOND:
        yield Problem(f"{obj.path}.delay", 'it is told in whole microseconds; write it like "20us"')
    if spec.network is None:
        return
    try:
        network = IPv4Network(spec.network)
    except ValueError:
        what = f"{spec.network} is no network of four addresses: its last number must be a multiple of 4, and none above 255"
        yield Problem(f"{obj.path}.network", what)
        return
    if not any(network.subnet_of(own) for own in _OWN):
        yield Problem(f"{obj.path}.network", f"{network} may be somebody's; take one in {', '.join(map(str, _OWN))}")
    first = next(o for o in lab.objects.values() if isinstance(o.spec, Wire) and o.spec.network == spec.network)
    if first is not obj:
        yield Problem(f"{obj.path}.network", f"{network} is {first.path}'s already")


def network(obj: Object, lab: Lab) -> str:
    """The /30 of a wire: the one it names, or one of the 32,768 of 198.18.0.0/15."""
    if obj.spec.network:
        return str(obj.spec.network)
    which = int(lab.uuid("wire", obj.name).replace("-", ""), 16) % (_TESTS.num_addresses // 4)
    return str(IPv4Network((int(_TESTS.network_address) + 4 * which, 30)))


def _mac(lab: Lab, *words: str) -> str:
    """A hardware address that is locally administered (IEEE 802, bit 1 of the first byte)."""
    digits = lab.uuid("mac", *words).replace("-", "")[:10]
    return ":".join(("02", *(digits[at : at + 2] for at in range(0, 10, 2))))


def build(obj: Object, lab: Lab) -> Built:
    spec: Wire = obj.spec
    args = {
        "interface": lab.ident(obj.name, limit=15),  # IFNAMSIZ
        "netns": f"{NAMESPACES}/{lab.ident(obj.name, limit=200)}",
        "macs": [_mac(lab, obj.name, end) for end in ("near", "far")],
        "network": network(obj, lab),
        "mtu": spec.mtu,
        "delay": spec.delay // _MICROSECOND,
        "rate": spec.rate or 0,
        "offload": spec.offload,
    }
    step = Step(f"wire.{obj.name}", "wire.create", args, obj.path, provides=obj.name)
    words = [f"MTU {spec.mtu}"]
    words += [f"{human_time(spec.delay)} each way"] if spec.delay else []
    words += [f"{spec.rate} Mbit/s"] if spec.rate else []
    words += ["segmentation offload"] if spec.offload else []
    layer = Layer(obj.path, f"{{{obj.name}.interface}}  {{{obj.name}.near}} to {{{obj.name}.far}}  {', '.join(words)}")
    return Built([step], layer, {"veth": {}} | ({"sch_netem": {}} if spec.delay or spec.rate else {}))


KIND = LayerKind(
    "wire", Wire, check, build, watch="net", doc="A network between an initiator and an export, both on the lab's own node."
)
