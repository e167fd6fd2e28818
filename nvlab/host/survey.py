# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``nvlab doctor`` must know of a node, read on it: its provenance, what keeps a lab from coming up, what bends figures.

Text is left as the kernel wrote it; nvlab.doctor.facts makes sense of it, on the controller. Stdlib only; nothing here raises for
what cannot be read.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from stat import S_IWUSR
from typing import Any

from nvlab.host.kernelfiles import BIG, kernel_files
from nvlab.host.provenance import collect
from nvlab.host.read import PATH, children, files, text
from nvlab.kernel.btf import KERNEL
from nvlab.units import format_cpus

SAMPLE = 0.2  # seconds over which the CPU time of other programs is counted
_SECURE_BOOT = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"  # of EFI's global variables (UEFI specification, 3.3)
_SIOCGIFCONF = 0x8912
_IFREQ = 40  # bytes of struct ifreq with a 64-bit kernel
_LIMIT = 10.0  # seconds for nft


def survey(asked: Mapping[str, Iterable[str]], root: Path = Path("/")) -> dict[str, Any]:
    """Everything about this node. ``asked``: names of "modules", config "options" and "programs" to look for."""
    before = _cpu_times()
    release = text(root / "proc/sys/kernel/osrelease")
    facts = {
        **collect(root=root),
        "kernel_files": kernel_files(release, asked, root),
        "loading": _loading(root),
        "programs": [name for name in asked.get("programs", ()) if shutil.which(name, path=PATH)],
        "governors": _governors(root),
        "idle_states": _idle_states(root),
        "addresses": _addresses(root),
        "listeners": [text(root / "proc/net" / name, limit=BIG) for name in ("tcp", "tcp6")],
        "firewall": _firewall(),
        "btf": (root / KERNEL.relative_to("/")).exists(),
        "movable": _movable(root),
        "iommu": {p.name: text(p / "type") for p in children(root / "sys/kernel/iommu_groups")},
        "processes": sorted(_processes(root)),
        "units": _units(root),
    }
    time.sleep(max(0.0, before[0] + SAMPLE - time.monotonic()))  # what is counted is time
    return {**facts, "busy": _busy(before, _cpu_times())}


# -- modules ---------------------------------------------------------------------------------------------------


def _loading(root: Path) -> dict[str, Any]:
    """What may keep a module out."""
    variable = root / "sys/firmware/efi/efivars" / _SECURE_BOOT
    status = dict(re.findall(r"^(Cap\w+):\s+(\w+)$", text(root / "proc/self/status"), re.M))
    secure = b""
    with suppress(OSError):
        secure = variable.read_bytes()  # 4 bytes of attributes, then the value
    return {
        "supported": (root / "proc/modules").exists(),
        "capabilities": status.get("CapEff", "0"),
        "disabled": text(root / "proc/sys/kernel/modules_disabled"),
        "signed_only": text(root / "sys/module/module/parameters/sig_enforce"),
        "secure_boot": secure[4:5] == b"\1",
    }


# -- CPUs ------------------------------------------------------------------------------------------------------


def _governors(root: Path) -> dict[str, str]:
    """{governor: CPUs}, the CPUs as the kernel lists them."""
    found: dict[str, list[int]] = {}
    for path in children(root / "sys/devices/system/cpu/cpufreq"):
        cpus = [int(cpu) for cpu in text(path / "affected_cpus").split()]
        found.setdefault(text(path / "scaling_governor"), []).extend(cpus)
    return {name: format_cpus(cpus) for name, cpus in found.items() if name and cpus}


def _idle_states(root: Path) -> list[dict[str, Any]]:
    """Each C-state: name, exit latency in us, on which CPUs it is enabled."""
    states: dict[str, dict[str, Any]] = {}
    for path in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpuidle/state*")):
        said = files(path, ("name", "latency", "disable"))
        state = states.setdefault(path.name, {"latency": "0", "name": "", **said, "state": path.name, "on": []})
        if said.get("disable") == "0":
            state["on"].append(int(path.parent.parent.name.removeprefix("cpu")))
    return [{**state, "on": format_cpus(state["on"])} for state in states.values()]


def _processes(root: Path) -> set[str]:
    """Names of all programs that run, kernel threads left out."""
    return {text(path) for path in (root / "proc").glob("[0-9]*/comm") if text(path.parent / "cmdline", limit=64)}


_UNIT = re.compile(r":/system\.slice/(?:.*/)?([^/\n]+\.service)$", re.M)


def _units(root: Path) -> dict[str, str]:
    """{program: systemd's unit that it runs in} (cgroups(7), /proc/PID/cgroup)."""
    found = {}
    for path in (root / "proc").glob("[0-9]*/cgroup"):
        if unit := _UNIT.search(text(path)):
            found[text(path.parent / "comm")] = unit[1]
    return found


Times = tuple[float, dict[int, tuple[str, int]], list[int]]


def _cpu_times() -> Times:
    """When, {pid: (name, ticks)} of all programs, and the ticks of all CPUs by kind (proc(5), /proc/stat)."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            name, _, rest = text(Path(entry.path, "stat")).partition("(")[2].rpartition(")")
            fields = rest.split()
            if fields and not int(fields[6]) & 0x200000:  # PF_KTHREAD
                found[int(entry.name)] = (name, int(fields[11]) + int(fields[12]))
    total = [int(word) for word in text(Path("/proc/stat"), limit=4096).splitlines()[0].split()[1:]]
    return time.monotonic(), found, total


def _busy(before: Times, after: Times) -> dict[str, Any]:
    """CPUs' worth of time that other programs used, by name, and that a hypervisor gave to somebody else ("steal")."""
    ticks = (after[0] - before[0]) * os.sysconf("SC_CLK_TCK")
    ours = {os.getpid(), os.getppid(), 1}
    used: dict[str, float] = {}
    for pid, (name, count) in after[1].items():
        if pid in before[1] and pid not in ours and count > before[1][pid][1]:
            used[name] = used.get(name, 0.0) + round((count - before[1][pid][1]) / ticks, 2)
    steal = after[2][7] - before[2][7] if len(after[2]) > 7 else 0
    return {"programs": used, "steal": round(steal / ticks, 2)}


def _movable(root: Path) -> list[dict[str, Any]]:
    """Interrupts that root may send to other CPUs, and how many a second there were of each since boot.

    The kernel keeps those of its own and those that it spreads by itself (managed ones, such as NVMe queues') read-only. Of
    /proc/interrupts a line is "NUMBER: COUNT of each CPU CHIP PIN NAME".
    """
    seconds = float(text(root / "proc/uptime").partition(" ")[0] or "inf")
    head, *lines = text(root / "proc/interrupts", limit=BIG).splitlines() or [""]
    found = []
    for number, _, rest in (line.strip().partition(":") for line in lines):
        words, cpus = rest.split(), len(head.split())
        path = root / "proc/irq" / number
        with suppress(OSError):
            if number.isdigit() and (path / "smp_affinity_list").stat().st_mode & S_IWUSR:
                rate = sum(map(int, words[:cpus])) / seconds
                cpus_now = files(path, ("effective_affinity_list", "smp_affinity_list"))
                found.append({"number": int(number), "name": words[-1], "rate": rate, **cpus_now})
    return found


# -- network ---------------------------------------------------------------------------------------------------


def _addresses(root: Path) -> dict[str, list[str]]:
    """{interface: its addresses}."""
    found: dict[str, list[str]] = {}
    for name, address in [*_ipv4(), *_ipv6(text(root / "proc/net/if_inet6"))]:
        found.setdefault(name, []).append(address)
    return found


def _ipv4() -> list[tuple[str, str]]:
    """netdevice(7), SIOCGIFCONF: an array of struct ifreq, a name of 16 bytes and a struct sockaddr_in each."""
    import array

    buffer = array.array("B", bytes(_IFREQ * 1024))
    address, length = buffer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        used = struct.unpack("iL", ioctl(probe, _SIOCGIFCONF, struct.pack("iL", length, address)))[0]
    data = buffer.tobytes()[:used]
    entries = [data[at : at + _IFREQ] for at in range(0, used, _IFREQ)]
    return [(e[:16].partition(b"\0")[0].decode(), socket.inet_ntop(socket.AF_INET, e[20:24])) for e in entries]


def _ipv6(table: str) -> list[tuple[str, str]]:
    """/proc/net/if_inet6: an address of 32 digits first, the interface last."""
    rows = [line.split() for line in table.splitlines()]
    return [(row[-1], socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))) for row in rows]


def _firewall() -> str:
    """nftables' rules as JSON (libnftables-json(5)); empty where they cannot be read. iptables' rules are among them."""
    nft = shutil.which("nft", path=PATH)
    if not nft:
        return ""
    try:
        done = subprocess.run(
            [nft, "--json", "list", "ruleset"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[:BIG]
