# SPDX-License-Identifier: GPL-2.0-or-later
"""Which CPUs to keep for the workers of virtual devices, and what keeps everything else off them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from nvlab.errors import UsageError
from nvlab.units import format_cpus

OPTIONS = ("CPU_ISOLATION", "NO_HZ_FULL", "RCU_NOCB_CPU")  # of a kernel: each allows one parameter
ENOUGH = 2  # CPUs for workers when nobody says how many: what most scenarios give a device


@dataclass(frozen=True)
class Cpu:
    """A CPU: its NUMA node, and the threads of its core, itself among them."""

    node: int
    core: tuple[int, ...]


Topology = dict[int, Cpu]


@dataclass(frozen=True)
class Isolation:
    """CPUs for workers, CPUs for everything else (housekeeping), and what to know about this division."""

    workers: tuple[int, ...]
    housekeeping: tuple[int, ...]
    notes: tuple[str, ...] = ()


def propose(cpus: Topology, node: int) -> Isolation:
    """Whole cores of ``node``, its last ones, for two CPUs or more; none where less than half of all would be left."""
    chosen: set[int] = set()
    for core in sorted({cpu.core for cpu in cpus.values() if cpu.node == node and 0 not in cpu.core}, reverse=True):
        if len(chosen) < ENOUGH:
            chosen.update(core)
    if len(chosen) < ENOUGH or 2 * len(chosen) > len(cpus):
        note = f"no CPU is isolated: of {len(cpus)}, {ENOUGH} on whole cores of node {node} would be too many; --cpus says which"
        return Isolation((), tuple(sorted(cpus)), (note,))
    return Isolation(tuple(sorted(chosen)), _others(cpus, chosen))


def divide(cpus: Topology, workers: Collection[int], node: int) -> Isolation:
    """The division that a user has asked for, for a region on ``node``. Raises UsageError."""
    said = f"--cpus {format_cpus(workers)}"
    missing = set(workers) - cpus.keys()
    if missing:
        raise UsageError(f"{said}: no CPU {format_cpus(missing)}", hint=f"CPUs of this machine: {format_cpus(cpus)}")
    if 0 in workers:
        raise UsageError(
            f"{said}: CPU 0 boots the machine and keeps its time, so it cannot be isolated", hint="choose others"
        )
    return Isolation(tuple(sorted(workers)), _others(cpus, workers), tuple(_remarks(cpus, set(workers), node)))


def _others(cpus: Topology, workers: Collection[int]) -> tuple[int, ...]:
    return tuple(sorted(cpus.keys() - set(workers)))


def _remarks(cpus: Topology, workers: set[int], node: int) -> Iterator[str]:
    halves = {sibling for cpu in workers for sibling in cpus[cpu].core} - workers
    if halves:
        yield f"CPU {format_cpus(halves)} shares a core with a worker, and what runs there slows it down: isolate it too"
    far = {cpu for cpu in workers if cpus[cpu].node != node}
    if far:
        yield f"CPU {format_cpus(far)} is not on the region's NUMA node {node}: every copy crosses the link between nodes"


def arguments(isolation: Isolation, config: Collection[str] | None) -> list[str]:
    """The kernel's parameters for it, of those it has been built with; ``config``: which of :data:`OPTIONS`, None if unknown."""
    if not isolation.workers:
        return []
    workers, others = format_cpus(isolation.workers), format_cpus(isolation.housekeeping)
    words = {
        f"isolcpus=managed_irq,domain,{workers}": "CPU_ISOLATION",
        f"nohz_full={workers}": "NO_HZ_FULL",
        f"rcu_nocbs={workers}": "RCU_NOCB_CPU",
    }
    return [word for word, option in words.items() if config is None or option in config] + [f"irqaffinity={others}"]
