# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lab asks of the machine it is to be built on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Wants:
    """Modules, programs and the like by what asks for them: an object of the scenario.

    ``regions``: bytes of reserved memory for each device; ``cpus``: which CPUs serve one; ``listens``: addresses and ports of
    exports; ``queues``: how many connects ask for at least; ``real``: disks that are no memory; ``layers``: loads that ask for
    latency by layer. What is known to go wrong: ``volatile_members`` of arrays with a write-back journal, ``real_journals`` of
    arrays, ``over_paths``: loads of io_uring and their device of several controllers, ``offloaded``: loads of psync.
    """

    scenario: str = ""
    modules: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0
    regions: tuple[tuple[str, int], ...] = ()
    cpus: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    listens: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    queues: Mapping[str, int] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    stand_ins: tuple[str, ...] = ()
    real: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    volatile_members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    real_journals: Mapping[str, str] = field(default_factory=dict)
    over_paths: Mapping[str, str] = field(default_factory=dict)
    offloaded: tuple[str, ...] = ()
