# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's announcements of devices, to wake whoever waits for one (pyudev; the kernel's own, as no udevd need run)."""

from __future__ import annotations

import time
from typing import Any


class Uevents:
    """One wait: made when it begins, closed when it ends, so that no announcement of an earlier time is left in it."""

    def __init__(self) -> None:
        self._monitor: Any = None

    def wait(self, seconds: float) -> None:
        """Return at the next announcement, or after ``seconds``."""
        if self._monitor is None:
            self._monitor = _listen()
        if self._monitor:
            self._monitor.poll(seconds)
        else:
            time.sleep(seconds)


def _listen() -> Any:
    """A monitor, or False where none is to be had (no libudev, no netlink): then time has to do."""
    try:
        import pyudev  # most waits end at once and never need it

        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
        monitor.start()
    except (ImportError, OSError):
        return False
    return monitor
