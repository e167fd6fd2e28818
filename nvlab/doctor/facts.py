# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a machine, in a form that checks can ask: made of what nvlab.host.survey read there. Pure.

A fresh ``Facts()`` is a machine on which nothing is wrong: unit tests change one thing of it at a time.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nvlab.host.memmap import Span, parse_iomem
from nvlab.kernel.tune import parse_swaps
from nvlab.units import parse_cpus, parse_memmap

CAP_SYS_MODULE = 16  # include/uapi/linux/capability.h

Address = tuple[str, int]


@dataclass(frozen=True)
class IdleState:
    """A C-state: its name, how long it takes to leave it in us, the CPUs that may enter it, the name of its directory."""

    name: str
    latency: int
    cpus: tuple[int, ...]
    state: str = ""


@dataclass(frozen=True)
class Interrupt:
    """An interrupt that can be moved: its number, what it is of, where it goes, how many a second there were since boot."""

    number: int
    name: str
    cpus: tuple[int, ...]
    rate: float


@dataclass(frozen=True)
class Link:
    """A network interface."""

    mtu: int
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hosting:
    """What a machine has to run guests with. ``no_kvm``: why they are emulated, empty when they are not or nobody knows yet.

    ``guest_cpus`` and ``guest_memory`` (bytes): what the guest would get; ``virtme`` is virtme-ng's version, empty without it.
    """

    no_kvm: str = ""
    programs: frozenset[str] = frozenset({"qemu-system-x86_64", "busybox", "file", "make", "gcc"})
    virtme: str = "1.42"
    kernel: str = "6.1.0"
    guest_cpus: int = 1
    guest_memory: int = 1 << 30
    newer_headers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A machine. Sizes in bytes; ``config`` is None where the kernel's configuration is not to be found."""

    release: str = "6.1.0"
    config: Mapping[str, str] | None = None
    modules: frozenset[str] | None = None  # of those that a lab may need; None: all of them
    headers: bool = True
    btf: bool | None = None  # whether the running kernel describes its types; None: it has not been asked
    cmdline: str = ""
    tainted: int = 0

    modules_supported: bool = True
    may_load: bool = True  # root, with CAP_SYS_MODULE
    modules_disabled: bool = False
    signed_only: bool = False
    lockdown: str = "none"
    secure_boot: bool = False

    programs: frozenset[str] | None = None  # of those that a lab may need; None: all of them
    packages: Mapping[str, str] = field(default_factory=dict)
    processes: frozenset[str] = frozenset()
    units: Mapping[str, str] = field(default_factory=dict)  # systemd's unit of each program that runs by it

    reserved: tuple[tuple[int, int], ...] = ()
    taken: tuple[tuple[int, int], ...] = ()
    iomem: tuple[Span, ...] = ()
    available: int = 1 << 40
    swaps: tuple[str, ...] = ()

    online: tuple[int, ...] = (0, 1, 2, 3)
    isolated: tuple[int, ...] = ()
    siblings: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    governors: Mapping[str, str] = field(default_factory=dict)
    idle_states: tuple[IdleState, ...] = ()
    turbo: str = ""  # where it can be switched off, beside the CPUs' directories; empty: it is off
    clocksource: str = "tsc"
    clocksources: tuple[str, ...] = ("tsc",)
    hypervisor: bool = False
    iommu: frozenset[str] = frozenset()  # types of its groups: DMA, DMA-FQ, identity
    interrupts: tuple[Interrupt, ...] = ()

    links: Mapping[str, Link] = field(default_factory=lambda: {"lo": Link(65536, ("127.0.0.1", "::1"))})
    listening: frozenset[Address] = frozenset()
    exported: frozenset[Address] = frozenset()  # what nvmet's own ports listen on
    firewall: Sequence[Mapping[str, Any]] = ()

    syncing: Mapping[str, str] = field(default_factory=dict)  # array -> resync, recovery, check, reshape
    busy: Mapping[str, float] = field(default_factory=dict)  # program -> CPUs that it keeps busy
    steal: float = 0.0

    hosting: Hosting | None = None


def facts_of(survey: Mapping[str, Any], hosting: Hosting | None = None) -> Facts:
    """The facts in a survey."""
    parts = (_kernel, _loading, _memory, _cpu, _network, _load)
    return Facts(**{name: value for part in parts for name, value in part(survey).items()}, hosting=hosting)


def kernel_facts(files: Mapping[str, Any]) -> Facts:
    """What the files of a kernel say, and nothing of the machine it will run on."""
    return Facts(
        release=files["release"], config=files["config"], modules=frozenset(files["modules"]), headers=files["headers"]
    )


# -- the parts -------------------------------------------------------------------------------------------------


def _kernel(survey: Mapping[str, Any]) -> dict[str, Any]:
    known, own = survey["kernel"], survey["kernel_files"]
    return {
        "release": own["release"],
        "config": own["config"],
        "modules": frozenset(own["modules"]) | survey.get("modules", {}).keys(),  # what is there need not be in a file
        "headers": own["headers"],
        "btf": survey["btf"],
        "cmdline": known.get("cmdline", ""),
        "tainted": _int(known.get("tainted", "")),
        "programs": frozenset(survey["programs"]),
        "packages": survey.get("packages", {}),
        "processes": frozenset(survey["processes"]),
        "units": survey["units"],
    }


def _loading(survey: Mapping[str, Any]) -> dict[str, Any]:
    said = survey["loading"]
    lockdown = re.search(r"\[(\w+)\]", survey["kernel"].get("lockdown", ""))
    return {
        "modules_supported": said["supported"],
        "may_load": bool(int(said["capabilities"], 16) >> CAP_SYS_MODULE & 1),
        "modules_disabled": said["disabled"] == "1",
        "signed_only": said["signed_only"] == "Y",
        "secure_boot": said["secure_boot"],
        "lockdown": lockdown[1] if lockdown else "none",
    }


def _memory(survey: Mapping[str, Any]) -> dict[str, Any]:
    memory = survey["memory"]
    return {
        "reserved": tuple(parse_memmap(survey["kernel"].get("cmdline", ""))),
        "taken": tuple((start, size) for start, size in survey.get("taken", ())),
        "iomem": tuple(resource.span for resource in parse_iomem(memory.get("iomem", ""))),
        "available": memory["meminfo_kib"].get("MemAvailable", 0) << 10,
        "swaps": tuple(parse_swaps(memory.get("swaps", ""))),
    }


def _cpu(survey: Mapping[str, Any]) -> dict[str, Any]:
    cpu, clock = survey["cpu"], survey.get("clocksource", {})
    turbo = cpu.get("turbo", {})
    return {
        "online": _cpus(cpu.get("online", "")),
        "isolated": _cpus(cpu.get("isolated", "")),
        "siblings": {int(name.removeprefix("cpu")): _cpus(text) for name, text in cpu.get("siblings", {}).items()},
        "governors": survey["governors"],
        "idle_states": tuple(_idle_state(s) for s in survey["idle_states"]),
        "turbo": next((name for name, on in _TURBO_ON.items() if turbo.get(name) == on), ""),
        "clocksource": clock.get("current_clocksource", ""),
        "clocksources": tuple(clock.get("available_clocksource", "").split()),
        "hypervisor": survey["machine"]["hypervisor"],
        "iommu": frozenset(survey["iommu"].values()),
        "interrupts": tuple(_interrupt(s) for s in survey["movable"]),
    }


def _idle_state(said: Mapping[str, str]) -> IdleState:
    return IdleState(said["name"], _int(said["latency"]), _cpus(said["on"]), said["state"])


def _interrupt(said: Mapping[str, Any]) -> Interrupt:
    """One that has been moved goes where it did until it comes again."""
    allowed, now = (_cpus(said.get(name, "")) for name in ("smp_affinity_list", "effective_affinity_list"))
    cpus = tuple(cpu for cpu in now if cpu in allowed) or allowed
    return Interrupt(said["number"], said["name"], cpus, said["rate"])


_TURBO_ON = {"intel_pstate/no_turbo": "0", "cpufreq/boost": "1"}


def _network(survey: Mapping[str, Any]) -> dict[str, Any]:
    addresses = survey["addresses"]
    links = {
        name: Link(_int(said.get("mtu", "")), tuple(addresses.get(name, ()))) for name, said in survey.get("network", {}).items()
    }
    nvmet = survey.get("nvmet", {})
    ports = [key.removesuffix("/addr_trsvcid") for key in nvmet if key.endswith("/addr_trsvcid")]
    return {
        "links": links,
        "listening": frozenset(entry for table in survey["listeners"] for entry in _listening(table)),
        "exported": frozenset((nvmet.get(f"{p}/addr_traddr", ""), _int(nvmet[f"{p}/addr_trsvcid"])) for p in ports),
        "firewall": _rules(survey["firewall"]),
    }


def _listening(table: str) -> Iterator[Address]:
    """Local ends of sockets in state LISTEN, from /proc/net/tcp: an address is words of 32 bits in the CPU's order (proc(5))."""
    for row in (line.split() for line in table.splitlines()[1:]):
        if row[3] == "0A":
            digits, _, port = row[1].partition(":")
            words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
            family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
            yield socket.inet_ntop(family, b"".join(words)), int(port, 16)


def _rules(ruleset: str) -> Sequence[Mapping[str, Any]]:
    with suppress(ValueError, KeyError):
        return list(json.loads(ruleset)["nftables"])
    return ()


# status_resync() of drivers/md/md.c
_SYNC = re.compile(r"\b(resync|recovery|check|repair|reshape)\s*=\s*(?:[\d.]+%|DELAYED|PENDING)")


def _load(survey: Mapping[str, Any]) -> dict[str, Any]:
    arrays = re.findall(r"^(md\w+) : (.*(?:\n[ \t]+.*)*)", survey.get("mdstat", ""), re.M)
    busy = survey["busy"]
    return {
        "syncing": {name: found[1] for name, text in arrays if (found := _SYNC.search(text))},
        "busy": busy["programs"],
        "steal": busy["steal"],
    }


def _cpus(text: str) -> tuple[int, ...]:
    return parse_cpus(text) if text else ()


def _int(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0
