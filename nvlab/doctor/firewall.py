# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether nftables' rules let a new TCP connection in. Pure; rules as libnftables-json(5) has them.

Only what is certain is said: a rule with a condition that cannot be judged here (a source address, a named set, a match of
iptables') neither lets through nor drops for sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Objects = Sequence[Mapping[str, Any]]
Chain = tuple[str, str, str]  # family, table, name
_PASSIVE = {"counter", "log", "limit", "mangle", "comment", "meta", "notrack", "quota"}
_DEPTH = 16  # jumps; the kernel's own limit (NFT_JUMP_STACK_SIZE)


@dataclass(frozen=True)
class _Packet:
    port: int
    interface: str  # empty when it is not known


def blocks(objects: Objects, port: int, interface: str, family: str = "ip") -> str:
    """The chain ("inet filter input") that surely drops a new connection to ``port`` by way of ``interface``; else empty.

    ``family`` is "ip" or "ip6".
    """
    packet = _Packet(port, interface)
    chains = {_key(o["chain"]): o["chain"] for o in objects if "chain" in o}
    for key, chain in chains.items():
        if chain.get("hook") == "input" and chain.get("type") == "filter" and key[0] in ("inet", family):
            verdict = _walk(objects, key, packet, 0)
            if (verdict or chain.get("policy", "accept")) == "drop":
                return " ".join(key)
    return ""


def _key(chain: Mapping[str, Any]) -> Chain:
    return chain["family"], chain["table"], chain["name"]


def _walk(objects: Objects, chain: Chain, packet: _Packet, depth: int) -> str:
    """ "accept", "drop", "maybe" (it might be let in), or empty when the packet comes out at the end of the chain."""
    if depth > _DEPTH:
        return "maybe"
    for rule in (o["rule"] for o in objects if "rule" in o):
        if (rule["family"], rule["table"], rule["chain"]) != chain:
            continue
        applies = _applies(rule["expr"], packet)
        verdict = _verdict(objects, chain, rule["expr"], packet, depth) if applies is not False else ""
        if verdict == "return" and applies:
            return ""
        if verdict in ("accept", "maybe", "return") and not applies:
            return "maybe"
        if verdict in ("accept", "maybe") or (verdict == "drop" and applies):
            return verdict
    return ""


def _verdict(objects: Objects, chain: Chain, expr: Objects, packet: _Packet, depth: int) -> str:
    for statement in expr:
        (kind, body), *_ = statement.items()
        if kind in ("accept", "return"):
            return kind
        if kind in ("drop", "reject"):
            return "drop"
        if kind in ("jump", "goto"):
            return _walk(objects, (*chain[:2], body["target"]), packet, depth + 1)
        if kind not in ("match", *_PASSIVE) and not _opaque(statement):
            return "maybe"  # a verdict map, something of xtables, a newer statement
    return ""


def _applies(expr: Objects, packet: _Packet) -> bool | None:
    """Whether all conditions of a rule hold; None when that cannot be judged."""
    held = [_holds(s["match"], packet) if "match" in s else None for s in expr if "match" in s or _opaque(s)]
    if False in held:
        return False
    return None if None in held else True


def _opaque(statement: Mapping[str, Any]) -> bool:
    """Whether it is a condition of which nothing is known here."""
    return statement.get("xt", {}).get("type") == "match" or "limit" in statement or "quota" in statement


def _holds(match: Mapping[str, Any], packet: _Packet) -> bool | None:
    found = _value(match["left"], packet)
    inside = None if found is None else _among(found, match["right"])
    if inside is None or match["op"] not in ("==", "in", "!="):
        return None
    return inside is not (match["op"] == "!=")


def _value(left: Any, packet: _Packet) -> Any:
    """What the packet has where a condition looks; None when that is not known."""
    if not isinstance(left, Mapping):
        return None
    meta, payload = left.get("meta", {}).get("key"), left.get("payload", {})
    if meta in ("iifname", "iif"):
        return packet.interface or None
    if meta == "l4proto" or payload.get("field") in ("protocol", "nexthdr"):
        return "tcp"
    if left.get("ct", {}).get("key") == "state":
        return "new"
    where = (payload.get("protocol"), payload.get("field"))
    if where in (("tcp", "dport"), ("th", "dport")):
        return packet.port
    return "another protocol" if where[0] in ("udp", "icmp", "icmpv6", "sctp", "dccp") else None


def _among(value: Any, right: Any) -> bool | None:
    """Whether a value is, or is among, what a condition names; None when it names a set elsewhere."""
    if value == "another protocol":
        return False
    if isinstance(right, str) and right.startswith("@"):
        return None
    if isinstance(right, Mapping):
        if "range" in right:
            low, high = right["range"]
            return isinstance(value, int) and isinstance(low, int) and low <= value <= high
        right = right.get("set", [])
    if isinstance(right, list):
        held = [_among(value, one) for one in right]
        return True if True in held else None if None in held else False
    return bool(right == value or (value == "tcp" and right == 6))
