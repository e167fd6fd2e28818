# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells of a sweep out of fio's JSON: any jobs of one direction, one block size and one depth each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvlab.calibrate.cells import DIRECTIONS, PERCENTILES, Cell, Sweep, gathered
from nvlab.errors import UsageError
from nvlab.record.fioresult import read_json
from nvlab.units import parse_size
from nvlab.workload.keys import ONE_AT_A_TIME

_SAME = {"readrandom": "randread", "writerandom": "randwrite"}
MAX_DEPTH = 65536
Measured = tuple[Cell, NDArray[np.float64]]


def read_sweep(paths: Sequence[Path]) -> tuple[Sweep, list[str]]:
    """The sweep in files of fio's JSON, or in directories of them; and a line on each job that is no cell, with why.

    Raises UsageError where nothing is left, StepFailed for a file without a result of fio.
    """
    found: list[Measured] = []
    notes: list[str] = []
    for path in _files(paths):
        report = read_json(path)
        for job in report.get("jobs", ()):
            try:
                found.append(_measured({**report.get("global options", {}), **job.get("job options", {})}, job))
            except (ValueError, KeyError, TypeError) as error:
                notes.append(f"{path}, job {job.get('jobname', '?')}: {error}; left out")
    if not found:
        raise UsageError(
            "\n".join(["there is no cell of a sweep in what was named", *(f"  {note}" for note in notes)]),
            hint="name JSON of fio (--output-format=json) of jobs with one rw, bs and iodepth each",
        )
    return gathered(found), notes


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inner = sorted(path.rglob("*.json"))
            if not inner:
                raise UsageError(f"{path} has no *.json in it", hint="name fio's results, or a directory of them")
            yield from inner
        elif path.exists():
            yield path
        else:
            raise UsageError(f"{path} does not exist", hint="name fio's results, or a directory of them")


def _measured(options: Mapping[str, str], job: Mapping[str, Any]) -> Measured:
    """The cell of a job and its figures. Raises ValueError for one that is none."""
    cell = _cell(options)
    side = job["read" if cell.reads else "write"]
    if job.get("error"):
        raise ValueError(f"fio reports error {job['error']}")
    if not side["total_ios"]:
        raise ValueError("no I/O was done")
    total = side["lat_ns"]
    percentiles = total.get("percentile") or side.get("clat_ns", {}).get("percentile") or {}
    iops = side["iops"] if _once(options, job) else cell.qd * 1e9 / total["mean"]
    latencies = [float(percentiles.get(f"{p:.6f}", np.nan)) for p in PERCENTILES]
    return cell, np.log(np.maximum(1.0, [iops, *latencies]))


def _once(options: Mapping[str, str], job: Mapping[str, Any]) -> bool:
    """Whether the figures are of all jobs of the cell: a single one, or all reported as one."""
    return options.get("numjobs", "1") == "1" or "group_reporting" in options


def _cell(options: Mapping[str, str]) -> Cell:
    rw = options.get("rw", options.get("readwrite", "read"))
    rw = _SAME.get(rw, rw)
    if rw not in DIRECTIONS:
        raise ValueError(f"rw={rw} is none of {', '.join(DIRECTIONS)}")
    for key in ("rate", "rate_iops", "thinktime", "bssplit", "bsrange", "zonemode"):
        if options.get(key, "none") != "none":
            raise ValueError(f"with {key} it is no closed loop of one block size")
    text = options.get("bs", options.get("blocksize", "4k"))
    alone = options.get("ioengine", "psync") in ONE_AT_A_TIME
    depth = (1 if alone else int(options.get("iodepth", "1"))) * int(options.get("numjobs", "1"))
    if not rw.startswith("rand") and options.get("numjobs", "1") != "1":
        raise ValueError(f"{options['numjobs']} jobs in order are no load of one depth")
    if not 0 < depth <= MAX_DEPTH:
        raise ValueError(f"a depth of {depth} is not 1 to {MAX_DEPTH}")
    size = parse_size(text)
    if size % 512 or not 512 <= size <= 1 << 21:
        raise ValueError(f"bs={text} is not a multiple of 512 bytes up to 2 MiB")
    return Cell(rw, size, depth)
