# SPDX-License-Identifier: GPL-2.0-or-later
"""What virtual devices count: read before and after a load, kept as what grew, shown, and flagged where times are off."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import COMMON
from test_simulate import DEVICE, simulated

from nvlab.analysis.devices import amplification, device_counts, lateness
from nvlab.analysis.flags import notes
from nvlab.analysis.report import write_report
from nvlab.analysis.runs import Workload, load_run
from nvlab.planner import make_plan
from nvlab.record.accounts import LEVELS, Account, grown, grown_in
from nvlab.record.convert import convert_workload
from nvlab.record.recorder import Workload as Load
from nvlab.record.recorder import run_workload
from nvlab.scenario import loads
from nvlab.sim.structs import ffi
from nvlab.workload.fio import Target

BEFORE = "commands 10\ntimed 10\nlate 5\nlateness 100000\nworst 70\nlost 1\nhost_units 100\nprogrammed_units 100\nzones 9\n"
AFTER = "commands 1010\ntimed 1010\nlate 36\nlateness 9100000\nworst 90\nlost 1\nhost_units 600\nprogrammed_units 1350\nzones 4\n"


def counting(directory: Path, *texts: str) -> Workload:
    """A workload whose devices, called ssd.1 and so on, counted from :data:`BEFORE` to each of the texts."""
    after = {f"ssd.{n}": text for n, text in enumerate(texts, 1)}
    (directory / "stats.json").write_text(json.dumps({"before": dict.fromkeys(after, BEFORE), "after": after}))
    (directory / "results.json").write_text(json.dumps({"devices": grown_in(directory)}))
    return Workload(directory, {})


def test_what_only_grows_is_kept_as_what_it_grew_by(tmp_path):
    said = counting(tmp_path, AFTER).devices["ssd.1"]
    assert said == {"commands": 1000, "timed": 1000, "late": 31, "lateness": 9_000_000, "lost": 0} | {
        "host_units": 500,
        "programmed_units": 1250,
    }


def test_a_device_that_was_made_anew_says_nothing():
    assert grown({"commands": 9, "late": 1}, {"commands": 4, "late": 1}) == {}
    assert grown({"commands": 4, "waf": 1500}, {"commands": 9, "waf": 1200}) == {"commands": 5}, "what may fall is no total"


def test_a_device_of_which_one_end_is_missing_is_left_out(tmp_path):
    (tmp_path / "stats.json").write_text(json.dumps({"before": {"a": BEFORE}, "after": {"a": AFTER, "b": AFTER}}))
    assert [*grown_in(tmp_path)] == ["a"]


def test_every_level_is_an_account_of_the_core():
    assert LEVELS - {"worst", "waf"} <= {name for name, _ in ffi.typeof("struct nvc_ssd_stats").fields}


def test_the_recorder_reads_them_before_and_after_a_load(tmp_path, stop):
    stats, files = tmp_path / "stats", tmp_path / "files"
    stats.write_text(BEFORE)
    files.mkdir()
    event = {"owner": "device.ssd", "label": "it works", "at": 0.0, "acts": [], "deadline": 5.0}
    accounts = (Account("ssd", str(stats)), Account("gone", str(tmp_path / "none")))
    table = COMMON | {"rw": "randread"}
    load = Load(name="load", target=Target("directory", str(files)), table=table, events=(event,), accounts=accounts)
    run_workload(tmp_path / "out", load, lambda event: None, stop, happen=lambda event: str(stats.write_text(AFTER)))
    convert_workload(tmp_path / "out")
    devices = json.loads((tmp_path / "out/results.json").read_text())["devices"]
    assert [*devices] == ["ssd"] and devices["ssd"]["commands"] == 1000


def test_a_plan_says_where_each_device_counts():
    text = '[device.a]\nsize = "64M"\ncount = 2\n[device.b]\nsize = "64M"\nmodule = "/m.ko"\n'
    text += '[workload.w]\non = "b"\nfio = { rw = "read" }\n'
    (run,) = make_plan(loads(f"schema = 1\n{text}", name="lab")).workloads
    assert run["accounts"] == [
        {"layer": f"a.{n}", "path": f"/sys/kernel/config/nvlab/nvlab-lab-a-{n}/stats"} for n in (1, 2)
    ]


def test_a_device_that_does_not_keep_to_its_model_is_flagged(tmp_path):
    (said,) = lateness([counting(tmp_path, AFTER)])
    assert said.startswith("ssd completed 3.1 % of its commands more than 1 us after its model's time, all 9 us after it on")
    assert "cpus = " in said
    (said,) = lateness([counting(tmp_path, AFTER.replace("late 36", "late 1005"))])
    assert said.startswith("ssd completed 100 % of")
    assert [*lateness([counting(tmp_path, AFTER.replace("late 36", "late 15"))])] == [], "one in a hundred is let pass"


def test_announcements_without_a_command_are_flagged(tmp_path):
    (said,) = lateness([counting(tmp_path, AFTER.replace("late 36", "late 5").replace("lost 1", "lost 4"))])
    assert said.startswith("ssd waited in vain for 3 commands")


def test_devices_of_one_name_are_taken_together(tmp_path):
    ((name, counts),) = device_counts([counting(tmp_path, AFTER, AFTER)]).items()
    assert (name, counts["timed"], amplification(counts)) == ("ssd (×2)", 2000, 2.5)


@pytest.mark.slow
@pytest.mark.parametrize("live", [True, False])
def test_the_page_has_them_of_live_and_of_simulated_devices(converted, tmp_path, live):
    if live:
        path = tmp_path / "run"
        shutil.copytree(converted, path)
        for results in path.glob("workloads/01-*/results.json"):
            text = {"ssd": {"timed": 100, "late": 50, "lateness": 10**6, "lost": 0, "host_units": 40, "programmed_units": 50}}
            results.write_text(json.dumps(json.loads(results.read_text()) | {"devices": text}))
        name, expected = "ssd", "1.25"
    else:
        load = '[workload.w]\non = "ssd"\nfio = { rw = "randwrite", iodepth = 32, runtime = "200ms" }\n'
        path, name, expected = simulated(tmp_path, DEVICE + load, precondition=3.0), "ssd", r"[1-9]\d?(\.\d\d)?"
    run = load_run(path)
    assert any("more than 1 us after" in note for note in notes(run)) == live, "a simulated one is never late"
    page = write_report(run, tmp_path / "out").read_text()
    assert re.search(rf"Counters of {name}: .*?<td>write amplification</td><td>{expected}</td>.*?<td>host_units</td>", page, re.S)
