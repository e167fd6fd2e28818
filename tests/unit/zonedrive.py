# SPDX-License-Identifier: GPL-2.0-or-later
"""A small zoned drive with a shell round it, and random things to do with both it and the standard's model."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from zoned import ACTIVE, OPEN, E, Limits, Oracle

from nvlab.sim import (
    Config,
    Device,
    Flag,
    Kind,
    Opcode,
    Status,
    ZoneAction,
    ZoneAttribute,
    ZoneOpcode,
    ZoneState,
    commands,
    model,
    zones,
)

SIZE, CAPACITY, ZONES = 256, 192, 8  # blocks of 4 KiB; zones
PLAIN = {
    "channels": 2, "dies": 2, "planes": 1, "page_size": 4096, "cell_bits": 1, "program_pages": 1,
    "zone_size": 4 * SIZE, "zone_capacity": 4 * CAPACITY, "buffer": 64,
}  # fmt: skip


def drive(*, vwc: bool = True, count: int = ZONES, **changes: int) -> Device:
    return Device(Config(count * SIZE, 1, Kind.ZNS, 12, vwc, model=model(**PLAIN | changes)))


def do(device: Device, opcode: int, slba: int = 0, nlb: int = 1, **more: int) -> Status:
    return Status(device.submit(commands(opcode, slba, nlb, **more))["status"][0])


def send(device: Device, action: ZoneAction, z: int = 0, **more: int) -> Status:
    return do(device, ZoneOpcode.SEND, z * SIZE, 0, action=action, **more)


def states(device: Device) -> list[ZoneState]:
    return [zone.state for zone in zones(device)]


def shapes(draw: st.DrawFn) -> Limits:
    active = draw(st.integers(1, ZONES))
    zrwa = draw(st.sampled_from([8, 16, 64]))
    return Limits(
        active=active,
        open=draw(st.integers(1, active)),
        append=draw(st.sampled_from([0, 4, 16])),
        extension=draw(st.booleans()),
        zrwas=draw(st.integers(0, min(active, 3))),
        zrwa=zrwa,
        flush=draw(st.sampled_from([1, 4, 8])),
    )


limits = st.composite(shapes)()
Step = tuple[str, int, int, int]  # what, of which zone, where in it, how much
WHAT = ["write"] * 8 + ["append"] * 5 + ["read"] * 2 + ["open"] * 3 + ["flush"] * 2 + ["send"] * 3 + ["all"]


def stream(seed: int, n: int) -> list[Step]:
    """Steps of which most can be done; places below zero are so many blocks behind the write pointer."""
    rng = np.random.default_rng(seed)
    found = []
    for what in rng.choice(WHAT, n).tolist():
        z = int(rng.integers(0, ZONES))
        nlb = int(rng.choice([rng.integers(1, 20), rng.integers(1, CAPACITY), 64]))
        where = {
            "write": rng.choice([-1, -1, -1, -1 - rng.integers(0, 30), rng.integers(0, SIZE)]),
            "append": rng.choice([0, 0, 0, 5]),
            "open": rng.integers(0, 2),
            "flush": -rng.choice([1, 4, 8, 16, 70]) - 1,
            "send": rng.choice([int(action) for action in ZoneAction]),
            "all": rng.choice([int(action) for action in ZoneAction] + [ZoneAction.CLOSE, ZoneAction.OPEN]),
        }.get(what, rng.integers(0, SIZE))
        found.append((what, z, int(where), int(rng.choice([0, 0, 0, 3])) if what == "send" else nlb))
    return found


class Shell:
    """What a device's shell does with data: memory by block, with the number of the write in place of its data."""

    def __init__(self, said: Limits, **changes: int) -> None:
        fitting = {
            "zone_max_active": said.active, "zone_max_open": said.open, "zone_append": 4 * said.append,
            "zone_extension": int(said.extension), "zrwa_zones": said.zrwas, "zrwa_size": 4 * said.zrwa,
            "zrwa_flush": 4 * said.flush,
        }  # fmt: skip
        self.device = drive(**fitting | changes)
        self.oracle = Oracle(ZONES, SIZE, CAPACITY, said)
        self.memory = np.zeros(ZONES * SIZE, np.int64)
        self.now = 0

    def place(self, z: int, place: int) -> int:
        """Of a zone; below zero: so many blocks behind the one at the write pointer, which is -1."""
        return z * SIZE + min(place if place >= 0 else self.oracle.zones[z].wp - place - 1, SIZE - 1)

    def step(self, what: str, z: int, a: int, b: int) -> None:
        """Do one thing to both, and compare what they say."""
        getattr(self, what)(z, a, b)

    def write(self, z: int, place: int, nlb: int) -> None:
        slba = self.place(z, place)
        nlb = min(nlb, ZONES * SIZE - slba)
        self.same(self.do(Opcode.WRITE, slba, nlb), self.oracle.write(slba, nlb))
        self.wrote(slba, nlb)

    def append(self, z: int, at: int, nlb: int) -> None:
        status, where = self.oracle.append(z * SIZE + at, nlb)
        self.same(self.do(ZoneOpcode.APPEND, z * SIZE + at, nlb), status)
        assert self.result == where
        self.wrote(where, nlb)

    def read(self, z: int, at: int, nlb: int) -> None:
        slba = z * SIZE + at
        nlb = min(nlb, ZONES * SIZE - slba)
        self.same(self.do(Opcode.READ, slba, nlb), self.oracle.read(slba, nlb))

    def open(self, z: int, zrwa: int, _: int) -> None:
        flags = Flag.ZRWA if zrwa else 0
        status = self.do(ZoneOpcode.SEND, z * SIZE, 0, action=ZoneAction.OPEN, flags=flags)
        self.same(status, self.oracle.send(ZoneAction.OPEN, z * SIZE, zrwa=bool(zrwa)))

    def flush(self, z: int, behind: int, _: int) -> None:
        slba = self.place(z, behind + 1)
        self.same(self.do(ZoneOpcode.SEND, slba, 0, action=ZoneAction.FLUSH_ZRWA), self.oracle.send(ZoneAction.FLUSH_ZRWA, slba))

    def send(self, z: int, action: int, off: int) -> None:
        slba = z * SIZE + off
        self.same(self.do(ZoneOpcode.SEND, slba, 0, action=action), self.oracle.send(ZoneAction(action), slba))

    def all(self, _: int, action: int, __: int) -> None:
        self.same(self.do(ZoneOpcode.SEND, 5, 0, action=action, flags=Flag.ALL_ZONES), self.oracle.send_all(ZoneAction(action)))

    def do(self, opcode: int, slba: int, nlb: int, **more: int) -> Status:
        self.now += 1000
        decision = self.device.submit(commands(opcode, slba, nlb, now=self.now, **more))[0]
        self.result, self.due = int(decision["result"]), int(decision["target"])
        return Status(decision["status"])

    def same(self, status: Status, expected: Status) -> None:
        assert status == expected
        self.status = status

    def wrote(self, slba: int, nlb: int) -> None:
        if self.status == Status.SUCCESS:
            self.memory[slba : slba + nlb] = self.oracle.seq

    def check(self) -> None:
        """States, write pointers and attributes; limits; content block by block; accounts."""
        assert self.device.audit() is None
        found, oracle = zones(self.device), self.oracle
        assert [zone.state for zone in found] == [zone.state for zone in oracle.zones]
        for zone, expected in zip(found, oracle.zones, strict=True):
            if expected.state in ACTIVE | {E}:
                assert zone.wp - zone.start == expected.wp
            assert bool(zone.attributes & ZoneAttribute.ZRWA) == expected.zrwa
            assert bool(zone.attributes & ZoneAttribute.EXTENSION) == expected.extended
        assert oracle.count(ACTIVE) <= oracle.limits.active and oracle.count(OPEN) <= oracle.limits.open
        assert np.array_equal(self.content(), oracle.content())

    def content(self) -> np.ndarray:
        """What a host reads."""
        return np.where(self.device.written(0, ZONES * SIZE), self.memory, 0)
