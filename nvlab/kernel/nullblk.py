# SPDX-License-Identifier: GPL-2.0-or-later
"""null_blk devices through configfs: memory-backed disks with a fixed completion time (drivers/block/null_blk)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.kernel import block
from nvlab.kernel.configfs import configured, power_on
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Await, Op, RemoveDir, Unheld, Write, quote
from nvlab.kernel.verb import Args, Made, Verb

ROOT = "/sys/kernel/config/nullb"


class Create(Verb):
    """``name`` (at most 31 characters: it becomes the disk's), ``attributes``: configfs attribute -> value."""

    name = "nullblk.create"

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dev": quote(f"/dev/{args['name']}")}

    def make(self, args: Args) -> Sequence[Op]:
        base = f"{ROOT}/{args['name']}"
        return [*configured(base, args["attributes"]), power_on(base)]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        base = f"{ROOT}/{args['name']}"
        if not kernel.exists(base):
            return None
        # 6.1 and later name the disk after the directory, older kernels nullb<index>
        for name in (args["name"], f"nullb{kernel.read(f'{base}/index')}"):
            if kernel.read(f"{base}/power") == "1" and kernel.exists(f"/sys/block/{name}"):
                return block.facts(kernel, name)
        return {}

    def settled(self, made: Made) -> bool:
        return "dev" in made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        base = f"{ROOT}/{args['name']}"
        held: list[Op] = [Unheld(made["dev"])] if "dev" in made else []
        return [
            *held,
            Write(f"{base}/power", "0", missing_ok=True, watched=True),
            Await(f"{args['name']} to go", absent=(f"/sys/block/{args['name']}",)),
            RemoveDir(base),
        ]


VERBS = (Create(),)
