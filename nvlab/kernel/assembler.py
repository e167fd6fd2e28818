# SPDX-License-Identifier: GPL-2.0-or-later
"""BPF programs as lists of instructions (``Documentation/bpf/standardization/instruction-set.rst``). Pure, stdlib only.

Registers are numbers: 0 is what a call gives back, 1 to 5 are its arguments and lost in it, 6 to 9 are kept, 10 is the end of the
stack, which is addressed by negative offsets. Every program ends at the label "out", where it gives back 0.
"""

from __future__ import annotations

import struct

STACK = 10
LOOKUP, UPDATE, DELETE, NOW, READ_KERNEL = 1, 2, 3, 5, 113  # helpers, enum bpf_func_id
OUT = "out"
_INSN = struct.Struct("<BBhi")
_LOADS = {4: 0x61, 8: 0x79}
_STORES = {4: 0x63, 8: 0x7B}
_BY_NUMBER = {"=": 0xB7, "+": 0x07, "&": 0x57, "|": 0x47, "<<": 0x67, ">>": 0x77, "*": 0x27}
_BY_REGISTER = {"=": 0xBF, "+": 0x0F, "-": 0x1F, "|": 0x4F, "<<": 0x6F, ">>": 0x7F}
_JUMPS = {"==": 0x15, "!=": 0x55, ">=": 0x35, "<": 0xA5, "&": 0x45}  # unsigned; "&": any of these bits is set


class Program:
    """Builds one program, instruction by instruction; ``code()`` resolves the labels."""

    def __init__(self) -> None:
        self._insns: list[tuple[int, int, int, int | str, int]] = []  # opcode, to, from, offset or label, number
        self._labels: dict[str, int] = {}

    def do(self, to: int, what: str, number: int) -> None:
        """``to what= number``."""
        self._insns.append((_BY_NUMBER[what], to, 0, 0, number))

    def by(self, to: int, what: str, other: int) -> None:
        """``to what= other``, a register."""
        self._insns.append((_BY_REGISTER[what], to, other, 0, 0))

    def load(self, to: int, base: int, offset: int, size: int = 8) -> None:
        self._insns.append((_LOADS[size], to, base, offset, 0))

    def store(self, base: int, offset: int, value: int, size: int = 8) -> None:
        self._insns.append((_STORES[size], base, value, offset, 0))

    def count(self, base: int, value: int) -> None:
        """Add a register to 64 bits of memory, atomically."""
        self._insns.append((0xDB, base, value, 0, 0))

    def jump(self, register: int, compared: str, number: int, label: str) -> None:
        """Go on at a label if the comparison holds."""
        self._insns.append((_JUMPS[compared], register, 0, label, number))

    def goto(self, label: str) -> None:
        self._insns.append((0x05, 0, 0, label, 0))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._insns)

    def call(self, helper: int) -> None:
        self._insns.append((0x85, 0, 0, 0, helper))

    def stack(self, to: int, offset: int) -> None:
        """The address of a place on the stack."""
        self.by(to, "=", STACK)
        self.do(to, "+", offset)

    def map(self, to: int, fd: int) -> None:
        """A map, by its descriptor; an instruction of two words."""
        self._insns += [(0x18, to, 1, 0, fd), (0, 0, 0, 0, 0)]

    def lookup(self, fd: int, key: int) -> None:
        """Register 0 becomes the address of the value whose key is on the stack; without one the program ends."""
        self.map(1, fd)
        self.stack(2, key)
        self.call(LOOKUP)
        self.jump(0, "==", 0, OUT)

    def follow(self, to: int, pointer: int, offset: int, size: int, scratch: int) -> None:
        """Read kernel memory at a pointer and an offset; what cannot be read reads as zeros. Needs 8 bytes of stack."""
        self.by(3, "=", pointer)
        self.do(3, "+", offset)
        self.stack(1, scratch)
        self.do(2, "=", size)
        self.call(READ_KERNEL)
        self.load(to, STACK, scratch, size)

    def code(self) -> bytes:
        """The program's bytes, eight for each instruction."""
        end = len(self._insns)
        insns = [*self._insns, (_BY_NUMBER["="], 0, 0, 0, 0), (0x95, 0, 0, 0, 0)]
        places = {**self._labels, OUT: end}
        return b"".join(
            _INSN.pack(opcode, to | source << 4, places[off] - at - 1 if isinstance(off, str) else off, number)
            for at, (opcode, to, source, off, number) in enumerate(insns)
        )
