# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nvlab.doctor.facts import Facts
from nvlab.doctor.wants import Wants
from nvlab.tuning import Cure

#: a lab cannot come up; it can, but its figures mislead; good to know
Severity = Literal["required", "distorts", "note"]


@dataclass(frozen=True)
class Finding:
    """``what`` is the case, ``why`` it matters, ``cure``: the exact thing to do about it.

    ``tune``: the same for ``--tune``, where that can be undone.
    """

    severity: Severity
    what: str
    why: str
    cure: str
    check: str = ""
    tune: Cure | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


CheckFunction = Callable[[Facts, Wants], Iterator[Finding]]


def listed(words: Iterable[str]) -> str:
    """Words with commas, each once."""
    return ", ".join(dict.fromkeys(words))
