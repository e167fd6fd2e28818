# SPDX-License-Identifier: GPL-2.0-or-later
"""A small drive with keys, a shell round it that keeps its data, and the dictionary that it must equal."""

from __future__ import annotations

import numpy as np

from nvlab.sim import (
    Config,
    Data,
    Device,
    KeyOpcode,
    Kind,
    Opcode,
    Status,
    StoreOption,
    commands,
    key_commands,
    key_list,
    key_space,
    model,
    places,
)

KIB, MIB, UNIT = 1 << 10, 1 << 20, 4096
PLAIN = {
    "channels": 2, "dies": 2, "planes": 1, "page_size": 4096, "cell_bits": 1, "program_pages": 1, "kv_value": 64, "buffer": 64,
}  # fmt: skip


def drive(size: int = 4 * MIB, *, vwc: bool = True, **changes: int) -> Device:
    return Device(Config(size >> 12, 1, Kind.KV, 12, vwc, model=model(**PLAIN | changes)))


def status(device: Device, opcode: KeyOpcode, key: bytes, size: int = 0, **more: int) -> tuple[Status, int]:
    """The status of one command, and its result."""
    decision = device.submit(key_commands(opcode, [key], size, **more))[0]
    return Status(decision["status"]), int(decision["result"])


def do(device: Device, opcode: KeyOpcode, key: bytes, size: int = 0, **more: int) -> Status:
    return status(device, opcode, key, size, **more)[0]


def store(device: Device, key: bytes, size: int, **more: int) -> Status:
    return do(device, KeyOpcode.STORE, key, size, **more)


def keys_of(device: Device, start: bytes = b"") -> list[bytes]:
    """All keys from one on, in the device's order, by a single List."""
    command = key_commands(KeyOpcode.LIST, [start], 1 << 20)
    device.submit(command)
    return key_list(device, command)


class Shell:
    """What a device's shell does with data: memory by unit, with the number of the Store in place of its data."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.oracle: dict[bytes, tuple[int, int]] = {}  # size, number of the Store
        self.memory = np.zeros((device.config.blocks << device.config.block_shift) // UNIT, np.int64)
        self.now = 0
        self.due = 0

    def step(self, what: str, key: bytes, size: int, option: int) -> Status:
        """Do one thing to the device and to the dictionary, and compare; what the device said."""
        self.now += 3000
        if what == "flush":
            return self._submit(commands(Opcode.FLUSH, now=self.now))[0]
        opcode = KeyOpcode[what.upper()]
        if opcode == KeyOpcode.LIST:
            key, size = b"", 1 << 16
        command = key_commands(opcode, [key], size, option=option, now=self.now)
        expected = self._expected(opcode, key, size, option)
        said, result = self._submit(command)
        assert said == expected, (what, key, size, option)
        if said == Status.SUCCESS:
            getattr(self, f"_{what}", lambda *_: None)(command, key, size, result)
        return said

    def _submit(self, command: np.ndarray) -> tuple[Status, int]:
        decision = self.device.submit(command)[0]
        self.data, self.due, self.seq = int(decision["data"]), int(decision["target"]), int(decision["seq"])
        return Status(decision["status"]), int(decision["result"])

    def _expected(self, opcode: KeyOpcode, key: bytes, size: int, option: int) -> Status:
        there = key in self.oracle
        if opcode != KeyOpcode.STORE:
            needs = opcode in (KeyOpcode.RETRIEVE, KeyOpcode.EXIST)
            return Status.KEY_DOES_NOT_EXIST if needs and not there else Status.SUCCESS
        space = key_space(self.device)
        assert space
        if size > space.max_value:
            return Status.INVALID_VALUE_SIZE
        if there and option & StoreOption.ADD:
            return Status.KEY_EXISTS
        if not there and option & StoreOption.REPLACE:
            return Status.KEY_DOES_NOT_EXIST
        others = sum(-(-n // UNIT) for other, (n, _) in self.oracle.items() if other != key)
        full = others + -(-size // UNIT) > space.capacity // UNIT or (not there and len(self.oracle) == space.max_keys)
        return Status.CAPACITY_EXCEEDED if full else Status.SUCCESS

    def _store(self, command: np.ndarray, key: bytes, size: int, _: int) -> None:
        self.oracle[key] = size, self.seq
        assert self.data == (Data.VALUE if size else Data.NONE)
        for unit in self._units(command, size):
            self.memory[unit] = self.seq

    def _retrieve(self, command: np.ndarray, key: bytes, size: int, result: int) -> None:
        full, seq = self.oracle[key]
        assert result == full
        assert all(self.memory[unit] == seq for unit in self._units(command, min(full, size)))

    def _delete(self, command: np.ndarray, key: bytes, size: int, result: int) -> None:
        self.oracle.pop(key, None)

    def _list(self, command: np.ndarray, key: bytes, size: int, result: int) -> None:
        assert sorted(key_list(self.device, command)) == sorted(self.oracle)

    def _units(self, command: np.ndarray, size: int) -> list[int]:
        """Those that a value lies in; all of it is there, and each piece but the last ends with a unit."""
        found = places(self.device, command)
        assert sum(n for _, n in found) == size and not any(n % UNIT for _, n in found[:-1])
        return [unit for at, n in found for unit in range(at // UNIT, (at + n - 1) // UNIT + 1)]

    def check(self) -> None:
        """Every key and value, nothing else, space and accounts."""
        assert self.device.audit() is None
        assert sorted(keys_of(self.device)) == sorted(self.oracle)
        for key, (size, _) in self.oracle.items():
            command = key_commands(KeyOpcode.RETRIEVE, [key], size, now=self.now)
            said, result = self._submit(command)
            assert said == Status.SUCCESS
            self._retrieve(command, key, size, result)
        space = key_space(self.device)
        assert space and space.keys == len(self.oracle)
        assert space.used == UNIT * sum(-(-size // UNIT) for size, _ in self.oracle.values())
