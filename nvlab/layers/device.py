# SPDX-License-Identifier: GPL-2.0-or-later
"""`[device.x]`: a virtual NVMe device with the timing of a real one, in reserved memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers import fault
from nvlab.layers.base import Built, Lab, LayerKind, Object, provided
from nvlab.layers.fields import Choice, Cpus, Doc, Duration, Flag, Size, Text, Whole
from nvlab.plan import Layer, Step
from nvlab.units import format_cpus, human_size

REGISTERS = 1 << 20  # bytes; BAR 0 and doorbells fill the first MiB of a region, the storage follows

# What a profile stands for, in ns; one unit is 4 KiB and eight work in parallel (device facts: NVMeVirt's NVM model).
PROFILES: dict[str, dict[str, int]] = {
    # as fast as the emulation goes
    "none": {"read_delay": 0, "read_time": 0, "write_delay": 0, "write_time": 0},
    # 12 us reads and 14 us writes at 2.4 and 2.0 GB/s: the figures NVMeVirt's authors set for an Optane drive, without
    # their correction for the emulator's own floor
    "optane": {"read_delay": 10300, "read_time": 1700, "write_delay": 11950, "write_time": 2050},
}


@dataclass(frozen=True, kw_only=True)
class Device:
    """A virtual NVMe device."""

    size: Annotated[int, Size(1 << 20, 1 << 44, 1 << 12), Doc("capacity; its region is 1 MiB larger")]
    profile: Annotated[str, Choice(tuple(PROFILES)), Doc("whose timing it has")] = "optane"
    count: Annotated[int, Whole(1, 32), Doc("how many like it")] = 1
    cpus: Annotated[int | tuple[int, ...] | None, Cpus(), Doc("CPUs that serve it: how many, or which (default: all)")] = None
    block_size: Annotated[int, Choice((512, 4096)), Doc("logical block, bytes")] = 512
    volatile_cache: Annotated[bool, Flag(), Doc("whether it reports a write cache, so that flushes are sent to it")] = False
    read_delay: Annotated[int | None, Duration(0, 10**10), Doc("fixed part of a read (default: the profile's)")] = None
    read_time: Annotated[int | None, Duration(0, 10**10), Doc("time of a read per unit (default: the profile's)")] = None
    write_delay: Annotated[int | None, Duration(0, 10**10), Doc("fixed part of a write (default: the profile's)")] = None
    write_time: Annotated[int | None, Duration(0, 10**10), Doc("time of a write per unit (default: the profile's)")] = None
    io_units: Annotated[int, Whole(1, 256), Doc("units that work in parallel")] = 8
    io_unit_size: Annotated[int, Size(512, 1 << 20), Doc("bytes of a unit, a power of two")] = 4096
    seed: Annotated[int, Whole(0, (1 << 63) - 1), Doc("of its random choices: which commands a rule hits by chance")] = 0
    trace: Annotated[
        str,
        Choice(("off", "on", "lossless")),
        Doc("record every command with its times into the run; lossless: rather slow down than lose one"),
    ] = "off"
    trace_entries: Annotated[int, Whole(256, 1 << 20), Doc("commands kept for the recorder, a power of two, per CPU")] = (
        16384
    )
    fault: Annotated[dict[str, fault.Fault], Doc("rules by which commands go wrong")] = field(default_factory=dict)
    module: Annotated[
        str | None, Text(r"/[\w./+-]+\.ko", "the absolute path of a .ko file"), Doc("a module that stands in for nvlab.ko")
    ] = None


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Device = obj.spec
    if spec.io_unit_size & (spec.io_unit_size - 1):
        yield Problem(f"{obj.path}.io_unit_size", f"{spec.io_unit_size} is not a power of two")
    if isinstance(spec.cpus, int) and spec.cpus >= lab.facts.cpus:
        yield Problem(f"{obj.path}.cpus", f"the node has {lab.facts.cpus} CPUs, and one must be left for the load")
    if isinstance(spec.cpus, tuple) and spec.cpus[-1] >= lab.facts.cpus:
        yield Problem(f"{obj.path}.cpus", f"CPU {spec.cpus[-1]} does not exist; the node has {lab.facts.cpus}")
    if spec.trace_entries & (spec.trace_entries - 1):
        below = 1 << spec.trace_entries.bit_length() - 1
        yield Problem(f"{obj.path}.trace_entries", f"{spec.trace_entries} is not a power of two; use {below} or {2 * below}")
    yield from fault.check(f"{obj.path}.fault", spec.fault, spec.size // spec.block_size)
    if spec.module:
        yield from _check_stand_in(obj)


def _check_stand_in(obj: Object) -> Iterator[Problem]:
    spec: Device = obj.spec
    if spec.count > 1:
        yield Problem(f"{obj.path}.count", "a stand-in module makes one device")
    for key, default in (("trace", "off"), ("fault", {})):
        if getattr(spec, key) != default:
            yield Problem(f"{obj.path}.{key}", "only nvlab.ko has this; leave out the stand-in module, or this key")


def build(obj: Object, lab: Lab) -> Built:
    spec: Device = obj.spec
    names = provided(obj)
    steps = [_stand_in(obj, lab, name) if spec.module else _configfs(obj, lab, name) for name in names]
    shared = [] if spec.module else [Step("device/module", "module.insert", {"path": lab.facts.nvlab_ko}, obj.path)]
    dev = f"{{{names[0]}.dev}}  " if len(names) == 1 else f"{len(names)} × "
    profile = "no delay" if spec.profile == "none" else spec.profile
    what = PurePosixPath(spec.module).name if spec.module else f"nvm, {profile}"
    cpus = format_cpus(_cpus(spec, lab))
    summary = f"{dev}{human_size(spec.size)}  {what}" + (f", CPUs {cpus}" if cpus else "")
    if spec.fault:
        summary += f", {len(spec.fault)} fault rule{'s' if len(spec.fault) > 1 else ''}"
    faults = [step for name in names for step in _faults(obj, lab, name)]
    return Built([*shared, *steps], Layer(obj.path, summary), {"configfs": {}, "nvme": {}}, last=faults)


def _ident(lab: Lab, name: str) -> str:
    """The device's name in configfs."""
    return lab.ident(*name.split("."))


def _faults(obj: Object, lab: Lab, name: str) -> Iterator[Step]:
    for rule, spec in obj.spec.fault.items():
        args = {
            "device": _ident(lab, name),
            "name": rule,
            "attributes": fault.attributes(spec),
            "enable": int(spec.enable),
        }
        yield Step(f"{obj.table}.{name}/fault-{rule}", "device.fault", args, obj.path)


def traces(obj: Object, lab: Lab) -> Iterator[dict[str, str]]:
    """What the recorder is to read of the devices' traces: {"layer", "path"}."""
    if obj.spec.trace != "off":
        for name in provided(obj):
            yield {"layer": name, "path": f"/dev/nvlab-trace-{_ident(lab, name)}"}


def _cpus(spec: Device, lab: Lab) -> tuple[int, ...]:
    """The CPUs that serve the device: the last ones of the node, so that the load has the first; empty means all."""
    if isinstance(spec.cpus, int):
        return tuple(range(lab.facts.cpus - spec.cpus, lab.facts.cpus))
    return spec.cpus or ()


def _configfs(obj: Object, lab: Lab, name: str) -> Step:
    spec: Device = obj.spec
    timing = {key: getattr(spec, key) for key in ("read_delay", "read_time", "write_delay", "write_time")}
    chosen = {key: value for key, value in timing.items() if value is not None}
    attributes: dict[str, object] = {
        "memmap_start": hex(lab.placement.take(spec.size + REGISTERS, obj.path)),
        "memmap_size": spec.size + REGISTERS,
        "block_size": spec.block_size,
        "vwc": int(spec.volatile_cache),
        "serial": lab.uuid("serial", name).replace("-", "")[:20],
        "subnqn": lab.nqn("device", name),
        **PROFILES[spec.profile],
        **chosen,
        "nr_io_units": spec.io_units,
        "io_unit_shift": spec.io_unit_size.bit_length() - 1,
    }
    if cpus := _cpus(spec, lab):
        attributes["cpus"] = format_cpus(cpus)
    if spec.seed:
        attributes["seed"] = spec.seed
    if spec.trace != "off":
        attributes |= {"trace": spec.trace_entries, "trace_lossless": int(spec.trace == "lossless")}
    args = {"name": _ident(lab, name), "attributes": attributes}
    return Step(f"{obj.table}.{name}", "device.create", args, obj.path, provides=name)


def _stand_in(obj: Object, lab: Lab, name: str) -> Step:
    spec: Device = obj.spec
    start = lab.placement.take(spec.size + REGISTERS, obj.path)
    cpus = _cpus(spec, lab) or (lab.facts.cpus - 1,)
    params = {
        "memmap_start": start,
        "memmap_size": spec.size + REGISTERS,
        "cpus": ",".join(map(str, cpus)),  # NVMeVirt reads no ranges
    }
    path = spec.module or ""
    args = {"path": path, "name": PurePosixPath(path).stem, "start": start, "params": params}
    return Step(f"{obj.table}.{name}", "device.stand-in", args, obj.path, provides=name)


KIND = LayerKind("device", Device, check, build, doc="A virtual NVMe device in reserved memory.")
