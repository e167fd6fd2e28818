# SPDX-License-Identifier: GPL-2.0-or-later
"""What the standard says of zones, as tables and a model that know nothing of the core: Zoned Namespace command set 1.1.

Sections are the standard's. The Zone Random Write Area is TP 4076's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nvlab.sim import Status, ZoneAction, ZoneState

E, IO, EO, C, F, RO, O = (  # noqa: E741
    ZoneState.EMPTY,
    ZoneState.IMPLICIT,
    ZoneState.EXPLICIT,
    ZoneState.CLOSED,
    ZoneState.FULL,
    ZoneState.READ_ONLY,
    ZoneState.OFFLINE,
)
X = Status.ZONE_TRANSITION
ACTIVE, OPEN = {IO, EO, C}, {IO, EO}

# 3.4.3.1.1 to 3.4.3.1.6: what an action makes of a zone in each state, or its status.
SEND = {
    ZoneAction.CLOSE:         {E: X,  IO: C,  EO: C,  C: C,  F: X, RO: X, O: X},
    ZoneAction.FINISH:        {E: F,  IO: F,  EO: F,  C: F,  F: F, RO: X, O: X},
    ZoneAction.OPEN:          {E: EO, IO: EO, EO: EO, C: EO, F: X, RO: X, O: X},
    ZoneAction.RESET:         {E: E,  IO: E,  EO: E,  C: E,  F: E, RO: X, O: X},
    ZoneAction.OFFLINE:       {E: X,  IO: X,  EO: X,  C: X,  F: X, RO: O, O: O},
    ZoneAction.SET_EXTENSION: {E: C,  IO: X,  EO: X,  C: X,  F: X, RO: X, O: X},
}  # fmt: skip

# The same with Select All: the zones it is for.
ALL = {
    ZoneAction.CLOSE: {IO, EO},
    ZoneAction.FINISH: {IO, EO, C},
    ZoneAction.OPEN: {C},
    ZoneAction.RESET: {IO, EO, C, F},
    ZoneAction.OFFLINE: {RO},
}

# 2.1.1.2.1.1, 2.1.1.3: a write of what the zone has room for; when that is all of it, it is full.
WRITE = {E: IO, IO: IO, EO: EO, C: IO, F: Status.ZONE_FULL, RO: Status.ZONE_READ_ONLY, O: Status.ZONE_OFFLINE}
# 2.1.1.2.1.2
READ = dict.fromkeys([E, IO, EO, C, F, RO], Status.SUCCESS) | {O: Status.ZONE_OFFLINE}
# 2.1.1.3, the initial state after an NVM Subsystem Reset: with the write pointer beyond the zone's start, and at it.
RESTART = {IO: C, EO: C, C: C, F: F, RO: RO, O: O}
RESTART_UNWRITTEN = {E: E, IO: E, EO: E, C: E}


@dataclass
class Zone:
    """A zone: its blocks, the number of the write that wrote each or 0, in front of the write pointer and in a ZRWA."""

    capacity: int
    state: ZoneState = E
    wp: int = 0
    zrwa: bool = False
    extended: bool = False
    blocks: dict[int, int] = field(default_factory=dict)


@dataclass
class Limits:
    active: int
    open: int
    append: int = 0
    extension: bool = False
    zrwas: int = 0
    zrwa: int = 0
    flush: int = 1


class Oracle:
    """Zones of one size; ``used`` has the active ones, that used least lately first."""

    def __init__(self, zones: int, size: int, capacity: int, limits: Limits) -> None:
        self.zones = [Zone(capacity) for _ in range(zones)]
        self.size, self.capacity, self.limits = size, capacity, limits
        self.used: list[int] = []
        self.seq = 0

    def count(self, states: set[ZoneState]) -> int:
        return sum(zone.state in states for zone in self.zones)

    def set(self, z: int, state: ZoneState) -> None:
        zone = self.zones[z]
        if state in ACTIVE and zone.state not in ACTIVE:
            self.used.append(z)
        if state not in ACTIVE:
            self.used = [other for other in self.used if other != z]
            zone.zrwa = False
        zone.state = state

    def no_room(self, state: ZoneState, *, opens: bool = True) -> Status | None:
        """2.1.1.4.1; zones that a write opened are closed for another."""
        if state not in ACTIVE and self.count(ACTIVE) == self.limits.active:
            return Status.TOO_MANY_ACTIVE
        if opens and state not in OPEN and self.count(OPEN) == self.limits.open and not self.count({IO}):
            return Status.TOO_MANY_OPEN
        return None

    def make_room(self, most: int) -> None:
        for z in list(self.used):
            if self.count(OPEN) > most and self.zones[z].state == IO:
                self.set(z, C)

    def enter(self, z: int, state: ZoneState) -> None:
        """A zone is opened, or stays so."""
        if self.zones[z].state not in OPEN:
            self.make_room(self.limits.open - 1)
        self.set(z, state)

    def write(self, slba: int, nlb: int) -> Status:
        z, at = divmod(slba, self.size)
        zone = self.zones[z]
        after = WRITE[zone.state]
        if isinstance(after, Status):
            return after
        window = 2 * self.limits.zrwa if zone.zrwa else 0
        if zone.zrwa and not zone.wp <= at <= at + nlb <= zone.wp + window:
            return Status.ZONE_INVALID_WRITE
        if not zone.zrwa and at != zone.wp:
            return Status.ZONE_INVALID_WRITE
        if at + nlb > self.capacity:
            return Status.ZONE_BOUNDARY
        if refused := self.no_room(zone.state):
            return refused
        self.put(z, at, nlb, after)
        return Status.SUCCESS

    def put(self, z: int, at: int, nlb: int, state: ZoneState) -> None:
        zone = self.zones[z]
        self.seq += 1
        self.enter(z, state)
        self.used = [other for other in self.used if other != z] + [z]
        zone.blocks |= dict.fromkeys(range(at, at + nlb), self.seq)
        if not zone.zrwa:
            self.move(z, at + nlb)
        elif at + nlb > zone.wp + self.limits.zrwa:  # implicit flush, by whole grains
            beyond = at + nlb - zone.wp - self.limits.zrwa
            self.move(z, zone.wp + -(-beyond // self.limits.flush) * self.limits.flush)

    def move(self, z: int, wp: int) -> None:
        self.zones[z].wp = wp
        if wp == self.capacity:
            self.set(z, F)

    def append(self, zslba: int, nlb: int) -> tuple[Status, int]:
        z, at = divmod(zslba, self.size)
        zone = self.zones[z]
        after = WRITE[zone.state]
        if isinstance(after, Status):
            return after, 0
        if zone.zrwa:
            return Status.ZONE_OPERATION, 0
        if at or (self.limits.append and nlb > self.limits.append):
            return Status.INVALID_FIELD, 0
        if zone.wp + nlb > self.capacity:
            return Status.ZONE_BOUNDARY, 0
        if refused := self.no_room(zone.state):
            return refused, 0
        where = z * self.size + zone.wp
        self.put(z, zone.wp, nlb, after)
        return Status.SUCCESS, where

    def send(self, action: ZoneAction, slba: int, *, zrwa: bool = False) -> Status:
        z, at = divmod(slba, self.size)
        zone = self.zones[z]
        if action == ZoneAction.SET_EXTENSION and not self.limits.extension:
            return Status.INVALID_FIELD
        if action == ZoneAction.FLUSH_ZRWA:
            return self.flush(z, at + 1)
        if at:
            return Status.INVALID_FIELD
        if action == ZoneAction.OPEN and zrwa and not self.limits.zrwas:
            return Status.ZONE_OPERATION
        after = SEND[action][zone.state]
        if isinstance(after, Status):
            return after
        opens = action == ZoneAction.OPEN
        if after in ACTIVE and (refused := self.no_room(zone.state, opens=opens)):
            return refused
        more = opens and zrwa and not zone.zrwa
        if more and (sum(other.zrwa for other in self.zones) == self.limits.zrwas or zone.wp % self.limits.flush):
            return Status.ZRWA_UNAVAILABLE
        self.apply(action, z, after)
        zone.zrwa |= opens and zrwa
        return Status.SUCCESS

    def apply(self, action: ZoneAction, z: int, after: ZoneState) -> None:
        zone = self.zones[z]
        if action == ZoneAction.OPEN:
            self.enter(z, after)
        else:
            self.set(z, after)
        zone.extended |= action == ZoneAction.SET_EXTENSION
        if action == ZoneAction.RESET:
            self.zones[z] = Zone(self.capacity)

    def flush(self, z: int, end: int) -> Status:
        zone, limits = self.zones[z], self.limits
        if not limits.zrwas:
            return Status.ZONE_OPERATION
        if not zone.zrwa:
            return Status.INVALID_FIELD
        if not zone.wp < end <= min(zone.wp + limits.zrwa, self.capacity):
            return Status.ZONE_BOUNDARY
        if (end - zone.wp) % limits.flush:
            return Status.INVALID_FIELD
        if refused := self.no_room(zone.state):
            return refused
        self.enter(z, EO if zone.state == EO else IO)
        self.used = [other for other in self.used if other != z] + [z]
        self.move(z, end)
        return Status.SUCCESS

    def send_all(self, action: ZoneAction) -> Status:
        if action not in ALL:
            return Status.INVALID_FIELD
        chosen = [z for z, zone in enumerate(self.zones) if zone.state in ALL[action]]
        if action == ZoneAction.OPEN:
            if self.count({EO}) + len(chosen) > self.limits.open:
                return Status.TOO_MANY_OPEN
            for z in chosen:
                self.set(z, EO)
            self.make_room(self.limits.open)
            return Status.SUCCESS
        for z in chosen:
            after = SEND[action][self.zones[z].state]
            assert isinstance(after, ZoneState)
            self.apply(action, z, after)
        return Status.SUCCESS

    def content(self) -> np.ndarray:
        """The number of the write that each block holds; 0 where it reads as zeros."""
        found = np.zeros(len(self.zones) * self.size, np.int64)
        for z, zone in enumerate(self.zones):
            for at, seq in zone.blocks.items():
                found[z * self.size + at] = seq
        return found

    def read(self, slba: int, nlb: int) -> Status:
        first, last = slba // self.size, (slba + nlb - 1) // self.size
        return Status.ZONE_BOUNDARY if first != last else READ[self.zones[first].state]
