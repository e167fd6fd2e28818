# SPDX-License-Identifier: GPL-2.0-or-later
"""A wire: a veth pair, one end in the root network namespace, the other alone in a namespace of its own.

The namespace is kept by a mount of its file on one of ours, as unshare(1) makes it. ``ip netns`` would do the same below
/run/netns, but its first call mounts that directory on itself, and nothing undoes that. The near end's hardware address is
chosen beforehand: by that it is known as ours, from the call on that makes both ends at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

from nvlab.errors import Conflict
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import MakeDir, MakeFile, Op, Remove, Run, quote
from nvlab.kernel.verb import Args, Made, Verb

FAR = "wire"  # the far end, in a namespace where it is alone
_ROUTES = ("ip", "-json", "-4", "route", "show", "table", "all")
_TO_THE_WORLD = 7  # bits: a shorter prefix is a default route, or one of the halves that VPNs make of it
# packets; netem's own 1000 are fewer than TCP has under way on a slow wire, and what is beyond them it drops
_QUEUE = 1_000_000
_FRAMING = 24  # bytes that Ethernet adds to each frame on the wire: preamble 8, FCS 4, gap between frames 12 (IEEE 802.3)


class Create(Verb):
    """``interface`` (the near end's name), ``netns`` (the namespace's file), ``macs`` of both ends, ``network`` (a /30: near end
    first), ``mtu`` in bytes, ``delay`` one way in us, ``rate`` in Mbit/s (0: any), ``offload``: whether packets may pass uncut.
    """

    name = "wire.create"
    contested = True

    def choose_beside(self, kernel: Kernel, args: Args, others: Sequence[Args]) -> Args:
        if kernel.exists(_sysfs(args)):
            what = f"there is a network interface {args['interface']} already, and no journal here owns it"
            raise Conflict(what, hint="remove it by hand if it is a leftover, or give the lab another name (--name)")
        _check_free(kernel, IPv4Network(args["network"]), [other["network"] for other in others])
        return args

    def outputs(self, args: Args) -> Mapping[str, str]:
        near, far = ends(args["network"])
        return {key: quote(value) for key, value in _known(args, near, far).items()}

    def make(self, args: Args) -> Sequence[Op]:
        near, far = ends(args["network"])
        return [
            MakeDir(args["netns"].rpartition("/")[0], exist_ok=True),
            MakeFile(args["netns"]),
            Run(("unshare", f"--net={args['netns']}", "true")),
            _pair(args),
            *_end(args, args["interface"], near, ()),
            *_end(args, FAR, far, ("nsenter", f"--net={args['netns']}")),
        ]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        if not kernel.exists(args["netns"]):
            return None
        made = {"mounted": "yes"} if kernel.is_mount(args["netns"]) else {}
        if _is_ours(kernel, args):
            made |= _known(args, *ends(args["network"]))
        return made

    def settled(self, made: Made) -> bool:
        return "interface" in made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        # the pair first: with the namespace it would go as well, but some time later, and its modules with it
        pair: list[Op] = [Run(("ip", "link", "del", args["interface"]))] if "interface" in made else []
        mount: list[Op] = [Run(("umount", args["netns"]))] if "mounted" in made else []
        return [*pair, *mount, Remove(args["netns"])]


def ends(network: str) -> tuple[str, str]:
    """The addresses of the near and the far end of a wire on a /30."""
    near, far = IPv4Network(network).hosts()
    return str(near), str(far)


def _known(args: Args, near: str, far: str) -> Made:
    return {"interface": args["interface"], "netns": args["netns"], "near": near, "far": far}


def _pair(args: Args) -> Run:
    near, far = (
        ("address", mac, "mtu", str(args["mtu"]), *(() if args["offload"] else ("gso_max_segs", "1"))) for mac in args["macs"]
    )
    return Run(("ip", "link", "add", args["interface"], *near, "type", "veth", "peer", "name", FAR, *far, "netns", args["netns"]))


def _end(args: Args, interface: str, address: str, there: tuple[str, ...]) -> list[Op]:
    """One end gets its address and goes up; ``there``: the words that run a program where it is."""
    prefix = IPv4Network(args["network"]).prefixlen
    words = [("ip", "address", "add", f"{address}/{prefix}", "dev", interface), ("ip", "link", "set", interface, "up")]
    if netem := _netem(args):
        words.insert(0, ("tc", "qdisc", "add", "dev", interface, "root", "netem", "limit", str(_QUEUE), *netem))
    return [Run((*there, *each)) for each in words]


def _netem(args: Args) -> tuple[str, ...]:
    delay = ("delay", f"{args['delay']}us") if args["delay"] else ()
    return (*delay, "rate", f"{args['rate']}mbit", str(_FRAMING)) if args["rate"] else delay


def _sysfs(args: Args) -> str:
    return f"/sys/class/net/{args['interface']}"


def _is_ours(kernel: Kernel, args: Args) -> bool:
    try:
        return kernel.read(f"{_sysfs(args)}/address") == str(args["macs"][0])
    except OSError:  # it is not there, or goes away while we look
        return False


def _check_free(kernel: Kernel, network: IPv4Network, wires: Sequence[str]) -> None:
    """Raise Conflict when this node has an address or a route of its own in ``network``, which the wire would shadow."""
    routes = {route["dst"]: route.get("dev", "a route") for route in json.loads(kernel.query(_ROUTES).out or "[]")}
    taken = [f"this node has {there} on {dev}" for there, dev in routes.items() if _within(there, network)]
    taken += ["another lab's wire has it, or is about to" for other in wires if _within(other, network)]
    if taken:
        what = f"network {network} is taken: {taken[0]}"
        raise Conflict(what, hint='choose another in the wire\'s table: network = "10.77.0.0/30"')


def _within(destination: str, network: IPv4Network) -> bool:
    """Whether a route, as ip(8) writes its destination, leads to any address of ``network`` in particular."""
    if destination == "default":
        return False
    there = IPv4Network(destination)
    return there.prefixlen > _TO_THE_WORLD and there.overlaps(network)


VERBS = (Create(),)
