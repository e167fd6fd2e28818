# SPDX-License-Identifier: GPL-2.0-or-later
"""`[workload.x]`: a load that fio makes, run by ``nvlab run`` in the order of the file. Measured, not built: it has no steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from nvlab.errors import Problem
from nvlab.layers.base import BLOCK, Built, Lab, LayerKind, Object
from nvlab.layers.fields import Doc, Duration, Flag, Ref, Refs, Table, Whole
from nvlab.plan import Layer
from nvlab.workload.fio import TargetKind, check_job


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A load."""

    on: Annotated[tuple[str, ...], Refs((*BLOCK, "filesystem")), Doc("its targets; the same load on each in turn")]
    fio: Annotated[dict[str, Any], Table(), Doc("fio's keys (see the reference), or sub-tables: one per section")] = field(
        default_factory=dict
    )
    baseline: Annotated[str | None, Ref((*BLOCK, "filesystem")), Doc("the target the others are compared with")] = None
    rounds: Annotated[int, Whole(1, 1000), Doc("how often, interleaved over the targets")] = 1
    seed: Annotated[int, Whole(1, 1 << 31), Doc("seed of fio's random choices")] = 1
    trace: Annotated[bool, Flag(), Doc("log every I/O (latency over time), not only histograms")] = True
    interval: Annotated[int, Duration(10**7, 60 * 10**9), Doc("time between samples of the layers")] = 250_000_000


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Workload = obj.spec
    for ref in spec.on:
        target = lab.objects[ref.partition(".")[0]]
        if target.table != "filesystem" and len(lab.blocks(ref)) > 1:
            yield Problem(f"{obj.path}.on", f"{ref!r} is several devices; name one of them: {ref}.1")
        kind: TargetKind = "directory" if target.table == "filesystem" else "device"
        yield from check_job(spec.fio, f"{obj.path}.fio", kind)
    if spec.baseline and spec.baseline not in spec.on:
        yield Problem(f"{obj.path}.baseline", f"{spec.baseline!r} is not among its targets ({', '.join(spec.on)})")


def build(obj: Object, lab: Lab) -> Built:
    return Built((), Layer(obj.path, ""))


def runs(obj: Object, lab: Lab) -> Iterator[Mapping[str, Any]]:
    """What the recorder is to run: one entry per target and round, interleaved; target paths as references."""
    spec: Workload = obj.spec
    for turn in range(spec.rounds):
        for ref in spec.on:
            target = lab.objects[ref.partition(".")[0]]
            directory = target.table == "filesystem"
            path = f"{{{target.name}.dir}}" if directory else lab.devs([ref])[0]
            suffix = f"-{ref}" if len(spec.on) > 1 else ""
            yield {
                "name": f"{obj.name}{suffix}" + (f"-{turn + 1}" if spec.rounds > 1 else ""),
                "target": {"kind": "directory" if directory else "device", "path": path},
                "table": spec.fio,
                "load": obj.name,
                "variant": ref,
                "baseline": len(spec.on) > 1 and ref == (spec.baseline or spec.on[-1]),
                "round": turn,
                "seed": spec.seed + turn,
                "trace": spec.trace,
                "interval": spec.interval / 1e9,
            }


KIND = LayerKind("workload", Workload, check, build, watch="", doc="A load that fio makes.")
