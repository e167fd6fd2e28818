# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine for the simulation tests: a fake world, a state directory, and processes of nvlab that may die on it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from nvlab.engine import Engine, Stop
from nvlab.errors import NvlabError
from nvlab.journal import Journal
from nvlab.kernel.fake import Crash, FakeKernel, Fuse, World
from nvlab.kernel.fake.block import Disk
from nvlab.kernel.fake.md import Recipe
from nvlab.kernel.fake.tree import Attr, File, Link, PlainDir
from nvlab.layers.base import Facts
from nvlab.leases import Leases
from nvlab.plan import Plan
from nvlab.planner import make_plan
from nvlab.scenario.load import Scenario, load, loads

ROOT = Path(__file__).parents[2]
MODULE = "/lib/nvlab/nvlab.ko"
# nvlab's own, like its state directory
STANDING = ("/run/nvlab/mnt", "/run/nvlab/net", "/run/nvlab/claims", "/var/lib/nvlab/disks")
REAL_DISK = "/dev/disk/by-id/ata-REAL"


class TornJournal(Journal):
    """A journal whose process can die before, inside and after each record."""

    fuse = Fuse()

    def _append(self, record: Mapping[str, Any]) -> None:
        self.fuse.tick(f"before the record {record['kind']}")
        with self._torn():
            self.fuse.tick(f"inside the record {record['kind']}")
        super()._append(record)
        self.fuse.tick(f"after the record {record['kind']}")

    @contextmanager
    def _torn(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with self.path.open("ab") as file:
                file.write(b'{"kind":"intent","id":"disk.po')
            raise

    def remove(self) -> None:
        self.fuse.tick("before the journal is removed")
        super().remove()
        self.fuse.tick("after the journal is removed")


class TornLeases(Leases):
    """A lease table whose process can die before and after it is replaced."""

    fuse = Fuse()

    def save(self) -> None:
        try:
            self.fuse.tick("before the leases are saved")
        except Crash:
            self.path.with_name(f"{self.path.name}.7.7.new").write_text('{"boot_id": "')  # what replace_file leaves then
            raise
        super().save()
        self.fuse.tick("after the leases are saved")


class Process(Engine):
    """The engine of one process; ``fuse`` says where it ends."""

    def __init__(self, machine: Machine, fuse: Fuse, stop: Stop) -> None:
        super().__init__(FakeKernel(machine.world, fuse), machine.state, stop=stop)
        self.fuse = fuse
        self.leases = TornLeases(self.leases.path, self.leases.boot_id)
        self.leases.fuse = fuse

    def journal(self, lab: str) -> Journal:
        journal = TornJournal(super().journal(lab).path.parent)
        journal.fuse = self.fuse
        return journal


class Machine:
    """One machine with its state directory, from one process to the next."""

    def __init__(self, state: Path, furnish: Callable[[World], None] | None = None) -> None:
        self.state = state
        self._furnish = furnish or _nothing
        self.world = self._boot()

    def _boot(self) -> World:
        world = World()
        world.modules.provide(MODULE)
        for path in STANDING:
            world.tree.ensure(path, PlainDir)
        self._furnish(world)
        return world

    @property
    def start(self) -> dict[str, Any]:
        """The world before the first lab; computed once for each way to furnish one."""
        if self._furnish not in _STARTS:
            other = Machine(self.state, self._furnish)
            _STARTS[self._furnish] = other.snapshot()
        return _STARTS[self._furnish]

    def process(self, fuse: Fuse | None = None, stop: Stop = lambda: 0) -> Process:
        return Process(self, fuse or Fuse(), stop)

    def up(self, plan: Plan, fuse: Fuse | None = None) -> dict[str, str]:
        return self.process(fuse).up(plan)

    def down(self, lab: str, fuse: Fuse | None = None) -> bool:
        return self.process(fuse).down(lab)

    def reboot(self) -> None:
        """What the kernel held is gone; files under /etc, /var and /opt stay, and what is written on real disks."""
        before, self.world = self.world, self._boot()
        self.world.boot_id = "5f0c1b1e-0000-4000-8000-000000000002"
        for path in ("/etc", "/var", "/opt", "/lib"):
            if before.tree.lexists(path):
                self.world.tree.root.put(path[1:], before.tree.directory(path))
        for name, disk in self.world.disks.all.items():
            disk.marks.update(before.disks.all[name].marks)

    def reset(self) -> None:
        """A guest's reset: its files were in RAM too, nvlab's state among them; the reserved memory is as it was."""
        before, self.world = self.world, self._boot()
        self.world.virtual.regions = before.virtual.regions
        self.world.arrays.superblocks = before.arrays.superblocks
        self.state = self.state.with_name(f"{self.state.name}-again")

    def snapshot(self) -> dict[str, Any]:
        return self.world.snapshot()

    def assert_equals(self, before: Mapping[str, Any], context: str) -> None:
        """The world is as it was, no disk went while in use, and no journal or lease is left of what is gone."""
        now = self.snapshot()
        differs = [
            f"{k}: {before.get(k)} -> {now.get(k)}" for k in sorted({*before, *now}) if before.get(k) != now.get(k)
        ]
        assert not differs, f"{context}:\n  " + "\n  ".join(differs)
        assert not self.world.disks.pulled, f"{context}: {self.world.disks.pulled}"

    def assert_no_state(self, context: str) -> None:
        """Neither journals nor leases are left."""
        left = [p.name for p in (self.state / "labs").glob("*") if p.suffix != ".lock"]
        left += [p.name for p in self.state.glob("*.new")]
        assert not left, f"{context}: {left}"
        leases = Leases(self.state / "leases.json", self.world.boot_id)
        with leases.locked():
            assert not leases.table, f"{context}: {leases.table}"


_STARTS: dict[Callable[[World], None], dict[str, Any]] = {}


def _nothing(world: World) -> None:
    del world


def points_of(act: Callable[[Fuse], object]) -> dict[int, str]:
    """The points that ``act`` passes when nothing happens to it, by number.

    Between "after" one thing and "before" the next nothing changes, so of such a pair only the second counts.
    """
    fuse = Fuse()
    act(fuse)
    points = [str(point) for point in fuse.passed]
    same = [now.startswith("after ") and then.startswith("before ") for now, then in pairwise([*points, ""])]
    return {k: point for k, point in enumerate(points) if not same[k]}


def some(points: dict[int, str]) -> dict[int, str]:
    """Every fifth point: enough where the crash tests already try every one. ``NVLAB_STRIDE=1`` takes all."""
    stride = int(os.environ.get("NVLAB_STRIDE", "5"))
    return dict(list(points.items())[::stride])


def dies(act: Callable[[Fuse], object], at: int) -> None:
    """Let the process of ``act`` die at point ``at``."""
    try:
        act(Fuse(at))
    except Crash:
        return
    raise AssertionError(f"it did not pass point {at}")


def fails(point: str) -> BaseException:
    """A primitive, or a write of nvlab's own, that fails."""
    return OSError(errno.EIO, os.strerror(errno.EIO), point)


def attempt(act: Callable[[], object]) -> NvlabError | None:
    """The error that ``act`` ends with."""
    try:
        act()
    except NvlabError as error:
        return error
    return None


# -- plans -----------------------------------------------------------------------------------------------------


def plan_of(scenario: Scenario, name: str | None = None, **facts: Any) -> Plan:
    return make_plan(scenario, name, Facts(nvlab_ko=MODULE, **facts))


def shipped() -> dict[str, Plan]:
    """The plans of every scenario that nvlab ships, and of the one below that has all the rest."""
    plans = {path.stem: plan_of(load(path)) for path in sorted((ROOT / "scenarios").glob("*.toml"))}
    return plans | {"everything-else": plan_of(loads(EVERYTHING_ELSE, name="everything-else"))}


# Every verb that no shipped scenario uses.
EVERYTHING_ELSE = f"""
schema = 1
title = "loop, partitions, a real disk, a stand-in module, mirrors, dm-cache, xfs, any host"

[disk.files]
kind = "loop"
count = 2
size = "64M"

[disk.parts]
count = 2
size = "64M"
partition = true

[disk.real]
kind = "path"
path = "{REAL_DISK}"

[device.stand]
size = "32M"
module = "/opt/nvmev.ko"

[raid.mirror]
level = 1
on = ["files.1", "parts.1"]

[raid.stripe]
level = 0
on = ["files.2", "parts.2"]

[cache.fast]
on = "mirror"
size = "16M"
engine = "dm-cache"
mode = "write-through"

[filesystem.data]
on = "real"
type = "xfs"

[export.open]
on = ["fast", "stripe", "stand"]
listen = "127.0.0.1:4421"
allow_any_host = true

[connect.one]
to = "open"
nsid = 2
"""

SMALL = """
schema = 1
title = "small, but with everything that labs share"

[disk.pool]
count = 3
size = "32M"

[device.log]
size = "16M"

[raid.md]
level = 5
on = "pool"
journal = { on = "log", mode = "write-back" }

[cache.ram]
on = "md"
size = "16M"

[export.drive]
on = "ram"
listen = "127.0.0.1:4420"
hosts = ["client"]

[connect.client]
to = "drive"
"""


def small(name: str, *others: Plan) -> Plan:
    """A small lab called ``name``, beside ``others``."""
    taken = tuple(region for plan in others for region in plan.needs.reserved)
    return plan_of(loads(SMALL, name=name), taken=taken)


# -- machines --------------------------------------------------------------------------------------------------


def virgin(world: World) -> None:
    """Nothing but one blank disk, and a user's module file."""
    world.modules.provide("/opt/nvmev.ko")
    world.disks.add(Disk("sdb", 1 << 30, "sd_mod"))
    world.tree.ensure("/dev/disk/by-id", PlainDir).put("ata-REAL", Link("/dev/sdb"))


def lived_in(world: World) -> None:
    """Somebody else's modules, disks, array, mapping, volume, port, controller-to-be and mount stand already."""
    virgin(world)
    modules = ("configfs", "nvmet", "nvmet_tcp", "raid456", "loop", "ext4", "dm_mod", "rapiddisk")
    for name in modules:
        world.modules.probe(name, {})
    world.modules.probe("null_blk", {"nr_devices": "4"})
    world.mounts.mount("configfs", "none", "/sys/kernel/config")
    disks = [world.disks.all[f"nullb{i}"] for i in range(4)]
    world.arrays.create(Recipe("md0", "aaaaaaaa:bbbbbbbb:cccccccc:dddddddd", "5", disks[:3], clean=True))
    world.tree.node("/sys/kernel/rapiddisk/mgmt").write("rapiddisk attach 0 67108864")  # type: ignore[union-attr]
    world.tree.directory("/var/lib").put("image", File(size=1 << 20))
    world.loops.attach("/var/lib/image")
    world.mapper.create("theirs", "SOMEBODY", "0 1000 linear /dev/nullb3 0")
    theirs(world)


def theirs(world: World) -> None:
    """A target of somebody else, at another address but with the first port number."""
    subsystem = "/sys/kernel/config/nvmet/subsystems/nqn.theirs"
    port = "/sys/kernel/config/nvmet/ports/1"
    kernel = world.tree
    kernel.directory("/sys/kernel/config/nvmet/subsystems").mkdir("nqn.theirs")
    kernel.directory("/sys/kernel/config/nvmet/ports").mkdir("1")
    values = {"addr_trtype": "tcp", "addr_adrfam": "ipv4", "addr_traddr": "127.0.0.1", "addr_trsvcid": "9999"}
    for key, value in values.items():
        attribute = kernel.node(f"{port}/{key}")
        assert isinstance(attribute, Attr)
        attribute.write(value)
    kernel.directory(f"{port}/subsystems").symlink("nqn.theirs", subsystem)
    world.settle()
