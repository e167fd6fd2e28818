# SPDX-License-Identifier: GPL-2.0-or-later
"""`[workload.x]`: a load, run by ``nvlab run`` in the order of the file. Measured, not built: it has no steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from nvlab.errors import Problem
from nvlab.layers import keyload
from nvlab.layers.base import BLOCK, Built, Lab, LayerKind, Object
from nvlab.layers.fields import Choice, Doc, Duration, Flag, Percent, Ref, Refs, Table, Whole
from nvlab.plan import Layer
from nvlab.workload import keyrun, ledger
from nvlab.workload.course import Course
from nvlab.workload.fio import TargetKind, check_job, job_sections
from nvlab.workload.steady import OF, Limits

NS_PER_S = 10**9


@dataclass(frozen=True, kw_only=True)
class Precondition:
    """What is written to the whole target before its first round: a drive that was never written to answers like no other."""

    fill: Annotated[int, Whole(0, 100), Doc("how many times in order, 128 KiB at a time")] = 2
    random: Annotated[int, Whole(0, 100), Doc("how many times after that at random, 4 KiB at a time")] = 0
    within: Annotated[int, Duration(NS_PER_S, 84 * 3600 * NS_PER_S), Doc("how long this may take")] = 3600 * NS_PER_S


@dataclass(frozen=True, kw_only=True)
class Steady:
    """Rounds until the last of them are alike (SNIA PTS 2.0); those are the result. Each round lasts as long as the job."""

    window: Annotated[int, Whole(2, 100), Doc("how many rounds must be alike")] = 5
    excursion: Annotated[float, Percent(), Doc("largest less smallest of them, in per cent of their mean: at most")] = 20.0
    slope: Annotated[float, Percent(), Doc("change of the line fitted to them, in per cent of their mean: at most")] = 10.0
    most: Annotated[int, Whole(2, 10_000), Doc("rounds after which it is called not steady")] = 25
    of: Annotated[str, Choice(OF), Doc("what is looked at: I/Os per second, or mean latency")] = "iops"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A load."""

    on: Annotated[tuple[str, ...], Refs((*BLOCK, "filesystem")), Doc("its targets; the same load on each in turn")]
    fio: Annotated[dict[str, Any], Table(), Doc("fio's keys (see the reference), or sub-tables: one per section")] = field(
        default_factory=dict
    )
    kv: Annotated[keyload.KeyLoad | None, Doc("of a device with keys, instead of fio: which keys, values, commands")] = None
    baseline: Annotated[str | None, Ref((*BLOCK, "filesystem")), Doc("the target the others are compared with")] = None
    ledger: Annotated[
        bool,
        Flag(),
        Doc("nvlab writes itself, as fio says, keeps a ledger of what was acknowledged, and reads it back when all is over"),
    ] = False
    repeats: Annotated[int, Whole(1, 1000), Doc("how often, interleaved over the targets; intervals come from them")] = 1
    precondition: Annotated[Precondition | None, Doc("writes to all of each target before its first repeat")] = None
    warmup: Annotated[int, Duration(0, 24 * 3600 * NS_PER_S), Doc("how long the load runs before each repeat, uncounted")] = 0
    steady: Annotated[Steady | None, Doc("goes on, round by round, until it is steady")] = None
    seed: Annotated[int, Whole(1, 1 << 31), Doc("seed of fio's random choices")] = 1
    trace: Annotated[bool, Flag(), Doc("log every I/O (latency over time), not only histograms")] = True
    interval: Annotated[int, Duration(10**7, 60 * 10**9), Doc("time between samples of the layers")] = 250_000_000
    layers: Annotated[bool, Flag(), Doc("measure latency at every block device of the lab, in the kernel")] = False


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Workload = obj.spec
    for ref in spec.on:
        target = lab.objects[ref.partition(".")[0]]
        if target.table != "filesystem" and len(lab.blocks(ref)) > 1:
            yield Problem(f"{obj.path}.on", f"{ref!r} is several devices; name one of them: {ref}.1")
        yield from _check_keys(obj, target) if spec.kv or _has_keys(target) else _check_fio(obj, target)
        yield from _check_precondition(obj, target)
    if spec.kv and spec.fio:
        yield Problem(f"{obj.path}.fio", "a load is either of fio's or of keys; leave out fio, or kv")
    if spec.steady and spec.steady.most < spec.steady.window:
        yield Problem(f"{obj.path}.steady.most", f"{spec.steady.most} rounds are never a window of {spec.steady.window}")
    if spec.ledger and spec.kv:
        yield Problem(f"{obj.path}.ledger", "is of blocks, and kv is a load of keys; leave one of them out")
    elif spec.ledger:
        yield from _check_ledger(obj, lab)
    if spec.baseline and spec.baseline not in spec.on:
        yield Problem(f"{obj.path}.baseline", f"{spec.baseline!r} is not among its targets ({', '.join(spec.on)})")


def _check_precondition(obj: Object, target: Object) -> Iterator[Problem]:
    if obj.spec.precondition and target.table == "filesystem":
        yield Problem(f"{obj.path}.precondition", f"{target.name} is a file system, and all of it cannot be written")
    if obj.spec.precondition and _zoned(target):
        yield Problem(f"{obj.path}.precondition", f"{target.name} has zones, which are written by loads of their own alone")
    if obj.spec.precondition and _has_keys(target):
        yield Problem(f"{obj.path}.precondition", f"writes blocks, and {target.name} has keys, which are stored before the load")


def _has_keys(target: Object) -> bool:
    return target.table == "device" and target.spec.profile.kind == "kv"


def _check_keys(obj: Object, target: Object) -> Iterator[Problem]:
    """Only a device with keys takes keys, and it takes nothing else."""
    spec: Workload = obj.spec
    if not _has_keys(target):
        yield Problem(f"{obj.path}.kv", f"{target.name!r} has no keys: no device with a profile of kind kv")
    elif not spec.kv:
        yield Problem(f"{obj.path}.kv", f"is missing: {target.name!r} has keys, and fio writes blocks")
    else:
        yield from keyload.check(f"{obj.path}.kv", spec.kv, (target.spec.profile.model | target.spec.medium)["kv_value"] << 10)


def _check_fio(obj: Object, target: Object) -> Iterator[Problem]:
    kind: TargetKind = "directory" if target.table == "filesystem" else "device"
    yield from check_job(obj.spec.fio, f"{obj.path}.fio", kind)


def not_live(obj: Object) -> Iterator[Problem]:
    """What can be simulated and not run."""
    kv = obj.spec.kv
    if kv and kv.iodepth * kv.numjobs > keyrun.MOST:
        what = f"each command in flight of a live load is a process, and {keyrun.MOST} is the limit of iodepth × numjobs"
        yield Problem(f"{obj.path}.kv.iodepth", what)


def _zoned(target: Object) -> bool:
    return target.table == "device" and target.spec.profile.kind == "zns"


def _check_ledger(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Workload = obj.spec
    for ref in spec.on:
        target = lab.objects[ref.partition(".")[0]]
        if target.table == "filesystem":
            yield Problem(f"{obj.path}.on", f"{ref!r} is a file system; a ledger is of a block device")
        elif _zoned(target):
            yield Problem(f"{obj.path}.on", f"{ref!r} has zones, which are written in order alone; a ledger's load is not")
    if spec.steady:
        said = "a ledger says what is there in the end, not how fast, and every round would begin another; leave one of them out"
        yield Problem(f"{obj.path}.steady", said)
    if not check_job(spec.fio, ""):  # what is wrong with it otherwise is said already
        yield from ledger.check(job_sections(spec.fio, obj.name), f"{obj.path}.fio")


def build(obj: Object, lab: Lab) -> Built:
    return Built((), Layer(obj.path, ""))


def runs(obj: Object, lab: Lab) -> Iterator[Mapping[str, Any]]:
    """What the recorder is to run: one entry per target and repeat, interleaved; target paths as references."""
    spec: Workload = obj.spec
    for turn in range(spec.repeats):
        for ref in spec.on:
            target = lab.objects[ref.partition(".")[0]]
            directory = target.table == "filesystem"
            path = f"{{{target.name}.dir}}" if directory else lab.devs([ref])[0]
            suffix = f"-{ref}" if len(spec.on) > 1 else ""
            yield {
                "name": f"{obj.name}{suffix}" + (f"-{turn + 1}" if spec.repeats > 1 else ""),
                "target": {"kind": "directory" if directory else "device", "path": path},
                "table": spec.fio,
                "load": obj.name,
                "variant": ref,
                "baseline": len(spec.on) > 1 and ref == (spec.baseline or spec.on[-1]),
                "repeat": turn,
                "seed": spec.seed + turn,
                "trace": spec.trace,
                "interval": spec.interval / 1e9,
                "course": course(spec, first=turn == 0).to_json(),
                **({"ledger": True} if spec.ledger else {}),
                **({"kv": asdict(spec.kv) | {"value": list(spec.kv.value)}} if spec.kv else {}),
                **({"layers": True, "stack": lab.stack(ref)} if spec.layers else {}),
            }


def course(spec: Workload, *, first: bool) -> Course:
    """What comes before and between; a target is preconditioned before its ``first`` repeat alone."""
    filled = spec.precondition if first else None
    return Course(
        fill=filled.fill if filled else 0,
        random=filled.random if filled else 0,
        within=filled.within / 1e9 if filled else 0,
        warmup=spec.warmup / 1e9,
        steady=Limits(**vars(spec.steady)) if spec.steady else None,
    )


KIND = LayerKind("workload", Workload, check, build, watch="", doc="A load: fio's, or one of keys and values.")
