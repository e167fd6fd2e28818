# SPDX-License-Identifier: GPL-2.0-or-later
"""A real disk is used when nothing is on it and nobody has it, or when its serial is named; else nothing is touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from machine import REAL_DISK, Machine, attempt, plan_of, virgin

from nvlab.errors import Conflict
from nvlab.kernel.fake import World
from nvlab.kernel.fake.block import Disk
from nvlab.kernel.fake.disktools import ENDMARK, UNMARKED
from nvlab.kernel.fake.tree import Attr, Dir
from nvlab.plan import Plan
from nvlab.scenario.load import loads


def plan(wipe: str = "") -> Plan:
    words = f'wipe = "{wipe}"\n' if wipe else ""
    return plan_of(loads(f'schema = 1\n[disk.real]\nkind = "path"\npath = "{REAL_DISK}"\n{words}', name="lab"))


def disk(world: World) -> Disk:
    return world.disks.all["sdb"]


def marked(kind: str) -> Callable[[World], None]:
    return lambda world: disk(world).marks.update({kind: "MARK"})


def partitioned(world: World) -> None:
    disk(world).marks["gpt"] = "TABLE"
    world.disks.add_part(disk(world), 1)


def partition_mounted(world: World) -> None:
    partitioned(world)
    disk(world).parts[0].take("/mnt")


def held(world: World) -> None:
    world.disks.add(Disk("dm-0", 1 << 30, "dm_mod"))
    disk(world).take("dm-0")


USED = {
    "an ext4": (marked("ext4"), "is not empty: TYPE=ext4"),
    "a RAID member": (marked("md"), "is not empty: TYPE=md"),
    "an LVM member": (marked("LVM2_member"), "is not empty: TYPE=LVM2_member"),
    "a ZFS label": (marked("zfs_member"), "is not empty: TYPE=zfs_member"),
    "swap that nobody uses": (marked("swap"), "is not empty: TYPE=swap"),
    "swap in use": (lambda world: disk(world).take("swap"), "is in use"),
    "data without a signature": (marked(UNMARKED), "its first 1 MiB are not all zeros"),
    "data at its end": (marked(ENDMARK), "its last 1 MiB are not all zeros"),
    "a partition": (partitioned, "has partitions (sdb1)"),
    "a mount": (lambda world: disk(world).take("/mnt"), "is in use"),
    "a mounted partition": (partition_mounted, "is in use"),
    "a holder": (held, "is used by dm-0"),
}


def with_serial(world: World) -> None:
    virgin(world)
    device = Dir()
    device.put("serial", Attr("S3RIAL"))
    disk(world).sys.put("device", device)


@pytest.mark.parametrize("why", USED)
def test_a_disk_that_is_used_is_refused_and_untouched(machines, why):
    use, words = USED[why]
    machine: Machine = machines(with_serial)
    use(machine.world)
    before = machine.snapshot()
    error = attempt(lambda: machine.up(plan()))
    assert isinstance(error, Conflict) and words in error.message and error.hint
    machine.assert_equals(before, why)
    if "in use" in words or "used by" in words:  # not even its serial opens a disk that somebody has
        assert isinstance(attempt(lambda: machine.up(plan("S3RIAL"))), Conflict)
        machine.assert_equals(before, why)


def test_only_the_disks_own_serial_lets_its_content_be_destroyed(machines):
    machine: Machine = machines(with_serial)
    disk(machine.world).marks["ext4"] = "MARK"
    error = attempt(lambda: machine.up(plan("0THER")))
    assert isinstance(error, Conflict) and "is not the serial or WWN of sdb (S3RIAL)" in error.message
    assert disk(machine.world).marks == {"ext4": "MARK"}
    machine.up(plan("S3RIAL"))
    assert disk(machine.world).marks == {}
    machine.down("lab")


def test_a_disk_belongs_to_one_lab_at_a_time(machines):
    machine: Machine = machines(with_serial)
    machine.up(plan())
    other = plan_of(loads(f'schema = 1\n[disk.it]\nkind = "path"\npath = "{REAL_DISK}"\n', name="other"))
    error = attempt(lambda: machine.up(other))
    assert isinstance(error, Conflict) and "is used by disk.real of lab lab" in error.message
    machine.down("lab")
    machine.up(other)
    machine.down("other")
