# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user waits for: the guest, a lab's `up`, `run`, `report` and `down`, in guests of its own.

Seconds: median (range) of the rounds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nvlab.nodes.vm import Guest

ROOT = Path(__file__).parents[1]
LAB = "hybrid-nvme"
ROUNDS = 3


def seconds(*words: str) -> float:
    """How long one invocation of nvlab takes."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "nvlab", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def measure() -> dict[str, list[float]]:
    """Each act, once a round: in a guest that is not there yet, then in one that is."""
    taken: dict[str, list[float]] = {}

    def note(what: str, value: float) -> None:
        taken.setdefault(what, []).append(value)

    scenario = f"scenarios/{LAB}.toml"
    for _ in range(ROUNDS):
        note("--help", seconds("--help"))
        note("validate", seconds("validate", scenario))
        note("plan", seconds("plan", scenario))
        note("up, guest included", seconds("up", scenario))
        note("guest, until its engine answers", Guest("default").record["boot_seconds"])
        note("down, guest kept", seconds("down", LAB, "--keep"))
        note("up, in a guest that runs", seconds("up", scenario))
        note("run, 40 s of load", seconds("run", LAB))
        note("report of that run", seconds("report", LAB))
        note("down, guest and all", seconds("down", LAB))
    return taken


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nvlab-bench-") as state:
        os.environ |= {"NVLAB_STATE": state, "NVLAB_RUNS": f"{state}/runs"}
        for what, values in measure().items():
            low, high = min(values), max(values)
            print(f"{what:<34}{statistics.median(values):6.2f} s  ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
