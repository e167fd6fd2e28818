# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are whole at any moment: replaced at once, on disk before the call returns."""

from __future__ import annotations

import glob
import os
import threading
from pathlib import Path

_NEW = ".new"


def replace_file(path: Path, data: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Make ``data`` the content of ``path``; of several writers at once, the last wins. ``owner``: its user and group."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_native_id()}{_NEW}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def remove_unfinished(path: Path) -> None:
    """Remove what :func:`replace_file` left beside ``path`` when its process was killed. Only while nobody else can be at it."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*{_NEW}"):
        left.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Put names that were made or removed in a directory on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
