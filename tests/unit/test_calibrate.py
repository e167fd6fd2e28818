# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab calibrate: a sweep leads back to the drive it is of, what is claimed holds, and what is not known is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab import cli
from nvlab.calibrate.cells import FIGURES, Cell, gathered, product
from nvlab.calibrate.forward import Forward
from nvlab.calibrate.profile import profile_text
from nvlab.calibrate.proof import missed, simulated
from nvlab.calibrate.results import read_sweep
from nvlab.calibrate.search import calibrate
from nvlab.calibrate.sweep import Plan, run_sweep, sweep_job
from nvlab.calibrate.unknowns import Unknown, beyond, candidates, neighbours, shape
from nvlab.errors import StepFailed, UsageError
from nvlab.medium import PARAMETERS, TIMING, load_profile, profiles
from nvlab.planner import make_plan
from nvlab.scenario import load

PROFILES = profiles()
OPTANE, SAMSUNG = PROFILES["optane"], PROFILES["samsung-970-pro"]
# All that a fit looks for is wrong, by a factor of up to two
OFF = {"read_delay": 20_000, "read_time": 900, "write_delay": 7000, "write_time": 4000, "units": 2}
FAR = replace(OPTANE, timing=OPTANE.timing | OFF)
SMALL = product(("randread", "randwrite"), (512, 4096, 8192, 65536), (1, 4))


@pytest.fixture(scope="module")
def recovered():
    """A small sweep of the Optane, 2 % off at random, fitted from afar."""
    return calibrate(simulated(OPTANE, SMALL, seed=3), FAR)


@pytest.mark.slow
def test_a_sweep_leads_back_to_the_drive(recovered) -> None:
    assert set(recovered.claimed) >= {"read_delay", "read_time", "write_delay", "write_time", "units"}
    assert missed(recovered, OPTANE) == {}
    assert recovered.values["units"] == 1


@pytest.mark.slow
def test_every_cell_is_as_the_fit_says_but_for_noise(recovered) -> None:
    assert np.abs(recovered.error[:, 0]).max() < 0.1
    assert np.abs(recovered.error[:, 0]).mean() < 0.03


@pytest.mark.slow
def test_it_leaves_a_profile_that_up_and_simulate_take(recovered, tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(profile_text(recovered, 'The "drive" in my desk', "a test"))
    made = load_profile(path)
    assert made.timing == {name: recovered.values[name] for name in TIMING}
    assert made.sources["read_delay"].startswith("nvlab calibrate: a test, ± ")
    lab = tmp_path / "lab.toml"
    lab.write_text(
        'schema = 1\n[device.ssd]\nsize = "64M"\nprofile = "mine.toml"\n'
        '[workload.x]\non = "ssd"\nfio = { rw = "randread", bs = "4k", iodepth = 1, runtime = "10ms" }\n'
    )
    for words in (["plan", str(lab)], ["simulate", str(lab), "--runs", str(tmp_path / "runs")]):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 0, capsys.readouterr().err


@pytest.mark.slow
def test_what_was_not_swept_is_named_and_stays() -> None:
    """Of reads alone nothing is learnt of writes."""
    found = calibrate(simulated(OPTANE, SMALL[: len(SMALL) // 2], seed=4), FAR)
    assert missed(found, OPTANE) == {}
    assert {"write_delay", "write_time"} <= set(found.unknown)
    assert {name: found.values[name] for name in ("write_delay", "write_time")} == {"write_delay": 7000, "write_time": 4000}


def test_what_only_goes_together_is_not_claimed() -> None:
    """One block size does not part a delay from the time of a unit: a fit has their sum, and says so."""
    cells = product(("randread",), (4096,), (1, 2, 4))
    found = calibrate(simulated(OPTANE, cells, seed=5), replace(FAR, timing=FAR.timing | {"units": 1}))
    assert not {"read_delay", "read_time"} & set(found.claimed)
    assert found.values["read_delay"] + found.values["read_time"] == pytest.approx(12_000, rel=0.05)


@pytest.mark.slow
def test_an_ssd_is_found_from_another(tmp_path: Path) -> None:
    """Of a drive whose build is known, from other times and half the dies."""
    other = {name: round(value * factor) for name, value, factor in _off(SAMSUNG)}
    base = replace(SAMSUNG, model=SAMSUNG.model | other | {"dies": 1})
    cells = product(("randread", "randwrite"), (4096, 16384, 131072), (1, 4, 16, 64, 256))
    found = calibrate(simulated(SAMSUNG, cells, seed=6, repeats=6), base)
    assert missed(found, SAMSUNG) == {}
    assert {"link_speed", "fw_write", "read_msb"} <= set(found.claimed)
    assert (found.values["channels"], found.values["dies"]) == (8, 2)
    assert {"erase", "spare", "suspend", "planes", "buffer", "endurance"} <= set(found.unknown)
    path = tmp_path / "mine.toml"
    path.write_text(profile_text(found, "fitted", "a test"))
    assert load_profile(path).model == {**SAMSUNG.model, **{name: found.values[name] for name in PARAMETERS}}
    lab = tmp_path / "lab.toml"
    lab.write_text('schema = 1\n[device.ssd]\nsize = "1G"\nprofile = "mine.toml"\n')
    assert make_plan(load(lab)).steps


@pytest.mark.slow
@pytest.mark.parametrize("name", ["femu", "tlc-enterprise", "qlc"])
def test_what_is_claimed_of_an_ssd_is_so(name: str) -> None:
    """From times that are all wrong and half the dies; what cannot be told is not claimed."""
    true = PROFILES[name]
    other = {each: round(value * factor) for each, value, factor in _off(true)}
    base = replace(true, model=true.model | other | {"dies": true.model["dies"] // 2})
    cells = product(("randread", "randwrite"), (4096, 16384, 131072), (1, 4, 16, 64, 256))
    found = calibrate(simulated(true, cells, seed=6, repeats=6), base)
    assert missed(found, true) == {} and found.claimed
    assert set(found.claimed) | set(found.unknown) == {u.name for u in candidates(true)} | set(shape(true)) | set(beyond(true))


def _off(profile):
    for index, unknown in enumerate(candidates(profile)):
        yield unknown.name, profile.model[unknown.name], (0.6, 1.5, 1.3)[index % 3]


# -- the parts ---------------------------------------------------------------------------------------------------


@given(st.sampled_from([u for p in (OPTANE, SAMSUNG) for u in candidates(p)]), st.integers(1, 4_000_000))
def test_the_scale_of_a_parameter_loses_nothing(unknown: Unknown, value: int) -> None:
    assert unknown.value(unknown.scaled(value)) == value


@pytest.mark.parametrize("unknown", [u for p in (OPTANE, SAMSUNG) for u in candidates(p)], ids=lambda u: u.name)
def test_the_scale_ends_at_the_limits(unknown: Unknown) -> None:
    assert (unknown.value(-100), unknown.value(100)) == unknown.limits


@pytest.mark.parametrize("profile", [OPTANE, SAMSUNG, PROFILES["qlc"]], ids=lambda p: p.name)
def test_each_number_that_a_profile_gives_is_looked_for_or_named(profile) -> None:
    known = {u.name for u in candidates(profile)} | set(shape(profile)) | set(beyond(profile))
    assert set(profile.sources) <= known


@given(st.integers(1, 64), st.integers(1, 64))
def test_neighbours_can_be_built_and_are_others(channels: int, dies: int) -> None:
    now = {"channels": channels, "dies": dies}
    for near in neighbours(now):
        assert near != now
        assert 1 <= near["channels"] <= 64 and 1 <= near["dies"] <= 64


def test_a_fixed_delay_is_what_the_model_says_it_is() -> None:
    """By hand: 10293 + 1707 ns, one at a time."""
    cell = Cell("randread", 4096, 1)
    assert np.exp(Forward(OPTANE).predict({}, [cell])[0]) == pytest.approx([1e9 / 12_000, *[12_000] * 4], rel=1e-6)


def test_repeats_of_a_cell_are_put_together() -> None:
    cell, other = Cell("read", 4096, 1), Cell("randread", 4096, 2)
    found = gathered([(cell, np.full(5, 1.0)), (other, np.full(5, 7.0)), (cell, np.full(5, 3.0))])
    assert found.cells == (other, cell)
    assert found.logs.tolist() == [[7.0] * 5, [2.0] * 5]
    assert found.repeats.tolist() == [1, 2]


# -- what fio measured -------------------------------------------------------------------------------------------


def _result(tmp_path: Path, *jobs: dict[str, str]) -> Path:
    side = {"total_ios": 10, "iops": 5000.0, "lat_ns": {"mean": 200_000.0, "percentile": {"10.000000": 150_000}}}
    made = [{"jobname": "j", "error": 0, "job options": job, "read": side, "write": side} for job in jobs]
    path = tmp_path / "fio.json"
    path.write_text(f"fio: a note\n{json.dumps({'global options': {'ioengine': 'libaio'}, 'jobs': made})}")
    return path


def test_a_job_is_read_as_a_cell(tmp_path: Path) -> None:
    jobs = {"rw": "randread", "bs": "16k", "iodepth": "8"}, {"rw": "write", "iodepth": "4", "ioengine": "psync"}
    path = _result(tmp_path, *jobs)
    sweep, notes = read_sweep([path])
    assert sweep.cells == (Cell("randread", 16384, 8), Cell("write", 4096, 1))
    assert np.exp(sweep.logs[0, :2]) == pytest.approx([5000, 150_000])
    assert np.isnan(sweep.logs[0, 2:]).all()
    assert notes == []


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ({"rw": "randrw"}, "rw=randrw is none of"),
        ({"rw": "randread", "bs": "4k,8k"}, "is not a size"),
        ({"rw": "randread", "rate_iops": "100"}, "with rate_iops"),
        ({"rw": "read", "numjobs": "4"}, "no load of one depth"),
        ({"rw": "randread", "bs": "1000"}, "not a multiple of 512"),
        ({"rw": "randread", "iodepth": "0"}, "a depth of 0"),
    ],
)
def test_what_is_no_cell_is_left_out_with_a_word(job: dict[str, str], why: str, tmp_path: Path) -> None:
    path = _result(tmp_path, job, {"rw": "randread"})
    sweep, notes = read_sweep([path])
    assert len(sweep.cells) == 1
    assert len(notes) == 1 and why in notes[0] and str(path) in notes[0]
    with pytest.raises(UsageError, match="no cell of a sweep"):
        read_sweep([_result(tmp_path, job)])


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("no JSON")
    with pytest.raises(StepFailed, match=r"x\.json"):
        read_sweep([tmp_path])
    with pytest.raises(UsageError, match="does not exist"):
        read_sweep([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no \*\.json"):
        read_sweep([tmp_path / "empty"])


# -- the sweep ---------------------------------------------------------------------------------------------------


READS = product(("randread",), (4096, 16384), (1, 2))


def plan(device: Path | str, cells=READS, *, write=False, wipe="") -> Plan:
    return Plan(Path(device), cells, "100ms", 1, write, wipe)


@pytest.mark.skipif(not shutil.which("fio"), reason="needs fio")
def test_fio_sweeps_and_is_understood(tmp_path: Path) -> None:
    """The real fio, on a file, which is not changed."""
    target = tmp_path / "disk.img"
    target.write_bytes(content := bytes(range(256)) * 8192)
    sweep, notes = read_sweep([run_sweep(plan(target), tmp_path / "sweep")])
    assert notes == []
    assert sweep.cells == product(("randread",), (4096, 16384), (1, 2))
    assert np.isfinite(sweep.logs).all() and sweep.logs.shape == (4, len(FIGURES))
    assert (sweep.logs[:, 1:].min(axis=1) > np.log(100)).all()  # no I/O takes less than 100 ns
    assert target.read_bytes() == content


def test_a_sweep_reads_unless_it_is_told_to_write() -> None:
    with pytest.raises(UsageError, match="has writes") as refused:
        plan("/dev/disk/by-id/x", product(("randwrite",)))
    assert "--write" in str(refused.value.hint)
    with pytest.raises(UsageError, match="stable path"):
        plan("/dev/nvme0n1", write=True)
    with pytest.raises(UsageError, match="only reads"):
        plan("/dev/disk/by-id/x", wipe="S1")
    assert {section.keys["rw"] for section in sweep_job(plan("/dev/disk/by-id/x"))} == {"randread"}


def test_what_is_not_there_is_not_swept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        run_sweep(plan("/dev/disk/by-id/none"), tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        run_sweep(plan("/dev/disk/by-id/none", product(("randwrite",)), write=True), tmp_path)


# -- the verb ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one thing to fit to"),
        (["x.json", "--simulated", "optane"], "not several"),
        (["x.json"], "does not exist"),
        (["x.json", "--base", "nothing"], "there is no profile 'nothing'"),
        (["x.json", "--base", "hdd-7200"], "is of kind hdd"),
        (["--simulated", "hdd-7200"], "is of kind hdd"),
        (["--simulated", "optane", "--base", "optane", "--rw", "randrw"], "--rw randrw"),
        (["--simulated", "optane", "--base", "optane", "--bs", "1000"], "not a multiple of 512"),
        (["--simulated", "optane", "--base", "optane", "--qd", "0"], "not within 1 to 1024"),
        (["--simulated", "optane", "--base", "samsung-970-pro"], "is of kind nvm"),
        (["x.json", "--into", "mine.txt"], "no .toml file"),
        (["--sweep", "/dev/none", "--rw", "write"], "has writes"),
    ],
)
def test_what_does_not_fit_together_is_refused(words: list[str], said: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["calibrate", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_proof_says_what_it_found_beside_the_truth(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--bs", "4k,128k", "--qd", "1,4", "--rw", "randread", "--noise", "0.5%", "--into", "o.toml", "--json", "-q"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["calibrate", "--simulated", "optane", "--base", "optane", *words])
    found = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0 and found["missed"] == {}
    assert found["claimed"] and found["true"] == {name: OPTANE.timing[name] for name in found["claimed"]}
    assert {"write_delay", "write_time"} <= set(found["not_identified"])
    assert len(found["errors"]) == 4 and set(FIGURES) <= set(found["errors"][0])
    assert {path.name for path in tmp_path.iterdir()} == {"o.toml", "o.png", "o.svg"}
    assert load_profile(tmp_path / "o.toml").kind == "nvm"
