# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known to be wrong with programs and kernels, for the labs that meet it; README.md has it under its limits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvlab.doctor.facts import Facts
from nvlab.doctor.finding import Finding
from nvlab.doctor.wants import Wants
from nvlab.layers.cache import RAPIDDISK_DEFECTS

_PATHS_MENDED = (6, 12)  # io_uring over two paths fails on 6.1, and has not on this one


def defects(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A layer or a load with known defects."""
    for look in (_rapiddisk, _volatile_members, _real_journals, _paths, _offloaded):
        yield from look(facts, wants)


def _rapiddisk(facts: Facts, wants: Wants) -> Iterator[Finding]:
    if "rapiddisk" in wants.modules and (facts.modules is None or "rapiddisk" in facts.modules):
        yield Finding(
            "distorts",
            f"{wants.modules['rapiddisk']} is RapidDisk, of which is known: {'; '.join(RAPIDDISK_DEFECTS)}",
            "what was acknowledged may be lost with the power, and writes in parallel are slower than they need be",
            'engine = "dm-cache" in the cache table has none of these; or say so with the result',
        )


def _volatile_members(facts: Facts, wants: Wants) -> Iterator[Finding]:
    for owner, members in wants.volatile_members.items():
        yield Finding(
            "note",
            f"{owner} has a write-back journal over members with volatile caches: {', '.join(members)}",
            "when the power fails MD loses flushed writes: its journal lets a stripe go before the members were told to flush it",
            'members with capacitors (medium = { plp = 1 }), or journal = { mode = "write-through" }; or say so with the result',
        )


def _real_journals(facts: Facts, wants: Wants) -> Iterator[Finding]:
    for owner, disk in wants.real_journals.items():
        yield Finding(
            "note",
            f"{owner} has a real disk as its journal, {disk}",
            "MD can hang for ever when it stops an array whose journal takes discards; up refuses the disk while it does",
            "echo 0 > /sys/class/block/NAME/queue/discard_max_bytes, until the next boot",
        )


def _paths(facts: Facts, wants: Wants) -> Iterator[Finding]:
    said = re.match(r"(\d+)\.(\d+)", facts.release)
    if said and (int(said[1]), int(said[2])) < _PATHS_MENDED:
        for owner, device in wants.over_paths.items():
            yield Finding(
                "note",
                f"{owner} is of io_uring, on {device} with its several controllers, under Linux {facts.release}",
                "what is under way when a path is lost may fail with EAGAIN instead of going over another one",
                'ioengine = "libaio"',
            )


def _offloaded(facts: Facts, wants: Wants) -> Iterator[Finding]:
    for owner in wants.offloaded:
        yield Finding(
            "distorts",
            f"{owner} offloads the submission of psync",
            "fio 3.33 never ends such a load, and its deadline ends it",
            'ioengine = "libaio", or io_submit_mode = "inline"',
        )
