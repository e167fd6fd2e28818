# SPDX-License-Identifier: GPL-2.0-or-later
"""Doctor in a real guest: a clean one has nothing, one with eleven deliberate faults has these eleven."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.vm import Guest
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

# the guest's own interrupts, and its connection with nvlab, away from the CPUs of the device; some cannot be moved
AWAY = "for irq in /proc/irq/[0-9]*/smp_affinity_list; do echo 0-1 > $irq || true; done"

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
    "interrupts": (
        "cd /proc/irq/*/virtio*-virtqueues; echo 3 > ../smp_affinity_list",
        "virtqueues (",
    ),
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
    guest.sh(AWAY)
    yield guest
    guest.guest.stop()


@pytest.fixture
def scenario(tmp_path) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(LAB)
    return path


def settle() -> None:
    """Wait for what udev makes of devices that have come and gone: its programs are other load."""
    with Guest(NAME).connect() as session:
        session.run(["udevadm", "settle"], timeout=300)


def doctor(*words: object) -> tuple[int, dict[str, Any]]:
    """The command's exit code and what it says of the guest."""
    settle()
    argv = [sys.executable, "-m", "nvlab", "doctor", "--json", "--on", f"vm:{NAME}", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, cwd=ROOT, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_clean_guest_is_left_in_peace(guest, scenario):
    for words in ((), (scenario,)):
        code, said = doctor(*words)
        assert said["findings"] == []
        assert (code, said["ready"]) == (0, True)
    assert said["machine"].startswith("guest doctor: Linux 6.1.")


CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
MTU = "/sys/class/net/lo/mtu"
SWAP = "/dev/ram2"
TUNABLE = ("clock-source", "mtu", "swap", "company")
UNDO = f"ip link set lo mtu 65536; swapoff {SWAP}; rmmod brd; pkill -x irqbalance"


def nvlab(*words: str) -> str:
    """What a verb says on stderr."""
    argv = [sys.executable, "-m", "nvlab", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def settings(guest) -> tuple[str, str, str]:
    """Clock source, MTU, and the priority of the swap device, empty when it is off."""
    script = f"cat {CLOCK} {MTU}; awk '$1 == \"{SWAP}\" {{ print $5 }}' /proc/swaps"
    clock, mtu, *priority = guest.sh(script).split()
    return clock, mtu, "".join(priority)


@pytest.fixture
def untuned(guest) -> Iterator[tuple[str, str, str]]:
    """The guest with what can be tuned, and a program that was started by hand."""
    good = settings(guest)[0]
    for check in TUNABLE:
        guest.sh(FAULTS[check][0])
    guest.sh(f"swapoff {SWAP}; swapon --priority 7 {SWAP}")
    yield settings(guest)
    guest.sh(f"echo {good} > {CLOCK}; {UNDO}")


def test_what_can_be_undone_is_tuned_shared_and_put_back(guest, scenario, untuned):
    """A tuning for a lab, and one for none that finds all of it done: what is there stays until both have gone."""
    assert untuned == ("acpi_pm", "1500", "7")
    code, first = doctor("--tune", scenario)
    assert (code, first["lab"], first["refused"]) == (0, "lab.tuning", {})
    assert [finding["check"] for finding in first["findings"]] == ["company"]
    tuned = settings(guest)
    assert first["tuned"] == {
        CLOCK: {"value": tuned[0], "was": "acpi_pm"},
        MTU: {"value": "65536", "was": "1500"},
        SWAP: {"value": "off", "was": "7"},
    }
    assert tuned == (tuned[0], "65536", "") and tuned[0] != "acpi_pm"
    _, second = doctor("--tune")
    assert (second["lab"], second["tuned"]) == ("tuning", first["tuned"])
    with guest.guest.connect() as session:
        assert session.call("provenance")["tuned"] == first["tuned"]
    assert "clock-source" not in nvlab("down", "lab", "--keep")
    assert settings(guest) == tuned
    said = nvlab("down", "tuning", "--keep")
    assert "acpi_pm again" in said and "1500 again" in said and "on with priority 7 again" in said
    assert settings(guest) == untuned
    assert not guest.guest.labs()


def test_what_was_changed_since_is_left_alone(guest, scenario, untuned):
    doctor("--tune", scenario)
    guest.sh(f"ip link set lo mtu 9000; swapon --priority 3 {SWAP}")
    said = nvlab("down", "lab.tuning", "--keep")
    assert f"{MTU} is 9000 by now" in said and f"{SWAP} is on with priority 3 by now" in said
    assert settings(guest) == ("acpi_pm", "9000", "3")


def test_eleven_faults_are_found_and_nothing_else(guest, scenario):
    assert len(FAULTS) == 11
    for fault, _ in FAULTS.values():
        guest.sh(fault)
    assert len(guest.sh("head -c 2M /dev/zero | tr '\\0' x", timeout=600)) == 2 << 20, "interrupts of late, not only at boot"
    code, said = doctor(scenario)
    found = {finding["check"]: finding for finding in said["findings"]}
    assert found.keys() == FAULTS.keys()
    assert len(said["findings"]) == 11
    for check, (_, what) in FAULTS.items():
        assert what in found[check]["what"]
        assert found[check]["why"] and found[check]["cure"]
    assert {check for check, finding in found.items() if finding["severity"] == "required"} == REQUIRED
    assert (code, said["ready"]) == (3, False)


def test_its_cures_cure(guest, scenario):
    """Those that a command brings about."""
    _, before = doctor(scenario)
    for finding in before["findings"]:
        if finding["check"] in ("clock-source", "mtu", "interrupts"):
            guest.sh(finding["cure"])
    guest.sh("swapoff /dev/ram2; pkill -x yes; pkill -x irqbalance")
    _, after = doctor(scenario)
    left = {finding["check"] for finding in after["findings"]}
    assert left == FAULTS.keys() - {"clock-source", "mtu", "interrupts", "swap", "other-load", "company"}
