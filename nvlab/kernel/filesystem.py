# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems made by the lab on its own devices, known by a UUID chosen beforehand. Never forced onto existing data."""

from __future__ import annotations

from collections.abc import Sequence

from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Op, Run
from nvlab.kernel.verb import Args, Made, Verb


class Make(Verb):
    """``type`` (ext4, xfs) on ``dev`` with ``uuid``."""

    name = "filesystem.make"
    survives_boot = True

    def make(self, args: Args) -> Sequence[Op]:
        words = {
            "ext4": ("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-U", args["uuid"]),
            "xfs": ("mkfs.xfs", "-q", "-m", f"uuid={args['uuid']}"),
        }[args["type"]]
        return [Run((*words, args["dev"]), deadline=300.0)]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        answer = kernel.query(("blkid", "--probe", "--output", "value", "--match-tag", "UUID", args["dev"]))
        return {} if answer.out.strip() == args["uuid"] else None

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        return [Run(("wipefs", "--all", "--quiet", args["dev"]))]


VERBS = (Make(),)
