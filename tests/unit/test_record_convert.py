# SPDX-License-Identifier: GPL-2.0-or-later
"""From what was recorded to arrays: nothing lost, nothing added."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from nvlab.analysis.hist import Histogram
from nvlab.errors import StepFailed
from nvlab.record.convert import convert_run, convert_workload
from nvlab.record.fiolog import read_json
from nvlab.record.format import BLOCK_DTYPE, COUNTERS_DTYPE, HISTOGRAM_DTYPE, LATENCY_DTYPE, OPS
from nvlab.record.telemetry import convert_samples, dm_numbers, file_numbers

ARRAYS = {"latency": LATENCY_DTYPE, "histogram": HISTOGRAM_DTYPE, "block": BLOCK_DTYPE, "counters": COUNTERS_DTYPE}


def arrays(path):
    return {name: np.load(path / f"{name}.npy") for name in ARRAYS}


def test_arrays_have_the_documented_types_and_map_into_memory(converted):
    path = converted / "workloads/01-randrw-client"
    assert {name: array.dtype for name, array in arrays(path).items()} == ARRAYS
    assert isinstance(np.load(path / "latency.npy", mmap_mode="r"), np.memmap)


@pytest.mark.parametrize("name", ["01-randrw-client", "02-randrw-plain", "03-profile-client", "04-profile-plain"])
def test_the_trace_holds_every_io_that_fio_counted_in_fio_s_own_buckets(converted, name):
    path = converted / "workloads" / name
    trace, histogram = arrays(path)["latency"], arrays(path)["histogram"]
    results = json.loads((path / "results.json").read_text())["results"]
    assert sum(result["ios"] for result in results) == len(trace) > 0
    for result in results:
        op = OPS.index(result["op"])
        mine = trace[(trace["section"] == result["section"]) & (trace["op"] == op)]
        rows = histogram[
            (histogram["section"] == result["section"]) & (histogram["op"] == op) & (histogram["kind"] == 0)
        ]
        assert (
            Histogram.of(mine["latency"]).counts == Histogram.of_buckets(rows["bucket"], rows["count"]).counts
        ).all()
        assert (mine["size"].sum(), mine["latency"].max()) == (result["bytes"], result["total"]["max"])


def test_a_trace_is_ordered_by_time_over_all_jobs(converted):
    trace = arrays(converted / "workloads/01-randrw-client")["latency"]
    assert (np.diff(trace["t"]) >= 0).all()
    assert set(trace["job"]) == {0, 1}


def test_sections_after_a_stonewall_follow_in_time_and_count_their_jobs_from_zero(converted):
    trace = arrays(converted / "workloads/03-profile-client")["latency"]
    first, second = (trace[trace["section"] == section] for section in (0, 1))
    assert set(first["op"]) == {OPS.index("read")}
    assert set(second["op"]) == {OPS.index("write")}
    assert first["t"].max() <= second["t"].min()
    assert set(trace["job"]) == {0}


def test_rates_are_counted_not_rounded(converted):
    for result in json.loads((converted / "workloads/01-randrw-client/results.json").read_text())["results"]:
        assert result["iops"] == pytest.approx(result["ios"] / (result["runtime_ns"] / 1e9))
        assert 0.3e9 < result["runtime_ns"] < 1e9


def test_converting_twice_changes_nothing(converted, tmp_path):
    path = tmp_path / "again"
    shutil.copytree(converted / "workloads/01-randrw-client", path)
    before = arrays(path)
    convert_workload(path)
    assert all((before[name] == array).all() for name, array in arrays(path).items())


def test_a_workload_that_did_not_end_well_is_passed_over(recorded, tmp_path):
    shutil.copytree(recorded.path, tmp_path / "run")
    path = tmp_path / "run/workloads/01-randrw-client"
    record = json.loads((path / "workload.json").read_text())
    (path / "workload.json").write_text(json.dumps(record | {"status": "stopped"}))
    convert_run(tmp_path / "run")
    assert not (path / "latency.npy").exists()
    assert (tmp_path / "run/workloads/02-randrw-plain/latency.npy").exists()


def test_a_result_is_read_even_after_fio_s_notes(tmp_path):
    (tmp_path / "fio.json").write_text(
        'note: both iodepth >= 1 and synchronous I/O engine are selected\n{\n "jobs": []\n}\n'
    )
    assert read_json(tmp_path / "fio.json") == {"jobs": []}


@pytest.mark.parametrize("text", ["", "fio: no jobs\n", '{"jobs": ['])
def test_a_missing_result_is_an_error_that_says_where_to_look(tmp_path, text):
    (tmp_path / "fio.json").write_text(text)
    with pytest.raises(StepFailed, match="no result of fio") as caught:
        read_json(tmp_path / "fio.json")
    assert "fio.err" in caught.value.hint


WATCHES = [{"layer": "d", "kind": "block", "name": "nvme0n1"}, {"layer": "md", "kind": "md", "name": "md0"}]
STAT = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"


def samples(tmp_path, *rows, tail=""):
    text = "".join(json.dumps({"t": t, "w": w, "v": v}) + "\n" for t, w, v in rows)
    (tmp_path / "samples.jsonl").write_text(text + tail)
    convert_samples(tmp_path, WATCHES)
    return (
        np.load(tmp_path / "block.npy"),
        np.load(tmp_path / "counters.npy"),
        json.loads((tmp_path / "states.json").read_text()),
    )


def test_block_statistics_take_the_kernel_s_order(tmp_path):
    block, _, _ = samples(tmp_path, (100, 0, {"stat": STAT, "inflight": "0 0"}))
    assert block[0].tolist() == (100, 0, *range(1, 18))


def test_an_older_kernel_has_no_flush_statistics(tmp_path):
    block, _, _ = samples(tmp_path, (100, 0, {"stat": " ".join(STAT.split()[:15])}))
    assert (block["discard_ticks"][0], block["flushes"][0], block["flush_ticks"][0]) == (15, 0, 0)


def test_states_are_kept_where_they_change(tmp_path):
    texts = ["clean", "clean", "active", "clean"]
    _, _, states = samples(tmp_path, *((t, 1, {"array_state": text}) for t, text in enumerate(texts)))
    assert [(s["t"], s["text"]) for s in states["states"]] == [(0, "clean"), (2, "active"), (3, "clean")]


def test_a_lost_journal_shows_as_a_state(tmp_path):
    rows = ((1, 1, {"journal_mode": "[write-through] write-back"}), (2, 1, {"journal_mode": ""}))
    _, _, states = samples(tmp_path, *rows)
    assert [s["text"] for s in states["states"]] == ["[write-through] write-back", ""]


def test_the_last_line_of_a_guest_that_died_is_passed_over(tmp_path):
    block, _, _ = samples(tmp_path, (1, 0, {"stat": STAT}), tail='{"t": 2, "w": 0, "v": {"st')
    assert block["t"].tolist() == [1]


def test_counters_are_numbered_by_name(tmp_path):
    _, counters, states = samples(tmp_path, (1, 1, {"degraded": "1", "sync_completed": "5 / 10"}))
    named = {states["counters"][row["counter"]]: row["value"] for row in counters}
    assert named == {"degraded": 1, "sync done": 5, "sync total": 10}


def test_md_says_none_when_nothing_is_synchronised():
    assert file_numbers({"sync_completed": "none", "array_state": "clean", "stripe_cache_size": "256"}) == {
        "stripe cache size": 256
    }


RAPIDDISK = """rapiddisk-cache stats:
\treads(12), writes(3)
\tcache hits(10), replacement(0), write replacement(1)
\tread invalidates(4), write invalidates(2)
\tuncached reads(5), uncached writes(6)
\tdisk reads(7), disk writes(8)
\tcache reads(9), cache writes(11)
"""


def test_rapiddisk_s_prose_is_read_as_counters():
    numbers = dm_numbers(RAPIDDISK)
    assert (numbers["reads"], numbers["writes"], numbers["cache hits"], numbers["write replacement"]) == (12, 3, 10, 1)
    assert (numbers["cache reads"], numbers["cache writes"], numbers["uncached writes"]) == (9, 11, 6)
    assert len(numbers) == 13


def test_dm_cache_and_writecache_are_read_by_position():
    cache = dm_numbers(
        "cache 8 27/1024 128 100/4096 50 60 70 80 1 2 3 1 writeback 2 migration_threshold 2048 smq 0 rw -"
    )
    assert (cache["used blocks"], cache["total blocks"], cache["read hits"], cache["write misses"], cache["dirty"]) == (
        100,
        4096,
        50,
        80,
        3,
    )
    writecache = dm_numbers("writecache 0 16320 16300 4 391 200 10 5 1 2 3 4 5 6")
    assert (writecache["free blocks"], writecache["reads"], writecache["write hits"], writecache["flushes"]) == (
        16300,
        391,
        5,
        5,
    )


def test_an_unknown_target_has_no_counters():
    assert dm_numbers("linear ") == {}
    assert dm_numbers("") == {}
