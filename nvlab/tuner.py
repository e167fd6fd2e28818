# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller's side of ``nvlab doctor --tune``: look, change what can be put back, look again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvlab import controller, tuning
from nvlab.doctor.examine import Options, Report, examine
from nvlab.errors import Conflict, NvlabError
from nvlab.nodes import places
from nvlab.nodes.node import Node
from nvlab.plan import Plan

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Tuned:
    """What was done as ``lab``: ``tuned``, ``refused``: of :func:`nvlab.nodes.tuning.apply`; ``left``: what is found still."""

    lab: str
    tuned: Mapping[str, Mapping[str, str]]
    refused: Mapping[str, str]
    left: Report

    def to_json(self) -> dict[str, Any]:
        return {**self.left.to_json(), "lab": self.lab, "tuned": self.tuned, "refused": self.refused}

    def text(self) -> str:
        """For a person."""
        lines = [f"tuned     {line}" for line in tuning.described(self.tuned)] or ["nothing was tuned"]
        lines += [f"refused   {step}: {why}" for step, why in self.refused.items()]
        lines += [f"Next: nvlab down {self.lab} puts it back"] if self.tuned else []
        return "\n".join([self.left.text(), "", *lines])


def tune(path: Path | None, options: Options, emit: Emit) -> Tuned:
    """Tune the machine that doctor looks at, for the scenario in ``path`` if there is one.

    Raises what :func:`nvlab.doctor.examine.examine` and the engine raise; EnvironmentNotReady without root on this machine.
    """
    found = examine(path, options)
    cures = [(finding.check, finding.tune) for finding in found.findings if finding.tune]
    plan = tuning.tuning_plan(tuning.name_for(found.scenario), cures)
    said = apply_on(places.chosen(options.on or "local"), plan, str(path.resolve()) if path else "", emit)
    return Tuned(plan.lab, said["tuned"], said["refused"], examine(path, options))


def apply_on(node: Node, plan: Plan, source: str, emit: Emit) -> dict[str, Any]:
    """Do what a tuning for the scenario in ``source`` says on a node; see :func:`nvlab.nodes.tuning.apply`.

    Raises Conflict when a tuning of that name stands on another.
    """
    with closing(node.connect()) as session:
        _check_elsewhere(plan.lab, node)
        controller.announce(plan.lab, node, {"source": source, "plan": plan.to_json()})
        node.claim(plan.lab)
        try:
            said: dict[str, Any] = session.call("tune", {"plan": plan.to_json()}, emit)
        except NvlabError as error:
            controller.forget_if_gone(node, plan.lab, error)
            raise
    if not said["tuned"]:
        controller.forget_if_gone(node, plan.lab)
    return said


def _check_elsewhere(lab: str, node: Node) -> None:
    if lab in controller.labs():
        other = controller.node_of(controller.record(lab))
        if other.known() != node.known() and other.holds(lab):
            raise Conflict(f"{lab} stands {other.where}", hint=f"nvlab down {lab}, then tune another machine")
