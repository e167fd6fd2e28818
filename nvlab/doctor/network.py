# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the network that exports and initiators use."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from nvlab.doctor import firewall
from nvlab.doctor.facts import Facts
from nvlab.doctor.finding import Finding, listed
from nvlab.doctor.wants import Wants
from nvlab.tuning import Cure

LOOPBACK_MTU = 65536
JUMBO_MTU = 9000


def _any(address: str) -> bool:
    return ipaddress.ip_address(address).is_unspecified


def _same(one: str, other: str) -> bool:
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)


def _link(facts: Facts, address: str) -> str:
    """The interface that has an address; empty when none has."""
    if ipaddress.ip_address(address).is_loopback and "lo" in facts.links:
        return "lo"  # all of 127.0.0.0/8 is its
    return next((name for name, link in facts.links.items() if any(_same(address, own) for own in link.addresses)), "")


def _reached_by(facts: Facts, address: str) -> list[str]:
    """The interfaces over which hosts may come to who listens on an address."""
    return [name for name, link in facts.links.items() if link.addresses] if _any(address) else [_link(facts, address)]


def address(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """An export listens on an address that nobody here has."""
    for owner, (listen, _) in wants.listens.items():
        if not _any(listen) and not _link(facts, listen):
            own = listed(address for link in facts.links.values() for address in link.addresses)
            yield Finding(
                "required",
                f"{owner} listens on {listen}, which this machine does not have",
                "the kernel refuses to listen there (EADDRNOTAVAIL)",
                f"say listen = with one of its own: {own}",
            )


def port(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """An export's port is taken."""
    for owner, (listen, number) in wants.listens.items():
        there = [a for a, p in facts.listening - facts.exported if p == number and (_any(a) or _any(listen) or _same(a, listen))]
        if there and (listen, number) not in facts.exported:
            yield Finding(
                "required",
                f"another program listens on {there[0]} port {number}, where {owner} is to listen",
                "the kernel refuses to listen there twice (EADDRINUSE)",
                f"end it (ss -ltnp 'sport = :{number}' names it), or choose another port in listen =",
            )


def mtu(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Packets that are smaller than need be."""
    names = [name for listen, _ in wants.listens.values() for name in _reached_by(facts, listen)] if wants.scenario else ["lo"]
    for name in dict.fromkeys(names):
        mtu = facts.links[name].mtu if name in facts.links else LOOPBACK_MTU
        if name == "lo" and mtu < LOOPBACK_MTU:
            yield Finding(
                "distorts",
                f"the loopback interface has an MTU of {mtu}",
                f"NVMe/TCP over it is cut into packets of that size, where others measure with {LOOPBACK_MTU}",
                f"ip link set lo mtu {LOOPBACK_MTU}",
                tune=Cure("tune.set", {"/sys/class/net/lo/mtu": str(LOOPBACK_MTU)}, f"the loopback's MTU is {LOOPBACK_MTU}"),
            )
        elif name and name != "lo" and mtu < JUMBO_MTU:
            yield Finding(
                "note",
                f"{name} has an MTU of {mtu}",
                f"4 KiB of data take {-(-4096 // max(1, mtu - 60))} packets of NVMe/TCP instead of one; say so with the result",
                f"ip link set {name} mtu {JUMBO_MTU}, on the other side and on the switch as well",
            )


def firewall_port(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A firewall that drops what goes to an export."""
    for owner, (listen, number) in wants.listens.items():
        name = "" if _any(listen) else _link(facts, listen)
        family = "ip" if ipaddress.ip_address(listen).version == 4 else "ip6"
        if rule := firewall.blocks(facts.firewall, number, name, family):
            yield Finding(
                "required" if name == "lo" else "distorts",
                f"the firewall drops TCP to port {number}, where {owner} listens ({rule})",
                "initiators wait for an answer that never comes, then give up",
                f"nft insert rule {rule} tcp dport {number} accept; firewalld: firewall-cmd --add-port={number}/tcp; "
                f"ufw: ufw allow {number}/tcp",
            )
