# SPDX-License-Identifier: GPL-2.0-or-later
"""All checks, and where each applies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from nvlab.doctor import cpu, defects, hosting, kernel, load, memory, network, tools
from nvlab.doctor.facts import Facts
from nvlab.doctor.finding import CheckFunction, Finding
from nvlab.doctor.wants import Wants

#: what is looked at. kernel: the files of the kernel that carries the lab; build: where nvlab.ko is built for it;
#: machine: whatever is measured on, also by way of a guest; node: where the lab's objects live; host: what runs guests
Part = Literal["kernel", "build", "machine", "node", "host"]
SEVERITIES = ("required", "distorts", "note")


@dataclass(frozen=True)
class Check:
    """One check, and the part it looks at."""

    part: Part
    function: CheckFunction

    @property
    def name(self) -> str:
        return self.function.__name__.replace("_", "-")


CHECKS = (
    Check("kernel", kernel.kernel_version),
    Check("kernel", kernel.kernel_modules),
    Check("kernel", kernel.kernel_options),
    Check("kernel", kernel.kernel_types),
    Check("kernel", kernel.debug_kernel),
    Check("build", kernel.module_headers),
    Check("node", kernel.module_loading),
    Check("node", tools.programs),
    Check("node", tools.versions),
    Check("kernel", defects.defects),
    Check("node", memory.lost_dollar),
    Check("node", memory.reserved_memory),
    Check("node", memory.kernel_in_region),
    Check("node", memory.free_memory),
    Check("node", network.address),
    Check("node", network.port),
    Check("node", network.firewall_port),
    Check("node", network.mtu),
    Check("node", cpu.shared_cores),
    Check("node", cpu.interrupts),
    Check("node", cpu.queues),
    Check("node", cpu.iommu),
    Check("host", hosting.guest_programs),
    Check("host", hosting.virtme),
    Check("host", hosting.guest_kernel),
    Check("host", hosting.kvm),
    Check("host", hosting.guest_cpus),
    Check("host", hosting.guest_memory),
    Check("host", hosting.bare_metal),
    Check("host", hosting.rapiddisk_package),
    Check("machine", kernel.kernel_health),
    Check("machine", cpu.governor),
    Check("machine", cpu.idle_states),
    Check("machine", cpu.turbo),
    Check("machine", cpu.clock_source),
    Check("machine", cpu.steal),
    Check("machine", memory.swap),
    Check("machine", load.company),
    Check("machine", load.other_load),
    Check("machine", load.resync),
)


def diagnose(facts: Facts, wants: Wants, parts: Iterable[Part]) -> list[Finding]:
    """What the checks of these parts find, the worst first."""
    wanted = set(parts)
    found = [
        replace(finding, check=check.name)
        for check in CHECKS
        if check.part in wanted
        for finding in check.function(facts, wants)
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
