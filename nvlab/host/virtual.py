# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a machine is one of its own, or who emulates it: figures of an emulated CPU say nothing of absolute speed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from nvlab.host.read import PATH, text

BARE = "none"
_TCG = "qemu"  # systemd-detect-virt(1): QEMU without KVM
_EMULATED = "QEMU TCG CPU"  # how QEMU names the CPU that it emulates, unless told otherwise
_LIMIT = 60.0  # seconds


def virtualization(root: Path = Path("/")) -> str:
    """"none" on bare metal, else "kvm", "tcg" (an emulated CPU), or what systemd-detect-virt(1) calls the hypervisor.

    Without that program, or where it does not know: "virtual", if the CPU says that there is a hypervisor.
    """
    cpus = text(root / "proc/cpuinfo", limit=8192)
    if _EMULATED in cpus:
        return "tcg"
    said = _asked()
    if said and said != BARE:
        return "tcg" if said == _TCG else said
    return "virtual" if " hypervisor" in cpus else BARE


def _asked() -> str:
    program = shutil.which("systemd-detect-virt", path=PATH)
    if not program:
        return ""
    try:
        done = subprocess.run([program, "--vm"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
