# SPDX-License-Identifier: GPL-2.0-or-later
"""Drills that are measured well: events and ledgers beside preconditioning, warm-up, repeats, rounds and comparisons."""

from __future__ import annotations

import json
import shutil
import tarfile

import pytest
from conftest import COMMON
from test_events import RIGHT, event
from test_scenario import problems

from nvlab import cli
from nvlab.analysis.drill import unlike
from nvlab.analysis.flags import notes
from nvlab.analysis.runs import load_run
from nvlab.planner import make_plan
from nvlab.record.convert import convert_run
from nvlab.record.recorder import Workload
from nvlab.record.rounds import run_course
from nvlab.record.rundir import RunDir
from nvlab.scenario import loads
from nvlab.scenario.compare import variants
from nvlab.workload.course import Course
from nvlab.workload.fio import Target
from nvlab.workload.steady import Limits

FAILS = {"owner": "raid.md", "label": "fail", "at": 0.0, "acts": [], "deadline": 5.0}
COURSE = Course(fill=1, within=100, warmup=0.3)
PHASES = ["precondition", "warmup", "measure"]


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(bytes(1 << 20))
    return path


def recorded(tmp_path, image, heard, stop, course=COURSE, happen=lambda event: "", **more):
    """What ``workload.json`` says of each stage."""
    work = Workload(name="load", target=Target("device", str(image)), course=course.to_json(), **more)
    run = RunDir.create(tmp_path, "lab")
    run_course(run.new_workload("load"), work, heard, stop, happen=happen)
    return [json.loads((path / "workload.json").read_text()) for path in run.stages()]


def test_events_happen_while_there_is_measured_and_at_no_other_time(tmp_path, image, heard, stop):
    happened = []

    def happen(event):
        happened.append([e["kind"] for e in heard.events].count("start"))
        return "degraded by 1"

    table = COMMON | {"rw": "randread", "direct": False, "size": "1M"}
    facts = recorded(tmp_path, image, heard, stop, happen=happen, table=table, events=(FAILS,))
    assert [f["phase"] for f in facts] == PHASES
    assert [[e["result"] for e in f["events"]] for f in facts] == [[], [], ["done"]]
    assert happened == [3], "once, in the third stage"


def test_rounds_after_the_first_have_no_events(tmp_path, image, heard, stop):
    """A scenario refuses it; a plan from elsewhere does no harm."""
    course = Course(steady=Limits(window=2, excursion=100, slope=100, most=2))
    table = COMMON | {"rw": "randread", "direct": False, "size": "1M"}
    facts = recorded(tmp_path, image, heard, stop, course, table=table, events=(FAILS,))
    assert [len(f["events"]) for f in facts] == [1, 0]


@pytest.mark.slow
def test_what_comes_before_a_ledger_s_load_is_fio_s(tmp_path, image, heard, stop):
    table = {"rw": "randwrite", "bs": "4k", "size": "256k", "iodepth": 2, "runtime": "2s", "fsync": 8}
    facts = recorded(tmp_path, image, heard, stop, table=table, ledger=True)
    assert [(f["phase"], f["ledger"], "verdict" in f) for f in facts] == [
        ("precondition", False, False),
        ("warmup", False, False),
        ("measure", True, True),
    ]
    assert facts[-1]["verdict"]["kept"] == facts[-1]["verdict"]["acknowledged"] > 0
    assert heard.kinds().count("verdict") == 1


# -- in a scenario -------------------------------------------------------------------------------------------------


def test_what_is_to_be_steady_has_no_events():
    text = event(RIGHT["fail"]).replace("repeats = 2\n", "repeats = 2\nwarmup = '1s'\nprecondition = {}\n")
    assert problems(text) == []
    ((where, what),) = problems(text.replace("repeats = 2\n", "steady = {}\n"))
    assert where == "event.1.during" and "leave its steady out" in what


def test_what_is_to_be_steady_keeps_no_ledger():
    job = 'fio = { rw = "randwrite", size = "16M", runtime = "10s" }'
    more = 'ledger = true\nrepeats = 3\nwarmup = "1s"\nprecondition = {}'
    text = f'[disk.d]\nsize = "64M"\n[workload.w]\non = "d"\n{more}\n{job}\n'
    assert problems(text) == []
    assert [where for where, _ in problems(text + "steady = {}\n")] == ["workload.w.steady"]


def test_a_ledger_s_load_writes_where_it_likes():
    zoned = '[device.d]\nsize = "64M"\nprofile = "zns-prototype"\n'
    text = f'{zoned}[workload.w]\non = "d"\nledger = true\nfio = {{ rw = "write", size = "16M", runtime = "10s" }}\n'
    assert ("workload.w.on", "'d' has zones, which are written in order alone; a ledger's load is not") in problems(text)


COMPARED = """
[[compare]]
key = "raid.md.journal.mode"
values = ["write-through", "write-back"]
repeats = 2
"""


def test_compared_labs_have_their_events_in_every_turn():
    text = event(RIGHT["fail"]).replace("repeats = 2\n", "") + COMPARED
    (comparison,) = loads(f"schema = 1\n{text}", name="lab").comparisons
    for value, lab in enumerate(comparison.labs):
        for repeat in range(2):
            runs = variants(make_plan(lab).workloads, comparison.spec, repeat, value, of=1)
            drilled = [run for run in runs if run.get("events")]
            assert [run["name"] for run in drilled] == [f"one-md-{comparison.spec.values[value]}-{repeat + 1}"]
            assert [e["label"] for e in drilled[0]["events"]] == ["fail ssd.1"]


def test_an_event_that_one_value_makes_wrong_is_said_with_the_value():
    text = event(RIGHT["resize"]).replace("repeats = 2\n", "")
    text += '[[compare]]\nkey = "cache.ram.size"\nvalues = ["16M", "4M"]\n'
    assert problems(text) == [("compare.values", "with cache.ram.size = 4M, event.1.size: ram has 4 MiB of memory")]


# -- what is said of it --------------------------------------------------------------------------------------------


def test_a_repeat_that_alone_had_events_is_told(converted, tmp_path):
    path = tmp_path / "drilled"
    shutil.copytree(converted, path)
    assert not any("events" in note for note in notes(load_run(path)))
    described = path / "workloads/01-randrw-client/workload.json"
    facts = json.loads(described.read_text())
    came = {"owner": "raid.md", "label": "fail", "result": "done", "found": "", "message": "", "kernel": []}
    facts["events"] = [came | {"due": 1, "begun": facts["started"], "ended": facts["ended"]}]
    described.write_text(json.dumps(facts))
    said = "randrw: its events happened on client, repeat 1 alone, whose figures are counted with the others"
    assert said in notes(load_run(path))


# -- handed on and done again --------------------------------------------------------------------------------------


@pytest.fixture
def drill(tmp_path, image, heard, stop):
    """A run as a drill leaves it: an event under a load with a ledger, converted."""
    table = {"rw": "randwrite", "bs": "4k", "size": "256k", "iodepth": 2, "runtime": "2s", "fsync": 8}
    work = Workload(name="load", target=Target("device", str(image)), table=table, ledger=True, events=(FAILS,))
    run = RunDir.create(tmp_path / "runs", "lab")
    run_course(run.new_workload("load"), work, heard, stop, happen=lambda event: "degraded by 1")
    run.write("lab", "schema = 1\n", "lab.toml", {"title": "A drill", "accelerator": {"accelerator": "tcg", "kernel": "6.1"}})
    convert_run(run.path)
    return run


def with_facts(run, base, change):
    """A copy of the run, its workload described otherwise."""
    path = base / f"other-{run.id}"
    shutil.copytree(run.path, path)
    (described,) = path.glob("workloads/*/workload.json")
    facts = json.loads(described.read_text())
    change(facts)
    described.write_text(json.dumps(facts))
    return load_run(path)


@pytest.mark.slow
def test_a_drill_is_handed_on_with_its_events_and_its_verdict(drill, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["bundle", str(drill.path), "--out", str(tmp_path / "drill.tar.gz")])
    assert not ended.value.code, capsys.readouterr().err
    with tarfile.open(tmp_path / "drill.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    page = (tmp_path / "unpacked" / drill.id / "report.html").read_text()
    assert "degraded by 1" in page and "nothing that was flushed is lost" in page
    (work,) = load_run(tmp_path / "unpacked" / drill.id).workloads
    assert [event["result"] for event in work.happened] == ["done"] and work.verdict["acknowledged"] > 0


def test_a_drill_that_ends_otherwise_is_not_the_same_though_its_figures_are(drill, tmp_path):
    first = load_run(drill.path)
    assert list(unlike(first, first)) == []
    failed = with_facts(drill, tmp_path, lambda facts: facts["events"][0].update(result="failed"))
    assert list(unlike(first, failed)) == ["load: raid.md, fail: done then, failed now"]
    lost = with_facts(drill, tmp_path / "2", lambda facts: facts["verdict"].update(lost=3, torn=1))
    assert list(unlike(first, lost)) == ["load: 0 lost then, 3 lost now", "load: 0 torn then, 1 torn now"]
    assert list(unlike(lost, first)) == ["load: 3 lost then, 0 lost now", "load: 1 torn then, 0 torn now"]
