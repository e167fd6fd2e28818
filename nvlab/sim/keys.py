# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys and values of a simulated device: commands for them, and what hosts learn by Identify and List."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nvlab.kv import read_list
from nvlab.sim._core import ffi, lib
from nvlab.sim.device import Device, commands
from nvlab.sim.structs import KeyOpcode, fields_of

MAX_KEY: int = lib.NVC_KV_MAX_KEY


@dataclass(frozen=True)
class KeySpace:
    """A key value namespace, as ``struct nvc_kv_space`` says it: ``capacity`` and ``used`` in bytes, in whole units of 4 KiB."""

    capacity: int
    used: int
    keys: int
    max_keys: int
    max_key: int
    max_value: int


def key_space(device: Device, nsid: int = 1) -> KeySpace | None:
    """A key value namespace, or None if it is none."""
    native = ffi.new("struct nvc_kv_space *")
    return KeySpace(**fields_of(native, "nvc_kv_space")) if lib.nvc_kv_space(device.native, nsid, native) else None


def key_commands(
    opcode: KeyOpcode, keys: Sequence[bytes], size: ArrayLike = 0, *, option: ArrayLike = 0, now: ArrayLike = 0
) -> NDArray[np.void]:
    """One command for each key, dtype ``COMMAND``: ``size`` is that of the value in bytes (Store) or of the host's buffer.

    A key of more than 16 bytes is cut, as a command has no room for it, and refused by the device.
    """
    words = np.frombuffer(b"".join(key[:MAX_KEY].ljust(MAX_KEY, b"\0") for key in keys), "<u8").reshape(-1, 2)
    lengths = np.array([min(len(key), 255) for key in keys], np.uint8)
    return commands(opcode, words[:, 0], size, key=words[:, 1], action=lengths, option=option, now=now)


def key_list(device: Device, command: NDArray[np.void]) -> list[bytes]:
    """The keys of a List, shape (1,), dtype ``COMMAND``, decided just before, in the device's order."""
    size = int(command["nlb"][0])
    buffer = ffi.new("u8[]", size)
    filled = lib.nvc_kv_list(device.native, ffi.from_buffer("struct nvc_cmd[]", command), buffer, size)
    return read_list(bytes(ffi.buffer(buffer, filled)))


def places(device: Device, command: NDArray[np.void]) -> list[tuple[int, int]]:
    """Where the data of a Store or Retrieve lie that was decided just before, shape (1,): pieces of the medium as (first byte,
    bytes), in the order of the value."""
    cursor, at = ffi.new("struct nvc_kv_cursor *"), ffi.new("u64 *")
    lib.nvc_kv_begin(device.native, ffi.from_buffer("struct nvc_cmd[]", command), cursor)
    found = []
    while size := lib.nvc_kv_next(device.native, cursor, at):
        found.append((int(at[0]), int(size)))
    return found
