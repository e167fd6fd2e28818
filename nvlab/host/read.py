# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading what the kernel and the system say of themselves: files of /proc, /sys and /etc. What cannot be read is empty."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

SECRET = re.compile(r"dhchap|password|secret", re.IGNORECASE)
MAX_TEXT = 20_000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where programs are, whatever a user's own PATH says


def text(path: Path, limit: int = MAX_TEXT) -> str:
    """A file's text without the white space round it, at most ``limit`` bytes of it."""
    try:
        with path.open("rb") as file:
            return file.read(limit).decode(errors="replace").strip()
    except OSError:
        return ""


def files(directory: Path, names: Sequence[str], limit: int = MAX_TEXT) -> dict[str, str]:
    """The text of each of ``names`` in a directory, those that are empty or missing left out."""
    return {name: value for name in names if (value := text(directory / name, limit))}


def children(directory: Path) -> list[Path]:
    """What a directory holds, sorted."""
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def tree(directory: Path) -> Mapping[str, str]:
    """Every file below ``directory`` by its relative path, and every link's target; secrets left out."""
    found = {}
    for parent, directories, plain in os.walk(directory):
        for name in (*directories, *plain):
            path = Path(parent, name)
            key = str(path.relative_to(directory))
            if SECRET.search(key):
                continue
            if path.is_symlink():
                found[key] = f"-> {path.resolve().name}"
            elif name in plain:
                found[key] = text(path)
    return found


def sha256(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
