# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems made for zones, f2fs and btrfs, on a zoned SSD: written by several programs, cleaned, under power cuts."""

from __future__ import annotations

import argparse
import os
import random
import struct
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmod_common import check, disk, equal, load, main, parser, read, run, stats, unload, wait_for, write
from kmod_stress import MOUNT, WRITERS, Writer, mounted
from kmod_zns import zoned
from kmod_zns_use import in_order, passes

MIB = 1 << 20
# btrfs takes zones of 4 MiB or more, f2fs of 2 MiB or a multiple. Not all of a zone can be written. After a power cut there is
# time to let go of the old disks.
MEDIUM = {
    "zone_size": 4096, "zone_capacity": 3072, "zone_max_active": 0, "zone_max_open": 0, "zone_conventional": 64, "buffer": 1024,
    "zone_extension": 0, "zrwa_zones": 0, "zrwa_size": 0, "zrwa_flush": 0, "recovery": 1500,
}
SLOW = {"program_lsb": 3_000_000, "program_msb": 3_000_000}  # ns, so that much is under way when the power goes
ROUNDS = 2  # of a writer's steps
RESETS = 5  # of zones, by then
CUTS, MOST_CUTS = 2, 8
EACH = 3  # versions that every program is promised before a cut


@dataclass(frozen=True)
class FileSystem:
    """One of them: its commands, and the namespace that it is mounted by.

    ``full``: how full it gets; ``holes``: what goes leaves live data in every zone; ``active``: zones that may be, 0 for any;
    ``beside``: what else is done while programs write.
    """

    kind: str
    mkfs: Sequence[str]
    nsid: int
    fsck: Sequence[str]
    full: float
    holes: bool
    active: int
    beside: Sequence[str] = ()

    def node(self, device: Path) -> Path:
        """What to mount, once all of it is there."""
        in_order(disk(device))
        return [stable(device, nsid) for nsid in (1, 2)][self.nsid - 1]

    def make(self, device: Path) -> None:
        passes("reset all", run("blkzone", "reset", str(disk(device))))
        names = {"zoned": str(stable(device, 1)), "other": str(stable(device, 2))}
        passes(f"mkfs.{self.kind}", run(*(word.format(**names) for word in self.mkfs), deadline=600))

    def sound(self, node: Path) -> None:
        done = run(*self.fsck, str(node), deadline=600)
        said = done.stdout + done.stderr
        check(f"{self.kind}: {self.fsck[0]}", done.returncode == 0 and "[Fail]" not in said, out=said[-800:])


# f2fs heeds no limit of active zones: what it writes beyond one is lost, of which only an fsync would tell
F2FS = FileSystem(
    "f2fs", ("mkfs.f2fs", "-q", "-f", "-m", "-c", "{zoned}", "{other}"), 2, ("fsck.f2fs", "--dry-run", "-f"),
    full=0.85, holes=True, active=0,
)
# btrfs aborts transactions where free zones run short, and after a cut that hit one of two copies of metadata it does not mount
BTRFS = FileSystem(
    "btrfs", ("mkfs.btrfs", "-q", "-f", "-O", "zoned", "-m", "single", "{zoned}"), 1, ("btrfs", "check"),
    full=0.25, holes=False, active=16, beside=("btrfs", "balance", "start", "-dusage=80", str(MOUNT)),
)
SYSTEMS = {system.kind: system for system in (F2FS, BTRFS)}


def stable(device: Path, nsid: int) -> Path:
    """A name that is the disk's after a cut too: f2fs keeps those of its disks in its super block."""
    node = disk(device, nsid=nsid)
    link = Path(f"/dev/disk/by-id/nvme-{read(Path('/sys/block') / node.name / 'wwid')}")
    wait_for(f"{link} to be {node}", lambda: link.exists() and link.resolve() == node)
    return link


def stamped(number: int) -> bytes:
    """A MiB of file ``number``: every 4 KiB of it is like no other."""
    return b"".join(struct.pack("<QQ", number, block) * 256 for block in range(256))


def ballast(system: FileSystem) -> set[int]:
    """Fill the file system, then remove half of that. The numbers of what is left."""
    directory = MOUNT / "ballast"
    directory.mkdir()
    room, number = os.statvfs(MOUNT).f_bavail, 0
    while os.statvfs(MOUNT).f_bavail > (1 - system.full) * room:
        (directory / str(number)).write_bytes(stamped(number))
        number += 1
    os.sync()
    gone = range(0, number, 2) if system.holes else range(number // 2)
    for each in gone:
        (directory / str(each)).unlink()
    os.sync()
    return {*range(number)} - {*gone}


def changed(left: set[int]) -> list[int]:
    """Those of the ballast that are not as written."""
    return [number for number in left if (MOUNT / "ballast" / str(number)).read_bytes() != stamped(number)]


def worked(writer: Writer) -> Writer:
    """A writer after its work, which is done in a process of its own."""
    for _ in range(ROUNDS):
        writer.run()
    return writer


def stress(system: FileSystem, device: Path) -> None:
    """Several programs on a file system with little room: zones are cleaned and reset meanwhile, and all is there afterwards."""
    system.make(device)
    node = system.node(device)
    with mounted(node):
        left = ballast(system)
        filled = stats(device)
        with ProcessPoolExecutor(WRITERS) as pool:
            working = pool.map(worked, [Writer(MOUNT / str(n), n) for n in range(WRITERS)])
            if system.beside:
                passes(f"{system.kind}: {system.beside[1]}", run(*system.beside))
            writers = list(working)
        equal(f"{system.kind}: the writers met", [wrong for writer in writers for wrong in writer.wrong], [])
        os.sync()
    erased = stats(device)["zone_erases"] - filled["zone_erases"]
    check(f"{system.kind}: zones were reset", erased > RESETS, erased=erased, written=stats(device)["host_units"])
    with mounted(node, "-o", "ro"):
        for writer in writers:
            writer.verify_all()
        equal(f"{system.kind}: wrong", [wrong for writer in writers for wrong in writer.wrong], [])
        equal(f"{system.kind}: changed", changed(left), [])
    system.sound(node)


@dataclass
class Keeper:
    """Appends to a file and replaces another by renaming, all with fsync, until the drive is gone; knows what it was promised."""

    number: int
    begun: int = 0  # the version that the replaced file may have
    kept: int = 0  # and must have
    length: int = 0  # durable bytes of the other
    error: int = 0
    promised: list[tuple[float, int, int]] = field(default_factory=list)  # when, kept, length
    random: random.Random = field(default_factory=random.Random)

    @property
    def directory(self) -> Path:
        return MOUNT / f"keeper{self.number}"

    @property
    def told(self) -> Path:
        """Where it says, to another process, how many versions it was promised."""
        return Path(f"/run/keeper{self.number}")

    def was_promised(self, more: int) -> bool:
        """Whether it has been promised so many versions more than when this one was told."""
        return int(self.told.read_text() or 0) >= self.kept + more

    def run(self) -> Keeper:
        """What a process of its own does; it comes back with the first error."""
        with suppress(FileExistsError):
            self.directory.mkdir()
        self.random.seed(self.number)
        try:
            while True:
                self.append()
                self.promised.append((time.monotonic(), self.kept, self.length))
                self.replace()
                self.promised.append((time.monotonic(), self.kept, self.length))
                self.told.write_text(str(self.kept))
        except OSError as error:
            self.error = error.errno or -1
        return self

    def until(self, moment: float) -> Keeper:
        """With the promises of that time: f2fs that has met an error may say yes to an fsync (f2fs_sync_fs)."""
        _, self.kept, self.length = [(0.0, 0, 0), *(each for each in self.promised if each[0] < moment)][-1]
        return self

    def append(self) -> None:
        end = self.length + 16 * self.random.randrange(1, 8000)
        with (self.directory / "log").open("ab", buffering=0) as file:
            file.write(self.lines(self.length, end))
            os.fsync(file.fileno())
        self.length = end

    def lines(self, at: int, end: int) -> bytes:
        """The log between two places: every 16 bytes of it are like no others."""
        return b"".join(struct.pack("<QQ", self.number, each) for each in range(at, end, 16))

    def replace(self) -> None:
        self.begun += 1
        with (self.directory / "new").open("wb") as file:
            file.write(self.content(self.begun))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.directory / "new", self.directory / "value")
        directory = os.open(self.directory, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        self.kept = self.begun

    def content(self, version: int) -> bytes:
        return struct.pack("<QQ", self.number, version) * (1 + version % 1000)

    def wrong(self) -> list[str]:
        """What is not as it was promised; from here on it is as it is now."""
        log, value = ((self.directory / name).read_bytes() for name in ("log", "value"))
        version = next((each for each in range(self.kept, self.begun + 1) if value == self.content(each)), 0)
        found = [] if version else [f"{self.number}: value {value[:16].hex()}, kept {self.kept}, begun {self.begun}"]
        if log[:self.length] != self.lines(0, self.length):
            found.append(f"{self.number}: log of {len(log)}, durable {self.length}")
        os.truncate(self.directory / "log", self.length)
        self.kept = self.begun = version
        self.promised = [(0.0, version, self.length)]
        return found


def pull(system: FileSystem, device: Path, keepers: list[Keeper], least: int) -> list[Keeper]:
    """Cut the power under programs that fsync, each of which was promised something; see that they have it."""
    before = stats(device)["host_units"]
    passes("mount", run("mount", str(system.node(device)), str(MOUNT)))
    for keeper in keepers:
        keeper.told.write_text("")
    with ProcessPoolExecutor(WRITERS) as pool:
        running = [pool.submit(keeper.run) for keeper in keepers]
        wait_for("writes", lambda: any(each.done() for each in running) or (
            all(keeper.was_promised(EACH) for keeper in keepers) and stats(device)["host_units"] > before + least))
        moment = time.monotonic()
        equal("cut", write(device / "cut", 1), 0)
        keepers = [each.result(600).until(moment) for each in running]
    passes("umount", run("umount", str(MOUNT)))
    check(f"{system.kind}: errors", all(keeper.error for keeper in keepers), errors=[keeper.error for keeper in keepers])
    node = system.node(device)
    with mounted(node):
        equal(f"{system.kind}: broken promises after {least}", [wrong for keeper in keepers for wrong in keeper.wrong()], [])
    system.sound(node)
    return keepers


def cuts(system: FileSystem, device: Path) -> None:
    """Again and again, with programs of pages that take long."""
    system.make(device)
    for name, value in SLOW.items():
        equal(name, write(device / "medium" / name, value), 0)
    keepers, chance = [Keeper(number) for number in range(WRITERS)], random.Random(1)
    cuts = 0
    # some cuts find all that was written on the medium already
    while cuts < CUTS or (cuts < MOST_CUTS and not stats(device)["lost_units"]):
        keepers = pull(system, device, keepers, chance.randrange(500, 2000))
        cuts += 1
    live = stats(device)
    equal("cuts", live["power_cuts"], cuts)
    check(f"{system.kind}: something was lost", live["lost_units"] > 0, lost=live["lost_units"])
    kept = [keeper.kept for keeper in keepers]
    check(f"{system.kind}: much was promised", min(kept) > 5, kept=kept)


def body(args: argparse.Namespace) -> None:
    system = SYSTEMS[args.kind]
    run("modprobe", system.kind)
    equal("load", load(args.module), 0)
    medium = MEDIUM | {"zone_max_active": system.active}
    with zoned(args.start, region=513 * MIB, cpus=args.cpus, vwc=1, seed=7, medium=medium) as device:
        stress(system, device)
        cuts(system, device)
    equal("unload", unload(), 0)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("kind", choices=SYSTEMS)
    main(body, arguments)
