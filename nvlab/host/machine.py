# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot reservation is planned from, read off /proc and /sys (Documentation/ABI: sysfs-firmware-memmap and others)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nvlab.errors import EnvironmentNotReady
from nvlab.host import kernelfiles
from nvlab.host.edge import Host
from nvlab.host.isolation import OPTIONS, Cpu, Topology
from nvlab.host.memmap import Resource, Span, memory_of, merge, parse_firmware, parse_iomem, without
from nvlab.host.reservation import Machine
from nvlab.units import memparse, parse_cpus

_FIRMWARE = "/sys/firmware/memmap"
_CPUS = "/sys/devices/system/cpu"
_NODES = "/sys/devices/system/node"
_CMA = "/sys/kernel/debug/cma"
_FIXED = re.compile(r"(?:^|\s)(cma|crashkernel)=(\w+)@(\w+)(?:-(\w+))?(?=\s|$)")
_PAGE = 4096
_ALL = Span(0, 1 << 64)


@dataclass(frozen=True)
class Own:
    """What nvlab asked for before: the kernel that runs may have it already, and a new plan may have it again."""

    region: Span
    node: int
    arguments: tuple[str, ...]


def read_machine(host: Host, modules: Iterable[str] = (), own: Own | None = None) -> Machine:
    """The machine as it is; ``modules``: which to look for. Raises EnvironmentNotReady where Linux does not say enough."""
    cmdline = host.text("/proc/cmdline")
    release = host.text("/proc/sys/kernel/osrelease")
    meminfo = dict(re.findall(r"^(\w+):\s+(\d+) kB", host.text("/proc/meminfo"), re.M))
    areas = list(_areas(host, cmdline))
    notes = []
    if int(meminfo.get("CmaTotal", 0)) and not host.names(_CMA):
        notes.append("there is a contiguous-memory area (CMA), but only debugfs says where: mount it, and plan again")
    return Machine(
        memory=memory_of(_firmware(host), _iomem(host), _node_memory(host, own), areas, own.region if own else None),
        cpus=_topology(host),
        cmdline=tuple(word for word in cmdline.split() if own is None or word not in own.arguments),
        config=kernelfiles.config(release, OPTIONS, host.root),
        modules=frozenset(kernelfiles.loadable(release, modules, host.root)),
        builtin=kernelfiles.builtin(release, host.root),
        used=(int(meminfo.get("MemTotal", 0)) - int(meminfo.get("MemAvailable", 0))) << 10,
        notes=tuple(notes),
    )


def _firmware(host: Host) -> list[Span]:
    entries = [f"{_FIRMWARE}/{name}" for name in host.names(_FIRMWARE)]
    if not entries:
        raise EnvironmentNotReady(
            f"there is no firmware memory map ({_FIRMWARE})",
            hint=f"memmap= and this map are x86's (CONFIG_FIRMWARE_MEMMAP); this kernel is {os.uname().machine}",
        )
    return parse_firmware((host.text(f"{e}/start"), host.text(f"{e}/end"), host.text(f"{e}/type")) for e in entries)


def _iomem(host: Host) -> list[Resource]:
    found = parse_iomem(host.text("/proc/iomem"))
    if not found:
        raise EnvironmentNotReady("/proc/iomem shows no addresses", hint="only root sees them: run it with sudo")
    return found


def _topology(host: Host) -> Topology:
    nodes = {cpu: node for node in _nodes(host) for cpu in _cpu_list(host, f"{_NODES}/node{node}/cpulist")}
    online = _cpu_list(host, f"{_CPUS}/online")
    return {
        cpu: Cpu(nodes.get(cpu, 0), _cpu_list(host, f"{_CPUS}/cpu{cpu}/topology/thread_siblings_list") or (cpu,))
        for cpu in online
    }


def _cpu_list(host: Host, name: str) -> tuple[int, ...]:
    text = host.text(name)
    return parse_cpus(text) if text else ()


def _nodes(host: Host) -> list[int]:
    """NUMA nodes; a kernel without NUMA has node 0."""
    return sorted(int(name[4:]) for name in host.names(_NODES) if re.fullmatch(r"node\d+", name)) or [0]


def _node_memory(host: Host, own: Own | None) -> dict[int, Sequence[Span]]:
    """The memory of each node that has some; a block that two nodes share belongs to neither."""
    nodes = _nodes(host)
    if len(nodes) == 1:
        return {nodes[0]: [_ALL]}
    blocks = {node: list(_blocks(host, node)) for node in nodes}
    if not any(blocks.values()):
        raise EnvironmentNotReady(
            f"{_NODES} does not say which memory is on which node", hint="the kernel needs CONFIG_MEMORY_HOTPLUG"
        )
    others = {node: [span for n in nodes if n != node for span in blocks[n]] for node in nodes}
    known = {node: without(blocks[node], others[node]) for node in nodes if blocks[node]}
    if own and own.node in known:
        known[own.node] = merge([*known[own.node], own.region])
    return known  # type: ignore[return-value]


def _blocks(host: Host, node: int) -> Iterator[Span]:
    size = int(host.text("/sys/devices/system/memory/block_size_bytes") or "0", 16)
    for name in host.names(f"{_NODES}/node{node}"):
        if match := re.fullmatch(r"memory(\d+)", name):
            yield Span(int(match[1]) * size, (int(match[1]) + 1) * size)


def _areas(host: Host, cmdline: str) -> Iterator[Span]:
    """Contiguous-memory areas as debugfs has them, and what the command line gives a fixed place."""
    for name in host.names(_CMA):
        frame, count = host.text(f"{_CMA}/{name}/base_pfn"), host.text(f"{_CMA}/{name}/count")
        if frame.isdigit() and count.isdigit():
            yield Span(int(frame) * _PAGE, (int(frame) + int(count)) * _PAGE, f"CMA {name}")
    for match in _FIXED.finditer(cmdline):
        with suppress(ValueError):  # the kernel ignores it too
            start = memparse(match[3])
            yield Span(start, memparse(match[4]) if match[4] else start + memparse(match[2]), match[1])
