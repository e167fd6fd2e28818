# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scenario file may say, and what is said of one that is wrong: every mistake, at its TOML path, all at once."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.errors import InvalidScenario, UsageError
from nvlab.layers import KINDS
from nvlab.scenario import json_schema, load, loads
from nvlab.scenario.load import MAX_BYTES

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted([*(ROOT / "scenarios").rglob("*.toml"), *(ROOT / "tests/vm/scenarios").glob("*.toml")])

FAULT = '[device.d]\nsize = "64M"\n[device.d.fault.x]\n'
DISK = '[disk.a]\nsize = "64M"\n'
DISKS = '[disk.p]\ncount = 4\nsize = "64M"\n'
EXPORT = DISK + '[export.e]\non = "a"\nhosts = ["c"]\n'
CONNECT = EXPORT + '[connect.c]\nto = "e"\n'


def problems(body: str, head: str = "schema = 1\n") -> list[tuple[str, str]]:
    """What is said of a scenario, as (where, what); nothing for a valid one."""
    try:
        loads(head + body)
    except InvalidScenario as error:
        return [(p.where, p.what) for p in error.problems]
    return []


# -- the file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_our_own_scenarios_are_valid(path):
    scenario = load(path)
    assert scenario.name == path.stem
    assert scenario.title
    assert scenario.text == path.read_text()


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*none.toml: No such file"):
        load(tmp_path / "none.toml")


def test_a_huge_file_is_no_scenario(tmp_path):
    (tmp_path / "big.toml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        load(tmp_path / "big.toml")


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidScenario, match="not UTF-8"):
        load(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("file", "name"),
    [("mine.toml", "mine"), ("My Lab (2).toml", "my-lab-2"), ("2nd.toml", "lab-2nd"), ("x" * 60 + ".toml", "x" * 31)],
)
def test_a_lab_is_called_after_its_file(tmp_path, file, name):
    (tmp_path / file).write_text("schema = 1\n" + DISK)
    assert load(tmp_path / file).name == name


def test_a_lab_may_have_a_name_and_a_title():
    scenario = loads('schema = 1\nname = "other"\ntitle = "A lab"\n' + DISK)
    assert (scenario.name, scenario.title) == ("other", "A lab")


def test_objects_keep_their_order_within_a_table():
    scenario = loads("schema = 1\n" + "".join(f'[disk.{n}]\nsize = "64M"\n' for n in ("b", "a", "c")))
    assert [o.name for o in scenario.of("disk")] == ["b", "a", "c"]


# -- mistakes, one by one --------------------------------------------------------------------------------------

NAME = "a name is a small letter, then small letters, digits, - and _, at most 31 in all"

MISTAKES = {
    "not TOML": ("[disk", "", "it is not TOML: "),
    "an empty file": ("", "", "it describes nothing; begin with a [device.x] or a [disk.x]"),
    "an unknown table": (DISK + "[dsk.b]\n", "dsk", 'is not a table of a scenario; did you mean "disk"?'),
    "a table without names": ('disk = "a"\n[device.d]\nsize = "64M"', "disk", "write [disk.NAME]"),
    "an object that is no table": (
        "disk.b = 1\n" + '[device.d]\nsize = "64M"',
        "disk.b",
        "is not a table; write [disk.NAME]",
    ),
    "a capital in a name": ('[disk.A]\nsize = "64M"', "disk.A", NAME),
    "a name of 32": (f'[disk.{"x" * 32}]\nsize = "64M"', f"disk.{'x' * 32}", NAME),
    "a path as a name": ('[disk."../x"]\nsize = "64M"', "disk.../x", NAME),
    "a name given twice": (DISK + '[device.a]\nsize = "64M"', "disk.a", "the name is taken by device.a"),
    "an unknown key": (
        '[disk.a]\nsize = "64M"\nlatncy = "4ms"',
        "disk.a.latncy",
        'is not a key of this table; did you mean "latency"?',
    ),
    "an unknown key inside": (
        DISKS + '[raid.m]\nlevel = 5\non = "p"\njournal = { on = "a", mod = "write-back" }\n' + DISK,
        "raid.m.journal.mod",
        'did you mean "mode"?',
    ),
    "a missing key": ("[device.d]\n", "device.d.size", "is missing"),
    "a title that is no text": ("title = 5\n" + DISK, "title", "is not text"),
    "a bad lab name": ('name = "A b"\n' + DISK, "name", "a lab's name is a small letter"),
    # values
    "a size without sense": (
        '[disk.a]\nsize = "64X"',
        "disk.a.size",
        "'64X' is not a size; write bytes or a binary unit",
    ),
    "a size that is too small": ('[disk.a]\nsize = "4K"', "disk.a.size", "'4K' is out of range (1M to 16T)"),
    "a size off its step": ('[disk.a]\nsize = "1025K"', "disk.a.size", "'1025K' is not a multiple of 1M"),
    "a size that is a flag": ("[disk.a]\nsize = true", "disk.a.size", 'True is not a size; write it like "512M"'),
    "a time without its unit": (
        '[disk.a]\nsize = "64M"\nlatency = 4',
        "disk.a.latency",
        '4 is not a time; write it with its unit, like "20us"',
    ),
    "a time that is too long": (
        '[disk.a]\nsize = "64M"\nlatency = "1h"',
        "disk.a.latency",
        "'1h' is out of range (0 to 10s)",
    ),
    "a delay that the device has no room for": (
        '[device.d]\nsize = "64M"\nread_delay = "5s"',
        "device.d.read_delay",
        "'5s' is out of range (0 to 4s)",
    ),
    "a count that is text": ('[disk.a]\nsize = "64M"\ncount = "4"', "disk.a.count", "'4' is not a whole number"),
    "a count out of range": ('[disk.a]\nsize = "64M"\ncount = 0', "disk.a.count", "0 is out of range (1 to 32)"),
    "a choice that is none": (
        '[device.d]\nsize = "64M"\nprofile = "intel"',
        "device.d.profile",
        "'intel' is not one of: none, femu, hdd-7200, kv-prototype, optane",
    ),
    "a flag that is text": (
        '[device.d]\nsize = "64M"\nvolatile_cache = "yes"',
        "device.d.volatile_cache",
        "'yes' is neither true nor false",
    ),
    "CPUs that are none": ('[device.d]\nsize = "64M"\ncpus = "two"', "device.d.cpus", "'two' is not a CPU list"),
    "references that are numbers": (
        DISK + "[raid.m]\nlevel = 1\non = [1, 2]",
        "raid.m.on",
        "[1, 2] is neither a name nor a list of names",
    ),
    # devices and disks
    "a CPU that is not there": (
        '[device.d]\nsize = "64M"\ncpus = "2-9"',
        "device.d.cpus",
        "CPU 9 does not exist; the node has 4",
    ),
    "no CPU left": (
        '[device.d]\nsize = "64M"\ncpus = 4',
        "device.d.cpus",
        "the node has 4 CPUs, and one must be left for the load",
    ),
    "a unit that is no power of two": (
        '[device.d]\nsize = "64M"\nio_unit_size = "3K"',
        "device.d.io_unit_size",
        "3072 is not a power of two",
    ),
    "two devices of one module": (
        '[device.d]\nsize = "64M"\ncount = 2\nmodule = "/x.ko"',
        "device.d.count",
        "a stand-in module makes one device",
    ),
    "a fault without its kind": ('[device.d]\nsize = "64M"\nfault.x = {}', "device.d.fault.x.action", "is missing"),
    "a fault of no kind": (
        FAULT + 'action = "explode"',
        "device.d.fault.x.action",
        "'explode' is not one of: status, delay, drop, corrupt, fatal, read-only, link-loss",
    ),
    "an unknown key of a fault": (
        FAULT + 'action = "drop"\nopcod = "read"',
        "device.d.fault.x.opcod",
        'is not a key of this table; did you mean "opcode"?',
    ),
    "a failure without its status": (FAULT + 'action = "status"', "device.d.fault.x.status", 'action = "status" needs it'),
    "a delay of what is lost": (
        FAULT + 'action = "drop"\ndelay = "1s"',
        "device.d.fault.x.delay",
        'only action = "delay" has it, and this one is "drop"',
    ),
    "a range beyond the device": (
        FAULT + 'action = "drop"\nslba = 131071\nnlb = 2',
        "device.d.fault.x.nlb",
        "block 131072 is beyond the device; its last is 131071",
    ),
    "a controller that is not there": (
        FAULT + 'action = "drop"\ncontroller = 2',
        "device.d.fault.x.controller",
        "the device has 1 (see its key controllers)",
    ),
    "a range without its length": (
        FAULT + 'action = "drop"\nslba = 8',
        "device.d.fault.x.nlb",
        "slba = 8 begins a range; nlb says how many blocks it has",
    ),
    "a corrupted flush": (
        FAULT + 'action = "corrupt"\nopcode = "flush"',
        "device.d.fault.x.opcode",
        "flush carries no data to corrupt; use read, write or any",
    ),
    "a probability in per cent": (
        FAULT + 'action = "drop"\nprobability = 50',
        "device.d.fault.x.probability",
        "50 is out of range (0.000001 to 1)",
    ),
    "a probability in words": (
        FAULT + 'action = "drop"\nprobability = "often"',
        "device.d.fault.x.probability",
        "'often' is not a number",
    ),
    "a fault's name that is a path": (
        '[device.d]\nsize = "64M"\n[device.d.fault."../x"]\naction = "drop"',
        "device.d.fault.../x",
        NAME,
    ),
    "too many faults": (
        '[device.d]\nsize = "64M"\n' + "".join(f'[device.d.fault.x{n}]\naction = "drop"\n' for n in range(33)),
        "device.d.fault",
        "33 rules are too many; a device has room for 32",
    ),
    "a trace of no power of two": (
        '[device.d]\nsize = "64M"\ntrace_entries = 1000',
        "device.d.trace_entries",
        "1000 is not a power of two; use 512 or 1024",
    ),
    "a trace of another module": (
        '[device.d]\nsize = "64M"\ntrace = "on"\nmodule = "/x.ko"',
        "device.d.trace",
        "only nvlab.ko has this; leave out the stand-in module, or this key",
    ),
    "a module by a relative path": (
        '[device.d]\nsize = "64M"\nmodule = "x.ko"',
        "device.d.module",
        "'x.ko' is not the absolute path of a .ko file",
    ),
    "a disk without a size": ("[disk.a]\n", "disk.a.size", "a disk of kind null_blk needs a size"),
    "a slow file": (
        '[disk.a]\nkind = "loop"\nsize = "64M"\nlatency = "4ms"',
        "disk.a.latency",
        "only null_blk can be slow, and this disk is loop",
    ),
    "a real disk without its path": ('[disk.a]\nkind = "path"', "disk.a.path", "a disk of kind path needs its path"),
    "an unstable path": (
        '[disk.a]\nkind = "path"\npath = "/dev/sda"',
        "disk.a.path",
        "'/dev/sda' is not a stable path under /dev/disk/by-…",
    ),
    "one path for two disks": (
        '[disk.a]\nkind = "path"\ncount = 2\npath = "/dev/disk/by-id/x"',
        "disk.a.count",
        "a path names one disk; write a table for each",
    ),
    "a wipe where nothing is wiped": (
        '[disk.a]\nsize = "64M"\nwipe = "S1"',
        "disk.a.wipe",
        "only a disk of kind path has this, and this one is null_blk",
    ),
    "two tables of brd": (
        '[disk.a]\nkind = "brd"\nsize = "64M"\n[disk.b]\nkind = "brd"\nsize = "64M"',
        "disk.b.kind",
        "brd makes its disks all at once; use one table with a count",
    ),
    # RAID
    "too few members": (
        DISK + '[raid.m]\nlevel = 5\non = "a"',
        "raid.m.on",
        "RAID 5 needs at least 3 members, and this gives 1",
    ),
    "a level that is none": (
        DISKS + '[raid.m]\nlevel = 3\non = "p"',
        "raid.m.level",
        "3 is not one of: 0, 1, 4, 5, 6, 10",
    ),
    "a journal for RAID 10": (
        DISKS + DISK + '[raid.m]\nlevel = 10\non = "p"\njournal = { on = "a" }',
        "raid.m.journal",
        "a write journal needs RAID level 4, 5 or 6, not 10",
    ),
    "a journal on four disks": (
        DISKS + '[raid.m]\nlevel = 5\non = "p"\njournal = { on = "q" }\n[disk.q]\ncount = 2\nsize = "64M"',
        "raid.m.journal.on",
        "'q' is several devices; name one of them: q.1",
    ),
    "a journal that is too small": (
        DISKS + '[disk.q]\nsize = "2M"\n[raid.m]\nlevel = 5\non = "p"\njournal = { on = "q" }',
        "raid.m.journal.on",
        "a write journal needs at least 4 MiB",
    ),
    "an odd chunk": (
        DISKS + '[raid.m]\nlevel = 5\non = "p"\nchunk = "12K"',
        "raid.m.chunk",
        "a chunk is a power of two, and RAID 1 has none",
    ),
    "a stripe cache without parity": (
        DISKS + '[raid.m]\nlevel = 0\non = "p"\nstripe_cache = 256',
        "raid.m.stripe_cache",
        "RAID 0 has no stripe cache; levels 4, 5 and 6 do",
    ),
    # cache, file system
    "a cache of several": (
        DISKS + '[cache.c]\non = "p"\nsize = "16M"',
        "cache.c.on",
        "'p' is several devices; name one of them: p.1",
    ),
    "write-around of dm-cache": (
        DISK + '[cache.c]\non = "a"\nsize = "16M"\nengine = "dm-cache"',
        "cache.c.mode",
        "dm-cache has no write-around",
    ),
    "a file system on several": (
        DISKS + '[filesystem.f]\non = "p"',
        "filesystem.f.on",
        "'p' is several devices; name one of them: p.1",
    ),
    "xfs on little": (DISK + '[filesystem.f]\non = "a"\ntype = "xfs"', "filesystem.f.on", "xfs needs at least 300 MiB"),
    # export, connect
    "an address without a port": (
        DISK + '[export.e]\non = "a"\nlisten = "127.0.0.1"\nallow_any_host = true',
        "export.e.listen",
        "is not an address and a port",
    ),
    "an address that is none": (
        DISK + '[export.e]\non = "a"\nlisten = "300.0.0.1:1"\nallow_any_host = true',
        "export.e.listen",
        "300.0.0.1 is not an IP address",
    ),
    "a port that is none": (
        DISK + '[export.e]\non = "a"\nlisten = "127.0.0.1:99999"\nallow_any_host = true',
        "export.e.listen",
        "99999 is not a TCP port",
    ),
    "an export for nobody": (
        DISK + '[export.e]\non = "a"',
        "export.e.hosts",
        "nobody could connect; name the hosts, or set allow_any_host = true",
    ),
    "hosts and anybody": (
        DISK + '[export.e]\non = "a"\nhosts = ["c"]\nallow_any_host = true\n[connect.c]\nto = "e"',
        "export.e.hosts",
        "the kernel takes named hosts or allow_any_host, not both",
    ),
    "a host that is nobody": (EXPORT, "export.e.hosts", "'c' is neither a connect table of this file nor a host NQN"),
    "a host that is not let in": (
        CONNECT + '[connect.d]\nto = "e"',
        "connect.d.to",
        "export 'e' does not let \"d\" in; add it to its hosts",
    ),
    "a namespace that is not there": (CONNECT + "nsid = 2", "connect.c.nsid", "export 'e' has 1 namespace"),
    "to every address": (
        DISK + '[export.e]\non = "a"\nlisten = "0.0.0.0:4420"\nhosts = ["c"]\n[connect.c]\nto = "e"',
        "connect.c.to",
        "listens on every address; name the one to connect to",
    ),
    # wire
    "a port alone without a wire": (
        DISK + '[export.e]\non = "a"\nlisten = ":4420"\nallow_any_host = true',
        "export.e.listen",
        '":4420" has no address; only an export over a wire does without',
    ),
    "an address beside a wire": (
        DISK + '[wire.w]\n[export.e]\non = "a"\nover = "w"\nlisten = "127.0.0.1:4420"\nallow_any_host = true',
        "export.e.listen",
        "over 'w' it listens on that wire's own address, not on 127.0.0.1; say the port alone, \":4420\", or leave over out",
    ),
    "an export over a disk": (
        DISK + '[export.e]\non = "a"\nover = "a"\nallow_any_host = true',
        "export.e.over",
        '"a" is a disk; this wants a wire',
    ),
    "an mtu that is too small": ("[wire.w]\nmtu = 575", "wire.w.mtu", "575 is out of range (576 to 65521)"),
    "an mtu that is too large": ("[wire.w]\nmtu = 65522", "wire.w.mtu", "65522 is out of range (576 to 65521)"),
    "a delay that tc cannot tell": (
        '[wire.w]\ndelay = "1500ns"',
        "wire.w.delay",
        'it is told in whole microseconds; write it like "20us"',
    ),
    "a network of one address": ('[wire.w]\nnetwork = "10.0.0.1"', "wire.w.network", "is not an IPv4 network of four addresses"),
    "a network that begins in its middle": (
        '[wire.w]\nnetwork = "10.0.0.1/30"',
        "wire.w.network",
        "10.0.0.1/30 is no network of four addresses: its last number must be a multiple of 4",
    ),
    "a network of somebody's": ('[wire.w]\nnetwork = "8.8.8.8/30"', "wire.w.network", "8.8.8.8/30 may be somebody's"),
    "a network of two wires": (
        '[wire.v]\nnetwork = "10.0.0.0/30"\n[wire.w]\nnetwork = "10.0.0.0/30"',
        "wire.w.network",
        "10.0.0.0/30 is wire.v's already",
    ),
    # media
    "a delay of an ssd": (
        '[device.d]\nsize = "64M"\nprofile = "qlc"\nread_delay = "1us"',
        "device.d.read_delay",
        "its speed follows from device.d.medium",
    ),
    "a map in memory that zones do without": (
        '[device.d]\nsize = "64M"\nprofile = "zns-prototype"\nmedium = { mapping_cache = 64 }',
        "device.d.medium.mapping_cache",
        "this is for kind ssd: leave it out, or set 0",
    ),
    "a medium of none": (
        '[device.d]\nsize = "64M"\nprofile = "optane"\nmedium = { spare = 1 }',
        "device.d.medium",
        "no SSD or disk; those are: femu",
    ),
    "a parameter that is none": (
        '[device.d]\nsize = "64M"\nprofile = "qlc"\nmedium = { spair = 1 }',
        "device.d.medium",
        "did you mean 'spare'?",
    ),
    "a parameter out of range": (
        '[device.d]\nsize = "64M"\nprofile = "qlc"\nmedium = { dies = 65 }',
        "device.d.medium",
        "dies: 65 is out of range (1 to 64)",
    ),
    # workload
    "a load on several": (
        DISKS + '[workload.w]\non = "p"\nfio = { rw = "read" }',
        "workload.w.on",
        "'p' is several devices; name one of them: p.1",
    ),
    "a baseline that is no target": (
        DISK + '[workload.w]\non = "a"\nbaseline = "b"\nfio = { rw = "read" }\n[disk.b]\nsize = "64M"',
        "workload.w.baseline",
        "'b' is not among its targets (a)",
    ),
    "a key fio may not have": (
        DISK + '[workload.w]\non = "a"\nfio = { rw = "read", filename = "/dev/sda" }',
        "workload.w.fio.filename",
        "",
    ),
    "a command in disguise": (
        DISK + '[workload.w]\non = "a"\nfio = { rw = "read", exec_prerun = "sh" }',
        "workload.w.fio.exec_prerun",
        "",
    ),
}


@pytest.mark.parametrize(("body", "where", "what"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_said_at_its_place(body, where, what):
    found = problems(body)
    assert any(w == where and what in said for w, said in found), found


@pytest.mark.parametrize(("body", "where", "what"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_said_once_and_alone(body, where, what):
    """One mistake is one line: what follows from it is not reported on top."""
    assert len(problems(body)) == 1, problems(body)


def test_the_format_has_a_version():
    assert problems(DISK, head="") == [
        ("schema", "write schema = 1 (the version of the format) at the top of the file")
    ]
    assert problems(DISK, head="schema = 2\n")[0][0] == "schema"
    assert problems(DISK, head="schema = true\n")[0][0] == "schema"
    assert problems(DISK, head="schema = 1.0\n")[0][0] == "schema"


def test_everything_that_is_wrong_is_said_at_once():
    body = """
        [disk.pool]
        count = 4
        size = "64M"
        latncy = "4ms"
        [disk.other]
        size = "lots"
        [disk.fine]
        count = 4
        size = "64M"
        [raid.md]
        level = 10
        on = "fine"
        journal = { on = "fine.1" }
        [cache.ram]
        on = "mdd"
        size = "16M"
    """
    wheres = [where for where, _ in problems(body)]
    assert wheres == ["disk.pool.latncy", "disk.other.size", "cache.ram.on", "raid.md.journal"]


def test_the_message_reads_as_the_design_shows():
    with pytest.raises(InvalidScenario) as caught:
        loads("schema = 1\n" + DISK + '[cache.ram]\non = "aa"\nsize = "16M"\nmode = "x"\n', source="mine.toml")
    assert str(caught.value).splitlines()[0] == "mine.toml has 1 problem"
    assert caught.value.exit_code == 2


# -- the loader never breaks -------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.none().map(lambda _: "a.1"),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=True),
    TEXTS,
    st.dates(),
    st.sampled_from(["64M", "4ms", "a", "a.2", "b.1", "2-3", "127.0.0.1:4420", "5", "write-back"]),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


def toml(value: object) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return repr(value)
        case str():
            escaped = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
            return f'"{"".join(escaped)}"'
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    return str(value)


@st.composite
def wild_scenarios(draw) -> str:
    """Real tables and real keys, with anything for values."""
    lines = ["schema = 1"]
    for table in draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4, unique=True)):
        keys = list(KINDS[table].spec.__dataclass_fields__)
        lines.append(f"[{table}.{table[0]}]")
        lines += [
            f"{key} = {toml(draw(VALUES))}" for key in draw(st.lists(st.sampled_from(keys), unique=True, max_size=5))
        ]
    return "\n".join(lines)


@settings(max_examples=60, deadline=None)
@given(wild_scenarios())
def test_any_values_end_in_a_scenario_or_in_its_problems(text):
    try:
        loads(text)
    except InvalidScenario as error:
        assert error.problems
        assert all(p.what for p in error.problems)


@given(st.text())
def test_any_text_ends_in_problems(text):
    with pytest.raises(InvalidScenario):
        loads(text)


@given(st.from_regex(r"[a-z][a-z0-9_-]{0,30}", fullmatch=True))
def test_any_name_of_the_form_is_a_name(name):
    assert loads(f'schema = 1\n[disk.{name}]\nsize = "64M"').of("disk")[0].name == name


# -- the JSON Schema for editors -----------------------------------------------------------------------------------


SCHEMA = json_schema()


@pytest.fixture(scope="module")
def schema():
    return SCHEMA


def accepts(schema, text: str) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(tomllib.loads(text))


def test_it_is_a_schema(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    json.dumps(schema)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_it_accepts_our_own_scenarios(schema, path):
    assert accepts(schema, path.read_text())


SHAPES = [
    "an unknown table",
    "a table without names",
    "an object that is no table",
    "a capital in a name",
    "a name of 32",
    "an unknown key",
    "an unknown key inside",
    "a missing key",
    "a title that is no text",
    "a bad lab name",
    "a size that is a flag",
    "a time without its unit",
    "a count that is text",
    "a count out of range",
    "a choice that is none",
    "a flag that is text",
    "references that are numbers",
    "a module by a relative path",
    "an unstable path",
    "a level that is none",
    "an address without a port",
    "a size without sense",
    "CPUs that are none",
]


@pytest.mark.parametrize("name", SHAPES)
def test_it_refuses_what_has_a_wrong_shape(schema, name):
    assert not accepts(schema, "schema = 1\n" + MISTAKES[name][0])


@settings(max_examples=60, deadline=None)
@given(wild_scenarios())
def test_it_refuses_nothing_that_the_loader_takes(text):
    if not problems(text, head=""):
        assert accepts(SCHEMA, text)


def test_every_key_is_described(schema):
    for table, kind in KINDS.items():
        spec = schema["properties"][table]["additionalProperties"]
        assert schema["properties"][table]["description"] == kind.doc
        assert all(prop.get("description") for prop in spec["properties"].values()), table
    for spec in schema["$defs"].values():
        assert all(prop.get("description") for prop in spec["properties"].values())
