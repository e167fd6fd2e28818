# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened and when: events in a file, one JSON object per line, and to whoever watches. Stdlib only."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

_KERNEL_LINES = 20

Emit = Callable[[dict[str, Any]], None]


def clock() -> dict[str, int]:
    """The clocks that tie a run to the calendar, read together, in ns."""
    return {
        "monotonic": time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        "boottime": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        "realtime": time.clock_gettime_ns(time.CLOCK_REALTIME),
    }


class EventLog:
    """Appends events to a file and passes them on, one at a time, from any thread. Once closed it is silent."""

    def __init__(self, path: Path, emit: Emit) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._emit = emit
        self._lock = threading.Lock()
        self._kernel: deque[str] = deque(maxlen=_KERNEL_LINES)

    def add(self, kind: str, **data: Any) -> None:
        """Record an event now (CLOCK_MONOTONIC, ns)."""
        event = {"t": time.monotonic_ns(), "kind": kind, **data}
        with self._lock:
            if self._file.closed:
                return
            if kind == "kmsg":
                self._kernel.append(data["text"])
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
            self._emit(event)

    @property
    def kernel_said(self) -> tuple[str, ...]:
        """The last messages of the kernel among the events, for an error to quote."""
        return tuple(self._kernel)

    def close(self) -> None:
        with self._lock:
            self._file.close()
