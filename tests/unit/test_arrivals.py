# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads of a given rate: what came late, and how long it took from when it was due."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab.analysis.arrivals import arrivals, lateness
from nvlab.analysis.flags import notes
from nvlab.analysis.runs import load_run
from nvlab.simulate import Options, simulate

MS = 1_000_000

LAB = """
schema = 1
[device.ssd]
size = "64M"
[device.ssd.fault.stall]
action = "delay"
delay = "50ms"
every = 500
[workload.reads]
on = "ssd"
fio = {{ rw = "randread", bs = "4k", iodepth = {depth}, {more}runtime = "2s" }}
"""


def simulated(base, depth, more):
    (base / "lab.toml").write_text(LAB.format(depth=depth, more=more))
    return load_run(simulate(base / "lab.toml", base, Options(), [], lambda event: None))


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=50), st.integers(1, 10**6))
def test_what_comes_when_it_is_due_or_all_as_late_is_not_late_and_what_is_delayed_is_by_so_much(delays, rate):
    due = (np.arange(len(delays)) * (1e9 / rate)).astype(np.int64)
    assert (lateness(due + 12345, rate) == 0).all()
    assert (lateness(np.sort(due + delays), rate) >= 0).all()
    slow = due.copy()
    slow[-1] += 5 * MS
    assert lateness(slow, rate)[-1] == (5 * MS if len(slow) > 1 else 0)


def test_a_stall_is_in_every_io_that_was_due_meanwhile(tmp_path):
    """A thousand a second, one at a time; of 500 one stalls for 50 ms. 49 of 500 wait for it, and fio would show just the one."""
    run = simulated(tmp_path, 1, "rate_iops = 1000, ")
    (found,) = arrivals(run.workloads[0])
    assert (found.op, found.asked) == ("read", 1000) and found.got == pytest.approx(1000, rel=0.05)
    assert found.late == pytest.approx(3 * 49 / 2000)
    measured = run.workloads[0].total_latency(0, 0)
    assert measured.percentile(99) < MS < 40 * MS < found.from_due.percentile(99) < 51 * MS
    (note,) = notes(run)
    assert "of the reads were submitted late" in note and "from when they were due p99 is" in note


def test_with_room_for_what_comes_meanwhile_nothing_is_late(tmp_path):
    run = simulated(tmp_path, 128, "rate_iops = 1000, ")
    (found,) = arrivals(run.workloads[0])
    assert found.late == 0 and notes(run) == []
    assert found.from_due.percentile(50) == run.workloads[0].total_latency(0, 0).percentile(50)


def test_a_load_that_asks_too_much_falls_behind_for_good(tmp_path):
    run = simulated(tmp_path, 1, "rate_iops = 1000000, ")
    (found,) = arrivals(run.workloads[0])
    assert found.got < 0.5 * found.asked and found.late > 0.9
    assert found.from_due.percentile(99) > 900 * MS, "most of the two seconds"


def test_a_load_without_a_rate_has_no_arrivals(tmp_path):
    run = simulated(tmp_path, 1, "")
    assert arrivals(run.workloads[0]) == []
