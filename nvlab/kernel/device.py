# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual NVMe devices: nvlab.ko's through configfs, and a stand-in module's through its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from nvlab.kernel import block
from nvlab.kernel.act import Act
from nvlab.kernel.configfs import configured, power_on
from nvlab.kernel.interface import Kernel
from nvlab.kernel.module import canonical, is_loaded, parameter_words
from nvlab.kernel.ops import Await, MakeDir, Op, RemoveDir, Run, Unheld, Unload, Write, quote
from nvlab.kernel.verb import Args, Made, Verb

ROOT = "/sys/kernel/config/nvlab"
PCI = "/sys/bus/pci/devices"


class Create(Verb):
    """``name`` in configfs and ``attributes`` of it, ``subnqn`` among them; ``state``: a file of what it has been through."""

    name = "device.create"

    def outputs(self, args: Args) -> Mapping[str, str]:
        nqn = quote(args["attributes"]["subnqn"])
        return {"dev": f"$(nvme_generic {nqn})" if _has_keys(args["attributes"]) else f"$(nvme_namespace {nqn} 1)"}

    def make(self, args: Args) -> Sequence[Op]:
        base = f"{ROOT}/{args['name']}"
        if "state" in args:
            return _given(args["name"], args["attributes"], args["state"])
        return [*configured(base, args["attributes"]), power_on(base)]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        base = f"{ROOT}/{args['name']}"
        if not kernel.exists(base):
            return None
        disk = _node(kernel, args["attributes"])
        addresses = kernel.read(f"{base}/pci").split()
        missing = sum(not _live(kernel, address) for address in addresses)
        made = {"pci": " ".join(addresses)} | (_facts(kernel, args["attributes"], disk) if disk else {})
        return made | ({"missing": f"{missing} of {len(addresses)} controllers"} if missing else {})

    def settled(self, made: Made) -> bool:
        return "dev" in made and "missing" not in made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        base = f"{ROOT}/{args['name']}"
        keys = _has_keys(args["attributes"])
        off: list[Op] = [Unheld(made["dev"])] if "dev" in made and not keys else []
        off.append(Write(f"{base}/power", "0", missing_ok=True, watched=True))
        if "dev" in made:
            gone = f"/sys/class/{'nvme-generic' if keys else 'block'}/{made['dev'].rpartition('/')[2]}"
            off.append(Await(f"{made['dev']} to go", absent=(gone,)))
        return [*off, RemoveDir(base)]


class Restore(Create):
    """``name`` and ``attributes`` as of a device that lost its power with its machine; ``image``: a file of what its core knew.

    What its blocks held is where it was: a reset leaves the reserved memory alone, and nothing here writes to it.
    """

    name = "device.restore"

    def make(self, args: Args) -> Sequence[Op]:
        return _given(args["name"], {**args["attributes"], "keep": 1}, args["image"])


def _given(name: str, attributes: Args, path: str) -> list[Op]:
    """A device that begins with a state: only what is held can be given one, and then it need not be held any longer."""
    base = f"{ROOT}/{name}"
    words = ("dd", f"if={path}", f"of=/dev/nvlab-state-{name}", "bs=1M", "conv=nocreat,notrunc")
    copy = Run(words, deadline=600)  # of a live drive it has all content
    return [*configured(base, attributes), Write(f"{base}/hold", "1"), copy, power_on(base), Write(f"{base}/hold", "0")]


def _has_keys(attributes: Args) -> bool:
    return attributes.get("kind") == "kv"


def _node(kernel: Kernel, attributes: Args) -> str | None:
    """The kernel's name of the device of namespace 1: a disk, or of what has keys the generic device."""
    if _has_keys(attributes):
        return block.nvme_generic(kernel, attributes["subnqn"])
    return block.nvme_namespace(kernel, attributes["subnqn"], 1)


def _facts(kernel: Kernel, attributes: Args, name: str) -> Made:
    return {"name": name, "dev": f"/dev/{name}"} if _has_keys(attributes) else block.facts(kernel, name)


class Fault(Verb):
    """A rule called ``name`` by which commands of ``device`` go wrong: ``attributes`` of it, and whether to ``enable`` it."""

    name = "device.fault"

    def make(self, args: Args) -> Sequence[Op]:
        base = _rule(args)
        settings = [Write(f"{base}/{key}", str(value)) for key, value in args["attributes"].items()]
        return [MakeDir(base), *settings, Write(f"{base}/enable", str(args["enable"]))]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        return {} if kernel.exists(_rule(args)) else None

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        return [RemoveDir(_rule(args))]


def _rule(args: Args) -> str:
    return f"{ROOT}/{args['device']}/faults/{args['name']}"


class StandIn(Verb):
    """A user's own module: ``path``, ``name`` and NVMeVirt's three parameters in ``params``.

    Its controller is the PCI device whose BAR 0 lies at ``start``, the first byte of the reserved region.
    """

    name = "device.stand-in"

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dev": f"$(pci_namespace {args['start']:#x})"}

    def make(self, args: Args) -> Sequence[Op]:
        return [Run(("insmod", args["path"], *parameter_words(args["params"])))]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        if not is_loaded(kernel, args["name"]):
            return None
        for address in kernel.listdir(PCI):
            bar = kernel.read(f"{PCI}/{address}/resource").split()
            if bar and int(bar[0], 16) == int(args["start"]):
                return {"pci": address} | _namespace_of(kernel, address)
        return {}

    def settled(self, made: Made) -> bool:
        return "dev" in made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        held: list[Op] = [Unheld(made["dev"])] if "dev" in made else []
        return [*held, Unload((canonical(args["name"]),))]


def _live(kernel: Kernel, address: str) -> bool:
    """Whether the driver has brought up the controller at a PCI address."""
    with suppress(OSError):  # it goes away while we look
        names = kernel.listdir(f"{PCI}/{address}/nvme")
        return any(kernel.read(f"/sys/class/nvme/{name}/state") == "live" for name in names)
    return False


def _namespace_of(kernel: Kernel, address: str) -> Made:
    for controller in kernel.listdir(f"{PCI}/{address}/nvme"):
        subsystem = kernel.read(f"/sys/class/nvme/{controller}/subsysnqn")
        disk = block.nvme_namespace(kernel, subsystem, 1)
        if disk:
            return block.facts(kernel, disk)
    return {}


class Set(Act):
    """Live ``attributes`` of the device ``name``, which change between two commands."""

    name = "device.set"

    def ops(self, args: Args) -> Sequence[Op]:
        return [Write(f"{ROOT}/{args['name']}/{key}", str(value)) for key, value in args["attributes"].items()]


class Switch(Act):
    """The rule ``name`` of ``device`` comes into force, or rests (``enable`` 1 or 0)."""

    name = "device.switch"

    def ops(self, args: Args) -> Sequence[Op]:
        return [Write(f"{_rule(args)}/enable", str(args["enable"]))]

    def found(self, kernel: Kernel, args: Args) -> str:
        return f"rule {args['name']} has hit {kernel.read(f'{_rule(args)}/hits')} commands"


class Cut(Act):
    """The power of the device ``name`` fails, and comes back; hosts find it again, by ``subnqn``, when it has recovered.

    ``kind`` where it is kv.
    """

    name = "device.cut"
    deadline = 120.0

    def ops(self, args: Args) -> Sequence[Op]:
        return [Write(f"{ROOT}/{args['name']}/cut", "1", watched=True)]

    def settled(self, kernel: Kernel, args: Args) -> bool:
        addresses = kernel.read(f"{ROOT}/{args['name']}/pci").split()
        return all(_live(kernel, a) for a in addresses) and _node(kernel, args) is not None

    def found(self, kernel: Kernel, args: Args) -> str:
        return f"it is back as /dev/{_node(kernel, args)}"


class Blackout(Act):
    """The power of all devices of the module fails at one moment, and stays away: nothing is completed any more."""

    name = "device.blackout"

    def ops(self, args: Args) -> Sequence[Op]:
        return [Write(f"{ROOT}/blackout", "1", watched=True)]


VERBS = (Create(), Restore(), Fault(), StandIn())
ACTS = (Set(), Switch(), Cut(), Blackout())
