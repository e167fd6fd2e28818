# SPDX-License-Identifier: GPL-2.0-or-later
"""A GPT with one partition over a whole disk, as the published recipes have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.kernel import block
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Await, Op, Run, quote
from nvlab.kernel.verb import Args, Made, Verb


class Partition(Verb):
    """``dev``: a blank disk; ``guid``, ``part_guid``: the table's and the partition's identity."""

    name = "gpt.partition"

    def choose(self, kernel: Kernel, args: Args) -> Args:
        return {**args, "node": block.partition(args["dev"], 1)}

    def choices(self, args: Args) -> Mapping[str, str]:
        return {"node": f"$(partition_node {quote(args['dev'])} 1)"}

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dev": quote(args["node"])}
    survives_boot = True

    def make(self, args: Args) -> Sequence[Op]:
        dev, node = args["dev"], args["node"]
        words = (f"--disk-guid={args['guid']}", "--new=1:0:0", f"--partition-guid=1:{args['part_guid']}")
        return [
            Run(("sgdisk", *words, dev)),
            Run(("partx", "--update", dev)),
            Await(f"partition {node}", block=(node,)),
        ]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        dev = args["dev"]
        answer = kernel.query(("sgdisk", "--print", dev))
        if answer.code or args["guid"].upper() not in answer.out:
            return None
        node = block.partition(dev, 1)
        return block.facts(kernel, node.rpartition("/")[2]) if kernel.exists(node) else {}

    def settled(self, made: Made) -> bool:
        return "dev" in made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        zap = Run(("sgdisk", "--zap-all", args["dev"]))
        if "dev" not in made:
            return [zap]
        # first the partition: udev may be looking at it still (EBUSY), and without a table nobody tells the kernel again
        delete = Run(("partx", "--delete", args["dev"]), again=(1,), deadline=20.0)
        gone = Await(f"{made['dev']} to go", absent=(f"/sys/class/block/{made['dev'].rpartition('/')[2]}",))
        return [delete, gone, zap]


VERBS = (Partition(),)
