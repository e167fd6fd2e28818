# SPDX-License-Identifier: GPL-2.0-or-later
"""Latencies out of the block layer's records, where the kernel does not say where its structs have their members.

A record names a device and sectors, not a bio. Pieces are cut off a bio from its front, so that it is known by where it *ends*: a
bio from ``block_bio_queue`` to ``block_bio_complete``, a request from ``block_rq_issue`` to ``block_rq_complete``, which ends the
bios in it as well, one joined to the other. What cannot be told apart is counted as missed and never guessed: two in flight that
end in the same sector, a bio whose pieces went into several requests. Pure, stdlib only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, NamedTuple

from nvlab.record.blockprobe import BUCKETS, FLAGS, KINDS, OPS, first_bucket

FIELDS = ("dev", "sector", "nr_sector", "rwbs")  # of records, but for these:
FIELDS_OF = {"block_bio_remap": ("dev", "old_dev")}
BIO, REQUEST = KINDS.index("bio"), KINDS.index("request")
_NOWHERE = (1 << 64) - 1  # the sector of a request that is a FLUSH and nothing else
_IN_FLIGHT = 1 << 16  # that are waited for at one time: what is left over by then ended unseen
_RWBS = re.compile(rb"(F(?=[RWDFNZ]))?(DE|Z.|[RWDFN])(F?)")

Key = tuple[int, int, bytes, int]  # kind, device, what is done, the sector behind its last


class Does(NamedTuple):
    """What ``rwbs`` says (``blk_fill_rwbs``)."""

    letter: bytes
    op: int
    flush: bool
    fua: bool


class _Begun(NamedTuple):
    time: int
    sector: int
    slot: int
    op: int


def does(rwbs: bytes) -> Does:
    """What a record's ``rwbs`` says; what is behind its end is left over from others."""
    return _does(rwbs.partition(b"\0")[0])


@cache
def _does(rwbs: bytes) -> Does:
    found = _RWBS.match(rwbs)
    flush, letter, fua = found.groups() if found else (None, b"N", b"")
    name = {b"R": "read", b"W": "write", b"F": "flush"}.get(letter, "trim")
    return Does(letter, OPS.index(name), bool(flush), bool(fua))


def bucket(latency: int) -> int:
    """fio's bucket of a latency in ns, as :func:`nvlab.record.buckets.bucket_of` has it."""
    shift = max(latency.bit_length() - 7, 0)
    return min((shift << 6) + (latency >> shift), BUCKETS - 1)


class Matcher:
    """Counts, record by record in the order of their times. ``slots`` {number of a device: its slot}.

    ``heads``: those whose bios go on along paths, disks without a name (NVMe multipath). ``missed``: what began and cannot be
    counted.
    """

    def __init__(self, slots: Mapping[int, int], heads: Collection[int] = ()) -> None:
        self._slots, self._heads = slots, heads
        self._head_of: dict[int, int] = {}
        self._in_flight: dict[Key, _Begun | int] = {}  # a number: so many that cannot be told apart
        self.latencies: Counter[int] = Counter()  # by place, as first_bucket has it
        self.flags = [[0] * len(FLAGS) for _ in range(max(slots.values(), default=0) + 1)]
        self.missed = 0

    def handlers(self) -> dict[str, Callable[..., None]]:
        """What is to be called for which tracepoint: with the time in ns and the record's fields."""
        return {
            "block_bio_queue": self.queued,
            "block_bio_complete": self.ended,
            "block_rq_issue": self.issued,
            "block_rq_complete": self.completed,
            "block_rq_requeue": self.put_back,
        } | ({"block_bio_remap": self.remapped} if self._heads else {})

    def unfinished(self) -> int:
        """How many have begun and not ended by now, but for those that are missed already."""
        return sum(not isinstance(begun, int) for begun in self._in_flight.values())

    def forget(self) -> None:
        """Records are lost: what is in flight may have ended unseen."""
        self.missed += self.unfinished()
        self._in_flight.clear()

    def queued(self, time: int, device: int, sector: int, count: int, rwbs: bytes) -> None:
        """A device gets a bio."""
        slot = self._slots.get(device)
        if slot is None:
            return
        what = does(rwbs)
        self.flags[slot][FLAGS.index("bio")] += 1
        self._flags(slot, "bio", what)
        op = OPS.index("flush") if what.flush and not count else what.op
        self._begin((BIO, device, what.letter, sector + count), _Begun(time, sector, slot, op))

    def ended(self, time: int, device: int, sector: int, count: int, rwbs: bytes) -> None:
        """A bio ends that no request carried, whole: all its pieces have ended."""
        key = (BIO, device, does(rwbs).letter, sector + count)
        begun = self._in_flight.get(key)
        if isinstance(begun, int) or (begun and begun.sector <= sector):
            self._end(key, time)

    def remapped(self, _: int, device: int, before: int) -> None:
        """A bio goes on along a path."""
        if before in self._heads:
            self._head_of[device] = before

    def issued(self, time: int, device: int, sector: int, count: int, rwbs: bytes) -> None:
        """A driver gets a request. It is its device's; or, as that of a path, its bio's."""
        device, what = self._head_of.get(device, device), does(rwbs)
        slot = self._slots.get(device)
        if slot is not None:
            self._flags(slot, "request", what)
            self._begin((REQUEST, device, what.letter, sector + count), _Begun(time, sector, slot, what.op))

    def put_back(self, _: int, device: int, sector: int, count: int, rwbs: bytes) -> None:
        """A driver did not take a request; it gets it again."""
        key = (REQUEST, self._head_of.get(device, device), does(rwbs).letter, sector + count)
        self.missed -= isinstance(self._in_flight.get(key), int)
        self._drop(key)

    def completed(self, time: int, device: int, sector: int, count: int, rwbs: bytes) -> None:
        """A request, or the first part of one, is completed, and with it the bios in it: from the last to the first."""
        device, letter = self._head_of.get(device, device), does(rwbs).letter
        if device not in self._slots:
            return
        sector = 0 if sector == _NOWHERE else sector
        end = sector + count
        self._end((REQUEST, device, letter, end), time)
        while (begun := self._in_flight.get(key := (BIO, device, letter, end))) is not None:
            if isinstance(begun, int) or begun.sector >= sector:
                self._end(key, time)
            else:  # its front was in another request, which may still be under way
                self._drop(key)
                self.missed += 1
            if isinstance(begun, int) or not sector < begun.sector < end:
                return
            end = begun.sector

    def _flags(self, slot: int, kind: str, what: Does) -> None:
        self.flags[slot][FLAGS.index(f"{kind} flush")] += what.flush
        self.flags[slot][FLAGS.index(f"{kind} fua")] += what.fua

    def _begin(self, key: Key, begun: _Begun) -> None:
        other = self._in_flight.get(key)
        if other is not None:
            self.missed += 1 if isinstance(other, int) else 2
            self._in_flight[key] = 2 if not isinstance(other, int) else other + 1
            return
        if len(self._in_flight) >= _IN_FLIGHT:
            oldest = next(iter(self._in_flight))
            self.missed += not isinstance(self._in_flight.pop(oldest), int)
        self._in_flight[key] = begun

    def _end(self, key: Key, time: int) -> None:
        begun = self._drop(key)
        if begun:
            self.latencies[first_bucket(begun.slot, key[0], begun.op) + bucket(max(time - begun.time, 0))] += 1

    def _drop(self, key: Key) -> _Begun | None:
        """Nothing is under way there any more; what was, if that is known. Of several one less."""
        begun: Any = self._in_flight.pop(key, None)
        if isinstance(begun, int):
            if begun > 1:
                self._in_flight[key] = begun - 1
            return None
        return begun  # type: ignore[no-any-return]
