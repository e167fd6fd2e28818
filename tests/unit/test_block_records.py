# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency by layer on a kernel without types: its records, and which of them belong together."""

from __future__ import annotations

import errno
import struct
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab.errors import EnvironmentNotReady
from nvlab.kernel import perf
from nvlab.kernel.perf import LOST, Record, records
from nvlab.kernel.tracefs import Tracepoint, layout, tracepoint
from nvlab.record import blockrings
from nvlab.record.blockmatch import FIELDS, FIELDS_OF, Matcher, bucket, does
from nvlab.record.blockprobe import BUCKETS, FLAGS, KINDS, OPS
from nvlab.record.blockrings import InRings
from nvlab.record.blocktrace import BlockTracer
from nvlab.record.buckets import bucket_of
from nvlab.record.samplers import Watch

COMMON = """name: {name}
ID: 1027
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
ISSUE = COMMON + """\tfield:dev_t dev;\toffset:8;\tsize:4;\tsigned:0;
\tfield:sector_t sector;\toffset:16;\tsize:8;\tsigned:0;
\tfield:unsigned int nr_sector;\toffset:24;\tsize:4;\tsigned:0;
\tfield:unsigned int bytes;\toffset:28;\tsize:4;\tsigned:0;
\tfield:char rwbs[8];\toffset:32;\tsize:8;\tsigned:0;
\tfield:char comm[16];\toffset:40;\tsize:16;\tsigned:0;
\tfield:__data_loc char[] cmd;\toffset:56;\tsize:4;\tsigned:0;

print fmt: "%d,%d %s", ((unsigned int) ((REC->dev) >> 20)), REC->rwbs
"""
DISK, ARRAY, PATH, OTHER = 259 << 20 | 3, 9 << 20, 259 << 20 | 7, 7 << 20


def test_a_tracepoint_is_found_by_its_name(tmp_path):
    directory = tmp_path / "events/block/block_rq_issue"
    directory.mkdir(parents=True)
    (directory / "id").write_text("1027\n")
    (directory / "format").write_text(ISSUE)
    found = tracepoint(tmp_path, "block/block_rq_issue", ("dev",))
    assert (found.name, found.id, found.fields.size) == ("block_rq_issue", 1027, 12)
    with pytest.raises(FileNotFoundError):
        tracepoint(tmp_path, "block/nonesuch", ())


def test_the_fields_of_a_record_are_where_tracefs_says():
    where = layout(ISSUE, FIELDS, arrays=("rwbs",))
    record = struct.pack("<8xI4xQII8s16sI", DISK, 1 << 40, 8, 4096, b"WS\0junk!", b"fio", 0)
    assert where.unpack_from(record) == (DISK, 1 << 40, 8, b"WS\0junk!")
    with pytest.raises(ValueError, match="has no old_dev where"):
        layout(ISSUE, FIELDS_OF["block_bio_remap"])
    with pytest.raises(ValueError, match="has no dev where"):
        layout(ISSUE, ("sector", "dev"))


SHORT = struct.Struct("<8xI")
sampled = st.tuples(st.integers(0, 1 << 60), st.just(5), st.tuples(st.integers(0, 1 << 31)))
losses = st.tuples(st.integers(0, 1 << 60), st.just(LOST), st.tuples(st.integers(1, 1 << 40)))


def in_ring(time, number, fields) -> bytes:
    if number == LOST:
        return struct.pack("<IHHQQQ", 2, 0, 32, 77, *fields, time)
    data = struct.pack("<H6xI", number, *fields)
    return struct.pack("<IHHQI", 9, 0, 20 + len(data), time, len(data)) + data


@given(st.lists(sampled | losses | st.none()))
def test_a_ring_holds_records_and_losses(told):
    throttled = struct.pack("<IHHQ", 5, 0, 16, 0)
    data = b"".join(throttled if each is None else in_ring(*each) for each in told)
    assert list(records(data, {5: SHORT})) == [each for each in told if each is not None]


@pytest.mark.parametrize("begin", [0, 1000, (3 << 40) + 17])
def test_a_ring_is_taken_in_order_over_its_end(monkeypatch, begin):
    monkeypatch.setattr(perf, "SIZE", 4096)
    monkeypatch.setattr(perf.mmap, "mmap", lambda fd, size: bytearray(size))
    ring = perf._Ring(-1)
    ring._ends[0] = ring._ends[1] = begin
    written = bytes(range(256)) * 14
    for at, byte in enumerate(written):
        ring._map[perf._DATA + (begin + at) % 4096] = byte
    ring._ends[0] = begin + len(written)
    assert (ring.take(), ring.take()) == (written, b"")


@pytest.mark.parametrize(
    ("rwbs", "letter", "op", "flush", "fua"),
    [
        (b"R", b"R", "read", False, False),
        (b"RA", b"R", "read", False, False),
        (b"WFS", b"W", "write", False, True),
        (b"FWFSM", b"W", "write", True, True),
        (b"FF", b"F", "flush", True, False),
        (b"F", b"F", "flush", False, False),
        (b"DE", b"DE", "trim", False, False),
        (b"DS", b"D", "trim", False, False),
        (b"N", b"N", "trim", False, False),
        (b"", b"N", "trim", False, False),
    ],
)
def test_letters_say_what_is_done(rwbs, letter, op, flush, fua):
    assert does(rwbs) == (letter, OPS.index(op), flush, fua)


@given(st.integers(0, 1 << 44))
def test_latencies_go_into_fios_buckets(latency):
    assert bucket(latency) == int(bucket_of(np.array([latency]))[0])


def counts(matcher: Matcher) -> dict[tuple[int, str, str], list[int]]:
    """{(slot, kind, op): buckets}"""
    found: dict = {}
    for place, count in sorted(matcher.latencies.items()):
        rest, at = divmod(place, BUCKETS)
        rest, op = divmod(rest, len(OPS))
        slot, kind = divmod(rest, len(KINDS))
        found.setdefault((slot, KINDS[kind], OPS[op]), []).extend([at] * count)
    return found


def matched(*happened, heads=()):
    """What comes of (tracepoint without "block_", time, fields…) of a disk in slot 0 and an array in slot 1."""
    matcher = Matcher({DISK: 0, ARRAY: 1}, heads)
    handlers = matcher.handlers()
    for name, *said in happened:
        handlers[f"block_{name}"](*said)
    return matcher


def test_a_bio_of_an_array_is_known_again_by_its_end():
    matcher = matched(
        ("bio_queue", 10, ARRAY, 64, 16, b"WS\0"),
        ("bio_complete", 20, ARRAY, 64, 8, b"WS\0"),  # the front, cut off at the border of a chunk
        ("bio_complete", 50, ARRAY, 72, 8, b"WS\0"),
        ("bio_complete", 60, ARRAY, 72, 8, b"WS\0"),
    )
    assert counts(matcher) == {(1, "bio", "write"): [40]}
    assert (matcher.missed, matcher.unfinished()) == (0, 0)


def test_a_completed_request_ends_all_bios_that_were_merged_into_it():
    matcher = matched(
        ("bio_queue", 10, DISK, 0, 8, b"W\0"),
        ("bio_queue", 20, DISK, 8, 8, b"W\0"),
        ("bio_queue", 30, DISK, 16, 8, b"R\0"),
        ("rq_issue", 40, DISK, 0, 16, b"W\0"),
        ("rq_requeue", 45, DISK, 0, 16, b"W\0"),
        ("rq_issue", 50, DISK, 0, 16, b"W\0"),
        ("rq_complete", 100, DISK, 0, 16, b"W\0"),
    )
    assert counts(matcher) == {(0, "bio", "write"): [80, 90], (0, "request", "write"): [50]}
    assert (matcher.missed, matcher.unfinished()) == (0, 1)


def test_a_request_may_be_completed_in_parts():
    matcher = matched(
        ("bio_queue", 10, DISK, 0, 8, b"R\0"),
        ("bio_queue", 10, DISK, 8, 8, b"R\0"),
        ("rq_issue", 20, DISK, 0, 16, b"R\0"),
        ("rq_complete", 50, DISK, 0, 8, b"R\0"),
        ("rq_complete", 70, DISK, 8, 8, b"R\0"),
    )
    assert counts(matcher) == {(0, "bio", "read"): [40, 60], (0, "request", "read"): [50]}


def test_a_bio_in_several_requests_is_missed():
    matcher = matched(
        ("bio_queue", 10, DISK, 0, 16, b"W\0"),
        ("rq_issue", 20, DISK, 0, 8, b"W\0"),
        ("rq_issue", 20, DISK, 8, 8, b"W\0"),
        ("rq_complete", 50, DISK, 8, 8, b"W\0"),
        ("rq_complete", 70, DISK, 0, 8, b"W\0"),
    )
    assert counts(matcher) == {(0, "request", "write"): [30, 50]}
    assert (matcher.missed, matcher.unfinished()) == (1, 0)


def test_two_bios_in_the_same_place_cannot_be_told_apart():
    same = [("bio_queue", 10 * n, ARRAY, 0, 8, b"R\0") for n in range(3)]
    ends = [("bio_complete", 50, ARRAY, 0, 8, b"R\0")] * 3
    matcher = matched(*same, *ends)
    assert (counts(matcher), matcher.missed) == ({}, 3)
    matcher = matched(*same, *ends, *[("bio_queue", 90, ARRAY, 0, 8, b"R\0"), ("bio_complete", 99, ARRAY, 0, 8, b"R\0")])
    assert (counts(matcher), matcher.missed) == ({(1, "bio", "read"): [9]}, 3), "what comes after them can be"


def test_a_flush_ends_with_the_request_that_stood_for_it():
    matcher = matched(
        ("bio_queue", 10, DISK, 0, 0, b"FW\0"),
        ("rq_issue", 20, DISK, 0, 0, b"FF\0"),
        ("rq_complete", 50, DISK, (1 << 64) - 1, 0, b"FF\0"),
        ("rq_complete", 60, DISK, 0, 0, b"WS\0"),
        ("bio_queue", 70, ARRAY, 8, 8, b"FWFS\0"),
    )
    assert counts(matcher) == {(0, "bio", "flush"): [50], (0, "request", "flush"): [30]}
    flags = [dict(zip(FLAGS, counted, strict=True)) for counted in matcher.flags]
    assert flags[0] == {"bio flush": 1, "bio fua": 0, "request flush": 1, "request fua": 0, "bio": 1}
    assert flags[1] == {"bio flush": 1, "bio fua": 1, "request flush": 0, "request fua": 0, "bio": 1}


def test_a_path_counts_for_the_device_that_has_the_name():
    path = [
        ("bio_queue", 10, DISK, 0, 8, b"R\0"),
        ("bio_remap", 15, PATH, DISK),
        ("rq_issue", 20, PATH, 0, 8, b"R\0"),
        ("rq_complete", 50, PATH, 0, 8, b"R\0"),
    ]
    assert counts(matched(*path, heads={DISK})) == {(0, "bio", "read"): [40], (0, "request", "read"): [30]}
    assert "block_bio_remap" not in Matcher({DISK: 0}).handlers(), "a mapped device's bios go on as others"


def test_what_is_of_no_watched_device_is_left_alone():
    matcher = matched(
        ("bio_queue", 10, OTHER, 0, 8, b"R\0"), ("rq_issue", 20, OTHER, 0, 8, b"R\0"), ("rq_complete", 50, OTHER, 0, 8, b"R\0")
    )
    assert (counts(matcher), matcher.missed, matcher.unfinished()) == ({}, 0, 0)


def test_after_a_loss_nothing_is_guessed():
    matcher = matched(("bio_queue", 10, ARRAY, 0, 8, b"R\0"), ("bio_queue", 10, ARRAY, 8, 8, b"R\0"))
    matcher.forget()
    matcher.ended(50, ARRAY, 0, 8, b"R\0")
    assert (counts(matcher), matcher.missed, matcher.unfinished()) == ({}, 2, 0)


def test_what_never_ends_does_not_pile_up(monkeypatch):
    monkeypatch.setattr("nvlab.record.blockmatch._IN_FLIGHT", 4)
    matcher = matched(*(("bio_queue", n, ARRAY, 8 * n, 8, b"R\0") for n in range(10)))
    assert (matcher.missed, matcher.unfinished()) == (6, 4)


@dataclass(eq=False)
class Bio:
    device: int
    sector: int
    count: int
    begun: int
    pieces: int = 1  # that have not ended


class Block:
    """A block layer that knows its bios apart: an array, whose bios end alone, and a disk with requests.

    I/O in flight is in the same place or in places apart; what overlaps otherwise is nobody's, unless programs race.
    """

    def __init__(self, random):
        self.random, self.now = random, 0
        self.matcher = Matcher({DISK: 0, ARRAY: 1})
        self.queued, self.in_array, self.requests = [], [], []  # of the disk (bio, sector, count); (…); [pieces, begun]
        self.begun, self.apart = 0, True
        self.latencies: Counter = Counter()  # of all that ended: (slot, kind, bucket)

    def tell(self, name, device, sector, count):
        self.now += self.random.randrange(1, 1000)
        self.matcher.handlers()[f"block_{name}"](self.now, device, sector, count, b"WS\0")

    def step(self):
        self.random.choice([self.submit, self.submit, self.issue, self.complete, self.end])()

    def submit(self):
        device, place = self.random.choice([DISK, ARRAY]), self.random.randrange(8)
        waiting = self.in_array if device == ARRAY else [p for r, _ in self.requests for p in r] + self.queued
        self.apart &= all(bio.sector != 8 * place for bio, _, _ in waiting)
        self.tell("bio_queue", device, 8 * place, 8)
        bio = Bio(device, 8 * place, 8, self.now)
        self.begun += 1
        pieces = [(bio, 8 * place, 8)]
        if not self.random.randrange(4):
            bio.pieces, pieces = 2, [(bio, 8 * place, 4), (bio, 8 * place + 4, 4)]
            self.apart &= device == ARRAY
        (self.in_array if device == ARRAY else self.queued).extend(pieces)

    def issue(self):
        """A request of the oldest piece and of those that follow on it."""
        if not self.queued:
            return
        pieces = [self.queued.pop(0)]
        while self.queued and self.random.randrange(4) and self.queued[0][1] == pieces[-1][1] + pieces[-1][2]:
            pieces.append(self.queued.pop(0))
        first, count = pieces[0][1], sum(count for _, _, count in pieces)
        for again in range(self.random.choice([1, 1, 2])):
            if again:
                self.tell("rq_requeue", DISK, first, count)
            self.tell("rq_issue", DISK, first, count)
        self.apart &= all(r[0][1] != first for r, _ in self.requests)
        self.requests.append((pieces, self.now))
        self.begun += 1

    def complete(self):
        if self.requests:
            pieces, begun = self.requests.pop(self.random.randrange(len(self.requests)))
            self.tell("rq_complete", DISK, pieces[0][1], sum(count for _, _, count in pieces))
            self.latencies[0, "request", bucket(self.now - begun)] += 1
            for bio, _, _ in pieces:
                self.less(bio, 0)

    def end(self):
        """A piece of the array ends; the last one is the bio itself, and has waited for the one before it."""
        if self.in_array:
            bio, sector, count = self.random.choice(self.in_array)
            if bio.pieces == 2 and sector != bio.sector:
                return
            self.in_array.remove((bio, sector, count))
            self.tell("bio_complete", ARRAY, sector, count)
            self.less(bio, 1)

    def less(self, bio, slot):
        bio.pieces -= 1
        if not bio.pieces:
            self.latencies[slot, "bio", bucket(self.now - bio.begun)] += 1


@given(st.randoms(use_true_random=False), st.integers(1, 120))
def test_nothing_is_counted_that_was_not_so_and_nothing_is_left_out_unsaid(random, steps):
    block = Block(random)
    for _ in range(steps):
        block.step()
    found = Counter((slot, kind, at) for (slot, kind, _), buckets in counts(block.matcher).items() for at in buckets)
    assert found <= block.latencies
    assert found.total() + block.matcher.missed + block.matcher.unfinished() == block.begun
    if block.apart:
        assert (found, block.matcher.missed) == (block.latencies, 0)


class FakeRings:
    def __init__(self, tracepoints):
        self.ids = {each.name.removeprefix("block_"): each.id for each in tracepoints}
        self.ready, self.closed = [], False

    def take(self):
        taken, self.ready = self.ready, []
        return taken

    def close(self):
        self.closed = True


@pytest.fixture
def counting(monkeypatch):
    told = [Tracepoint(name, number, SHORT) for number, name in enumerate(Matcher({}).handlers(), 100)]
    monkeypatch.setattr(blockrings, "_tracepoints", lambda names: told)
    monkeypatch.setattr(blockrings, "Rings", FakeRings)
    monkeypatch.setattr(blockrings, "_EVERY", 3600)
    found = InRings({DISK: "nosuch0", ARRAY: "nosuch1"})
    yield found
    found.close()
    assert found._rings.closed


def test_records_of_several_cpus_are_put_in_order(counting):
    rings, bio = counting._rings, (ARRAY, 0, 8, b"R\0")
    rings.ready = [Record(90, rings.ids["bio_complete"], bio), Record(10, rings.ids["bio_queue"], bio)]
    assert sum(counting.latencies().values()) == 1
    assert counting.flags(1)[FLAGS.index("bio")] == 1
    assert (counting.lost(), counting.missed()) == (0, 0)


def test_a_record_waits_for_what_others_may_still_be_writing(counting):
    rings, bio = counting._rings, (ARRAY, 0, 8, b"R\0")
    rings.ready = [Record(90, rings.ids["bio_complete"], bio)]
    counting._catch_up(50)
    rings.ready = [Record(10, rings.ids["bio_queue"], bio)]
    counting._catch_up(100)
    assert sum(counting.latencies().values()) == 1


def test_what_was_lost_is_said(counting):
    rings, bio = counting._rings, (ARRAY, 0, 8, b"R\0")
    rings.ready = [Record(10, rings.ids["bio_queue"], bio), Record(20, LOST, (7,)), Record(30, rings.ids["bio_complete"], bio)]
    assert (dict(counting.latencies()), counting.lost(), counting.missed()) == ({}, 7, 1)


def test_a_kernel_with_types_is_asked_by_bpf_and_one_without_by_perf(monkeypatch, tmp_path):
    monkeypatch.setattr("nvlab.record.blocktrace.KERNEL", tmp_path)
    assert BlockTracer(()).way == "bpf"
    monkeypatch.setattr("nvlab.record.blocktrace.KERNEL", tmp_path / "none")
    assert BlockTracer(()).way == "perf"
    assert BlockTracer((), "bpf").way == "bpf"


def test_a_kernel_without_both_is_an_environment_that_is_not_ready(monkeypatch):
    def mounted():
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(blockrings, "mounted", mounted)
    with pytest.raises(EnvironmentNotReady, match=r"neither types .* nor tracepoints") as error:
        BlockTracer((Watch("a", "block", "nosuch"),), "perf").start()
    assert "CONFIG_DEBUG_INFO_BTF" in error.value.hint and "CONFIG_BLK_DEV_IO_TRACE" in error.value.hint
