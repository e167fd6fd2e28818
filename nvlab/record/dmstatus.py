# SPDX-License-Identifier: GPL-2.0-or-later
"""A device-mapper device's status text by ioctl: no process is started while a measurement runs. Stdlib only.

Layout of the request: ``struct dm_ioctl`` and ``struct dm_target_spec`` of ``linux/dm-ioctl.h``.
"""

from __future__ import annotations

import fcntl
import os
import struct

CONTROL = "/dev/mapper/control"
_HEADER = struct.Struct("=3I2I I I I I I Q 128s 129s 7x")
_TARGET = struct.Struct("=QQiI16s")
_SIZE = 16384
_VERSION = (4, 0, 0)
_TABLE_STATUS = 0xC0000000 | _HEADER.size << 16 | 0xFD << 8 | 12  # _IOWR(0xfd, 12, struct dm_ioctl)
_NOFLUSH_FLAG = 1 << 11  # dm-writecache and dm-thin would otherwise commit metadata because somebody looks


class DmStatus:
    """The status of one mapped device, as ``dmsetup status`` prints it, without its prefix."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._fd = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)

    def read(self) -> str:
        """Status text of all targets, one per line. Raises OSError (ENXIO when the device is gone)."""
        request = bytearray(_SIZE)
        _HEADER.pack_into(request, 0, *_VERSION, _SIZE, _HEADER.size, 0, 0, _NOFLUSH_FLAG, 0, 0, 0, self._name, b"")
        fcntl.ioctl(self._fd, _TABLE_STATUS, request)
        fields = _HEADER.unpack_from(request)
        return "\n".join(_targets(request, start=fields[4], count=fields[5]))

    def close(self) -> None:
        os.close(self._fd)


def _targets(reply: bytearray, start: int, count: int) -> list[str]:
    lines, offset = [], start
    for _ in range(count):
        _sector, _length, _status, following, kind = _TARGET.unpack_from(reply, offset)
        text = bytes(reply[offset + _TARGET.size :]).split(b"\0", 1)[0]
        lines.append(f"{kind.rstrip(bytes(1)).decode()} {text.decode(errors='replace')}")
        offset = start + following
    return lines
