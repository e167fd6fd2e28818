# SPDX-License-Identifier: GPL-2.0-or-later
"""What a simulated load leaves in its directory of a run, in the format of a live one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvlab.record import EVENTS, JOB, SAMPLES, WORKLOAD
from nvlab.record.buckets import bucket_of
from nvlab.record.format import HISTOGRAM, HISTOGRAM_DTYPE, KINDS, LATENCY, LATENCY_DTYPE, OPS, RESULTS
from nvlab.record.recorder import write_json
from nvlab.record.telemetry import convert_samples
from nvlab.sim import Device
from nvlab.sim.device import WITH_SSD
from nvlab.workload.steady import value_of


@dataclass(frozen=True)
class Piece:
    """What one job of one section did: all of shape (n,), times in ns."""

    section: int
    job: int
    t: NDArray[np.uint64]
    latency: NDArray[np.uint64]
    op: NDArray[np.uint8]
    size: NDArray[np.uint32]


def describe(directory: Path, facts: Mapping[str, Any], job: str, began: int, ended: int) -> None:
    """Write what was asked and how it ended, as the recorder does of a live one: ``facts`` are of ``workload.json``."""
    always = {"engine": "nvlab.sim", "trace": True, "watches": [], "traces": [], "status": "ok"}
    (directory / JOB).write_text(job, encoding="utf-8")
    write_json(directory / WORKLOAD, {**facts, **always, "started": began, "ended": ended})
    events = [{"t": began, "kind": "start"}, *_told(facts.get("events", ())), {"t": ended, "kind": "end"}]
    (directory / EVENTS).write_text("".join(json.dumps(e) + "\n" for e in events), encoding="utf-8")
    (directory / SAMPLES).write_text("", encoding="utf-8")


def _told(outcomes: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of what became of events, what a log says of them."""
    for outcome in sorted((o for o in outcomes if o["begun"] is not None), key=lambda o: int(o["begun"])):
        said = {key: outcome[key] for key in ("owner", "label")}
        yield {"t": outcome["begun"], "kind": "event", **said}
        yield {"t": outcome["ended"], "kind": "event-end", **said, "result": outcome["result"], "found": outcome["found"]}


def value_in(directory: Path, of: str) -> float:
    """What a recorded round counts as (:func:`nvlab.workload.steady.value_of`)."""
    results = json.loads((directory / RESULTS).read_text(encoding="utf-8"))["results"]
    return value_of(of, [{"ios": r["ios"], "iops": r["iops"], "mean": r["total"]["mean"]} for r in results])


def totals(device: Device) -> dict[str, int]:
    """Whatever a device counts; the accounts of those with an SSD inside alone."""
    return device.counters() | accounts(device)


def accounts(device: Device) -> dict[str, int]:
    return device.stats() if device.config.kind in WITH_SSD else {}


def write_results(directory: Path, pieces: Sequence[Piece], device: Device, counted: Mapping[str, Mapping[str, int]]) -> None:
    """Write a workload's latencies, histogram and results into its directory, as a live run's conversion does.

    ``counted`` {name of a device: {what it counted meanwhile: how much}}.
    """
    records = np.concatenate([np.empty(0, LATENCY_DTYPE), *map(_latencies, pieces)])
    np.save(directory / LATENCY, records[np.argsort(records["t"], kind="stable")])
    results, rows = [], []
    for section, op in sorted({(int(s), int(o)) for s, o in np.unique(records[["section", "op"]]).tolist()}):
        mine = records[(records["section"] == section) & (records["op"] == op)]
        results.append({"section": section, "op": OPS[op], "errors": 0} | _summary(mine))
        buckets, counts = np.unique(bucket_of(mine["latency"]), return_counts=True)
        for kind in range(len(KINDS)):
            rows += [(section, op, kind, int(b), int(n)) for b, n in zip(buckets, counts, strict=True)]
    convert_samples(directory, [])
    np.save(directory / HISTOGRAM, np.array(rows, HISTOGRAM_DTYPE))
    described = {"fio": "", "results": results, "disk_util": [], "devices": counted}
    described |= {"accounts": accounts(device), "counters": device.counters()}
    (directory / RESULTS).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _latencies(piece: Piece) -> NDArray[np.void]:
    records = np.empty(len(piece.t), LATENCY_DTYPE)
    records["section"], records["job"] = piece.section, piece.job
    records["t"], records["latency"], records["op"], records["size"] = piece.t, piece.latency, piece.op, piece.size
    return records


def _summary(mine: NDArray[np.void]) -> dict[str, Any]:
    latency = mine["latency"].astype(np.float64)
    runtime = int(mine["t"].max()) - int((mine["t"] - mine["latency"].astype(np.int64)).min())
    size = int(mine["size"].sum(dtype=np.int64))
    said = {
        "min": int(latency.min()),
        "max": int(latency.max()),
        "mean": float(latency.mean()),
        "stddev": float(latency.std()),
    }
    return {
        "ios": len(mine),
        "bytes": size,
        "runtime_ns": runtime,
        "iops": len(mine) * 1e9 / runtime if runtime else 0.0,
        "bytes_per_s": size * 1e9 / runtime if runtime else 0.0,
        **dict.fromkeys(KINDS, said),
    }
