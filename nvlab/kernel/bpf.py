# SPDX-License-Identifier: GPL-2.0-or-later
"""BPF by its system call, ``bpf(2)``: maps, programs, tracepoints. Stdlib only: a node need not have libbpf or a compiler.

What is made here hangs on file descriptors alone: it is gone with the process that made it, however that ends.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from dataclasses import dataclass

from nvlab.kernel.assembler import Program

_BPF = 321  # the system call's number on x86-64
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _INFO, _RAW_TRACEPOINT_OPEN = 0, 2, 5, 15, 17
HASH, ARRAY = 1, 2  # enum bpf_map_type
_MMAPABLE = 1 << 10
_RAW_TRACEPOINT = 17  # enum bpf_prog_type
_LOG = 1 << 16  # bytes of the verifier's words that are kept
_MISSES = 208  # of struct bpf_prog_info: recursion_misses
_libc = ctypes.CDLL(None, use_errno=True)


def _call(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = int(_libc.syscall(_BPF, command, buffer, 128))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "bpf")
    return result


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


@dataclass(frozen=True)
class Map:
    """A map: ``fd``, and the sizes of a key and a value in bytes."""

    fd: int
    key: int
    value: int

    @staticmethod
    def hash(key: int, value: int, entries: int) -> Map:
        """A hash table, all of it allocated now. Raises OSError."""
        return Map(_call(_MAP_CREATE, struct.pack("<5I", HASH, key, value, entries, 0)), key, value)

    def update(self, key: bytes, value: bytes) -> None:
        """Set an entry. Raises OSError (E2BIG when it is full)."""
        k, v = ctypes.create_string_buffer(key, self.key), ctypes.create_string_buffer(value, self.value)
        _call(_MAP_UPDATE, struct.pack("<IIQQQ", self.fd, 0, _address(k), _address(v), 0))

    def close(self) -> None:
        os.close(self.fd)


class Counters:
    """An array of 64-bit counters, which a program adds to and this process reads without a system call."""

    def __init__(self, entries: int) -> None:
        self.fd = _call(_MAP_CREATE, struct.pack("<5I", ARRAY, 4, 8, entries, _MMAPABLE))
        self._map = mmap.mmap(self.fd, -(-entries * 8 // mmap.PAGESIZE) * mmap.PAGESIZE, prot=mmap.PROT_READ)
        self._entries = entries

    def read(self, first: int = 0, count: int | None = None) -> list[int]:
        """So many of them from the ``first`` on, as they are now; an empty list for none but zeros."""
        wanted = self._entries - first if count is None else count
        found = self._map[first * 8 : (first + wanted) * 8]
        return list(struct.unpack(f"<{wanted}Q", found)) if found.strip(b"\0") else []

    def close(self) -> None:
        self._map.close()
        os.close(self.fd)


class Attached:
    """A program that runs at a tracepoint until this is closed. Raises OSError: EPERM, or what the verifier said."""

    def __init__(self, tracepoint: str, program: Program) -> None:
        self._program = _load(program)
        name = ctypes.create_string_buffer(tracepoint.encode())
        try:
            self._link = _call(_RAW_TRACEPOINT_OPEN, struct.pack("<QI", _address(name), self._program))
        except OSError:
            os.close(self._program)
            raise

    def misses(self) -> int:
        """How often the program was left out, as it was running on the same CPU already."""
        info = ctypes.create_string_buffer(256)
        _call(_INFO, struct.pack("<IIQ", self._program, 256, _address(info)))
        return int(struct.unpack_from("<Q", info.raw, _MISSES)[0])

    def close(self) -> None:
        os.close(self._link)
        os.close(self._program)


def _load(program: Program) -> int:
    code = program.code()
    insns = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    wanted = struct.pack("<IIQQ", _RAW_TRACEPOINT, len(code) // 8, _address(insns), _address(licence))
    try:
        return _call(_PROG_LOAD, wanted)
    except OSError as error:
        said = _verifier(wanted)
        raise OSError(error.errno, " | ".join([error.strerror or "", *said[-3:]]), "bpf") from error


def _verifier(wanted: bytes) -> list[str]:
    """Why a program is not taken, in the kernel's words; it is asked for them only then, as they are long."""
    said = ctypes.create_string_buffer(_LOG)
    try:
        os.close(_call(_PROG_LOAD, wanted + struct.pack("<IIQ", 1, _LOG, _address(said))))
    except OSError:
        return said.value.decode(errors="replace").strip().splitlines()
    return []
