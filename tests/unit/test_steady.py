# SPDX-License-Identifier: GPL-2.0-or-later
"""When a load is steady, and the course that leads there: by known series, by the real fio, and on a simulated drive."""

from __future__ import annotations

import json

import pytest
from conftest import COMMON
from hypothesis import given
from hypothesis import strategies as st

from nvlab.analysis.flags import notes
from nvlab.analysis.report import write_report
from nvlab.analysis.runs import load_run
from nvlab.analysis.table import terminal_table
from nvlab.errors import DeadlineExceeded, Interrupted, InvalidScenario
from nvlab.record.convert import convert_run
from nvlab.record.recorder import Workload
from nvlab.record.rounds import run_course
from nvlab.record.rundir import RunDir
from nvlab.scenario import loads
from nvlab.simulate import Options, simulate
from nvlab.workload.course import Course, lasting
from nvlab.workload.fio import Target, job_sections, planned_seconds
from nvlab.workload.steady import Limits, look, until_steady, value_of

values = st.lists(st.floats(1, 1e6), min_size=2, max_size=20)


# -- the detector --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "excursion", "slope"),
    [
        ([100, 100, 100, 100, 100], 0, 0),
        ([95, 105, 95, 105, 100], 10, 4),  # the fitted line rises by 1 a round
        ([90, 95, 100, 105, 110], 20, 20),  # a straight line: the fit is the series
        ([110, 105, 100, 95, 90], 20, 20),
        ([60, 100, 100, 100, 140], 80, 64),
    ],
)
def test_excursion_and_slope_of_series_worked_out_by_hand(series, excursion, slope):
    window = look(series)
    assert (window.mean, window.excursion, window.slope) == (100, pytest.approx(excursion), pytest.approx(slope))


def test_the_limits_themselves_are_still_steady():
    limits = Limits(excursion=20, slope=20)
    assert look([90, 95, 100, 105, 110]).within(limits)
    assert not look([90, 95, 100, 105, 110]).within(Limits())
    assert not look([89, 95, 100, 105, 111]).within(limits)


@given(values, st.floats(1e-3, 1e3))
def test_neither_figure_depends_on_the_unit(series, factor):
    one, other = look(series), look([value * factor for value in series])
    assert other.excursion == pytest.approx(one.excursion, rel=1e-6, abs=1e-6)
    assert other.slope == pytest.approx(one.slope, rel=1e-6, abs=1e-6)


@given(values)
def test_a_series_and_its_reverse_are_equally_steady(series):
    one, other = look(series), look(series[::-1])
    assert (one.excursion, one.slope) == pytest.approx((other.excursion, other.slope), rel=1e-6, abs=1e-6)


@given(st.floats(1, 1e6), st.floats(-0.1, 0.1), st.integers(2, 20))
def test_the_slope_of_a_straight_line_is_its_excursion(start, share, n):
    window = look([start * (1 + share * i / n) for i in range(n)])
    assert window.slope == pytest.approx(window.excursion, rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(1, 1e6), min_size=30, max_size=30), st.integers(2, 8), st.floats(1, 100), st.floats(1, 100))
def test_rounds_end_with_the_first_window_within_the_limits_and_never_later_than_told(series, window, excursion, slope):
    limits = Limits(window, excursion, slope, most=25)
    heard = []
    verdict = until_steady(limits, series.__getitem__, lambda *said: heard.append(said))
    done = len(verdict.values)
    assert verdict.values == tuple(series[:done]) and window <= done <= 25
    ends = [look(series[n - window : n]).within(limits) for n in range(window, done + 1)]
    assert not any(ends[:-1]) and ends[-1] == verdict.reached
    assert verdict.reached or done == 25
    assert [n for n in range(done) if verdict.counts(n)] == list(range(done - window, done))
    assert [said[0] for said in heard] == list(range(done)) and heard[-1][2] == verdict.last


def test_a_load_that_never_settles_is_called_not_steady():
    verdict = until_steady(Limits(most=9), lambda n: 100.0 + 60 * (n % 2), lambda *said: None)
    assert not verdict.reached and len(verdict.values) == 9


def test_a_device_that_does_nothing_is_not_steady():
    assert not look([0, 0, 0, 0, 0]).within(Limits(excursion=100, slope=100))
    json.loads(json.dumps(until_steady(Limits(most=5), lambda n: 0.0, lambda *said: None).to_json(), allow_nan=False))


def test_a_round_counts_as_all_its_directions_together():
    parts = [{"ios": 300, "iops": 30.0, "mean": 100.0}, {"ios": 100, "iops": 10.0, "mean": 500.0}]
    assert (value_of("iops", parts), value_of("latency", parts)) == (40, 200)
    assert value_of("latency", []) == 0


# -- the course ----------------------------------------------------------------------------------------------------


def test_a_course_survives_the_way_to_the_node():
    course = Course(fill=2, random=1, within=60, warmup=1.5, steady=Limits(most=7, of="latency"))
    assert Course.from_json(json.loads(json.dumps(course.to_json()))) == course
    assert Course(within=60).to_json() == {} and Course.from_json({}).plain


def test_a_target_is_filled_then_written_at_random_before_the_load_warms_up():
    filled, warm = Course(fill=2, random=1, within=60, warmup=3).before({"rw": "randread", "runtime": "1h"})
    fill, random = job_sections(filled.table, "x")
    assert {"rw": "write", "loops": "2", "time_based": "0"}.items() <= fill.keys.items()
    assert {"rw": "randwrite", "loops": "1", "norandommap": "1", "stonewall": "1"}.items() <= random.keys.items()
    assert filled.within == 60 < planned_seconds([fill]), "the deadline comes before fio's own end, which would be silent"
    assert planned_seconds(job_sections(warm.table, "x")) == 3


def test_a_warm_up_lasts_as_long_as_it_is_told_whatever_the_job_says_of_its_length():
    job = {"io_limit": "1G", "timeout": "9s", "loops": 3, "bs": "4k", "one": {"rw": "read", "runtime": "5s", "number_ios": 7}}
    assert lasting(job, 2) == {"bs": "4k", "one": {"rw": "read"}, "runtime": "2000ms"}


# -- live ----------------------------------------------------------------------------------------------------------


def a_load(tmp_path, course, **table):
    files = tmp_path / "files"
    files.mkdir(exist_ok=True)
    return Workload(
        name="load",
        target=Target("directory", str(files)),
        table=COMMON | {"rw": "randread"} | table,
        course=course.to_json(),
    )


def test_each_stage_leaves_a_record_of_its_own_and_only_the_last_window_counts(tmp_path, heard, stop):
    course = Course(warmup=0.3, steady=Limits(window=2, excursion=100, slope=100, most=6))
    run = RunDir.create(tmp_path, "lab")
    verdict = run_course(run.new_workload("load"), a_load(tmp_path, course), heard, stop)
    run.write("lab", "schema = 1\n", "x.toml", {})
    convert_run(run.path)
    names = [path.name for path in run.stages()]
    rounds = len(verdict["values"])
    assert names == ["01-warmup", *(f"{n + 1:02d}-round-{n}" for n in range(1, rounds + 1))]
    facts = [json.loads((path / "workload.json").read_text()) for path in run.stages()]
    assert [f["phase"] for f in facts] == ["warmup", *["measure"] * rounds]
    assert [f["counted"] for f in facts] == [False] * (rounds - 1) + [True, True]
    assert len({f["seed"] for f in facts}) == len(facts), "no stage repeats the random choices of another"
    assert [e["value"] for e in heard.events if e["kind"] == "round"] == verdict["values"]
    loaded = load_run(run.path)
    assert (len(loaded.stages), len(loaded.workloads)) == (rounds + 1, 2)
    assert loaded.workloads[0].steady == verdict
    by_hand = [sum(r["iops"] for r in w.results) for w in loaded.workloads]
    assert by_hand == pytest.approx(verdict["values"][-2:], rel=0.02)


def test_without_a_course_a_workload_is_recorded_as_ever(tmp_path, heard, stop):
    assert run_course(tmp_path / "out", a_load(tmp_path, Course()), heard, stop) == {}
    assert (tmp_path / "out" / "workload.json").is_file()


def test_a_stop_between_rounds_ends_them_and_none_counts(tmp_path, heard, stop):
    def emit(event):
        heard(event)
        stop.requested = stop.requested or event["kind"] == "round"

    course = Course(steady=Limits(window=2, most=50))
    run = RunDir.create(tmp_path, "lab")
    with pytest.raises(Interrupted):
        run_course(run.new_workload("load"), a_load(tmp_path, course), emit, stop)
    facts = [json.loads((path / "workload.json").read_text()) for path in run.stages()]
    assert [f["status"] for f in facts] == ["ok", "stopped"]
    assert not any(f["counted"] for f in facts)


def test_preconditioning_that_takes_too_long_is_no_preconditioning(tmp_path, heard, stop):
    course = Course(fill=100, within=0.5)
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(1 << 30)
    work = Workload(name="load", target=Target("device", str(image)), table={"rw": "read"}, course=course.to_json())
    with pytest.raises(DeadlineExceeded, match="did not end within"):
        run_course(tmp_path / "out", work, heard, stop)


def test_preconditioning_writes_all_of_the_target(tmp_path, heard, stop):
    course = Course(fill=2, random=1, within=100)
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    table = {"rw": "read", "direct": False, "runtime": "200ms"}
    work = Workload(name="load", target=Target("device", str(image)), table=table, course=course.to_json())
    run_course(tmp_path / "out", work, heard, stop)
    fill, random = json.loads((tmp_path / "out/01-precondition/fio.json").read_text())["jobs"]
    assert (fill["write"]["io_bytes"], random["write"]["io_bytes"]) == (8 << 20, 4 << 20)
    assert image.stat().st_blocks * 512 >= 4 << 20


# -- simulated -----------------------------------------------------------------------------------------------------

DRIVE = """
schema = 1
[device.tight]
profile = "tlc-enterprise"
size = "32M"
medium = { channels = 4, dies = 1, spare = 70 }
[workload.randwrite]
on = "tight"
fio = { rw = "randwrite", bs = "4k", iodepth = 8, runtime = "500ms" }
"""


def simulated(tmp_path, more, heard=lambda event: None):
    path = tmp_path / "lab.toml"
    path.write_text(DRIVE + more)
    return simulate(path, tmp_path / "runs", Options(), [], heard)


def test_a_drive_that_fills_up_is_measured_when_it_has_settled(tmp_path, heard):
    fresh = load_run(simulated(tmp_path, ""))
    run = load_run(simulated(tmp_path, "precondition = { fill = 1 }\nsteady = { excursion = 10, slope = 5, most = 60 }\n", heard))
    verdict = run.workloads[0].steady
    assert verdict["reached"] and len(verdict["values"]) > 5
    assert len(run.workloads) == 5 and len(run.stages) == 1 + len(verdict["values"])
    settled = [sum(r["iops"] for r in w.results) for w in run.workloads]
    assert settled == pytest.approx(verdict["values"][-5:])
    assert max(settled) < 0.7 * sum(r["iops"] for r in fresh.workloads[0].results), "a fresh drive flatters itself"
    assert [e["reached"] for e in heard.events if e["kind"] == "steady"] == [True]
    said = f"randwrite on tight: steady after {len(verdict['values'])} rounds; of the last 5 the excursion is"
    assert said in terminal_table(run) and "NOT STEADY" not in terminal_table(run)
    assert said in write_report(run, tmp_path / "page").read_text()


def test_what_never_settles_is_said_on_the_terminal_and_on_the_page(tmp_path):
    run = load_run(simulated(tmp_path, "steady = { excursion = 0.01, slope = 0.01, most = 6 }\n"))
    assert len(notes(run)) == 1 and "NOT STEADY after 6 rounds" in notes(run)[0]
    assert "! randwrite on tight" in terminal_table(run)
    assert "NOT STEADY after 6 rounds" in write_report(run, tmp_path / "page").read_text()


def test_a_simulated_course_is_the_same_every_time(tmp_path):
    more = "repeats = 2\nwarmup = '100ms'\nprecondition = { fill = 0, random = 1 }\nsteady = { window = 3 }\n"
    one, other = (load_run(simulated(tmp_path, more)) for _ in range(2))
    assert [w.results for w in one.stages] == [w.results for w in other.stages]
    assert [w.facts["phase"] for w in one.stages].count("precondition") == 1, "a target is filled before its first repeat"
    assert [w.facts["phase"] for w in one.stages].count("warmup") == 2


def test_virtual_preconditioning_has_a_deadline_too(tmp_path):
    with pytest.raises(DeadlineExceeded, match="precondition did not end within 1 s of virtual time"):
        simulated(tmp_path, "precondition = { fill = 0, random = 50, within = '1s' }\n")


@pytest.mark.parametrize(
    ("keys", "where", "what"),
    [
        ("steady = { window = 9, most = 8 }", "workload.w.steady.most", "8 rounds are never a window of 9"),
        ("steady = { slope = 0 }", "workload.w.steady.slope", "above 0"),
        ("steady = { excursion = true }", "workload.w.steady.excursion", "not a number"),
        ("steady = { of = 'p99' }", "workload.w.steady.of", "iops, latency"),
        ("precondition = { fill = -1 }", "workload.w.precondition.fill", "out of range"),
        ("rounds = 2", "workload.w.rounds", "is not a key"),
    ],
)
def test_a_course_that_makes_no_sense_is_refused(keys, where, what):
    text = f'schema = 1\n[disk.d]\nsize = "64M"\n[workload.w]\non = "d"\nfio = {{ rw = "read" }}\n{keys}\n'
    with pytest.raises(InvalidScenario) as error:
        loads(text)
    (problem,) = error.value.problems
    assert problem.where == where and what in problem.what


def test_what_cannot_be_filled_is_not_preconditioned():
    text = 'schema = 1\n[disk.d]\nsize = "64M"\n[filesystem.f]\non = "d"\n[workload.w]\non = "f"\nprecondition = {}\n'
    with pytest.raises(InvalidScenario, match="f is a file system"):
        loads(text + 'fio = { rw = "read", size = "1M" }\n')
