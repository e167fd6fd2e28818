# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the CPUs: how fast they run, how long they take to wake, what they share, how time is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nvlab.doctor.facts import Facts, IdleState
from nvlab.doctor.finding import Finding, listed
from nvlab.doctor.wants import Wants
from nvlab.tuning import Cure
from nvlab.units import format_cpus, parse_cpus

SHALLOW = 10  # us; leaving a C-state that takes longer shows in the latency of a fast device
STEAL = 0.05  # CPUs
OFTEN = 1.0  # interrupts a second
_CPU = "/sys/devices/system/cpu"
_CPUFREQ = f"{_CPU}/cpufreq"
_GOOD_CLOCKS = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page")  # read without leaving the program (vDSO)


def governor(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """CPUs that change their clock with the load."""
    if others := {name: cpus for name, cpus in facts.governors.items() if name != "performance"}:
        what = "; ".join(f"{name} on CPUs {cpus}" for name, cpus in others.items())
        yield Finding(
            "distorts",
            f"the frequency governor is {what}",
            "light loads are then measured on slow CPUs, heavy ones on fast CPUs: latency falls as load rises",
            f"cpupower frequency-set -g performance, or: echo performance | tee {_CPUFREQ}/policy*/scaling_governor",
            tune=Cure("tune.set", _performance(others.values()), "the frequency governor is performance"),
        )


def _performance(cpus: Iterable[str]) -> dict[str, str]:
    return {f"{_CPU}/cpu{cpu}/cpufreq/scaling_governor": "performance" for part in cpus for cpu in parse_cpus(part)}


def idle_states(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """C-states that take long to leave."""
    if deep := [state for state in facts.idle_states if state.latency > SHALLOW and state.cpus]:
        said = listed(f"{state.name} ({state.latency} us)" for state in deep)
        yield Finding(
            "distorts",
            f"CPUs may enter deep C-states: {said}",
            "at low queue depth every command waits for a CPU to wake up: that time is added to the device's",
            f"cpupower idle-set -D {SHALLOW} (cpupower idle-set -E undoes it)",
            tune=Cure("tune.set", {_disable(state, cpu): "1" for state in deep for cpu in state.cpus}, f"{said} disabled"),
        )


def _disable(state: IdleState, cpu: int) -> str:
    return f"{_CPU}/cpu{cpu}/cpuidle/{state.state}/disable"


def turbo(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A clock that depends on heat and neighbours."""
    if facts.turbo:
        yield Finding(
            "distorts",
            "turbo is on",
            "the clock then depends on how warm the CPU is and on how many cores are busy, so runs differ by when they ran",
            "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo, or: echo 0 > /sys/devices/system/cpu/cpufreq/boost",
            tune=Cure("tune.set", {f"{_CPU}/{facts.turbo}": "1" if facts.turbo.endswith("no_turbo") else "0"}, "turbo is off"),
        )


def clock_source(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A clock that is slow to read."""
    if facts.clocksource and facts.clocksource not in _GOOD_CLOCKS:
        better = next((name for name in _GOOD_CLOCKS if name in facts.clocksources), "")
        path = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        yield Finding(
            "distorts",
            f"the clock source is {facts.clocksource}",
            "each reading of the time leaves the program and asks a slow device, and fio reads it twice per command",
            f"echo {better} > {path}" if better else "boot with tsc=reliable clocksource=tsc, if dmesg says why it was not taken",
            tune=Cure("tune.set", {path: better}, f"the clock source is {better}") if better else None,
        )


def shared_cores(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A device's CPU shares its core with one that is not the device's."""
    for owner, cpus in wants.cpus.items():
        threads = {sibling for cpu in cpus for sibling in facts.siblings.get(cpu, ())}
        if others := sorted((threads & set(facts.online)) - set(cpus)):
            whole = format_cpus({*cpus, *others})
            yield Finding(
                "distorts",
                f"{owner} is served by CPUs {format_cpus(cpus)}, whose cores also run CPUs {format_cpus(others)} (SMT)",
                "what the load does on a sibling slows the device down by a third and more",
                f'say cpus = "{whole}", or take the siblings offline: '
                + "; ".join(f"echo 0 > /sys/devices/system/cpu/cpu{cpu}/online" for cpu in others),
            )


def interrupts(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Interrupts of other hardware go to the CPUs of a device."""
    for owner, cpus in wants.cpus.items():
        others = format_cpus(set(facts.online) - set(cpus))
        found = [each for each in facts.interrupts if each.rate >= OFTEN and set(each.cpus) & set(cpus)]
        if found and others:
            files = [f"/proc/irq/{each.number}/smp_affinity_list" for each in found]
            yield Finding(
                "distorts",
                f"{owner} is served by CPUs {format_cpus(cpus)}, which also take the interrupts of "
                + listed(f"{each.name} ({each.rate:.0f} a second since boot)" for each in found),
                "each stops the worker that runs there, and what it serves is late by that",
                f"echo {others} | tee {' '.join(files)} # at every boot: nvlab grub apply --cpus {format_cpus(cpus)}",
                tune=Cure("tune.set", dict.fromkeys(files, others), f"{len(files)} interrupts are on CPUs {others}"),
            )


def queues(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Fewer CPUs for an initiator's queues than it asks for."""
    free = len(set(facts.online) - set(facts.isolated))
    for owner, asked in wants.queues.items():
        if asked > free:
            isolated = f", CPUs {format_cpus(facts.isolated)} being isolated" if facts.isolated else ""
            yield Finding(
                "distorts",
                f"{owner} asks for {asked} queues and gets {free}{isolated}",
                "Linux connects a queue only where a CPU that is not isolated serves it (else EXDEV)",
                f"say queues = {free}, or isolate fewer CPUs (isolcpus=)",
            )


def iommu(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """DMA of real drives goes through an IOMMU, or a module that knows none stands in."""
    translating = facts.iommu - {"identity"}
    if translating and wants.real:
        yield Finding(
            "distorts",
            f"the IOMMU translates DMA ({listed(sorted(translating))})",
            f"every command of {listed(wants.real)} pays for mapping its pages; virtual devices do not",
            "boot with iommu=pt",
        )
    if facts.iommu and wants.stand_ins:
        yield Finding(
            "note",
            "an IOMMU is on",
            f"NVMeVirt, if {listed(wants.stand_ins)} is that, gets no interrupts with interrupt remapping on; nvlab.ko does",
            "boot with intremap=off (Intel) or amd_iommu=off, or leave out module = to use nvlab.ko",
        )


def steal(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A hypervisor gives the CPUs of this machine to others."""
    if facts.steal > STEAL:
        yield Finding(
            "distorts",
            f"the hypervisor took {facts.steal:.2f} CPUs' worth of time for others",
            "commands wait while the CPU is away, which no counter of this machine shows",
            "give this machine CPUs of its own, or measure when the others rest",
        )
