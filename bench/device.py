# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed of nvlab.ko, in a guest of its own: beside null_blk (guest/device_speed.py), or, by the word that comes first, what its
trace costs (trace, guest/trace_cost.py), what counting and sampling at the layers cost (layers, guest/layers_cost.py), how well
it keeps its model's time (timing, guest/emulation_error.py), or what 24 idle devices cost (idle, guest/idle_cost.py).

Figures of an emulated guest are ratios within that guest, and nothing else. The guests of ``trace`` and ``layers`` count
instructions for their clock: a few per cent could not be seen otherwise. Such a clock jumps when all CPUs wait, for the host too:
what a busy host is slow to do ends there with a timeout. ``NVLAB_KERNEL`` names the kernel (default: 6.1, and 6.12 where
instructions are counted: 6.1 does not get through its boot with that clock).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from nvlab.data import kmod_dir
from nvlab.host import kmod
from nvlab.nodes import kernels
from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.state import state_dir
from nvlab.nodes.vm import ensure
from nvlab.units import GIB, MIB

PROGRAMS = {
    "speed": "device_speed.py",
    "trace": "trace_cost.py",
    "layers": "layers_cost.py",
    "timing": "emulation_error.py",
    "idle": "idle_cost.py",
}
COUNTED = ("trace", "layers")
DEADLINE = 1800.0  # seconds; five rounds of two drivers at three depths


def main() -> None:
    which, rest = (sys.argv[1], sys.argv[2:]) if sys.argv[1:2] and sys.argv[1] in PROGRAMS else ("speed", sys.argv[1:])
    kernel = os.environ.get("NVLAB_KERNEL", "6.12" if which in COUNTED else "6.1")
    module = kmod.ensure(kmod_dir(), kernels.find(kernel).release, state_dir() / "kmod")
    program = Path(__file__).parent / "guest" / PROGRAMS[which]
    guest = ensure(GuestSpec(kernel, cpus=4, memory=3 * GIB, reserved=((5 * GIB, 513 * MIB),), counted=which in COUNTED), "bench")
    try:
        with guest.connect() as session:
            done = session.run(["python3", "-B", str(program), str(module), *rest], timeout=DEADLINE)
    finally:
        guest.stop()
    if done["code"]:
        sys.exit(f"{done['out']}{done['err']}")
    print(f"{kernel}, {guest.record['accel'].upper()}, 4 CPUs; ratios within this guest")
    print(json.dumps(json.loads(done["out"]), indent=1))


if __name__ == "__main__":
    main()
