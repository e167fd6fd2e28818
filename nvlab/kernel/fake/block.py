# SPDX-License-Identifier: GPL-2.0-or-later
"""Block devices of the fake kernel: nodes, sizes, what is written on them, and who has them open."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from nvlab.kernel.fake.tree import Attr, Device, Dir, Link, Node, PlainDir, Tree, View, refuse

SECTOR = 512  # bytes


class Disk:
    """One block device, or a partition of ``whole``.

    ``marks``: signatures on it by kind ("md", "ext4", "gpt"). ``claims``: who opened it exclusively; dm shares its claim
    with itself. ``users``: who has it open without a claim (nvmet). ``module``: what an open keeps loaded. ``discard``: bytes
    that it can discard at once.
    """

    def __init__(
        self, name: str, size: int, module: str, marks: dict[str, str] | None = None, *, discard: int = 0
    ) -> None:
        self.name, self.size, self.module = name, size, module
        self.discard = self.discard_limit = discard
        self.marks: dict[str, str] = {} if marks is None else marks
        self.claims: set[str] = set()
        self.users: set[str] = set()
        self.read_only = False
        self.on_last_close: Callable[[], None] | None = None
        self.whole: Disk | None = None
        self.parts: list[Disk] = []
        self.sys = Dir()

    @property
    def busy(self) -> bool:
        """Whether anybody has it, or a part of it, open."""
        return bool(self.claims or self.users or any(p.busy for p in self.parts))

    def claimed(self) -> bool:
        """Whether an exclusive open would fail."""
        return bool(self.claims or (self.whole and self.whole.claims) or any(p.claims for p in self.parts))

    def limit_discard(self, text: str) -> None:
        """Write queue/discard_max_bytes. What Linux makes of other values differs from version to version."""
        if text != "0":
            raise refuse(errno.EINVAL)
        self.discard_limit = 0

    def take(self, who: str) -> None:
        """Open exclusively. Raises EBUSY."""
        shared = who.startswith("dm-") and all(c.startswith("dm-") for c in self.claims)
        if self.claimed() and not (shared and self.claims):
            raise refuse(errno.EBUSY, f"/dev/{self.name}")
        self.claims.add(who)

    def release(self, who: str) -> None:
        """Close what ``who`` has open."""
        self.claims.discard(who)
        self.users.discard(who)
        if self.on_last_close and not self.busy:
            self.on_last_close()


class Disks:
    """Every block device, in /sys/block, /sys/class/block and /dev."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.all: dict[str, Disk] = {}
        self.pulled: list[str] = []  # disks that went while somebody had them open
        tree.ensure("/dev", PlainDir)
        tree.ensure("/dev/mapper", PlainDir)
        tree.ensure("/sys").put("block", View(self._whole))
        tree.ensure("/sys/class").put("block", View(self._every))

    def _whole(self) -> Mapping[str, Dir]:
        return {d.name: d.sys for d in self.all.values() if d.whole is None}

    def _every(self) -> Mapping[str, Link]:
        return {
            d.name: Link(f"/sys/block/{d.whole.name}/{d.name}" if d.whole else f"/sys/block/{d.name}")
            for d in self.all.values()
        }

    def add(self, disk: Disk, extra: Mapping[str, Node] | None = None) -> Disk:
        """The kernel announces a disk. Raises EEXIST for a name in use."""
        if disk.name in self.all:
            raise refuse(errno.EEXIST, f"/dev/{disk.name}")
        self.all[disk.name] = disk
        disk.sys.put("size", Attr(lambda: str(disk.size // SECTOR)))
        disk.sys.put("ro", Attr(lambda: str(int(disk.read_only))))
        disk.sys.put("holders", View(lambda: self._stacked(disk)))
        disk.sys.put("slaves", View(lambda: self._below(disk)))
        if disk.whole is None:
            queue = Dir()
            queue.put("discard_max_bytes", Attr(lambda: str(disk.discard_limit), disk.limit_discard))
            disk.sys.put("queue", queue)
        for name, node in (extra or {}).items():
            disk.sys.put(name, node)
        self._tree.ensure("/dev", PlainDir).put(disk.name, Device("block", disk.name))
        return disk

    def add_part(self, whole: Disk, number: int) -> Disk:
        """The kernel reads partition ``number`` of a table."""
        glue = "p" if whole.name[-1].isdigit() else ""
        part = Disk(f"{whole.name}{glue}{number}", whole.size - 2 * 1024 * 1024, whole.module)
        part.whole = whole
        whole.parts.append(part)
        self.add(part, {"partition": Attr(str(number))})
        whole.sys.put(part.name, part.sys)
        return part

    def drop_part(self, part: Disk) -> None:
        """The kernel forgets a partition. Raises EBUSY when it is open."""
        if part.busy:
            raise refuse(errno.EBUSY, f"/dev/{part.name}")
        assert part.whole
        part.whole.parts.remove(part)
        part.whole.sys.take(part.name)
        self._forget(part)

    def remove(self, disk: Disk) -> None:
        """The disk goes, with its partitions. Whoever has it open gets errors from now on: no teardown may do that."""
        if disk.busy:
            self.pulled.append(f"{disk.name} went while open: {sorted(disk.claims | disk.users)}")
        for part in disk.parts:
            self._forget(part)
        self._forget(disk)

    def _forget(self, disk: Disk) -> None:
        del self.all[disk.name]
        self._tree.ensure("/dev", PlainDir).take(disk.name)

    def at(self, path: str) -> Disk:
        """The disk behind a device node. Raises ENOENT, ENOTBLK."""
        node = self._tree.node(path)
        if not isinstance(node, Device) or node.kind != "block" or node.name not in self.all:
            raise refuse(errno.ENOTBLK, path)
        return self.all[node.name]

    def first_free(self, pattern: Callable[[int], str]) -> int:
        """The lowest number whose name is not taken."""
        return next(n for n in range(4096) if pattern(n) not in self.all)

    def _stacked(self, disk: Disk) -> Mapping[str, Link]:
        return {c: Link(f"/sys/block/{c}") for c in sorted(disk.claims) if c in self.all}

    def _below(self, disk: Disk) -> Mapping[str, Link]:
        return {d.name: Link(f"/sys/class/block/{d.name}") for d in self.all.values() if disk.name in d.claims}
