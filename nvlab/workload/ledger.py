# SPDX-License-Identifier: GPL-2.0-or-later
"""A load that keeps a ledger: which write of each block was begun, which was acknowledged, which is durable. Stdlib only.

Each 512 bytes that it writes say of which run, block and write they are, under a checksum. What is read later is held against the
ledger, block by block: a write that was acknowledged before a flush began, and the flush succeeded, must be there, or a newer one
(NVMe Base 2.1, Flush command; fsync(2)). What was acknowledged and not flushed may be gone.

``python -m nvlab.workload.ledger write DIRECTORY`` reads ``ledger-job.json`` there, writes until its time is over or an I/O
fails, and leaves ``ledger.json``, and fio's kinds of results; ``… verify DIRECTORY TARGET`` prints the verdict. With SIGTERM it
leaves the same at once and ends, whatever is under way: what has not been acknowledged then never is.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nvlab.errors import Problem
from nvlab.units import parse_size, parse_time
from nvlab.workload.fio import LOG_DIR, RESULT, Section
from nvlab.workload.fiolike import direction

JOB, LEDGER = "ledger-job.json", "ledger.json"
SECTOR = 512
KEYS = ("rw", "bs", "size", "iodepth", "runtime", "fsync")  # of fio's, what this load can be told
_STAMP = struct.Struct("<8s16sQQI")  # magic, run, block, write, sector of the block
_MAGIC = b"nvlabLDG"
_CRC = struct.Struct("<I")
_READ = 1 << 20  # bytes read at a time, at least one block
_SAID = 0.5  # seconds between estimates
_KEPT = 20  # blocks that a verdict names

FOREIGN, DAMAGED = 0, -1  # instead of a write's number, which counts from 1


def check(sections: Sequence[Section], where: str) -> list[Problem]:
    """What this load cannot do of a job that fio could, at the TOML path ``where``."""
    if len(sections) > 1:
        return [Problem(where, "a ledger is of one section")]
    keys = sections[0].keys
    known = f"a ledger's load has not got this; it has {', '.join(KEYS)}"
    found = [Problem(f"{where}.{key}", known) for key in keys if key not in KEYS]
    found += [Problem(f"{where}.{key}", "is missing; a ledger's load needs it") for key in ("size", "runtime") if key not in keys]
    if keys["rw"] not in ("write", "randwrite"):
        found.append(Problem(f"{where}.rw", f"{keys['rw']} is not what a ledger is about; write or randwrite"))
    if not found:
        found += _check_sizes(keys, where)
    return found


def _check_sizes(keys: Mapping[str, str], where: str) -> Iterator[Problem]:
    if "," in keys.get("bs", "4k") or parse_size(keys.get("bs", "4k")) % 4096:
        yield Problem(f"{where}.bs", "a ledger's blocks are of one size, a multiple of 4K")
    elif keys["size"].endswith("%"):
        yield Problem(f"{where}.size", "is a share; write a size, such as 64M")
    elif parse_size(keys["size"]) < parse_size(keys.get("bs", "4k")) * int(keys.get("iodepth", "1")):
        yield Problem(f"{where}.size", "has not a block for each I/O in flight (bs × iodepth)")


# -- stamps ----------------------------------------------------------------------------------------------------------


def stamped(run: bytes, block: int, write: int, size: int) -> bytes:
    """The content of a block of ``size`` bytes: every sector says what it is, all through, under a checksum."""
    sectors = []
    for sector in range(size // SECTOR):
        head = _STAMP.pack(_MAGIC, run, block, write, sector)
        body = (head * (SECTOR // len(head) + 1))[: SECTOR - _CRC.size]
        sectors.append(body + _CRC.pack(zlib.crc32(body)))
    return b"".join(sectors)


def writes_of(run: bytes, block: int, content: bytes) -> list[int]:
    """Of which write each sector is: FOREIGN for what this run did not write, DAMAGED for what says so and is not as written."""
    return [_write_of(run, block, n, content[n * SECTOR : (n + 1) * SECTOR]) for n in range(len(content) // SECTOR)]


def _write_of(run: bytes, block: int, number: int, sector: bytes) -> int:
    magic, its_run, its_block, write, its_number = _STAMP.unpack_from(sector)
    if magic != _MAGIC or its_run != run:
        return FOREIGN
    whole = zlib.crc32(sector[: -_CRC.size]) == _CRC.unpack_from(sector, SECTOR - _CRC.size)[0]
    return write if whole and (its_block, its_number) == (block, number) else DAMAGED


# -- the ledger ------------------------------------------------------------------------------------------------------


@dataclass
class Ledger:
    """For each block, the number of the last write begun, acknowledged and durable; 0 for none."""

    run: str
    block_size: int
    begun: list[int]
    acknowledged: list[int]
    durable: list[int]
    writes: int = 0
    flushes: int = 0
    error: str = ""

    def flushed(self, before: Sequence[int]) -> None:
        """A flush succeeded that began when so much was acknowledged."""
        self.durable = [max(was, now) for was, now in zip(self.durable, before, strict=True)]
        self.flushes += 1


@dataclass
class Verdict:
    """What was acknowledged, what was found, what was lost; counts of blocks, but for ``writes`` and ``flushes``.

    ``lost``: older than a durable write; ``damaged``: no write of this block; ``unflushed``: older than an acknowledged write
    that was not durable, as is allowed; ``torn``: of several writes; ``kept``: all others that were written.
    """

    writes: int
    flushes: int
    acknowledged: int
    durable: int
    kept: int = 0
    unflushed: int = 0
    torn: int = 0
    lost: int = 0
    damaged: int = 0
    error: str = ""
    blocks: dict[str, list[int]] = field(default_factory=dict)


def judge(ledger: Ledger, found: Iterator[tuple[int, list[int]]]) -> Verdict:
    """The verdict on what was ``found`` (block, the write of each of its sectors)."""
    verdict = Verdict(
        ledger.writes, ledger.flushes, sum(map(bool, ledger.acknowledged)), sum(map(bool, ledger.durable)), error=ledger.error
    )
    for block, writes in found:
        if ledger.begun[block]:
            word = _word(ledger, block, writes)
            setattr(verdict, word, getattr(verdict, word) + 1)
            if word != "kept" and len(verdict.blocks.setdefault(word, [])) < _KEPT:
                verdict.blocks[word].append(block)
    return verdict


def _word(ledger: Ledger, block: int, writes: Sequence[int]) -> str:
    oldest = min(writes)
    if oldest == DAMAGED or max(writes) > ledger.begun[block]:
        return "damaged"
    if oldest < ledger.durable[block]:
        return "lost"
    if oldest != max(writes):
        return "torn"
    return "unflushed" if oldest < ledger.acknowledged[block] else "kept"


# -- writing ---------------------------------------------------------------------------------------------------------


class Writer:
    """Writes blocks of ``job`` (fio's keys, as text) to ``target`` from as many threads as it has I/Os in flight."""

    def __init__(self, target: str, job: Mapping[str, str], seed: int) -> None:
        self.size = parse_size(job.get("bs", "4k"))
        self.depth = int(job.get("iodepth", "1"))
        self.every = int(job.get("fsync", "0"))
        self.sequential = job["rw"] == "write"
        self.ends = time.monotonic() + parse_time(job["runtime"]) / 1e9
        self.fd = os.open(target, os.O_RDWR | os.O_DIRECT)
        blocks = parse_size(job["size"]) // self.size
        self.run = os.urandom(16)
        self.ledger = Ledger(self.run.hex(), self.size, [0] * blocks, [0] * blocks, [0] * blocks)
        self.seed, self.lock, self.stop = seed, threading.Lock(), threading.Event()
        self.log: list[list[tuple[int, int]]] = [[] for _ in range(self.depth)]  # (ns of the end, latency in ns) by thread

    def work(self) -> None:
        """Write until the time is over, :attr:`stop` is set or an I/O fails, telling how fast on stdout."""
        threads = [threading.Thread(target=self._worker, args=(number,)) for number in range(self.depth)]
        for thread in threads:
            thread.start()
        before = 0
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(_SAID)
            rate, before = (self.ledger.writes - before) / _SAID, self.ledger.writes
            print(f"[w={rate * self.size / 1024:.0f}KiB/s][w={rate:.0f} IOPS]", flush=True)
        os.close(self.fd)

    def _worker(self, number: int) -> None:
        dice, buffer = random.Random(f"{self.seed}/{number}"), mmap.mmap(-1, self.size)
        mine = range(number, len(self.ledger.begun), self.depth)  # so that no two write the same block at once
        count = 0
        try:
            while not self.stop.is_set() and time.monotonic() < self.ends:
                self._write(mine[count % len(mine) if self.sequential else dice.randrange(len(mine))], buffer, self.log[number])
                count += 1
        except OSError as error:
            self._failed(error)

    def _write(self, block: int, buffer: mmap.mmap, log: list[tuple[int, int]]) -> None:
        ledger = self.ledger
        with self.lock:
            if self.stop.is_set():  # the ledger may have been written down
                return
            ledger.begun[block] += 1
        buffer[:] = stamped(self.run, block, ledger.begun[block], self.size)
        started = time.monotonic_ns()
        if os.pwritev(self.fd, [buffer], block * self.size) != self.size:
            raise OSError(errno.EIO, "a short write")
        ended = time.monotonic_ns()
        log.append((ended, ended - started))
        with self.lock:
            ledger.acknowledged[block] = ledger.begun[block]
            ledger.writes += 1
            before = list(ledger.acknowledged) if self.every and ledger.writes % self.every == 0 else None
        if before is not None:
            os.fsync(self.fd)
            with self.lock:
                ledger.flushed(before)

    def _failed(self, error: OSError) -> None:
        with self.lock:
            self.ledger.error = self.ledger.error or f"{errno.errorcode.get(error.errno or 0, '?')}: {error.strerror}"
        self.stop.set()


def results(name: str, log: Sequence[Sequence[tuple[int, int]]], size: int, failed: bool) -> dict[str, Any]:
    """What fio would say of these writes in JSON+."""
    all_of_it = [(end, latency, size) for part in log for end, latency in part]
    if not all_of_it:
        return {"fio version": "nvlab's ledger", "jobs": [{"jobname": name}]}
    job = {"jobname": name, "total_err": int(failed), "write": direction(all_of_it)}
    return {"fio version": "nvlab's ledger", "jobs": [job]}


def _write_main(directory: Path) -> None:
    job = json.loads((directory / JOB).read_text())
    writer = Writer(job["target"], job["keys"], job["seed"])

    def leave(*_: object) -> None:
        _leave(directory, job["name"], writer)
        os._exit(0)  # threads may wait for ever

    signal.signal(signal.SIGINT, lambda *_: writer.stop.set())
    signal.signal(signal.SIGTERM, leave)
    writer.work()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _leave(directory, job["name"], writer)


def _leave(directory: Path, name: str, writer: Writer) -> None:
    """Write down what was done until now, the ledger last: when it is there, all is."""
    with writer.lock:
        writer.stop.set()
        ledger = json.dumps(asdict(writer.ledger))
    log = [list(part) for part in writer.log]
    for number, part in enumerate(log, 1):
        lines = (f"{end // 1_000_000}, {latency}, 1, {writer.size}, 0\n" for end, latency in part)
        (directory / LOG_DIR / f"{name}_lat.{number}.log").write_text("".join(lines))
    said = results(name, log, writer.size, bool(writer.ledger.error))
    (directory / RESULT).write_text(json.dumps(said))
    (directory / f"{LEDGER}.new").write_text(ledger)
    (directory / f"{LEDGER}.new").replace(directory / LEDGER)


# -- reading ---------------------------------------------------------------------------------------------------------


def read_back(ledger: Ledger, target: str) -> Iterator[tuple[int, list[int]]]:
    """Every block on ``target``: its number, and of which write each of its sectors is. Raises OSError."""
    run, size = bytes.fromhex(ledger.run), ledger.block_size
    chunk = max(_READ // size, 1)
    buffer = mmap.mmap(-1, chunk * size)
    fd = os.open(target, os.O_RDONLY | os.O_DIRECT)
    try:
        for first in range(0, len(ledger.begun), chunk):
            read = os.preadv(fd, [buffer], first * size)
            for at in range(0, read, size):
                block = first + at // size
                if block < len(ledger.begun):
                    yield block, writes_of(run, block, buffer[at : at + size])
    finally:
        os.close(fd)


def _verify_main(directory: Path, target: str) -> None:
    ledger = Ledger(**json.loads((directory / LEDGER).read_text()))
    print(json.dumps(asdict(judge(ledger, read_back(ledger, target)))))


def argv(verb: str, *words: str) -> list[str]:
    """The command that runs this module."""
    return [sys.executable, "-m", "nvlab.workload.ledger", verb, *words]


def environment() -> dict[str, str]:
    """The environment in which the command finds this module."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


if __name__ == "__main__":
    if sys.argv[1] == "write":
        _write_main(Path(sys.argv[2]))
    else:
        _verify_main(Path(sys.argv[2]), sys.argv[3])
