# SPDX-License-Identifier: GPL-2.0-or-later
"""How well nvlab.ko keeps the time of its model, beside null_blk's timer mode, in one guest; prints one JSON object.

Runs as root with nothing but the standard library. Single 4 KiB random reads; for each target (a command's time by the model)
both drivers take turns for a number of rounds. The error is what the mean latency grew by beyond the target, from that of the
same driver with no time to keep. nvlab.ko counts by itself, too: the share of commands completed more than 1 us late, and by how
much they were late in the mean.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device_speed import CONFIGFS, fill, fio, nvlab, prepare, run, wait_for

NULLB = Path("/sys/kernel/config/nullb")


@contextlib.contextmanager
def null_blks(targets: list[int]) -> Iterator[dict[int, Path]]:
    """A null_blk for each target (us), all of which keep data; 0 completes in a software interrupt, the others by a timer."""
    run("modprobe", "null_blk", "nr_devices=0")
    nodes = {}
    for target in targets:
        path = NULLB / f"t{target}"
        path.mkdir()
        settings = {"size": 64, "memory_backed": 1, "queue_mode": 2, "irqmode": 2 if target else 1,
                    "completion_nsec": target * 1000 or 1, "power": 1}
        for key, value in settings.items():
            (path / key).write_text(str(value))
        # newer kernels name the disk as the directory
        names = [f"nullb{(path / 'index').read_text().strip()}", path.name]
        nodes[target] = wait_for("the disk", lambda names=names: next(
            (node for node in map(Path("/dev").joinpath, names) if node.exists()), None))
    run("udevadm", "settle")
    try:
        yield nodes
    finally:
        for target in nodes:
            (NULLB / f"t{target}").rmdir()
        run("modprobe", "-r", "null_blk")


def counters() -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in (CONFIGFS / "stats").read_text().splitlines())}


def latency(node: Path, runtime: int) -> float:
    """Mean, us."""
    job = fio(node, "--rw=randread", "--bs=4k", "--iodepth=1", "--time_based", f"--runtime={runtime}", "--norandommap")
    return float(job["read"]["lat_ns"]["mean"]) / 1e3


def kept(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    """What the module counted between."""
    timed, late, lateness = (after[key] - before[key] for key in ("timed", "late", "lateness"))
    return {"timed": timed, "late": late / max(timed, 1), "mean_us": lateness / max(timed, 1) / 1e3}


def measure(args: argparse.Namespace, disk: Path, nulls: dict[int, Path]) -> dict[str, Any]:
    taken: dict[str, dict[int, list[float]]] = {name: {t: [] for t in nulls} for name in ("nvlab", "null_blk")}
    own: dict[int, list[dict[str, float]]] = {target: [] for target in nulls if target}
    for _ in range(args.rounds):
        for target, node in nulls.items():
            (CONFIGFS / "read_delay").write_text(str(target * 1000))
            before = counters()
            taken["nvlab"][target].append(latency(disk, args.runtime))
            if target:
                own[target].append(kept(before, counters()))
            taken["null_blk"][target].append(latency(node, args.runtime))
    (CONFIGFS / "read_delay").write_text("0")
    return {"latency_us": taken, "error_us": {name: errors(of) for name, of in taken.items()},
            "nvlab_counts": {target: {key: statistics.median(x[key] for x in got) for key in got[0]}
                             for target, got in own.items()}}


def errors(latencies: dict[int, list[float]]) -> dict[int, dict[str, float]]:
    """Median and range over the rounds."""
    found = {}
    for target, values in latencies.items():
        if target:
            grown = [x - base - target for x, base in zip(values, latencies[0], strict=True)]
            found[target] = {"median": statistics.median(grown), "min": min(grown), "max": max(grown)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", type=Path)
    parser.add_argument("--start", default="5G")
    parser.add_argument("--size", default="65M")
    parser.add_argument("--cpus", default="")
    parser.add_argument("--targets", type=int, nargs="+", default=[10, 50, 100], help="us")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runtime", type=int, default=2, help="s")
    args = parser.parse_args()
    prepare()
    with nvlab(args.module, args.start, args.size, args.cpus) as disk, null_blks([0, *args.targets]) as nulls:
        for node in (disk, *nulls.values()):
            fill(node)
        print(json.dumps(measure(args, disk, nulls)))


if __name__ == "__main__":
    main()
