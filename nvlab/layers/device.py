# SPDX-License-Identifier: GPL-2.0-or-later
"""`[device.x]`: a virtual NVMe device with the timing of a real one, in reserved memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Annotated

from nvlab.errors import Problem
from nvlab.kernel.device import ROOT
from nvlab.layers import fault
from nvlab.layers.base import Built, Deed, Event, EventKind, Lab, LayerKind, Object, provided
from nvlab.layers.beside import FileOf, ProfileOf
from nvlab.layers.fields import Choice, Cpus, Doc, Duration, Flag, Medium, Size, Text, Whole
from nvlab.medium import MAX_TIME, PARAMETERS, Profile, profiles
from nvlab.plan import Layer, Step
from nvlab.units import format_cpus, human_size

REGISTERS = 1 << 20  # bytes; a region begins with a MiB for BAR 0 and doorbells of each controller, the storage follows

# As fast as the emulation goes; the others say where each of their numbers comes from.
NO_DELAY = Profile(
    "none",
    "No delay",
    "nvm",
    vwc=False,
    model={},
    timing={"read_delay": 0, "read_time": 0, "write_delay": 0, "write_time": 0, "units": 8, "unit_shift": 12},
    sources={},
)
PROFILES = {"none": NO_DELAY, **profiles()}


@dataclass(frozen=True, kw_only=True)
class Device:
    """A virtual NVMe device."""

    size: Annotated[int, Size(1 << 20, 1 << 44, 1 << 12), Doc("capacity; its region is 1 MiB larger for each controller")]
    profile: Annotated[
        Profile, ProfileOf(PROFILES), Doc("what it is like: its kind, its medium, how fast it is; one of nvlab's or a file")
    ] = PROFILES["optane"]
    count: Annotated[int, Whole(1, 32), Doc("how many like it")] = 1
    cpus: Annotated[int | tuple[int, ...] | None, Cpus(), Doc("CPUs that serve it: how many, or which (default: all)")] = None
    controllers: Annotated[
        int, Whole(1, fault.MAX_CONTROLLERS), Doc("paths to it: 2 make a dual-port drive, one disk above both (native multipath)")
    ] = 1
    block_size: Annotated[int, Choice((512, 4096)), Doc("logical block, bytes")] = 512
    volatile_cache: Annotated[
        bool | None, Flag(), Doc("whether it reports a write cache, so that flushes are sent to it (default: the profile's)")
    ] = None
    read_delay: Annotated[int | None, Duration(0, MAX_TIME), Doc("fixed part of a read (default: the profile's)")] = None
    read_time: Annotated[int | None, Duration(0, MAX_TIME), Doc("time of a read per unit (default: the profile's)")] = None
    write_delay: Annotated[int | None, Duration(0, MAX_TIME), Doc("fixed part of a write (default: the profile's)")] = None
    write_time: Annotated[int | None, Duration(0, MAX_TIME), Doc("time of a write per unit (default: the profile's)")] = None
    io_units: Annotated[int | None, Whole(1, 256), Doc("units that work in parallel (default: the profile's)")] = None
    io_unit_size: Annotated[
        int | None, Size(512, 1 << 20), Doc("bytes of a unit, a power of two (default: the profile's)")
    ] = None
    medium: Annotated[
        dict[str, int], Medium(), Doc("of an SSD or a disk: what is other than in the profile (see the medium's parameters)")
    ] = field(default_factory=dict)
    state: Annotated[
        str | None,
        FileOf("what nvlab simulate --save or nvlab snapshot wrote"),
        Doc("what it has been through when it comes up: a snapshot of a device like it, live or simulated"),
    ] = None
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
    yield from _check_profile(obj)
    if spec.io_unit_size and spec.io_unit_size & (spec.io_unit_size - 1):
        yield Problem(f"{obj.path}.io_unit_size", f"{spec.io_unit_size} is not a power of two")
    if isinstance(spec.cpus, int) and spec.cpus >= lab.facts.cpus:
        yield Problem(f"{obj.path}.cpus", f"the node has {lab.facts.cpus} CPUs, and one must be left for the load")
    if isinstance(spec.cpus, tuple) and spec.cpus[-1] >= lab.facts.cpus:
        yield Problem(f"{obj.path}.cpus", f"CPU {spec.cpus[-1]} does not exist; the node has {lab.facts.cpus}")
    if spec.trace_entries & (spec.trace_entries - 1):
        below = 1 << spec.trace_entries.bit_length() - 1
        yield Problem(f"{obj.path}.trace_entries", f"{spec.trace_entries} is not a power of two; use {below} or {2 * below}")
    yield from fault.check(f"{obj.path}.fault", spec.fault, spec.size // spec.block_size, spec.controllers)
    if spec.module:
        yield from _check_stand_in(obj)


# Keys that set the timing of kind nvm: which field of it, and what that is of a value.
TIMING: dict[str, tuple[str, Callable[[int], int]]] = {
    "read_delay": ("read_delay", int),
    "read_time": ("read_time", int),
    "write_delay": ("write_delay", int),
    "write_time": ("write_time", int),
    "io_units": ("units", int),
    "io_unit_size": ("unit_shift", lambda size: size.bit_length() - 1),
}


def profile_of(spec: Device) -> Profile:
    """The device's profile, with what the scenario says otherwise."""
    profile = spec.profile
    cache = profile.vwc if spec.volatile_cache is None else spec.volatile_cache
    return replace(profile, vwc=cache, timing=profile.timing | timing_of(spec), model=profile.model | spec.medium)


def timing_of(spec: Device | Timing) -> dict[str, int]:
    """What a device, or an event of it, says of the timing of kind nvm, by the core's names."""
    said = {key: getattr(spec, key, None) for key in TIMING}
    return {TIMING[key][0]: TIMING[key][1](value) for key, value in said.items() if value is not None}


def _check_profile(obj: Object) -> Iterator[Problem]:
    """An NVM device has a timing, the other kinds have a medium."""
    spec: Device = obj.spec
    kind, name = spec.profile.kind, spec.profile.name
    if kind == "nvm" and spec.medium:
        others = ", ".join(other for other, profile in PROFILES.items() if profile.kind != "nvm")
        yield Problem(f"{obj.path}.medium", f"profile {name!r} is no SSD or disk; those are: {others}")
    for key in TIMING:
        if kind != "nvm" and getattr(spec, key) is not None:
            yield Problem(f"{obj.path}.{key}", f"profile {name!r} is {kind}: its speed follows from {obj.path}.medium")
    for key in ("fdp_handles", "mapping_cache"):
        if kind not in ("nvm", "ssd") and spec.medium.get(key):
            yield Problem(f"{obj.path}.medium.{key}", f"profile {name!r} is {kind}; this is for kind ssd: leave it out, or set 0")


def _check_stand_in(obj: Object) -> Iterator[Problem]:
    spec: Device = obj.spec
    if spec.count > 1:
        yield Problem(f"{obj.path}.count", "a stand-in module makes one device")
    for key, default in (("trace", "off"), ("fault", {}), ("controllers", 1), ("state", None)):
        if getattr(spec, key) != default:
            yield Problem(f"{obj.path}.{key}", "only nvlab.ko has this; leave out the stand-in module, or this key")


def build(obj: Object, lab: Lab) -> Built:
    spec: Device = obj.spec
    names = provided(obj)
    steps = [_stand_in(obj, lab, name) if spec.module else _configfs(obj, lab, name) for name in names]
    shared = [] if spec.module else [Step("device/module", "module.insert", {"path": lab.facts.nvlab_ko}, obj.path)]
    dev = f"{{{names[0]}.dev}}  " if len(names) == 1 else f"{len(names)} × "
    profile = "no delay" if spec.profile is NO_DELAY else spec.profile.name
    what = PurePosixPath(spec.module).name if spec.module else f"{spec.profile.kind}, {profile}"
    cpus = format_cpus(_cpus(spec, lab))
    summary = f"{dev}{human_size(spec.size)}  {what}" + (f", CPUs {cpus}" if cpus else "")
    if spec.controllers > 1:
        summary += f", {spec.controllers} controllers"
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


def accounts(obj: Object, lab: Lab) -> Iterator[dict[str, str]]:
    """Where the recorder is to read what the devices count: {"layer", "path"}."""
    for name in () if obj.spec.module else provided(obj):
        yield {"layer": name, "path": f"{ROOT}/{_ident(lab, name)}/stats"}


def _cpus(spec: Device, lab: Lab) -> tuple[int, ...]:
    """The CPUs that serve the device; empty means all.

    The last ones of those that were isolated at boot, if they are enough; else of the node, so that the load has the first.
    """
    if isinstance(spec.cpus, int):
        isolated = lab.facts.isolated
        return (isolated if len(isolated) >= spec.cpus else tuple(range(lab.facts.cpus)))[-spec.cpus :]
    return spec.cpus or ()


def _configfs(obj: Object, lab: Lab, name: str) -> Step:
    spec: Device = obj.spec
    profile = profile_of(spec)
    region = spec.size + spec.controllers * REGISTERS
    attributes: dict[str, object] = {
        "memmap_start": hex(lab.placement.take(region, obj.path)),
        "memmap_size": region,
        "block_size": spec.block_size,
        "vwc": int(profile.vwc),
        "serial": lab.uuid("serial", name).replace("-", "")[:20],
        "subnqn": lab.nqn("device", name),
        **_medium(profile),
    }
    if cpus := _cpus(spec, lab):
        attributes["cpus"] = format_cpus(cpus)
    if spec.controllers > 1:
        attributes["controllers"] = spec.controllers
    if spec.seed:
        attributes["seed"] = spec.seed
    if spec.trace != "off":
        attributes |= {"trace": spec.trace_entries, "trace_lossless": int(spec.trace == "lossless")}
    args = {"name": _ident(lab, name), "attributes": attributes} | ({"state": spec.state} if spec.state else {})
    return Step(f"{obj.table}.{name}", "device.create", args, obj.path, provides=name)


def _medium(profile: Profile) -> dict[str, object]:
    """Attributes of what the device is made of, but for those that any device has anyway."""
    if profile.kind == "nvm":
        names = {"units": "nr_io_units", "unit_shift": "io_unit_shift"}
        return {names.get(name, name): value for name, value in profile.timing.items()}
    other = {name: value for name, value in profile.model.items() if value != PARAMETERS[name].initial}
    return {"kind": profile.kind, **{f"medium/{name}": value for name, value in other.items()}}


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


# -- events ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A device becomes slower or faster, between two commands: what is said here changes, the rest stays."""

    read_delay: Annotated[int | None, Duration(0, MAX_TIME), Doc("fixed part of a read")] = None
    read_time: Annotated[int | None, Duration(0, MAX_TIME), Doc("time of a read per unit")] = None
    write_delay: Annotated[int | None, Duration(0, MAX_TIME), Doc("fixed part of a write")] = None
    write_time: Annotated[int | None, Duration(0, MAX_TIME), Doc("time of a write per unit")] = None
    medium: Annotated[dict[str, int], Medium(), Doc("of an SSD or a disk: its live parameters (see the medium's)")] = field(
        default_factory=dict
    )


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule of the device comes into force, begun anew, or rests."""

    rule: Annotated[str, Text(LayerKind.NAME, "a rule's name"), Doc("which of its rules")]
    enable: Annotated[bool, Flag(), Doc("whether it is in force from now on")]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The power of a device fails and comes back: what it buffered and had not flushed falls back to its old content."""


def _settings(event: Event, lab: Lab) -> dict[str, object]:
    """The attributes in configfs that a change of timing sets."""
    said = {key: getattr(event.spec, key, None) for key in TIMING}
    return {key: value for key, value in said.items() if value is not None} | {
        f"medium/{name}": value for name, value in event.spec.medium.items()
    }


def _check_timing(event: Event, lab: Lab) -> Iterator[Problem]:
    spec: Device = lab.objects[event.name].spec
    yield from _check_ours(event, spec)
    if not _settings(event, lab):
        yield Problem(event.path, "it changes nothing; say what, such as read_delay or medium")
    for key in TIMING:
        if spec.profile.kind != "nvm" and getattr(event.spec, key, None) is not None:
            yield Problem(f"{event.path}.{key}", f"{event.name} is {spec.profile.kind}: its speed follows from its medium")
    for name in event.spec.medium:
        if spec.profile.kind == "nvm":
            yield Problem(f"{event.path}.medium", f"{event.name} is no SSD or disk: say read_delay, write_time …")
        elif not PARAMETERS[name].live:
            yield Problem(f"{event.path}.medium", f"{name} is what the device is made of, and cannot change while it is in use")


def _check_rule(event: Event, lab: Lab) -> Iterator[Problem]:
    spec: Device = lab.objects[event.name].spec
    yield from _check_ours(event, spec)
    if event.spec.rule not in spec.fault:
        known = ", ".join(spec.fault) or "none"
        yield Problem(f"{event.path}.rule", f"{event.name} has no rule {event.spec.rule!r}; it has: {known}")


def _check_ours(event: Event, spec: Device) -> Iterator[Problem]:
    if spec.module:
        yield Problem(f"{event.path}.on", f"{event.name} is of a stand-in module, of which nvlab knows no more than that")


def _idents(event: Event, lab: Lab) -> list[str]:
    """The devices in configfs that an event is about."""
    return [_ident(lab, name) for name in lab.blocks(event.on)]


def _timing(event: Event, lab: Lab) -> Deed:
    attributes = _settings(event, lab)
    words = " ".join(f"{key.removeprefix('medium/')}={value}" for key, value in attributes.items())
    return Deed(f"{event.on} {words}", [("device.set", {"name": n, "attributes": attributes}) for n in _idents(event, lab)])


def _rule(event: Event, lab: Lab) -> Deed:
    rule, enable = event.spec.rule, int(event.spec.enable)
    acts = [("device.switch", {"device": n, "name": rule, "enable": enable}) for n in _idents(event, lab)]
    return Deed(f"{event.on} {rule} {'on' if enable else 'off'}", acts)


def _check_cut(event: Event, lab: Lab) -> Iterator[Problem]:
    """Only loads may stand on it: what else did would be left with a device that is gone."""
    yield from _check_ours(event, lab.objects[event.name].spec)
    for user in lab.users(event.on):
        what = f"{user.path} stands on it, and would lose it for good; cut the power of a device that only loads use"
        yield Problem(f"{event.path}.on", what)


def _cut(event: Event, lab: Lab) -> Deed:
    keys = {"kind": "kv"} if lab.objects[event.name].spec.profile.kind == "kv" else {}
    acts = [("device.cut", {"name": _ident(lab, n), "subnqn": lab.nqn("device", n), **keys}) for n in lab.blocks(event.on)]
    return Deed(f"cut {event.on}", acts)


EVENTS = (
    EventKind("timing", Timing, _timing, _check_timing),
    EventKind("fault", Rule, _rule, _check_rule),
    EventKind("cut", Cut, _cut, _check_cut),
)
KIND = LayerKind("device", Device, check, build, doc="A virtual NVMe device in reserved memory.", events=EVENTS)
