# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine for BPF programs: as much of the instruction set as ours use, with maps in dicts and memory in pieces of bytes."""

from __future__ import annotations

import struct

from nvlab.kernel.assembler import DELETE, LOOKUP, NOW, READ_KERNEL, UPDATE

MASK = (1 << 64) - 1
STACK_TOP, VALUES, CONTEXT = 1 << 40, 1 << 41, 1 << 42


class Machine:
    """``maps``: {descriptor: {key: value}}; ``sizes``: {descriptor: bytes of a key, of a value}; ``memory``: {address: bytes}."""

    def __init__(self, maps, sizes, memory, now=0):
        self.maps, self.sizes, self.memory, self.now = maps, sizes, memory, now
        self.handed = {}  # address of a value that a lookup gave: its map and key

    def run(self, code: bytes, *arguments: int) -> int:
        insns = [struct.unpack_from("<BBhi", code, at) for at in range(0, len(code), 8)]
        self.r = [0] * 11
        self.r[1], self.r[10] = CONTEXT, STACK_TOP
        self.stack = bytearray(512)
        self.arguments = struct.pack(f"<{len(arguments)}Q", *arguments)
        at = steps = 0
        while insns[at][0] != 0x95:
            at = self.step(insns, at)
            steps += 1
            assert steps < 100_000, "it does not end"
        return self.r[0]

    def step(self, insns, at):
        opcode, registers, offset, number = insns[at]
        to, source = registers & 15, registers >> 4
        r = self.r
        if opcode == 0x18:
            r[to] = number
            return at + 2
        if opcode == 0x85:
            self.call(number)
        elif opcode in (0x61, 0x79):
            r[to] = int.from_bytes(self.read(r[source] + offset, 4 if opcode == 0x61 else 8), "little")
        elif opcode in (0x63, 0x7B):
            size = 4 if opcode == 0x63 else 8
            self.write(r[to] + offset, (r[source] & ((1 << 8 * size) - 1)).to_bytes(size, "little"))
        elif opcode == 0xDB:
            counted = int.from_bytes(self.read(r[to] + offset, 8), "little") + r[source]
            self.write(r[to] + offset, counted.to_bytes(8, "little"))
        elif opcode == 0x05 or (opcode & 7 == 5 and self.holds(opcode, r[to], number & MASK)):
            return at + 1 + offset
        elif opcode & 7 == 7:
            r[to] = self.result(opcode, r[to], r[source] if opcode & 8 else number & MASK)
        return at + 1

    @staticmethod
    def holds(opcode, value, number):
        compared = {0x15: value == number, 0x55: value != number, 0x35: value >= number, 0xA5: value < number}
        return compared.get(opcode, bool(value & number))

    @staticmethod
    def result(opcode, value, other):
        done = {
            0xB0: lambda: other, 0x00: lambda: value + other, 0x10: lambda: value - other, 0x50: lambda: value & other,
            0x40: lambda: value | other, 0x20: lambda: value * other, 0x60: lambda: value << other, 0x70: lambda: value >> other,
        }  # fmt: skip
        return done[opcode & 0xF0]() & MASK

    def read(self, address, size):
        if STACK_TOP - 512 <= address < STACK_TOP:
            return bytes(self.stack[address - STACK_TOP + 512 :][:size])
        if address >= CONTEXT:
            return self.arguments[address - CONTEXT :][:size]
        base = max(value for value in self.handed if value <= address)
        fd, key = self.handed[base]
        return self.maps[fd][key][address - base :][:size]

    def write(self, address, content):
        if STACK_TOP - 512 <= address < STACK_TOP:
            self.stack[address - STACK_TOP + 512 : address - STACK_TOP + 512 + len(content)] = content
        else:
            fd, key = self.handed[address]
            self.maps[fd][key] = content + self.maps[fd][key][len(content) :]

    def call(self, helper):
        r = self.r
        if helper == NOW:
            r[0] = self.now
        elif helper == READ_KERNEL:
            found = next((m[r[3] - a :][: r[2]] for a, m in self.memory.items() if a <= r[3] < a + len(m)), bytes(r[2]))
            self.write(r[1], found)
            r[0] = 0
        else:
            self.map_call(helper)
        r[1:6] = [0xDEAD] * 5  # lost in a call

    def map_call(self, helper):
        r, fd = self.r, self.r[1]
        key_size, value_size = self.sizes[fd]
        key = self.read(r[2], key_size)
        if helper == LOOKUP:
            r[0] = 0
            if key in self.maps[fd]:
                r[0] = VALUES + 64 * len(self.handed)
                self.handed[r[0]] = (fd, key)
        elif helper == UPDATE:
            self.maps[fd][key] = self.read(r[3], value_size)
            r[0] = 0
        elif helper == DELETE:
            r[0] = 0 if self.maps[fd].pop(key, None) else MASK
