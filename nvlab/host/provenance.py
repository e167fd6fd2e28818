# SPDX-License-Identifier: GPL-2.0-or-later
"""What a measurement ran on: kernel, CPUs, memory, clocks, modules, the stack's settings, tools. Stdlib only.

:func:`collect` runs on the node, :func:`controller` where the user is. What cannot be read is left out; nothing here raises.
Files are read rather than programs started: in an emulated guest a program costs a tenth of a second.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nvlab
from nvlab.host.read import SECRET, children, files, sha256, text, tree
from nvlab.record.events import clock

Facts = dict[str, Any]

#: modules whose build and parameters can change a result; those not loaded are left out
MODULES = (
    *(
        "nvlab",
        "nvmev",
        "nvme",
        "nvme_core",
        "nvme_tcp",
        "nvme_fabrics",
        "nvmet",
        "nvmet_tcp",
        "nvme_loop",
        "nvmet_rdma",
    ),
    *("raid0", "raid1", "raid10", "raid456", "md_mod", "async_xor", "xor", "dm_mod", "dm_cache", "dm_writecache"),
    *("rapiddisk", "rapiddisk_cache", "null_blk", "brd", "loop", "ext4", "xfs", "kvm", "kvm_intel", "kvm_amd"),
)
PACKAGES = (
    "fio",
    "mdadm",
    "nvme-cli",
    "dmsetup",
    "rapiddisk",
    "rapiddisk-dkms",
    "qemu-system-x86",
    "xfsprogs",
    "e2fsprogs",
)
_QUEUE = (
    *("scheduler", "nr_requests", "write_cache", "fua", "rotational", "logical_block_size", "physical_block_size"),
    *(
        "max_sectors_kb",
        "max_hw_sectors_kb",
        "nomerges",
        "rq_affinity",
        "io_poll",
        "wbt_lat_usec",
        "discard_max_bytes",
        "zoned",
    ),
)
_CONTROLLER = (
    *("model", "serial", "firmware_rev", "transport", "address", "subsysnqn", "hostnqn", "hostid", "cntlid", "state"),
    *("queue_count", "sqsize", "kato", "reconnect_delay", "ctrl_loss_tmo", "fast_io_fail_tmo", "numa_node"),
)
_CPU_POLICY = (
    "scaling_driver",
    "scaling_governor",
    "energy_performance_preference",
    "scaling_min_freq",
    "scaling_max_freq",
)
_SYSCTLS = (
    *("dev/raid/speed_limit_min", "dev/raid/speed_limit_max", "vm/swappiness", "vm/dirty_ratio", "kernel/nmi_watchdog"),
    *(
        "net/ipv4/tcp_congestion_control",
        "net/core/rmem_max",
        "net/core/wmem_max",
        "net/core/busy_read",
        "net/core/busy_poll",
    ),
)


def collect(devices: Sequence[str] = (), root: Path = Path("/")) -> Facts:
    """Everything known about this node. ``devices`` are kernel names of block devices (default: all but loops and RAM disks).

    ``root`` is the directory under which /proc, /sys and the like are looked up.
    """
    facts = {
        "identity": _identity(root),
        "kernel": _kernel(root),
        "machine": _machine(root),
        "cpu": _cpu(root),
        "memory": _memory(root),
        "clocksource": files(root / "sys/devices/system/clocksource/clocksource0", _CLOCKSOURCE),
        "modules": {name: facts for name in MODULES if (facts := _module(root / "sys/module" / name))},
        "block": _block(root, devices),
        "nvme": {path.name: files(path, _CONTROLLER) for path in children(root / "sys/class/nvme")},
        "nvmet": tree(root / "sys/kernel/config/nvmet"),
        "mdstat": text(root / "proc/mdstat"),
        "interrupts": _interrupts(root),
        "network": {p.name: files(p, ("mtu", "operstate", "speed")) for p in children(root / "sys/class/net")},
        "sysctl": files(root / "proc/sys", _SYSCTLS),
        "packages": packages(PACKAGES, root),
        "fio": _fio(),
    }
    return {name: value for name, value in facts.items() if value}


def controller(argv: Sequence[str] | None = None) -> Facts:
    """What the controller adds: nvlab's version and commit, the command, the host it was given on."""
    here = Path(nvlab.__file__).resolve().parent
    return {
        "nvlab": {"version": nvlab.__version__} | _git(here),
        "argv": list(sys.argv if argv is None else argv),
        "python": platform.python_version(),
        "host": dict(zip(("system", "node", "release", "version", "machine"), os.uname(), strict=True)),
        "cpus": os.cpu_count(),
        "load": list(os.getloadavg()),
        "packages": packages(("qemu-system-x86",)) | _python_packages(("virtme-ng", "numpy", "matplotlib")),
        "clock": clock(),
    }


def counters(root: Path = Path("/")) -> dict[str, str]:
    """The kernel's running totals, as text: read before and after a workload, the difference is what it cost.

    ``throttled``: how often each CPU was, for heat or power.
    """
    names = ("diskstats", "interrupts", "stat", "vmstat", "sys/kernel/tainted", "loadavg")
    throttled = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [text(path) for path in sorted(throttled)]
    return {**files(root / "proc", names, limit=1 << 20), **({"throttled": " ".join(counts)} if counts else {})}


def packages(names: Iterable[str], root: Path = Path("/")) -> dict[str, str]:
    """Versions of installed Debian packages, from dpkg's own file (no process is started)."""
    status = "\n" + text(root / "var/lib/dpkg/status", limit=1 << 26)
    found = {}
    for name in names:
        start = status.find(f"\nPackage: {name}\n")
        entry = status[start : status.find("\n\n", start)] if start >= 0 else ""
        version = re.search(r"^Version: (.+)$", entry, re.M)
        if version and "\nStatus: install ok installed\n" in entry:
            found[name] = version[1]
    return found


def _python_packages(names: Iterable[str]) -> dict[str, str]:
    import importlib.metadata  # half the standard library comes along; the node does without

    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# -- the parts -----------------------------------------------------------------------------------------------------------

_CLOCKSOURCE = ("current_clocksource", "available_clocksource")


def _identity(root: Path) -> Facts:
    return {
        "host": os.uname().nodename,
        "boot_id": text(root / "proc/sys/kernel/random/boot_id"),
        "uptime": text(root / "proc/uptime").split(" ")[0],
        "root": os.geteuid() == 0,
        "clock": clock(),
    }


def _kernel(root: Path) -> Facts:
    release = text(root / "proc/sys/kernel/osrelease")
    config = root / "boot" / f"config-{release}"
    return {
        "release": release,
        "version": text(root / "proc/version"),
        "cmdline": text(root / "proc/cmdline"),
        "config_sha256": sha256(config),
        "tainted": text(root / "proc/sys/kernel/tainted"),
        "lockdown": text(root / "sys/kernel/security/lockdown"),
    }


def _machine(root: Path) -> Facts:
    facts: Facts = dict(
        files(root / "sys/class/dmi/id", ("sys_vendor", "product_name", "product_version", "bios_version"))
    )
    facts["hypervisor"] = " hypervisor" in text(root / "proc/cpuinfo", limit=8192)
    return facts


def _cpu(root: Path) -> Facts:
    base = root / "sys/devices/system/cpu"
    info = dict(re.findall(r"^(model name|microcode|flags)\s*: (.*)$", text(root / "proc/cpuinfo", limit=8192), re.M))
    return {
        "model": info.get("model name", ""),
        "microcode": info.get("microcode", ""),
        "flags": info.get("flags", ""),
        **files(base, ("online", "present", "isolated", "nohz_full", "smt/active", "smt/control")),
        "nodes": text(root / "sys/devices/system/node/online"),
        "policy": files(base / "cpu0/cpufreq", _CPU_POLICY),
        "turbo": files(base, ("intel_pstate/no_turbo", "cpufreq/boost")),
        "idle": files(base, ("cpuidle/current_driver", "cpuidle/current_governor")),
        "siblings": {
            p.parent.parent.name: text(p) for p in sorted(base.glob("cpu[0-9]*/topology/thread_siblings_list"))
        },
        "vulnerabilities": {p.name: text(p) for p in children(base / "vulnerabilities")},
    }


def _memory(root: Path) -> Facts:
    fields = ("MemTotal", "MemAvailable", "SwapTotal", "HugePages_Total")
    info = dict(re.findall(r"^(\w+):\s+(\d+)", text(root / "proc/meminfo"), re.M))
    thp = root / "sys/kernel/mm/transparent_hugepage"
    return {
        "swaps": text(root / "proc/swaps"),
        "meminfo_kib": {name: int(info[name]) for name in fields if name in info},
        "transparent_hugepage": files(thp, ("enabled", "defrag")),
        # without root the addresses read as zeros, which would say something wrong
        "iomem": text(root / "proc/iomem", limit=1 << 17) if os.geteuid() == 0 else "",
    }


def _module(path: Path) -> Facts:
    if not path.is_dir():
        return {}
    parameters = {p.name: text(p) for p in children(path / "parameters")}
    facts: Facts = dict(files(path, ("version", "srcversion", "taint", "initstate")))
    facts["build_id"] = _build_id(path / "notes/.note.gnu.build-id")
    facts["parameters"] = {k: v for k, v in parameters.items() if v and not SECRET.search(k)}
    return {k: v for k, v in facts.items() if v} or {"builtin": True}


def _build_id(note: Path) -> str:
    """The descriptor of an ELF note: 12 bytes of sizes and type, the name "GNU\\0", then the id."""
    try:
        return note.read_bytes()[16:].hex()
    except OSError:
        return ""


def _block(root: Path, devices: Sequence[str]) -> Facts:
    base = root / "sys/class/block"
    names = devices or [
        p.name for p in children(base) if not re.match(r"(loop|ram|zram)\d", p.name) and (p / "queue").is_dir()
    ]
    return {name: _device(base / name) for name in names if (base / name).is_dir()}


def _device(path: Path) -> Facts:
    facts: Facts = dict(files(path, ("size", "ro", "start")))
    facts["queue"] = files(path / "queue", _QUEUE)
    facts["slaves"] = [p.name for p in children(path / "slaves")]
    facts["holders"] = [p.name for p in children(path / "holders")]
    return facts


def _interrupts(root: Path) -> Facts:
    """The lines of NVMe queues, with the CPUs they really go to."""
    lines = [line for line in text(root / "proc/interrupts", limit=1 << 20).splitlines() if "nvme" in line]
    numbers = {line.split(":", 1)[0].strip(): line.split()[-1] for line in lines}
    return {name: text(root / f"proc/irq/{irq}/effective_affinity_list") for irq, name in numbers.items()}


def _fio() -> Facts:
    """The binary; its version stands in each result of its own."""
    path = shutil.which("fio")
    return {"path": path, "sha256": sha256(Path(path))} if path else {}


def _git(directory: Path) -> Facts:
    """The checkout's commit, and whether it has been changed since; nothing for an installed package."""
    if not (directory.parent / ".git").exists():
        return {}
    command = ["git", "-C", str(directory.parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {"commit": said.removesuffix("-dirty"), "dirty": said.endswith("-dirty")} if said else {}
