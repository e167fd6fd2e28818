# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorder with the real fio: what it writes, on which clock, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import COMMON, a_disk

from nvlab.errors import DeadlineExceeded, EnvironmentNotReady, Interrupted, InvalidScenario, StepFailed
from nvlab.record.recorder import Workload, run_workload
from nvlab.record.samplers import Watch, open_source
from nvlab.workload.fio import Target


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def workload(tmp_path, **changes):
    files = tmp_path / "files"
    files.mkdir(exist_ok=True)
    table = COMMON | {"rw": "randread"} | changes.pop("table", {})
    return Workload(name="load", target=Target("directory", str(files)), table=table, watches=(a_disk(),), **changes)


def users_of(directory: Path) -> list[str]:
    """Processes that work in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == directory.resolve():
                found.append(process.name)
        except OSError:
            continue
    return found


def wait_until(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def test_a_workload_leaves_exactly_what_the_format_describes(recorded):
    first = recorded.path / "workloads" / "01-randrw-client"
    assert {p.name for p in first.iterdir()} == {
        *("workload.json", "job.fio", "fio.json", "fio.err", "log"),
        *("samples.jsonl", "events.jsonl", "proc.json"),
    }
    assert [p.name for p in sorted((first / "log").iterdir())] == ["randrw-client_lat.1.log", "randrw-client_lat.2.log"]


def test_the_record_says_what_was_asked_and_how_it_ended(recorded):
    record = json.loads((recorded.path / "workloads/02-randrw-plain/workload.json").read_text())
    assert (record["status"], record["code"], record["message"]) == ("ok", 0, "")
    assert (record["load"], record["variant"], record["baseline"], record["repeat"]) == ("randrw", "plain", True, 0)
    assert record["sections"][0]["keys"]["rw"] == "randrw"
    assert record["planned_seconds"] == pytest.approx(0.4)
    assert record["started"] < record["ended"]


def test_samplers_log_and_events_share_one_clock(recorded):
    path = recorded.path / "workloads/01-randrw-client"
    record = json.loads((path / "workload.json").read_text())
    logged = [
        int(line.split(",")[0]) * 10**6 for line in (path / "log/randrw-client_lat.1.log").read_text().splitlines()
    ]
    sampled = [sample["t"] for sample in lines(path / "samples.jsonl")]
    started = next(event["t"] for event in lines(path / "events.jsonl") if event["kind"] == "start")
    assert record["started"] < min(logged) < max(logged) < record["ended"]
    assert sampled == sorted(sampled)
    assert sampled[0] < record["started"] <= started < record["ended"]
    assert sampled[0] < min(logged) < max(logged) < sampled[-1], "sampled before the first and after the last I/O"
    assert abs(record["clock"]["realtime"] - time.time_ns()) < 3600 * 10**9


def test_progress_comes_with_a_fraction_and_the_rates_that_fio_reports(tmp_path, heard, stop):
    def until_rates(event):
        heard(event)
        stop.requested = bool(event.get("rates"))

    with pytest.raises(Interrupted):
        run_workload(tmp_path / "out", workload(tmp_path, table={"runtime": "600s"}), until_rates, stop)
    progress = [event for event in heard.events if event["kind"] == "progress"]
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 1
    assert any("IOPS" in event["rates"] for event in progress)
    assert heard.kinds()[0] == "start"
    assert heard.kinds()[-1] == "end"
    assert heard.events == lines(tmp_path / "out/events.jsonl")


def test_what_cannot_be_watched_is_said_and_does_not_stop_the_run(recorded):
    events = lines(recorded.path / "workloads/01-randrw-client/events.jsonl")
    unwatched = [event for event in events if event["kind"] == "unwatched"]
    assert [(event["layer"], event["name"]) for event in unwatched] == [("gone", "md99")]


def test_what_passes_an_interface_is_counted():
    source = open_source(Watch("w", "net", "lo"))
    assert set(source.read()) == {f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "dropped")}
    source.close()
    with pytest.raises(FileNotFoundError):
        open_source(Watch("w", "net", "none"))


def test_a_stop_request_ends_fio_at_once_and_keeps_what_there_was(tmp_path, heard, stop):
    def emit(event):
        heard(event)
        # by its rates fio shows that it runs: one that is asked before it listens just ends
        stop.requested = stop.requested or (event["kind"] == "progress" and event["rates"] != "")

    out = tmp_path / "out"
    started = time.monotonic()
    with pytest.raises(Interrupted, match="load was stopped"):
        run_workload(out, workload(tmp_path, table={"runtime": "600s"}), emit, stop)
    assert time.monotonic() - started < 300
    assert json.loads((out / "workload.json").read_text())["status"] == "stopped"
    assert (out / "fio.json").stat().st_size > 0, "fio was asked before it was killed, and wrote its result"
    assert users_of(out) == []


def test_a_workload_that_does_not_end_meets_its_deadline(tmp_path, heard, stop):
    out = tmp_path / "out"
    with pytest.raises(DeadlineExceeded, match="did not end within 1 s"):
        run_workload(out, workload(tmp_path, table={"runtime": "60s"}), heard, stop, deadline=1)
    assert json.loads((out / "workload.json").read_text())["status"] == "deadline"
    assert users_of(out) == []


def test_a_failing_fio_is_quoted(tmp_path, heard, stop):
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    work = Workload(name="load", target=Target("device", str(image)), table={"rw": "read", "bs": "1M", "runtime": "1s"})
    with pytest.raises(
        StepFailed, match="fio ended with exit code 1: fio: blocksize is larger than data set range"
    ) as caught:
        run_workload(tmp_path / "out", work, heard, stop)
    assert "fio.err" in caught.value.hint
    assert json.loads((tmp_path / "out/workload.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(("kind", "said"), [("device", "is not a block device"), ("directory", "is not a directory")])
def test_a_target_that_went_away_is_named_and_no_file_takes_its_place(tmp_path, heard, stop, kind, said):
    gone = tmp_path / "gone"
    work = Workload(name="load", target=Target(kind, str(gone)), table=COMMON | {"rw": "randwrite"})
    with pytest.raises(StepFailed, match=said):
        run_workload(tmp_path / "out", work, heard, stop)
    assert not gone.exists()


def test_an_invalid_job_touches_nothing(tmp_path, heard, stop):
    with pytest.raises(InvalidScenario, match="exec_prerun"):
        run_workload(tmp_path / "out", workload(tmp_path, table={"exec_prerun": "id"}), heard, stop)
    assert not (tmp_path / "out").exists()
    assert heard.events == []


def test_a_node_without_fio_is_told_what_to_install(tmp_path, heard, stop, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentNotReady, match="fio") as caught:
        run_workload(tmp_path / "out", workload(tmp_path), heard, stop)
    assert caught.value.hint == "apt-get install fio"


ORPHAN = """
import sys
from pathlib import Path
from nvlab.record.recorder import Workload, run_workload
from nvlab.record.samplers import Watch, open_source
from nvlab.workload.fio import Target
class Stop: requested = False
table = {"rw": "randread", "bs": "4k", "size": "2M", "runtime": "60s", "numjobs": 2}
work = Workload(name="load", target=Target("directory", sys.argv[2]), table=table)
run_workload(Path(sys.argv[1]), work, lambda event: None, Stop())
"""


def test_fio_does_not_outlive_a_recorder_that_was_killed(tmp_path):
    out, files = tmp_path / "out", tmp_path / "files"
    files.mkdir()
    recorder = subprocess.Popen([sys.executable, "-c", ORPHAN, str(out), str(files)])
    wait_until(lambda: out.is_dir() and users_of(out), "fio to start")
    os.kill(recorder.pid, signal.SIGKILL)
    recorder.wait(60)
    wait_until(lambda: not users_of(out), "fio to end")


def test_the_node_s_side_imports_neither_numpy_nor_pydantic():
    modules = "nvlab.record.recorder, nvlab.record.rundir, nvlab.host.provenance, nvlab.workload.fio"
    code = f"import sys, {modules}; print({{'numpy', 'pydantic', 'matplotlib', 'rich'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
