# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes, times and CPU lists as people write them: "512M", "20us", "7-8,10". Pure.

Sizes are binary (``K`` = 1024, as the kernel's ``memparse`` reads ``memmap=``), times are integers of nanoseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

_SIZE_UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}
_TIME_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m|h)")
_CPU_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
MAX_CPU = 8191  # NR_CPUS of the largest x86-64 configuration
MAX_BYTES = 1 << 62
MAX_NS = 1 << 62


def parse_size(text: str | int) -> int:
    """Bytes of "4096", "512M", "1 GiB". Raises ValueError that says what is accepted."""
    if isinstance(text, int) and not isinstance(text, bool):
        value = text
    else:
        match = _SIZE.fullmatch(str(text).strip())
        if match is None:
            raise ValueError(f"{text!r} is not a size; write bytes or a binary unit: 4096, 64K, 512M, 2G")
        value = int(match[1]) * _SIZE_UNITS[match[2].upper()]
    if not 0 <= value <= MAX_BYTES:
        raise ValueError(f"{text!r} is out of range for a size (0 to 4E)")
    return value


def format_size(size: int) -> str:
    """The shortest exact form that :func:`parse_size` reads back: 536870912 is "512M"."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return str(size)


def human_size(size: int) -> str:
    """A size for a person: "512 MiB", "1.5 GiB", "100 B"."""
    for unit in ("T", "G", "M", "K"):
        if size >= _SIZE_UNITS[unit]:
            return f"{size / _SIZE_UNITS[unit]:.4g} {unit}iB"
    return f"{size} B"


def parse_memmap(cmdline: str) -> list[tuple[int, int]]:
    """(start, size) of each region that ``memmap=SIZE$START,…`` on a kernel's command line hides from it
    (Documentation/admin-guide/kernel-parameters.txt). What cannot be read is left out, as the kernel does.

    So does ``SIZE%START-1+2``: what is of type 1 (RAM) becomes type 2 (reserved).
    """
    words = [word.removeprefix("memmap=") for word in cmdline.split() if word.startswith("memmap=")]
    found = []
    for part in ",".join(words).split(","):
        size, mark, start = part.removesuffix("-1+2").partition("%" if part.endswith("-1+2") else "$")
        with suppress(ValueError):
            found += [(memparse(start), memparse(size))] if mark else []
    return found


def memparse(text: str) -> int:
    """A number as the kernel writes and reads it: 64G, 4096K, 0x1000000000. Raises ValueError."""
    return int(text, 16) if text.startswith("0x") else parse_size(text)


def parse_time(text: str | int) -> int:
    """Nanoseconds of "20us", "1.5ms", "10s", "0". Raises ValueError that says what is accepted."""
    plain = str(text).strip()
    if plain == "0" and not isinstance(text, bool):
        return 0
    match = _TIME.fullmatch(plain)
    if match is None:
        raise ValueError(f"{text!r} is not a time; write a number with its unit: 500ns, 20us, 4ms, 10s, 5m")
    value = round(float(match[1]) * _TIME_UNITS[match[2].replace("µs", "us")])
    if value > MAX_NS:
        raise ValueError(f"{text!r} is out of range for a time")
    return value


def format_time(ns: int) -> str:
    """The shortest exact form that :func:`parse_time` reads back: 20000 is "20us"."""
    if ns == 0:
        return "0"
    for unit in ("s", "ms", "us"):
        if ns % _TIME_UNITS[unit] == 0:
            return f"{ns // _TIME_UNITS[unit]}{unit}"
    return f"{ns}ns"


def human_time(ns: float) -> str:
    """A duration for a person, three significant digits: "46.2 us", "12.1 s"."""
    for unit in ("s", "ms", "us"):
        if abs(ns) >= _TIME_UNITS[unit]:
            return f"{ns / _TIME_UNITS[unit]:.3g} {unit}" if abs(ns) < 100 * _TIME_UNITS["s"] else f"{ns / 1e9:.0f} s"
    return f"{ns:.3g} ns"


def parse_cpus(text: str) -> tuple[int, ...]:
    """The CPUs of a list in the kernel's own form, sorted: "7-8,10" is (7, 8, 10)."""
    cpus: set[int] = set()
    for part in str(text).split(","):
        match = _CPU_RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a CPU list; write numbers and ranges: 2,3 or 7-8,10")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last > MAX_CPU:
            raise ValueError(f"{part.strip()!r} is not a range of CPUs between 0 and {MAX_CPU}")
        cpus.update(range(first, last + 1))
    return tuple(sorted(cpus))


def format_cpus(cpus: Iterable[int]) -> str:
    """The kernel's form of a set of CPUs: (7, 8, 10) is "7-8,10"."""
    parts: list[str] = []
    run: list[int] = []
    for cpu in sorted(set(cpus)):
        if run and cpu == run[-1] + 1:
            run.append(cpu)
            continue
        if run:
            parts.append(_cpu_run(run))
        run = [cpu]
    if run:
        parts.append(_cpu_run(run))
    return ",".join(parts)


def _cpu_run(run: list[int]) -> str:
    return str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"
