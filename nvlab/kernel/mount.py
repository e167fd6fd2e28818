# SPDX-License-Identifier: GPL-2.0-or-later
"""Mounts: configfs, shared by all labs, and a lab's own file systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import MakeDir, Op, RemoveDir, Run, quote
from nvlab.kernel.verb import Args, Made, SharedVerb, Verb

CONFIGFS = "/sys/kernel/config"


class Configfs(SharedVerb):
    """configfs at its usual place; no arguments."""

    name = "mount.configfs"

    def stands(self, args: Args) -> str:
        return f"mountpoint -q {CONFIGFS}"

    def make(self, args: Args) -> Sequence[Op]:
        return [Run(("mount", "-t", "configfs", "configfs", CONFIGFS))]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        return {} if kernel.is_mount(CONFIGFS) else None

    def keys(self, args: Args) -> list[str]:
        return [f"mount:{CONFIGFS}"]

    def has(self, kernel: Kernel, args: Args, key: str) -> bool:
        return kernel.is_mount(CONFIGFS)

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        return [Run(("umount", CONFIGFS))] if keys else []


class Filesystem(Verb):
    """``dev`` mounted ``at`` a directory of the lab's own, as ``type``."""

    name = "mount.filesystem"

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dir": quote(args["at"])}

    def make(self, args: Args) -> Sequence[Op]:
        return [
            MakeDir(args["at"], exist_ok=True),
            Run(("mount", "-t", args["type"], "-o", "noatime,nodev,nosuid", args["dev"], args["at"])),
        ]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        if not kernel.exists(args["at"]):
            return None
        return {"dir": args["at"]} | ({"mounted": "yes"} if kernel.is_mount(args["at"]) else {})

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        unmount: list[Op] = [Run(("umount", args["at"]))] if "mounted" in made else []
        return [*unmount, RemoveDir(args["at"])]


VERBS = (Configfs(), Filesystem())
