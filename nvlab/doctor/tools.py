# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the programs a lab is made with: whether they are there, and new enough."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nvlab.doctor.facts import Facts
from nvlab.doctor.finding import Finding
from nvlab.doctor.wants import Wants

#: every program that a plan may run, and the package it comes with
PROGRAMS = {
    "mdadm": "mdadm",
    "dmsetup": "dmsetup",
    "fio": "fio",
    "losetup": "mount",
    "partx": "util-linux",
    "sgdisk": "gdisk",
    "wipefs": "util-linux",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "tc": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
}

#: the oldest version that has what nvlab asks for
OLDEST = {
    "mdadm": ((4, 0), "--consistency-policy, which write journals need"),
    "fio": ((3, 13), "the engine io_uring"),
}


def programs(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A program that the scenario's plan runs is not there."""
    if facts.programs is not None and wants.scenario:
        for name in sorted(set(wants.programs) - facts.programs):
            yield Finding(
                "required",
                f"{name} is not installed",
                f"needed by {wants.programs[name]}",
                f"apt-get install {PROGRAMS.get(name, name)}",
            )


def versions(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A program that is too old."""
    for name, (oldest, what) in OLDEST.items():
        said = facts.packages.get(name, "")
        version = tuple(map(int, re.findall(r"\d+", said.partition(":")[2] or said)[:2]))
        if version and version < oldest and (name in wants.programs or not wants.scenario):
            yield Finding(
                "required" if name in wants.programs else "note",
                f"{name} {said} is older than {'.'.join(map(str, oldest))}",
                f"that version was the first with {what}",
                f"install a newer {name}: apt-get install {name} (from backports, if the release has none)",
            )
