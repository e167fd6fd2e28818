# SPDX-License-Identifier: GPL-2.0-or-later
"""Doctor in a real guest: a clean one has nothing, one with ten deliberate faults has these ten."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvlab.nodes.qemu import GuestSpec
from nvlab.units import GIB, MIB

ROOT = Path(__file__).resolve().parents[2]
NAME = "doctor"

LAB = """
schema = 1
[device.log]
size = "64M"
cpus = "2-3"
[disk.pool]
count = 3
size = "512M"
[raid.md]
level = 5
on = "pool"
journal = { on = "log" }
[filesystem.data]
on = "spare"
type = "xfs"
[disk.spare]
size = "512M"
[export.drive]
on = "md"
hosts = ["client"]
[connect.client]
to = "drive"
[workload.w]
on = ["client"]
fio = { rw = "randread", runtime = "1s" }
"""

# check -> how the guest gets that fault, and what is said of it. Nothing can be loaded after the last.
FAULTS = {
    "clock-source": ("cd /sys/devices/system/clocksource/clocksource0; echo acpi_pm > current_clocksource", "acpi_pm"),
    "swap": ("modprobe brd rd_nr=3 rd_size=65536; mkswap -q /dev/ram2; swapon /dev/ram2", "/dev/ram2"),
    "resync": (
        "modprobe raid1; cd /proc/sys/dev/raid; echo 100 > speed_limit_min; echo 100 > speed_limit_max;"
        " mdadm --create /dev/md5 --run --level=1 --raid-devices=2 --bitmap=none /dev/ram0 /dev/ram1",
        "md5: resync",
    ),
    "mtu": ("ip link set lo mtu 1500", "MTU of 1500"),
    "other-load": ("setsid yes > /dev/null 2>&1 & until pgrep -x yes; do sleep 0.1; done", "yes ("),
    "company": (
        "cp /bin/sleep /run/irqbalance; setsid /run/irqbalance 9999 > /dev/null 2>&1 &"
        " until pgrep -x irqbalance; do sleep 0.1; done",
        "irqbalance",
    ),
    "port": (
        "setsid python3 -S -c 'import socket; s = socket.create_server((\"127.0.0.1\", 4420)); s.accept()' > /dev/null 2>&1 &"
        " until grep -q 0100007F:1144 /proc/net/tcp; do sleep 0.1; done",
        "127.0.0.1 port 4420",
    ),
    "kernel-modules": ("sed -i '/nvmet-tcp.ko.*:/d' /lib/modules/$(uname -r)/modules.dep", "no module nvmet_tcp"),
    "programs": ("rm /usr/sbin/mkfs.xfs", "mkfs.xfs"),
    "module-loading": ("echo 1 > /proc/sys/kernel/modules_disabled", "kernel.modules_disabled"),
}
REQUIRED = {"kernel-modules", "programs", "module-loading", "port"}


@pytest.fixture(scope="module")
def guest(own_guest) -> Iterator[Any]:
    """A guest of its own, as it cannot be mended."""
    spec = GuestSpec(kernel="6.1", cpus=4, memory=3 * GIB, reserved=((5 * GIB, 513 * MIB),))
    guest = own_guest(spec, NAME)
    guest.run("udevadm", "settle")
    yield guest
    guest.guest.stop()


@pytest.fixture
def scenario(tmp_path) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(LAB)
    return path


def doctor(*words: object) -> tuple[int, dict[str, Any]]:
    """The command's exit code and what it says of the guest."""
    argv = [sys.executable, "-m", "nvlab", "doctor", "--json", "--on", f"vm:{NAME}", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_clean_guest_is_left_in_peace(guest, scenario):
    for words in ((), (scenario,)):
        code, said = doctor(*words)
        assert said["findings"] == []
        assert (code, said["ready"]) == (0, True)
    assert said["machine"].startswith("guest doctor: Linux 6.1.")


def test_ten_faults_are_found_and_nothing_else(guest, scenario):
    assert len(FAULTS) == 10
    for fault, _ in FAULTS.values():
        guest.sh(fault)
    code, said = doctor(scenario)
    found = {finding["check"]: finding for finding in said["findings"]}
    assert found.keys() == FAULTS.keys()
    assert len(said["findings"]) == 10
    for check, (_, what) in FAULTS.items():
        assert what in found[check]["what"]
        assert found[check]["why"] and found[check]["cure"]
    assert {check for check, finding in found.items() if finding["severity"] == "required"} == REQUIRED
    assert (code, said["ready"]) == (3, False)


def test_its_cures_cure(guest, scenario):
    """Those that a command brings about."""
    _, before = doctor(scenario)
    for finding in before["findings"]:
        if finding["check"] in ("clock-source", "mtu"):
            guest.sh(finding["cure"])
    guest.sh("swapoff /dev/ram2; pkill -x yes; pkill -x irqbalance")
    _, after = doctor(scenario)
    left = {finding["check"] for finding in after["findings"]}
    assert left == FAULTS.keys() - {"clock-source", "mtu", "swap", "other-load", "company"}
