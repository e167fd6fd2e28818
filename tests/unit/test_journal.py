# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal: whole records survive anything, a torn one stands for what had not begun."""

import errno
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.journal import Journal
from nvlab.plan import Layer, Needs, Plan, Step

STEPS = tuple(
    Step(f"s{i}", "nvmet.host", {"nqn": f"nqn.{i}", "list": [1, "{s0.dev}"]}, "export.x", f"s{i}") for i in range(3)
)
PLAN = Plan(
    "lab", "title", STEPS, (Layer("export.x", "{s0.dev}"),), Needs(2, 3, ((1, 2),), ("nvmet",)), ({"fio": {}},), ("n",)
)


@pytest.fixture
def journal(tmp_path) -> Journal:
    journal = Journal(tmp_path / "lab")
    journal.begin(PLAN, "boot")
    return journal


def test_what_is_written_is_read_back(journal):
    journal.intent(STEPS[0], {"nqn": "resolved"}, ())
    journal.done("s0", {"dev": "/dev/a"})
    journal.intent(STEPS[1], {"nqn": "two"}, ("s0",))
    history = journal.read()
    assert history.plan == Plan.from_json(json.loads(json.dumps(PLAN.to_json())))
    assert (history.boot_id, history.complete) == ("boot", False)
    assert [(e.step.id, e.step.args, e.made, e.needs) for e in history.standing()] == [
        ("s0", {"nqn": "resolved"}, {"dev": "/dev/a"}, ()),
        ("s1", {"nqn": "two"}, None, ("s0",)),
    ]
    assert history.outputs() == {"s0.dev": "/dev/a"}


def test_what_is_undone_stands_no_more(journal):
    for step in STEPS:
        journal.intent(step, {}, ())
        journal.done(step.id, {"dev": step.id})
    journal.complete()
    journal.undone("s2")
    history = journal.read()
    assert history.complete
    assert [e.step.id for e in history.standing()] == ["s0", "s1"]
    assert set(history.outputs()) == {"s0.dev", "s1.dev"}


def test_without_a_journal(tmp_path):
    journal = Journal(tmp_path / "none")
    assert not journal.exists()
    with pytest.raises(FileNotFoundError):
        journal.read()
    (tmp_path / "none").mkdir()
    journal.remove()  # absent is success


def test_a_begin_cut_short_is_no_journal(tmp_path):
    journal = Journal(tmp_path)
    journal.path.write_bytes(b'{"kind":"begin","format":1,"plan":{"la')
    assert not journal.exists()
    journal.begin(PLAN, "boot")
    assert journal.read().plan.lab == "lab"


@settings(deadline=None, max_examples=25)
@given(cut=st.integers(min_value=1, max_value=400))
def test_a_record_cut_anywhere_is_dropped_and_the_next_one_is_whole(tmp_path_factory, cut):
    journal = Journal(tmp_path_factory.mktemp("journal"))
    journal.begin(PLAN, "boot")
    journal.intent(STEPS[0], {"nqn": "x" * 300}, ())
    whole = journal.path.read_bytes()
    journal.done("s0", {"dev": "y" * 300})
    record = journal.path.read_bytes()[len(whole) :]
    journal.path.write_bytes(whole + record[: min(cut, len(record) - 1)])
    assert journal.read().entries["s0"].made is None
    journal.undone("s0")
    assert journal.read().standing() == []


def test_a_full_disk_is_noticed_although_write_succeeds(journal, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))
    with pytest.raises(OSError) as caught:
        journal.intent(STEPS[0], {}, ())
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    journal.intent(STEPS[1], {}, ())
    assert [e.step.id for e in journal.read().standing()] == ["s1"]


def test_every_record_is_on_disk_before_the_next_thing_happens(journal, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    journal.intent(STEPS[0], {}, ())
    journal.done("s0", {})
    assert synced[-1] == journal.path.stat().st_size and len(synced) == 2
