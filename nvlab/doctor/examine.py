# SPDX-License-Identifier: GPL-2.0-or-later
"""Where doctor looks: this machine as the host of guests, this machine itself, another one, or a guest that runs."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvlab.doctor.facts import Facts, Hosting, facts_of, kernel_facts
from nvlab.doctor.finding import Finding
from nvlab.doctor.hosting import PROGRAMS as HOST_PROGRAMS
from nvlab.doctor.kernel import MODULES, OPTIONS, OUT_OF_TREE
from nvlab.doctor.table import SEVERITIES, diagnose
from nvlab.doctor.tools import PROGRAMS
from nvlab.doctor.wants import Wants
from nvlab.errors import EnvironmentNotReady, UsageError
from nvlab.host.kernelfiles import kernel_files
from nvlab.host.read import PATH
from nvlab.host.survey import survey
from nvlab.nodes import kernels, kvm
from nvlab.nodes.ssh import Ssh
from nvlab.nodes.state import state_dir
from nvlab.nodes.vm import Guest
from nvlab.units import GIB

ASKED = {"modules": [*MODULES, *OUT_OF_TREE], "options": list(OPTIONS), "programs": list(PROGRAMS)}
_GUEST_MEMORY = 3 * GIB
_DEADLINE = 180.0  # seconds a guest has to answer; one when it has nothing else to do


@dataclass(frozen=True)
class Report:
    """What was looked at and what was found, the worst first."""

    machine: str
    findings: tuple[Finding, ...]
    scenario: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing that is required is missing."""
        return not any(finding.severity == "required" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        findings = [finding.to_json() for finding in self.findings]
        return {"machine": self.machine, "ready": self.ready, "findings": findings}

    def text(self) -> str:
        """For a person."""
        parts = [self.machine, *("\n".join(_lines(finding)) for finding in self.findings)]
        return "\n\n".join([*parts, self._verdict()])

    def _verdict(self) -> str:
        if not self.findings:
            return "nothing is wrong"
        counts = {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}
        said = {"required": "keep labs from coming up", "distorts": "distort what is measured", "note": "good to know"}
        return ", ".join(f"{count} {said[severity]}" for severity, count in counts.items() if count)


def _lines(finding: Finding) -> Sequence[str]:
    return (f"{finding.severity:<10}{finding.what}", f"{'why':>9} {finding.why}", f"{'cure':>9} {finding.cure}")


@dataclass(frozen=True)
class Options:
    """What the command line says: where to look, and the guest that ``up`` would start."""

    on: str = ""
    kernel: str | None = None
    cpus: int = 4


def examine(path: Path | None, options: Options) -> Report:
    """Look at a machine, for the scenario in ``path`` if there is one.

    Raises UsageError for a place that nvlab does not know, EnvironmentNotReady for a guest that does not run or a machine that
    cannot be reached, InvalidScenario.
    """
    asking = _asking(path)
    place, _, name = options.on.partition(":")
    if place == "" and not name:
        return _host(asking, options)
    if place == "local" and not name:
        return _local(asking)
    if place == "vm":
        return _guest(asking, Guest(name or "default"))
    if place == "ssh":
        return _other(asking, Ssh(name))
    raise UsageError(
        f"doctor cannot look at {options.on!r}",
        hint="--on local is this machine itself, --on ssh:HOST another one, --on vm or vm:NAME a guest that runs;"
        " without it doctor looks at guests' host",
    )


Asking = Callable[[Facts, int], Wants]  # of a machine with this kernel and so many CPUs


def _asking(path: Path | None) -> Asking:
    """What the scenario in a file asks of a machine; nothing in particular without one."""
    if path is None:
        return lambda facts, cpus: Wants()
    from nvlab.doctor.asking import wants_of  # pydantic takes as long as all the rest
    from nvlab.scenario import load

    scenario = load(path)
    return lambda facts, cpus: wants_of(scenario, facts, cpus)


def _host(asking: Asking, options: Options) -> Report:
    """This machine, and the files of the kernel a guest would boot."""
    image, kernel = _image(options.kernel)
    wants = asking(kernel, options.cpus)
    memory = max(_GUEST_MEMORY, wants.memory + 2 * GIB) + sum(size for _, size in wants.regions)
    hosting = _hosting(image, options.cpus, memory)
    facts = facts_of(survey(ASKED), hosting)
    found = diagnose(facts, wants, ("machine", "host"))
    if image:
        found += diagnose(kernel, wants, ("kernel", "build"))
    accel = f"guests run Linux {image.release}" if image else "no kernel for guests"
    return _report(f"this machine as a host of guests: {_summary(facts)}; {accel}", found, wants)


def _local(asking: Asking) -> Report:
    facts = facts_of(survey(ASKED))
    wants = asking(facts, len(facts.online))
    found = diagnose(facts, wants, ("kernel", "build", "node", "machine"))
    return _report(f"this machine: {_summary(facts)}", found, wants)


def _other(asking: Asking, node: Ssh) -> Report:
    """Another machine, by ssh: labs there have a module built there."""
    with closing(node.connect()) as session:
        facts = facts_of(session.call("survey", ASKED, deadline=_DEADLINE))
    wants = asking(facts, len(facts.online))
    found = diagnose(facts, wants, ("kernel", "build", "node", "machine"))
    return _report(f"{node.host}: {_summary(facts)}", found, wants)


def _guest(asking: Asking, guest: Guest) -> Report:
    """A guest that runs, by way of its agent."""
    with closing(guest.connect()) as session:
        facts = facts_of(session.call("survey", ASKED, deadline=_DEADLINE))
    wants = asking(facts, len(facts.online))
    found = diagnose(facts, wants, ("kernel", "node", "machine"))
    return _report(f"guest {guest.name}: {_summary(facts)}, {guest.record['accel'].upper()}", found, wants)


def _report(machine: str, found: Sequence[Finding], wants: Wants) -> Report:
    return Report(machine, tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))), wants.scenario)


def _summary(facts: Facts) -> str:
    return f"Linux {facts.release}, {len(facts.online)} CPUs"


def _image(wanted: str | None) -> tuple[kernels.Image | None, Facts]:
    """The kernel of a guest and what its files say. Raises EnvironmentNotReady when one is named that is not there."""
    try:
        image = kernels.find(wanted)
    except EnvironmentNotReady:
        if wanted:
            raise
        return None, Facts()
    if image.tree:  # its modules and its config lie in the tree, and make knows them
        return image, Facts(release=image.release)
    return image, kernel_facts(kernel_files(image.release, ASKED))


def _hosting(image: kernels.Image | None, cpus: int, memory: int) -> Hosting:
    try:
        accel = kvm.found(state_dir())
    except EnvironmentNotReady:  # no QEMU, which is a finding of its own
        accel = None
    return Hosting(
        no_kvm=accel.why if accel else "",
        programs=frozenset(name for name in HOST_PROGRAMS if shutil.which(name, path=PATH)),
        virtme=_virtme(),
        kernel=image.release if image else "",
        guest_cpus=cpus,
        guest_memory=memory,
        newer_headers=tuple(sorted(p.parent.name for p in Path("/lib/modules").glob("*/build") if _newer(p.parent.name))),
    )


def _virtme() -> str:
    try:
        return importlib.metadata.version("virtme-ng")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _newer(release: str) -> bool:
    """Whether RapidDisk 9.0.0 does not build for a kernel (it needs what Linux 6.11 removed)."""
    major, _, rest = release.partition(".")
    return release[:1].isdigit() and (int(major), int(rest.partition(".")[0] or 0)) > (6, 10)
