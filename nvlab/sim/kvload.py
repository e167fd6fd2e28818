# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads for devices with keys: a population that is stored first, then commands drawn at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvlab.sim.closed import NEVER, Done, Happening, Job, closed_loop
from nvlab.sim.device import Device
from nvlab.sim.structs import COMMAND, KeyOpcode, Opcode, Status

PIECE = 1 << 16  # commands made at a time
FILL_DEPTH = 32  # commands in flight while the population is stored
LIST_BYTES = 4096  # of the host's buffer for a List
NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class KeyLoad:
    """What ``[workload.x.kv]`` says, with its seed: sizes in bytes, times in ns, kinds of commands in parts of all."""

    keys: int
    value: tuple[int, int]
    key_size: int
    parts: Mapping[KeyOpcode, int]
    distribution: str
    iodepth: int
    numjobs: int
    runtime: int
    ramp_time: int
    number_ios: int | None
    rate_iops: int | None
    seed: int

    def population(self) -> Iterator[NDArray[np.void]]:
        """A Store of each key, in pieces, without times."""
        rng = np.random.default_rng([self.seed, 0])
        for first in range(0, self.keys, PIECE):
            numbers = np.arange(first, min(first + PIECE, self.keys), dtype=np.uint64)
            yield self._commands(numbers, np.full(len(numbers), KeyOpcode.STORE, np.uint8), rng)

    def commands(self, job: int) -> Iterator[NDArray[np.void]]:
        """The commands of one job in pieces, without times: the same ones for the same seed and job."""
        rng = np.random.default_rng([self.seed, 1, job])
        opcodes = np.array([*self.parts], np.uint8)
        parts = np.array([*self.parts.values()], np.float64)
        likely = self._likely()
        left = self.number_ios
        while left is None or left:
            n = PIECE if left is None else min(PIECE, left)
            numbers = rng.integers(0, self.keys, n) if likely is None else np.searchsorted(likely, rng.random(n) * likely[-1])
            yield self._commands(numbers.astype(np.uint64), rng.choice(opcodes, n, p=parts / parts.sum()), rng)
            left = None if left is None else left - n

    def _likely(self) -> NDArray[np.float64] | None:
        """Of a Zipf distribution the running sum of what keys weigh; None if all weigh the same."""
        kind, _, exponent = self.distribution.partition(":")
        return None if kind == "uniform" else np.cumsum(np.arange(1, self.keys + 1) ** -float(exponent))

    def _commands(self, numbers: NDArray[np.uint64], opcodes: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.void]:
        """Of keys by number: the n-th is n in so many bytes, the lowest first."""
        found = np.zeros(len(numbers), COMMAND)
        found["nsid"], found["opcode"], found["action"] = 1, opcodes, self.key_size
        found["slba"] = numbers
        sizes = rng.integers(self.value[0], self.value[1] + 1, len(numbers))
        sizes[opcodes == KeyOpcode.RETRIEVE] = self.value[1]
        sizes[(opcodes == KeyOpcode.DELETE) | (opcodes == KeyOpcode.EXIST)] = 0
        sizes[opcodes == KeyOpcode.LIST] = LIST_BYTES
        found["nlb"] = sizes
        return found

    def fill(self, device: Device, now: int) -> int:
        """Store the population, from ``now`` ns on; when all of it is on the medium. Raises ValueError where it has no room."""
        (done,) = closed_loop(device, [Job(self.population(), FILL_DEPTH, now)])
        refuse(done)
        flush = np.zeros(1, COMMAND)
        flush["opcode"], flush["nsid"], flush["now"] = Opcode.FLUSH, 1, done.decisions["target"].max()
        return int(device.submit(flush)[0]["target"])

    def run(self, device: Device, now: int, happenings: Sequence[Happening] = ()) -> list[Done]:
        """What each job does, from ``now`` ns on; what begins before ``now + ramp_time`` is not to be counted."""
        end = now + self.ramp_time + self.runtime
        interval = NS_PER_S // self.rate_iops if self.rate_iops else 0
        jobs = [Job(self.commands(job), self.iodepth, now, min(end, NEVER), interval) for job in range(self.numjobs)]
        found = closed_loop(device, jobs, happenings)
        for done in found:
            refuse(done)
        return found


def refuse(done: Done) -> None:
    """Raises ValueError where a device refused a command for more than that there is no such key."""
    status = done.decisions["status"]
    if len(refused := status[(status != Status.SUCCESS) & (status != Status.KEY_DOES_NOT_EXIST)]):
        why = "it is worn out" if refused[0] == Status.READ_ONLY else Status(refused[0]).name.lower().replace("_", " ")
        raise ValueError(f"the device refused {len(refused)} commands: {why}")


def sizes(cmds: NDArray[np.void], decisions: NDArray[np.void]) -> NDArray[np.uint32]:
    """Bytes of each command's value, shape (n,): what was stored, what was retrieved, else 0."""
    stored = np.where(cmds["opcode"] == KeyOpcode.STORE, cmds["nlb"], 0)
    retrieved = np.minimum(decisions["result"], cmds["nlb"])
    return np.where(cmds["opcode"] == KeyOpcode.RETRIEVE, retrieved, stored).astype(np.uint32)
