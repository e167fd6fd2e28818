# SPDX-License-Identifier: GPL-2.0-or-later
"""A tracepoint's number, and where its records have their fields, as tracefs says. Stdlib only.

tracefs is mounted for the asking alone, in no directory: nothing is left of it once it is closed, however the process ends.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the system calls' numbers
_CREATE = 6  # enum fsconfig_command
_CLOSE_ON_EXEC = 1
_FIELD = re.compile(r"field:[^;]*?(\w+)(?:\[[^;]*\])?;\s*offset:(\d+);\s*size:(\d+);")
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Tracepoint:
    """One of a kernel's: its number, and how to unpack the wanted fields of a record."""

    name: str
    id: int
    fields: struct.Struct


@contextmanager
def mounted() -> Iterator[Path]:
    """tracefs. Raises OSError: ENODEV where the kernel has none, EPERM."""
    context = _call(_FSOPEN, b"tracefs", _CLOSE_ON_EXEC)
    try:
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        mount = _call(_FSMOUNT, context, _CLOSE_ON_EXEC, 0)
    finally:
        os.close(context)
    try:
        yield Path(f"/proc/self/fd/{mount}")
    finally:
        os.close(mount)


def tracepoint(root: Path, name: str, fields: Sequence[str], arrays: Sequence[str] = ()) -> Tracepoint:
    """That of a ``name`` such as "block/block_rq_issue", in tracefs at ``root``. Raises OSError, ValueError."""
    directory = root / "events" / name
    number = int((directory / "id").read_text())
    return Tracepoint(directory.name, number, layout((directory / "format").read_text(), fields, arrays))


def layout(text: str, fields: Sequence[str], arrays: Sequence[str] = ()) -> struct.Struct:
    """How a record is unpacked whose ``format`` is ``text``: unsigned numbers, and bytes where a field is one of ``arrays``.

    ``fields`` are in the order of the record, as the kernel has kept it. Raises ValueError where they are not there like that.
    """
    places = {name: (int(offset), int(size)) for name, offset, size in _FIELD.findall(text)}
    code, end = "<", 0
    for field in fields:
        offset, size = places.get(field, (-1, 0))
        if offset < end or (field not in arrays and size not in _CODES):
            raise ValueError(f"this kernel's tracepoint has no {field} where it is looked for")
        code += f"{offset - end}x" + (f"{size}s" if field in arrays else _CODES[size])
        end = offset + size
    return struct.Struct(code)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "tracefs")
    return result
