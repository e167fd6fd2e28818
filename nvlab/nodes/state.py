# SPDX-License-Identifier: GPL-2.0-or-later
"""What the controller remembers between its invocations, and how it knows a process again."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nvlab.files import replace_file


def state_dir() -> Path:
    """The controller's own directory: $NVLAB_STATE, else nvlab/ under $XDG_STATE_HOME or ~/.local/state."""
    if chosen := os.environ.get("NVLAB_STATE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / "nvlab"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a file atomically, on disk before this returns; of several writers at once, the last wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, json.dumps(data, indent=1).encode())


def read_json(path: Path) -> dict[str, Any]:
    """A file of :func:`write_json`; empty when there is none."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none, or only its exit status is left."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def find_processes(mark: str) -> Iterator[int]:
    """Processes of which an argument contains ``mark`` (an identity chosen before they were started)."""
    wanted = mark.encode()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "cmdline").read_bytes():
                yield int(entry.name)

_KILLED = 30.0  # s; what is killed is gone at once, but on a busy machine


class Process:
    """A process known by pid and start time, never by pid alone; held by a pidfd, so that it stays the same one."""

    def __init__(self, pid: int, started: int) -> None:
        """Raises ProcessLookupError when it is gone."""
        self.pid, self.started = pid, started
        self.fd = os.pidfd_open(pid)
        if start_time(pid) != started:
            os.close(self.fd)
            raise ProcessLookupError(pid)

    def alive(self) -> bool:
        return not self.wait(0)

    def wait(self, timeout: float) -> bool:
        """Whether it ended within ``timeout`` seconds."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def end(self, grace: float) -> bool:
        """SIGTERM, and SIGKILL after ``grace`` seconds; whether it is gone."""
        for sig, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILLED)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.fd, sig)
            if self.wait(patience):
                return True
        return False

    def close(self) -> None:
        os.close(self.fd)
