# SPDX-License-Identifier: GPL-2.0-or-later
"""What one waits for after a run: ten million I/Os read and summed up, a report; and what a command line costs.

Seconds: median (range) of the rounds, and how many of them a processor was at it, as others may have it meanwhile. Each runs in
a process of its own, whose memory is told at its peak; so this one imports nothing large, as a child begins with its parent's.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 3
MAKES_IT = """
import sys
import numpy as np
from nvlab.record.format import LATENCY_DTYPE
rng, n = np.random.default_rng(1), 10_000_000
trace = np.lib.format.open_memmap(sys.argv[1], "w+", LATENCY_DTYPE, (n,))
trace["t"] = np.arange(n) * 10_000  # ns: 100,000 I/Os per second
trace["latency"] = 80_000 * rng.lognormal(0, 0.5, n)
trace["op"] = rng.integers(0, 2, n)
trace["size"] = 4096
"""
READS_IT = """
import sys
import numpy as np
from nvlab.analysis.hist import Histogram
from nvlab.analysis.series import throughput
trace = np.load(sys.argv[1], mmap_mode="r")
latencies = Histogram.of(trace["latency"])
print([latencies.percentile(p) for p in (50, 99, 99.9, 99.99)], len(latencies.cdf()[0]))
print(throughput(trace, 1.0, 0, int(trace["t"][-1])).iops.mean())
"""
SIMULATED = """
schema = 1
[device.a]
profile = "optane"
size = "64M"
[device.b]
profile = "tlc-enterprise"
size = "64M"
[workload.reads]
on = ["a", "b"]
fio = { rw = "randread", bs = "4k", iodepth = 8, runtime = "10s" }
[workload.mixed]
on = ["a", "b"]
fio = { rw = "randrw", bs = "4k", iodepth = 8, runtime = "10s" }
"""


def once(argv: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Seconds by the clock and of a processor, and MiB at its peak, of a process."""
    started = time.monotonic()
    process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(argv)}: {status}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def tell(what: str, *argv: str, **environment: str) -> None:
    """A line about what a process costs."""
    rounds = [once([sys.executable, *argv], os.environ | environment) for _ in range(ROUNDS)]
    seconds, processor, memory = zip(*rounds, strict=True)
    clock = f"{statistics.median(seconds):6.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})"
    print(f"{what:<40}{clock}, processor {statistics.median(processor):5.2f} s, {max(memory):5.0f} MiB", flush=True)


def main() -> None:
    scenario = "scenarios/hybrid-nvme.toml"
    tell("nvlab --help", "-m", "nvlab", "--help")
    tell("nvlab validate", "-m", "nvlab", "validate", scenario)
    tell("nvlab plan", "-m", "nvlab", "plan", scenario)
    with tempfile.TemporaryDirectory(prefix="nvlab-bench-") as place:
        once([sys.executable, "-c", MAKES_IT, f"{place}/trace.npy"], dict(os.environ))
        tell("10 million I/Os: tails, CDF, throughput", "-c", READS_IT, f"{place}/trace.npy")
        Path(place, "lab.toml").write_text(SIMULATED)
        runs = {"NVLAB_RUNS": f"{place}/runs"}
        once([sys.executable, "-m", "nvlab", "simulate", f"{place}/lab.toml"], os.environ | runs)
        tell("nvlab report, of 2 loads on 2 devices", "-m", "nvlab", "report", **runs)


if __name__ == "__main__":
    main()
