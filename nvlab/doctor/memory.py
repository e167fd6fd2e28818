# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of memory: what is reserved for virtual devices, what is free for the rest, and swap."""

from __future__ import annotations

from collections.abc import Iterator

from nvlab.doctor.facts import Facts
from nvlab.doctor.finding import Finding, listed
from nvlab.doctor.wants import Wants
from nvlab.errors import EnvironmentNotReady
from nvlab.host.memmap import RAM, Span
from nvlab.layers.base import Placement
from nvlab.tuning import Cure
from nvlab.units import format_size, human_size

_MARKS = "$@#!%"  # between size and start of a memmap= (Documentation/admin-guide/kernel-parameters.txt)


def lost_dollar(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A memmap= whose $ was taken for the beginning of a variable, by GRUB or by a shell."""
    for word in facts.cmdline.split():
        parts = word.removeprefix("memmap=").split(",") if word.startswith("memmap=") else []
        for part in parts:
            if part != "exactmap" and not any(mark in part for mark in _MARKS):
                yield Finding(
                    "required" if wants.regions else "note",
                    f"the kernel was given memmap={part}, which reserves nothing",
                    "GRUB, or a shell before it, has taken the $ and what follows for a variable",
                    "take it out, and let nvlab grub apply write it: it comes through both, and nvlab grub check proves it",
                )


def reserved_memory(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Less reserved memory than the scenario's devices take."""
    placement = Placement(facts.reserved, list(facts.taken))
    try:
        for owner, size in wants.regions:
            placement.take(size, owner)
    except EnvironmentNotReady as error:
        total = sum(size for _, size in wants.regions)
        there = listed(f"memmap={format_size(size)}${format_size(start)}" for start, size in facts.reserved) or "none"
        yield Finding(
            "required",
            f"{error.message}; reserved: {there}",
            f"virtual devices live in memory that Linux does not use, {human_size(total)} of it for this scenario",
            f"nvlab down what holds it, or nvlab grub plan --size {_whole(total)}G for the next boot; nvlab up starts a guest "
            "with what its lab needs: nvlab guest stop, then nvlab up",
        )


def _whole(size: int) -> int:
    """GiB that hold ``size``, with what alignment takes."""
    return (size >> 30) + 1


def kernel_in_region(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A region that was asked for and lies in RAM that Linux uses, its own code perhaps (KASLR)."""
    for start, size in facts.reserved:
        inside = [span for span in facts.iomem if span.meets(Span(start, start + size))]
        used = [span.name for span in inside if span.name == RAM or span.name.startswith("Kernel ")]
        if used:
            kernel = any(name.startswith("Kernel ") for name in used)
            yield Finding(
                "required" if wants.regions else "note",
                f"memmap={format_size(size)}${format_size(start)} was asked for, but Linux uses that memory ({listed(used)})",
                "a device there would write into memory of the system"
                + ("; the kernel was put there by KASLR, before it could read memmap=" if kernel else ""),
                "nvlab grub plan finds a region that nothing lies in, nvlab grub apply reserves it for the next boot",
            )


def free_memory(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Less free memory than disks and caches take."""
    if wants.memory > facts.available:
        yield Finding(
            "required",
            f"{human_size(facts.available)} of memory are free, disks and caches of the scenario take {human_size(wants.memory)}",
            "they are made of memory as it is written: when it runs out, the kernel kills programs",
            "take down other labs, end other programs, or make disks and caches smaller",
        )


def swap(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Swap in use."""
    if facts.swaps:
        yield Finding(
            "distorts",
            f"swap is on: {listed(facts.swaps)}",
            "a page of fio's or of a RAM disk that comes back from swap is an outlier of milliseconds",
            f"swapoff {' '.join(facts.swaps)} (swapon again afterwards)",
            tune=Cure("tune.swap", dict.fromkeys(facts.swaps, "off"), f"{listed(facts.swaps)} off"),
        )
