# SPDX-License-Identifier: GPL-2.0-or-later
"""Which fio keys a scenario may set, and what each may be: an allow-list. Pure, stdlib only.

A scenario file may come from a stranger. Every value is read by a closed grammar and written out again in one canonical form, so
that no value can carry a path, a command, a variable or a second line into the job file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from nvlab.units import GIB, MIB, format_cpus, format_size, format_time, parse_cpus, parse_size, parse_time

Value = str | int | float | bool
Kind = Callable[[Value], str]  # canonical text of a value; ValueError says what is accepted

NS_PER_US, NS_PER_S = 1_000, 1_000_000_000
MAX_JOBS, MAX_DEPTH, MAX_BLOCK = 256, 4096, 16 * MIB
_TRUE, _FALSE = {"1", "true", "yes", ""}, {"0", "false", "no"}


def flag(value: Value) -> str:
    """A truth value; in a job file a key alone means true."""
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{value!r} is not true or false")
    return "1" if word in _TRUE else "0"


def always(value: Value) -> str:
    """A flag that nvlab sets anyway; saying so is harmless, saying the contrary is not."""
    if flag(value) != "1":
        raise ValueError("cannot be turned off: nvlab needs it")
    return "1"


def choice(*names: str) -> Kind:
    """One of these words."""

    def read(value: Value) -> str:
        if isinstance(value, bool) or str(value) not in names:
            raise ValueError(f"{value!r} is not one of {', '.join(names)}")
        return str(value)

    return read


def whole(low: int, high: int) -> Kind:
    """An integer within limits."""

    def read(value: Value) -> str:
        if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,19}", str(value).strip()):
            raise ValueError(f"{value!r} is not a whole number")
        if not low <= int(value) <= high:
            raise ValueError(f"{value} is not between {low} and {high}")
        return str(int(value))

    return read


def real(low: float, high: float) -> Kind:
    """A decimal number within limits."""

    def read(value: Value) -> str:
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", str(value).strip()):
            raise ValueError(f"{value!r} is not a number")
        if not low <= float(value) <= high:
            raise ValueError(f"{value} is not between {low:g} and {high:g}")
        return f"{float(value):g}"

    return read


def size(low: int = 0, high: int = 1 << 60, *, percent: bool = False) -> Kind:
    """Bytes, with a binary unit; ``percent`` also takes a share of the target."""

    def read(value: Value) -> str:
        if percent and re.fullmatch(r"(\d{1,2}|100)%", str(value).strip()):
            return str(value).strip()
        if isinstance(value, float | bool):
            raise ValueError(f"{value!r} is not a size")
        count = parse_size(value)
        if not low <= count <= high:
            raise ValueError(f"{value} is not between {format_size(low)} and {format_size(high)}")
        return format_size(count).lower()

    return read


def duration(unit_ns: int, low_ns: int = 0, high_ns: int = 7 * 24 * 3600 * NS_PER_S) -> Kind:
    """A time with its unit; a bare whole number counts fio's own unit for the key."""

    def read(value: Value) -> str:
        if isinstance(value, float | bool):
            raise ValueError(f"{value!r} is not a time; write it with its unit: 20us, 4ms, 10s")
        plain = str(value).strip()
        ns = int(plain) * unit_ns if re.fullmatch(r"\d{1,9}", plain) else parse_time(plain)
        if ns % NS_PER_US or not low_ns <= ns <= high_ns:
            raise ValueError(f"{value} is not between {format_time(max(low_ns, NS_PER_US))} and {format_time(high_ns)}")
        return "0" if ns == 0 else format_time(ns)

    return read


def by_direction(kind: Kind) -> Kind:
    """Up to three values, for reads, writes and trims: "8k,4k"."""

    def read(value: Value) -> str:
        if not isinstance(value, str):
            return kind(value)
        parts = value.split(",")
        if len(parts) > 3:
            raise ValueError(f"{value!r} has more than three parts (reads, writes, trims)")
        return ",".join(kind(part) if part.strip() else "" for part in parts)

    return read


def form(regex: str, example: str) -> Kind:
    """Text of a form that only this key has."""
    compiled = re.compile(regex, re.ASCII)

    def read(value: Value) -> str:
        if not isinstance(value, str) or len(value) > 400 or compiled.fullmatch(value) is None:
            raise ValueError(f"{value!r} is not of the form {example}")
        return value

    return read


def cpus(value: Value) -> str:
    """A CPU list as the kernel writes it."""
    return format_cpus(parse_cpus(str(value)))


_SZ = r"\d{1,12}[kKmM]?"
_SPLIT = rf"{_SZ}/\d{{0,3}}(:{_SZ}/\d{{0,3}})*"
_ZONES = r"\d{1,3}/[\d.]{1,6}(:\d{1,3}/[\d.]{1,6})*"
_DIRECTIONS = ("read", "write", "randread", "randwrite", "rw", "readwrite", "randrw", "trim", "randtrim", "trimwrite")
ENGINES = ("io_uring", "libaio", "posixaio", "psync", "pvsync2", "sync")
ONE_AT_A_TIME = ("psync", "pvsync2", "sync")
_CHECKSUMS = (
    "md5",
    "crc64",
    "crc32c",
    "crc32",
    "crc16",
    "crc7",
    "xxhash",
    "sha1",
    "sha256",
    "sha512",
    "meta",
    "pattern",
)
_ERRORS = ("none", "read", "write", "io", "verify", "all")
_hex = form(r"0x[0-9a-fA-F]{1,128}", "0xdeadbeef")
_percent = whole(0, 100)
_count = whole(1, 10**15)

KEYS: Mapping[str, Kind] = {
    # what to do
    "rw": choice(*_DIRECTIONS),
    "rwmixread": _percent,
    "rwmixwrite": _percent,
    "rw_sequencer": choice("sequential", "identical"),
    "percentage_random": by_direction(_percent),
    "random_distribution": form(
        rf"random|(zipf|pareto|normal):[\d.]{{1,8}}(:[\d.]{{1,8}})?|zoned:{_ZONES}(,{_ZONES})*", "zipf:1.2"
    ),
    "random_generator": choice("tausworthe", "tausworthe64", "lfsr"),
    "norandommap": flag,
    "randrepeat": flag,
    "randseed": whole(1, 2**63 - 1),
    # how much at a time
    "bs": by_direction(size(512, MAX_BLOCK)),
    "bsrange": form(rf"{_SZ}-{_SZ}(,{_SZ}-{_SZ}){{0,2}}", "4k-64k"),
    "bssplit": form(rf"{_SPLIT}(,{_SPLIT}){{0,2}}", "4k/60:64k/40"),
    "blockalign": by_direction(size(512, GIB)),
    # how many at a time
    "ioengine": choice(*ENGINES),
    "iodepth": whole(1, MAX_DEPTH),
    "iodepth_batch": whole(1, MAX_DEPTH),
    "iodepth_batch_complete_min": whole(0, MAX_DEPTH),
    "iodepth_batch_complete_max": whole(0, MAX_DEPTH),
    "iodepth_low": whole(0, MAX_DEPTH),
    "io_submit_mode": choice("inline", "offload"),
    "serialize_overlap": flag,
    "numjobs": whole(1, MAX_JOBS),
    "hipri": flag,
    "fixedbufs": flag,
    "registerfiles": flag,
    "nonvectored": flag,
    "sqthread_poll": flag,
    # where, within the target
    "size": size(512, percent=True),
    "io_size": size(512, percent=True),
    "offset": size(0, percent=True),
    "offset_increment": size(0, percent=True),
    "nrfiles": whole(1, 1024),
    "file_service_type": choice("random", "roundrobin", "sequential"),
    "fallocate": choice("none", "native", "posix", "keep", "truncate"),
    "overwrite": flag,
    "zonemode": choice("none", "strided", "zbd"),
    "zonesize": size(512),
    "zonecapacity": size(512),
    "zonerange": size(512),
    "zoneskip": size(0),
    "max_open_zones": whole(0, 65536),
    "job_max_open_zones": whole(0, 65536),
    "read_beyond_wp": flag,
    # how long
    "runtime": duration(NS_PER_S, 10_000_000),
    "time_based": flag,
    "ramp_time": duration(NS_PER_S),
    "startdelay": duration(NS_PER_S),
    "loops": whole(1, 10**6),
    "number_ios": _count,
    "stonewall": flag,
    # how fast
    "rate": by_direction(size(1)),
    "rate_iops": by_direction(_count),
    "rate_process": choice("linear", "poisson"),
    "rate_cycle": whole(1, 60_000),
    "rate_ignore_thinktime": flag,
    "thinktime": duration(NS_PER_US),
    "thinktime_spin": duration(NS_PER_US),
    "thinktime_blocks": _count,
    "thinktime_iotime": duration(NS_PER_S),
    "latency_target": duration(NS_PER_US),
    "latency_window": duration(NS_PER_US),
    "latency_percentile": real(0, 100),
    # durability
    "direct": flag,
    "sync": choice("none", "sync", "dsync", "0", "1"),
    "fsync": whole(0, 2**31 - 1),
    "fdatasync": whole(0, 2**31 - 1),
    "end_fsync": flag,
    "fsync_on_close": flag,
    "invalidate": flag,
    # what is written, and whether it is still there
    "zero_buffers": flag,
    "refill_buffers": flag,
    "scramble_buffers": flag,
    "buffer_compress_percentage": _percent,
    "buffer_compress_chunk": size(512, GIB),
    "buffer_pattern": _hex,
    "dedupe_percentage": _percent,
    "verify": choice(*_CHECKSUMS),
    "verify_pattern": _hex,
    "verify_interval": size(512, MAX_BLOCK),
    "verify_backlog": _count,
    "verify_backlog_batch": _count,
    "verify_async": whole(1, MAX_JOBS),
    "verify_fatal": flag,
    "verify_only": flag,
    "do_verify": flag,
    "continue_on_error": choice(*_ERRORS),
    "ignore_error": form(r"[A-Z0-9]{1,16}([,:][A-Z0-9]{1,16}){0,20}", "EIO,ETIMEDOUT:ENOSPC"),
    "exitall_on_error": flag,
    # on which CPUs, with what memory
    "cpus_allowed": cpus,
    "cpus_allowed_policy": choice("shared", "split"),
    "nice": whole(-20, 19),
    "prio": whole(0, 7),
    "prioclass": whole(0, 3),
    "mem": choice("malloc", "shm", "mmap", "shmhuge", "mmaphuge"),
    "clocksource": choice("gettimeofday", "clock_gettime", "cpu"),
    # what nvlab sets anyway
    "thread": always,
    "group_reporting": always,
}

ALIASES: Mapping[str, str] = {
    "readwrite": "rw",
    "blocksize": "bs",
    "blocksize_range": "bsrange",
    "ba": "blockalign",
    "io_limit": "io_size",
    "timeout": "runtime",
    "start_delay": "startdelay",
    "wait_for_previous": "stonewall",
    "iodepth_batch_submit": "iodepth_batch",
    "iomem": "mem",
}

_TARGET = "the target is the workload's `on`"
_OUTPUT = "nvlab decides what is recorded and where"
_SEED = "the seed makes the random sequence repeatable; set randseed"
_PATH = "it can name a file on the node"
_COMMAND = "it can run a command on the node"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("filename", "directory", "filename_format", "opendir", "name", "new_group", "unique_filename"), _TARGET
    ),
    **dict.fromkeys(("write_lat_log", "write_bw_log", "write_iops_log", "write_hist_log", "per_job_logs"), _OUTPUT),
    **dict.fromkeys(("log_avg_msec", "log_hist_msec", "log_offset", "log_unix_epoch", "log_alternate_epoch"), _OUTPUT),
    **dict.fromkeys(
        ("percentile_list", "lat_percentiles", "clat_percentiles", "slat_percentiles", "gtod_reduce"), _OUTPUT
    ),
    **dict.fromkeys(
        ("disable_lat", "disable_clat", "disable_slat", "output", "output-format", "status-interval"), _OUTPUT
    ),
    **dict.fromkeys(
        ("read_iolog", "write_iolog", "replay_redirect", "merge_blktrace_file", "verify_state_load"), _PATH
    ),
    **dict.fromkeys(
        ("verify_dump", "lockfile", "trigger_file", "aux-path", "include", "cgroup", "hugepage-size"), _PATH
    ),
    "allrandrepeat": _SEED,
    **dict.fromkeys(("exec_prerun", "exec_postrun", "ioscheduler", "trigger", "program", "arguments"), _COMMAND),
    **dict.fromkeys(("uid", "gid", "unlink", "unlink_each_loop", "allow_mounted_write"), "it reaches beyond the lab"),
}
