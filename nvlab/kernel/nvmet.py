# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's NVMe target through configfs (drivers/nvme/target/configfs.c).

Attributes of a port may be written only before its first link, those of a subsystem only before its first host came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count

from nvlab.errors import Conflict
from nvlab.kernel.act import Act
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Await, Link, MakeDir, Op, Remove, RemoveDir, Write, quote
from nvlab.kernel.verb import Args, Made, SharedVerb, Verb

ROOT = "/sys/kernel/config/nvmet"


class Host(Verb):
    """``nqn``: a host that may be let in."""

    name = "nvmet.host"

    def make(self, args: Args) -> Sequence[Op]:
        return [MakeDir(self._path(args))]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        return {} if kernel.exists(self._path(args)) else None

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        return [RemoveDir(self._path(args))]

    def _path(self, args: Args) -> str:
        return f"{ROOT}/hosts/{args['nqn']}"


class Subsystem(Verb):
    """``nqn``, ``attributes`` (name without ``attr_`` -> value), ``hosts`` let in (or ``allow_any_host``)."""

    name = "nvmet.subsystem"

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"nqn": quote(args["nqn"])}

    def make(self, args: Args) -> Sequence[Op]:
        path = f"{ROOT}/subsystems/{args['nqn']}"
        ops: list[Op] = [MakeDir(path)]
        ops += [Write(f"{path}/attr_{key}", str(value)) for key, value in args["attributes"].items()]
        if args.get("allow_any_host"):
            return [*ops, Write(f"{path}/attr_allow_any_host", "1")]
        return [*ops, *(Link(f"{path}/allowed_hosts/{host}", f"{ROOT}/hosts/{host}") for host in args["hosts"])]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        return {"nqn": args["nqn"]} if kernel.exists(f"{ROOT}/subsystems/{args['nqn']}") else None

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        path = f"{ROOT}/subsystems/{args['nqn']}"
        return [*(Remove(f"{path}/allowed_hosts/{host}") for host in args["hosts"]), RemoveDir(path)]


class Namespace(Verb):
    """``nqn``, ``nsid``, ``device`` (a block device), ``uuid`` and ``nguid`` so that a remade export is the same namespace."""

    name = "nvmet.namespace"

    def make(self, args: Args) -> Sequence[Op]:
        path = _namespace(args)
        return [
            MakeDir(path),
            Write(f"{path}/device_path", args["device"]),
            Write(f"{path}/device_uuid", args["uuid"]),
            Write(f"{path}/device_nguid", args["nguid"]),
            Write(f"{path}/enable", "1"),
            # a passthru subsystem answers success and stays disabled: read it back
            Await(f"namespace {args['nsid']} of {args['nqn']} to be enabled", equals={f"{path}/enable": "1"}),
        ]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        return {} if kernel.exists(_namespace(args)) else None

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        path = _namespace(args)
        return [Write(f"{path}/enable", "0", missing_ok=True, watched=True), RemoveDir(path)]


def _namespace(args: Args) -> str:
    return f"{ROOT}/subsystems/{args['nqn']}/namespaces/{args['nsid']}"


class Port(SharedVerb):
    """A TCP port at ``traddr``:``trsvcid``, one for all labs that listen there; its ``number`` is chosen free."""

    name = "nvmet.port"
    borrows = False

    def choose(self, kernel: Kernel, args: Args) -> Args:
        ports = kernel.listdir(f"{ROOT}/ports")
        same = [p for p in ports if _address(kernel, p) == (args["traddr"], args["trsvcid"])]
        number = int(same[0]) if same else next(n for n in count(1) if str(n) not in ports)
        return {**args, "number": number}

    def choices(self, args: Args) -> Mapping[str, str]:
        return {"number": f"$(nvmet_port {quote(args['traddr'])} {args['trsvcid']})"}

    def stands(self, args: Args) -> str:
        return f"[ -d {quote(f'{ROOT}/ports/' + str(args['number']))} ]"

    def make(self, args: Args) -> Sequence[Op]:
        path = f"{ROOT}/ports/{args['number']}"
        family = "ipv6" if ":" in args["traddr"] else "ipv4"
        # trtype first: on 6.12 writing it resets what follows
        order = {"trtype": "tcp", "adrfam": family, "traddr": args["traddr"], "trsvcid": args["trsvcid"]}
        return [MakeDir(path), *(Write(f"{path}/addr_{key}", value) for key, value in order.items())]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        number = str(args["number"])
        if number not in kernel.listdir(f"{ROOT}/ports"):
            return None
        traddr, trsvcid = _address(kernel, number)
        if traddr not in ("", args["traddr"]) or trsvcid not in ("", args["trsvcid"]):
            raise Conflict(f"nvmet port {number} listens on {traddr}:{trsvcid}, not on this lab's address")
        return {"number": number}

    def keys(self, args: Args) -> list[str]:
        # with the number: a lab that died before it wrote the address left a port that the next one cannot know as the same
        return [f"nvmet-port:{args['number']}:{args['traddr']}:{args['trsvcid']}"]

    def has(self, kernel: Kernel, args: Args, key: str) -> bool:
        try:
            return self.find(kernel, args) is not None
        except Conflict:
            return False

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        return [RemoveDir(f"{ROOT}/ports/{args['number']}")] if keys else []


class Expose(Verb):
    """Link subsystem ``nqn`` under port ``port``; the first link makes the port listen, in the network namespace of whoever makes
    it (nvmet_tcp_add_port, sock_create): in the one of the file ``netns``, if that is given.
    """

    name = "nvmet.expose"

    def make(self, args: Args) -> Sequence[Op]:
        return [_shown(args)]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        return {} if kernel.exists(_shown(args).path) else None

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        return [Remove(_shown(args).path)]


def _address(kernel: Kernel, port: str) -> tuple[str, str]:
    base = f"{ROOT}/ports/{port}"
    return kernel.read(f"{base}/addr_traddr"), kernel.read(f"{base}/addr_trsvcid")


def _shown(args: Args) -> Link:
    """What makes a port show a subsystem."""
    path = f"{ROOT}/ports/{args['port']}/subsystems/{args['nqn']}"
    return Link(path, f"{ROOT}/subsystems/{args['nqn']}", netns=args.get("netns", ""))


# -- acts: ``nqn``, and the ``port``'s number (with ``netns``, as it was exposed) or the ``nsid`` ------------------


class PortDown(Act):
    """The port no longer shows the subsystem; the target ends its connections."""

    name = "nvmet.port-down"

    def ops(self, args: Args) -> Sequence[Op]:
        return [Remove(_shown(args).path)]

    def found(self, kernel: Kernel, args: Args) -> str:
        return _hosts(kernel, args["nqn"])


class PortUp(PortDown):
    """The port shows the subsystem again."""

    name = "nvmet.port-up"

    def ops(self, args: Args) -> Sequence[Op]:
        return [_shown(args)]


class NamespaceOff(PortDown):
    """A namespace is disabled: the kernel waits for what is under way in the device below."""

    name = "nvmet.namespace-off"
    enable = "0"

    def ops(self, args: Args) -> Sequence[Op]:
        enable = f"{_namespace(args)}/enable"
        what = f"namespace {args['nsid']} of {args['nqn']} to be {'en' if self.enable == '1' else 'dis'}abled"
        return [Write(enable, self.enable, watched=True), Await(what, equals={enable: self.enable})]


class NamespaceOn(NamespaceOff):
    """A namespace is enabled again."""

    name = "nvmet.namespace-on"
    enable = "1"


def _hosts(kernel: Kernel, nqn: str) -> str:
    """The state of the connections that this machine's own hosts have, or try to have, to a subsystem."""
    found = []
    for name in kernel.listdir("/sys/class/nvme"):
        with suppress(OSError):  # it goes away while we look
            if kernel.read(f"/sys/class/nvme/{name}/subsysnqn") == nqn:
                found.append(f"{name} is {kernel.read(f'/sys/class/nvme/{name}/state')}")
    return ", ".join(found) or "no host is connected"


VERBS = (Host(), Subsystem(), Namespace(), Port(), Expose())
ACTS = (PortDown(), PortUp(), NamespaceOff(), NamespaceOn())
