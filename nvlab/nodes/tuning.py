# SPDX-License-Identifier: GPL-2.0-or-later
"""The node's end of ``nvlab doctor --tune``: settings of this machine as a lab of their own."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from nvlab import tuning
from nvlab.engine import Engine
from nvlab.errors import Conflict, Interrupted, NvlabError, TeardownIncomplete
from nvlab.journal import History
from nvlab.nodes.agent import Emit
from nvlab.plan import Plan


def apply(engine: Engine, wanted: Plan, emit: Emit) -> dict[str, Any]:
    """Do what a tuning says, and what other tunings here have done, so that it stays until all have gone.

    {"tuned": as of :func:`nvlab.tuning.tuned`, "refused": {step: why}}: what cannot be done is left as it is.
    """
    with suppress(NvlabError):
        if engine.history(wanted.lab).boot_id != engine.leases.boot_id:  # it went with its boot
            engine.down(wanted.lab)
    here = standing(engine)
    refused: dict[str, str] = {}
    plan = wanted if wanted.lab in here else tuning.joined(wanted, here.values())
    while plan.steps:
        try:
            engine.up(plan)
            break
        except NvlabError as error:
            if not error.step or isinstance(error, (Interrupted, TeardownIncomplete)):
                raise
            refused[error.step] = error.message.removeprefix(f"{error.step}: ")
            emit({"kind": "note", "text": f"{error.message}: once more without it"})
            plan = tuning.without(plan, error.step)
    done = standing(engine).get(wanted.lab)
    return {"tuned": tuning.tuned([done] if done else []), "refused": refused}


def standing(engine: Engine) -> dict[str, History]:
    """The tunings of this machine that this boot has seen, by name."""
    found: dict[str, History] = {}
    for lab in engine.labs():
        with suppress(Conflict):  # it goes away while we look
            history = engine.history(lab)
            if tuning.is_tuning(history.plan) and history.boot_id == engine.leases.boot_id:
                found[lab] = history
    return found
