# SPDX-License-Identifier: GPL-2.0-or-later
"""Two labs on one machine, sharing modules, configfs, port, and numbers; one of them dies."""

import pytest
from machine import Machine, dies, points_of, small, some, virgin

from nvlab.kernel.fake import FakeKernel
from nvlab.kernel.ops import Write

FIRST = small("first")
SECOND = small("second", FIRST)


def stands(machine: Machine, outputs: dict[str, str]) -> bool:
    """Whether every block device of a lab is there."""
    kernel = FakeKernel(machine.world)
    return all(kernel.exists(path) for key, path in outputs.items() if key.endswith(".dev"))


@pytest.mark.slow
def test_the_other_lab_is_untouched_when_one_dies_in_up(machines):
    def beside() -> Machine:
        machine = machines(virgin)
        machine.up(SECOND)
        return machine

    points = points_of(lambda fuse: beside().up(FIRST, fuse))
    for k, point in points.items():
        machine = beside()
        both = machine.snapshot()
        dies(lambda fuse: machine.up(FIRST, fuse), k)  # noqa: B023
        machine.down("first")
        machine.assert_equals(both, f"up died at {k}, {point}")


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_a_lab_comes_up_beside_a_dead_one_and_both_go(machines, order):
    points = points_of(lambda fuse: machines(virgin).up(FIRST, fuse))
    for k, point in some(points).items():
        machine = machines(virgin)
        dies(lambda fuse: machine.up(FIRST, fuse), k)  # noqa: B023
        outputs = machine.up(SECOND)
        machine.down(order[0])
        assert order[0] == "second" or stands(machine, outputs), f"first died at {k}, {point}"
        machine.down(order[1])
        machine.assert_equals(machine.start, f"first died at {k}, {point}")
        machine.assert_no_state(f"first died at {k}, {point}")


def test_an_array_that_another_lab_is_just_making_is_not_stopped(machines):
    """Both chose md0 at the same moment; the other lab's mdadm has made the array object and lives."""
    machine = machines(virgin)
    points = points_of(lambda fuse: machines(virgin).up(FIRST, fuse))
    before = next(k for k, point in points.items() if point.startswith("before mdadm --create"))
    dies(lambda fuse: machine.up(FIRST, fuse), before)
    kernel = FakeKernel(machine.world)
    kernel.perform(Write("/sys/module/md_mod/parameters/new_array", "md0"))
    machine.world.disks.all["md0"].take("the other mdadm")
    machine.down("first")
    assert kernel.exists("/sys/block/md0/md")


def test_two_labs_that_come_up_at_once_choose_different_numbers(machines):
    """The first has written its choice down, and has not made the array yet."""
    machine = machines(virgin)
    points = points_of(lambda fuse: machines(virgin).up(FIRST, fuse))
    before = next(k for k, point in points.items() if point.startswith("before mdadm --create"))
    dies(lambda fuse: machine.up(FIRST, fuse), before)
    outputs = machine.up(SECOND)
    assert [value for key, value in outputs.items() if value.startswith("/dev/md")] == ["/dev/md1"]


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_two_whole_labs_go_in_any_order(machines, order):
    machine = machines(virgin)
    outputs = {"first": machine.up(FIRST), "second": machine.up(SECOND)}
    for lab in order:
        assert stands(machine, outputs[lab])
        machine.down(lab)
    machine.assert_equals(machine.start, "after both")
    machine.assert_no_state("after both")
