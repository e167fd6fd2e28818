# SPDX-License-Identifier: GPL-2.0-or-later
"""The NVMe-oF initiator through ``/dev/nvme-fabrics`` (drivers/nvme/host/fabrics.c): all options, and the exact errno."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.kernel import block
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Await, Op, Transact, Unheld, Write, quote
from nvlab.kernel.verb import Args, Made, Verb
from nvlab.units import parse_cpus

DEVICE = "/dev/nvme-fabrics"


class Connect(Verb):
    """``traddr``, ``trsvcid``, ``nqn``, ``hostnqn``, ``hostid``, ``nsid``, ``options`` (further key -> value).

    ``queues``, how many for I/O, is chosen on the node: a queue map with only isolated CPUs fails with EXDEV.
    """

    name = "fabrics.connect"

    def choose(self, kernel: Kernel, args: Args) -> Args:
        online = set(parse_cpus(kernel.read("/sys/devices/system/cpu/online")))
        isolated = kernel.read("/sys/devices/system/cpu/isolated")
        housekeeping = len(online - set(parse_cpus(isolated) if isolated else ()))
        wanted = int(args["options"].get("nr_io_queues", housekeeping))
        return {**args, "queues": max(1, min(wanted, housekeeping))}

    def choices(self, args: Args) -> Mapping[str, str]:
        return {"queues": f"$(io_queues {args['options'].get('nr_io_queues', 128)})"}

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dev": f"$(nvme_namespace {quote(args['nqn'])} {args['nsid']})"}

    def make(self, args: Args) -> Sequence[Op]:
        return [Transact(DEVICE, connect_string(args))]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        for name in kernel.listdir("/sys/class/nvme"):
            base = f"/sys/class/nvme/{name}"
            if (_attribute(kernel, base, "subsysnqn"), _attribute(kernel, base, "hostnqn")) == (args["nqn"], args["hostnqn"]):
                disk = block.nvme_namespace(kernel, args["nqn"], int(args["nsid"]))
                return {"controller": name} | (block.facts(kernel, disk) if disk else {})
        return None

    def settled(self, made: Made) -> bool:
        return "dev" in made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        path = f"/sys/class/nvme/{made['controller']}"
        held: list[Op] = [Unheld(made["dev"])] if "dev" in made else []
        return [
            *held,
            Write(f"{path}/delete_controller", "1", missing_ok=True, watched=True),
            Await(f"{made['controller']} to disconnect", absent=(path,)),
        ]


def connect_string(args: Args) -> str:
    """The comma-joined request; hostnqn and hostid always together (6.12 wants them one to one for good)."""
    words: Mapping[str, object] = {
        "transport": "tcp",
        **{key: args[key] for key in ("traddr", "trsvcid", "nqn", "hostnqn", "hostid")},
        **args["options"],
        "nr_io_queues": args["queues"],
    }
    return ",".join(f"{key}={value}" for key, value in words.items())


def _attribute(kernel: Kernel, base: str, name: str) -> str:
    try:
        return kernel.read(f"{base}/{name}")
    except OSError:  # a PCI controller has no hostnqn; a dying one has nothing
        return ""


VERBS = (Connect(),)
