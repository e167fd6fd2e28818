# SPDX-License-Identifier: GPL-2.0-or-later
"""What people write, what we make of it, and that our own writing is read back unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab import units


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), (4096, 4096), ("64K", 65536), ("512M", 536870912), ("512m", 536870912),
     ("2 GiB", 2147483648), ("2GB", 2147483648), (" 1T ", 1099511627776), ("100B", 100)],
)  # fmt: skip
def test_sizes_are_binary(text: str | int, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", -1, "1.5G", "512X", "1 2", "0x10", True, "5T T", 1 << 63, "9999999T"])
def test_what_is_no_size_is_refused_with_the_text_in_the_message(text: str | int) -> None:
    with pytest.raises(ValueError, match=r"is (not|out of range for) a size"):
        units.parse_size(text)


@given(st.integers(0, units.MAX_BYTES))
def test_a_size_written_is_read_back(size: int) -> None:
    assert units.parse_size(units.format_size(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (100, "100 B"), (536870912, "512 MiB"), (1610612736, "1.5 GiB"), (1 << 50, "1024 TiB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert units.human_size(size) == text


@pytest.mark.parametrize(
    ("text", "ns"),
    [("0", 0), (0, 0), ("500ns", 500), ("20us", 20_000), ("20µs", 20_000), ("1.5ms", 1_500_000), ("4 ms", 4_000_000),
     ("10s", 10**10), ("5m", 3 * 10**11), ("2h", 72 * 10**11)],
)  # fmt: skip
def test_times_are_nanoseconds(text: str | int, ns: int) -> None:
    assert units.parse_time(text) == ns


@pytest.mark.parametrize("text", ["", "10", 10, "ms", "-1ms", "1e3us", "1 day", False, "99999999h"])
def test_a_time_needs_its_unit(text: str | int) -> None:
    with pytest.raises(ValueError, match=r"is (not|out of range for) a time"):
        units.parse_time(text)


@given(st.integers(0, 10**15))
def test_a_time_written_is_read_back(ns: int) -> None:
    assert units.parse_time(units.format_time(ns)) == ns


@pytest.mark.parametrize(
    ("ns", "text"), [(750, "750 ns"), (46_210, "46.2 us"), (12_140_000_000, "12.1 s"), (3_600_000_000_000, "3600 s")]
)
def test_times_for_people(ns: float, text: str) -> None:
    assert units.human_time(ns) == text


@pytest.mark.parametrize(
    ("text", "cpus"), [("2", (2,)), ("2,3", (2, 3)), ("7-8,10", (7, 8, 10)), ("3, 1-2,2", (1, 2, 3)), ("8191", (8191,))]
)
def test_cpu_lists_are_the_kernels(text: str, cpus: tuple[int, ...]) -> None:
    assert units.parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["", ",", "a", "3-1", "-1", "1-", "8192", "1--2", "1.0"])
def test_what_is_no_cpu_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="CPU"):
        units.parse_cpus(text)


@given(st.sets(st.integers(0, units.MAX_CPU), min_size=1))
def test_a_cpu_list_written_is_read_back(cpus: set[int]) -> None:
    assert units.parse_cpus(units.format_cpus(cpus)) == tuple(sorted(cpus))


def test_runs_of_cpus_are_joined() -> None:
    assert units.format_cpus([10, 8, 7, 7, 0]) == "0,7-8,10"
    assert units.format_cpus([]) == ""
