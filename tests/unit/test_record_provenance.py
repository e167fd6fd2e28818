# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run was measured on: read from files, quickly, secrets left out, nothing missing being an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nvlab.host.provenance import collect, controller, counters, packages


@pytest.fixture
def root(tmp_path):
    """A machine made of files."""
    return tmp_path


def put(root: Path, path: str, text: str | bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_this_machine_is_described_without_starting_a_program(monkeypatch):
    def forbidden(*args, **options):
        raise AssertionError(f"a program was started: {args}")

    monkeypatch.setattr("subprocess.Popen.__init__", forbidden)
    facts = collect()
    assert facts["kernel"]["release"] == Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert facts["cpu"]["online"] == Path("/sys/devices/system/cpu/online").read_text().strip()
    assert len(facts["fio"]["sha256"]) == 64
    json.dumps(facts)


def test_a_machine_without_anything_is_described_too(root):
    facts = collect(root=root)
    assert facts["kernel"]["release"] == ""
    assert "modules" not in facts
    assert "nvmet" not in facts


def test_a_module_is_known_by_its_build_id_and_parameters(root):
    put(root, "sys/module/nvlab/version", "0.1.0\n")
    put(root, "sys/module/nvlab/srcversion", "ABCD\n")
    put(root, "sys/module/nvlab/parameters/cpus", "2,3\n")
    put(root, "sys/module/nvlab/notes/.note.gnu.build-id", bytes.fromhex("040000001400000003000000474e550000112233"))
    module = collect(root=root)["modules"]["nvlab"]
    assert module == {"version": "0.1.0", "srcversion": "ABCD", "build_id": "00112233", "parameters": {"cpus": "2,3"}}


def test_an_export_is_recorded_without_its_keys(root):
    base = "sys/kernel/config/nvmet"
    put(root, f"{base}/hosts/nqn.client/dhchap_key", "DHHC-1:00:secret")
    put(root, f"{base}/subsystems/nqn.x/attr_serial", "0123\n")
    put(root, f"{base}/ports/1/addr_trsvcid", "4420\n")
    (root / f"{base}/ports/1/subsystems").mkdir()
    (root / f"{base}/ports/1/subsystems/nqn.x").symlink_to(root / f"{base}/subsystems/nqn.x")
    nvmet = collect(root=root)["nvmet"]
    assert nvmet["ports/1/addr_trsvcid"] == "4420"
    assert nvmet["ports/1/subsystems/nqn.x"] == "-> nqn.x"
    assert "secret" not in json.dumps(nvmet)


def test_block_devices_are_described_by_their_queues_and_neighbours(root):
    put(root, "sys/class/block/md0/size", "2048\n")
    put(root, "sys/class/block/md0/queue/write_cache", "write back\n")
    put(root, "sys/class/block/loop0/queue/write_cache", "write back\n")
    (root / "sys/class/block/md0/slaves/nullb0").mkdir(parents=True)
    block = collect(root=root)["block"]
    assert list(block) == ["md0"]
    assert block["md0"] == {"size": "2048", "queue": {"write_cache": "write back"}, "slaves": ["nullb0"], "holders": []}
    assert list(collect(["loop0", "gone"], root=root)["block"]) == ["loop0"]


def test_interrupts_of_nvme_queues_say_where_they_go(root):
    put(root, "proc/interrupts", "  CPU0\n 24:  7  PCI-MSI 1-edge  nvme0q0\n 25: 9 PCI-MSI 2-edge eth0\n")
    put(root, "proc/irq/24/effective_affinity_list", "1\n")
    assert collect(root=root)["interrupts"] == {"nvme0q0": "1"}


DPKG = """Package: fio-doc
Status: install ok installed
Version: 9

Package: fio
Status: install ok installed
Maintainer: Debian
Version: 3.33-3
Description: flexible I/O tester

Package: mdadm
Status: deinstall ok config-files
Version: 4.2-5

"""


def test_versions_of_installed_packages_come_from_dpkg_s_file(root):
    put(root, "var/lib/dpkg/status", DPKG)
    assert packages(("fio", "mdadm", "nvme-cli"), root) == {"fio": "3.33-3"}


def test_running_totals_are_kept_as_text():
    assert {"diskstats", "interrupts", "stat"} <= set(counters())


def test_the_controller_says_which_nvlab_ran_what():
    facts = controller(["nvlab", "run", "x"])
    assert facts["argv"] == ["nvlab", "run", "x"]
    assert facts["nvlab"]["version"]
    assert facts["packages"]["numpy"]
    json.dumps(facts)
