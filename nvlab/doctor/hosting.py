# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of a machine that is to run guests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from nvlab.doctor.facts import Facts
from nvlab.doctor.finding import Finding, listed
from nvlab.doctor.kernel import unloadable
from nvlab.doctor.wants import Wants
from nvlab.units import human_size

#: what a guest is started with, and what nvlab.ko is built with: the package of each
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "file": "file",
    "make": "make",
    "gcc": "gcc",
}
_BUILDERS = ("make", "gcc")
VIRTME = (1, 42)


def guest_programs(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A program that guests need."""
    host = facts.hosting
    needed = [name for name in PROGRAMS if wants.devices or not wants.scenario or name not in _BUILDERS]
    for name in [n for n in needed if host and n not in host.programs]:
        builder = name in _BUILDERS
        yield Finding(
            "required" if not builder or wants.devices else "note",
            f"{name} is not installed",
            "nvlab.ko is built with it" if builder else "no guest starts without it",
            f"apt-get install {PROGRAMS[name]}",
        )


def virtme(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """virtme-ng is missing or too old."""
    if facts.hosting and _version(facts.hosting.virtme) < VIRTME:
        yield Finding(
            "required",
            f"virtme-ng {facts.hosting.virtme} is too old" if facts.hosting.virtme else "virtme-ng is not installed",
            "guests are started by it, and nvlab knows how version 1.42 and later do that",
            "pip install 'virtme-ng>=1.42', into the environment of nvlab",
        )


def guest_kernel(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """No kernel for a guest."""
    if facts.hosting and not facts.hosting.kernel:
        yield Finding(
            "required",
            "no installed kernel can be read in /boot",
            "a guest boots one of this machine's distribution kernels",
            "apt-get install linux-image-amd64 linux-headers-amd64; if they are there: chmod +r /boot/vmlinuz-*",
        )


def kvm(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Guests are emulated."""
    if facts.hosting and facts.hosting.no_kvm:
        denied = "Permission denied" in facts.hosting.no_kvm
        yield Finding(
            "distorts",
            f"KVM cannot be used: {facts.hosting.no_kvm}",
            "guests are emulated (TCG): figures compare variants within one guest, and say nothing of absolute speed",
            "usermod -aG kvm $USER, then log in again"
            if denied
            else "turn on VT-x or AMD-V in the firmware; in a virtual machine, nested virtualisation; or use another machine",
        )


def guest_cpus(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A guest of more CPUs than there are."""
    if facts.hosting and facts.hosting.guest_cpus > len(facts.online):
        yield Finding(
            "distorts",
            f"a guest has {facts.hosting.guest_cpus} CPUs, this machine {len(facts.online)}",
            "two of a guest's CPUs that work together may have to wait for each other, for milliseconds",
            f"nvlab up --cpus {len(facts.online)}, or compare variants of one guest only",
        )


def guest_memory(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Too little memory for a guest."""
    if facts.hosting and facts.hosting.guest_memory > facts.available:
        yield Finding(
            "note",
            f"a guest takes up to {human_size(facts.hosting.guest_memory)} of memory, {human_size(facts.available)} are free",
            "when it runs out, the kernel kills the guest, and every lab in it",
            "end other programs and guests, or make the scenario's disks and devices smaller",
        )


def bare_metal(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """This machine can carry labs in guests only."""
    if facts.hosting and (reason := unloadable(replace(facts, may_load=True))):  # nobody needs to be root for guests
        yield Finding(
            "note",
            reason[0],
            "labs run in guests here, and cannot run on the machine itself",
            f"nothing to do for guests; else {reason[1]}",
        )


def rapiddisk_package(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Debian's rapiddisk-dkms beside a kernel that it does not build for."""
    newer = facts.hosting.newer_headers if facts.hosting else ()
    if "rapiddisk-dkms" in facts.packages and newer:
        yield Finding(
            "note",
            f"rapiddisk-dkms {facts.packages['rapiddisk-dkms']} is installed beside headers of Linux {listed(newer)}",
            "its modules do not build there, and apt-get fails whenever it tries",
            "apt-get remove rapiddisk-dkms, then setup/rapiddisk.sh: it builds them for Linux 6.1 alone",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:2]))
