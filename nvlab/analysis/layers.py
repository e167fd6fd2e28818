# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a workload's bytes went: the traffic of every watched block device, devices of one name taken together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nvlab.analysis.runs import Watched, Workload
from nvlab.analysis.series import Traffic, traffic

_IDLE = 0.005  # of the workload's bytes: less than that is housekeeping of somebody else


@dataclass(frozen=True)
class LayerTraffic:
    """One layer: its requests, and its bytes for each byte of the workload."""

    title: str
    traffic: Traffic
    read: float
    written: float


def layer_traffic(workload: Workload) -> list[LayerTraffic]:
    """The layers that a workload reached, from the top of the stack down: a scenario is written from the bottom up."""
    moved = sum(result["bytes"] for result in workload.results)
    groups: dict[str, list[Watched]] = {}
    for watch in workload.watched:
        if watch.kind == "block":
            groups.setdefault(watch.layer.partition(".")[0], []).append(watch)
    found = [_layer(workload, name, watches, moved) for name, watches in reversed(groups.items())]
    return [layer for layer in found if layer.read + layer.written > _IDLE]


def _layer(workload: Workload, name: str, watches: Sequence[Watched], moved: int) -> LayerTraffic:
    parts = [traffic(workload.samples_of(watch)) for watch in watches]
    total = _together(parts)
    title = f"{name} (×{len(parts)})" if len(parts) > 1 else name
    return LayerTraffic(title, total, total.read_bytes / max(moved, 1), total.write_bytes / max(moved, 1))


def _together(parts: Sequence[Traffic]) -> Traffic:
    requests = [part.reads + part.writes for part in parts]
    waited = sum(part.wait * n for part, n in zip(parts, requests, strict=True) if n)
    return Traffic(
        reads=sum(p.reads for p in parts),
        read_bytes=sum(p.read_bytes for p in parts),
        writes=sum(p.writes for p in parts),
        write_bytes=sum(p.write_bytes for p in parts),
        flushes=sum(p.flushes for p in parts),
        wait=waited / sum(requests) if sum(requests) else float("nan"),
    )
