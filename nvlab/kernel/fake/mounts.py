# SPDX-License-Identifier: GPL-2.0-or-later
"""Mounts of the fake kernel: configfs, and file systems on disks."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nvlab.kernel.fake.tree import Dir, PlainDir, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.block import Disk
    from nvlab.kernel.fake.world import World


@dataclass
class Mount:
    """One mount; ``users``: processes that have a file or their directory in it."""

    kind: str
    source: str
    root: Dir
    disk: Disk | None = None
    users: set[str] = field(default_factory=set)


class Mounts:
    """The mount table."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.table: dict[str, Mount] = {}

    def covering(self, path: str) -> Dir | None:
        """The root directory of what is mounted at ``path``."""
        mount = self.table.get(path)
        return mount.root if mount else None

    def is_mount(self, path: str) -> bool:
        return path in self.table

    def mount(self, kind: str, source: str, path: str) -> None:
        """mount(2). Raises ENOENT, ENODEV for an unknown type, EBUSY, EINVAL for a disk without that file system."""
        self._world.tree.directory(path)
        if path in self.table:
            raise refuse(errno.EBUSY, path)
        if kind == "configfs":
            self._mount_configfs(source, path)
        elif kind in ("ext4", "xfs"):
            self._mount_disk(kind, source, path)
        else:
            raise refuse(errno.ENODEV, kind)

    def keep_namespace(self, path: str) -> None:
        """A mount of a network namespace on a file."""
        self.table[path] = Mount("nsfs", "nsfs", PlainDir())

    def _mount_configfs(self, source: str, path: str) -> None:
        if "configfs" not in self._world.modules.loaded and not self._world.modules.request("configfs"):
            raise refuse(errno.ENODEV, "configfs")
        self.table[path] = Mount("configfs", source, self._world.configfs.root)

    def _mount_disk(self, kind: str, source: str, path: str) -> None:
        if not self._world.modules.request(kind):
            raise refuse(errno.ENODEV, kind)
        disk = self._world.disks.at(source)
        if kind not in disk.marks:
            raise refuse(errno.EINVAL, source)
        disk.take(f"mount:{path}")
        self.table[path] = Mount(kind, source, PlainDir(), disk)

    def unmount(self, path: str) -> None:
        """umount(2). Raises EINVAL for what is no mount, EBUSY while a process is in it."""
        mount = self.table.get(path)
        if mount is None:
            raise refuse(errno.EINVAL, path)
        if mount.users or (mount.kind == "configfs" and self._configfs_in_use(path)):
            raise refuse(errno.EBUSY, path)
        if mount.disk:
            mount.disk.release(f"mount:{path}")
        del self.table[path]
        if mount.kind == "nsfs":
            self._world.net.dissolve(path)

    def _configfs_in_use(self, path: str) -> bool:
        return any(p.startswith(f"{path}/") for p in self.table)

    def uses(self, kind: str) -> bool:
        """Whether a file system of this type is mounted anywhere."""
        return any(m.kind == kind for m in self.table.values())

    def listing(self) -> list[tuple[str, str, str]]:
        return sorted((path, m.kind, m.source) for path, m in self.table.items())
