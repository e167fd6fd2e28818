# SPDX-License-Identifier: GPL-2.0-or-later
"""Intervals: against published tables, against what they must cover, and what they may claim of recorded noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab.analysis.claims import Claim, within
from nvlab.analysis.flags import disturbances, notes, outliers
from nvlab.analysis.interval import Interval, mean, paired_ratio, ratio, student
from nvlab.analysis.runs import Workload, load_run
from nvlab.analysis.table import bounded, terminal_table
from nvlab.simulate import Options, simulate

positive = st.floats(1e-3, 1e6)
series = st.lists(positive, min_size=2, max_size=12)


# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2: critical values of Student's t distribution
@pytest.mark.parametrize(
    ("freedom", "level", "expected"),
    [
        *((1, 0.95, 12.706), (2, 0.95, 4.303), (4, 0.95, 2.776), (9, 0.95, 2.262), (19, 0.95, 2.093), (100, 0.95, 1.984)),
        *((1, 0.80, 3.078), (3, 0.90, 2.353), (6, 0.98, 3.143), (7, 0.99, 3.499), (30, 0.99, 2.750)),
    ],
)
def test_quantiles_of_students_t_are_those_of_the_table(freedom, level, expected):
    assert student(freedom, level) == pytest.approx(expected, abs=6e-4)


@given(st.integers(1, 300), st.floats(0.5, 0.99))
def test_more_freedom_narrows_and_a_higher_level_widens(freedom, level):
    assert student(freedom + 1, level) < student(freedom, level) < student(freedom, level + 0.005)


def test_an_interval_worked_out_by_hand():
    found = mean([9.0, 10.0, 11.0])  # standard error 1 / sqrt(3)
    assert (found.value, found.n) == (10, 3)
    assert found.high - 10 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6) == 10 - found.low


@given(series, positive)
def test_a_ratio_does_not_depend_on_the_unit_and_its_inverse_is_that_of_the_others(values, factor):
    bases = [1 + i for i in range(len(values))]
    for of in (paired_ratio, ratio):
        one, scaled, inverse = of(values, bases), of([v * factor for v in values], [b * factor for b in bases]), of(bases, values)
        assert scaled.value == pytest.approx(one.value, rel=1e-6)
        assert (1 / inverse.high, 1 / inverse.low) == pytest.approx((one.low, one.high), rel=1e-6)


@given(series, st.floats(0.5, 2))
def test_pairs_that_differ_by_one_factor_alone_give_just_that(values, factor):
    found = paired_ratio([v * factor for v in values], values)
    assert (found.low, found.value, found.high) == pytest.approx((factor, factor, factor), rel=1e-6)


def test_of_one_value_nothing_is_claimed():
    for found in (mean([5.0]), paired_ratio([5.0], [4.0]), ratio([5.0], [4.0])):
        assert math.isnan(found.low) and not found.excludes(1)
    assert Claim("IOPS", mean([4.0]), mean([5.0]), paired_ratio([5.0], [4.0])).verdict == "one repeat: nothing is claimed"


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(1.25, 1.21, 1.30, 5), "1.250 (1.210 to 1.300)"),
        (Interval(8.14, 7.1, 9.2, 5), "8.1 (7.1 to 9.2)"),
        (Interval(0.9, 0.81, 0.998, 5), "0.900 (0.810 to 0.998)"),  # not 1.00, which the verdict would belie
        (Interval(2.0, 2.0, 2.0, 5), "2.000 (2.000 to 2.000)"),
        (Interval(6.2, math.nan, math.nan, 1), "6.2"),
    ],
)
def test_a_factor_is_written_with_the_digits_that_it_deserves(interval, said):
    assert bounded(interval) == said


def test_a_value_that_is_far_from_the_others_is_flagged_and_none_of_a_few():
    assert outliers([100, 101, 99, 100, 60, 100.5]) == [4]
    assert outliers([100, 100, 100, 100, 100]) == []
    assert outliers([100, 100, 100, 100, 100.05]) == [], "equal but for a rounding"
    assert outliers([100, 1, 100]) == []


@given(st.lists(st.floats(99, 101), min_size=5, max_size=30), st.floats(2, 100))
def test_one_that_is_off_by_a_multiple_is_always_found(values, factor):
    assert len(values) in outliers([*values, 101 * factor])


def test_throttling_and_stolen_time_are_told(tmp_path):
    import json

    before = {"stat": "cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 1", "throttled": "3 3"}
    after = {"stat": "cpu  150 0 150 1090 0 0 0 10 0 0\ncpu0 1", "throttled": "3 5"}
    (tmp_path / "proc.json").write_text(json.dumps({"before": before, "after": after}))
    assert [*disturbances(Workload(tmp_path, {}))] == [
        "its CPUs were throttled, for heat or power",
        "other guests had 5 % of its CPU time",
    ]
    (tmp_path / "proc.json").write_text(json.dumps({"before": before, "after": before}))
    assert [*disturbances(Workload(tmp_path, {}))] == []


# -- what is claimed ------------------------------------------------------------------------------------------------

TWO = """
schema = 1
[device.one]
size = "64M"
profile = "samsung-970-pro"
[device.other]
size = "64M"
profile = "samsung-970-pro"
{more}
[workload.load]
on = ["one", "other"]
baseline = "one"
repeats = {repeats}
fio = {{ rw = "randread", bs = "4k", iodepth = 8, runtime = "10ms" }}
"""


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """IOPS of 30 repeats on one simulated drive, as shares of their mean: every repeat makes other random choices."""
    base = tmp_path_factory.mktemp("noise")
    (base / "lab.toml").write_text(TWO.format(more="", repeats=30))
    run = load_run(simulate(base / "lab.toml", base, Options(), [], lambda event: None))
    reads = next(c for c in within(run) if c.title == "load, read")
    assert reads.n == 30
    values = np.array([sum(r["iops"] for r in w.results) for w in run.loads()["load"]["one"]])
    return values / values.mean()


def claimed(noise, effect, n, trials=2000):
    """Of how many comparisons over resampled noise the interval excludes 1."""
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(trials):
        a, b = rng.choice(noise, n), rng.choice(noise, n) * effect
        hits += paired_ratio(b.tolist(), a.tolist()).excludes(1)
    return hits / trials


def test_like_against_like_is_called_different_in_no_more_than_one_of_twenty(noise):
    assert noise.std() > 1e-4, "there is noise at all"
    # two standard errors of a share of 0.05 over 2000 trials
    assert claimed(noise, 1.0, 6) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)


def test_a_change_of_a_twentieth_is_found(noise):
    assert claimed(noise, 1.05, 6) >= 0.9


def test_like_against_like_shows_no_difference_and_a_slower_drive_does(tmp_path):
    slower = "medium = { read_lsb = 90000, read_msb = 90000, read_csb = 90000 }"
    for more, verdict in (("", "no difference shown"), (slower, "lower")):
        (tmp_path / "lab.toml").write_text(TWO.format(more=more, repeats=6))
        run = load_run(simulate(tmp_path / "lab.toml", tmp_path, Options(), [], lambda event: None))
        (reads,) = (c for c in within(run) if c.title == "load, read")
        assert reads.claims[0].verdict == verdict
        assert "load, read: other against one, 6 repeats, 95 % intervals" in terminal_table(run)
        assert notes(run) == []
