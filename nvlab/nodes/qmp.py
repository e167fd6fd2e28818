# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's machine by QEMU's own line to it (QEMU Machine Protocol): its reset button. Stdlib only."""

from __future__ import annotations

import json
import socket
from types import TracebackType
from typing import Any


class Monitor:
    """One conversation over a connected socket. Every method raises OSError, TimeoutError among them."""

    def __init__(self, line: socket.socket, timeout: float = 20.0) -> None:
        line.settimeout(timeout)
        self._line, self._file = line, line.makefile("rwb")
        self._told: list[str] = []  # events that came before they were waited for
        self._receive()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> None:
        """Have a command done."""
        self._file.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self._file.flush()
        while "return" not in (said := self._receive()):
            if "error" in said:
                raise OSError(0, f"{command}: {said['error']['desc']}")

    def await_event(self, name: str) -> None:
        """Wait for an event since the last one that was waited for."""
        while name not in self._told:
            self._receive()
        self._told.clear()

    def _receive(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise OSError(0, "QEMU hung up")
        said: dict[str, Any] = json.loads(line)
        if "event" in said:
            self._told.append(said["event"])
        return said

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._line.close()
