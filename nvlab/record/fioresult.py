# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's JSON+, as the node must read it too: stdlib only."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from nvlab.errors import StepFailed
from nvlab.workload.fio import RESULT
from nvlab.workload.steady import value_of

_DIRECTIONS = ("read", "write", "trim", "delete", "exist", "list")  # of nvlab.record.format.OPS


def read_json(path: Path) -> dict[str, Any]:
    """fio's JSON, which its notes may precede. Raises StepFailed when there is none."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    start = re.search(r"^\{", text, re.M)
    try:
        report: dict[str, Any] = json.loads(text[start.start() :] if start else "")
    except json.JSONDecodeError as error:
        raise StepFailed(f"{path} holds no result of fio: {error}", hint="fio.err beside it says why") from error
    return report


def value_in(directory: Path, of: str) -> float:
    """What the round recorded in ``directory`` counts as (:func:`nvlab.workload.steady.value_of`). Raises StepFailed."""
    jobs = read_json(directory / RESULT).get("jobs", ())
    parts = [job[name] for job in jobs for name in _DIRECTIONS if job.get(name, {}).get("total_ios")]
    return value_of(of, [{"ios": p["total_ios"], "iops": p["iops"], "mean": p["lat_ns"]["mean"]} for p in parts])
