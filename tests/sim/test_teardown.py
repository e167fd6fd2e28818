# SPDX-License-Identifier: GPL-2.0-or-later
"""A teardown that cannot be finished, is interrupted again and again, or comes after a reboot; and what is not ours."""

import random
from contextlib import suppress

import pytest
from machine import Machine, attempt, dies, fails, points_of, shipped, small, some, virgin

from nvlab.errors import Conflict, NvlabError, TeardownIncomplete
from nvlab.kernel.fake import Crash, FakeKernel, Fuse
from nvlab.kernel.ops import Run, Write

PLAN = small("lab")


def disks_of(machine: Machine, outputs: dict[str, str]) -> list[str]:
    return [machine.world.disks.at(path).name for key, path in outputs.items() if key.endswith(".dev")]


def test_whatever_somebody_holds_is_left_with_all_that_it_stands_on(machines):
    """Somebody claims one of the lab's devices: ``down`` says so, pulls nothing away, and finishes once it is let go."""
    names = disks_of(machine := machines(virgin), machine.up(PLAN))
    for name in names:
        machine = machines(virgin)
        machine.up(PLAN)
        disk = machine.world.disks.all[name]
        if disk.claims:
            continue  # the lab's own upper layer has it
        disk.take("somebody")
        error = attempt(lambda: machine.down(PLAN.lab))  # noqa: B023
        assert isinstance(error, TeardownIncomplete) and error.exit_code == 5, f"{name}: {error}"
        assert error.hint and f"nvlab down {PLAN.lab}" in error.hint
        assert name in machine.world.disks.all and not machine.world.disks.pulled
        disk.release("somebody")
        assert machine.down(PLAN.lab)
        machine.assert_equals(machine.start, f"{name} was held for a while")
        machine.assert_no_state(name)


def test_any_undo_may_fail_once(machines):
    """Each primitive of ``down`` fails in turn: the rest is attempted, and a second ``down`` finishes."""
    standing = machines(virgin)
    standing.up(PLAN)
    points = points_of(lambda fuse: standing.down(PLAN.lab, fuse))
    for k, point in some(points).items():
        machine = machines(virgin)
        machine.up(PLAN)
        error = attempt(lambda: machine.down(PLAN.lab, Fuse(k, fails)))  # noqa: B023
        assert error is None or isinstance(error, NvlabError), f"{k}, {point}"
        machine.down(PLAN.lab)
        machine.assert_equals(machine.start, f"{point} failed once")
        machine.assert_no_state(f"{point} failed once")


def test_dying_again_and_again(machines):
    """``up`` dies, then one ``down`` after the other; the last one finishes."""
    dice = random.Random(1)
    ups = list(points_of(lambda fuse: machines(virgin).up(PLAN, fuse)))
    for _ in range(60):
        machine = machines(virgin)
        trail = [dice.choice(ups)]
        dies(lambda fuse: machine.up(PLAN, fuse), trail[0])  # noqa: B023
        for _ in range(3):
            fuse = Fuse(dice.randrange(40))
            trail.append(fuse.at or 0)
            with suppress(Crash):
                machine.down(PLAN.lab, fuse)
        machine.down(PLAN.lab)
        machine.assert_equals(machine.start, f"died at {trail}")
        machine.assert_no_state(f"died at {trail}")


def test_a_module_loaded_after_the_crash_is_not_ours(machines):
    """Somebody loads a module and mounts a file system between the crash and ``down``: both stay."""
    points = points_of(lambda fuse: machines(virgin).up(PLAN, fuse))
    for k, point in some(points).items():
        machine = machines(virgin)
        dies(lambda fuse: machine.up(PLAN, fuse), k)  # noqa: B023
        for name in ("xfs", "dm_delay"):
            machine.world.modules.probe(name, {})
        machine.down(PLAN.lab)
        assert {"xfs", "dm_delay"} <= set(machine.world.modules.loaded), f"{k}, {point}"


def test_up_refuses_what_is_already_there(machines):
    """An object with our name that no journal owns: a conflict, and it stays as it is."""
    machine = machines(virgin)
    world = machine.world
    world.modules.probe("null_blk", {"nr_devices": "0"})
    world.mounts.mount("configfs", "none", "/sys/kernel/config")
    world.tree.directory("/sys/kernel/config/nullb").mkdir("nvlab-lab-pool-2")
    before = machine.snapshot()
    error = attempt(lambda: machine.up(PLAN))
    assert isinstance(error, Conflict) and error.exit_code == 4 and error.hint
    machine.assert_equals(before, "after the conflict")
    machine.assert_no_state("after the conflict")


def test_up_of_a_lab_that_is_up_or_half_up_is_a_conflict(machines):
    machine = machines(virgin)
    dies(lambda fuse: machine.up(PLAN, fuse), 100)
    half = machine.snapshot()
    error = attempt(lambda: machine.up(PLAN))
    assert isinstance(error, Conflict) and "nvlab down lab" in (error.hint or "")
    machine.assert_equals(half, "after the refusal")
    assert machine.down(PLAN.lab)


def test_somebody_elses_port_is_refused(machines):
    def with_port(world):
        virgin(world)
        kernel = FakeKernel(world)
        kernel.perform(Run(("modprobe", "--all", "configfs", "nvmet")))
        kernel.perform(Run(("mount", "-t", "configfs", "none", "/sys/kernel/config")))
        world.tree.directory("/sys/kernel/config/nvmet/ports").mkdir("3")
        for key, value in {"traddr": "127.0.0.1", "trsvcid": "4420"}.items():
            kernel.perform(Write(f"/sys/kernel/config/nvmet/ports/3/addr_{key}", value))

    machine = machines(with_port)
    error = attempt(lambda: machine.up(PLAN))
    assert isinstance(error, Conflict), error
    machine.assert_equals(machine.start, "after the conflict")


def test_an_address_in_use_undoes_everything_and_quotes_the_kernel(machines):
    machine = machines(virgin)
    machine.world.listeners.add(("127.0.0.1", "4420"))
    error = attempt(lambda: machine.up(PLAN))
    assert error and "nvmet_tcp: failed to bind port socket -98" in error.kmsg
    machine.assert_equals(machine.start, "after the failure")


def test_a_missing_module_is_said_before_anything_is_touched(machines):
    machine = machines(virgin)
    machine.world.modules.missing.add("rapiddisk")
    error = attempt(lambda: machine.up(PLAN))
    assert error and error.exit_code == 3 and "rapiddisk" in error.message
    machine.assert_equals(machine.start, "after the refusal")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hybrid-nvme", "everything-else"])
def test_after_a_reboot_down_removes_what_the_boot_did_not(machines, name):
    """Files and signatures on real disks outlive a boot; modules that the new boot loaded are not ours."""
    plan = shipped()[name]
    points = points_of(lambda fuse: machines(virgin).up(plan, fuse))
    for k, point in some(points).items():
        machine = machines(virgin)
        dies(lambda fuse: machine.up(plan, fuse), k)  # noqa: B023
        machine.reboot()
        machine.world.modules.probe("brd", {"rd_nr": "1"})
        machine.world.modules.probe("nvmet_tcp", {})
        other = machines(virgin)
        other.world.boot_id = machine.world.boot_id
        other.world.modules.probe("brd", {"rd_nr": "1"})
        other.world.modules.probe("nvmet_tcp", {})
        machine.down(plan.lab)
        machine.assert_equals(other.snapshot(), f"rebooted after {k}, {point}")
        machine.assert_no_state(f"rebooted after {k}, {point}")
