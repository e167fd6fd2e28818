# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the kernel: what it was built with, whether it lets modules in, what it has been through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvlab.doctor.facts import Facts
from nvlab.doctor.finding import Finding, listed
from nvlab.doctor.wants import Wants
from nvlab.kernel.btf import KERNEL

TESTED = ((6, 1), (6, 12))  # what nvlab.ko is built and tested on

#: every module that a layer may need: the config option that makes it, and what is not to be had without it.
#: RapidDisk's are no part of Linux, and dm-cache takes their place: they are missed only where a scenario insists on them.
MODULES: dict[str, tuple[str, str]] = {
    "configfs": ("CONFIGFS_FS", "[device.x], [export.x], [disk.x] of kind null_blk"),
    "nvme": ("BLK_DEV_NVME", "[device.x]"),
    "null_blk": ("BLK_DEV_NULL_BLK", "[disk.x] of kind null_blk"),
    "loop": ("BLK_DEV_LOOP", "[disk.x] of kind loop"),
    "brd": ("BLK_DEV_RAM", "[disk.x] of kind brd"),
    "raid0": ("MD_RAID0", "[raid.x] of level 0"),
    "raid1": ("MD_RAID1", "[raid.x] of level 1"),
    "raid10": ("MD_RAID10", "[raid.x] of level 10"),
    "raid456": ("MD_RAID456", "[raid.x] of level 4/5/6, write journal"),
    "dm_cache": ("DM_CACHE", "[cache.x] without RapidDisk"),
    "dm_cache_smq": ("DM_CACHE_SMQ", "[cache.x] without RapidDisk"),
    "ext4": ("EXT4_FS", "[filesystem.x] of type ext4"),
    "xfs": ("XFS_FS", "[filesystem.x] of type xfs"),
    "veth": ("VETH", "[wire.x]"),
    "sch_netem": ("NET_SCH_NETEM", "[wire.x] with a delay or a rate"),
    "nvmet": ("NVME_TARGET", "[export.x]"),
    "nvmet_tcp": ("NVME_TARGET_TCP", "[export.x]"),
    "nvme_fabrics": ("NVME_FABRICS", "[connect.x]"),
    "nvme_tcp": ("NVME_TCP", "[connect.x]"),
}
OUT_OF_TREE = ("rapiddisk", "rapiddisk_cache")

#: what nvlab.ko cannot do without
OWN = {
    "PCI_MSI": "its interrupts",
    "PCI_DOMAINS": "its PCI bus",
    "TRACEPOINTS": "being woken by block_rq_issue",
}

#: options with which a kernel checks itself at every step
DEBUG = ("KASAN", "KCSAN", "UBSAN", "KCOV", "PROVE_LOCKING", "DEBUG_KMEMLEAK", "DEBUG_PAGEALLOC_ENABLE_DEFAULT", "SLUB_DEBUG_ON")

#: what makes a kernel describe its types (BTF), by which latency is measured at each layer
TYPES = "DEBUG_INFO_BTF"

OPTIONS = tuple(dict.fromkeys([*(option for option, _ in MODULES.values()), *OWN, *DEBUG, TYPES, "MODULES"]))

#: bits of /proc/sys/kernel/tainted (Documentation/admin-guide/tainted-kernels.rst) that tell of trouble
TAINTS = {4: "a machine check", 5: "a bad page", 7: "an oops", 9: "a warning", 14: "a soft lockup"}


def kernel_modules(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Modules that layers need are neither built in nor there as files. Those with one cure are one finding."""
    if facts.modules is None:
        return
    wanted = wants.modules if wants.scenario else {name: use for name, (_, use) in MODULES.items()}
    missing: dict[str, list[str]] = {}
    for name in sorted(set(wanted) - facts.modules):
        if (state := _state(name, facts)) != "y":
            missing.setdefault(state, []).append(name)
    for state, names in missing.items():
        for_what = listed(owner for name in names for owner in wanted[name].split(", "))
        yield Finding(
            "required" if wants.scenario else "note",
            f"Linux {facts.release} has no {'module' if len(names) == 1 else 'modules'} {listed(names)}{_STATES[state]}",
            f"needed by {for_what}" if wants.scenario else f"without there is no {for_what}",
            _module_cure(state, names, facts),
        )


#: what the kernel's configuration says of a module that is missing
_STATES = {"m": " (configured, but the file is missing)", "n": " (not configured)", "?": "", "extra": " (no part of Linux)"}


def _state(name: str, facts: Facts) -> str:
    if name not in MODULES:
        return "extra"
    return "?" if facts.config is None else facts.config.get(MODULES[name][0], "n")


def _module_cure(state: str, names: Sequence[str], facts: Facts) -> str:
    if state == "extra":
        return 'run setup/rapiddisk.sh (Linux 6.1 only), or say engine = "dm-cache" in the cache table'
    if state == "m":
        return (
            f"Debian: apt-get install --reinstall linux-image-{facts.release}; Ubuntu: apt-get install "
            f"linux-modules-extra-{facts.release}; then depmod"
        )
    options = " ".join(dict.fromkeys(f"CONFIG_{MODULES[name][0]}=m" for name in names))
    return f"apt-get install linux-image-amd64 and boot that, or rebuild this kernel with {options}"


def kernel_options(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """An option that nvlab.ko cannot do without."""
    missing = [name for name in OWN if facts.config is not None and name not in facts.config]
    if missing and wants.devices:
        yield Finding(
            "required",
            f"Linux {facts.release} is built without {listed(f'CONFIG_{name}' for name in missing)}",
            f"nvlab.ko, of which {listed(wants.devices)} is made, needs that for {listed(OWN[name] for name in missing)}",
            "apt-get install linux-image-amd64 and boot that, or rebuild this kernel with "
            + " ".join(f"CONFIG_{name}=y" for name in missing),
        )


def kernel_types(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A load is to be measured at each layer, on a kernel that does not say what its structs look like."""
    configured = facts.config is None or TYPES in facts.config
    described = configured if facts.btf is None else facts.btf
    if wants.layers and not described:
        yield Finding(
            "distorts",
            f"Linux {facts.release} does not describe its types (no {KERNEL}, CONFIG_{TYPES})",
            "layers = true then reads a record of every I/O at every layer, which takes CPU time, and cannot tell some apart; "
            f"asked for by {listed(wants.layers)}",
            f"apt-get install linux-image-amd64 and boot that; or rebuild this kernel with CONFIG_{TYPES}=y; or leave layers out",
        )


def debug_kernel(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A kernel that checks itself at every step."""
    if found := [name for name in DEBUG if name in (facts.config or {})]:
        yield Finding(
            "distorts",
            f"Linux {facts.release} is a debugging kernel: {listed(f'CONFIG_{name}' for name in found)}",
            "its checks take several times the time of what they check, and not of everything alike",
            "measure on the distribution's kernel: apt-get install linux-image-amd64",
        )


def kernel_version(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A version that nvlab.ko is not tested on."""
    version = tuple(map(int, re.findall(r"\d+", facts.release)[:2]))
    if wants.devices and version not in TESTED:
        yield Finding(
            "note",
            f"nvlab.ko is not tested on Linux {facts.release}",
            f"it is built and tested on {listed('.'.join(map(str, v)) for v in TESTED)}; elsewhere it may not build",
            "nvlab kmod build tells; or take a tested kernel: apt-get install linux-image-amd64",
        )


def module_loading(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """The running kernel takes no modules, or none of ours."""
    if reason := unloadable(facts):
        what, cure = reason
        yield Finding("required", what, "every layer of a lab is a module of the kernel", cure)
    elif facts.signed_only or facts.lockdown != "none":
        if not (wants.devices or wants.stand_ins or not wants.scenario):
            return
        because = "module.sig_enforce" if facts.signed_only else f"lockdown={facts.lockdown}"
        yield Finding(
            "required" if wants.scenario else "note",
            f"the kernel takes signed modules only ({because}{', secure boot is on' if facts.secure_boot else ''})",
            f"nvlab.ko is built here and not signed: {listed((*wants.devices, *wants.stand_ins)) or '[device.x]'} cannot be made",
            "turn secure boot off in the firmware, or sign nvlab.ko with a key enrolled by mokutil --import"
            if facts.secure_boot
            else "boot without module.sig_enforce and lockdown= on the kernel's command line",
        )


def unloadable(facts: Facts) -> tuple[str, str] | None:
    """Why not even a module of the distribution can be loaded, and what to do; None when it can."""
    if not facts.modules_supported:
        what = "this kernel loads no modules (nomodule, or built without)"
        return what, "boot a distribution's kernel without nomodule, or use a VM (the default)"
    if facts.modules_disabled:
        what = "module loading is switched off until the next boot (kernel.modules_disabled = 1)"
        return what, "reboot, after removing it from /etc/sysctl.d"
    if not facts.may_load:
        return "only root may load modules", "run nvlab as root (not in a container), or use a VM (the default)"
    return None


def module_headers(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """nvlab.ko cannot be built for this kernel."""
    if wants.devices and not facts.headers:
        yield Finding(
            "required",
            f"there are no headers of Linux {facts.release}",
            f"nvlab.ko is built for the kernel it runs on; needed by {listed(wants.devices)}",
            f"apt-get install linux-headers-{facts.release}",
        )


def kernel_health(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """The kernel has had an accident since it was booted."""
    if had := [text for bit, text in TAINTS.items() if facts.tainted >> bit & 1]:
        yield Finding(
            "distorts",
            f"the kernel has had {listed(had)} since it was booted",
            "what it left (held locks, a lost CPU, lost memory) is in every figure from then on",
            "dmesg says what it was; reboot before measuring (a guest: nvlab guest stop)",
        )
