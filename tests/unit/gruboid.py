# SPDX-License-Identifier: GPL-2.0-or-later
"""How GRUB reads a command of a grub.cfg (GNU GRUB manual, "Quoting"). tests/vm/test_grub.py holds it against GRUB itself."""

from __future__ import annotations

import re

_PIECE = re.compile(
    r"""\\(.)|'([^']*)'|\$(\d+|[A-Za-z_]\w*|\{\w+\}|[?#*@])|([^\s'"\\$;&|<>{}]+)|([;&|<>{}"]|\$|\\)|(\s+)""", re.S
)


def grub_words(line: str) -> list[str]:
    """The words of a simple command; a variable is empty, as nobody sets any. Raises ValueError where a word would end early."""
    words: list[str] = [""]
    for escaped, quoted, variable, plain, special, blank in _PIECE.findall(line):
        if special:
            raise ValueError(f"{special!r} means something to GRUB: {line}")
        if blank:
            words.append("")
        elif not variable:
            words[-1] += escaped + quoted + plain
    return [word for word in words if word]
