# SPDX-License-Identifier: GPL-2.0-or-later
"""What fio would say in JSON+ of I/Os that others than fio did. Pure, stdlib only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any


def direction(log: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """One direction of a job: ``log`` has of each I/O its end and its latency in ns, and its bytes; at least one of them."""
    took = [latency for _, latency, _ in log]
    mean = sum(took) / len(took)
    spread = (sum((latency - mean) ** 2 for latency in took) / len(took)) ** 0.5
    said = {"min": min(took), "max": max(took), "mean": mean, "stddev": spread, "bins": dict(Counter(took))}
    began = min(end - latency for end, latency, _ in log)
    runtime = max(1, (max(end for end, _, _ in log) - began) // 1_000_000)
    total = {"total_ios": len(took), "io_bytes": sum(size for _, _, size in log), "runtime": runtime}
    return {**total, "iops": 1000 * len(took) / runtime, "lat_ns": said, "clat_ns": said}
