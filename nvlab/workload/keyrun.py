# SPDX-License-Identifier: GPL-2.0-or-later
"""A load of keys and values on a live drive, through :mod:`nvlab.kv`. Stdlib only.

Each command in flight has a process of its own, as what waits for a lock of Python's would count as latency. Which keys and
commands are drawn follows from the seed and the number of the process. Values begin with their key, and what is retrieved must.

``python -m nvlab.workload.keyrun DIRECTORY`` reads ``keys-job.json`` there (``target``, ``name``, ``seed``, ``trace``, ``store``:
whether to store all keys first, ``kv``: what ``[workload.x.kv]`` says), and leaves fio's kinds of results. It ends with an error
when the drive refuses more than a key that is not there.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import random
import select
import signal
import struct
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from nvlab.kv import MAX_KEY, KeyNotFoundError, KeyValueError, Opcode, Store
from nvlab.workload.fio import LOG_DIR, RESULT
from nvlab.workload.fiolike import direction

JOB = "keys-job.json"
MOST = 256  # processes
LIST_BYTES = 4096  # of the host's buffer for a List
DIRECTIONS: dict[Opcode, tuple[int, str]] = {  # how each is recorded: nvlab.record.format.OPS
    Opcode.RETRIEVE: (0, "read"),
    Opcode.STORE: (1, "write"),
    Opcode.DELETE: (3, "delete"),
    Opcode.EXIST: (4, "exist"),
    Opcode.LIST: (5, "list"),
}
_SAID = 0.5  # seconds between estimates
_FIELDS = 4  # of a logged command: ns of its end, ns that it took, direction, bytes
_TOTALS = struct.Struct("<4Q")  # what a process tells of itself: retrieves, bytes of them, stores, bytes of them
NS_PER_S, NS_PER_MS = 1_000_000_000, 1_000_000


def planned_seconds(kv: Mapping[str, Any]) -> float:
    """How long the load is meant to run, once all keys are stored."""
    return float(kv["runtime"] + kv["ramp_time"]) / NS_PER_S


def patience(kv: Mapping[str, Any]) -> float:
    """Seconds that storing all keys may take: 20 a second, which an emulated machine manages however busy it is."""
    return float(kv["keys"]) / 20


def zipf(n: int, exponent: float, dice: random.Random) -> Iterator[int]:
    """Numbers from 0 below ``n``, the k-th as likely as (k + 1) to the power of -``exponent``, without a table.

    Rejection-inversion: W. Hörmann and G. Derflinger, ACM TOMACS 6(3), 1996.
    """

    def area(x: float) -> float:  # the integral of x ** -exponent from 1
        t = (1 - exponent) * math.log(x)
        return math.log(x) * (math.expm1(t) / t if t else 1)

    def inverse(y: float) -> float:
        t = max(y * (1 - exponent), -1 + 1e-15)
        return math.exp(y * (math.log1p(t) / t if t else 1))

    first, last = area(1.5) - 1, area(n + 0.5)
    sure = 2 - inverse(area(2.5) - 2**-exponent)
    while True:
        y = last + dice.random() * (first - last)
        x = inverse(y)
        k = min(max(int(x + 0.5), 1), n)
        if k - x <= sure or y >= area(k + 0.5) - k**-exponent:
            yield k - 1


class Worker:
    """One process of a load: one command at a time. ``number`` is its own, of all jobs'."""

    def __init__(self, kv: Mapping[str, Any], seed: int, number: int, store: Store) -> None:
        self.kv, self.number, self.store = kv, number, store
        self.dice = random.Random(f"{seed}/{number}")
        self.log, self.totals, self.stop = array("Q"), [0, 0, 0, 0], False
        kind, _, exponent = kv["distribution"].partition(":")
        self._zipf = zipf(kv["keys"], float(exponent), self.dice) if kind == "zipf" else None
        self._kinds = [opcode for opcode in DIRECTIONS if kv[opcode.name.lower()]]
        self._parts = [kv[opcode.name.lower()] for opcode in self._kinds]

    def fill(self, told: Callable[[], None]) -> None:
        """Store this process's share of all keys."""
        for n in range(self.number, self.kv["keys"], self.kv["iodepth"] * self.kv["numjobs"]):
            if self.stop:
                return
            key, size = self._key(n), self._size(Opcode.STORE)
            self._prepare(key, size)
            self.store.send(Opcode.STORE, key, size)
            told()

    def run(self, began: int, told: Callable[[], None]) -> None:
        """Commands at random from ``began`` on (CLOCK_MONOTONIC, ns), at the job's rate if it has one; this process takes its
        turns of it."""
        kv, depth = self.kv, self.kv["iodepth"]
        counted = began + kv["ramp_time"]
        ends = counted + kv["runtime"]
        turn = self.number % depth
        interval = NS_PER_S / kv["rate_iops"] if kv["rate_iops"] else 0
        while not self.stop and (kv["number_ios"] is None or turn < kv["number_ios"]):
            wait_until(min(ends, began + int(turn * interval)))
            if time.monotonic_ns() >= ends:
                return
            self._one(counted)
            turn += depth
            told()

    def _one(self, counted: int) -> None:
        (opcode,) = self.dice.choices(self._kinds, self._parts)
        key = self._key(next(self._zipf) if self._zipf else self.dice.randrange(self.kv["keys"]))
        size = self._size(opcode)
        if opcode == Opcode.STORE:
            self._prepare(key, size)
        moved = size if opcode == Opcode.STORE else 0
        started = time.monotonic_ns()
        with suppress(KeyNotFoundError):
            whole = self.store.send(opcode, key, size)
            moved = min(whole, size) if opcode == Opcode.RETRIEVE else moved
        ended = time.monotonic_ns()
        if opcode == Opcode.RETRIEVE:
            self._check(key, moved)
        if started >= counted:
            self._note(opcode, ended, ended - started, moved)

    def _key(self, n: int) -> bytes:
        return n.to_bytes(MAX_KEY, "little")[: self.kv["key_size"]]

    def _size(self, opcode: Opcode) -> int:
        """Bytes of the value to store, or of the buffer for what comes."""
        least, most = self.kv["value"]
        if opcode == Opcode.STORE:
            return self.dice.randint(least, most)
        return {Opcode.RETRIEVE: int(most), Opcode.LIST: LIST_BYTES}.get(opcode, 0)

    def _prepare(self, key: bytes, size: int) -> None:
        begins = key[:size]
        self.store.buffer[: len(begins)] = begins

    def _check(self, key: bytes, size: int) -> None:
        begins = key[:size]
        if self.store.buffer[: len(begins)] != begins:
            raise ValueError(f"the value of key {key.hex()} is another's")

    def _note(self, opcode: Opcode, ended: int, took: int, size: int) -> None:
        op = DIRECTIONS[opcode][0]
        self.log.extend((ended, took, op, size))
        if op < 2:
            self.totals[2 * op] += 1
            self.totals[2 * op + 1] += size


def wait_until(when: int) -> None:
    """Sleep until CLOCK_MONOTONIC is ``when`` ns, if it is not later already."""
    while (left := when - time.monotonic_ns()) > 0:
        time.sleep(left / NS_PER_S)


class Load:
    """A load with its processes, as ``keys-job.json`` says it."""

    def __init__(self, directory: Path, job: Mapping[str, Any]) -> None:
        self.directory, self.job, self.kv = directory, job, job["kv"]
        self.workers = self.kv["iodepth"] * self.kv["numjobs"]
        self.shared = mmap.mmap(-1, self.workers * _TOTALS.size)

    def run(self) -> int:
        """Store the keys if that is asked for, then all commands, telling how fast; the exit code."""
        if self.job["store"] and self._spread(lambda worker, told, _: worker.fill(told), keep=False):
            return 1
        failed = self._spread(lambda worker, told, began: worker.run(began, told), keep=True)
        self._results(bool(failed))
        return failed

    def _spread(self, act: Callable[[Worker, Callable[[], None], int], None], keep: bool) -> int:
        """``act`` in each process, begun together; whether one failed."""
        go, gone = os.pipe(), os.pipe()
        pids = [self._fork(number, act, keep, go, gone) for number in range(self.workers)]
        os.close(go[0])
        os.close(gone[1])
        os.write(go[1], struct.pack("<Q", time.monotonic_ns()) * self.workers)
        os.close(go[1])
        self._watch(gone[0], pids, keep)
        os.close(gone[0])
        return int(any(os.waitpid(pid, 0)[1] for pid in pids))

    def _fork(self, number: int, act: Callable[..., None], keep: bool, go: tuple[int, int], gone: tuple[int, int]) -> int:
        if pid := os.fork():
            return pid
        code = 1
        try:
            os.close(go[1])
            os.close(gone[0])
            self._work(number, act, keep, go[0])
            code = 0
        except (OSError, KeyValueError, ValueError) as error:
            print(f"{self.job['target']}: {error}" + ("" if keep else ", when the keys were stored"), file=sys.stderr, flush=True)
            os.write(gone[1], b"x")
        finally:
            os._exit(code)

    def _work(self, number: int, act: Callable[..., None], keep: bool, go: int) -> None:
        with Store(self.job["target"], max(self.kv["value"][1], LIST_BYTES)) as store:
            worker = Worker(self.kv, self.job["seed"], number, store)

            def stop(signum: int, frame: FrameType | None) -> None:
                worker.stop = True

            signal.signal(signal.SIGINT, stop)
            began = struct.unpack("<Q", os.read(go, 8))[0]
            act(worker, lambda: _TOTALS.pack_into(self.shared, number * _TOTALS.size, *worker.totals), began)
            if keep:
                self._log(number).write_bytes(worker.log.tobytes())

    def _log(self, number: int) -> Path:
        return self.directory / LOG_DIR / f"keys.{number}"

    def _watch(self, gone: int, pids: list[int], tell: bool) -> None:
        """Until all processes are gone; the others end when one fails."""
        before: tuple[int, ...] = (0, 0, 0, 0)
        while True:
            ready, _, _ = select.select([gone], [], [], _SAID)
            if ready and not os.read(gone, 1):
                return
            for pid in pids if ready else ():
                os.kill(pid, signal.SIGINT)
            if tell and not ready:
                before = self._tell(before)

    def _tell(self, before: tuple[int, ...]) -> tuple[int, ...]:
        now = tuple(map(sum, zip(*_TOTALS.iter_unpack(self.shared[:]), strict=True)))
        reads, read, writes, wrote = ((new - old) / _SAID for new, old in zip(now, before, strict=True))
        rates = f"[r={read / 1024:.0f}KiB/s,w={wrote / 1024:.0f}KiB/s][r={reads:.0f},w={writes:.0f} IOPS]"
        print(rates, flush=True)
        return now

    def _results(self, failed: bool) -> None:
        """The logs of each job's processes as one of fio's, and fio's kind of summary."""
        by_op: dict[str, list[tuple[int, int, int]]] = {}
        names = dict(DIRECTIONS.values())
        for job in range(self.kv["numjobs"]):
            lines = []
            for number in range(job * self.kv["iodepth"], (job + 1) * self.kv["iodepth"]):
                for ended, took, op, size in self._logged(number):
                    by_op.setdefault(names[op], []).append((ended, took, size))
                    lines.append(f"{ended // NS_PER_MS}, {took}, {op}, {size}, 0\n")
            if self.job["trace"]:
                (self.directory / LOG_DIR / f"{self.job['name']}_lat.{job + 1}.log").write_text("".join(lines))
        said = {"jobname": self.job["name"], "total_err": int(failed)} | {op: direction(log) for op, log in by_op.items()}
        (self.directory / RESULT).write_text(json.dumps({"fio version": "nvlab's load of keys", "jobs": [said]}))

    def _logged(self, number: int) -> Iterator[tuple[int, int, int, int]]:
        path, log = self._log(number), array("Q")
        if path.exists():
            log.frombytes(path.read_bytes())
            path.unlink()
        for at in range(0, len(log), _FIELDS):
            ended, took, op, size = log[at : at + _FIELDS]
            yield ended, took, op, size


def argv(directory: str) -> list[str]:
    """The command that runs this module."""
    return [sys.executable, "-m", "nvlab.workload.keyrun", directory]


def main(directory: Path) -> int:
    """Run what is asked for in ``directory``; the exit code."""
    signal.signal(signal.SIGINT, lambda *_: None)  # it is for the processes, who end then
    return Load(directory, json.loads((directory / JOB).read_text())).run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
