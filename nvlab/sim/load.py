# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads in fio's words as commands for the simulator: what of a job concerns the device, and nothing of the host."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvlab.sim.structs import COMMAND, MAX_BLOCKS, Opcode
from nvlab.units import parse_size, parse_time

PIECE = 1 << 18  # commands made at a time
NS_PER_S = 1_000_000_000

READS = {"read", "randread"}
WRITES = {"write", "randwrite"}
MIXES = {"rw", "readwrite", "randrw"}
ON_ZONES = READS | {"write"}

# Keys that the simulator obeys, and keys about a host that it does not have.
OBEYED = {
    *("rw", "rwmixread", "rwmixwrite", "norandommap", "bs", "iodepth", "numjobs", "size", "offset", "offset_increment"),
    *("runtime", "time_based", "ramp_time", "startdelay", "loops", "number_ios", "io_size", "stonewall", "rate_iops"),
    *("randseed", "zonemode"),
}
WITHOUT_MEANING = {
    *("ioengine", "direct", "hipri", "fixedbufs", "registerfiles", "nonvectored", "sqthread_poll", "thread", "group_reporting"),
    *("randrepeat", "random_generator", "iodepth_batch", "io_submit_mode", "zero_buffers", "refill_buffers", "scramble_buffers"),
    *("buffer_compress_percentage", "buffer_compress_chunk", "buffer_pattern", "dedupe_percentage", "invalidate", "nice"),
    *("cpus_allowed", "cpus_allowed_policy", "prio", "prioclass", "mem", "clocksource", "continue_on_error", "exitall_on_error"),
}


def not_simulated(keys: Mapping[str, str], *, zoned: bool = False) -> list[str]:
    """Keys that would make another load than the simulator can; of a zoned device: it takes writes in order alone."""
    others = [key for key in keys if key not in OBEYED | WITHOUT_MEANING]
    if keys.get("rw", "") not in (ON_ZONES if zoned else READS | WRITES | MIXES):
        others.append("rw")
    if keys.get("zonemode", "none") not in ("none", "zbd" if zoned else "none"):
        others.append("zonemode")
    return others


@dataclass(frozen=True)
class Load:
    """One section of a job, in blocks of the device and ns."""

    reads: float  # share of reads
    random: bool
    repeats: bool  # random places may come again before all have come
    nlb: tuple[int, int]  # of a read, of a write
    first: int
    blocks: int
    increment: int
    depth: int
    jobs: int
    start: int
    ramp: int
    runtime: int | None
    ios: int | None  # of each job
    interval: int
    seed: int

    @classmethod
    def of(cls, keys: Mapping[str, str], blocks: int, block_shift: int, seed: int, runtime: str) -> Load:
        """Read a section's canonical keys, for a device of ``blocks`` of ``2**block_shift`` bytes. Raises ValueError."""
        rw = keys["rw"]
        nlb = _block_sizes(keys.get("bs", "4k"), block_shift)
        offset = _share(keys.get("offset", "0"), blocks, block_shift)
        size = min(_share(keys.get("size", "100%"), blocks, block_shift), blocks - offset)
        if size < max(nlb):
            raise ValueError(f"a device of {blocks << block_shift} bytes has no room for I/O of {max(nlb) << block_shift}")
        timed = keys.get("time_based", "1") == "1"
        most = [int(keys["number_ios"])] if "number_ios" in keys else []
        if "io_size" in keys:
            most.append(_share(keys["io_size"], blocks, block_shift) // max(nlb))
        if not timed:
            most.append(size // max(nlb) * int(keys.get("loops", "1")))
        mixed = int(keys["rwmixread"]) if "rwmixread" in keys else 100 - int(keys.get("rwmixwrite", "50"))
        rate = int(keys["rate_iops"].split(",")[0]) if "rate_iops" in keys else 0
        return cls(
            reads=1.0 if rw in READS else 0.0 if rw in WRITES else mixed / 100,
            random=rw.startswith("rand"),
            repeats=keys.get("norandommap", "0") == "1",
            nlb=nlb,
            first=offset,
            blocks=size,
            increment=_share(keys.get("offset_increment", "0"), blocks, block_shift),
            depth=int(keys.get("iodepth", "1")),
            jobs=int(keys.get("numjobs", "1")),
            start=parse_time(keys.get("startdelay", "0")),
            ramp=parse_time(keys.get("ramp_time", "0")),
            runtime=parse_time(keys.get("runtime", runtime)) if timed or "runtime" in keys else None,
            ios=min(most, default=None),
            interval=NS_PER_S // rate if rate else 0,
            seed=int(keys.get("randseed", seed)),
        )

    def commands(self, name: str, job: int) -> Iterator[NDArray[np.void]]:
        """The commands of one job in pieces, without times: the same ones for the same seed, section and job."""
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode()), job])
        positions = self._positions(rng, job)
        left = self.ios
        while left is None or left:
            n = PIECE if left is None else min(PIECE, left)
            piece = np.zeros(n, COMMAND)
            reads = rng.random(n) < self.reads
            piece["opcode"] = np.where(reads, Opcode.READ, Opcode.WRITE)
            piece["nlb"] = np.where(reads, *self.nlb)
            piece["slba"] = next(positions)[:n]
            piece["nsid"] = 1
            yield piece
            left = None if left is None else left - n

    def _positions(self, rng: np.random.Generator, job: int) -> Iterator[NDArray[np.uint64]]:
        """First blocks, ``PIECE`` at a time."""
        step = max(self.nlb)
        first = self.first + job * self.increment % max(1, self.blocks)
        places = min(self.blocks, self.first + self.blocks - first) // step
        if self.random and self.repeats:
            while True:
                yield first + rng.integers(0, places, PIECE).astype(np.uint64) * np.uint64(step)
        passes = -(-PIECE // places)  # over all places, one after the other
        rest = np.empty(0, np.uint64)
        while True:
            if len(rest) < PIECE:
                whole = np.tile(np.arange(places, dtype=np.uint64), (passes, 1))
                rest = np.concatenate([rest, (rng.permuted(whole, axis=1) if self.random else whole).ravel()])
            yield np.uint64(first) + rest[:PIECE] * np.uint64(step)
            rest = rest[PIECE:]


def _block_sizes(text: str, block_shift: int) -> tuple[int, int]:
    """Logical blocks of a read and of a write."""
    sizes = [parse_size(part) for part in text.split(",") if part]
    for size in sizes:
        if size % (1 << block_shift) or not 0 < size >> block_shift <= MAX_BLOCKS:
            raise ValueError(f"bs of {size} bytes is not 1 to {MAX_BLOCKS} blocks of {1 << block_shift}")
    return sizes[0] >> block_shift, sizes[-1 if len(sizes) < 2 else 1] >> block_shift


def _share(text: str, blocks: int, block_shift: int) -> int:
    """A size or a share of the device, in blocks."""
    return blocks * int(text[:-1]) // 100 if text.endswith("%") else parse_size(text) >> block_shift
