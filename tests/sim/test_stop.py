# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C at any moment: once undoes, twice leaves everything as it is for a later ``down``."""

import pytest
from machine import Machine, attempt, points_of, shipped, small, some, virgin

from nvlab.errors import Interrupted
from nvlab.kernel.fake import Fuse

PLAN = small("lab")


class CtrlC(Fuse):
    """A user who presses Ctrl-C at point ``at``, and perhaps again at point ``again``."""

    def __init__(self, at: int, again: int | None = None) -> None:
        super().__init__()
        self.presses = [at] if again is None else [at, again]

    def level(self) -> int:
        return sum(len(self.passed) > at for at in self.presses)


def press(machine: Machine, act: str, *at: int) -> Exception | None:
    user = CtrlC(*at)
    process = machine.process(user, user.level)
    return attempt(lambda: process.up(PLAN) if act == "up" else process.down(PLAN.lab))


def test_once_in_up_undoes_everything(machines):
    points = points_of(lambda fuse: machines(virgin).up(PLAN, fuse))
    for k, point in some(points).items():
        machine = machines(virgin)
        error = press(machine, "up", k)
        if error is None:  # it came after the last step
            assert machine.down(PLAN.lab)
        else:
            assert isinstance(error, Interrupted), f"{k}, {point}: {error}"
        machine.assert_equals(machine.start, f"Ctrl-C at {k}, {point}")
        machine.assert_no_state(f"Ctrl-C at {k}, {point}")


@pytest.mark.parametrize("pause", [0, 7])
def test_twice_in_up_leaves_the_rest_to_down(machines, pause):
    points = points_of(lambda fuse: machines(virgin).up(PLAN, fuse))
    for k, point in some(points).items():
        machine = machines(virgin)
        error = press(machine, "up", k, k + pause)
        standing = machine.process().labs()
        if error is not None and standing:
            assert f"nvlab down {PLAN.lab}" in (error.hint or ""), f"{k}, {point}: {error}"
        machine.down(PLAN.lab)
        machine.assert_equals(machine.start, f"twice at {k}, {point}")


def test_twice_at_once_touches_nothing_more(machines):
    points = list(points_of(lambda fuse: machines(virgin).up(PLAN, fuse)))
    machine = machines(virgin)
    k = points[len(points) // 2]
    assert isinstance(press(machine, "up", k, k), Interrupted)
    history = machine.process().history(PLAN.lab)
    assert history.entries and len(history.standing()) == len(history.entries)


def test_in_down_once_goes_on_and_twice_leaves_the_rest(machines):
    standing = machines(virgin)
    standing.up(PLAN)
    points = points_of(lambda fuse: standing.down(PLAN.lab, fuse))
    for k, point in some(points).items():
        for at in ((k,), (k, k)):
            machine = machines(virgin)
            machine.up(PLAN)
            error = press(machine, "down", *at)
            assert error is None or len(at) == 2, f"{at}, {point}: {error}"
            machine.down(PLAN.lab)
            machine.assert_equals(machine.start, f"down stopped at {at}, {point}")


def test_a_stop_ends_a_long_wait(machines):
    """The first resync can take minutes: Ctrl-C ends the wait for it, not only the step after."""
    plan = shipped()["nvme-backing"]
    machine = machines(virgin)
    waiting = "sync_action"
    user = CtrlC(1 << 20)
    process = machine.process(user, lambda: int(any(waiting in str(point) for point in user.passed[-1:])))
    assert "stopped while waiting for the first resync" in str(attempt(lambda: process.up(plan)))
    machine.assert_equals(machine.start, "after the stop")
