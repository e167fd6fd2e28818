# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``nvlab doctor --tune`` makes of a machine, as a plan: a lab of settings, journalled and undone as any lab is. Pure.

It is called after the lab it is for, "LAB.tuning", or "tuning" when it is for none: no other lab's name has a dot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nvlab.journal import History
from nvlab.kernel.tune import few
from nvlab.plan import Layer, Needs, Plan, Step

NAME = "tuning"
_VERBS = ("tune.stop", "tune.swap", "tune.set")  # a service may put settings back as it stops: services go first


@dataclass(frozen=True)
class Cure:
    """What would cure a finding and can be undone: the verb (:mod:`nvlab.kernel.tune`), what to make of what, and in words."""

    verb: str
    wanted: Mapping[str, str]
    said: str


def name_for(lab: str) -> str:
    """What the tuning for a lab is called; for no lab in particular: ""."""
    return f"{lab}.{NAME}" if lab else NAME


def is_name(lab: str) -> bool:
    """Whether a tuning is called so."""
    return lab.rpartition(".")[2] == NAME


def is_tuning(plan: Plan) -> bool:
    """Whether it is a tuning's rather than a lab's."""
    return bool(plan.steps) and all(step.verb in _VERBS for step in plan.steps)


def tuning_plan(lab: str, cures: Iterable[tuple[str, Cure]]) -> Plan:
    """The plan called ``lab`` that does these cures, each with the name of its check."""
    steps: dict[str, tuple[Step, Layer]] = {}
    for check, cure in cures:
        words = f"{cure.said}; it was {{{check}.was}}"
        new = Step(check, cure.verb, {"wanted": dict(cure.wanted)}, f"{NAME}.{check}", check), Layer(f"{NAME}.{check}", words)
        steps[check] = _joined(steps[check], new) if check in steps else new
    return _plan(lab, list(steps.values()))


def joined(plan: Plan, histories: Iterable[History]) -> Plan:
    """The plan, with all that other tunings of this boot have made: it is to stay until the last of them goes."""
    steps = {step.id: (step, layer) for step, layer in _pairs(plan)}
    for history in histories:
        standing = {entry.step.id for entry in history.standing()}
        for step, layer in _pairs(history.plan):
            if step.id in standing:
                steps[step.id] = _joined((step, layer), steps[step.id]) if step.id in steps else (step, layer)
    return _plan(plan.lab, list(steps.values()))


def without(plan: Plan, step_id: str) -> Plan:
    """The plan without one of its steps."""
    return _plan(plan.lab, [pair for pair in _pairs(plan) if pair[0].id != step_id])


def tuned(histories: Iterable[History]) -> dict[str, dict[str, str]]:
    """What tunings have made of what: {what: {"value", "was"}}; what was so before is left out."""
    found: dict[str, dict[str, str]] = {}
    for history in histories:
        for step in (entry.step for entry in history.standing() if entry.step.verb in _VERBS):
            for what, value in step.args["wanted"].items():
                if step.args["was"][what] != value:
                    found[what] = {"value": value, "was": step.args["was"][what]}
    return found


def _pairs(plan: Plan) -> list[tuple[Step, Layer]]:
    return list(zip(plan.steps, plan.layers, strict=True))


def _joined(first: tuple[Step, Layer], second: tuple[Step, Layer]) -> tuple[Step, Layer]:
    wanted = {**first[0].args["wanted"], **second[0].args["wanted"]}
    return replace(second[0], args={"wanted": wanted}), second[1]


def _plan(lab: str, pairs: Sequence[tuple[Step, Layer]]) -> Plan:
    ordered = sorted(pairs, key=lambda pair: _VERBS.index(pair[0].verb))
    steps, layers = [step for step, _ in ordered], [layer for _, layer in ordered]
    return Plan(lab=lab, title="settings of the machine", steps=tuple(steps), layers=tuple(layers), needs=Needs())


def described(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What :func:`tuned` says, for a person; long lists of alike things in short."""
    groups: dict[tuple[str, str], list[str]] = {}
    for what, said in found.items():
        groups.setdefault((said["value"], said["was"]), []).append(what)
    return [f"{few(whats)}: {value}, was {was}" for (value, was), whats in groups.items()]

