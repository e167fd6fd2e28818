# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether KVM works here. Only a boot tells: on some hosts /dev/kvm opens and the guest then never says a word."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from nvlab.errors import EnvironmentNotReady
from nvlab.nodes.qemu import BINARY
from nvlab.nodes.state import read_json, write_json

_LIMIT = 10.0  # seconds; with KVM a kernel without a root gets to its panic in about one
_REACHED = "Unable to mount root"


@dataclass(frozen=True)
class Accel:
    """``name`` is "kvm" or "tcg"; ``why`` says, for tcg, what keeps KVM from being used; ``qemu`` is QEMU's version."""

    name: str
    why: str
    qemu: str


def accelerator(kernel: Path, state: Path) -> Accel:
    """The accelerator to use, probed by booting ``kernel`` once per boot of this host and version of QEMU."""
    known = found(state)
    if known is None:
        key = _key()
        why = _probe(kernel)
        known = Accel("tcg" if why else "kvm", why, key["qemu"])
        state.mkdir(parents=True, exist_ok=True)
        write_json(state / "kvm.json", {"key": key, "accel": asdict(known)})
    return known


def found(state: Path) -> Accel | None:
    """What is known of KVM without booting anything: that it cannot be opened, or what a probe on this boot said."""
    key = _key()
    if key["kvm"]:
        return Accel("tcg", key["kvm"], key["qemu"])
    known = read_json(state / "kvm.json")
    return Accel(**known["accel"]) if known.get("key") == key else None


def _key() -> dict[str, str]:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"boot_id": boot_id, "qemu": qemu_version(), "kvm": _device()}


def qemu_version() -> str:
    """ "7.2.22 (Debian …)". Raises EnvironmentNotReady without QEMU."""
    try:
        text = subprocess.run([BINARY, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        raise EnvironmentNotReady(
            f"{BINARY} is not installed or does not run", hint="apt-get install qemu-system-x86 busybox-static"
        ) from None
    return text.splitlines()[0].partition("version ")[2]


def _device() -> str:
    """Why /dev/kvm cannot even be opened; empty when it can."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return ""


def _probe(kernel: Path) -> str:
    """Boot ``kernel`` without a root; empty when it got as far as missing it, else what happened instead."""
    arguments = "console=ttyS0 panic=-1"
    argv = [BINARY, "-accel", "kvm", "-cpu", "host", "-machine", "q35", "-smp", "2", "-m", "512M", "-nodefaults"]
    argv += ["-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", str(kernel), "-append", arguments]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT, check=False)
    except subprocess.TimeoutExpired as expired:
        said = len((expired.stdout or b"").splitlines())
        return f"the guest did not start ({said} lines of console in {_LIMIT:.0f} s)"
    if _REACHED in done.stdout.decode(errors="replace"):
        return ""
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no word from QEMU"]
    return f"the guest did not start ({last[0]})"
