# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the running kernel's structs have their members, from its own type information. Stdlib only.

The format is BTF, ``Documentation/bpf/btf.rst``. A kernel describes some 100,000 types: what is wanted of them is searched for by
name, which takes a thousandth of the time of reading them all. A module's types go on from the kernel's, so do their strings.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

KERNEL = Path("/sys/kernel/btf/vmlinux")  # modules are beside it
_HEADER = struct.Struct("<HBBIIIII")  # magic, version, flags, length, then offset and length of types and of strings
_TYPE = struct.Struct("<III")  # name, info, size
_MEMBER = struct.Struct("<III")  # name, type, offset in bits
_ENUMERATOR = struct.Struct("<Ii")  # name, value
_MAGIC = 0xEB9F
_STRUCT, _ENUM = 4, 6


class Btf:
    """The types of a kernel, or of a module of the kernel that ``base`` is of.

    Raises OSError where ``path`` cannot be read, ValueError where it is no BTF.
    """

    def __init__(self, path: Path = KERNEL, base: Btf | None = None) -> None:
        data = path.read_bytes()
        if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != _MAGIC:
            raise ValueError(f"{path} is not BTF of this byte order")
        _, _, _, header, types, size, strings, length = _HEADER.unpack_from(data)
        self._types = data[header + types : header + types + size]
        self._strings: bytes = (base._strings if base else b"") + data[header + strings : header + strings + length]

    def offsets(self, name: str, members: Sequence[str]) -> dict[str, int]:
        """Of a struct's own members (not of those of anonymous unions) how many bytes from its start they are.

        Raises ValueError where no struct of that name has them all.
        """
        for at, bitfields, count in self._found(name, _STRUCT):
            mask = 0xFFFFFF if bitfields else 0xFFFFFFFF  # the upper bits are the width of a bit field
            found = {
                self._string(word): (offset & mask) // 8 for word, _, offset in self._entries(_MEMBER, at, count)
            }
            if found.keys() >= set(members):
                return {member: found[member] for member in members}
        raise ValueError(f"this kernel has no struct {name} with {', '.join(members)}")

    def values(self, name: str, enumerators: Sequence[str]) -> dict[str, int]:
        """Values of an enum. Raises ValueError where no enum of that name has them all."""
        for at, _, count in self._found(name, _ENUM):
            found = {self._string(word): value for word, value in self._entries(_ENUMERATOR, at, count)}
            if found.keys() >= set(enumerators):
                return {each: found[each] for each in enumerators}
        raise ValueError(f"this kernel has no enum {name} with {', '.join(enumerators)}")

    def _found(self, name: str, kind: int) -> Iterator[tuple[int, bool, int]]:
        """What may be types of a name and kind: where their entries begin, the flag of the kind, how many they are."""
        string = self._strings.find(b"\0" + name.encode() + b"\0")
        word = struct.pack("<I", string + 1)
        at = self._types.find(word) if string >= 0 else -1
        while at >= 0:
            if at % 4 == 0 and at + _TYPE.size <= len(self._types):
                info = _TYPE.unpack_from(self._types, at)[1]
                if info >> 24 & 0x1F == kind:
                    yield at + _TYPE.size, bool(info >> 31), info & 0xFFFF
            at = self._types.find(word, at + 1)

    def _entries(self, layout: struct.Struct, at: int, count: int) -> Iterator[tuple[int, ...]]:
        end = min(at + count * layout.size, len(self._types) - len(self._types) % 4)
        return (layout.unpack_from(self._types, place) for place in range(at, end - layout.size + 1, layout.size))

    def _string(self, at: int) -> str:
        end = self._strings.find(b"\0", at)
        return self._strings[at:end].decode(errors="replace") if at < len(self._strings) else ""
