# SPDX-License-Identifier: GPL-2.0-or-later
"""Run directories: named, found and described."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from nvlab.errors import UsageError
from nvlab.record.rundir import RunDir, find_run, list_runs


def a_run(base, lab="hybrid-nvme"):
    run = RunDir.create(base, lab)
    run.write(lab, "schema = 1\n", "scenarios/x.toml", {"accelerator": "tcg"})
    return run


def test_an_id_says_when_and_what_and_is_unique(tmp_path):
    ids = {RunDir.create(tmp_path, "hybrid NVMe/../x").id for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-hybrid-NVMe-..-x-[a-z2-9]{3}", name) for name in ids)


def test_a_run_describes_itself_and_keeps_the_scenario_as_given(tmp_path):
    run = a_run(tmp_path)
    described = run.read()
    assert (described["id"], described["lab"], described["accelerator"]) == (run.id, "hybrid-nvme", "tcg")
    text = (run.path / "scenario.toml").read_text()
    assert described["scenario"] == {"source": "scenarios/x.toml", "sha256": hashlib.sha256(text.encode()).hexdigest()}


def test_what_is_known_later_is_added(tmp_path):
    run = a_run(tmp_path)
    run.update({"tuned": {"governor": "performance"}})
    assert run.read()["tuned"] == {"governor": "performance"}
    assert run.read()["lab"] == "hybrid-nvme"
    assert [p.name for p in run.path.iterdir() if p.name.startswith(".")] == []


def test_workloads_are_numbered_in_the_order_of_running(tmp_path):
    run = a_run(tmp_path)
    assert [run.new_workload(name).name for name in ("randread-client", "rand/../write")] == [
        "01-randread-client",
        "02-rand-..-write",
    ]


def test_runs_are_listed_oldest_first_and_nothing_else_is(tmp_path):
    for name in ("20260102T000000Z-b-aaa", "20260101T000000Z-a-aaa"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    assert [run.id for run in list_runs(tmp_path)] == ["20260101T000000Z-a-aaa", "20260102T000000Z-b-aaa"]
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_path_id_part_or_as_the_latest(tmp_path):
    older, newer = a_run(tmp_path, "alpha"), a_run(tmp_path, "beta")
    assert find_run(tmp_path, str(older.path)).id == older.id
    assert find_run(tmp_path, older.id).id == older.id
    assert find_run(tmp_path, "alpha").id == older.id
    assert find_run(tmp_path).id == max(older.id, newer.id)


@pytest.mark.parametrize(("name", "said"), [("gamma", "no run matches 'gamma'"), ("a", "2 runs match 'a'")])
def test_a_name_that_fits_none_or_several_is_refused_with_what_there_is(tmp_path, name, said):
    run = a_run(tmp_path, "alpha")
    a_run(tmp_path, "beta")
    with pytest.raises(UsageError, match=said) as caught:
        find_run(tmp_path, name)
    assert run.id in caught.value.hint


def test_without_any_run_the_hint_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError) as caught:
        find_run(tmp_path)
    assert "nvlab run" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", json.dumps({"format": 99})])
def test_what_is_no_run_of_this_format_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError):
        RunDir(tmp_path).read()
