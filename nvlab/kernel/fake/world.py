# SPDX-License-Identifier: GPL-2.0-or-later
"""The fake kernel's world: everything that outlives a process of nvlab, from the file tree to what is written on disks.

Subsystems are made on demand and kept here; each is a model of one part of Linux in a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nvlab.kernel.fake.block import Disks
from nvlab.kernel.fake.configfs import Configfs
from nvlab.kernel.fake.dm import Mapper
from nvlab.kernel.fake.fabrics import Fabrics
from nvlab.kernel.fake.loop import Loops
from nvlab.kernel.fake.md import Arrays
from nvlab.kernel.fake.modules import Modules
from nvlab.kernel.fake.mounts import Mounts
from nvlab.kernel.fake.net import Network
from nvlab.kernel.fake.nullblk import NullBlk
from nvlab.kernel.fake.nvme import Nvme
from nvlab.kernel.fake.nvmet import Nvmet
from nvlab.kernel.fake.ramdisks import Brd, RapidDisk
from nvlab.kernel.fake.settings import Settings
from nvlab.kernel.fake.tree import Attr, Device, Dir, Node, PlainDir, Tree
from nvlab.kernel.fake.virtual import VirtualNvme

BOOT_ID = "5f0c1b1e-0000-4000-8000-000000000001"


def _no_tick(what: str) -> None:
    del what


class World:
    """One machine. ``tick`` is called at each point inside a primitive where a crash would leave it half done."""

    def __init__(self, release: str = "6.1.0") -> None:
        self.release = release
        self.boot_id = BOOT_ID
        self.tick: Callable[[str], None] = _no_tick
        self.log: list[str] = []
        self.reserved: list[tuple[int, int]] = [(5 << 30, 4 << 30)]
        self.memory = 3 << 30  # bytes of RAM, from address 0
        self.cpus = 4
        self.not_installed: set[str] = set()
        self.listeners: set[tuple[str, str]] = set()  # addresses that other programs listen on
        self._pending: list[Callable[[], None]] = []
        self.mounts = Mounts(self)
        self.tree = Tree(PlainDir(), self.mounts.covering)
        self._lay_out()
        self.disks = Disks(self.tree)
        self.modules = Modules(self)
        self.net = Network(self)
        self.configfs = Configfs(self)
        self.nvme = Nvme(self)
        self.nvmet = Nvmet(self)
        self.fabrics = Fabrics(self)
        self.arrays = Arrays(self)
        self.mapper = Mapper(self)
        self.loops = Loops(self)
        self.null_blk = NullBlk(self)
        self.brd = Brd(self)
        self.rapiddisk = RapidDisk(self)
        self.virtual = VirtualNvme(self)
        self.settings = Settings(self)

    def _lay_out(self) -> None:
        for path in ("/dev", "/etc/mdadm", "/run", "/tmp", "/var/lib"):
            self.tree.ensure(path, PlainDir)
        for path in ("/proc/sys/kernel/random", "/sys/devices/system/cpu", "/sys/bus/pci/devices"):
            self.tree.ensure(path)
        for path in ("/sys/kernel", "/sys/module", "/sys/class"):
            self.tree.ensure(path)
        self.tree.ensure("/proc/sys/kernel/random").put("boot_id", Attr(lambda: self.boot_id))
        cpus = {"online": Attr(lambda: f"0-{self.cpus - 1}"), "isolated": Attr("")}
        for name, attribute in cpus.items():
            self.tree.ensure("/sys/devices/system/cpu").put(name, attribute)
        self.tree.ensure("/dev", PlainDir).put("null", Device("char", "null"))

    def newer(self, major: int, minor: int) -> bool:
        """Whether this kernel is of that release or a later one."""
        return tuple(int(n) for n in self.release.split(".")[:2]) >= (major, minor)

    def say(self, line: str) -> None:
        """The kernel logs a line."""
        self.log.append(line)

    def later(self, event: Callable[[], None]) -> None:
        """Something the kernel does on its own, some time after the call that caused it."""
        self._pending.append(event)

    def advance(self) -> bool:
        """Let time pass until the next thing happens; False when nothing is going on."""
        if not self._pending:
            return False
        self._pending.pop(0)()
        return True

    def settle(self) -> None:
        """Let everything that is under way happen."""
        while self.advance():
            pass

    def snapshot(self) -> dict[str, Any]:
        """Everything a listing would show, and what is written where: equal worlds have equal snapshots."""
        self.settle()
        shown: dict[str, Any] = {path: _shown(node) for path, node in self.tree.everything()}
        shown |= {f"configfs:{path}": _shown(node) for path, node in self.configfs.everything()}
        shown |= {
            f"disk:{d.name}": (d.size, dict(d.marks), sorted(d.claims), sorted(d.users))
            for d in self.disks.all.values()
        }
        shown["units"] = sorted(self.settings.running)
        shown["modules"] = self.modules.listing()
        shown["mounts"] = self.mounts.listing()
        shown["network"] = self.net.listing()
        return shown


def _shown(node: Node) -> object:
    return "directory" if isinstance(node, Dir) else node.show()
