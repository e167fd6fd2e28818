# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that run at the block layer's tracepoints while a load is measured: they count latencies where they arise.

A bio is followed by its address from where a device gets it (``block_bio_queue``) to its end (``block_bio_complete``, or
``block_rq_complete`` of the request that carries it), a request from its start in the driver (``block_rq_issue``) to its
completion. Names and sectors would not do: lower layers change both on the way. Of a bio that was cut in pieces the end is that
of its last one. A command that NVMe's target serves is followed by its request there, from ``nvmet_req_init``, where it is known
which namespace it is for, to ``nvmet_req_complete``. Pure, stdlib only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from nvlab.kernel.assembler import DELETE, LOOKUP, NOW, OUT, STACK, UPDATE, Program

KINDS = ("bio", "request", "command")  # command: of the target, for the device that it exports
OPS = ("read", "write", "trim", "flush")  # trim: everything that is none of the others
FLAGS = ("bio flush", "bio fua", "request flush", "request fua", "bio")
BUCKETS = 29 * 64  # fio's (nvlab.record.buckets)
# What is none of these is a trim; a flush comes last.
_BLOCK_OPS = {0: "read", 1: "write", 7: "write", 2: "flush"}  # enum req_op, stable in 6.x
_NVME_OPS = {0x02: "read", 0x01: "write", 0x7D: "write", 0x00: "flush"}  # opcodes of NVMe's NVM and Zoned command sets
_MINOR_BITS = 20
_KEY, _SCRATCH, _DEVICE, _INDEX, _BASE, _START = -8, -16, -24, -32, -40, -48  # on the stack; base lies above start
_CHAIN = 32  # bios of one request that are looked at: neighbours are merged
_SMALLEST = 7  # log2 of what is beyond fio's linear buckets


class Types(Protocol):
    """Where the kernel's structs have their members, see :class:`nvlab.kernel.btf.Btf`."""

    def offsets(self, name: str, members: tuple[str, ...]) -> dict[str, int]: ...

    def values(self, name: str, enumerators: tuple[str, ...]) -> dict[str, int]: ...


@dataclass(frozen=True)
class Layout:
    """The members that the programs read, in bytes from the start of their structs, and the flags as bits of ``opf``."""

    bio: dict[str, int]
    iter: dict[str, int]
    part: dict[str, int]
    disk: dict[str, int]
    request: dict[str, int]
    queue: dict[str, int]
    flush: int
    fua: int

    @staticmethod
    def of(types: Types) -> Layout:
        """Of the kernel that these are the types of. Raises ValueError where it has other structs."""
        bits = types.values("req_flag_bits", ("__REQ_PREFLUSH", "__REQ_FUA"))
        return Layout(
            bio=types.offsets("bio", ("bi_next", "bi_bdev", "bi_opf", "bi_iter")),
            iter=types.offsets("bvec_iter", ("bi_size",)),
            part=types.offsets("block_device", ("bd_dev",)),
            disk=types.offsets("gendisk", ("major", "first_minor")),
            request=types.offsets("request", ("q", "bio", "cmd_flags")),
            queue=types.offsets("request_queue", ("disk",)),
            flush=1 << bits["__REQ_PREFLUSH"],
            fua=1 << bits["__REQ_FUA"],
        )


@dataclass(frozen=True)
class Target:
    """The same of the target's: ``nvmet_req`` and ``nvmet_ns``."""

    request: dict[str, int]
    namespace: dict[str, int]

    @staticmethod
    def of(types: Types) -> Target:
        """Of the module that these are the types of. Raises ValueError where it has other structs."""
        return Target(types.offsets("nvmet_req", ("ns",)), types.offsets("nvmet_ns", ("bdev",)))


@dataclass(frozen=True)
class Maps:
    """Descriptors: ``devices`` {number: slot}, ``bios`` and ``requests`` {address: start, first bucket}, counters.

    Commands of the target are among the requests.
    """

    devices: int
    bios: int
    requests: int
    latencies: int
    flags: int
    lost: int


def first_bucket(slot: int, kind: int, op: int) -> int:
    """Where in ``latencies`` the histogram of a device's slot, of a kind, of an op begins."""
    return ((slot * len(KINDS) + kind) * len(OPS) + op) * BUCKETS


def programs(layout: Layout, maps: Maps) -> Iterator[tuple[str, Program]]:
    """What is to run at which tracepoint; the ends come first, so that nothing begins whose end would be missed."""
    yield "block_bio_complete", ended(maps)
    yield "block_rq_complete", completed(layout, maps)
    yield "block_rq_issue", issued(layout, maps)
    yield "block_bio_queue", queued(layout, maps)


def target_programs(layout: Layout, target: Target, maps: Maps) -> Iterator[tuple[str, Program]]:
    """The same at the tracepoints of the target, a module."""
    yield "nvmet_req_complete", answered(maps)
    yield "nvmet_req_init", commanded(layout, target, maps)


def queued(layout: Layout, maps: Maps) -> Program:
    """A device gets a bio."""
    p = _begun()
    p.follow(7, 6, layout.bio["bi_bdev"], 8, _SCRATCH)
    p.follow(1, 7, layout.part["bd_dev"], 4, _SCRATCH)
    _slot(p, maps)
    p.follow(9, 6, layout.bio["bi_opf"], 4, _SCRATCH)
    p.follow(7, 6, layout.bio["bi_iter"] + layout.iter["bi_size"], 4, _SCRATCH)
    _count(p, maps, FLAGS.index("bio"))
    _count_if(p, maps, layout.flush, FLAGS.index("bio flush"))
    _count_if(p, maps, layout.fua, FLAGS.index("bio fua"))
    p.jump(7, "!=", 0, "data")
    p.jump(9, "&", layout.flush, "flush")
    p.label("data")
    _start(p, maps, maps.bios, "bio", _BLOCK_OPS)
    return p


def issued(layout: Layout, maps: Maps) -> Program:
    """A driver gets a request. Of a multipath device the request is of a path without a name: it is known by its bio."""
    p = _begun()
    p.follow(7, 6, layout.request["bio"], 8, _SCRATCH)
    p.store(STACK, _SCRATCH, 7)
    p.map(1, maps.bios)
    p.stack(2, _SCRATCH)
    p.call(LOOKUP)
    p.jump(0, "==", 0, "by disk")
    p.load(8, 0, 8)
    p.do(8, ">>", 32)
    p.goto("known")
    p.label("by disk")
    p.follow(7, 6, layout.request["q"], 8, _SCRATCH)
    p.follow(7, 7, layout.queue["disk"], 8, _SCRATCH)
    p.follow(9, 7, layout.disk["major"], 4, _SCRATCH)
    p.follow(1, 7, layout.disk["first_minor"], 4, _SCRATCH)
    p.do(9, "<<", _MINOR_BITS)
    p.by(1, "|", 9)
    _slot(p, maps)
    p.label("known")
    p.follow(9, 6, layout.request["cmd_flags"], 4, _SCRATCH)
    _count_if(p, maps, layout.flush, FLAGS.index("request flush"))
    _count_if(p, maps, layout.fua, FLAGS.index("request fua"))
    _start(p, maps, maps.requests, "request", _BLOCK_OPS)
    return p


def ended(maps: Maps) -> Program:
    """A bio ends that no request carried; what did not begin on a device of ours is left alone."""
    p = _begun(argument=1)
    _end(p, maps, maps.bios, OUT)
    return p


def completed(layout: Layout, maps: Maps) -> Program:
    """A request is completed, and with it the bios in it, whose end the kernel does not trace on its own."""
    p = _begun()
    p.follow(6, 6, layout.request["bio"], 8, _SCRATCH)
    _end(p, maps, maps.requests, "bios")
    p.label("bios")
    p.do(9, "=", _CHAIN)
    p.label("bio")
    p.jump(6, "==", 0, OUT)
    p.jump(9, "==", 0, "too many")
    p.do(9, "+", -1)
    p.store(STACK, _KEY, 6)
    p.follow(6, 6, layout.bio["bi_next"], 8, _SCRATCH)
    _end(p, maps, maps.bios, "bio")
    p.goto("bio")
    p.label("too many")
    _lose(p, maps)
    return p


def commanded(layout: Layout, target: Target, maps: Maps) -> Program:
    """The target has got a command. One that is for no namespace on a block device, as an admin command is, is left alone."""
    p = _begun()
    p.load(9, 1, 8)
    p.follow(9, 9, 0, 4, _SCRATCH)  # a command begins with its opcode
    p.follow(7, 6, target.request["ns"], 8, _SCRATCH)
    p.follow(7, 7, target.namespace["bdev"], 8, _SCRATCH)
    p.follow(1, 7, layout.part["bd_dev"], 4, _SCRATCH)
    _slot(p, maps)
    _start(p, maps, maps.requests, "command", _NVME_OPS)
    return p


def answered(maps: Maps) -> Program:
    """The target is done with a command."""
    p = _begun()
    _end(p, maps, maps.requests, OUT)
    return p


def _end(p: Program, maps: Maps, begun: int, other: str) -> None:
    """Count the latency of what has its address in the key; on to a label if that is not known. Registers 7 and 8 are lost."""
    p.map(1, begun)
    p.stack(2, _KEY)
    p.call(LOOKUP)
    p.jump(0, "==", 0, other)
    p.load(7, 0, 0)
    p.load(8, 0, 8)
    p.map(1, begun)
    p.stack(2, _KEY)
    p.call(DELETE)
    p.call(NOW)
    p.by(0, "-", 7)
    _bucket(p, str(begun))
    p.do(8, "<<", 32)  # the upper half is the slot
    p.do(8, ">>", 32)
    p.by(1, "+", 8)
    p.store(STACK, _INDEX, 1, 4)
    p.lookup(maps.latencies, _INDEX)
    p.do(1, "=", 1)
    p.count(0, 1)


def _begun(argument: int = 0) -> Program:
    """Register 6 and the key are the address of an argument of the tracepoint."""
    p = Program()
    p.load(6, 1, 8 * argument)
    p.store(STACK, _KEY, 6)
    return p


def _slot(p: Program, maps: Maps) -> None:
    """Register 8 becomes the slot of the device whose number is in register 1; without one the program ends."""
    p.store(STACK, _DEVICE, 1, 4)
    p.lookup(maps.devices, _DEVICE)
    p.load(8, 0, 0, 4)


def _count_if(p: Program, maps: Maps, bit: int, flag: int) -> None:
    p.jump(9, "&", bit, f"has {flag}")
    p.goto(f"without {flag}")
    p.label(f"has {flag}")
    _count(p, maps, flag)
    p.label(f"without {flag}")


def _count(p: Program, maps: Maps, flag: int) -> None:
    """One more of a flag, for the slot in register 8."""
    p.by(1, "=", 8)
    p.do(1, "*", len(FLAGS))
    p.do(1, "+", flag)
    p.store(STACK, _INDEX, 1, 4)
    p.lookup(maps.flags, _INDEX)
    p.do(1, "=", 1)
    p.count(0, 1)


def _start(p: Program, maps: Maps, begun: int, kind: str, ops: Mapping[int, str]) -> None:
    """Note the time, and where to count it: slot in register 8, what is done in 9. What there is no room for is lost."""
    p.do(9, "&", 0xFF)
    *others, (flush, _) = ops.items()
    for code, op in others:
        p.do(1, "=", OPS.index(op))
        p.jump(9, "==", code, "op")
    p.do(1, "=", OPS.index("trim"))
    p.jump(9, "!=", flush, "op")
    p.label("flush")
    p.do(1, "=", OPS.index("flush"))
    p.label("op")
    p.by(2, "=", 8)
    p.do(2, "*", len(KINDS))
    p.do(2, "+", KINDS.index(kind))
    p.do(2, "*", len(OPS))
    p.by(2, "+", 1)
    p.do(2, "*", BUCKETS)
    p.do(8, "<<", 32)
    p.by(2, "|", 8)
    p.store(STACK, _BASE, 2)
    p.call(NOW)
    p.store(STACK, _START, 0)
    p.map(1, begun)
    p.stack(2, _KEY)
    p.stack(3, _START)
    p.do(4, "=", 0)
    p.call(UPDATE)
    p.jump(0, "==", 0, OUT)
    _lose(p, maps)


def _lose(p: Program, maps: Maps) -> None:
    """One more that is not counted."""
    p.do(1, "=", 0)
    p.store(STACK, _INDEX, 1, 4)
    p.lookup(maps.lost, _INDEX)
    p.do(1, "=", 1)
    p.count(0, 1)


def _bucket(p: Program, place: str) -> None:
    """Register 1 becomes fio's bucket of the ns in register 0 (:func:`nvlab.record.buckets.bucket_of`).

    Shifted right until it is below 128, a latency is 64 plus its place within its power of two.
    """
    p.do(2, "=", 0)
    for bits in (16, 8, 4, 2, 1):  # by how much, found as a binary number
        p.by(3, "=", 0)
        p.by(4, "=", 2)
        p.do(4, "+", bits + _SMALLEST - 1)
        p.by(3, ">>", 4)
        p.jump(3, "==", 0, f"below {bits} {place}")
        p.do(2, "+", bits)
        p.label(f"below {bits} {place}")
    p.by(0, ">>", 2)
    p.do(2, "<<", 6)
    p.by(0, "+", 2)
    p.do(1, "=", BUCKETS - 1)
    p.jump(0, ">=", BUCKETS, f"last {place}")
    p.by(1, "=", 0)
    p.label(f"last {place}")
