# SPDX-License-Identifier: GPL-2.0-or-later
"""Histograms are fio's: the same buckets, the same percentiles, and exact when merged."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nvlab.analysis.hist import _CHUNK, Histogram
from nvlab.record.buckets import COUNT, bounds_of, bucket_of, middle_of

LATENCIES = hnp.arrays(np.uint64, st.integers(1, 300), elements=st.integers(0, 17_000_000_000))
LAST = 1 << 34  # where fio's buckets end, ns


@given(hnp.arrays(np.uint64, st.integers(1, 50), elements=st.integers(0, LAST - 1)))
def test_a_value_lies_within_its_bucket(values):
    low, width = bounds_of(bucket_of(values))
    assert (low <= values).all()
    assert (values < low + width).all()


def test_buckets_cover_all_values_without_gap_or_overlap():
    low, width = bounds_of(np.arange(COUNT))
    assert low[0] == 0
    assert (low[1:] == low[:-1] + width[:-1]).all()
    assert low[-1] + width[-1] == LAST
    assert (bucket_of(low) == np.arange(COUNT)).all()
    assert (bucket_of(middle_of(np.arange(COUNT))) == np.arange(COUNT)).all()


def test_a_bucket_is_at_most_a_64th_of_its_value_wide():
    low, width = bounds_of(np.arange(128, COUNT))
    assert (width * 64 <= low).all()
    assert (bounds_of(np.arange(128))[1] == 1).all()


def test_what_exceeds_the_last_bucket_is_counted_in_it():
    assert bucket_of([LAST, 1 << 50, 2**63]).tolist() == [COUNT - 1] * 3


@given(LATENCIES, st.floats(0.1, 100))
def test_a_percentile_is_in_the_bucket_of_the_exact_one(latencies, percent):
    # the product must be the one that is rounded, or 10.0000001 % of 10 would be the second
    wanted = max(math.ceil(round(percent / 100 * len(latencies), 6)), 1)
    exact = np.sort(latencies)[wanted - 1]
    assert bucket_of(Histogram.of(latencies).percentile(percent)) == bucket_of(exact)


@pytest.mark.parametrize("percent", [1, 25, 50, 90, 99, 99.9])
def test_percentiles_are_numpy_s_within_half_a_bucket(percent):
    latencies = np.random.default_rng(1).lognormal(11, 1.2, 199_999).astype(np.uint64)
    exact = np.percentile(latencies, percent, method="inverted_cdf")
    assert Histogram.of(latencies).percentile(percent) == pytest.approx(exact, rel=1 / 128)


@pytest.mark.parametrize("name", ["01-randrw-client", "03-profile-client"])
def test_percentiles_are_the_ones_that_fio_reports(converted, name):
    report = json.loads((converted / "workloads" / name / "fio.json").read_text())
    checked = 0
    for job in report["jobs"]:
        for op in ("read", "write"):
            for kind in ("lat_ns", "clat_ns"):
                found = job[op][kind]
                bins = found.get("bins") or {}
                histogram = Histogram.of_buckets(bucket_of([int(v) for v in bins]), list(bins.values()))
                for percent, value in (found.get("percentile") or {}).items() if bins else ():
                    assert histogram.percentile(float(percent)) == value, (op, kind, percent)
                    checked += 1
    assert checked > 20


@given(LATENCIES, LATENCIES)
def test_merging_is_exact(one, other):
    both = Histogram.of(np.concatenate([one, other]))
    merged = Histogram.of(one) + Histogram.of(other)
    assert (merged.counts == both.counts).all()
    assert (Histogram.merge([Histogram.of(one), Histogram.of(other), Histogram.empty()]).counts == both.counts).all()


@settings(max_examples=20)
@given(LATENCIES)
def test_the_mean_is_within_half_a_bucket(latencies):
    assert Histogram.of(latencies).mean() == pytest.approx(latencies.astype(float).mean(), rel=1 / 128, abs=1)


def test_an_array_longer_than_a_chunk_is_counted_whole():
    latencies = np.arange(2 * _CHUNK + 3, dtype=np.uint64)
    assert Histogram.of(latencies).total == len(latencies)
    assert Histogram.of(latencies).percentile(100) == middle_of(bucket_of(latencies[-1]))


@given(LATENCIES)
def test_a_cdf_rises_to_one_and_agrees_with_the_percentiles(latencies):
    histogram = Histogram.of(latencies)
    upper, share = histogram.cdf()
    assert (np.diff(upper) > 0).all()
    assert (np.diff(share) > 0).all()
    assert share[-1] == pytest.approx(1)
    assert histogram.percentile(50) <= upper[np.searchsorted(share, 0.5 - 1e-9)]


def test_nothing_measured_is_not_a_number():
    empty = Histogram.empty()
    assert math.isnan(empty.percentile(50))
    assert math.isnan(empty.mean())
    assert [len(part) for part in empty.cdf()] == [0, 0]
