# SPDX-License-Identifier: GPL-2.0-or-later
"""What a device's trace costs, in one guest: IOPS with it over IOPS without; prints one JSON object.

Runs as root with nothing but the standard library. Two devices alike, one traced and read as a recorder does, take turns at
each depth for a number of rounds: 4 KiB random reads of written data. A ratio is of two neighbours in time; the interval is
that of their mean at 95 %, by Student's t.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]
from device_speed import disk, fill, measure, prepare, run  # noqa: E402

from nvlab.record.trace import Traced, TraceRecorder  # noqa: E402

CONFIGFS = Path("/sys/kernel/config/nvlab")
MIB = 1 << 20
STUDENT = {4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 11: 2.201, 15: 2.131, 19: 2.093}  # 97.5 %, by n - 1


@contextlib.contextmanager
def devices(module: Path, start: int, size: int, cpus: str) -> Iterator[dict[str, Path]]:
    """The two, by name."""
    prepare()
    run("insmod", str(module))
    nodes = {}
    for n, (name, trace) in enumerate({"plain": 0, "traced": 16384}.items()):
        path = CONFIGFS / name
        path.mkdir()
        settings = {"memmap_start": start + n * size, "memmap_size": size, "cpus": cpus, "trace": trace, "power": 1}
        for key, value in settings.items():
            if value != "":
                (path / key).write_text(str(value))
        nodes[name] = disk(path)
    run("udevadm", "settle")
    try:
        yield nodes
    finally:
        for name in nodes:
            (CONFIGFS / name).rmdir()
        run("rmmod", "nvlab")


def traced(node: Path, depth: int, runtime: int, scratch: Path) -> tuple[float, dict[str, Any]]:
    """IOPS while a recorder reads the trace, and what it says of it."""
    recorder = TraceRecorder(scratch, [Traced("d", "/dev/nvlab-trace-traced")])
    recorder.start()
    iops = measure(node, [depth], runtime)[str(depth)]["iops"]
    said = recorder.stop()[0]
    (scratch / "d.raw").unlink()
    scratch.rmdir()
    return iops, said


def interval(ratios: list[float]) -> dict[str, Any]:
    half = STUDENT[len(ratios) - 1] * statistics.stdev(ratios) / len(ratios) ** 0.5
    mean = statistics.mean(ratios)
    return {"ratio": mean, "low": mean - half, "high": mean + half, "rounds": ratios}


def compare(args: argparse.Namespace) -> dict[str, Any]:
    ratios: dict[int, list[float]] = {depth: [] for depth in args.depths}
    said: dict[str, Any] = {}
    with devices(args.module, args.start << 30, args.size * MIB, args.cpus) as nodes:
        for node in nodes.values():
            fill(node)
        for turn in range(args.rounds):
            for depth in args.depths:
                iops = {}
                for name in ("plain", "traced") if turn % 2 else ("traced", "plain"):
                    if name == "plain":
                        iops[name] = measure(nodes[name], [depth], args.runtime)[str(depth)]["iops"]
                    else:
                        iops[name], said = traced(nodes[name], depth, args.runtime, Path("/dev/shm/nvlab-trace"))
                ratios[depth].append(iops["traced"] / iops["plain"])
    return {"iops with trace over without": {depth: interval(r) for depth, r in ratios.items()}, "last trace": said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", type=Path)
    parser.add_argument("--start", type=int, default=5, help="GiB")
    parser.add_argument("--size", type=int, default=256, help="MiB of each device")
    parser.add_argument("--cpus", default="")
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=10, choices=[n + 1 for n in STUDENT])
    parser.add_argument("--runtime", type=int, default=2, help="s")
    print(json.dumps(compare(parser.parse_args())))


if __name__ == "__main__":
    main()
