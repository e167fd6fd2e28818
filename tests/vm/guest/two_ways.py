# SPDX-License-Identifier: GPL-2.0-or-later
"""Latencies of one load at the layers of a lab that is up, counted in both ways at once. Prints what each has counted.

Arguments: the watches of a run's ``workload.json``, the device to write to.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from nvlab.record.blocktrace import BlockTracer
from nvlab.record.samplers import Watch

LOAD = ["--rw=randwrite", "--bs=4k", "--iodepth=2", "--ioengine=libaio", "--direct=1", "--time_based", "--runtime=4", "--size=8M"]


def main() -> None:
    watches = [Watch(**watch) for watch in json.loads(sys.argv[1])]
    tracers = [BlockTracer(watches, way) for way in ("bpf", "perf")]
    for tracer in tracers:
        tracer.start()
    subprocess.run(["fio", "--name=load", f"--filename={sys.argv[2]}", *LOAD], stdout=subprocess.DEVNULL, check=True)
    time.sleep(1)  # who was told that the device was written to has read it by then
    print(json.dumps([tracer.counted() for tracer in tracers]))
    for tracer in tracers:
        tracer.close()


if __name__ == "__main__":
    main()
