# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs as root inside a guest: puts on a disk what LVM or ZFS would write first. Arguments: lvm or zfs, the disk.

The formats alone: their programs would bring services along that nobody wants on a machine only for a test.
"""

import struct
import sys
import zlib
from pathlib import Path

LABEL = 256 << 10  # bytes of a vdev label (ZFS On-Disk Specification, 1.2)
UBERBLOCK = 0x00BAB10C


def lvm(file) -> None:
    """A physical volume's label in its second sector (lvm2, lib/format_text/layout.h): of what follows the CRC."""
    rest = struct.pack("<I8s32sQ", 32, b"LVM2 001", b"0123456789abcdef" * 2, 64 << 20)
    rest += bytes(512 - 20 - len(rest))
    crc = zlib.crc32(rest, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF  # lvm2's own initial value, no final inversion
    file.seek(512)
    file.write(struct.pack("<8sQI", b"LABELONE", 1, crc) + rest)


def zfs(file) -> None:
    """Uberblocks in the two labels at the end, as of a pool whose first labels were overwritten."""
    size = file.seek(0, 2) // LABEL * LABEL
    for label in (size - 2 * LABEL, size - LABEL):
        for slot in range(32):
            file.seek(label + (128 << 10) + (slot << 10))
            file.write(struct.pack("<QQQ", UBERBLOCK, 5000, slot + 1) + bytes(1000))


with Path(sys.argv[2]).open("r+b") as disk:
    {"lvm": lvm, "zfs": zfs}[sys.argv[1]](disk)
