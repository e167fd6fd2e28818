# SPDX-License-Identifier: GPL-2.0-or-later
"""``[[event]]``: what may be said, what is said of mistakes, what becomes of it in a plan, and when it happens."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from test_scenario import SCHEMA, accepts, problems

from nvlab.errors import InvalidScenario, StepFailed
from nvlab.layers import KINDS
from nvlab.layers.base import Facts
from nvlab.planner import make_plan
from nvlab.record.events import EventLog
from nvlab.record.timeline import Timeline, failure
from nvlab.scenario import loads

LAB = """
[device.ssd]
count = 5
size = "64M"
[device.ssd.fault.slow]
action = "delay"
delay = "1ms"
[device.log]
size = "64M"
profile = "qlc"
[disk.j]
size = "64M"
[raid.md]
level = 5
journal = { on = "j", mode = "write-back" }
on = ["ssd.1", "ssd.2", "ssd.3"]
spares = "ssd.4"
[cache.ram]
on = "md"
size = "16M"
[export.drive]
on = "ram"
allow_any_host = true
[workload.one]
on = ["md", "ssd.5"]
repeats = 2
fio = { rw = "randread", runtime = "10s" }
[workload.two]
on = "md"
fio = { rw = "randread", runtime = "20s" }
"""


def event(text: str, at: str = '"5s"') -> str:
    return f"{LAB}\n[[event]]\nat = {at}\n{text}\n"


def planned(text: str):
    return make_plan(loads(f"schema = 1\n{text}", name="lab"))


RIGHT = {
    "fail": 'on = "md"\ndo = "fail"\nmember = "ssd.1"',
    "remove": 'on = "md"\ndo = "remove"\nmember = "ssd.1"',
    "add": 'on = "md"\ndo = "add"\nmember = "ssd.4"\nwait = false\ndeadline = "2m"',
    "replace": 'on = "md"\ndo = "replace"\nmember = "ssd.1"\nby = "ssd.4"',
    "timing": 'on = "ssd.2"\ndo = "timing"\nread_delay = "1ms"',
    "port-down": 'on = "drive"\ndo = "port-down"',
    "port-up": 'on = "drive"\ndo = "port-up"',
    "namespace-off": 'on = "drive"\ndo = "namespace-off"\nnsid = 1',
    "namespace-on": 'on = "drive"\ndo = "namespace-on"',
    "flush": 'on = "ram"\ndo = "flush"',
    "resize": 'on = "ram"\ndo = "resize"\nsize = "8M"',
    "a journal": 'on = "md"\ndo = "fail"\nmember = "j"',
    "cut": 'on = "ssd.5"\ndo = "cut"',
    "medium": 'on = "log"\ndo = "timing"\nmedium = { read_lsb = 1000 }',
    "fault": 'on = "ssd"\ndo = "fault"\nrule = "slow"\nenable = false\nduring = "two"',
}


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_what_may_happen(text):
    assert problems(event(text)) == []
    assert accepts(SCHEMA, f"schema = 1\n{event(text)}")


def test_every_event_of_every_layer_is_tried_here():
    assert {(kind.do) for layer in KINDS.values() for kind in layer.events} == {*RIGHT} - {"medium", "a journal"}


WRONG = {
    'on = "mdd"\ndo = "fail"\nmember = "ssd.1"': ("event.1.on", '"mdd" is not defined; did you mean "md"?'),
    'on = "md"\ndo = "fial"\nmember = "ssd.1"': (
        "event.1.do",
        '"fial" cannot happen to a raid; it may: fail, remove, add, replace; did you mean "fail"?',
    ),
    'on = "one"\ndo = "fail"': ("event.1.do", '"fail" cannot happen to a workload; nothing can'),
    'on = "md"\ndo = "fail"': ("event.1.member", "is missing"),
    'on = "md"\ndo = "fail"\nmember = "ssd.1"\nwith = 1': ("event.1.with", "is not a key of this table"),
    'on = "md"\ndo = "fail"\nmember = "ssd.1"\ndurin = "one"': (
        "event.1.durin",
        'is not a key of this table; did you mean "during"?',
    ),
    'on = "md"\ndo = "fail"\nmember = "ssd.9"': ("event.1.member", '"ssd.9": ssd has 5, so write ssd.1 to ssd.5'),
    'on = "md"\ndo = "fail"\nmember = "ssd"': (
        "event.1.member",
        "'ssd' is several devices; name one of them: ssd.1",
    ),
    'on = "md"\ndo = "add"\nmember = "ssd.5"': (
        "event.1.member",
        "'ssd.5' is no part of md; add it to its spares",
    ),
    'on = "md"\ndo = "fail"\nmember = "ssd.1"\nduring = "md"': ("event.1.during", '"md" is a raid; this wants a workload'),
    'on = "ssd"\ndo = "timing"': ("event.1", "it changes nothing; say what, such as read_delay or medium"),
    'on = "ssd"\ndo = "timing"\nmedium = { read_lsb = 1 }': (
        "event.1.medium",
        "ssd is no SSD or disk: say read_delay, write_time …",
    ),
    'on = "log"\ndo = "timing"\nread_delay = "1ms"': (
        "event.1.read_delay",
        "log is ssd: its speed follows from its medium",
    ),
    'on = "log"\ndo = "timing"\nmedium = { channels = 2 }': (
        "event.1.medium",
        "channels is what the device is made of, and cannot change while it is in use",
    ),
    'on = "md"\ndo = "add"\nmember = "j"': (
        "event.1.at",
        'MD takes a journal only while nobody has the array open; write at = "end"',
    ),
    'on = "md"\ndo = "replace"\nmember = "j"\nby = "ssd.4"': (
        "event.1.member",
        "MD replaces no journal; let it fail, remove it, and add it",
    ),
    'on = "drive"\ndo = "namespace-off"\nnsid = 2': ("event.1.nsid", "export 'drive' has 1 namespace"),
    'on = "ram"\ndo = "resize"\nsize = "32M"': ("event.1.size", "ram has 16 MiB of memory"),
    'on = "ssd.4"\ndo = "cut"': (
        "event.1.on",
        "raid.md stands on it, and would lose it for good; cut the power of a device that only loads use",
    ),
    'on = "ssd"\ndo = "fault"\nrule = "fast"\nenable = true': ("event.1.rule", "ssd has no rule 'fast'; it has: slow"),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: " ".join(text.split()))
def test_what_is_said_of_a_mistake(text):
    assert problems(event(text)) == [WRONG[text]]


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ('"11s"', "workload 'one' is planned to end after 10 s"),
        ('"101%"', "'101%' is beyond the workload's end (100%)"),
        ("5", '5 is neither a time, like "5s", nor a share of the workload, like "30%", nor "end"'),
        ('"soon"', "'soon' is neither a time, like \"5s\", nor a share of the workload, like \"30%\", nor \"end\""),
    ],
)
def test_a_moment_lies_within_its_workload(at, said):
    assert problems(event(RIGHT["fail"], at)) == [("event.1.at", said)]


@pytest.mark.parametrize(("at", "said"), [('"3s"', []), ('"1h"', [("event.1.at", "workload 'w' is planned to end after 3 s")])])
def test_a_moment_of_a_load_of_keys_lies_within_its_ramp_and_run_time(at, said):
    load = 'on = "d"\nkv = { keys = 10, store = 1, ramp_time = "1s", runtime = "2s" }'
    device = '[device.d]\nsize = "64M"\nprofile = "kv-prototype"'
    assert problems(f'{device}\n[workload.w]\n{load}\n[[event]]\nat = {at}\non = "d"\ndo = "cut"') == said


def test_all_mistakes_are_said_at_once():
    text = event(RIGHT["fail"], '"never"') + '[[event]]\nat = 0\non = "md"\ndo = "melt"\n[[event]]\n'
    assert [where for where, _ in problems(text)] == ["event.1.at", "event.2.do", "event.3.at", "event.3.do"]


def test_an_event_needs_a_workload():
    idle = '[disk.p]\ncount = 2\nsize = "64M"\n[raid.m]\nlevel = 1\non = "p"\n[[event]]\nat = 0\non = "m"\ndo = "x"\n'
    assert problems(idle) == [("event.1", "there is no workload during which it could happen")]
    assert problems("[event]\nat = 0\n" + LAB) == [("event", "write [[event]]")]


def test_a_cache_that_keeps_what_it_holds_is_not_flushed():
    """Which engine a cache has may be known only once the node is."""
    text = event(RIGHT["flush"])
    assert problems(text.replace('size = "16M"', 'size = "16M"\nengine = "dm-cache"\nmode = "write-through"')) == [
        ("event.1.do", "ram is dm-cache here, which keeps what it holds; RapidDisk can do this")
    ]
    with pytest.raises(InvalidScenario, match="ram is dm-cache here"):
        make_plan(loads(f"schema = 1\n{text}", name="lab"), facts=Facts(modules=frozenset()))


def test_raid_0_has_no_drills():
    body = LAB.replace("level = 5", "level = 0").replace('spares = "ssd.4"', "")
    body = body.replace('journal = { on = "j", mode = "write-back" }', "")
    assert problems(f"{body}[[event]]\nat = 0\n{RIGHT['fail']}") == [
        ("event.1.do", "RAID 0 lives and dies with each of its members")
    ]


# -- the plan ------------------------------------------------------------------------------------------------------


def test_an_event_happens_once_in_the_first_run_of_its_workload():
    runs = planned(event(RIGHT["fail"]) + f"[[event]]\nat = '50%'\n{RIGHT['fault']}\n").workloads
    assert [(run["name"], [e["label"] for e in run.get("events", ())]) for run in runs] == [
        ("one-md-1", ["fail ssd.1"]),
        ("one-ssd.5-1", []),
        ("one-md-2", []),
        ("one-ssd.5-2", []),
        ("two", ["ssd slow off"]),
    ]
    ((first,), (last,)) = runs[0]["events"], runs[-1]["events"]
    assert (first["at"], last["share"]) == (5.0, 0.5)
    assert len(last["acts"]) == 5, "ssd stands for all of its count"
    assert first["acts"] == [
        {
            "act": "md.fail",
            "args": {"array": "{md.dev}", "name": "{md.name}", "member": "{ssd.1.dev}"},
        }
    ]


def test_a_journal_comes_back_once_the_load_has_ended():
    text = event('on = "md"\ndo = "add"\nmember = "j"', '"end"')
    ((back,),) = (run["events"] for run in planned(text).workloads if "events" in run)
    assert not {"at", "share"} & set(back)
    (act,) = back["acts"]
    assert (act["act"], act["args"]["mode"]) == ("md.add-journal", "write-back")


def test_a_rebuild_has_its_deadline():
    ((added,),) = (run["events"] for run in planned(event(RIGHT["replace"])).workloads if "events" in run)
    assert added["deadline"] > 600


def test_the_array_knows_of_every_device_that_events_may_bring_in():
    create = next(step for step in planned(LAB).steps if step.verb == "md.create")
    assert create.args["spares"] == ["{ssd.4.dev}"]


# -- the timeline --------------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path, heard):
    log = EventLog(tmp_path / "events.jsonl", heard)
    yield log
    log.close()


def an_event(label: str, **when: float) -> dict:
    return {"owner": "raid.md", "label": label, "acts": [], "deadline": 5.0, **when}


class Begun(dict):
    """A way for events to happen, and which have begun: a load may end then."""

    def __init__(self, happen) -> None:
        self._happen = happen
        self._changed = threading.Condition()

    def __call__(self, event) -> str:
        with self._changed:
            self[event["label"]] = time.monotonic()
            self._changed.notify_all()
        return self._happen(event)

    def wait(self, label: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: label in self, 60)


def drawn(events, happen, log, until: str = "") -> list[dict]:
    """What becomes of events under a load that ends once one of them has begun, or at once."""
    begun = Begun(happen)
    line = Timeline(events, begun, log)
    line.start(Path("/dev/null"), 1.0)
    line.loaded()
    if until:
        begun.wait(until)
    return line.finish()


def test_events_happen_at_their_time_one_after_the_other(log, heard):
    happened = []

    def happen(event):
        happened.append(event["label"])
        time.sleep(0.3 if event["label"] == "long" else 0)
        return "as it should be"

    events = [an_event("last", share=0.9), an_event("long", at=0.1), an_event("held up", at=0.2)]
    outcomes = {each["label"]: each for each in drawn(events, happen, log, "last")}
    assert happened == ["long", "held up", "last"]
    assert all(each["result"] == "done" and each["found"] == "as it should be" for each in outcomes.values())
    assert outcomes["long"]["due"] <= outcomes["long"]["begun"]
    assert outcomes["held up"]["begun"] >= outcomes["long"]["ended"] > outcomes["held up"]["due"]
    assert outcomes["last"]["due"] - outcomes["long"]["due"] == pytest.approx(0.8e9, abs=1e6)
    assert heard.kinds() == ["event", "event-end"] * 3


def test_the_clock_of_events_starts_with_the_first_io(log):
    begun = Begun(lambda event: "")
    line = Timeline([an_event("now", at=0)], begun, log)
    line.start(Path("/dev/null"), 1.0)
    time.sleep(0.2)
    loaded = time.monotonic_ns()
    line.loaded()
    begun.wait("now")
    (outcome,) = line.finish()
    assert outcome["begun"] > loaded


def test_what_the_load_does_not_reach_is_said(log):
    def happen(event):
        raise AssertionError("it must not happen")

    (outcome,) = drawn([an_event("late", at=3600)], happen, log)
    assert (outcome["result"], outcome["begun"], failure([outcome])) == ("not reached", None, "")
    line = Timeline([an_event("never", at=0)], happen, log)
    line.start(Path("/dev/null"), 1.0)  # and no I/O comes
    (outcome,) = line.finish()
    assert (outcome["result"], outcome["due"]) == ("not reached", None)


def test_after_one_that_failed_the_others_are_left_out(log):
    def happen(event):
        raise StepFailed("no such member", kmsg=["md: what?"])

    begun = Begun(happen)
    line = Timeline([an_event("first", at=0), an_event("second", at=0.1)], begun, log)
    line.start(Path("/dev/null"), 1.0)
    line.loaded()
    begun.wait("first")
    time.sleep(0.3)  # in which the second would come
    outcomes = line.finish()
    assert [each["result"] for each in outcomes] == ["failed", "not reached"]
    assert outcomes[0]["kernel"] == ["md: what?"]
    assert failure(outcomes) == "event 'first' of raid.md: no such member"


def test_an_event_under_way_is_waited_for(log):
    def happen(event):
        time.sleep(0.4)
        return "rebuilt"

    (outcome,) = drawn([an_event("rebuild", at=0)], happen, log, "rebuild")
    assert (outcome["result"], outcome["found"]) == ("done", "rebuilt")


def test_what_comes_at_the_end_comes_when_the_load_has_ended(log):
    happened = Begun(lambda event: "")
    events = [an_event("end 1"), an_event("end 2"), an_event("before", at=0), an_event("never", at=3600)]
    line = Timeline(events, happened, log)
    line.start(Path("/dev/null"), 1.0)
    line.loaded()
    happened.wait("before")
    ended = time.monotonic()
    assert [each["result"] for each in line.finish()] == ["done", "done", "done", "not reached"]
    assert list(happened) == ["before", "end 1", "end 2"]
    assert happened["before"] < ended <= happened["end 1"]


def test_after_a_load_that_was_stopped_nothing_more_comes(log):
    line = Timeline([an_event("end")], lambda event: "", log)
    line.start(Path("/dev/null"), 1.0)
    line.loaded()
    (outcome,) = line.finish(stopped=True)
    assert outcome["result"] == "not reached"


def test_no_events_no_thread(log):
    assert drawn([], lambda event: "", log) == []
