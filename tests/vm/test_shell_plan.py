# SPDX-License-Identifier: GPL-2.0-or-later
"""``nvlab plan --shell`` in a real guest: the script makes the stack that ``nvlab up`` makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nvlab.data import kmod_dir
from nvlab.host import kmod
from nvlab.layers.cache import RAPIDDISK_DEFECTS
from nvlab.nodes.qemu import GuestSpec
from nvlab.units import GIB

HERE = Path(__file__).parent
EVERYTHING = HERE / "scenarios/everything.toml"
SHELL_STACK = ("block", "pci", "nvme", "listening", "links", "mounts", "/sys/kernel/config", "/dev/mapper", "/etc/mdadm")

pytestmark = pytest.mark.splat("scheduling while atomic|BUG: sleeping", reason=RAPIDDISK_DEFECTS[1])


@pytest.fixture(scope="session")
def spec() -> GuestSpec:
    return GuestSpec(cpus=4, memory=5 * GIB, reserved=((5 * GIB, 4 * GIB),))


def nvlab(*words: object) -> str:
    argv = [sys.executable, "-m", "nvlab", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=1800, env=os.environ)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def stack(guest) -> dict[str, object]:
    """What stands in the guest, and how it is put together."""
    listing = json.loads(guest.alone("listing.py"))
    found = {key: listing[key] for key in SHELL_STACK}
    # not the table: RapidDisk prints its counters there
    found["mappings"] = sorted(guest.run("dmsetup", "deps", "-o", "devname").stdout.splitlines())
    found["identities"] = sorted(
        guest.run("dmsetup", "info", "-c", "--noheadings", "-o", "name,uuid").stdout.splitlines()
    )
    found["arrays"] = sorted(guest.run("mdadm", "--detail", "--scan").stdout.splitlines())
    sizes = guest.run("lsblk", "--bytes", "--noheadings", "--raw", "--output", "NAME,SIZE,TYPE").stdout
    # lsblk has no order, and shows a disk under each that it stands on; 6.12 numbers namespaces in the order it meets them
    found["sizes"] = sorted(re.sub(r"^nvme\d+n\d+", "nvme", line) for line in set(sizes.splitlines()))
    return found


@pytest.fixture(scope="session")
def boot(boot):
    """Guests of our own, in which a script may leave what it likes."""
    return lambda spec, name: boot(spec, f"script-{name}")


@pytest.fixture
def scenario(guest, tmp_path) -> Path:
    """Every layer; where there is no RapidDisk, what takes its place: a plan made without the node cannot know."""
    if guest.run("modinfo", "rapiddisk", check=False).returncode == 0:
        return EVERYTHING
    path = tmp_path / EVERYTHING.name
    path.write_text(EVERYTHING.read_text().replace('on = "md"\n', 'on = "md"\nengine = "dm-cache"\n'))
    return path


@pytest.mark.on("6.12")
def test_the_script_makes_what_up_makes(guest, kernel, scenario):
    nvlab("up", scenario, "--guest", guest.guest.name, "--kernel", kernel)
    by_nvlab = stack(guest)
    nvlab("down", "everything", "--keep")
    release = guest.run("uname", "-r").stdout.strip()
    module = kmod.ensure(kmod_dir(), release, Path(os.environ["NVLAB_STATE"]) / "kmod")
    script = nvlab("plan", "--shell", scenario)
    done = guest.run("bash", "-s", stdin=script, cwd=str(module.parent), timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    by_script = stack(guest)
    assert {key: (by_nvlab[key], by_script[key]) for key in by_nvlab if by_nvlab[key] != by_script[key]} == {}
