# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads for zoned devices, as fio's ``zonemode=zbd`` has them: what is written goes to one zone after the other, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from nvlab.sim.load import Load
from nvlab.sim.structs import COMMAND, Flag, Opcode, ZoneAction, ZoneOpcode
from nvlab.sim.zones import Zoned

CHUNK = 256  # blocks of a command that fills a zone


def writable(zoned: Zoned) -> int:
    """Blocks of a zoned namespace that can be written; a load's offset and size are shares of these."""
    return zoned.zones * zoned.capacity


def fill(zoned: Zoned) -> NDArray[np.void]:
    """Commands, dtype ``COMMAND``, that write all zones of a new device."""
    starts = np.arange(0, zoned.capacity, CHUNK, dtype=np.uint64)
    found = np.zeros(zoned.zones * len(starts), COMMAND)
    found["opcode"], found["nsid"] = Opcode.WRITE, 1
    zones = np.arange(zoned.zones, dtype=np.uint64) * np.uint64(zoned.size)
    found["slba"] = np.add.outer(zones, starts).ravel()
    found["nlb"] = np.tile(np.minimum(CHUNK, zoned.capacity - starts), zoned.zones)
    return found


def finish_all() -> NDArray[np.void]:
    """One command: no zone is open or closed any longer."""
    return _send(ZoneAction.FINISH, 0, Flag.ALL_ZONES)


def _send(action: ZoneAction, slba: int, flags: int = 0) -> NDArray[np.void]:
    command = np.zeros(1, COMMAND)
    command["opcode"], command["nsid"] = ZoneOpcode.SEND, 1
    command["action"], command["slba"], command["flags"] = action, slba, flags
    return command


@dataclass(frozen=True)
class ZonedLoad:
    """A load that only reads or only writes, in whole zones. Of several jobs that write each has zones of its own.

    A zone is reset before it is written anew. Where a job keeps more than one command in flight it appends, as hosts must.
    """

    load: Load
    zoned: Zoned

    def commands(self, name: str, job: int) -> Iterator[NDArray[np.void]]:
        """The commands of one job in pieces, without times. Raises ValueError where zones are too few or too small."""
        step = max(self.load.nlb)
        if step > self.zoned.capacity:
            raise ValueError(f"a zone has room for {self.zoned.capacity} blocks, less than one I/O of {step}")
        first = -(-self.load.first // self.zoned.capacity)
        count = (self.load.first + self.load.blocks) // self.zoned.capacity - first
        if count < (1 if self.load.reads else self.load.jobs):
            raise ValueError(f"{self.load.jobs} jobs have {count} whole zones of {self.zoned.capacity} blocks each")
        return self._reads(name, job, first, count, step) if self.load.reads else self._writes(job, first, count, step)

    def _reads(self, name: str, job: int, first: int, count: int, step: int) -> Iterator[NDArray[np.void]]:
        each = self.zoned.capacity // step
        dense = replace(self.load, first=0, blocks=count * each * step)
        for piece in dense.commands(name, job):
            zone, place = np.divmod(piece["slba"] // np.uint64(step), np.uint64(each))
            piece["slba"] = (zone + np.uint64(first)) * np.uint64(self.zoned.size) + place * np.uint64(step)
            yield piece

    def _writes(self, job: int, first: int, count: int, step: int) -> Iterator[NDArray[np.void]]:
        left = self.load.ios
        for zone in cycle(range(first + job, first + count, self.load.jobs)):
            n = self.zoned.capacity // step if left is None else min(left, self.zoned.capacity // step)
            start = zone * self.zoned.size
            writes = np.zeros(n, COMMAND)
            writes["nsid"], writes["nlb"] = 1, step
            writes["opcode"] = ZoneOpcode.APPEND if self.load.depth > 1 else Opcode.WRITE
            writes["slba"] = start if self.load.depth > 1 else start + np.arange(n) * step
            parts = [_send(ZoneAction.RESET, start), writes]
            if n * step < self.zoned.capacity:
                parts.append(_send(ZoneAction.FINISH, start))
            yield _joined(parts)
            left = None if left is None else left - n
            if left == 0:
                return


def _joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    """One array; numpy's own way drops the padding of a structure."""
    whole = np.zeros(sum(map(len, parts)), COMMAND)
    at = 0
    for part in parts:
        whole[at : at + len(part)] = part
        at += len(part)
    return whole
