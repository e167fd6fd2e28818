# SPDX-License-Identifier: GPL-2.0-or-later
"""brd, the kernel's RAM disk: its devices are its module parameters, so one lab on a node has it, for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.errors import Conflict
from nvlab.kernel import block
from nvlab.kernel.interface import Kernel
from nvlab.kernel.module import is_loaded
from nvlab.kernel.ops import Await, Op, Run, Unload
from nvlab.kernel.verb import Args, Made, Verb


class Load(Verb):
    """``size`` in bytes of each disk, ``keys``: under which names their outputs are known ("" for a single disk)."""

    name = "brd.load"

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {f"{key}.dev".lstrip("."): f"/dev/ram{index}" for index, key in enumerate(args["keys"])}

    def make(self, args: Args) -> Sequence[Op]:
        count = len(args["keys"])
        words = (f"rd_nr={count}", f"rd_size={int(args['size']) >> 10}", "max_part=1")  # KiB
        nodes = tuple(f"/dev/ram{i}" for i in range(count))
        return [Run(("modprobe", "brd", *words)), Await("the RAM disks", block=nodes)]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        if kernel.exists("/sys/block/ram0") and not is_loaded(kernel, "brd"):
            raise Conflict("brd is built into this kernel, so its disks cannot be made and removed")
        if not is_loaded(kernel, "brd"):
            return None
        made: Made = {}
        for index, key in enumerate(args["keys"]):
            if kernel.exists(f"/sys/block/ram{index}"):
                facts = block.facts(kernel, f"ram{index}")
                made |= {f"{key}.{k}" if key else k: v for k, v in facts.items()}
        return made

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        return [Unload(("brd",))]


VERBS = (Load(),)
