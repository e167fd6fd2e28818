# SPDX-License-Identifier: GPL-2.0-or-later
"""Labs on machines of their own. A guest plays the machine: it has root, reserved memory, and power that can be cut."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvlab.data import kmod_dir
from nvlab.host import kmod
from nvlab.nodes import kernels
from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.state import state_dir
from nvlab.units import GIB, MIB

ROOT = Path(__file__).parents[2]
KERNEL = "6.1"
NAME = "host"
SPEC = GuestSpec(kernel=KERNEL, cpus=4, memory=3 * GIB, reserved=((5 * GIB, 513 * MIB),), append="isolcpus=3")
NODE_STATE = "/var/lib/nvlab"  # survives a reboot of a real machine
OWN_STATE = f"{NODE_STATE}/controller"  # so does the controller's, wherever it is
RUNS = "/run/runs"
ENVIRONMENT = {"NVLAB_STATE": OWN_STATE, "NVLAB_RUNS": RUNS}

LAB = """
schema = 1
[device.ssd]
size = "64M"
cpus = 1
[disk.file]
kind = "loop"
size = "8M"
[workload.load]
on = "ssd"
fio = { rw = "randread", bs = "4k", runtime = "1s" }
"""


# Prints the files that a controller reads to start, but for what agents run already.
_READS = """
import sys
import nvlab.cli, nvlab.controller, nvlab.host.provenance, nvlab.nodes.local, nvlab.planner, nvlab.scenario, nvlab.screen
files = {getattr(m, name, None) for m in list(sys.modules.values()) for name in ("__file__", "__cached__")}
print(*(f for f in files if f and (f.endswith((".py", ".pyc")) or "site-packages" in f)), sep="\\n")
"""
# The same of what another machine's own Python reads to become an agent.
_FAR_READS = """
import sys
sys.path.insert(0, sys.argv[1])
import nvlab.nodes.agent, nvlab.nodes.bootstrap, nvlab.nodes.handlers
files = {getattr(m, name, None) for m in list(sys.modules.values()) for name in ("__file__", "__cached__")}
print(*(f for f in files if f and not f.startswith(sys.argv[1])), sep="\\n")
"""
PYTHON = "/usr/bin/python3"  # of the other machine


class Host:
    """The machine, and the command line as its root has it."""

    def __init__(self, own_guest: Any, scratch: Path) -> None:
        self.own_guest, self.disk, self.programs = own_guest, scratch / "disk", scratch / "programs"
        reads = [(sys.executable, "-c", _READS), (PYTHON, "-I", "-c", _FAR_READS, ROOT)]
        said = [subprocess.run(words, capture_output=True, text=True, check=True).stdout for words in reads]
        for path in filter(Path.is_file, map(Path, "".join(said).split())):
            (self.programs / path.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, self.programs / path.relative_to("/"))
        self.boot()

    def boot(self) -> None:
        """Start it with nvlab's programs in memory, and nvlab.ko: to build it there would take an emulated compiler minutes."""
        kmod.ensure(kmod_dir(), kernels.find(KERNEL).release, state_dir() / "kmod")
        self.guest = self.own_guest(SPEC, NAME)
        with self.guest.guest.connect() as session:
            session.put(self.programs, "/")
        self.guest.sh(f"mkdir -p {NODE_STATE} {RUNS}; cp -r {state_dir()}/kmod {NODE_STATE}")

    def reboot(self) -> None:
        """Cut its power. What is on its disks is there again: a guest has none, so its files are carried over."""
        with self.guest.guest.connect() as session:
            session.fetch(NODE_STATE, self.disk, 120)
        self.guest.guest.stop()
        self.boot()
        with self.guest.guest.connect() as session:
            session.put(self.disk, NODE_STATE)

    def nvlab(self, *words: object, code: int = 0) -> Any:
        """Run a verb on the machine; fails unless it ends with ``code``."""
        argv = [sys.executable, "-m", "nvlab", *map(str, words)]
        done = self.guest.run(*argv, timeout=1800, check=False, env=ENVIRONMENT)
        assert done.returncode == code, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def listing(self) -> dict[str, Any]:
        """Everything that a lab could leave on it."""
        return dict(json.loads(self.guest.alone("listing.py")))


@pytest.fixture(scope="module")
def host(own_guest, tmp_path_factory) -> Iterator[Host]:
    host = Host(own_guest, tmp_path_factory.mktemp("host"))
    yield host
    host.guest.guest.stop()


@pytest.fixture
def scenario(tmp_path) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(LAB)
    return path


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (before[key], after[key]) for key in before if before[key] != after[key]}


# -- this machine --------------------------------------------------------------------------------------------------


def test_a_lab_on_this_machine_comes_up_is_measured_and_leaves_nothing(host, scenario):
    before = host.listing()
    up = host.nvlab("up", scenario, "--on", "local")
    assert re.search(r"host +local +6\.1\..* virtual \(TCG\)", up.stderr)
    assert "CPUs 3" in up.stderr, "the device has the CPU that was isolated for it"
    host.nvlab("run", "lab")
    facts = json.loads(host.guest.sh(f"cat {RUNS}/*/run.json"))["accelerator"]
    assert (facts["accelerator"], facts["place"], facts["cpus"]) == ("tcg", "local", 4)
    host.nvlab("down", "lab")
    assert differences(before, host.listing()) == {}


@pytest.mark.skipif(not os.environ.get("NVLAB_SOAK"), reason="takes longer than a test may on a busy host: make soak has it")
def test_a_reboot_in_the_middle_leaves_files_which_down_stale_removes(host, scenario):
    """The engine dies as the power goes, in the middle of its work; who comes after the reboot knows what went with the boot."""
    before = host.listing()
    file = f"{NODE_STATE}/disks/nvlab-lab-file.img"
    env = " ".join(f"{key}={value}" for key, value in ENVIRONMENT.items())
    host.guest.sh(f"{env} setsid {sys.executable} -m nvlab up {scenario} --on local > /run/up 2>&1 & echo $! > /run/up.pid")
    host.guest.sh(f"until [ -e {file} ]; do sleep 0.1; done", timeout=280)
    host.guest.sh("pid=$(cat /run/up.pid); kill -9 $pid $(cat /proc/$pid/task/$pid/children)", check=False)
    boot = host.guest.sh("cat /proc/sys/kernel/random/boot_id")
    host.reboot()
    assert host.guest.sh("cat /proc/sys/kernel/random/boot_id") != boot
    assert host.guest.sh(f"ls {file} {NODE_STATE}/labs/lab/journal.jsonl; losetup --list").count("\n") == 2
    host.guest.sh("modprobe loop; truncate -s 8M /run/mine; losetup /dev/loop0 /run/mine")  # the name that ours may have had
    (lab,) = json.loads(host.nvlab("status", "--json").stdout)
    assert lab["state"] == "gone with a reboot"
    assert json.loads(host.nvlab("down", "--stale", "--json").stdout) == ["lab"]
    assert host.guest.sh("losetup --noheadings --output BACK-FILE /dev/loop0").strip() == "/run/mine"
    host.guest.sh("losetup --detach /dev/loop0; rm /run/mine; modprobe -r loop")
    assert differences(before, host.listing()) == {}


# -- another machine -----------------------------------------------------------------------------------------------

_CONFIG = """
Host box
  User root
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {known}
  StrictHostKeyChecking accept-new
  ProxyCommand {python} {proxy} {name}
"""
_SERVER = """
: > /root/.bashrc # bash reads it for commands of ssh too, and it is the host's
mkdir -p -m 700 /root/.ssh; echo '{public}' > /root/.ssh/authorized_keys
dropbearkey -t ed25519 -f /run/hostkey > /dev/null 2>&1
dropbear -s -p 127.0.0.1:22 -r /run/hostkey -P /run/dropbear.pid
until [ -s /run/dropbear.pid ]; do sleep 0.02; done
"""


@pytest.fixture
def box(host, tmp_path) -> Iterator[dict[str, str]]:
    """The environment of who reaches the machine as "box": OpenSSH's own client, keys for this test alone, no port of ours."""
    if not (shutil.which("dropbear") and shutil.which("ssh")):
        pytest.skip("needs an ssh client and server: apt-get install openssh-client dropbear-bin")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    host.guest.sh(_SERVER.format(public=(tmp_path / "key.pub").read_text().strip()))
    proxy = Path(__file__).parent / "ssh_proxy.py"
    files = {"key": tmp_path / "key", "known": tmp_path / "known", "python": sys.executable, "proxy": proxy}
    (tmp_path / "config").write_text(_CONFIG.format(**files, name=NAME))
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin/ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/config "$@"\n')  # it heeds no $HOME
    ssh.chmod(0o755)
    yield {"PATH": f"{ssh.parent}:{os.environ['PATH']}", "NVLAB_RUNS": str(tmp_path / "runs")}
    host.guest.sh("kill $(cat /run/dropbear.pid); rm -r /root/.ssh /run/hostkey")


def test_a_lab_on_another_machine_by_ssh(host, box, scenario, tmp_path):
    def nvlab(*words: object, code: int = 0) -> Any:
        argv = [sys.executable, "-m", "nvlab", *map(str, words)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=1800, env=os.environ | box)
        assert done.returncode == code, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    before = host.listing()
    places = ((host.nvlab, "local"), (nvlab, "ssh:box"))
    near, far = (json.loads(run("doctor", scenario, "--on", on, "--json").stdout) for run, on in places)
    assert near["ready"] and far["ready"] and far["machine"].startswith("box: Linux 6.1.")
    of_a_moment = ("other-load", "interrupts")
    lasting = [[found["check"] for found in said["findings"] if found["check"] not in of_a_moment] for said in (near, far)]
    assert lasting[0] == lasting[1], "the same of a machine from itself and by ssh"
    nvlab("up", scenario, "--on", "ssh:box")
    (lab,) = json.loads(nvlab("status", "--json").stdout)
    assert (lab["state"], lab["where"]) == ("up", "on box")
    nvlab("run", "lab")
    facts = json.loads(next((tmp_path / "runs").glob("*/run.json")).read_text())
    assert (facts["accelerator"]["accelerator"], facts["accelerator"]["place"]) == ("tcg", "ssh:box")
    assert facts["provenance"]["node"]["kernel"]["release"].startswith("6.1.")
    nvlab("down", "lab")
    left = differences(before, host.listing())
    assert set(left) <= {NODE_STATE}, left
    versions = {path.split("/")[5] for path in left[NODE_STATE][1] if path not in left[NODE_STATE][0]}
    assert len(versions) == 1, "what stays is nvlab's own files, for the next session"
