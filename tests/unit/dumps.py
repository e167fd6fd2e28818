# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's /proc and /sys as a text, and back: each file after a line "== PATH", a directory's with a "/" at its end."""

from __future__ import annotations

import re
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def unpack(text: str, root: Path) -> Path:
    """Make the files below ``root``; what comes before the first of them, or after "== end", is none."""
    for name, content in re.findall(r"^== (/\S+)\n(.*?)(?=^== )", text.replace("\r", ""), re.M | re.S):
        path = root / name.lstrip("/")
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def machine(name: str, root: Path) -> Path:
    """One of the machines of golden/: what a kernel in QEMU showed of it."""
    return unpack((GOLDEN / f"{name}.txt").read_text(), root)
