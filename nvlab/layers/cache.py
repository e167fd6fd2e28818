# SPDX-License-Identifier: GPL-2.0-or-later
"""`[cache.x]`: a RAM cache before a block device: RapidDisk's, or dm-cache on a RAM disk where that is not to be had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.base import BLOCK, Built, Deed, Event, EventKind, Lab, LayerKind, Object
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
    return _rapiddisk(obj, lab) if _is_rapiddisk(spec, lab) else _dm_cache(obj, lab)


def _is_rapiddisk(spec: Cache, lab: Lab) -> bool:
    return spec.engine == "rapiddisk" or (spec.engine == "auto" and lab.has_module("rapiddisk_cache"))


def _rapiddisk(obj: Object, lab: Lab) -> Built:
    spec: Cache = obj.spec
    volume = _volume(obj)
    steps = [
        Step(f"cache.{obj.name}/volume", "rapiddisk.attach", {"size": spec.size}, obj.path, provides=volume),
        _dm(obj, lab, _rapiddisk_table(obj, lab, spec.size)),
    ]
    lab.notes += [f"{obj.path}: {defect}" for defect in RAPIDDISK_DEFECTS]
    layer = Layer(
        obj.path, f"{{{obj.name}.dev}}  {human_size(spec.size)} RapidDisk, {spec.mode}", warning="drops FLUSH: see nvlab plan"
    )
    return Built(steps, layer, {"rapiddisk": {}, "rapiddisk-cache": {}})


def _volume(obj: Object) -> str:
    """The RAM disk that holds what is cached."""
    return f"{obj.name}.volume"


def _rapiddisk_table(obj: Object, lab: Lab, size: int) -> str:
    """A cache that uses ``size`` bytes of its volume."""
    spec: Cache = obj.spec
    source = lab.blocks(spec.on)[0]
    words = (f"{{{source}.dev}}", f"{{{_volume(obj)}.dev}}", size >> 9, RAPIDDISK_MODES[spec.mode])
    return f"0 {{{source}.sectors}} rapiddisk-cache {' '.join(map(str, words))}"


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


# -- events ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Flush:
    """RapidDisk forgets all that it has cached, and goes on cold. No data are lost: it holds none that are not below."""


@dataclass(frozen=True, kw_only=True)
class Resize:
    """RapidDisk goes on, cold, with less of its memory, or with all of it again."""

    size: Annotated[int, Size(4 << 20, 1 << 40, 2 << 20), Doc("how much, at most the cache's own size")]


def _check_event(event: Event, lab: Lab) -> Iterator[Problem]:
    spec: Cache = lab.objects[event.name].spec
    if not _is_rapiddisk(spec, lab):
        yield Problem(f"{event.path}.do", f"{event.name} is dm-cache here, which keeps what it holds; RapidDisk can do this")
    if getattr(event.spec, "size", 0) > spec.size:
        yield Problem(f"{event.path}.size", f"{event.name} has {human_size(spec.size)} of memory")


def _reload(event: Event, lab: Lab) -> Deed:
    obj = lab.objects[event.name]
    size = getattr(event.spec, "size", None)
    args = {"name": lab.ident(obj.name), "table": _rapiddisk_table(obj, lab, size or obj.spec.size)}
    return Deed(f"{event.name} {event.do}" + (f" {human_size(size)}" if size else ""), [("dm.reload", args)])


EVENTS = (EventKind("flush", Flush, _reload, _check_event), EventKind("resize", Resize, _reload, _check_event))
KIND = LayerKind("cache", Cache, check, build, watch="dm", doc="A RAM cache in front of a block device.", events=EVENTS)
