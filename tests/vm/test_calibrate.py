# SPDX-License-Identifier: GPL-2.0-or-later
"""A drive of known times in a guest is swept there, and found by the fit; nothing of it changes unless it may."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from nvlab.calibrate import proof
from nvlab.calibrate.cells import Cell
from nvlab.medium import load_profile

MS = 1_000_000  # ns; latencies of several, so that what an emulated CPU adds is little
TRUE = {"read_delay": 4 * MS, "read_time": 2 * MS, "write_delay": 2 * MS, "write_time": 1 * MS, "units": 2, "unit_shift": 12}
UNITS = {"units": "", "unit_shift": "log2 bytes"}
LAB = """
schema = 1
[device.drive]
size = "32M"
cpus = "2-3"
profile = "{profile}"
[workload.w]
on = "drive"
fio = {{ rw = "randread", bs = "4k", iodepth = 1, runtime = "1s" }}
"""
SWEEP = ("--bs", "4k,32k", "--qd", "1,8", "--runtime", "3s", "--repeats", "1")


def profile(title: str, parameters: Mapping[str, int]) -> str:
    row = '{} = {{ value = {}, unit = "{}", source = "chosen" }}'
    rows = [row.format(name, value, UNITS.get(name, "ns")) for name, value in parameters.items()]
    return "\n".join([f'title = "{title}"', 'kind = "nvm"', "vwc = false", "[parameters]", *rows])


# all that is looked for is wrong
BASE = profile("Another", {name: value if name in UNITS else value // 3 for name, value in TRUE.items()})


def latency(cells: Sequence[Mapping[str, Any]], rw: str) -> float:
    """What was measured of one I/O of 4 KiB in flight, in ns."""
    (iops,) = (cell["measured_iops"] for cell in cells if (cell["rw"], cell["bs"], cell["qd"]) == (rw, 4096, 1))
    return 1e9 / iops


@pytest.fixture
def lab(tmp_path) -> Path:
    (tmp_path / "true.toml").write_text(profile("What is in the guest", TRUE))
    path = tmp_path / "swept.toml"
    path.write_text(LAB.format(profile="true.toml"))
    return path


@pytest.mark.on("6.12")
def test_a_drive_in_a_guest_is_swept_and_found(guest, nvlab, lab, tmp_path):
    nvlab("up", lab)
    (link,) = guest.sh("udevadm settle; ls /dev/disk/by-id/nvme-uuid.*").split()
    disk = guest.sh(f"readlink -f {link}").strip()
    guest.sh(f"head -c 32M /dev/urandom > {disk}; sync")
    content = guest.sh(f"sha256sum < {disk}")

    def calibrate(*words: object, code: int = 0):
        """The verb, in the guest, as a user of the lab runs it; what it makes is there."""
        ours = ("--base", "/run/fitted/base.toml", "--into", "/run/fitted/mine.toml", *words)
        return nvlab("shell", "swept", "--", sys.executable, "-m", "nvlab", "calibrate", *ours, code=code, timeout=3600)

    guest.sh(f"mkdir /run/fitted; cat > /run/fitted/base.toml << 'end'\n{BASE}\nend\n")
    said = json.loads(calibrate("--sweep", disk, *SWEEP, "--json").stdout)
    assert guest.sh(f"sha256sum < {disk}") == content
    assert {(cell["rw"], cell["bs"], cell["qd"]) for cell in said["errors"]} == {
        ("randread", bs, qd) for bs in (4096, 32768) for qd in (1, 8)
    }
    # Not how far cells are off, which is the host's doing: the fit is to explain what was measured as well as the truth does,
    # but for one that the host stood still in.
    swept = said["errors"]
    known = proof.simulated(load_profile(lab.parent / "true.toml"), [Cell(c["rw"], c["bs"], c["qd"]) for c in swept], noise=0)
    off = {"fit": [math.log1p(cell["iops"]) for cell in swept]}
    off["truth"] = [logs[0] - math.log(cell["measured_iops"]) for logs, cell in zip(known.logs, swept, strict=True)]
    assert statistics.median(map(abs, off["fit"])) < statistics.median(map(abs, off["truth"])) + 0.1, off
    assert {"write_delay", "write_time"} <= said["not_identified"].keys()

    mine = tmp_path / "mine.toml"
    mine.write_text(nvlab("shell", "swept", "--", "cat", said["profile"]).stdout)
    found = load_profile(mine).timing
    assert found["write_delay"] == TRUE["write_delay"] // 3
    alone = found["read_delay"] + found["read_time"]  # what a lone read of 4 KiB takes
    assert alone > 0.7 * (TRUE["read_delay"] + TRUE["read_time"])
    assert alone < 1.3 * latency(swept, "randread")

    for what, (put, remove) in {
        "mounted": (f"mkfs.ext4 -q -F {disk}; mount {disk} /mnt", "umount /mnt"),
        "held": (f"modprobe dm-mod; dmsetup create on-it --table '0 8 linear {disk} 0'", "dmsetup remove on-it"),
    }.items():
        guest.sh(f"{put}; udevadm settle")
        for words in (("--sweep", disk), ("--sweep", link, "--write")):
            assert "use" in calibrate(*words, code=4).stderr, what
        guest.sh(f"{remove}; udevadm settle")
    assert "stable path" in calibrate("--sweep", disk, "--write", code=2).stderr
    assert "is not empty: " in calibrate("--sweep", link, "--write", code=4).stderr
    guest.sh(f"blkdiscard -f {disk}")
    said = json.loads(calibrate("--sweep", link, "--write", *SWEEP[4:], "--bs", "4k", "--qd", "1", "--json").stdout)
    mine.write_text(nvlab("shell", "swept", "--", "cat", "/run/fitted/mine.toml").stdout)
    written = load_profile(mine).timing
    alone = written["write_delay"] + written["write_time"]
    assert alone > 0.7 * (TRUE["write_delay"] + TRUE["write_time"])
    assert alone < 1.3 * latency(said["errors"], "randwrite")
    nvlab("down", "swept", "--keep")

    lab.write_text(LAB.format(profile="mine.toml"))
    nvlab("simulate", lab)
    nvlab("up", lab)
    nvlab("run", "swept")
