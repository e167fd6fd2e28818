# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency by layer: the kernel's types, the programs at its tracepoints, and what is made of their counts."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from bpf import Machine
from hypothesis import given
from hypothesis import strategies as st

from nvlab.analysis.durability import HELD, NOT_NEEDED, PASSED, SWALLOWED, truth_table
from nvlab.errors import EnvironmentNotReady
from nvlab.kernel.btf import Btf
from nvlab.planner import make_plan
from nvlab.record.blockprobe import (
    BUCKETS,
    FLAGS,
    KINDS,
    OPS,
    Layout,
    Maps,
    Target,
    answered,
    commanded,
    completed,
    ended,
    first_bucket,
    issued,
    programs,
    queued,
    target_programs,
)
from nvlab.record.blocktrace import BlockTracer
from nvlab.record.buckets import bucket_of
from nvlab.record.durability import reached
from nvlab.scenario import loads
from nvlab.scenario.compare import variants

STRUCTS = {  # with a hole in each, so that nothing is where it is by chance
    "bio": {"bi_next": 0, "bi_bdev": 8, "bi_opf": 16, "bi_iter": 32},
    "bvec_iter": {"bi_sector": 0, "bi_size": 8},
    "block_device": {"bd_start_sect": 0, "bd_dev": 24},
    "gendisk": {"major": 4, "first_minor": 8},
    "request": {"q": 0, "cmd_flags": 16, "bio": 24},
    "request_queue": {"disk": 8},
}
ENUM = {"__REQ_SYNC": 11, "__REQ_FUA": 17, "__REQ_PREFLUSH": 18}
FUA, PREFLUSH = 1 << 17, 1 << 18


TARGET = {"nvmet_req": {"cmd": 0, "ns": 16}, "nvmet_ns": {"ref": 0, "bdev": 8}}


def btf(structs=STRUCTS, enum=ENUM, base=b"") -> bytes:
    """Types that go on from those with the strings of ``base``."""
    strings = bytearray(b"a_type_before\0" if base else b"\0a_type_before\0")

    def word(name):
        strings.extend(name.encode() + b"\0")
        return len(base) + len(strings) - len(name) - 1

    types = struct.pack("<IIII", word("int"), 1 << 24, 4, 32)
    for name, members in structs.items():
        types += struct.pack("<III", word(name), 4 << 24 | len(members), 64)
        types += b"".join(struct.pack("<III", word(m), 1, at * 8) for m, at in members.items())
    types += struct.pack("<III", word("req_flag_bits"), 6 << 24 | len(enum), 4)
    types += b"".join(struct.pack("<Ii", word(e), v) for e, v in enum.items())
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + bytes(strings)


@pytest.fixture(scope="module")
def types(tmp_path_factory) -> Btf:
    path = tmp_path_factory.mktemp("btf") / "vmlinux"
    path.write_bytes(btf())
    return Btf(path)


@pytest.fixture(scope="module")
def target(types, tmp_path_factory) -> Target:
    path = tmp_path_factory.mktemp("btf") / "nvmet"
    path.write_bytes(btf(TARGET, base=types._strings))
    return Target.of(Btf(path, types))


@pytest.fixture(scope="module")
def layout(types) -> Layout:
    return Layout.of(types)


def test_members_and_enumerators_are_where_the_kernel_says(types, layout):
    assert types.offsets("request", ("bio", "q")) == {"bio": 24, "q": 0}
    assert (layout.flush, layout.fua) == (PREFLUSH, FUA)
    with pytest.raises(ValueError, match="no struct bio with bi_cookie"):
        types.offsets("bio", ("bi_cookie",))
    with pytest.raises(ValueError, match="no struct nonesuch"):
        types.offsets("nonesuch", ())


def test_a_modules_types_go_on_from_the_kernels(types, target):
    assert (target.request, target.namespace) == ({"ns": 16}, {"bdev": 8})
    with pytest.raises(ValueError, match="no struct nvmet_req"):
        Target.of(types)


def test_what_is_no_btf_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"ELF and so on, long enough for a header")
    with pytest.raises(ValueError, match="not BTF"):
        Btf(tmp_path / "x")


@given(st.data())
def test_damaged_btf_is_an_error_and_no_crash(tmp_path_factory, data):
    whole = btf()
    cut = bytearray(whole[: data.draw(st.integers(24, len(whole)))])
    for at in data.draw(st.lists(st.integers(24, len(cut) - 1), max_size=4)) if len(cut) > 24 else ():
        cut[at] ^= 0xFF
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(cut)
    try:
        Layout.of(Btf(path))
    except ValueError:
        return


DEVICES, BIOS, REQUESTS, LATENCIES, COUNTED, LOST = range(10, 16)
SIZES = {DEVICES: (4, 4), BIOS: (8, 16), REQUESTS: (8, 16), LATENCIES: (4, 8), COUNTED: (4, 8), LOST: (4, 8)}
MAPS = Maps(*range(10, 16))
DEVICE, OTHER = 259 << 20 | 3, 7 << 20


class Zeros(dict):
    """An array: every entry is there."""

    def __contains__(self, key):
        return True

    def __missing__(self, key):
        return bytes(8)

    def at(self, index):
        return int.from_bytes(self[struct.pack("<I", index)], "little")


class Kernel(Machine):
    """Bios and requests in memory, and the programs run as the kernel would. One device, in slot 1."""

    def __init__(self, layout):
        maps = {DEVICES: {struct.pack("<I", DEVICE): struct.pack("<I", 1)}, BIOS: {}, REQUESTS: {}}
        super().__init__(maps | {fd: Zeros() for fd in (LATENCIES, COUNTED, LOST)}, SIZES, {})
        self.layout = layout

    def bio(self, address, opf=0, size=4096, device=DEVICE, after=0):
        part = 0x900000 + address
        self.memory[part] = struct.pack("<24xI4x", device)
        self.memory[address] = struct.pack("<QQI12xQI4x", after, part, opf, 0, size)
        return address

    def request(self, address, bio=0, flags=0, device=DEVICE):
        queue, disk = 0xA00000 + address, 0xB00000 + address
        self.memory[disk] = struct.pack("<4xII4x", device >> 20, device & 0xFFFFF)
        self.memory[queue] = struct.pack("<QQ", 0, disk)
        self.memory[address] = struct.pack("<QQI4xQ", queue, 0, flags, bio)
        return address

    def command(self, address, opcode, device=DEVICE):
        """A request of the target's, on a namespace if there is a device, and its command."""
        namespace, part, command = 0xC00000 + address, 0xD00000 + address, 0xE00000 + address
        self.memory[part] = struct.pack("<24xI4x", device)
        self.memory[namespace] = struct.pack("<QQ", 0, part)
        self.memory[command] = struct.pack("<I60x", 0xABCD4000 | opcode)
        self.memory[address] = struct.pack("<QQQ", command, 0, namespace if device else 0)
        return address, command

    def happens(self, program, now, *arguments):
        self.now = now
        assert self.run(program.code(), *arguments) == 0

    def latencies(self):
        """{(kind, op): buckets}"""
        found: dict = {}
        for key, count in self.maps[LATENCIES].items():
            of, bucket = divmod(int.from_bytes(key, "little") - first_bucket(1, 0, 0), BUCKETS)
            found.setdefault(divmod(of, 4), []).extend([bucket] * int.from_bytes(count, "little"))
        return found

    def flags(self):
        return {flag: n for i, flag in enumerate(FLAGS) if (n := self.maps[COUNTED].at(len(FLAGS) + i))}


@given(st.integers(0, 1 << 44), st.sampled_from([(0, 0), (1, 1), (7, 1), (3, 2), (9, 2)]))
def test_a_bio_is_counted_in_fios_bucket_of_its_latency(layout, latency, op):
    kernel = Kernel(layout)
    kernel.happens(queued(layout, MAPS), 1000, kernel.bio(0x1000, opf=op[0] | 1 << 11))
    kernel.happens(ended(MAPS), 1000 + latency, 0, 0x1000)
    assert kernel.latencies() == {(0, op[1]): [int(bucket_of(np.array([latency]))[0])]}
    assert kernel.maps[BIOS] == {}
    kernel.happens(ended(MAPS), 5000 + latency, 0, 0x1000)
    assert sum(map(len, kernel.latencies().values())) == 1, "it ended once"


def test_what_is_of_no_watched_device_is_left_alone(layout):
    kernel = Kernel(layout)
    kernel.happens(queued(layout, MAPS), 1, kernel.bio(0x1000, device=OTHER))
    kernel.happens(issued(layout, MAPS), 2, kernel.request(0x5000, 0x1000, device=OTHER))
    kernel.happens(completed(layout, MAPS), 3, 0x5000)
    assert (kernel.latencies(), kernel.flags(), kernel.maps[BIOS], kernel.maps[REQUESTS]) == ({}, {}, {}, {})


def test_a_completed_request_ends_all_bios_that_it_carries(layout):
    kernel = Kernel(layout)
    kernel.bio(0x1000, opf=1, after=kernel.bio(0x2000, opf=1, after=kernel.bio(0x3000, opf=1)))
    for now, bio in ((10, 0x1000), (20, 0x2000), (30, 0x3000)):
        kernel.happens(queued(layout, MAPS), now, bio)
    kernel.happens(issued(layout, MAPS), 40, kernel.request(0x5000, 0x1000, flags=1))
    kernel.happens(completed(layout, MAPS), 100, 0x5000)
    assert kernel.latencies() == {(0, 1): [90, 80, 70], (1, 1): [60]}
    assert kernel.maps[LOST].at(0) == 0


def test_a_request_with_more_bios_than_are_looked_at_is_said(layout):
    kernel, last = Kernel(layout), 0
    for n in range(40):
        last = kernel.bio(0x1000 * (n + 1), after=last)
        kernel.happens(queued(layout, MAPS), 0, last)
    kernel.happens(completed(layout, MAPS), 50, kernel.request(0x80000, last))
    assert len(kernel.latencies()[0, 0]) == 32
    assert kernel.maps[LOST].at(0) == 1


def test_a_request_of_a_path_counts_for_the_device_that_got_its_bio(layout):
    kernel = Kernel(layout)
    kernel.happens(queued(layout, MAPS), 10, kernel.bio(0x1000))
    kernel.happens(issued(layout, MAPS), 20, kernel.request(0x5000, 0x1000, device=OTHER))
    kernel.happens(completed(layout, MAPS), 50, 0x5000)
    assert kernel.latencies() == {(0, 0): [40], (1, 0): [30]}


def test_flush_and_fua_are_counted_where_they_come_by(layout):
    kernel = Kernel(layout)
    kernel.happens(queued(layout, MAPS), 0, kernel.bio(0x1000, opf=1 | PREFLUSH, size=0))
    kernel.happens(ended(MAPS), 5, 0, 0x1000)
    kernel.happens(queued(layout, MAPS), 0, kernel.bio(0x2000, opf=1 | PREFLUSH | FUA))
    kernel.happens(ended(MAPS), 9, 0, 0x2000)
    kernel.happens(issued(layout, MAPS), 0, kernel.request(0x5000, flags=2 | PREFLUSH))
    kernel.happens(completed(layout, MAPS), 7, 0x5000)
    assert kernel.flags() == {"bio flush": 2, "bio fua": 1, "request flush": 1, "bio": 2}
    assert kernel.latencies() == {(0, 3): [5], (0, 1): [9], (1, 3): [7]}


def test_every_instruction_is_reached(layout, target):
    """A kernel takes no program of which some is not."""
    for _, program in (*programs(layout, MAPS), *target_programs(layout, target, MAPS)):
        code = program.code()
        seen, ahead = set(), [0]
        while ahead:
            at = ahead.pop()
            if at not in seen:
                seen.add(at)
                opcode, _, offset, _ = struct.unpack_from("<BBhi", code, 8 * at)
                jumps = [at + 1 + offset] if opcode & 7 == 5 and opcode not in (0x85, 0x95) else []
                ahead += jumps + [at + (2 if opcode == 0x18 else 1)] * (opcode not in (0x05, 0x95))
                seen |= {at + 1} if opcode == 0x18 else set()
        assert seen == set(range(len(code) // 8))


@pytest.mark.parametrize(("opcode", "op"), [(0, "flush"), (1, "write"), (2, "read"), (0x7D, "write"), (9, "trim")])
def test_a_command_is_counted_for_the_device_that_the_target_exports(layout, target, opcode, op):
    kernel = Kernel(layout)
    kernel.happens(commanded(layout, target, MAPS), 10, *kernel.command(0x7000, opcode))
    kernel.happens(answered(MAPS), 60, 0x7000)
    assert kernel.latencies() == {(KINDS.index("command"), OPS.index(op)): [50]}
    assert (kernel.maps[REQUESTS], kernel.flags()) == ({}, {})


@pytest.mark.parametrize("device", [0, OTHER])
def test_a_command_for_no_watched_device_is_left_alone(layout, target, device):
    kernel = Kernel(layout)
    kernel.happens(commanded(layout, target, MAPS), 10, *kernel.command(0x7000, 2, device))
    kernel.happens(answered(MAPS), 60, 0x7000)
    assert (kernel.latencies(), kernel.maps[REQUESTS]) == ({}, {})


def test_a_kernel_with_other_types_is_an_environment_that_is_not_ready(monkeypatch, tmp_path):
    (tmp_path / "other").write_bytes(btf({"bio": {"bi_next": 0}}))
    monkeypatch.setattr("nvlab.record.blockbpf.Btf", lambda: Btf(tmp_path / "other"))
    with pytest.raises(EnvironmentNotReady, match="no struct bio with"):
        BlockTracer((), "bpf").start()


STACK = {"client": ["ram"], "ram": ["md"], "md": ["a", "b"], "other": ["c"]}


def tried(on, do="flush", **seen):
    return [{"on": on, "do": do, "seen": {n: {f"bio {flag}": 1} for n, flag in seen.items()}, "error": ""}] * 3


def table(caches, tries):
    queues = {layer: {"write_cache": cache, "fua": "1"} for layer, cache in caches.items()}
    return {row.layer: row for row in truth_table({"queues": queues, "tries": tries}, STACK, "client")}


def test_the_truth_table_says_who_passes_a_flush_on():
    back, through = "write back", "write through"
    caches = {"a": back, "b": through, "md": back, "ram": through, "client": back}
    tries = [*tried("a", a="flush"), *tried("b"), *tried("md", md="flush", a="flush"), *tried("ram")]
    tries += [*tried("client", client="flush"), *tried("client", "fua", client="fua", a="flush")]
    rows = table(caches, tries)
    assert list(rows) == ["client", "ram", "md", "b", "a"]
    assert {n: r.flush for n, r in rows.items()} == {
        "client": NOT_NEEDED, "ram": SWALLOWED, "md": PASSED, "b": "no cache", "a": "done"
    }  # fmt: skip
    assert rows["ram"].lost == ("md",)
    assert {n: r.fua for n, r in rows.items()} == {
        "client": "FUA", "ram": "neither", "md": "neither", "b": "neither", "a": "FLUSH"
    }  # fmt: skip


def test_a_flush_that_came_by_once_in_three_times_was_somebody_elses():
    once, *_ = tried("md", a="flush")
    rows = table({"a": "write back", "md": "write back"}, [once, *tried("md")[:2]])
    assert rows["md"].flush == SWALLOWED


@pytest.mark.parametrize(
    ("mode", "verdict", "lost"),
    [
        ("[write-through] write-back", HELD, ()),
        ("write-through [write-back]", SWALLOWED, ("a", "b")),
        ("", SWALLOWED, ("a", "b")),
    ],
)
def test_a_journal_in_write_through_has_flushed_what_was_acknowledged(mode, verdict, lost):
    """In write-back it has too, but not its members, which MD believes: see README.md."""
    queues = {layer: {"write_cache": "write back"} for layer in ("a", "b")} | {"md": {"journal_mode": mode}}
    (row,) = (row for row in truth_table({"queues": queues, "tries": tried("md", md="flush")}, STACK, "md") if row.layer == "md")
    assert (row.flush, row.lost) == (verdict, lost)


def test_a_journal_in_write_through_whose_members_get_the_flush_passes_it_on():
    queues = {"a": {"write_cache": "write back"}, "md": {"journal_mode": "[write-through] write-back"}}
    rows = {row.layer: row for row in truth_table({"queues": queues, "tries": tried("md", a="flush")}, STACK, "md")}
    assert rows["md"].flush == PASSED


def test_what_could_not_be_tried_is_not_known():
    failed = [{"on": "client", "do": "fua", "seen": {}, "error": "Device or resource busy"}]
    rows = table({"client": "write back"}, failed)
    assert (rows["client"].flush, rows["client"].fua) == ("not known", "not known")


def test_a_stack_is_what_is_below_the_target():
    assert reached(STACK, "client") == {"client", "ram", "md", "a", "b"}
    assert json.dumps(sorted(reached(STACK, "c"))) == '["c"]'


SCENARIO = """
schema = 1
[disk.pool]
count = 2
size = "64M"
[disk.log]
size = "64M"
[disk.spare]
size = "64M"
[raid.md]
level = 5
on = ["pool", "spare"]
journal = { on = "log" }
[disk.other]
size = "64M"
[export.drive]
on = ["other", "md"]
hosts = ["client"]
[connect.client]
to = "drive"
nsid = 2
[filesystem.fs]
on = "client"
[workload.load]
on = "fs"
layers = true
fio = { rw = "randwrite", size = "4M" }
[[compare]]
key = "disk.other.size"
values = ["64M", "65M"]
repeats = 2
"""


def test_the_plan_says_what_is_on_what_from_the_target_down():
    scenario = loads(SCENARIO, source="layers.toml", name="layers")
    (work,) = make_plan(scenario).workloads
    below = work["stack"]["below"]
    assert (below["fs"], below["client"], below["md"]) == (["client"], ["md"], ["pool.1", "pool.2", "spare", "log"])
    assert work["stack"]["exported"] == {"other": "drive", "md": "drive"}
    assert "other" not in reached(below, work["stack"]["target"])
    (turn,) = variants([work], scenario.comparisons[0].spec, 0, 1, of=1)
    assert (turn["variant"], turn["stack"]["target"]) == ("65M", "fs")
    plain = loads(SCENARIO.replace("layers = true", ""), source="layers.toml", name="layers")
    assert not {"layers", "stack"} & make_plan(plain).workloads[0].keys()
