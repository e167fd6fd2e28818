# SPDX-License-Identifier: GPL-2.0-or-later
"""A run done again from its own directory, and handed on as one archive that a stranger can check and read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile

import numpy as np
import pytest

from nvlab import cli
from nvlab.analysis.claims import Claim
from nvlab.analysis.interval import mean, ratio
from nvlab.analysis.runs import load_run
from nvlab.errors import Conflict
from nvlab.record.bundle import bundle
from nvlab.record.rundir import RunDir
from nvlab.repro import built_otherwise
from nvlab.simulate import Options, simulate

PROFILE = """
title = "The drive in my desk"
kind = "ssd"
vwc = true
[parameters]
channels = { value = 4, unit = "", source = "a guess" }
"""
LAB = """
schema = 1
title = "Mine"
[device.ssd]
profile = "parts/mine.toml"
size = "64M"
[workload.reads]
on = "ssd"
fio = { rw = "randread", bs = "4k", iodepth = 8, runtime = "10ms" }
"""
JOB = "[later]\nrw=randread\nruntime=20ms\n"


@pytest.fixture
def run(tmp_path):
    """A run whose scenario names a file beside it; nothing of where it came from is left."""
    there = tmp_path / "there"
    (there / "parts").mkdir(parents=True)
    (there / "parts/mine.toml").write_text(PROFILE)
    (there / "lab.toml").write_text(LAB)
    path = simulate(there / "lab.toml", tmp_path / "runs", Options(precondition=0.5), ["simulate"], lambda event: None)
    shutil.rmtree(there)
    return RunDir(path)


@pytest.fixture
def nvlab(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("NVLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NVLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        return (ended.value.code or 0, *capsys.readouterr())

    return call


# -- again ---------------------------------------------------------------------------------------------------------


def test_a_run_keeps_the_files_that_its_scenario_names(run):
    (copy,) = run.kept().values()
    assert run.read()["files"] == {"parts/mine.toml": "inputs/01/mine.toml"} and copy.read_text() == PROFILE


def test_a_large_file_is_named_and_not_copied(run, tmp_path):
    large = tmp_path / "large.state"
    with large.open("wb") as file:
        file.truncate((64 << 20) + 1)
    run.keep({"old.state": large})
    assert run.kept() == {"old.state": large} and not list(run.path.rglob("large.state"))


def test_a_simulated_run_comes_out_the_same_bit_for_bit(nvlab, run, tmp_path):
    code, out, err = nvlab("repro", run.id)
    assert code == 0 and "reproduced: every figure is within 10 %" in err
    assert "reads, read" in out and "simulated" not in out, "the same options too"
    again = load_run(next(path for path in (tmp_path / "runs").iterdir() if path.name != run.id))
    assert again.facts["lab"] == run.read()["lab"] == "lab"
    first = load_run(run.path)
    assert np.array_equal(first.workloads[0].latency, again.workloads[0].latency)


def test_what_came_out_otherwise_is_named_with_exit_code_1(nvlab, run):
    results = next(run.path.glob("workloads/*/results.json"))
    said = json.loads(results.read_text())
    said["results"][0]["iops"] *= 1.3
    results.write_text(json.dumps(said))
    code, _, err = nvlab("repro", run.id)
    assert code == 1 and "not reproduced within 10 %: reads, read: IOPS" in err
    assert nvlab("repro", run.id, "--tolerance", "40%")[0] == 0


def test_a_job_file_of_the_command_line_is_kept_and_used_again(nvlab, tmp_path):
    (tmp_path / "lab.toml").write_text(LAB.replace("parts/mine.toml", "qlc"))
    (tmp_path / "later.fio").write_text(JOB)
    assert nvlab("simulate", "lab.toml", "--io", "later.fio")[0] == 0
    (tmp_path / "later.fio").write_text("")
    code, out, _ = nvlab("repro", "lab")
    assert code == 0 and "later, read" in out


def test_a_run_that_does_not_say_where_it_was_is_not_done_again(nvlab, run):
    facts = run.read()
    del facts["simulated"]
    (run.path / "run.json").write_text(json.dumps(facts))
    code, _, err = nvlab("repro", run.id)
    assert code == 2 and "does not say where it was measured" in err


@pytest.mark.parametrize(("text", "code"), [("ten", 2), ("-1", 2), ("2000%", 2)])
def test_a_tolerance_is_per_cent(nvlab, run, text, code):
    assert nvlab("repro", run.id, f"--tolerance={text}")[0] == code


@pytest.mark.parametrize(("value", "within"), [(100, True), (109, True), (92, True), (112, False), (90, False)])
def test_a_tolerance_reaches_as_far_down_as_up(value, within):
    claim = Claim("IOPS", mean([100.0]), mean([float(value)]), ratio([float(value)], [100.0]))
    assert claim.within(0.1) == within


def test_objects_that_were_built_by_other_steps_are_named():
    step = {"id": "device.ssd", "verb": "device.create", "args": {"size": 1}, "owner": "device.ssd"}
    first = {"plan": {"steps": [step, {"id": "modules", "args": {}, "owner": "node"}]}}
    second = {"plan": {"steps": [step | {"args": {"size": 2}}, {"id": "modules", "args": {}, "owner": "node"}]}}
    assert built_otherwise(first, first) == [] and built_otherwise(first, second) == ["device.ssd"]
    assert built_otherwise({}, first) == ["device.ssd", "node"]


# -- handed on -----------------------------------------------------------------------------------------------------


def test_an_archive_is_the_same_whenever_and_wherever_it_is_made(run, tmp_path):
    one = bundle(run, tmp_path / "one.tar.gz")
    elsewhere = tmp_path / "elsewhere" / run.id
    shutil.copytree(run.path, elsewhere, copy_function=shutil.copyfile)
    for path in elsewhere.rglob("*"):
        os.utime(path, (7, 7))
        path.chmod(0o700)
    other = bundle(RunDir(elsewhere), tmp_path / "other.tar.gz")
    assert one.read_bytes() == other.read_bytes()


def test_a_stranger_can_check_read_and_repeat_it(nvlab, run, tmp_path):
    code, out, _ = nvlab("bundle", run.id, "--json")
    assert code == 0 and json.loads(out)["bundle"] == f"{run.id}.tar.gz"
    with tarfile.open(tmp_path / f"{run.id}.tar.gz") as archive:
        assert {entry.name.split("/")[0] for entry in archive} == {run.id}
        assert all(entry.isreg() and (entry.uid, entry.gid, entry.uname) == (0, 0, "") for entry in archive)
        archive.extractall(tmp_path / "unpacked", filter="data")
    top = tmp_path / "unpacked" / run.id
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=top, check=True)
    listed = {line.split("  ", 1)[1] for line in (top / "SHA256SUMS").read_text().splitlines()}
    assert listed == {str(p.relative_to(top)) for p in top.rglob("*") if p.is_file()} - {"SHA256SUMS"}
    assert {"README.txt", "report.html", "scenario.toml", "inputs/01/mine.toml"} <= listed
    assert "nvlab repro ." in (top / "README.txt").read_text()
    shutil.rmtree(run.path)
    code, _, err = nvlab("repro", top)
    assert code == 0, err


def test_a_licence_goes_with_the_data(run, tmp_path):
    (tmp_path / "cc.txt").write_text("CC BY 4.0")
    with tarfile.open(bundle(run, tmp_path / "x.tar.gz", tmp_path / "cc.txt")) as archive:
        assert archive.extractfile(f"{run.id}/LICENSE").read() == b"CC BY 4.0"


def test_data_without_a_licence_are_said_to_have_none(nvlab, run, tmp_path):
    (tmp_path / "cc.txt").write_text("CC BY 4.0")
    _, _, without = nvlab("bundle", run.id, "--out", tmp_path / "x.tar.gz")
    _, _, licensed = nvlab("bundle", run.id, "--out", tmp_path / "y.tar.gz", "--license", tmp_path / "cc.txt")
    assert without.count("\n") == 1 and "--license FILE" in without and licensed == ""


def test_nothing_is_overwritten_and_nothing_half_is_left(run, tmp_path):
    (tmp_path / "x.tar.gz").write_text("mine")
    with pytest.raises(Conflict, match="there already"):
        bundle(run, tmp_path / "x.tar.gz")
    assert (tmp_path / "x.tar.gz").read_text() == "mine"


def test_a_link_leads_nobody_out_of_the_run(run, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (run.path / "link").symlink_to(tmp_path / "secret")
    with tarfile.open(bundle(run, tmp_path / "x.tar.gz")) as archive:
        assert not any(name.endswith("link") for name in archive.getnames())
