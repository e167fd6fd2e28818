# SPDX-License-Identifier: GPL-2.0-or-later
"""`[disk.x]`: ordinary disks: null_blk with a latency, a file behind a loop device, brd, or a real disk under the safety rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.base import Built, Lab, LayerKind, Object, provided
from nvlab.layers.fields import Choice, Doc, Duration, Flag, Size, Text, Whole
from nvlab.plan import Layer, Step
from nvlab.units import human_size, human_time

FILES = "/var/lib/nvlab/disks"


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One disk, or several alike."""

    kind: Annotated[str, Choice(("null_blk", "loop", "brd", "path")), Doc("what it is made of")] = "null_blk"
    count: Annotated[int, Whole(1, 32), Doc("how many like it")] = 1
    size: Annotated[int | None, Size(1 << 20, 1 << 44, 1 << 20), Doc("capacity of each; required but for kind path")] = None
    latency: Annotated[int, Duration(0, 10**10), Doc("time of every command (null_blk only)")] = 0
    queue_depth: Annotated[int, Whole(1, 1024), Doc("commands it works on at once (null_blk only)")] = 64
    block_size: Annotated[int, Choice((512, 4096)), Doc("logical block, bytes (null_blk only)")] = 512
    path: Annotated[
        str | None, Text(r"/dev/disk/by-[\w-]+/[\w.:+-]+", "a stable path under /dev/disk/by-…"), Doc("a real disk (kind path)")
    ] = None
    wipe: Annotated[
        str | None, Text(r"[\w.:+ -]{1,64}", "a serial or WWN"), Doc("serial or WWN of the disk whose content may be destroyed")
    ] = None
    partition: Annotated[bool, Flag(), Doc("put a GPT with one partition on it, and use that")] = False


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Disk = obj.spec
    if spec.kind == "path":
        if spec.path is None:
            yield Problem(f"{obj.path}.path", "a disk of kind path needs its path")
        if spec.count > 1:
            yield Problem(f"{obj.path}.count", "a path names one disk; write a table for each")
        return
    if spec.size is None:
        yield Problem(f"{obj.path}.size", f"a disk of kind {spec.kind} needs a size")
    for key in ("path", "wipe"):
        if getattr(spec, key) is not None:
            yield Problem(f"{obj.path}.{key}", f"only a disk of kind path has this, and this one is {spec.kind}")
    if spec.latency and spec.kind != "null_blk":
        yield Problem(f"{obj.path}.latency", f"only null_blk can be slow, and this disk is {spec.kind}")
    if spec.kind == "brd" and next(o for o in lab.objects.values() if _is_brd(o)) is not obj:
        yield Problem(f"{obj.path}.kind", "brd makes its disks all at once; use one table with a count")


def _is_brd(obj: Object) -> bool:
    return isinstance(obj.spec, Disk) and obj.spec.kind == "brd"


def build(obj: Object, lab: Lab) -> Built:
    spec: Disk = obj.spec
    module, make = _MAKERS[spec.kind]
    steps: list[Step] = []
    for index, name in enumerate(provided(obj)):
        steps += make(obj, lab, name, index)
        if spec.partition:
            steps.append(_partition(obj, lab, name))
    each = str(spec.path) if spec.kind == "path" else human_size(spec.size or 0)
    size = f"{spec.count} × {each} " if spec.count > 1 else f"{each} "
    latency = f", {human_time(spec.latency)}" if spec.latency else ""
    return Built(steps, Layer(obj.path, f"{size}{spec.kind}{latency}"), module)


def _base_name(spec: Disk, name: str) -> str:
    """A partitioned disk is known as NAME.disk, its partition as NAME."""
    return f"{name}.disk" if spec.partition else name


def _null_blk(obj: Object, lab: Lab, name: str, index: int) -> list[Step]:
    spec: Disk = obj.spec
    attributes = {
        "size": (spec.size or 0) >> 20,  # MiB
        "blocksize": spec.block_size,
        "memory_backed": 1,
        "queue_mode": 2,  # blk-mq
        "irqmode": 2 if spec.latency else 1,  # timer, or softirq
        "completion_nsec": spec.latency,
        "submit_queues": 1,
        "hw_queue_depth": spec.queue_depth,
    }
    args = {"name": lab.disk_ident(*name.split(".")), "attributes": attributes}
    return [Step(f"disk.{name}", "nullblk.create", args, obj.path, provides=_base_name(spec, name))]


def _loop(obj: Object, lab: Lab, name: str, index: int) -> list[Step]:
    spec: Disk = obj.spec
    args = {"file": f"{FILES}/{lab.ident(*name.split('.'), limit=200)}.img", "size": spec.size}
    return [Step(f"disk.{name}", "loop.attach", args, obj.path, provides=_base_name(spec, name))]


def _brd(obj: Object, lab: Lab, name: str, index: int) -> list[Step]:
    spec: Disk = obj.spec
    if index:  # the module makes all its disks at once, with the first
        return []
    keys = [_base_name(spec, n).removeprefix(obj.name).strip(".") for n in provided(obj)]
    args = {"size": spec.size, "keys": keys}
    return [Step(f"disk.{obj.name}", "brd.load", args, obj.path, provides=obj.name)]


def _path(obj: Object, lab: Lab, name: str, index: int) -> list[Step]:
    spec: Disk = obj.spec
    args = {"path": spec.path, "wipe": spec.wipe or "", "owner": f"{obj.path} of lab {lab.name}"}
    return [Step(f"disk.{name}", "disk.claim", args, obj.path, provides=_base_name(spec, name))]


def _partition(obj: Object, lab: Lab, name: str) -> Step:
    args = {
        "dev": f"{{{name}.disk.dev}}",
        "guid": lab.uuid("gpt", name),
        "part_guid": lab.uuid("partition", name),
    }
    return Step(f"disk.{name}/gpt", "gpt.partition", args, obj.path, provides=name)


Maker = Callable[[Object, Lab, str, int], list[Step]]
_MAKERS: dict[str, tuple[dict[str, dict[str, object]], Maker]] = {
    "null_blk": ({"configfs": {}, "null_blk": {"nr_devices": 0}}, _null_blk),
    "loop": ({"loop": {}}, _loop),
    "brd": ({}, _brd),
    "path": ({}, _path),
}

KIND = LayerKind("disk", Disk, check, build, doc="Ordinary disks, made of memory or files, or real ones.")
