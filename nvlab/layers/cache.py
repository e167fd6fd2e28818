# SPDX-License-Identifier: GPL-2.0-or-later
"""`[cache.x]`: a RAM cache before a block device: RapidDisk's, or dm-cache on a RAM disk where that is not to be had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.base import BLOCK, Built, Lab, LayerKind, Object
from nvlab.layers.fields import Choice, Doc, Ref, Size
from nvlab.plan import Layer, Step
from nvlab.units import human_size

RAPIDDISK_MODES = {"write-through": 0, "write-around": 1}
META_SIZE = 4 << 20  # bytes; dm-cache's metadata device must be at least a few MiB
DM_CACHE_BLOCK = 64  # sectors: 32 KiB, the least that dm-cache accepts

# Measured on Debian 12's rapiddisk 9.0.0 (6.1): what a result with this layer must say of itself.
RAPIDDISK_DEFECTS = (
    "RapidDisk drops FLUSH and FUA: a flush through this cache does not reach the device below",
    "RapidDisk 9.0.0 logs 'scheduling while atomic' under parallel writes to one volume, and serialises them",
    "RapidDisk does not pass on the queue limits of the device below (block size, optimal I/O size)",
)


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A RAM cache."""

    on: Annotated[str, Ref(BLOCK), Doc("the block device it caches")]
    size: Annotated[int, Size(4 << 20, 1 << 40, 2 << 20), Doc("how much RAM, in steps of 2M")]
    mode: Annotated[str, Choice(tuple(RAPIDDISK_MODES)), Doc("what a write does to the cache")] = "write-around"
    engine: Annotated[
        str, Choice(("auto", "rapiddisk", "dm-cache")), Doc("auto: RapidDisk where its module is to be had, else dm-cache")
    ] = "auto"


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Cache = obj.spec
    if len(lab.blocks(spec.on)) > 1:
        yield Problem(f"{obj.path}.on", f"{spec.on!r} is several devices; name one of them: {spec.on}.1")
    if spec.engine == "dm-cache" and spec.mode == "write-around":
        yield Problem(f"{obj.path}.mode", 'dm-cache has no write-around; use mode = "write-through"')


def build(obj: Object, lab: Lab) -> Built:
    spec: Cache = obj.spec
    if spec.engine == "rapiddisk" or (spec.engine == "auto" and lab.has_module("rapiddisk_cache")):
        return _rapiddisk(obj, lab)
    return _dm_cache(obj, lab)


def _rapiddisk(obj: Object, lab: Lab) -> Built:
    spec: Cache = obj.spec
    volume = f"{obj.name}.volume"
    source = lab.blocks(spec.on)[0]
    cached = spec.size >> 9
    table = (
        f"0 {{{source}.sectors}} rapiddisk-cache {{{source}.dev}} {{{volume}.dev}} {cached} {RAPIDDISK_MODES[spec.mode]}"
    )
    steps = [
        Step(f"cache.{obj.name}/volume", "rapiddisk.attach", {"size": spec.size}, obj.path, provides=volume),
        _dm(obj, lab, table),
    ]
    lab.notes += [f"{obj.path}: {defect}" for defect in RAPIDDISK_DEFECTS]
    layer = Layer(
        obj.path, f"{{{obj.name}.dev}}  {human_size(spec.size)} RapidDisk, {spec.mode}", warning="drops FLUSH: see nvlab plan"
    )
    return Built(steps, layer, {"rapiddisk": {}, "rapiddisk-cache": {}})


def _dm_cache(obj: Object, lab: Lab) -> Built:
    spec: Cache = obj.spec
    if spec.mode == "write-around":
        lab.notes.append(f"{obj.path}: dm-cache has no write-around; it runs in write-through here")
    fast, meta, source = f"{obj.name}.fast", f"{obj.name}.meta", lab.blocks(spec.on)[0]
    table = (
        f"0 {{{source}.sectors}} cache {{{meta}.dev}} {{{fast}.dev}} {{{source}.dev}} {DM_CACHE_BLOCK} 1 writethrough default 0"
    )
    steps = [
        _ram_disk(obj, lab, fast, spec.size),
        _ram_disk(obj, lab, meta, META_SIZE),
        _dm(obj, lab, table),
    ]
    layer = Layer(obj.path, f"{{{obj.name}.dev}}  {human_size(spec.size)} dm-cache on RAM, write-through")
    return Built(steps, layer, {"configfs": {}, "null_blk": {"nr_devices": 0}, "dm-cache": {}, "dm-cache-smq": {}})


def _ram_disk(obj: Object, lab: Lab, name: str, size: int) -> Step:
    """A memory-backed null_blk without latency: brd has one size for all its disks and belongs to one lab."""
    attributes = {"size": size >> 20, "blocksize": 512, "memory_backed": 1, "queue_mode": 2, "irqmode": 1}
    args = {"name": lab.disk_ident(*name.split(".")), "attributes": attributes}
    return Step(f"cache.{name}", "nullblk.create", args, obj.path, provides=name)


def _dm(obj: Object, lab: Lab, table: str) -> Step:
    args = {"name": lab.ident(obj.name), "uuid": f"NVLAB-{lab.uuid('cache', obj.name)}", "table": table}
    return Step(f"cache.{obj.name}", "dm.create", args, obj.path, provides=obj.name)


KIND = LayerKind("cache", Cache, check, build, watch="dm", doc="A RAM cache in front of a block device.")
