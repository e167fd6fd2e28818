# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper devices with dmsetup, known by a dm UUID chosen beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.kernel import block
from nvlab.kernel.act import Act
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Await, Op, Run, quote
from nvlab.kernel.verb import Args, Made, Verb


class Create(Verb):
    """``name``, ``uuid``, ``table`` (one line; kept here because ``dmsetup table`` of RapidDisk prints prose)."""

    name = "dm.create"

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dev": quote(f"/dev/mapper/{args['name']}")}

    def make(self, args: Args) -> Sequence[Op]:
        return [
            Run(("dmsetup", "create", args["name"], "--uuid", args["uuid"], "--table", args["table"])),
            Await(f"/dev/mapper/{args['name']}", block=(f"/dev/mapper/{args['name']}",)),
        ]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        for name in kernel.listdir("/sys/block"):
            if name.startswith("dm-") and _dm(kernel, name, "uuid") == args["uuid"]:
                node = f"/dev/mapper/{_dm(kernel, name, 'name')}"
                return {**block.facts(kernel, name), "dev": node}
        return None

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        return [
            Run(("dmsetup", "remove", "--retry", args["name"])),
            Await(f"{args['name']} to go", absent=(f"/sys/block/{made['name']}", made["dev"])),
        ]


def _dm(kernel: Kernel, name: str, attribute: str) -> str:
    try:
        return kernel.read(f"/sys/block/{name}/dm/{attribute}")
    except OSError:  # it went away while we looked
        return ""


class Reload(Act):
    """The device ``name`` goes on with the ``table``: what it held in memory alone is forgotten, no I/O fails."""

    name = "dm.reload"

    def ops(self, args: Args) -> Sequence[Op]:
        return [
            Run(("dmsetup", "reload", args["name"], "--table", args["table"])),
            Run(("dmsetup", "resume", args["name"])),  # suspends, swaps and resumes, within the kernel
        ]


VERBS = (Create(),)
ACTS = (Reload(),)
