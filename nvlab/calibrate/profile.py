# SPDX-License-Identifier: GPL-2.0-or-later
"""The profile that a fit leaves: every number with where it comes from, as in nvlab's own."""

from __future__ import annotations

import json
from collections.abc import Iterator

from nvlab.calibrate.search import Outcome
from nvlab.medium import PARAMETERS, TIMING


def profile_text(outcome: Outcome, title: str, measured: str) -> str:
    """TOML that :func:`nvlab.medium.load_profile` reads; ``measured`` names what it was fitted to."""
    base = outcome.base
    head = ["# made by nvlab calibrate", f"title = {json.dumps(title, ensure_ascii=False)}"]
    head += [f'kind = "{base.kind}"', f"vwc = {str(base.vwc).lower()}"]
    return "\n".join([*head, "", "[parameters]", *_entries(outcome, measured)]) + "\n"


def _entries(outcome: Outcome, measured: str) -> Iterator[str]:
    base = outcome.base
    before = base.timing or base.model
    for name in TIMING if base.kind == "nvm" else PARAMETERS:
        changed = outcome.values[name] != before[name]
        if changed or name in base.sources or name in outcome.claimed:
            unit = TIMING[name][0] if name in TIMING else PARAMETERS[name].unit
            entry = {"value": outcome.values[name], "unit": unit, "source": _source(outcome, name, measured, changed)}
            inner = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items())
            yield f"{name} = {{ {inner} }}"


def _source(outcome: Outcome, name: str, measured: str, changed: bool) -> str:
    if name in outcome.claimed:
        width = outcome.claimed[name]
        return f"nvlab calibrate: {measured}" + (f", ± {200 * width:.1f} %" if width else "")
    if changed:
        return f"nvlab calibrate: {measured}; not identified: {outcome.unknown[name]}"
    return f"{outcome.base.name}: {outcome.base.sources.get(name, 'the default')}"
