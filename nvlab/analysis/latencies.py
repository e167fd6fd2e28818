# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the time of a load went: latency at every block device, counted in the kernel, devices of one name taken together.

What a device is given (a bio) is with it, or with what is below it, from when it gets it until it ends it. The kernel's NVMe
target is a layer of its own, right above the devices that it exports.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nvlab.analysis.hist import Histogram
from nvlab.analysis.runs import Workload
from nvlab.record import LAYERS
from nvlab.record.blockprobe import KINDS, OPS

_FEW = 0.005  # of the load's I/Os: less than that is housekeeping of somebody else
_SLACK = 1.1  # what is waited for may look a little slower: a layer below has some I/O of its own, too
FIO = "fio"
PERF = "perf"  # the other way to count (nvlab.record.blocktrace)
LATENCY_HEAD = ("for each I/O", "mean", "p50", "p99", "p99.9", "adds", "in the driver")


@dataclass(frozen=True, eq=False)
class LayerLatency:
    """One direction at one layer. Latencies in ns.

    ``whole``: of bios, at this layer and below; ``driver``: of requests, from their start in the driver to their completion,
    empty where a layer has none. ``below``: the mean of the slowest layer right below that is not slower than this one (by more
    than a tenth), 0 where there is none: what is slower is not waited for. ``per_io``: bios for each I/O of the load.
    """

    layer: str
    title: str
    op: str
    per_io: float
    whole: Histogram
    driver: Histogram
    below: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.title}, {self.op}"

    @property
    def added(self) -> float:
        """Mean ns that the layer adds to what is below it."""
        return self.whole.mean() - self.below


def layer_latencies(works: Sequence[Workload]) -> list[LayerLatency]:
    """The layers that a load reached over all its repeats on one target, by direction, from the top of the stack down."""
    if not len(works[0].layers):
        return []
    ios = sum(result["ios"] for work in works for result in work.results)
    found = list(_load(works, ios))
    for name, members in layer_order(works[0]).items():
        title = f"{name} (×{len(members)})" if len(members) > 1 else name
        target = next((_target(works[0].exported[each]) for each in members if each in works[0].exported), "")
        for op in OPS:
            whole, driver, commands = (_merged(works, members, kind, op) for kind in KINDS)
            if commands.total > _FEW * ios:
                found.append(LayerLatency(target, target, op, commands.total / max(ios, 1), commands, Histogram.empty()))
            if whole.total > _FEW * ios:
                found.append(LayerLatency(name, title, op, whole.total / max(ios, 1), whole, driver))
    return [_with_below(one, found, works[0]) for op in OPS for one in found if one.op == op]


def _load(works: Sequence[Workload], ios: int) -> Iterator[LayerLatency]:
    """The load's own figures, from submission to completion, as if it were a layer."""
    for op in OPS:
        parts = [(work, r["section"]) for work in works for r in work.results if r["op"] == op]
        whole = Histogram.merge(work.total_latency(section, OPS.index(op)) for work, section in parts)
        if whole.total:
            yield LayerLatency(FIO, FIO, op, whole.total / ios, whole, Histogram.empty())


def layer_order(work: Workload) -> dict[str, list[str]]:
    """{layer: its devices} below the target of a load, the target first, each layer after all that are on it."""
    depth: dict[str, int] = {}

    def sink(name: str, at: int) -> None:
        depth[name] = max(depth.get(name, 0), at)
        for lower in work.below.get(name, ()):
            sink(lower, at + 1)

    sink(work.target, 0)
    order: dict[str, list[str]] = {}
    for name in sorted(depth, key=lambda name: depth[name]):
        order.setdefault(_layer(name), []).append(name)
    return order


def _layer(name: str) -> str:
    return name.partition(".")[0]


def _target(export: str) -> str:
    return f"{export} (target)"


def _lower(layer: str, work: Workload) -> set[str]:
    """The layers right below one: of a connection the target, and what that exports."""
    names = {name for upper, below in work.below.items() if _layer(upper) == layer for name in below}
    names |= {work.target} if layer == FIO else set()
    targets = {_target(work.exported[name]) for name in names if name in work.exported}
    behind = {_layer(name) for name, export in work.exported.items() if layer == _target(export)}
    return {_layer(name) for name in names} | targets | behind


def _merged(works: Sequence[Workload], members: Sequence[str], kind: str, op: str) -> Histogram:
    return Histogram.merge(_histogram(work, members, kind, op) for work in works)


def _histogram(work: Workload, members: Sequence[str], kind: str, op: str) -> Histogram:
    rows = work.layers
    mine = rows[(rows["kind"] == KINDS.index(kind)) & (rows["op"] == OPS.index(op))]
    places = {watch.index for watch in work.watched if watch.kind == "block" and watch.layer in members}
    kept = [row["watch"] in places for row in mine]
    return Histogram.of_buckets(mine["bucket"][kept], mine["count"][kept])


def _with_below(one: LayerLatency, all_of_them: Sequence[LayerLatency], work: Workload) -> LayerLatency:
    lower = _lower(one.layer, work)
    means = [other.whole.mean() for other in all_of_them if other.layer in lower and other.op == one.op]
    own = one.whole.mean()
    below = max((min(mean, own) for mean in means if mean <= _SLACK * own), default=0.0)
    return LayerLatency(one.layer, one.title, one.op, one.per_io, one.whole, one.driver, below)


def uncounted(works: Sequence[Workload]) -> Iterator[str]:
    """What must be said of how latencies were counted, and of those that were not."""
    said = [json.loads((work.path / LAYERS).read_text(encoding="utf-8")) for work in works if (work.path / LAYERS).is_file()]
    if any(one.get("way") == PERF for one in said):
        yield "latencies at the layers are out of records of each I/O, which cost IOPS: the kernel does not describe its types"
    for why in {one["left_out"] for one in said if one.get("left_out")}:
        yield f"the target is not among the layers: {why}"
    left_out = sum(one["lost"] + one["missed"] for one in said)
    counted = sum(row[-1] for one in said for row in one["latencies"])
    if left_out > 0.001 * counted:
        yield f"{left_out} of {counted + left_out} latencies at the layers were not counted"
