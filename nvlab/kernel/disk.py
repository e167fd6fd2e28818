# SPDX-License-Identifier: GPL-2.0-or-later
"""A real disk under the safety rule: named by a stable path, and free of everything, or wiped by its serial's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.errors import Conflict
from nvlab.kernel import block
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import MakeDir, MakeFile, Op, Remove, Run, quote
from nvlab.kernel.verb import Args, Made, Verb
from nvlab.units import human_size

CLAIMS = "/run/nvlab/claims"
_BLANK = 1 << 20  # bytes at the start and at the end of a blank disk that must read as zeros
_WIPE = 'choose a blank disk; to destroy what is on this one, write wipe = "its serial or WWN" beside the path'


class Claim(Verb):
    """``path`` (under /dev/disk/by-…), ``owner``, perhaps ``wipe``: the disk's serial or WWN, which says "destroy what is on it".

    The claim file keeps a second lab away; nvmet and dm take no exclusive claim themselves.
    """

    name = "disk.claim"

    def choose(self, kernel: Kernel, args: Args) -> Args:
        if not kernel.exists(args["path"]):
            raise Conflict(f"{args['path']} does not exist on this node", hint="ls -l /dev/disk/by-id")
        name = block.name_of(kernel, args["path"])
        refuse_if_used(kernel, args["path"], name)
        if args.get("wipe"):
            _refuse_if_other(kernel, name, args["wipe"])
        else:
            _refuse_if_partitioned(kernel, args["path"], name)
            _refuse_if_signed(kernel, args["path"])
            _refuse_if_data(kernel, args["path"], name)
        return {**args, "disk": name}

    def choices(self, args: Args) -> Mapping[str, str]:
        return {"disk": f"$(free_disk {quote(args['path'])})"}

    def outputs(self, args: Args) -> Mapping[str, str]:
        return {"dev": quote(f"/dev/{args['disk']}")}

    def make(self, args: Args) -> Sequence[Op]:
        claim: list[Op] = [MakeDir(CLAIMS, exist_ok=True), MakeFile(f"{CLAIMS}/{args['disk']}", text=args["owner"])]
        return [*claim, *([Run(("wipefs", "--all", args["path"]))] if args.get("wipe") else [])]

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        claim = f"{CLAIMS}/{args['disk']}"
        if not kernel.exists(claim):
            return None
        if (owner := kernel.read(claim)) not in ("", args["owner"]):  # "": cut short
            raise Conflict(f"{args['path']} is used by {owner}", hint="take that lab down, or choose another disk")
        return block.facts(kernel, args["disk"]) if kernel.exists(f"/sys/class/block/{args['disk']}") else {}

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        return [Remove(f"{CLAIMS}/{args['disk']}")]


def refuse_if_used(kernel: Kernel, path: str, name: str) -> None:
    """Raise Conflict where something stands on the disk called ``name``, on a part of it, or has claimed it."""
    for part in [name, *_partitions(kernel, name)]:
        if held := block.holders(kernel, part):
            raise Conflict(f"{path} ({part}) is used by {', '.join(held)}", hint="choose a disk that nothing stands on")
    if not kernel.claimable(path):
        raise Conflict(f"{path} is in use (mounted, swap, or claimed)", hint="choose a disk that nothing uses")


def _partitions(kernel: Kernel, name: str) -> list[str]:
    return [p for p in kernel.listdir(f"/sys/class/block/{name}") if p.startswith(name)]


def _refuse_if_partitioned(kernel: Kernel, path: str, name: str) -> None:
    if parts := _partitions(kernel, name):
        raise Conflict(f"{path} has partitions ({', '.join(parts)})", hint=_WIPE)


def _refuse_if_signed(kernel: Kernel, path: str) -> None:
    answer = kernel.query(("blkid", "--probe", "--output", "export", path))
    if answer.code != 2 or answer.out.strip():  # 2: nothing was recognised (blkid(8))
        found = ", ".join(answer.out.split()) or answer.err.strip() or "something blkid cannot tell apart"
        raise Conflict(f"{path} is not empty: {found}", hint=_WIPE)


def _refuse_if_data(kernel: Kernel, path: str, name: str) -> None:
    """Not all that is precious has a signature: a database on the bare disk has none.

    Nor is it seen when only the second one is left, at the end: blkid (util-linux 2.38) does not look for the copy of a GPT.
    """
    end = max(0, int(kernel.read(f"/sys/class/block/{name}/size")) * 512 - _BLANK)
    for which, start in (("first", 0), ("last", end)):
        words = ("cmp", "--silent", f"--bytes={_BLANK}", f"--ignore-initial={start}:0", path, "/dev/zero")
        if kernel.query(words).code:
            raise Conflict(f"{path} is not empty: its {which} {human_size(_BLANK)} are not all zeros", hint=_WIPE)


def _refuse_if_other(kernel: Kernel, name: str, wipe: str) -> None:
    base = f"/sys/class/block/{name}"
    places = (f"{base}/device/serial", f"{base}/serial", f"{base}/wwid", f"{base}/device/wwid")
    known = [kernel.read(p).strip() for p in places if kernel.exists(p)]
    if wipe not in known:
        raise Conflict(
            f"wipe = {wipe!r} is not the serial or WWN of {name} ({', '.join(known) or 'it has none'})",
            hint="nothing was touched; name the disk you mean",
        )


VERBS = (Claim(),)
