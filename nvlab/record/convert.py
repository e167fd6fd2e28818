# SPDX-License-Identifier: GPL-2.0-or-later
"""On the controller, after a run: text becomes arrays (:mod:`nvlab.record.format`). Repeating it is harmless."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nvlab.record import LAYERS, WORKLOAD
from nvlab.record.fiolog import convert_logs, convert_results
from nvlab.record.format import LAYER_LATENCY, LAYER_LATENCY_DTYPE
from nvlab.record.rundir import RunDir
from nvlab.record.telemetry import convert_samples
from nvlab.record.tracefile import convert_traces


def convert_workload(directory: Path) -> None:
    """Arrays of one workload's directory. Raises StepFailed when fio left no result."""
    described = json.loads((directory / WORKLOAD).read_text(encoding="utf-8"))
    sections = [section["name"] for section in described["sections"]]
    convert_samples(directory, described["watches"])
    convert_traces(directory)
    _convert_layers(directory)
    convert_logs(directory, sections)
    convert_results(directory, sections)


def _convert_layers(directory: Path) -> None:
    """``layers.npy`` of what was counted at the block devices, where it was."""
    counted = directory / LAYERS
    if counted.is_file():
        rows = json.loads(counted.read_text(encoding="utf-8"))["latencies"]
        np.save(directory / LAYER_LATENCY, np.array([tuple(row) for row in rows], LAYER_LATENCY_DTYPE))


def convert_run(path: Path) -> None:
    """Arrays of all workloads of a run directory that ended well."""
    for directory in RunDir(path).stages():
        if json.loads((directory / WORKLOAD).read_text(encoding="utf-8"))["status"] == "ok":
            convert_workload(directory)
