# SPDX-License-Identifier: GPL-2.0-or-later
"""fio jobs: from a scenario's table, or from a job file's text, to the job file that nvlab runs. Stdlib only.

A job is a table of fio's own keys. Sub-tables are sections, in the order of the file, and inherit the keys above them::

    [workload.profile.fio]
    bs = "4k"
    iodepth = 32
    randread  = { rw = "randread" }
    randwrite = { rw = "randwrite", stonewall = true }

Without sub-tables the job has one section, named after the workload. :mod:`nvlab.workload.keys` says which keys there are.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from nvlab.errors import InvalidScenario, Problem
from nvlab.units import GIB, human_size, parse_size, parse_time
from nvlab.workload.keys import ALIASES, KEYS, MAX_BLOCK, ONE_AT_A_TIME, REFUSED, Value

TargetKind = Literal["device", "directory"]

LOG_DIR = "log"
RESULT = "fio.json"
CLOCK_MONOTONIC = 1  # clock_gettime(2)'s number
DEFAULT_RUNTIME = "10s"
DEFAULT_SEED = 20_071
_SECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_PATH = re.compile(r"/[A-Za-z0-9_./:@+-]{1,200}")
_SYS_IO_URING_SETUP = 425  # the same number on every architecture


@dataclass(frozen=True)
class Target:
    """What a job works on: a block device, or a directory in which it may make files."""

    kind: TargetKind
    path: str


@dataclass(frozen=True)
class Section:
    """One section of a job file: its keys, in fio's canonical text."""

    name: str
    keys: Mapping[str, str]

    @property
    def engine(self) -> str | None:
        return self.keys.get("ioengine")

    def seconds(self) -> float:
        """How long the section may last: start delay, ramp and run time."""
        times = (
            self.keys.get("startdelay", "0"),
            self.keys.get("ramp_time", "0"),
            self.keys.get("runtime", DEFAULT_RUNTIME),
        )
        return sum(map(parse_time, times)) / 1e9

    def stonewalled(self) -> bool:
        return self.keys.get("stonewall") == "1"


# -- reading and checking ------------------------------------------------------------------------------------------------


def check_job(table: Mapping[str, Any], where: str, target: TargetKind = "device") -> list[Problem]:
    """Everything wrong with a job table at the TOML path ``where``; empty when it can be rendered."""
    problems: list[Problem] = []
    sections = _sections(table, where, "job", problems)
    if not problems:
        problems += [p for s in sections for p in _check_section(s, _path_of(table, where, s.name), target)]
    return problems


def parse_job_file(text: str) -> dict[str, Any]:
    """The table of a job file: what ``[global]`` says, then one sub-table per section.

    Values stay text. A later ``[global]`` counts for the sections after it, as in fio. Raises ValueError for any other line.
    """
    table: dict[str, Any] = {}
    later: dict[str, str] = {}
    current: dict[str, Any] = table
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            current = _open_section(line, number, table, later)
        elif re.match(r"[A-Za-z]", line):
            key, equals, value = line.partition("=")
            current[key.strip()] = value.strip() if equals else True
        else:
            raise ValueError(f"line {number}: {line!r} is neither a section nor key=value")
    return table


def is_job_file(text: str) -> bool:
    """Whether the first line that says something is a section's."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and line[0] not in "#;"), "").startswith("[")


def _open_section(line: str, number: int, table: dict[str, Any], later: dict[str, str]) -> dict[str, Any]:
    name = line[1:-1] if line.endswith("]") else ""
    if name == "global":
        return later if any(isinstance(v, dict) for v in table.values()) else table
    if not _SECTION.fullmatch(name):
        raise ValueError(f"line {number}: {line!r} is not the name of a section; use letters, digits, - and _")
    if name in table:
        raise ValueError(f"line {number}: section {name!r} appears twice")
    table[name] = dict(later)
    return table[name]  # type: ignore[no-any-return]


def job_sections(table: Mapping[str, Any], name: str, target: TargetKind = "device") -> tuple[Section, ...]:
    """The sections of a job, every value canonical. Raises InvalidScenario with all that is wrong."""
    problems = check_job(table, name, target)
    if problems:
        raise InvalidScenario(f"the fio job of {name}", problems)
    return tuple(_sections(table, name, name, []))


def _sections(table: Mapping[str, Any], where: str, name: str, problems: list[Problem]) -> list[Section]:
    nested = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    common = _read_keys({k: v for k, v in table.items() if k not in nested}, where, problems)
    if not nested:
        return [Section(_plain_name(name), common)]
    sections = []
    for key, value in nested.items():
        if not _SECTION.fullmatch(key) or key == "global" or key in KEYS:
            problems.append(Problem(f"{where}.{key}", "is not the name of a section; use letters, digits, - and _"))
        sections.append(Section(key, common | _read_keys(value, f"{where}.{key}", problems)))
    return sections


def _plain_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40] or "job"


def _path_of(table: Mapping[str, Any], where: str, section: str) -> str:
    return f"{where}.{section}" if isinstance(table.get(section), Mapping) else where


def _read_keys(table: Mapping[str, Any], where: str, problems: list[Problem]) -> dict[str, str]:
    read: dict[str, str] = {}
    for key, value in table.items():
        name = ALIASES.get(key, key)
        try:
            read[name] = _read_value(name, value)
        except ValueError as error:
            problems.append(Problem(f"{where}.{key}", str(error)))
    return read


def _read_value(key: str, value: Value) -> str:
    if key in REFUSED:
        raise ValueError(f"a scenario cannot set this: {REFUSED[key]}")
    if key not in KEYS:
        import difflib  # only for who mistypes: a slow guest imports this module too

        close = difflib.get_close_matches(key, [*KEYS, *ALIASES], n=1)
        raise ValueError("is not a fio key that nvlab knows" + (f"; did you mean {close[0]!r}?" if close else ""))
    if not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not a value; write text, a number, true or false")
    if isinstance(value, str) and "$" in value:
        raise ValueError(f"{value!r}: variables are not expanded in a scenario; write the value")
    return KEYS[key](value)


def _check_section(section: Section, where: str, target: TargetKind) -> list[Problem]:
    found = []
    keys = section.keys
    if "rw" not in keys:
        found.append(Problem(f"{where}.rw", "is missing: read, write, rw, randread, randwrite or randrw"))
    if target == "directory" and "size" not in keys:
        found.append(Problem(f"{where}.size", "is missing: on a file system it is the size of each job's files"))
    if target == "directory" and keys.get("size", "").endswith("%"):
        found.append(Problem(f"{where}.size", "is a share; on a file system write a size, such as 64M"))
    if section.engine in ONE_AT_A_TIME and int(keys.get("iodepth", "1")) > 1:
        found.append(Problem(f"{where}.iodepth", f"{section.engine} keeps one I/O in flight; use io_uring or libaio"))
    return found + _check_buffers(section, where)


def _check_buffers(section: Section, where: str) -> list[Problem]:
    sizes = [parse_size(text) for text in re.split("[,:-]", section.keys.get("bs", "4k")) if text]
    sizes += [MAX_BLOCK] * bool({"bsrange", "bssplit"} & set(section.keys) and section.keys.get("bs") is None)
    memory = max(sizes, default=0) * int(section.keys.get("iodepth", "1")) * int(section.keys.get("numjobs", "1"))
    found = []
    if memory > 16 * GIB:
        found.append(Problem(where, f"bs × iodepth × numjobs is {human_size(memory)} of buffers; at most 16 GiB"))
    if section.keys.get("direct", "1") == "1" and any(size % 512 for size in sizes):
        found.append(Problem(f"{where}.bs", "direct I/O needs a multiple of 512 bytes (or direct = false)"))
    return found


# -- writing -------------------------------------------------------------------------------------------------------------


def render_job(sections: Sequence[Section], target: Target, *, seed: int, engine: str, trace: bool = True) -> str:
    """The job file. ``engine`` is used where a section names none; ``trace`` logs the latency of every I/O.

    Raises ValueError for a target path that fio could take for something else.
    """
    lines = ["[global]", *_global_keys(target, seed, engine, trace)]
    for section in sections:
        lines += ["", f"[{section.name}]", "new_group=1"]
        lines += [f"write_lat_log={LOG_DIR}/{section.name}"] * trace
        lines += [f"{key}={value}" for key, value in section.keys.items() if KEYS[key].__name__ != "always"]
    return "\n".join(lines) + "\n"


def _global_keys(target: Target, seed: int, engine: str, trace: bool) -> list[str]:
    if not _PATH.fullmatch(target.path) or ".." in target.path:
        raise ValueError(f"{target.path!r} is not a path that fio can be given")
    path = target.path.replace(":", "\\:")  # fio separates file names by colons
    if target.kind == "directory":
        # one set of files for all sections, so that they are laid out once
        place = [f"directory={path}", "filename_format=nvlab.$jobnum.$filenum"]
    else:
        # fio would make a file in /dev for a device that went away
        place = [f"filename={path}", "allow_file_create=0"]
    defaults = [
        "direct=1",
        f"ioengine={engine}",
        # threads, not processes: fio's workers leave our process group otherwise, and outlive a kill
        "thread=1",
        "time_based=1",
        f"runtime={DEFAULT_RUNTIME}",
        "group_reporting=1",
        # alone: with allrandrepeat, fio 3.33 ignores the seed
        f"randseed={seed}",
        "lat_percentiles=1",
        "clat_percentiles=1",
        "verify_state_save=0",
    ]
    clock = ["log_alternate_epoch=1", f"log_alternate_epoch_clock_id={CLOCK_MONOTONIC}"]
    return place + defaults + clock * trace


def fio_argv(job_file: str = "job.fio") -> list[str]:
    """The command, to be run in the workload's directory; JSON+ goes to ``fio.json``, estimates to stdout.

    fio dies with the process that started it.
    """
    guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    return [
        *guard,
        "fio",
        "--output-format=json+",
        f"--output={RESULT}",
        "--eta=always",
        "--eta-interval=500ms",
        job_file,
    ]


def planned_seconds(sections: Sequence[Section]) -> float:
    """How long the job is meant to run: groups of sections between stonewalls follow each other."""
    total = longest = 0.0
    for section in sections:
        if section.stonewalled():
            total, longest = total + longest, 0.0
        longest = max(longest, section.seconds())
    return total + longest


def laid_out(sections: Sequence[Section]) -> int:
    """Bytes of the files that fio makes in a directory before it begins, as far as they say so."""
    total = 0
    for section in sections:
        with suppress(ValueError):  # a share, or a size in other words of fio's
            total += parse_size(section.keys.get("size", "0")) * int(section.keys.get("numjobs", "1"))
    return total


def default_engine() -> str:
    """io_uring where this kernel lets us have it, libaio otherwise."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(120)  # struct io_uring_params
    fd = int(libc.syscall(_SYS_IO_URING_SETUP, 1, params))
    if fd < 0:
        return "libaio"
    os.close(fd)
    return "io_uring"
