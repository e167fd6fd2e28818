# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of key value namespaces: values by keys through the generic character device that Linux makes. Stdlib only.

    with Store("/dev/ng0n1") as store:
        store.store(b"key", b"value")
        assert store.retrieve(b"key") == b"value"

Commands and their statuses are those of the Key Value command set 1.0. Linux has no block device for such a namespace; 6.1 and
6.12 make /dev/ngXnY also of one whose command set they do not know, and pass commands on as they are
(include/uapi/linux/nvme_ioctl.h). Root alone may send them.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Self

MAX_KEY = 16  # bytes of the longest key that a command has room for
PAGE = 4096
TIMEOUT_MS = 60_000  # of a command, after which the driver resets the controller

# struct nvme_passthru_cmd: opcode, flags, -, nsid, cdw2, cdw3, metadata, addr, metadata_len, data_len, cdw10 …, timeout, result
_PASSTHRU = struct.Struct("<BBHIIIQQII6III")
_RESULT = struct.Struct("<I")
_IOCTL_ID, _IOCTL_ADMIN, _IOCTL_IO = 0x4E40, 0xC0484E41, 0xC0484E43
_IDENTIFY, _CNS_NAMESPACE, _CSI = 0x06, 0x05, 1
_IDENTITY = struct.Struct("<Q8xQ")  # NSZE, NUSE
_FORMAT = struct.Struct("<H2xII")  # KV Format 0 at byte 72: longest key, largest value, how many keys
_FORMAT_AT = 72


class Opcode(IntEnum):
    """I/O commands (Key Value command set 1.0, 3.2; NVMe 2.0, 7.1 for Flush)."""

    FLUSH = 0x00
    STORE = 0x01
    RETRIEVE = 0x02
    LIST = 0x06
    DELETE = 0x10
    EXIST = 0x14


class Status(IntEnum):
    """Status codes that these commands end with (Key Value command set 1.0, 3.1.1; NVMe 2.0, 3.3.3.2), without the DNR bit."""

    INVALID_OPCODE = 0x01
    INVALID_FIELD = 0x02
    INVALID_NAMESPACE = 0x0B
    WRITE_PROTECTED = 0x20
    CAPACITY_EXCEEDED = 0x81
    INVALID_VALUE_SIZE = 0x85
    INVALID_KEY_SIZE = 0x86
    KEY_DOES_NOT_EXIST = 0x87
    KEY_EXISTS = 0x89
    READ_ONLY = 0x182


class KeyValueError(Exception):
    """A command that the device refused; ``status`` is its status code type and code, ``name`` that in words."""

    def __init__(self, opcode: int, status: int) -> None:
        self.status = status & 0x7FF
        self.name = Status(self.status).name if self.status in Status.__members__.values() else f"STATUS_{self.status:#x}"
        super().__init__(f"{Opcode(opcode).name.capitalize()}: {self.name.lower().replace('_', ' ')}")


class KeyNotFoundError(KeyValueError, KeyError):
    """There is no such key."""

    __str__ = Exception.__str__


class KeyExistsError(KeyValueError):
    """There is such a key already, and it was not to be replaced."""


class FullError(KeyValueError):
    """There is no room for the value, or for another key."""


_ERRORS: dict[int, type[KeyValueError]] = {
    Status.KEY_DOES_NOT_EXIST: KeyNotFoundError,
    Status.KEY_EXISTS: KeyExistsError,
    Status.CAPACITY_EXCEEDED: FullError,
}


def error_of(opcode: int, status: int) -> KeyValueError:
    """The exception for a status field other than success."""
    return _ERRORS.get(status & 0x7FF, KeyValueError)(opcode, status)


@dataclass(frozen=True)
class Space:
    """What Identify tells (Key Value command set 1.0, 4.1.5.1): ``capacity`` and ``used`` bytes; sizes in bytes."""

    capacity: int
    used: int
    max_key: int
    max_value: int
    max_keys: int


def packed(opcode: int, nsid: int, key: bytes = b"", size: int = 0, option: int = 0, address: int = 0) -> bytearray:
    """``struct nvme_passthru_cmd`` of a command: its key in double words 2, 3, 14 and 15, ``size`` bytes of a value or of the
    host's buffer at ``address``, ``option`` in bits 15:8 of double word 11.

    A key of more than 16 bytes is cut, and its length kept, so that the device refuses it.
    """
    words = struct.unpack("<4I", key[:MAX_KEY].ljust(MAX_KEY, b"\0"))
    dw11 = min(len(key), 255) | option << 8
    data = (address, 0, size) if size else (0, 0, 0)
    return bytearray(_PASSTHRU.pack(opcode, 0, 0, nsid, *words[:2], 0, *data, size, dw11, 0, 0, *words[2:], TIMEOUT_MS, 0))


def read_list(data: bytes) -> list[bytes]:
    """The keys in what a List returned: how many, then of each its length, itself, and zeros up to a multiple of four."""
    found, at = [], 4
    for _ in range(int.from_bytes(data[:4], "little")):
        length = int.from_bytes(data[at : at + 2], "little")
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length + (-2 - length) % 4
    return found


class Store:
    """A key value namespace, opened by the path of its character device. Not for several threads: each opens its own.

    Methods raise :class:`KeyValueError` where the device refuses, OSError where the driver does.
    """

    def __init__(self, path: str | os.PathLike[str], buffer: int = PAGE) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.nsid: int = fcntl.ioctl(self._fd, _IOCTL_ID)
            self._grow(buffer)
        except OSError:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close it; what was stored and not flushed may still be in the device's write buffer."""
        os.close(self._fd)

    def store(self, key: bytes, value: bytes, *, replace: bool = False, add: bool = False) -> None:
        """Store a value (3.2.5): only where the key exists (``replace``), only where it does not (``add``)."""
        self._grow(len(value))
        self.buffer[: len(value)] = value
        self.send(Opcode.STORE, key, len(value), replace | add << 1)

    def retrieve(self, key: bytes) -> bytes:
        """The value of a key (3.2.4)."""
        while (size := self.send(Opcode.RETRIEVE, key, len(self.buffer))) > len(self.buffer):
            self._grow(size)
        return self.buffer[:size]

    def delete(self, key: bytes) -> None:
        """Delete a key (3.2.1). One that does not exist is no error, unless the device was told so (EDNEK)."""
        self.send(Opcode.DELETE, key)

    def exists(self, key: bytes) -> bool:
        """Whether there is such a key (3.2.2)."""
        try:
            self.send(Opcode.EXIST, key)
        except KeyNotFoundError:
            return False
        return True

    def list(self, start: bytes = b"", room: int = PAGE) -> list[bytes]:
        """Keys from ``start`` on, or the first ones, as many as ``room`` bytes hold, in the device's order (3.2.3)."""
        self._grow(room)
        self.send(Opcode.LIST, start, room)
        return read_list(self.buffer[:room])

    def keys(self) -> Iterator[bytes]:
        """All keys, in the device's order, a page of them at a time; one that is there all the time comes once."""
        last = b""
        while more := [key for key in self.list(last) if key != last]:
            yield from more
            last = more[-1]

    def flush(self) -> None:
        """Have all that was stored be on the medium (NVMe 2.0, 7.1)."""
        self.send(Opcode.FLUSH)

    def space(self) -> Space:
        """How large the namespace is, and how full."""
        cdw10, cdw11 = _CNS_NAMESPACE, _CSI << 24
        address = ctypes.addressof(self._view)
        command = _PASSTHRU.pack(_IDENTIFY, 0, 0, self.nsid, 0, 0, 0, address, 0, PAGE, cdw10, cdw11, 0, 0, 0, 0, TIMEOUT_MS, 0)
        if status := fcntl.ioctl(self._fd, _IOCTL_ADMIN, bytearray(command), True):
            raise OSError(f"Identify ended with status {status:#x}: there are no keys in this namespace")
        return Space(*_IDENTITY.unpack_from(self.buffer), *_FORMAT.unpack_from(self.buffer, _FORMAT_AT))

    def send(self, opcode: Opcode, key: bytes = b"", size: int = 0, option: int = 0) -> int:
        """One command, its data in :attr:`buffer`, of which it may use ``size`` bytes; double word 0 of its completion: of a
        Retrieve, how large the whole value is. Other threads run meanwhile."""
        command = packed(opcode, self.nsid, key, size, option, ctypes.addressof(self._view))
        if status := fcntl.ioctl(self._fd, _IOCTL_IO, command, True):
            raise error_of(opcode, status)
        result: int = _RESULT.unpack_from(command, len(command) - _RESULT.size)[0]
        return result

    def _grow(self, size: int) -> None:
        """Have a buffer of at least so many bytes, in whole pages, so that the driver need not copy."""
        if size > len(getattr(self, "buffer", b"")):
            self.buffer = mmap.mmap(-1, -(-size // PAGE) * PAGE)
            self._view = (ctypes.c_char * len(self.buffer)).from_buffer(self.buffer)
