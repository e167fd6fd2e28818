# SPDX-License-Identifier: GPL-2.0-or-later
"""What virtual devices count themselves (``stats``, kmod/README.md), before and after a load. Stdlib only.

``stats.json`` has ``before`` and ``after`` {layer: the text of the file}; a device that is not there has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nvlab.record import STATS

#: what says how it is, or was since the power went on; all else only grows
LEVELS = frozenset(
    (
        "worst", "waf", "open_units", "mapped_units", "units", "lines", "free_lines", "open_lines", "closed_lines",
        "retired_lines", "line_units", "usable_units", "bad_blocks", "least_erases", "most_erases", "read_only", "zones",
        "active_zones", "open_zones", "keys", "value_units", "value_bytes",
    )
)


@dataclass(frozen=True)
class Account:
    """A device that counts: the layer it is ("nvme.2") and the file of its counters."""

    layer: str
    path: str


def read_accounts(accounts: Sequence[Account]) -> dict[str, str]:
    """The text of each file, by layer."""
    found = {}
    for each in accounts:
        with suppress(OSError):
            found[each.layer] = Path(each.path).read_text(encoding="ascii")
    return found


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """By how much each total grew; nothing where one is less, as the device was made anew."""
    more = {name: count - before.get(name, 0) for name, count in after.items() if name not in LEVELS}
    return more if min(more.values(), default=0) >= 0 else {}


def grown_in(directory: Path) -> dict[str, dict[str, int]]:
    """What each device counted during the load recorded in a directory, by layer."""
    if not (directory / STATS).is_file():
        return {}
    said = json.loads((directory / STATS).read_text(encoding="utf-8"))
    before, after = ({layer: _parsed(text) for layer, text in said[when].items()} for when in ("before", "after"))
    return {layer: grown(before[layer], after[layer]) for layer in after if layer in before}


def _parsed(text: str) -> dict[str, int]:
    return {name: int(count) for name, count in map(str.split, text.splitlines())}
