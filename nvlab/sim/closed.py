# SPDX-License-Identifier: GPL-2.0-or-later
"""The closed loop: jobs that keep a number of commands in flight on one simulated device, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvlab.sim._core import ffi, lib
from nvlab.sim.device import Device
from nvlab.sim.structs import COMMAND, DECISION, WITH_RANGES

NEVER = 2**64 - 1


@dataclass(frozen=True)
class Job:
    """Commands in pieces of dtype ``COMMAND`` (neither Dataset Management nor Copy), of which ``depth`` are kept in flight.

    None is submitted before ``start`` ns, nor from ``end`` on. With an ``interval`` the n-th is due n intervals (ns) after the
    start, and submitted then or, where ``depth`` are in flight, as soon as one of them is done: as fio does with a rate.
    """

    pieces: Iterator[NDArray[np.void]]
    depth: int
    start: int = 0
    end: int = NEVER
    interval: int = 0


@dataclass(frozen=True)
class Done:
    """What a job submitted and what was decided of it: two arrays of one length, dtypes ``COMMAND`` and ``DECISION``."""

    commands: NDArray[np.void]
    decisions: NDArray[np.void]


@dataclass(frozen=True)
class Happening:
    """What is done to the device between two commands, ``at`` so many ns or, if that is later, once it is ready after the one
    before. ``do`` has the time, ns, and says from when on the device takes commands.
    """

    at: int
    do: Callable[[int], int]


def closed_loop(device: Device, jobs: Sequence[Job], happenings: Sequence[Happening] = ()) -> list[Done]:
    """Run jobs side by side until each has come to its end, or has no commands left; what each has done.

    What comes later than that does not happen. Where it leaves the device without power for a while, commands that were under
    way are submitted once more when it is back, in their order, as drivers do: their latency has all of that in it.
    """
    native = ffi.new("struct batch_stream[]", len(jobs))
    running = [_Running(job, stream) for job, stream in zip(jobs, native, strict=True)]

    def run(until: int) -> None:
        for each in running:
            each.stop_at(until)
        while (which := lib.batch_closed(device.native, native, len(jobs))) < len(jobs):
            running[which].refill()

    ready = 0
    for happening in sorted(happenings, key=lambda each: each.at):
        at = max(happening.at, ready)
        run(at)
        if all(each.over for each in running):
            break
        ready = happening.do(at)
        if ready > at:
            _submit_again(device, running, at, ready)
    run(NEVER)
    return [each.done() for each in running]


def _submit_again(device: Device, running: Sequence[_Running], cut: int, ready: int) -> None:
    """The commands that a cut met on their way, and everything else, from ``ready`` on."""
    found = [(piece, index) for each in running for piece, index in each.under_way(cut)]
    found.sort(key=lambda where: int(where[0].commands["now"][where[1]]))
    for piece, index in found:
        command = piece.commands[index : index + 1].copy()
        command["now"] = ready
        piece.decisions[index] = device.submit(command)[0]
    for each in running:
        each.wait(cut, ready)


def _pointer(ctype: str, array: NDArray[Any]) -> Any:
    """For the core to write through, as long as somebody keeps the array."""
    return ffi.from_buffer(ctype, array, require_writable=True)


class _Running:
    """A job in the loop: keeps what the core writes to alive."""

    def __init__(self, job: Job, native: Any) -> None:
        self._job, self._native = job, native
        self._free = np.full(job.depth, job.start, np.uint64)
        self._pieces: list[Done] = []
        native.free = _pointer("u64[]", self._free)
        native.depth, native.interval, native.due, native.end = job.depth, job.interval, job.start, job.end

    @property
    def over(self) -> bool:
        """Whether it never submits again."""
        return bool(max(int(self._free.min()), self._native.due) >= self._job.end)

    def stop_at(self, until: int) -> None:
        """Submit nothing from then on, for now."""
        self._native.end = min(self._job.end, until)

    def under_way(self, now: int) -> Iterator[tuple[Done, int]]:
        """Commands that are submitted and not completed at ``now`` ns: which of a piece."""
        for piece in self._pieces:
            sent = self._native.next if piece is self._pieces[-1] else len(piece.commands)
            yield from ((piece, int(index)) for index in np.flatnonzero(piece.decisions["target"][:sent] > now))

    def wait(self, cut: int, ready: int) -> None:
        """No place in the queue is empty before ``ready`` ns; of commands that a cut met, when they are done now."""
        again = [piece.decisions["target"][index] for piece, index in self.under_way(cut)]
        if again:
            self._free[self._free > cut] = again
        np.maximum(self._free, np.uint64(ready), out=self._free)

    def refill(self) -> None:
        """Point the core to the next piece; without one the job never submits again."""
        piece = next(self._job.pieces, None)
        if piece is None:
            self._native.due = NEVER
            return
        if np.isin(piece["opcode"], WITH_RANGES).any():
            raise ValueError("a closed loop has no commands with ranges")
        self._pieces.append(Done(piece, np.zeros(len(piece), DECISION)))
        self._native.cmds = _pointer("struct nvc_cmd[]", piece)
        self._native.decisions = _pointer("struct nvc_decision[]", self._pieces[-1].decisions)
        self._native.n, self._native.next = len(piece), 0

    def done(self) -> Done:
        """All pieces, the last as far as it came."""
        if self._pieces:
            last = self._pieces[-1]
            self._pieces[-1] = Done(last.commands[: self._native.next], last.decisions[: self._native.next])
        commands = [np.empty(0, COMMAND), *(piece.commands for piece in self._pieces)]
        decisions = [np.empty(0, DECISION), *(piece.decisions for piece in self._pieces)]
        return Done(np.concatenate(commands), np.concatenate(decisions))
