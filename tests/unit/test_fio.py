# SPDX-License-Identifier: GPL-2.0-or-later
"""fio jobs: what a scenario may say, what is refused, and the job file that comes out."""

from __future__ import annotations

import subprocess
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.errors import InvalidScenario
from nvlab.workload.fio import (
    Target,
    check_job,
    default_engine,
    fio_argv,
    job_sections,
    parse_job_file,
    planned_seconds,
    render_job,
)
from nvlab.workload.keys import ALIASES, KEYS, REFUSED

DEVICE = Target("device", "/dev/nvme1n1")


def rendered(table, *, name="load", target=DEVICE, **options):
    options = {"seed": 7, "engine": "io_uring"} | options
    return render_job(job_sections(table, name, target.kind), target, **options)


def problems(table, target="device"):
    return [f"{p.where}: {p.what}" for p in check_job(table, "workload.w.fio", target)]


GOLDEN_DEVICE = """\
[global]
filename=/dev/nvme1n1
allow_file_create=0
direct=1
ioengine=io_uring
thread=1
time_based=1
runtime=10s
group_reporting=1
randseed=7
lat_percentiles=1
clat_percentiles=1
verify_state_save=0
log_alternate_epoch=1
log_alternate_epoch_clock_id=1

[load]
new_group=1
write_lat_log=log/load
rw=randrw
bs=4k
iodepth=8
runtime=10s
"""

GOLDEN_PROFILE = """\
[global]
directory=/run/nvlab/fs
filename_format=nvlab.$jobnum.$filenum
direct=1
ioengine=libaio
thread=1
time_based=1
runtime=10s
group_reporting=1
randseed=7
lat_percentiles=1
clat_percentiles=1
verify_state_save=0

[randread]
new_group=1
bs=4k
iodepth=32
numjobs=16
refill_buffers=1
size=64m
rw=randread

[randwrite]
new_group=1
bs=4k
iodepth=32
numjobs=16
refill_buffers=1
size=64m
rw=randwrite
stonewall=1
"""

PROFILE = """
bs = "4k"
iodepth = 32
numjobs = 16
refill_buffers = true
size = "64M"
randread  = { rw = "randread" }
randwrite = { rw = "randwrite", stonewall = true }
"""


def test_a_table_becomes_a_job_with_one_section_named_after_the_workload():
    table = {"rw": "randrw", "bs": "4k", "iodepth": 8, "runtime": "10s"}
    assert rendered(table) == GOLDEN_DEVICE


def test_sub_tables_become_sections_in_their_order_and_share_one_set_of_files():
    target = Target("directory", "/run/nvlab/fs")
    job = rendered(tomllib.loads(PROFILE), target=target, engine="libaio", trace=False)
    assert job == GOLDEN_PROFILE


SAMPLES = (True, 1, 50, "64k", "1s", "4k-8k", "4k/60:8k/40", "0xaa", "0-1", "EIO")
CHOSEN = {
    "rw": "randrw",
    "rw_sequencer": "identical",
    "random_distribution": "zipf:1.2",
    "random_generator": "tausworthe64",
    "ioengine": "psync",
    "io_submit_mode": "offload",
    "file_service_type": "roundrobin",
    "fallocate": "none",
    "zonemode": "strided",
    "rate_process": "poisson",
    "sync": "dsync",
    "verify": "crc32c",
    "continue_on_error": "io",
    "cpus_allowed_policy": "split",
    "mem": "mmap",
    "clocksource": "clock_gettime",
}


def accepted(kind, sample):
    try:
        return kind(sample)
    except ValueError:
        return None


def test_fio_itself_accepts_every_key_of_the_allow_list(tmp_path):
    values = {
        key: next(s for s in (CHOSEN.get(key), *SAMPLES) if s is not None and accepted(kind, s))
        for key, kind in KEYS.items()
    }
    table = {"rw": "randrw", "zonesize": "1M", "size": "4M"} | {
        f"job-{key}": {key: value} for key, value in values.items()
    }
    job = tmp_path / "job.fio"
    job.write_text(rendered(table, target=Target("directory", str(tmp_path))))
    done = subprocess.run(["fio", "--parse-only", str(job)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Bad option" not in done.stdout


def test_every_problem_is_reported_at_once_with_its_path_and_a_suggestion():
    table = {"bs": "4q", "iodeph": 8, "exec_prerun": "rm -rf /", "numjobs": 100_000, "rw": "randrw"}
    assert problems(table) == [
        "workload.w.fio.bs: '4q' is not a size; write bytes or a binary unit: 4096, 64K, 512M, 2G",
        "workload.w.fio.iodeph: is not a fio key that nvlab knows; did you mean 'iodepth'?",
        "workload.w.fio.exec_prerun: a scenario cannot set this: it can run a command on the node",
        "workload.w.fio.numjobs: 100000 is not between 1 and 256",
    ]


@pytest.mark.parametrize(
    ("table", "target", "said"),
    [
        ({"bs": "4k"}, "device", "w.fio.rw: is missing"),
        ({"rw": "read"}, "directory", "w.fio.size: is missing"),
        ({"rw": "read", "size": "50%"}, "directory", "w.fio.size: is a share"),
        ({"rw": "read", "ioengine": "psync", "iodepth": 4}, "device", "w.fio.iodepth: psync keeps one I/O in flight"),
        ({"rw": "read", "bs": 1000}, "device", "w.fio.bs: direct I/O needs a multiple of 512"),
        ({"rw": "read", "bs": "16M", "iodepth": 4096}, "device", "w.fio: bs × iodepth × numjobs is 64 GiB"),
        ({"rw": "read", "thread": False}, "device", "w.fio.thread: cannot be turned off"),
        ({"rw": "read", "runtime": "1us"}, "device", "w.fio.runtime: 1us is not between 10ms"),
        ({"rw": "read", "bs": ["4k"]}, "device", "w.fio.bs: ['4k'] is not a value"),
        ({"a b": {"rw": "read"}}, "device", "w.fio.a b: is not the name of a section"),
        ({"one": {"rw": "read", "bs": "x"}}, "device", "w.fio.one.bs: 'x' is not a size"),
        ({"one": {"bs": "4k"}}, "device", "w.fio.one.rw: is missing"),
    ],
)
def test_a_problem_says_where_and_what(table, target, said):
    assert any(said in line for line in problems(table, target)), problems(table, target)


def test_rendering_what_is_wrong_raises_all_problems():
    with pytest.raises(InvalidScenario, match="2 problems"):
        job_sections({"bs": "4q", "rw": "up"}, "load")


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_what_names_paths_commands_or_outputs_is_refused_with_a_reason(key):
    assert f"workload.w.fio.{key}: a scenario cannot set this" in problems({"rw": "read", key: "x"})[0]


def test_no_key_is_both_allowed_and_refused():
    assert not set(REFUSED) & (set(KEYS) | set(ALIASES))
    assert set(ALIASES.values()) <= set(KEYS)


HOSTILE = [
    "${HOME}",
    "$(id)",
    "4k\nexec_prerun=id",
    "4k;x",
    "/etc/passwd",
    "../x",
    "'/etc/passwd'",
    "external:/tmp/x.so",
    "%o",
    "a,b:/c",
]


VALUES = st.one_of(
    st.text(max_size=30), st.text("0123456789kms./:,-%x", max_size=9), st.integers(), st.floats(), st.booleans()
)


def test_no_key_takes_a_hostile_value():
    assert [(key, value) for key, kind in KEYS.items() for value in HOSTILE if accepted(kind, value) is not None] == []


@settings(max_examples=1000)
@given(st.sampled_from(sorted(KEYS)), VALUES)
def test_no_value_carries_a_path_a_variable_or_a_second_line(key, value):
    text = accepted(KEYS[key], value)
    if text is None:
        return
    assert not set(text) & set("\n\r\0$'\"\\;#()` "), text
    assert text.isascii()
    shares = key in {
        "bssplit",
        "random_distribution",
    }  # 4k/60: a share, and no file name begins with a digit and a slash
    assert "/" not in text or shares, text


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.text(max_size=12), st.integers(), st.none()), max_size=5))
def test_any_table_is_either_refused_or_rendered(table):
    if not check_job(table, "w"):
        assert "\n\n[load]\n" in rendered(table)


def test_a_job_file_reads_like_fio_reads_it():
    text = """
    ; a published profile
    [global]
    bs=4k
    iodepth=32
    group_reporting
    [randread]
    rw=randread
    [global]
    iodepth=1
    [randwrite]
    stonewall
    readwrite=randwrite
    timeout=60
    """
    table = parse_job_file(text)
    assert table == {
        "bs": "4k",
        "iodepth": "32",
        "group_reporting": True,
        "randread": {"rw": "randread"},
        "randwrite": {"iodepth": "1", "stonewall": True, "readwrite": "randwrite", "timeout": "60"},
    }
    first, second = job_sections(table, "w")
    assert first.keys["iodepth"] == "32"
    assert second.keys | {"iodepth": "1", "rw": "randwrite", "runtime": "60s", "stonewall": "1"} == second.keys


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a]\nrw=read\n[a]\n", "line 3: section 'a' appears twice"),
        ("[a b]\n", "line 1: '\\[a b\\]' is not the name of a section"),
        ("=4\n", "line 1: '=4' is neither"),
        ("[a\n", "line 1"),
    ],
)
def test_a_broken_job_file_is_named_by_its_line(text, said):
    with pytest.raises(ValueError, match=said):
        parse_job_file(text)


def test_an_include_in_a_job_file_is_refused():
    assert "include" in problems(parse_job_file("[a]\nrw=read\ninclude /etc/shadow\n"))[0]


@pytest.mark.parametrize("path", ["/dev/x y", "relative", "/dev/../etc/shadow", "/dev/a\nb", "", "/dev/$HOME"])
def test_a_target_that_fio_could_take_for_something_else_is_refused(path):
    with pytest.raises(ValueError, match="not a path"):
        rendered({"rw": "read"}, target=Target("device", path))


def test_a_colon_in_a_path_does_not_name_two_files():
    assert "filename=/dev/disk/by-path/pci-0\\:1\n" in rendered(
        {"rw": "read"}, target=Target("device", "/dev/disk/by-path/pci-0:1")
    )


def test_sections_between_stonewalls_run_side_by_side():
    table = {
        "rw": "read",
        "runtime": "10s",
        "a": {"ramp_time": "2s"},
        "b": {},
        "c": {"stonewall": True, "runtime": "5s"},
        "d": {"startdelay": "1500ms", "runtime": "5s"},
    }
    assert planned_seconds(job_sections(table, "w")) == 12 + 6.5


def test_the_seed_makes_a_random_job_repeatable_and_another_seed_another_job(tmp_path):
    (tmp_path / "image").write_bytes(bytes(1 << 20))

    def offsets(seed):
        sections = job_sections({"rw": "randrw", "number_ios": 100, "time_based": False, "ioengine": "psync"}, "w")
        job = render_job(sections, Target("device", f"{tmp_path}/image"), seed=seed, engine="psync", trace=False)
        (tmp_path / "job.fio").write_text(job + f"write_lat_log={tmp_path}/{seed}\nlog_offset=1\nper_job_logs=0\n")
        subprocess.run(["fio", "--output=/dev/null", f"{tmp_path}/job.fio"], check=True, timeout=30)
        lines = (tmp_path / f"{seed}_lat.log").read_text().splitlines()
        (tmp_path / f"{seed}_lat.log").unlink()
        return [line.split(", ")[2:] for line in lines]

    assert len(offsets(1)) == 100
    assert offsets(1) == offsets(1)
    assert offsets(1) != offsets(2)


def test_fio_dies_with_its_parent_and_writes_only_where_it_is_told():
    assert fio_argv() == [
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *("fio", "--output-format=json+", "--output=fio.json", "--eta=always", "--eta-interval=500ms", "job.fio"),
    ]


def test_the_engine_is_one_that_this_kernel_has():
    assert default_engine() in {"io_uring", "libaio"}
