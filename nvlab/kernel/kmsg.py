# SPDX-License-Identifier: GPL-2.0-or-later
"""A cursor on the kernel's log: what it said since we last asked. nvmet, MD and NVMe explain an errno only there."""

from __future__ import annotations

import os


class Kmsg:
    """Opened at the end of ``/dev/kmsg``, or with all that it has ``since_boot``; without the right to read it there are simply
    no lines.
    """

    def __init__(self, path: str = "/dev/kmsg", *, since_boot: bool = False) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_SET if since_boot else os.SEEK_END)
        except OSError:
            self._fd = -1

    def new(self) -> list[str]:
        """The lines since the last call, oldest first, without their prefix."""
        lines: list[str] = []
        while self._fd >= 0:
            try:
                record = os.read(self._fd, 8192).decode(errors="replace")
            except BlockingIOError:
                break
            except BrokenPipeError:  # the ring overtook us; the next read goes on with what is there
                continue
            except OSError:
                break
            lines.append(record.partition(";")[2].splitlines()[0])
        return lines
