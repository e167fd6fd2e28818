# SPDX-License-Identifier: GPL-2.0-or-later
"""How the fake kernel's programs read their arguments and end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World


class Exit(Exception):
    """The program ends with this exit code, having printed ``err``."""

    def __init__(self, code: int, err: str = "") -> None:
        super().__init__(err)
        self.code, self.err = code, err


@dataclass
class Words:
    """Arguments sorted into flags, values by option, and the rest."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)


Program = Callable[["World", Sequence[str]], str]


def read(argv: Sequence[str], *, flags: Sequence[str] = (), values: Sequence[str] = ()) -> Words:
    """Sort the words after the program's name. An option that the model does not know is an error of the test."""
    words = Words()
    rest = iter(argv[1:])
    for word in rest:
        option, equals, value = word.partition("=")
        if option in values:
            words.values[option] = value if equals else next(rest)
        elif word in flags:
            words.flags.add(word)
        elif word.startswith("-"):
            raise AssertionError(f"the fake {argv[0]} does not know {word}: teach it, from what the real one does")
        else:
            words.rest.append(word)
    return words
