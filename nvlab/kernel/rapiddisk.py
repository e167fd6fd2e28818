# SPDX-License-Identifier: GPL-2.0-or-later
"""RapidDisk RAM volumes through sysfs: its command line lies about sizes and mappings (9.0.0), and its detach ignores holders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

from nvlab.errors import Conflict
from nvlab.kernel import block
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Await, Op, Unheld, Write, quote
from nvlab.kernel.verb import Args, Made, SharedVerb

MANAGEMENT = "/sys/kernel/rapiddisk/mgmt"


class Attach(SharedVerb):
    """A volume of ``size`` bytes; its ``number`` (/dev/rdN) is chosen free on the node.

    A volume bears no identity, so the number is leased: what a dead lab chose is not removed from under a later lab.
    """

    name = "rapiddisk.attach"
    borrows = False

    def choose(self, kernel: Kernel, args: Args) -> Args:
        taken = kernel.listdir("/sys/block")
        return {**args, "number": next(n for n in count() if f"rd{n}" not in taken)}

    def choices(self, args: Args) -> Mapping[str, str]:
        return {"number": "$(free_number rd)"}

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dev": quote(f"/dev/rd{args['number']}")}

    def make(self, args: Args) -> Sequence[Op]:
        node = f"/dev/rd{args['number']}"
        return [
            Write(MANAGEMENT, f"rapiddisk attach {args['number']} {args['size']}\n"),
            Await(f"RAM volume {node}", block=(node,)),
        ]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        name = f"rd{args['number']}"
        if not kernel.exists(f"/sys/block/{name}"):
            return None
        made = block.facts(kernel, name)
        if int(made["sectors"]) * block.SECTOR != int(args["size"]):
            raise Conflict(f"/dev/{name} has another size than the volume of this lab")
        return made

    def keys(self, args: Args) -> list[str]:
        return [f"rapiddisk:rd{args['number']}:{args['size']}"]

    def has(self, kernel: Kernel, args: Args, key: str) -> bool:
        try:
            return self.find(kernel, args) is not None
        except Conflict:
            return False

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        node = f"/dev/rd{args['number']}"
        return (
            [
                Unheld(node),
                Write(MANAGEMENT, f"rapiddisk detach {args['number']}\n"),
                Await(f"{node} to go", absent=(f"/sys/block/rd{args['number']}",)),
            ]
            if keys
            else []
        )


VERBS = (Attach(),)
