# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks that die with their process, but not before the programs it has started.

A kill of nvlab does not stop a mdadm or a modprobe that it runs. These programs inherit the lock's descriptor (see
``RealKernel``), so the next nvlab waits for them instead of undoing what they are still doing.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nvlab.errors import Conflict, DeadlineExceeded

PATIENCE = 180.0  # seconds; a modprobe or mdadm takes long in an emulated guest
_POLL = 0.05


@contextmanager
def locked(path: Path, what: str, *, queue: bool) -> Iterator[None]:
    """Hold the lock at ``path``; ``what`` names it.

    ``queue``: wait for a living holder too. Raises Conflict at once where not, DeadlineExceeded after ``PATIENCE``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        os.set_inheritable(file.fileno(), True)
        end = time.monotonic() + PATIENCE
        while not _taken(file):
            if not queue and _holder_lives(file):
                raise Conflict(f"another nvlab is at work on {what}", hint="wait for it to end")
            if time.monotonic() > end:
                raise DeadlineExceeded(f"waited {PATIENCE:.0f} s for {what} to be free", hint=f"fuser -v {path} shows its holder")
            time.sleep(_POLL)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder_lives(file: IO[str]) -> bool:
    file.seek(0)
    pid = file.read()
    return pid.isdigit() and Path("/proc", pid).exists()
