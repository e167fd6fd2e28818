# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab is put together again after the power of its machine was cut, of what its devices hold; nothing on them is made anew."""

from __future__ import annotations

from machine import Machine, attempt, dies, plan_of, points_of, some, virgin

from nvlab.errors import StepFailed
from nvlab.plan import Plan, resolve
from nvlab.recovery import held, recovery
from nvlab.scenario.load import loads

STACK = """
schema = 1
[device.ssd]
count = 3
size = "64M"
[device.log]
size = "16M"
[raid.md]
level = 5
on = "ssd"
journal = { on = "log", mode = "write-back" }
[cache.ram]
on = "md"
size = "16M"
[export.drive]
on = "ram"
hosts = ["client"]
[connect.client]
to = "drive"
[device.data]
size = "64M"
[filesystem.files]
on = "data"
[workload.load]
on = "client"
ledger = true
fio = { rw = "randwrite", bs = "4k", size = "8M", runtime = "10s" }
[[event]]
at = "50%"
do = "power-cut"
"""
PLAN = plan_of(loads(STACK, name="lab"))
AGAIN = recovery(PLAN, {name: f"/images/{name}" for name in held(PLAN)})
MAKERS = {"device.create", "md.create", "filesystem.make"}


def cut(machine: Machine, plan: Plan = PLAN) -> None:
    """The event, then a new boot."""
    process = machine.process()
    (event,) = plan.workloads[0]["events"]
    acts = resolve(event["acts"], process.outputs(plan.lab).__getitem__)
    process.happen(plan.lab, event["owner"], event["label"], acts)
    machine.reset()


def written(machine: Machine) -> dict[int, dict[str, str]]:
    return {start: dict(marks) for start, marks in machine.world.virtual.regions.items()}


def test_a_recovery_makes_nothing_on_what_it_finds():
    verbs = [step.verb for step in AGAIN.steps]
    assert {step.verb for step in PLAN.steps} >= MAKERS and not MAKERS & set(verbs)
    assert verbs.index("md.ignore") < verbs.index("device.restore"), "or udev assembles what appears"
    assert {step.id for step in PLAN.steps} - {step.id for step in AGAIN.steps} == {"filesystem.files/mkfs"}


def test_the_same_lab_stands_again_and_down_leaves_nothing(machines):
    machine = machines(virgin)
    before = machine.up(PLAN)
    on_disks = written(machine)
    assert len([marks for marks in on_disks.values() if "md" in marks]) == 4
    cut(machine)
    assert machine.up(AGAIN) == before | {"md.marked": ""}, "the members' superblocks are not the recovery's to remove"
    assert written(machine) == on_disks
    modes = machine.world.tree.node("/sys/block/md0/md/journal_mode")
    assert "[write-back]" in modes.show(), "as it was: MD begins in write-through"
    machine.down(PLAN.lab)
    machine.assert_equals(machine.start, "after a power cut, a recovery and down")
    machine.assert_no_state("after a power cut, a recovery and down")


def test_a_recovery_may_die_anywhere(machines):
    def struck() -> Machine:
        machine = machines(virgin)
        machine.up(PLAN)
        cut(machine)
        return machine

    points = points_of(lambda fuse: struck().up(AGAIN, fuse))
    for k, point in some(points).items():
        machine = struck()
        dies(lambda fuse: machine.up(AGAIN, fuse), k)  # noqa: B023
        machine.down(PLAN.lab)
        machine.assert_equals(machine.start, f"the recovery died at {k}, {point}")
        machine.assert_no_state(f"the recovery died at {k}, {point}")


def test_an_array_that_lacks_something_is_not_assembled_and_nothing_is_made_instead(machines):
    machine = machines(virgin)
    machine.up(PLAN)
    cut(machine)
    member = next(marks for marks in machine.world.virtual.regions.values() if "md" in marks)
    del member["md"]
    before = written(machine)
    error = attempt(lambda: machine.up(AGAIN))
    assert isinstance(error, StepFailed) and error.step == "raid.md"
    assert "no RAID superblock on /dev/nvme" in str(error)
    assert written(machine) == before
    machine.assert_equals(machine.start, "after a recovery that failed")
