# SPDX-License-Identifier: GPL-2.0-or-later
"""On the controller, after a run: text becomes arrays (:mod:`nvlab.record.format`). Repeating it is harmless."""

from __future__ import annotations

import json
from pathlib import Path

from nvlab.record import WORKLOAD, WORKLOADS
from nvlab.record.fiolog import convert_logs, convert_results
from nvlab.record.telemetry import convert_samples
from nvlab.record.tracefile import convert_traces


def convert_workload(directory: Path) -> None:
    """Arrays of one workload's directory. Raises StepFailed when fio left no result."""
    described = json.loads((directory / WORKLOAD).read_text(encoding="utf-8"))
    sections = [section["name"] for section in described["sections"]]
    convert_samples(directory, described["watches"])
    convert_traces(directory)
    convert_logs(directory, sections)
    convert_results(directory, sections)


def convert_run(path: Path) -> None:
    """Arrays of all workloads of a run directory that ended well."""
    for directory in sorted((path / WORKLOADS).iterdir()):
        described = directory / WORKLOAD
        if described.is_file() and json.loads(described.read_text(encoding="utf-8"))["status"] == "ok":
            convert_workload(directory)
