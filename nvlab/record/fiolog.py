# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's results to arrays: its latency logs to ``latency.npy``, its JSON+ to ``histogram.npy`` and ``results.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvlab.record.accounts import grown_in
from nvlab.record.buckets import bucket_of
from nvlab.record.fioresult import read_json
from nvlab.record.format import HISTOGRAM, HISTOGRAM_DTYPE, KINDS, LATENCY, LATENCY_DTYPE, OPS, RESULTS
from nvlab.workload.fio import LOG_DIR, RESULT

_LOG_NAME = re.compile(r"(.+)_lat\.(\d+)\.log")
_FIO_NAME = {"total": "lat_ns", "completion": "clat_ns"}
_CHUNK = 16 << 20  # bytes of log read at a time
NS_PER_MS = 1_000_000


def convert_logs(directory: Path, sections: Sequence[str]) -> int:
    """Write ``latency.npy`` from fio's logs, ordered by time; the number of I/Os."""
    parts = [part for index, name in enumerate(sections) for part in _section_parts(directory / LOG_DIR, index, name)]
    records = np.concatenate(parts) if parts else np.empty(0, LATENCY_DTYPE)
    order = np.argsort(records["t"], kind="stable")
    np.save(directory / LATENCY, records[order])
    return len(records)


def _section_parts(logs: Path, section: int, name: str) -> Iterator[NDArray[np.void]]:
    numbered = {int(m[2]): path for path in logs.iterdir() if (m := _LOG_NAME.fullmatch(path.name)) and m[1] == name}
    first = min(numbered, default=0)  # fio numbers the jobs of all sections through
    for number, path in sorted(numbered.items()):
        for table in _read_log(path):
            yield _records(table, section, number - first)


def _records(table: NDArray[np.int64], section: int, job: int) -> NDArray[np.void]:
    records = np.empty(len(table), LATENCY_DTYPE)
    records["t"] = table[:, 0] * NS_PER_MS
    records["latency"] = table[:, 1]
    records["op"] = table[:, 2]
    records["size"] = table[:, 3]
    records["section"] = section
    records["job"] = job
    return records


def _read_log(path: Path) -> Iterator[NDArray[np.int64]]:
    """The lines of a log as rows of integers: ms, ns, direction, bytes, ..."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK) + file.readline():
            columns = chunk.partition(b"\n")[0].count(b",") + 1
            values = np.fromstring(chunk.replace(b"\n", b",").decode("ascii"), dtype=np.int64, sep=",")
            yield values.reshape(-1, columns)


def convert_results(directory: Path, sections: Sequence[str]) -> None:
    """Write ``histogram.npy`` and ``results.json`` from fio's JSON+. Without a result there are none of either."""
    report = read_json(directory / RESULT)
    results, rows = [], []
    for job in report.get("jobs", ()):
        section = sections.index(job["jobname"])
        for op, name in enumerate(OPS):
            if job.get(name, {}).get("total_ios"):
                results.append(
                    {"section": section, "op": name, "errors": job.get("total_err", 0)} | _summary(job[name])
                )
                rows += _histogram_rows(job[name], section, op)
    np.save(directory / HISTOGRAM, np.array(rows, HISTOGRAM_DTYPE))
    described = {"fio": report.get("fio version", ""), "results": results, "disk_util": report.get("disk_util", [])}
    described["devices"] = grown_in(directory)
    (directory / RESULTS).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _summary(part: Mapping[str, Any]) -> dict[str, Any]:
    """What fio says of one direction; rates are recomputed from counts, since fio rounds them."""
    runtime = int(part["runtime"]) * NS_PER_MS
    latency = {kind: {k: part[key][k] for k in ("min", "max", "mean", "stddev")} for kind, key in _FIO_NAME.items()}
    return {
        "ios": part["total_ios"],
        "bytes": part["io_bytes"],
        "runtime_ns": runtime,
        "iops": part["total_ios"] * 1e9 / runtime if runtime else 0.0,
        "bytes_per_s": part["io_bytes"] * 1e9 / runtime if runtime else 0.0,
        **latency,
    }


def _histogram_rows(part: Mapping[str, Any], section: int, op: int) -> list[tuple[int, int, int, int, int]]:
    rows = []
    for kind, name in enumerate(KINDS):
        bins = part[_FIO_NAME[name]].get("bins", {})
        buckets = bucket_of(np.array([int(value) for value in bins], np.uint64))
        rows += [(section, op, kind, int(b), int(n)) for b, n in zip(buckets, bins.values(), strict=True)]
    return rows
