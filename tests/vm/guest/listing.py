# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs as root inside a guest: prints, as JSON, everything a lab could leave behind there."""

import json
import os
import subprocess
from pathlib import Path

TREES = ("/sys/kernel/config", "/etc/mdadm", "/dev/mapper", "/dev/md")
OWN = ("/var/lib/nvlab", "/run/nvlab")
SHELLS = (".lock", "leases.json")  # what stays of nvlab's own state: locks, and a table without leases


def modules() -> list[str]:
    return sorted(line.split()[0] for line in Path("/proc/modules").read_text().splitlines())


def mounts() -> list[str]:
    return sorted(" ".join(line.split()[1:3]) for line in Path("/proc/mounts").read_text().splitlines())


def processes() -> list[str]:
    """Programs, by name; kernel threads come and go as they like, and udev's workers too."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] and words[0] != b"(udev-worker)" and path.name != str(os.getpid()):
            found.append(words[0].decode())
    return sorted(set(found))


def tree(top: str) -> list[str]:
    return sorted(str(p) for p in Path(top).rglob("*"))


def own_files(top: str) -> list[str]:
    return [path for path in tree(top) if os.path.isfile(path) and not path.endswith(SHELLS)]


def leases() -> str:
    path = Path("/var/lib/nvlab/leases.json")
    return path.read_text().strip() if path.exists() else "{}"


def signatures() -> str:
    disks = sorted(f"/dev/{name}" for name in os.listdir("/sys/block"))
    return subprocess.run(["blkid", "-p", *disks], capture_output=True, text=True).stdout if disks else ""


def listening() -> list[str]:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sorted(line.split()[1] for line in lines if line.split()[3] == "0A")


def names(directory: str) -> list[str]:
    return sorted(os.listdir(directory)) if Path(directory).exists() else []


print(
    json.dumps(
        {
            "modules": modules(),
            "mounts": mounts(),
            "processes": processes(),
            "block": names("/sys/block"),
            "pci": names("/sys/bus/pci/devices"),
            "nvme": names("/sys/class/nvme"),
            "listening": listening(),
            "links": names("/sys/class/net"),
            "routes": Path("/proc/net/route").read_text(),
            "namespaces": names("/run/netns"),
            "leases": json.loads(leases()).get("keys", {}),
            "signatures": signatures(),
            **{top: tree(top) for top in TREES},
            **{top: own_files(top) for top in OWN},
        }
    )
)
