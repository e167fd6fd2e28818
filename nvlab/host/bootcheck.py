# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the kernel that runs got what was asked for: its command line, and what it made of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nvlab.errors import EnvironmentNotReady
from nvlab.host.edge import Host
from nvlab.host.grub import BOOT_ID, load
from nvlab.host.memmap import RAM, parse_iomem, without
from nvlab.host.reservation import Reservation
from nvlab.kernel.module import canonical
from nvlab.units import format_cpus

_MULTIPATH = "/sys/module/nvme_core/parameters/multipath"


@dataclass(frozen=True)
class Boot:
    """What a running kernel says of itself: texts of /proc and /sys, empty where there is no such file."""

    cmdline: str
    iomem: str
    isolated: str = ""
    nohz_full: str = ""
    irq_affinity: str = ""
    multipath: str = ""
    modules: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Finding:
    """One thing that was asked for: whether the kernel has it, and what it has instead."""

    what: str
    ok: bool
    found: str

    def __str__(self) -> str:
        return f"ok      {self.what}" if self.ok else f"NOT OK  {self.what}: {self.found}"


def read_boot(host: Host) -> Boot:
    """The texts, from a host."""
    return Boot(
        cmdline=host.text("/proc/cmdline"),
        iomem=host.text("/proc/iomem"),
        isolated=host.text("/sys/devices/system/cpu/isolated"),
        nohz_full=host.text("/sys/devices/system/cpu/nohz_full"),
        irq_affinity=host.text("/proc/irq/default_smp_affinity"),
        multipath=host.text(_MULTIPATH),
        modules=frozenset(host.names("/sys/module")),
    )


def check(host: Host) -> list[Finding]:
    """Compare what was applied with what runs. Raises EnvironmentNotReady when there is nothing to compare yet."""
    record = load(host)
    if record is None:
        raise EnvironmentNotReady("no reservation is applied", hint="nvlab grub plan --size SIZE shows one")
    if not record.complete:
        raise EnvironmentNotReady("a reservation is half applied", hint="nvlab grub revert, or apply it again")
    if record.boot_id == host.text(BOOT_ID):
        raise EnvironmentNotReady("not rebooted since the reservation was applied", hint="reboot, then nvlab grub check")
    return list(findings(record.reservation, read_boot(host)))


def findings(wanted: Reservation, boot: Boot) -> Iterator[Finding]:
    """One for each parameter, and one for what the kernel made of each that shows."""
    words = boot.cmdline.split()
    for word in wanted.arguments:
        key = word.partition("=")[0]
        like = [w for w in words if w.partition("=")[0] == key and (key != "memmap" or w == word)]
        yield Finding(word, like == [word], " ".join(like) or "not on the kernel's command line")
    yield _region(wanted, boot)
    yield from _cpus(wanted, boot)
    if wanted.multipath:
        value = {"Y": "on", "N": "off"}.get(boot.multipath, "nvme_core is not loaded")
        yield Finding(f"native NVMe multipath {wanted.multipath}", value == wanted.multipath, value)
    for name in wanted.modules:
        there = canonical(name) in boot.modules
        yield Finding(f"module {name}", there, "loaded" if there else "not loaded")


def _region(wanted: Reservation, boot: Boot) -> Finding:
    """Top-level entries only: drivers claim parts of a reserved region, below them."""
    tops = [r.span for r in parse_iomem(boot.iomem) if r.depth == 0 and r.span.meets(wanted.region)]
    reserved = not without([wanted.region], [span for span in tops if span.name == "Reserved"])
    ram = any(span.name == RAM for span in tops)
    found = ", ".join(f"{span} {span.name}" for span in tops) or "nothing is there"
    return Finding(f"{wanted.region} reserved", reserved and not ram, found)


def _cpus(wanted: Reservation, boot: Boot) -> Iterator[Finding]:
    workers = format_cpus(wanted.workers)
    keys = {word.partition("=")[0] for word in wanted.arguments}
    if "isolcpus" in keys:
        yield Finding(f"CPUs {workers} isolated", boot.isolated == workers, boot.isolated or "none")
    if "nohz_full" in keys:
        yield Finding(f"CPUs {workers} without a tick", boot.nohz_full == workers, boot.nohz_full or "none")
    if "irqaffinity" in keys:
        others, found = format_cpus(wanted.housekeeping), _mask(boot.irq_affinity)
        yield Finding(f"interrupts on CPUs {others}", found == others, found or "unknown")


def _mask(text: str) -> str:
    """CPUs of a mask in groups of 32 bits: "3,00000001" is 0,32-33."""
    digits = text.replace(",", "")
    bits = int(digits, 16) if re.fullmatch(r"[0-9a-f]+", digits) else 0
    return format_cpus(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)
