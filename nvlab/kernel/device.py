# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual NVMe devices: nvlab.ko's through configfs, and a stand-in module's through its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from nvlab.kernel import block
from nvlab.kernel.configfs import power_on
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
        return {"dev": f"$(nvme_namespace {quote(args['attributes']['subnqn'])} 1)"}

    def make(self, args: Args) -> Sequence[Op]:
        base = f"{ROOT}/{args['name']}"
        if "state" not in args:
            return power_on(base, args["attributes"])
        made, on = power_on(base, args["attributes"])[:-1], Write(f"{base}/power", "1")
        # only what is held can be given a state, and then it need not be held any longer
        copy = Run(("dd", f"if={args['state']}", f"of=/dev/nvlab-state-{args['name']}", "bs=1M", "conv=nocreat,notrunc"))
        return [*made, Write(f"{base}/hold", "1"), copy, on, Write(f"{base}/hold", "0")]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        base = f"{ROOT}/{args['name']}"
        if not kernel.exists(base):
            return None
        disk = block.nvme_namespace(kernel, args["attributes"]["subnqn"], 1)
        addresses = kernel.read(f"{base}/pci").split()
        missing = sum(not _live(kernel, address) for address in addresses)
        made = {"pci": " ".join(addresses)} | (block.facts(kernel, disk) if disk else {})
        return made | ({"missing": f"{missing} of {len(addresses)} controllers"} if missing else {})

    def settled(self, made: Made) -> bool:
        return "dev" in made and "missing" not in made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        base = f"{ROOT}/{args['name']}"
        off: list[Op] = [Unheld(made["dev"])] if "dev" in made else []
        off.append(Write(f"{base}/power", "0", missing_ok=True, watched=True))
        if "dev" in made:
            off.append(Await(f"{made['dev']} to go", absent=(f"/sys/class/block/{made['dev'].rpartition('/')[2]}",)))
        return [*off, RemoveDir(base)]


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


VERBS = (Create(), Fault(), StandIn())
