# SPDX-License-Identifier: GPL-2.0-or-later
"""What virtual devices counted during workloads, devices of one name taken together, and whether they kept to their model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from nvlab.analysis.runs import Workload
from nvlab.units import human_time

_LATE = 0.01  # share of commands that a device may complete late


def device_counts(works: Sequence[Workload]) -> dict[str, Counter[str]]:
    """Totals by what a device is called, "ssd (×4)" for four; of those that did something."""
    found: dict[str, Counter[str]] = {}
    names: dict[str, set[str]] = {}
    for layer, counted in (item for work in works for item in work.devices.items()):
        base = layer.partition(".")[0]
        found.setdefault(base, Counter()).update(counted)
        names.setdefault(base, set()).add(layer)
    titles = {base: f"{base} (×{len(layers)})" if len(layers) > 1 else base for base, layers in names.items()}
    return {titles[base]: counts for base, counts in found.items() if any(counts.values())}


def amplification(counts: Mapping[str, int]) -> float | None:
    """Units programmed for each that was written for the host; None where there is no flash, or nothing was written."""
    host = counts.get("host_units", 0)
    return counts["programmed_units"] / host if host else None


def lateness(works: Sequence[Workload]) -> Iterator[str]:
    """Where a device was slower than its model, or missed what it was told of, in sentences."""
    for name, counts in device_counts(works).items():
        late, timed = counts["late"], counts["timed"]
        if late > _LATE * timed:
            yield (
                f"{name} completed {100 * late / timed:.3g} % of its commands more than 1 us after its model's time, all "
                f"{human_time(counts['lateness'] / timed)} after it on average: this machine cannot keep up with the model; "
                "give the device CPUs of its own (cpus = …)"
            )
        if counts["lost"]:
            yield f"{name} waited in vain for {counts['lost']} commands that were announced; meanwhile others may have waited"
