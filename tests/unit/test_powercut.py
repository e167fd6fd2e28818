# SPDX-License-Identifier: GPL-2.0-or-later
"""A power cut of the whole machine: where it may be asked for, what its load leaves, and what is said of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from test_scenario import problems

from nvlab import powercut
from nvlab.analysis.drill import recovered
from nvlab.analysis.runs import Workload as Recorded
from nvlab.errors import StepFailed, UsageError
from nvlab.nodes.guestnode import GuestNode
from nvlab.nodes.local import Local
from nvlab.planner import make_plan
from nvlab.record.recorder import CUT, Workload, run_workload, verdict
from nvlab.scenario.load import loads
from nvlab.workload import ledger as ledgers
from nvlab.workload.fio import Target

LAB = """
schema = 1
[device.ssd]
count = 3
size = "64M"
[raid.md]
level = 5
on = "ssd"
[workload.load]
on = "md"
ledger = true
fio = { rw = "randwrite", size = "8M", runtime = "10s" }
"""
CUT_EVENT = '[[event]]\nat = "50%"\ndo = "power-cut"\n'


def test_it_is_of_the_whole_machine_and_ends_its_load():
    (work,) = make_plan(loads(LAB + CUT_EVENT)).workloads
    (event,) = work["events"]
    assert event["owner"] == "machine" and event["ends"] is True
    assert [act["act"] for act in event["acts"]] == ["device.blackout"]
    assert powercut.cuts(work) and not powercut.cuts({**work, "events": []})


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (LAB + '[[event]]\nat = "50%"\ndo = "power-cut"\non = "md"\n', "event.1.on", "whole machine; leave this out"),
        (LAB + '[[event]]\nat = "50%"\ndo = "fail"\n', "event.1.on", "is missing: fail happens to an object"),
        (LAB + '[[event]]\nat = "50%"\ndo = "powercut"\n', "event.1.on", 'did you mean "power-cut"?'),
        (LAB + '[[event]]\nat = "end"\ndo = "power-cut"\n', "event.1.at", "the load has ended by then"),
        (LAB.replace("ledger = true\n", "") + CUT_EVENT, "event.1.during", "write ledger = true in it"),
        (LAB + CUT_EVENT * 2, "event.2", "the power is cut once (event.1)"),
        (
            LAB + CUT_EVENT + '[[event]]\nat = "1s"\non = "md"\ndo = "fail"\nmember = "ssd.1"\n',
            "event.2.do",
            "an array is assembled of what it was made of",
        ),
        (LAB + '[disk.plain]\nsize = "64M"\n' + CUT_EVENT, "disk.plain", "use a [device.plain] instead"),
        (
            LAB + '[device.stand]\nsize = "64M"\nmodule = "/opt/nvmev.ko"\n' + CUT_EVENT,
            "device.stand.module",
            "what a stand-in holds is not known",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(text, path, words):
    assert words in dict(problems(text, head=""))[path]


def test_only_a_guest_dies():
    works = make_plan(loads(LAB + CUT_EVENT)).workloads
    powercut.check(GuestNode("any"), works)
    powercut.check(Local(), make_plan(loads(LAB)).workloads)
    with pytest.raises(UsageError, match="on this machine") as refused:
        powercut.check(Local(), works)
    assert refused.value.hint and "--on vm" in refused.value.hint


# -- the load --------------------------------------------------------------------------------------------------


def flushed(target: Path) -> None:
    """Wait until so many blocks are written that a flush lies between them."""
    deadline = time.monotonic() + 200
    while sum(map(any, batched(target.read_bytes()))) <= 40:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def batched(data: bytes) -> list[bytes]:
    return [data[at : at + 4096] for at in range(0, len(data), 4096)]


def cut_load(tmp_path: Path, happen=lambda event: "", runtime: str = "600s") -> tuple[Path, dict]:
    """A ledger's load on a file, cut when it has written: others' I/O to the file's disk counts as its first."""
    target = tmp_path / "disk"
    target.write_bytes(bytes(4 << 20))
    event = {"owner": "machine", "label": "power cut", "at": 0.0, "acts": [], "deadline": 300.0, "ends": True}
    table = {"rw": "randwrite", "bs": "4k", "iodepth": 4, "size": "2M", "runtime": runtime, "fsync": 20}
    work = Workload("load", Target("device", str(target)), table, events=(event,), ledger=True)
    out = tmp_path / "out"

    def happen_late(event):
        flushed(target)
        return happen(event)

    return out, run_workload(out, work, lambda event: None, Going(), happen=happen_late)


class Going:
    requested = False


def test_a_load_that_is_cut_ends_at_once_and_leaves_a_ledger_that_holds(tmp_path):
    """What it says was begun covers all that is there; what it says was acknowledged is there: nothing was lost here."""
    began = time.monotonic()
    out, record = cut_load(tmp_path)
    assert time.monotonic() - began < 300, "it was to last ten minutes"
    assert record["status"] == CUT and "verdict" not in record, "there is nothing to judge before the next boot"
    assert [event["result"] for event in record["events"]] == ["done"]
    left = json.loads((out / ledgers.LEDGER).read_text())
    pairs = zip(left["durable"], left["acknowledged"], left["begun"], strict=True)
    assert all(durable <= acknowledged <= begun for durable, acknowledged, begun in pairs)
    assert left["writes"] > 0 and left["flushes"] > 0
    found = verdict(out, record["target"]["path"])
    assert (found["lost"], found["damaged"], found["unflushed"]) == (0, 0, 0) and found["kept"] >= found["acknowledged"] > 0


def test_a_ledger_that_was_cut_finds_what_is_lost(tmp_path):
    out, record = cut_load(tmp_path)
    left = json.loads((out / ledgers.LEDGER).read_text())
    gone = next(block for block, durable in enumerate(left["durable"]) if durable)
    with Path(record["target"]["path"]).open("r+b") as file:
        file.seek(gone * 4096)
        file.write(bytes(4096))
    found = verdict(out, record["target"]["path"])
    assert found["lost"] == 1 and found["blocks"]["lost"] == [gone]


def test_a_cut_that_fails_does_not_end_the_load(tmp_path):
    def refused(event):
        raise StepFailed("no such attribute")

    with pytest.raises(StepFailed, match="no such attribute"):
        cut_load(tmp_path, refused, runtime="4s")
    record = json.loads((tmp_path / "out/workload.json").read_text())
    assert (record["status"], record["code"]) == ("failed", 0) and record["ended"] - record["started"] > 4e9


# -- the report ------------------------------------------------------------------------------------------------


def test_a_report_says_how_long_the_recovery_took_and_what_md_replayed(tmp_path):
    said = ["md: md0 stopped.", "md/raid:md0: recovering 181 data-only stripes and 9 data-parity stripes"]
    facts = {"recovery": {"boot_seconds": 12.34, "up_seconds": 5.0, "kernel": said}}
    words = recovered(Recorded(tmp_path, facts))
    assert "12.3 s" in words and "5.0 s" in words
    assert "recovering 181 data-only stripes and 9 data-parity stripes" in words and "stopped" not in words
    assert recovered(Recorded(tmp_path, {})) == ""
