# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab simulate on devices with keys: loads, what is recorded of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.analysis.arrivals import arrivals
from nvlab.analysis.report import write_report
from nvlab.analysis.runs import Run, load_run
from nvlab.analysis.table import terminal_table
from nvlab.errors import InvalidScenario, UsageError
from nvlab.planner import make_plan
from nvlab.scenario import loads
from nvlab.sim import Device, KeyOpcode, key_space, profiles
from nvlab.sim.device import Config
from nvlab.sim.kvload import KeyLoad
from nvlab.simulate import Options, simulate

DEVICE = '[device.d]\nsize = "64M"\nprofile = "kv-prototype"\nmedium = { kv_value = 64 }\n'
ON = '[workload.w]\non = "d"\nkv = { %s }\n'
MS = 1_000_000


def simulated(tmp_path: Path, text: str, **options: object) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text("schema = 1\n" + text)
    return simulate(path, tmp_path / "runs", Options(**options), [], lambda _: None)


def ran(tmp_path: Path, load: str) -> Run:
    return load_run(simulated(tmp_path, DEVICE + ON % load))


def load_of(**changes: object) -> KeyLoad:
    plain = {
        "keys": 1000, "value": (100, 9000), "key_size": 16, "distribution": "uniform", "iodepth": 4, "numjobs": 1,
        "runtime": 20 * MS, "ramp_time": 0, "number_ios": None, "rate_iops": None, "seed": 1,
        "parts": {KeyOpcode.STORE: 1, KeyOpcode.RETRIEVE: 1},
    }  # fmt: skip
    return KeyLoad(**plain | changes)


# -- loads ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 200_000), st.integers(0, 999), st.sampled_from([(0, 0), (1, 1), (100, 70_000)]), st.integers(3, 16))
def test_the_population_is_every_key_once(keys: int, seed: int, value: tuple[int, int], key_size: int) -> None:
    load = load_of(keys=keys, value=value, seed=seed, key_size=key_size)
    stores = np.concatenate([*load.population()])
    assert sorted(stores["slba"].tolist()) == list(range(keys)) and not stores["key"].any()
    assert set(stores["opcode"]) == {KeyOpcode.STORE} and set(stores["action"]) == {key_size}
    assert value[0] <= stores["nlb"].min() <= stores["nlb"].max() <= value[1]


def test_commands_are_in_the_parts_that_were_asked_for() -> None:
    parts = {KeyOpcode.STORE: 10, KeyOpcode.RETRIEVE: 60, KeyOpcode.DELETE: 20, KeyOpcode.EXIST: 10, KeyOpcode.LIST: 0}
    (piece,) = load_of(parts=parts, number_ios=60_000).commands(0)
    share = {opcode: float((piece["opcode"] == opcode).mean()) * 100 for opcode in parts}
    assert share == {opcode: pytest.approx(n, abs=0.7) for opcode, n in parts.items()}
    sizes = {int(opcode): set(piece["nlb"][piece["opcode"] == opcode]) for opcode in set(piece["opcode"])}
    assert sizes[KeyOpcode.DELETE] == sizes[KeyOpcode.EXIST] == {0} and sizes[KeyOpcode.RETRIEVE] == {9000}
    assert min(sizes[KeyOpcode.STORE]) < 200 and max(sizes[KeyOpcode.STORE]) > 8900


def test_keys_are_as_likely_as_the_distribution_says() -> None:
    """The n-th weighs 1 / n^s: against the sum of all, by the chi-square of the first twenty."""
    n = 60_000
    for name, weights in (("uniform", np.ones(1000)), ("zipf:1.2", np.arange(1, 1001) ** -1.2)):
        (piece,) = load_of(distribution=name, number_ios=n).commands(0)
        expected = (weights / weights.sum() * n)[:20]
        found = np.bincount(piece["slba"].astype(int), minlength=1000)[:20]
        assert ((found - expected) ** 2 / expected).sum() < 45  # one in a thousand, of 20


def test_the_same_seed_makes_the_same_commands_and_another_job_others() -> None:
    one, same = (next(load_of(number_ios=500).commands(0)) for _ in range(2))
    assert (one == same).all()
    assert (next(load_of(number_ios=500).commands(1)) != one).any()
    assert (next(load_of(number_ios=500, seed=2).commands(0)) != one).any()


def test_a_load_lasts_as_long_as_it_should_and_stays_within_its_rate() -> None:
    device = Device(Config.of(profiles()["kv-prototype"], 64 << 20))
    load = load_of(rate_iops=10_000, ramp_time=10 * MS, numjobs=3)
    start = load.fill(device, 0)
    done = load.run(device, start)
    assert [len(each.commands) for each in done] == [300] * 3, "30 ms of 10 thousand a second"
    assert all(each.commands["now"].max() < start + 30 * MS for each in done)
    space = key_space(device)
    assert space and space.keys == 1000


# -- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_has_every_command_by_what_it_was(tmp_path: Path) -> None:
    kinds = "store = 3, retrieve = 5, delete = 1, exist = 1, list = 1"
    run = ran(tmp_path, f'keys = 2000, value = "1k-8k", {kinds}, number_ios = 3000, iodepth = 8')
    (work,) = run.workloads
    assert [result["op"] for result in work.results] == ["read", "write", "delete", "exist", "list"]
    assert len(work.latency) == sum(result["ios"] for result in work.results) == 3000
    by_op = {op: work.latency["size"][work.latency["op"] == op] for op in range(6)}
    assert by_op[1].min() >= 1024 and by_op[1].max() <= 8192
    assert set(by_op[3]) == set(by_op[4]) == set(by_op[5]) == {0}
    assert 0 in by_op[0] and by_op[0].max() > 7000, "some keys were deleted"
    assert work.results[1]["bytes"] == by_op[1].sum()


def test_accounts_and_counters_are_those_of_the_device(tmp_path: Path) -> None:
    directory = simulated(tmp_path, DEVICE + ON % 'keys = 1000, value = "4k", store = 1, number_ios = 500')
    (results,) = (json.loads(path.read_text()) for path in directory.rglob("results.json"))
    assert results["accounts"]["host_units"] == 1500 and results["accounts"]["keys"] == 1000
    assert results["accounts"]["value_bytes"] == 1000 * 4096 and results["counters"]["stores"] == 1500


@pytest.mark.slow
def test_a_report_shows_them(tmp_path: Path) -> None:
    run = ran(tmp_path, 'keys = 2000, store = 1, retrieve = 5, delete = 1, exist = 1, list = 1, number_ios = 3000, iodepth = 8')
    text = terminal_table(run)
    assert all(name in text for name in ("read", "write", "delete", "exist", "list"))
    assert write_report(run, tmp_path / "report").stat().st_size > 10_000


def test_what_is_counted_begins_after_the_ramp(tmp_path: Path) -> None:
    run = ran(tmp_path, 'keys = 100, retrieve = 1, ramp_time = "20ms", runtime = "30ms", rate_iops = 10_000')
    assert len(run.workloads[0].latency) == 300


@pytest.mark.slow
def test_a_rate_is_one_of_all_commands_and_what_comes_late_is_told(tmp_path: Path) -> None:
    """A thousand a second, one at a time; of 500 commands one stalls for 50 ms, and the 49 after it wait."""
    stall = '[device.d.fault.stall]\naction = "delay"\ndelay = "50ms"\nevery = 500\n'
    load = ON % 'keys = 10, store = 1, retrieve = 1, rate_iops = 1000, runtime = "2s"'
    run = load_run(simulated(tmp_path, DEVICE + stall + load))
    read, write = arrivals(run.workloads[0])
    assert (read.op, write.op) == ("read", "write") and read.asked + write.asked == pytest.approx(1000)
    n = {result["op"]: result["ios"] for result in run.workloads[0].results}
    assert read.late * n["read"] + write.late * n["write"] == pytest.approx(4 * 49, abs=49)
    assert max(each.from_due.percentile(100) for each in (read, write)) > 40 * MS
    assert "submitted late" in write_report(run, tmp_path / "report").read_text()


def test_several_loads_share_a_drive_with_its_past(tmp_path: Path) -> None:
    run = load_run(
        simulated(
            tmp_path,
            DEVICE
            + (ON % "keys = 100, delete = 1, number_ios = 1000").replace("workload.w", "workload.a")
            + (ON % "keys = 100, exist = 1, number_ios = 1000").replace("workload.w", "workload.b"),
        )
    )
    assert [work.results[0]["op"] for work in run.workloads] == ["delete", "exist"]


def test_a_drive_is_saved_and_restored_with_its_keys(tmp_path: Path) -> None:
    load = DEVICE + ON % "keys = 500, retrieve = 1, number_ios = 100"
    simulated(tmp_path, load, save=tmp_path / "snapshot")
    directory = simulated(tmp_path, load.replace("keys = 500", "keys = 10"), restore=tmp_path / "snapshot")
    (results,) = (json.loads(path.read_text()) for path in directory.rglob("results.json"))
    assert results["accounts"]["keys"] == 500


# -- measuring -----------------------------------------------------------------------------------------------------


def stages(directory: Path) -> dict[str, dict[str, object]]:
    """``workload.json`` of each stage, by its directories; in the order of running."""
    found = sorted((directory / "workloads").rglob("workload.json"))
    return {str(path.parent.relative_to(directory / "workloads")): json.loads(path.read_text()) for path in found}


def stored(directory: Path) -> list[int]:
    found = sorted((directory / "workloads").rglob("results.json"))
    return [json.loads(path.read_text())["counters"]["stores"] for path in found]


def test_each_repeat_begins_with_all_keys_and_makes_choices_of_its_own(tmp_path: Path) -> None:
    load = 'repeats = 2\n' + "kv = { keys = 100, delete = 1, retrieve = 1, number_ios = 300 }\n"
    directory = simulated(tmp_path, DEVICE + '[workload.w]\non = "d"\n' + load)
    assert stored(directory) == [100, 200]
    one, two = load_run(directory).workloads
    assert [work.facts["repeat"] for work in (one, two)] == [0, 1]
    assert one.latency["op"].tolist() != two.latency["op"].tolist()
    assert one.latency["t"].max() < two.latency["t"].min()
    assert "± " in terminal_table(load_run(directory))


def test_a_course_stores_the_keys_once_warms_up_and_goes_on_until_it_is_steady(tmp_path: Path) -> None:
    load = 'warmup = "5ms"\nsteady = { window = 3, most = 9 }\n'
    load += 'kv = { keys = 100, retrieve = 9, exist = 1, number_ios = 400, rate_iops = 10_000, runtime = "20ms" }\n'
    directory = simulated(tmp_path, DEVICE + '[workload.w]\non = "d"\n' + load)
    found = stages(directory)
    assert [name.partition("/")[2] for name in found] == ["01-warmup", "02-round-1", "03-round-2", "04-round-3"]
    assert [facts["counted"] for facts in found.values()] == [False, True, True, True]
    assert stored(directory) == [100] * 4, "before the first stage, and never again"
    lengths = [facts["sections"][0]["kv"]["runtime"] for facts in found.values()]
    assert lengths == [5 * MS, *[20 * MS] * 3]
    assert [sum(r["ios"] for r in work.results) for work in load_run(directory).workloads] == [200] * 3
    first, second, third = (work.latency["op"].tolist() for work in load_run(directory).workloads)
    assert first != second != third, "a round is no other round again"


def test_a_warm_up_is_as_long_as_it_should_be_whatever_the_load_says_of_its_length(tmp_path: Path) -> None:
    load = 'warmup = "5ms"\nkv = { keys = 100, retrieve = 1, ramp_time = "10ms", number_ios = 3, rate_iops = 10_000 }\n'
    directory = simulated(tmp_path, DEVICE + '[workload.w]\non = "d"\n' + load)
    (warm,) = directory.rglob("01-warmup/latency.npy")
    assert len(np.load(warm)) == 50


@pytest.mark.parametrize(
    ("key", "values"),
    [("workload.w.kv.value", ["512", "16k"]), ("device.d.medium.kv_value", [32, 64]), ("workload.w.kv.iodepth", [1, 8])],
)
def test_values_of_a_key_are_compared_each_on_a_new_drive(tmp_path: Path, key: str, values: list[object]) -> None:
    compare = f"[[compare]]\nkey = \"{key}\"\nvalues = {values}\nrepeats = 2\n"
    directory = simulated(tmp_path, DEVICE + ON % "keys = 100, store = 1, retrieve = 1, number_ios = 300" + compare)
    works = load_run(directory).workloads
    assert [work.facts["variant"] for work in works] == [str(values[n]) for n in (0, 1, 1, 0)]
    assert all(100 < count < 400 for count in stored(directory)), "a new drive for each"
    if key.endswith("value") and key.startswith("workload"):
        assert [work.facts["sections"][0]["kv"]["value"] for work in works] == [[n, n] for n in (512, 16384, 16384, 512)]


def test_a_value_that_makes_no_sense_is_refused_before_anything_is_measured() -> None:
    compare = '[[compare]]\nkey = "workload.w.kv.value"\nvalues = ["4k", "65k"]\n'
    with pytest.raises(InvalidScenario) as refused:
        loads("schema = 1\n" + DEVICE + ON % "keys = 10, store = 1" + compare)
    (problem,) = refused.value.problems
    assert problem.where == "compare.values" and "largest value" in problem.what


def test_a_run_of_keys_is_done_again_from_its_directory(tmp_path: Path) -> None:
    text = DEVICE + '[workload.w]\non = "d"\nwarmup = "5ms"\nkv = { keys = 100, retrieve = 3, store = 1, runtime = "10ms" }\n'
    one, again = (load_run(simulated(tmp_path, text)).workloads[0] for _ in range(2))
    assert (one.latency == again.latency).all()


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        (ON % "keys = 10", "workload.w.kv", "of no command how many"),
        (ON % "keys = 70_000, key_size = 2, store = 1", "workload.w.kv.keys", "only 65536 keys of 2 bytes"),
        (ON % 'keys = 10, store = 1, value = "65k"', "workload.w.kv.value", "more than the device's largest value, 64 KiB"),
        (ON % 'keys = 10, store = 1, value = "9k-1k"', "workload.w.kv.value", "begins with the larger size"),
        (ON % 'keys = 10, store = 1, value = "1-2-3"', "workload.w.kv.value", "neither a size nor two"),
        (ON % 'keys = 10, store = 1, value = "128M"', "workload.w.kv.value", "out of range"),
        (ON % 'keys = 10, store = 1, distribution = "pareto"', "workload.w.kv.distribution", "zipf:0.99"),
        (ON % "keys = 10, store = 1, depth = 3", "workload.w.kv.depth", ""),
        (ON % "keys = 10, store = 1" + 'fio = { rw = "read" }\n', "workload.w.fio", "leave out fio, or kv"),
        ('[workload.w]\non = "d"\nfio = { rw = "read" }\n', "workload.w.kv", "is missing: 'd' has keys"),
        (ON % "keys = 10, store = 1" + "ledger = true\n", "workload.w.ledger", "is of blocks"),
        (ON % "keys = 10, store = 1" + "precondition = {}\n", "workload.w.precondition", "which are stored before the load"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused(body: str, where: str, what: str) -> None:
    with pytest.raises(InvalidScenario) as refused:
        loads("schema = 1\n" + DEVICE + body)
    (problem,) = refused.value.problems
    assert problem.where == where and what in problem.what


def test_keys_are_for_devices_with_keys() -> None:
    with pytest.raises(InvalidScenario) as refused:
        loads('schema = 1\n[device.d]\nsize = "64M"\n' + ON % "keys = 10, store = 1")
    assert [(p.where, "has no keys" in p.what) for p in refused.value.problems] == [("workload.w.kv", True)]


def test_more_than_the_drive_holds_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="capacity exceeded"):
        simulated(tmp_path, DEVICE + ON % "keys = 20_000, store = 1")


def test_a_drive_that_there_cannot_be_is_refused_with_its_parameter(tmp_path: Path) -> None:
    with pytest.raises(InvalidScenario) as refused:
        simulated(tmp_path, DEVICE.replace("64M", "1M").replace("= 64 }", "= 1024 }") + ON % "keys = 1, store = 1")
    (problem,) = refused.value.problems
    assert problem.where == "device.d.medium" and problem.what.startswith("the capacity has no room for two values of kv_value")


def test_keys_take_no_random_past_and_no_blocks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="keys cannot be written at random"):
        simulated(tmp_path, DEVICE + ON % "keys = 1, store = 1", precondition=1.0)
    for text in ("[job]\nrw=read\n", "1,h,0,Read,0,4096,1\n"):
        (tmp_path / "io").write_text(text)
        with pytest.raises(UsageError, match="of blocks"):
            simulated(tmp_path, DEVICE, io=tmp_path / "io")


def test_a_live_load_has_a_process_for_each_command_in_flight() -> None:
    (run,) = make_plan(loads("schema = 1\n" + DEVICE + ON % "keys = 10, store = 1, numjobs = 16, iodepth = 16")).workloads
    assert run["kv"]["keys"] == 10 and run["target"] == {"kind": "device", "path": "{d.dev}"} and run["watches"] == []
    with pytest.raises(InvalidScenario, match="1 problem") as refused:
        make_plan(loads("schema = 1\n" + DEVICE + ON % "keys = 10, store = 1, numjobs = 16, iodepth = 17"))
    assert refused.value.problems[0].where == "workload.w.kv.iodepth" and "256 is the limit" in refused.value.problems[0].what


@pytest.mark.slow
def test_the_lesson_of_the_scenario(tmp_path: Path) -> None:
    """A fuller drive collects more; where nothing is stored it is as fast; small values take as much room as large ones."""
    text = (Path(__file__).parents[2] / "scenarios/keys.toml").read_text().replace("iodepth = 8", "iodepth = 32")
    (tmp_path / "keys.toml").write_text(text.replace('"2s"', '"500ms"'))
    directory = simulate(tmp_path / "keys.toml", tmp_path, Options(), [], lambda _: None)
    works = {(work.facts["load"], work.facts["variant"]): work for work in load_run(directory).workloads}
    iops = {key: sum(result["iops"] for result in work.results) for key, work in works.items()}
    assert iops["update", "full"] < 0.6 * iops["update", "roomy"]
    assert iops["read", "full"] == pytest.approx(iops["read", "roomy"], rel=0.05)

    def copied(load: str, variant: str) -> float:
        (path,) = (path for path in directory.rglob("results.json") if f"{load}-{variant}" in str(path))
        accounts = json.loads(path.read_text())["accounts"]
        assert accounts["value_units"] == accounts["keys"] == 15_000
        return accounts["gc_units"] / accounts["host_units"]

    assert copied("small", "full") > 2 * copied("small", "roomy")
