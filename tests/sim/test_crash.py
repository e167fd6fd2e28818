# SPDX-License-Identifier: GPL-2.0-or-later
"""The promise of plan and undo: wherever a process dies, a new one's ``down`` gives back the world as it was."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from machine import Machine, attempt, dies, fails, lived_in, points_of, shipped, virgin

from nvlab.errors import NvlabError
from nvlab.kernel.fake import Fuse
from nvlab.plan import Plan

PLANS = shipped()
FURNISHED = {"virgin": virgin, "lived-in": lived_in}
# to die at each of their points takes a while: make test has these
LONG = ("hybrid-nvme", "nvme-backing", "drill-host-power", "drill-journal", "drill-member", "drill-network", "everything-else")


def each(names: Iterable[str], *where: str) -> list[Any]:
    """Parameters (name, *where) of a test, the long ones marked."""
    slow = {name: [pytest.mark.slow] for name in LONG}
    return [pytest.param((name, *where), id="-on-".join((name, *where)), marks=slow.get(name, ())) for name in names]


CASES = each(PLANS, "virgin") + each(["everything-else"], "lived-in")


@pytest.fixture(params=CASES)
def case(request, machines) -> tuple[Plan, Callable[[], Machine]]:
    """A plan, and what makes the machines to run it on."""
    name, where = request.param
    return PLANS[name], functools.partial(machines, FURNISHED[where])


def test_up_and_down_leave_the_world_as_it_was(case):
    plan, fresh = case
    machine = fresh()
    machine.up(plan)
    assert machine.snapshot() != machine.start
    assert machine.down(plan.lab) is True
    machine.assert_equals(machine.start, "after down")
    machine.assert_no_state("after down")
    assert machine.down(plan.lab) is False


def test_up_may_die_anywhere(case):
    plan, fresh = case
    points = points_of(lambda fuse: fresh().up(plan, fuse))
    for k, point in points.items():
        machine = fresh()
        dies(lambda fuse: machine.up(plan, fuse), k)  # noqa: B023
        machine.down(plan.lab)
        machine.assert_equals(machine.start, f"up died at {k}, {point}")
        machine.assert_no_state(f"up died at {k}, {point}")
        assert machine.down(plan.lab) is False


def test_down_may_die_anywhere(case):
    plan, fresh = case
    standing = fresh()
    standing.up(plan)
    points = points_of(lambda fuse: standing.down(plan.lab, fuse))
    for k, point in points.items():
        machine = fresh()
        machine.up(plan)
        dies(lambda fuse: machine.down(plan.lab, fuse), k)  # noqa: B023
        machine.down(plan.lab)
        machine.assert_equals(machine.start, f"down died at {k}, {point}")
        machine.assert_no_state(f"down died at {k}, {point}")


@pytest.mark.parametrize("name", each(PLANS))
def test_anything_may_fail_in_up(name, machines):
    """A failing primitive, program or write of the journal: ``up`` itself undoes what it made."""
    plan = PLANS[name[0]]
    points = points_of(lambda fuse: machines(virgin).up(plan, fuse))
    for k, point in points.items():
        machine = machines(virgin)
        error = attempt(lambda: machine.up(plan, Fuse(k, fails)))  # noqa: B023
        # a module's request for another may fail in silence; the lab is then up
        assert isinstance(error, NvlabError) or "modprobe crc64" in point, f"{k}, {point}"
        assert error is None or error.hint, f"{k}, {point}: {error} does not say what to do"
        assert bool(machine.process().labs()) == (error is None), f"failure at {k}, {point}: not undone"
        machine.down(plan.lab)
        machine.assert_equals(machine.start, f"failure at {k}, {point}: {error}")
        machine.assert_no_state(f"failure at {k}, {point}")
