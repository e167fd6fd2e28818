# SPDX-License-Identifier: GPL-2.0-or-later
"""What it costs to count latency at the layers, and to sample them, in one guest: IOPS with it over IOPS without.

Runs as root with nothing but the standard library, and prints one JSON object. 4 KiB random reads of written data, through a
linear mapping over a device of nvlab's: two layers are counted (in the kernel, or out of its records), or sampled four times a
second. The ways take turns at each depth for a number of rounds. A ratio is of neighbours in time; the interval is that of their
mean at 95 %, by Student's t.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]
from device_speed import fill, measure, nvlab, prepare, run  # noqa: E402
from trace_cost import STUDENT, interval  # noqa: E402

from nvlab.record.blocktrace import BlockTracer  # noqa: E402
from nvlab.record.samplers import Sampler, Watch  # noqa: E402

MAPPED = Path("/dev/mapper/nvlab-layers-cost")
WAYS = ("alone", "bpf", "perf", "sampled")


@contextlib.contextmanager
def linear(node: Path) -> Iterator[Path]:
    """All of a device, through device mapper."""
    sectors = Path("/sys/class/block", node.name, "size").read_text().strip()
    run("dmsetup", "create", MAPPED.name, "--table", f"0 {sectors} linear {node} 0")
    try:
        yield MAPPED
    finally:
        run("dmsetup", "remove", MAPPED.name)


def once(way: str, node: Path, depth: int, runtime: int, watches: list[Watch]) -> tuple[float, dict[str, Any]]:
    """IOPS in one of the ways; what a tracer counted."""
    said: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        if way in ("bpf", "perf"):
            tracer = BlockTracer(watches, way)
            tracer.start()
            stack.callback(tracer.close)
            stack.callback(lambda: said.update(tracer.counted()))
        if way == "sampled":
            sampler = Sampler(Path("/dev/shm/nvlab-samples"), watches, 0.25, lambda kind, data: None)
            sampler.start()
            stack.callback(sampler.stop)
        iops = float(measure(node, [depth], runtime)[str(depth)]["iops"])
    return iops, {"lost": said["lost"], "missed": said["missed"]} if said else {}


def compare(args: argparse.Namespace) -> dict[str, Any]:
    ratios: dict[str, dict[int, list[float]]] = {way: {depth: [] for depth in args.depths} for way in WAYS[1:]}
    last: dict[str, Any] = {}
    prepare()
    with nvlab(args.module, f"{args.start}G", f"{args.size}M", "") as disk, linear(disk) as node:
        watches = [Watch("top", "block", node.resolve().name), Watch("disk", "block", disk.name)]
        fill(node)
        for turn in range(args.rounds):
            for depth in args.depths:
                iops = {}
                for way in WAYS[turn % len(WAYS) :] + WAYS[: turn % len(WAYS)]:
                    iops[way], said = once(way, node, depth, args.runtime, watches)
                    last |= {way: said} if said else {}
                for way, found in ratios.items():
                    found[depth].append(iops[way] / iops["alone"])
    shown = {way: {depth: interval(r) for depth, r in found.items()} for way, found in ratios.items()}
    return {"iops over iops alone": shown, "not counted in the last round": last}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", type=Path)
    parser.add_argument("--start", type=int, default=5, help="GiB")
    parser.add_argument("--size", type=int, default=256, help="MiB of the device")
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=6, choices=[n + 1 for n in STUDENT])
    parser.add_argument("--runtime", type=int, default=1, help="s")
    print(json.dumps(compare(parser.parse_args())))


if __name__ == "__main__":
    main()
