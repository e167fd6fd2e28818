# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from nvlab.doctor.facts import Facts
from nvlab.doctor.wants import Wants

#: a lab cannot come up; it can, but its figures mislead; good to know
Severity = Literal["required", "distorts", "note"]


@dataclass(frozen=True)
class Finding:
    """``what`` is the case, ``why`` it matters, ``cure``: the exact thing to do about it."""

    severity: Severity
    what: str
    why: str
    cure: str
    check: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


CheckFunction = Callable[[Facts, Wants], Iterator[Finding]]


def listed(words: Iterable[str]) -> str:
    """Words with commas, each once."""
    return ", ".join(dict.fromkeys(words))
