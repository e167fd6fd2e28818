# SPDX-License-Identifier: GPL-2.0-or-later
"""From the plan of a lab to the plan that puts it together again after the power of its machine was cut. Pure.

What was in RAM is made anew: volumes of caches, exports, connections. What was on a device is used as it is found: a device goes
on with what it holds, an array is assembled, a file system mounted. No step of the new plan formats or creates anything on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nvlab.plan import Plan, Step

_AGAIN = {"device.create": "device.restore", "md.create": "md.assemble"}  # the same arguments, on what is there
_ONCE = ("filesystem.make",)
_FIRST = "md.ignore"  # before any device shows its superblock to udev, which would assemble it


def recovery(plan: Plan, images: Mapping[str, str]) -> Plan:
    """The plan; ``images``: the file of what the core of each device knew, a path on the node, by the device's name there."""
    first = [replace(step, owner="node") for step in plan.steps if step.verb == _FIRST]
    then = [_again(step, images) for step in plan.steps if step.verb not in (*_ONCE, _FIRST)]
    return replace(plan, steps=(*first, *then))


def _again(step: Step, images: Mapping[str, str]) -> Step:
    args: dict[str, Any] = dict(step.args)
    if step.verb == "device.create":
        args.pop("state", None)
        args["image"] = images[args["name"]]
    return replace(step, verb=_AGAIN.get(step.verb, step.verb), args=args)


def held(plan: Plan) -> list[str]:
    """The names, on the node, of the devices whose state a recovery needs."""
    return [str(step.args["name"]) for step in plan.steps if step.verb == "device.create"]
