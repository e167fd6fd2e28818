# SPDX-License-Identifier: GPL-2.0-or-later
"""Loop devices over files that nvlab makes; the backing file is their identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.kernel import block
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Await, MakeDir, MakeFile, Op, Remove, Run, Unheld, quote
from nvlab.kernel.verb import Args, Made, Verb


class Attach(Verb):
    """``file``: path of the backing file to make; ``size`` in bytes."""

    name = "loop.attach"

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dev": f"$(losetup --noheadings --output NAME --associated {quote(args['file'])})"}
    survives_boot = True

    def make(self, args: Args) -> Sequence[Op]:
        directory = args["file"].rpartition("/")[0]
        return [
            MakeDir(directory, exist_ok=True),
            MakeFile(args["file"], size=int(args["size"])),
            Run(("losetup", "--find", args["file"])),
        ]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        for name in kernel.listdir("/sys/block"):
            backing = f"/sys/block/{name}/loop/backing_file"
            if name.startswith("loop") and kernel.exists(backing) and kernel.read(backing) == args["file"]:
                return block.facts(kernel, name)
        return {} if kernel.exists(args["file"]) else None

    def settled(self, made: Made) -> bool:
        return "dev" in made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        detach: list[Op] = []
        if "dev" in made:
            name = made["dev"].rpartition("/")[2]
            detach = [
                Unheld(made["dev"]),  # else it would be detached at the last close, whenever that is
                Run(("losetup", "--detach", made["dev"])),
                Await(f"{made['dev']} to be free", absent=(f"/sys/block/{name}/loop/backing_file",)),
            ]
        return [*detach, Remove(args["file"])]


VERBS = (Attach(),)
