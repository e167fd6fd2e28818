# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened over time, and where the bytes went."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from nvlab.analysis.layers import layer_traffic
from nvlab.analysis.plots import workload_throughput
from nvlab.analysis.runs import load_run
from nvlab.analysis.series import _CHUNK, NS_PER_S, block_rates, throughput, traffic
from nvlab.analysis.table import terminal_table
from nvlab.record.convert import convert_workload
from nvlab.record.format import BLOCK_DTYPE, LATENCY_DTYPE


def trace(times, size=4096, op=0):
    records = np.zeros(len(times), LATENCY_DTYPE)
    records["t"], records["size"], records["op"] = times, size, op
    return records


def test_throughput_counts_completions_in_each_interval():
    series = throughput(trace([0, 1, NS_PER_S // 2, NS_PER_S, 3 * NS_PER_S - 1]), 0.5, 0, 3 * NS_PER_S)
    assert series.t.tolist() == [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]
    assert series.iops.tolist() == [4, 2, 2, 0, 0, 2]
    assert series.bytes_per_s.tolist() == [4 * 4096, 2 * 4096, 2 * 4096, 0, 0, 2 * 4096]


def test_throughput_leaves_out_what_is_before_after_or_another_direction():
    records = np.concatenate([trace([-1, 5, NS_PER_S, 2 * NS_PER_S]), trace([6], op=1)])
    assert throughput(records, 1, 0, NS_PER_S).iops.tolist() == [2]
    assert throughput(records, 1, 0, NS_PER_S, op=1).iops.tolist() == [1]


def test_an_unfinished_last_interval_is_left_out():
    assert len(throughput(trace([0]), 1, 0, NS_PER_S * 5 // 2).t) == 2
    assert len(throughput(trace([]), 1, 0, 0).t) == 0


def test_a_trace_longer_than_a_chunk_is_counted_whole():
    times = np.arange(2 * _CHUNK + 5) * 1000
    series = throughput(trace(times), 0.01, 0, int(times[-1]) + 1)
    assert series.iops[:-1].sum() * 0.01 == pytest.approx(len(series.iops[:-1]) * 10_000)


def statistics(*rows):
    records = np.zeros(len(rows), BLOCK_DTYPE)
    for record, (t, changes) in zip(records, rows, strict=True):
        record["t"] = t
        for name, value in changes.items():
            record[name] = value
    return records


def test_rates_between_samples_use_the_time_that_really_passed():
    rows = ((0, {}), (NS_PER_S, {"reads": 10, "read_sectors": 80}), (3 * NS_PER_S, {"reads": 50, "read_sectors": 80}))
    series = block_rates(statistics(*rows), 0, "reads")
    assert series.t.tolist() == [0.5, 2.0]
    assert series.iops.tolist() == [10, 20]
    assert series.bytes_per_s.tolist() == [80 * 512, 0]
    assert len(block_rates(statistics((0, {})), 0, "writes").t) == 0


def test_traffic_is_what_changed_from_the_first_to_the_last_sample():
    before = {"reads": 5, "writes": 7, "read_sectors": 8, "write_ticks": 1, "flushes": 2}
    after = {
        "reads": 6,
        "writes": 10,
        "read_sectors": 16,
        "write_sectors": 24,
        "read_ticks": 3,
        "write_ticks": 6,
        "flushes": 4,
    }
    found = traffic(statistics((0, before), (1, after)))
    assert (found.reads, found.read_bytes, found.writes, found.write_bytes, found.flushes) == (1, 4096, 3, 12288, 2)
    assert found.wait == pytest.approx((3 + 5) * 1e6 / 4)


READ_ALL = """
import resource, sys
import numpy as np
from nvlab.analysis.hist import Histogram
from nvlab.analysis.series import throughput
trace = np.load(sys.argv[1], mmap_mode="r")
histogram = Histogram.of(trace["latency"])
upper, share = histogram.cdf()
series = throughput(trace, 0.5, int(trace["t"][0]), int(trace["t"][-1]))
assert histogram.total == len(trace) == 10_000_000 and histogram.percentile(99.9) > 0 and len(series.t) > 50
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_ten_million_ios_are_read_within_one_gibibyte(tmp_path):
    million = trace(np.sort(np.random.default_rng(1).integers(0, 3 * NS_PER_S, 1_000_000)))
    million["latency"] = np.random.default_rng(2).lognormal(11, 1, len(million))
    whole = np.lib.format.open_memmap(tmp_path / "latency.npy", "w+", LATENCY_DTYPE, (10 * len(million),))
    for part in range(10):
        whole[part * len(million) : (part + 1) * len(million)] = million
        million["t"] += 3 * NS_PER_S
    whole.flush()
    command = [sys.executable, "-c", READ_ALL, str(tmp_path / "latency.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 1 << 20  # KiB


# -- a run ---------------------------------------------------------------------------------------------------------------


def test_throughput_over_time_holds_every_io(converted):
    workload = load_run(converted).workloads[0]
    counted = sum(series.iops.sum() * 0.1 for _, series in workload_throughput(workload))
    assert [op for op, _ in workload_throughput(workload)] == [0, 1]
    # the last interval is not a whole one
    assert 0.5 * len(workload.latency) < counted <= len(workload.latency)


def altered(converted, tmp_path, watches, samples):
    """A recorded workload with other things watched."""
    path = tmp_path / "run"
    shutil.copytree(converted, path)
    first = path / "workloads/01-randrw-client"
    record = json.loads((first / "workload.json").read_text())
    (first / "workload.json").write_text(json.dumps(record | {"watches": watches}))
    start = record["started"]
    (first / "samples.jsonl").write_text(
        "".join(json.dumps({"t": start + t, "w": w, "v": v}) + "\n" for t, w, v in samples)
    )
    convert_workload(first)
    return next(w for w in load_run(path).workloads if w.path == first)


def test_a_resync_is_a_span_of_time(converted, tmp_path):
    actions = ["idle", "resync", "resync", "idle", "recover"]
    watches = [{"layer": "md", "kind": "md", "name": "md0"}]
    workload = altered(converted, tmp_path, watches, [(t, 0, {"sync_action": text}) for t, text in enumerate(actions)])
    start = workload.started
    assert workload.resyncs() == [(start + 1, start + 3, "resync"), (start + 4, workload.ended, "recover")]


def test_devices_of_one_name_are_one_layer_and_idle_ones_are_left_out(converted, tmp_path):
    names = ("pool.1", "pool.2", "log", "idle")
    watches = [{"layer": name, "kind": "block", "name": f"x{i}"} for i, name in enumerate(names)]
    samples = [
        (t, w, {"stat": stat})
        for w in range(4)
        for t, stat in ((0, zeros()), (1, zeros(writes=10 * (w + 1) * (w < 3))))
    ]
    workload = altered(converted, tmp_path, watches, samples)
    log, pool = layer_traffic(workload)
    moved = sum(result["bytes"] for result in workload.results)
    assert (pool.title, log.title) == ("pool (×2)", "log")
    assert pool.traffic.writes == 30
    assert pool.written == pytest.approx(30 * 1_000_000 * 512 / moved)
    assert log.traffic.writes == 30


def zeros(writes=0):
    return f"0 0 0 0 {writes} 0 {writes * 1_000_000} 0 0 0 0 0 0 0 0 0 0"


def test_events_are_marked_while_there_was_io_and_routine_is_not(converted):
    workload = load_run(converted).workloads[0]
    assert workload.events
    assert workload.remarkable() == []
    drill = {"t": workload.first_io + 1, "kind": "drill", "label": "journal failed"}
    workload.events.extend([drill, drill | {"t": workload.first_io - 1}, drill | {"kind": "kmsg"}])
    assert workload.remarkable() == [drill]


def test_counters_of_a_cache_are_given_as_changes(converted, tmp_path):
    watches = [{"layer": "ram", "kind": "dm", "name": "ram"}]
    texts = ["rapiddisk-cache stats:\n\treads(5), writes(1)", "rapiddisk-cache stats:\n\treads(25), writes(1)"]
    workload = altered(converted, tmp_path, watches, [(t, 0, {"status": text}) for t, text in enumerate(texts)])
    assert workload.counter_changes(workload.watched[0]) == {"reads": 20, "writes": 0}


def test_a_run_as_the_node_left_it_is_turned_into_arrays_when_it_is_read(recorded, converted, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(recorded.path, path)
    assert terminal_table(load_run(path)) == terminal_table(load_run(converted))
    assert (path / "workloads/01-randrw-client/latency.npy").exists()


def test_a_run_knows_its_loads_variants_and_baseline(converted):
    run = load_run(converted)
    assert {load: list(variants) for load, variants in run.loads().items()} == {
        "randrw": ["plain", "client"],
        "profile": ["plain", "client"],
    }
    assert (run.accelerator, run.emulated) == ("tcg", True)
    assert run.workloads[0].fio.startswith("fio-3")
