# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast nvlab.ko is beside null_blk, in one guest; prints one JSON object.

Runs as root with nothing but the standard library. One driver is loaded at a time, in turn, for a number of rounds:
4 KiB random reads of written data by io_uring on CPUs 0 and 1, at each depth, then by four jobs, of eight each, on CPUs 0 to 3.
The shares are what counts: absolute figures of an emulated guest are no evidence of anything. Data are verified before
and after.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CONFIGFS = Path("/sys/kernel/config/nvlab/nvlab0")
SUBMITTERS = "0-1"
JOBS = 4
SPAN = "64M"


def run(*argv: str, deadline: float = 120) -> str:
    """Run a command; its standard output."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=deadline, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def prepare() -> None:
    """Modules and a mount that nvlab.ko needs."""
    run("modprobe", "-a", "configfs", "nvme")
    if not Path("/sys/kernel/config").is_mount():
        run("mount", "-t", "configfs", "none", "/sys/kernel/config")


def wait_for(what: str, ready: Callable[[], Any], deadline: float = 20) -> Any:
    """Poll until something is true."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if got := ready():
            return got
        time.sleep(0.05)
    sys.exit(f"waited {deadline} s for {what}")


def disk(device: Path) -> Path:
    """The disk of a device, by its directory in configfs, once there is one."""
    pci = Path("/sys/bus/pci/devices") / (device / "pci").read_text().strip()

    def nodes() -> list[Path]:
        return [Path("/dev", path.name) for path in pci.glob("nvme/nvme*/nvme*n1") if Path("/dev", path.name).exists()]

    return Path(wait_for("the disk", nodes)[0])


def fio(node: Path, *args: str, cpus: str = SUBMITTERS) -> dict[str, Any]:
    """One fio job on some CPUs; its JSON."""
    out = run("fio", "--output-format=json", "--name=t", f"--filename={node}", "--ioengine=io_uring", "--direct=1",
              f"--cpus_allowed={cpus}", f"--size={SPAN}", *args)
    return dict(json.loads(out[out.index("{"):])["jobs"][0])


def fill(node: Path) -> None:
    """Write everything that is read later, and verify it."""
    fio(node, "--rw=write", "--bs=64k", "--iodepth=8", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1")


def verify(node: Path) -> None:
    """Still as fill() wrote it."""
    fio(node, "--rw=read", "--bs=64k", "--iodepth=8", "--verify=crc32c", "--verify_fatal=1")


@contextlib.contextmanager
def nvlab(module: Path, start: str, size: str, cpus: str) -> Iterator[Path]:
    """nvlab.ko with one device."""
    run("insmod", str(module), f"memmap_start={start}", f"memmap_size={size}", *([f"cpus={cpus}"] if cpus else []))
    node = disk(CONFIGFS)
    run("udevadm", "settle")
    try:
        yield node
    finally:
        run("rmmod", "nvlab")


@contextlib.contextmanager
def null_blk() -> Iterator[Path]:
    """null_blk that keeps data and completes in a software interrupt."""
    run("modprobe", "null_blk", "memory_backed=1", "queue_mode=2", "irqmode=1", "gb=1")
    wait_for("the disk", Path("/dev/nullb0").exists)
    run("udevadm", "settle")
    try:
        yield Path("/dev/nullb0")
    finally:
        run("modprobe", "-r", "null_blk")


def cpu_seconds(name: str) -> float:
    """CPU time of all threads whose name begins so."""
    total = 0
    for task in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (task / "comm").read_text().startswith(name):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def idle_share(seconds: float) -> float:
    """Share of one CPU that all of nvlab's threads take with nothing to do."""
    time.sleep(0.5)
    before = cpu_seconds("nvlab")
    time.sleep(seconds)
    return (cpu_seconds("nvlab") - before) / seconds


def reads(node: Path, depth: int, runtime: int, *more: str, cpus: str = SUBMITTERS) -> dict[str, float]:
    """IOPS and latencies (us)."""
    job = fio(node, "--rw=randread", "--bs=4k", f"--iodepth={depth}", "--time_based", f"--runtime={runtime}",
              "--norandommap", *more, cpus=cpus)["read"]
    percentile = job["clat_ns"]["percentile"]
    return {"iops": job["iops"], "p50_us": percentile["50.000000"] / 1e3, "p99_us": percentile["99.000000"] / 1e3}


def measure(node: Path, depths: list[int], runtime: int) -> dict[str, dict[str, float]]:
    """The same at each depth."""
    return {str(depth): reads(node, depth, runtime) for depth in depths}


def four_jobs(node: Path, runtime: int) -> dict[str, float]:
    """The same of four jobs, each of a depth of eight, with all CPUs theirs."""
    return reads(node, 8, runtime, f"--numjobs={JOBS}", "--group_reporting", cpus="0-3")


def rounds(args: argparse.Namespace) -> dict[str, Any]:
    """Interleaved: null_blk, then nvlab in each way of placing its workers."""
    bodies: dict[str, Callable[[], contextlib.AbstractContextManager[Path]]] = {"null_blk": null_blk}
    for cpus in args.cpus:
        bodies[f"nvlab cpus={cpus or 'all'}"] = lambda cpus=cpus: nvlab(args.module, args.start, args.size, cpus)
    samples: dict[str, list[dict[str, dict[str, float]]]] = {name: [] for name in bodies}
    idle: dict[str, float] = {}
    counters: dict[str, str] = {}
    for _ in range(args.rounds):
        for name, body in bodies.items():
            with body() as node:
                fill(node)
                taken = measure(node, args.depths, args.runtime) | {f"{JOBS} jobs": four_jobs(node, args.runtime)}
                samples[name].append(taken)
                verify(node)
                if name != "null_blk":
                    idle[name] = max(idle.get(name, 0.0), idle_share(args.idle))
                    counters[name] = (CONFIGFS / "stats").read_text()
    return {"samples": samples, "idle_share": idle, "stats": counters}


def shares(samples: dict[str, list[dict[str, dict[str, float]]]]) -> dict[str, Any]:
    """Median and range of IOPS over null_blk's IOPS of the same round."""
    table: dict[str, Any] = {}
    for name, taken in samples.items():
        table[name] = {}
        for depth in taken[0]:
            share = [mine[depth]["iops"] / base[depth]["iops"]
                     for mine, base in zip(taken, samples["null_blk"], strict=True)]
            table[name][depth] = {
                "iops": statistics.median(x[depth]["iops"] for x in taken), "share": statistics.median(share),
                "share_min": min(share), "share_max": max(share),
                "p50_us": statistics.median(x[depth]["p50_us"] for x in taken),
            }
    return table


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", type=Path)
    parser.add_argument("--start", default="5G")
    parser.add_argument("--size", default="513M")
    parser.add_argument("--cpus", action="append", help="CPUs of the device; may be repeated; '' for all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runtime", type=int, default=2, help="seconds at each depth")
    parser.add_argument("--idle", type=float, default=3.0, help="seconds of idling to measure")
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 8, 32])
    args = parser.parse_args()
    args.cpus = args.cpus or ["2,3", ""]
    prepare()
    measured = rounds(args)
    clock = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
    print(json.dumps({"kernel": os.uname().release, "clocksource": clock, "cpus": os.cpu_count(),
                      "shares": shares(measured["samples"]), **measured}, indent=1))


if __name__ == "__main__":
    main()
