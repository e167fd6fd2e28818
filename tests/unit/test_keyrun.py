# SPDX-License-Identifier: GPL-2.0-or-later
"""A live load of keys: what it draws, what it sends, what it leaves. The drive here is the core's."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab.kv import KeyNotFoundError, Opcode, error_of
from nvlab.record.fiolog import convert_logs, convert_results
from nvlab.record.format import LATENCY, OPS, RESULTS
from nvlab.sim import key_commands
from nvlab.sim.structs import KeyOpcode
from nvlab.workload import keyrun
from nvlab.workload.fio import LOG_DIR
from nvlab.workload.keyrun import DIRECTIONS, LIST_BYTES, Load, Worker, planned_seconds, zipf
from tests.unit.kvdrive import drive, keys_of

KV: dict[str, Any] = {
    "keys": 50, "value": [100, 5000], "key_size": 4, "store": 4, "retrieve": 4, "delete": 1, "exist": 1, "list": 1,
    "distribution": "uniform", "iodepth": 1, "numjobs": 1, "runtime": 50_000_000, "ramp_time": 0, "number_ios": 300,
    "rate_iops": None,
}  # fmt: skip


class CoreStore:
    """What a load needs of :class:`nvlab.kv.Store`: statuses are the core's, values are in a dictionary."""

    def __init__(self) -> None:
        self.device, self.buffer, self.values = drive(), bytearray(8192), dict[bytes, bytes]()
        self.sent: list[tuple[Opcode, bytes, int]] = []

    def send(self, opcode: Opcode, key: bytes = b"", size: int = 0, option: int = 0) -> int:
        self.sent.append((opcode, key, size))
        decision = self.device.submit(key_commands(KeyOpcode(opcode), [key], size, option=option))[0]
        if decision["status"]:
            raise error_of(opcode, int(decision["status"]))
        if opcode == Opcode.STORE:
            self.values[key] = bytes(self.buffer[:size])
        if opcode == Opcode.RETRIEVE:
            self.buffer[: len(self.values[key])] = self.values[key]
        return int(decision["result"])


def worker(seed: int = 1, number: int = 0, **changes: Any) -> tuple[Worker, CoreStore]:
    store = CoreStore()
    return Worker(KV | changes, seed, number, store), store  # type: ignore[arg-type]


def nothing() -> None:
    pass


def test_it_is_recorded_as_everything_else() -> None:
    assert {op: OPS[index] for op, (index, _) in DIRECTIONS.items()} == {op: name for op, (_, name) in DIRECTIONS.items()}
    assert planned_seconds(KV | {"ramp_time": 450_000_000}) == 0.5


@given(st.integers(1, 2000), st.floats(0, 4.999), st.integers(0, 99))
def test_zipf_stays_within_its_numbers(n: int, exponent: float, seed: int) -> None:
    numbers = zipf(n, exponent, random.Random(seed))
    assert all(0 <= next(numbers) < n for _ in range(50))


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.99, 1.0, 1.5, 3.0])
def test_zipf_is_zipf(exponent: float) -> None:
    n, draws = 40, 60_000
    numbers = zipf(n, exponent, random.Random(7))
    found = Counter(next(numbers) for _ in range(draws))
    weights = np.arange(1, n + 1) ** -exponent
    want = draws * weights / weights.sum()
    chi2 = sum((found[k] - want[k]) ** 2 / want[k] for k in range(n))
    assert chi2 < 90, "of 39 degrees of freedom: 1 in 200 000"


def test_all_keys_are_stored_first_by_all_processes_together() -> None:
    (one, first), (two, second) = (worker(number=n, iodepth=2) for n in (0, 1))
    one.fill(nothing)
    two.fill(nothing)
    stored = [key for store in (first, second) for _, key, _ in store.sent]
    assert sorted(stored) == sorted(n.to_bytes(4, "little") for n in range(50))
    assert set(keys_of(first.device)) | set(keys_of(second.device)) == set(stored)


def test_commands_come_in_the_parts_that_are_asked_for_and_are_the_same_for_the_same_seed() -> None:
    runs = []
    for _ in range(2):
        one, store = worker(runtime=10**11)
        one.fill(nothing)
        one.run(time.monotonic_ns(), nothing)
        runs.append(store.sent)
    assert runs[0] == runs[1]
    sent = runs[0][50:]
    found = Counter(op for op, _, _ in sent)
    assert len(sent) == 300 and found[Opcode.STORE] > 3 * found[Opcode.DELETE] > 0 and found[Opcode.LIST] > 0
    assert {size for op, _, size in sent if op == Opcode.RETRIEVE} == {5000}
    assert all(100 <= size <= 5000 for op, _, size in sent if op == Opcode.STORE)
    assert {size for op, _, size in sent if op == Opcode.LIST} == {LIST_BYTES}


def test_what_is_not_there_is_no_error_and_what_is_anothers_is() -> None:
    one, store = worker(retrieve=1, store=0, delete=0, exist=0, list=0, number_ios=5)
    one.run(time.monotonic_ns(), nothing)
    assert list(one.log[2::4]) == [0] * 5 and list(one.log[3::4]) == [0] * 5
    one.fill(nothing)
    store.values = dict.fromkeys(store.values, b"\xff" * 5000)
    with pytest.raises(ValueError, match="is another's"):
        one.run(time.monotonic_ns(), nothing)
    with pytest.raises(KeyNotFoundError):
        store.send(Opcode.EXIST, b"none")


class Clock:
    """Time that only those who sleep or look take: a microsecond for each look."""

    def __init__(self) -> None:
        self.now = 10**12

    def monotonic_ns(self) -> int:
        self.now += 1000
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


def test_a_rate_is_kept_by_turns_and_a_ramp_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(keyrun, "time", clock)
    began = clock.monotonic_ns()
    one, store = worker(rate_iops=1000, iodepth=2, number=1, runtime=60_000_000, ramp_time=20_000_000, number_ios=None)
    one.run(began, nothing)
    assert clock.monotonic_ns() - began >= 79_000_000 and len(store.sent) == 40, "each second turn of a ms"
    assert len(one.log) // 4 == 30
    assert all(end >= began + 20_000_000 for end in one.log[0::4])


def test_what_it_leaves_is_read_as_fios(tmp_path: Path) -> None:
    (tmp_path / LOG_DIR).mkdir()
    kv = KV | {"iodepth": 2, "numjobs": 2}
    load = Load(tmp_path, {"target": "/dev/ng0n1", "name": "w", "seed": 1, "trace": True, "store": True, "kv": kv})
    sent = []
    for number in range(4):
        one, store = worker(number=number, iodepth=2, numjobs=2, runtime=10**11)
        one.fill(nothing)
        one.run(time.monotonic_ns(), nothing)
        sent += store.sent[-(len(one.log) // 4) :]
        (tmp_path / LOG_DIR / f"keys.{number}").write_bytes(one.log.tobytes())
    load._results(False)
    assert convert_logs(tmp_path, ["w"]) == len(sent) and set(np.load(tmp_path / LATENCY)["job"].tolist()) == {0, 1}
    convert_results(tmp_path, ["w"])
    results = json.loads((tmp_path / RESULTS).read_text())["results"]
    ops = Counter(DIRECTIONS[op][1] for op, _, _ in sent)
    assert {r["op"]: r["ios"] for r in results} == dict(ops)
    stored = sum(size for op, _, size in sent if op == Opcode.STORE)
    assert next(r["bytes"] for r in results if r["op"] == "write") == stored
