# SPDX-License-Identifier: GPL-2.0-or-later
"""The power of a whole guest is cut, again and again: what was acknowledged and flushed is there after the next boot."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.vm import Guest
from nvlab.units import GIB

CUTS = 100 if os.environ.get("NVLAB_SOAK") else int(os.environ.get("NVLAB_CUTS", "10"))
# As scenarios/drill-host-power.toml, of which another test has all layers; here a cut is a boot, and all else is to be quick.
MEMBERS = """
schema = 1
[device.ssd]
count = 3
profile = "samsung-970-pro"
size = "32M"
medium = { program_lsb = 5000000, program_msb = 5000000, plp = PLP }
[device.log]
profile = "samsung-970-pro"
size = "32M"
medium = { program_lsb = 5000000, program_msb = 5000000 }
[raid.md]
level = 5
on = "ssd"
journal = { on = "log", mode = "MODE" }
assume_clean = true
[workload.load]
on = "md"
ledger = true
fio = { rw = "randwrite", bs = "4k", iodepth = 8, size = "16M", runtime = "4s", fsync = 50 }
[[event]]
at = "50%"
do = "power-cut"
"""


@pytest.fixture(scope="session")
def spec() -> GuestSpec:
    return GuestSpec(cpus=2, memory=3 * GIB, reserved=((5 * GIB, 4 * GIB),))


def records(runs: Path) -> list[dict[str, Any]]:
    """What was recorded of every cut, the oldest first."""
    return [json.loads(path.read_text()) for path in sorted(runs.glob("*/workloads/*/workload.json"))]


def cut_again_and_again(nvlab, runs: Path, path: Path, cuts: int) -> list[dict[str, Any]]:
    """The lab of a file after so many cuts of the guest's power, and what was recorded of each."""
    nvlab("up", path, "--cpus", 2)
    for _ in range(cuts):
        nvlab("run", path.stem)
    return records(runs)


def scenario(tmp_path: Path, mode: str = "write-back", plp: int = 1) -> Path:
    path = tmp_path / "cut.toml"
    path.write_text(MEMBERS.replace("MODE", mode).replace("PLP", str(plp)))
    return path


def boot_id(guest) -> str:
    return guest.run("cat", "/proc/sys/kernel/random/boot_id").stdout


@pytest.mark.on("6.12")
def test_no_flushed_write_is_lost_when_the_host_dies_with_the_journal_in_write_back(guest, nvlab, runs, tmp_path):
    first = boot_id(guest)
    found = cut_again_and_again(nvlab, runs, scenario(tmp_path), CUTS)
    assert boot_id(guest) != first
    verdicts = [record["verdict"] for record in found]
    assert len(verdicts) == CUTS
    assert [v for v in verdicts if v["lost"] or v["torn"] or v["damaged"]] == []
    assert not any(v["error"] for v in verdicts)
    assert sum(v["durable"] > 0 for v in verdicts) > CUTS / 2, "most had something to lose; a slow host may not have got so far"
    replayed = [re.search(r"recovering (\d+) data-only", "\n".join(record["recovery"]["kernel"])) for record in found]
    assert sum(int(said[1]) for said in replayed if said) > CUTS, "the journal was replayed, not left alone"
    assert "The power of the machine was cut" in nvlab("report").stdout
    (known,) = json.loads(nvlab("status", "--json").stdout)
    assert known["state"] == "up"
    assert "[write-back]" in guest.run("cat", "/sys/block/md0/md/journal_mode").stdout
    nvlab("down", "cut", "--keep")
    assert guest.sh("ls /sys/block /sys/bus/pci/devices | grep -e '^md' -e '^1...:' || :") == ""


@pytest.mark.skipif(not os.environ.get("NVLAB_SOAK"), reason="in soak: each cut is a boot")
def test_the_drill_finds_what_md_loses_of_members_with_volatile_caches(guest, nvlab, runs, tmp_path):
    """MD notes in its journal that a stripe is written out without flushing the members, so a replay leaves it out."""
    found = cut_again_and_again(nvlab, runs, scenario(tmp_path, plp=0), 10)
    assert any(record["verdict"]["lost"] for record in found)
    assert not any(record["verdict"]["damaged"] for record in found)


@pytest.mark.skipif(not os.environ.get("NVLAB_SOAK"), reason="in soak: each cut is a boot")
def test_write_through_loses_nothing_of_members_with_volatile_caches(guest, nvlab, runs, tmp_path):
    found = cut_again_and_again(nvlab, runs, scenario(tmp_path, "write-through", plp=0), 10)
    assert [r["verdict"] for r in found if r["verdict"]["lost"] or r["verdict"]["damaged"]] == []


@pytest.mark.parametrize("kernel", ["6.1"], scope="session")
def test_nvlab_that_dies_between_cut_and_recovery_leaves_what_down_cleans(kernel, tmp_path):
    path, name = scenario(tmp_path), "dies"
    nvlab = (sys.executable, "-m", "nvlab")

    def call(*words: object) -> str:
        done = subprocess.run([*nvlab, *map(str, words)], capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("up", path, "--guest", name, "--kernel", kernel, "--cpus", 2)
    with subprocess.Popen([*nvlab, "run", "cut", "--runs", tmp_path], stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr
        seen = next(line for line in run.stderr if "resetting guest" in line)
        run.send_signal(signal.SIGKILL)
    assert seen and Guest(name).running()
    call("down", "cut")
    assert json.loads(call("status", "--json")) == [] and not Guest(name).running()
    assert list((Guest(name).directory / "images").glob("*")) == []
