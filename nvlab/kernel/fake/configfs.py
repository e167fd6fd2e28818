# SPDX-License-Identifier: GPL-2.0-or-later
"""configfs: one tree of subsystems, visible where it is mounted; its items stay when it is unmounted."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nvlab.kernel.fake.tree import Dir, Link, Node, Tree, refuse

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World

MOUNT_POINT = "/sys/kernel/config"


class Group(Dir):
    """A group whose items users make with mkdir. ``make`` gives the new item or raises; ``drop`` runs before it goes."""

    def __init__(self, make: Callable[[str], Item] | None = None, drop: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self._make, self._drop = make, drop

    def mkdir(self, name: str) -> None:
        if self._make is None:
            raise refuse(errno.EPERM)
        self.put(name, self._make(name))

    def rmdir(self, name: str) -> None:
        item = self.children()[name]
        if not isinstance(item, Item):
            raise refuse(errno.EPERM)
        item.check_removable()
        if self._drop:
            self._drop(name)
        self.take(name)


class Item(Group):
    """What mkdir made. It goes with rmdir once nothing that users made is left in it or points to it."""

    def __init__(self, make: Callable[[str], Item] | None = None, drop: Callable[[str], None] | None = None) -> None:
        super().__init__(make, drop)
        self.linked_from: set[str] = set()

    def check_removable(self) -> None:
        """Raises EBUSY while a link points here, ENOTEMPTY while users' items or links are inside."""
        if self.linked_from:
            raise refuse(errno.EBUSY)
        if any(_occupied(child) for child in self.children().values()):
            raise refuse(errno.ENOTEMPTY)


def _occupied(node: Node) -> bool:
    """Whether a user's item or link is somewhere under a default group, or this is one itself."""
    if isinstance(node, Item | Link):
        return True
    return isinstance(node, Dir) and any(_occupied(c) for c in node.children().values())


class Configfs:
    """The tree of registered subsystems."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.root = Dir()
        world.modules.on("configfs", lambda _: self._appear(), self._vanish)
        world.modules.pin("configfs", lambda: world.mounts.is_mount(MOUNT_POINT))

    def _appear(self) -> None:
        self._world.tree.ensure(MOUNT_POINT)

    def _vanish(self) -> None:
        self._world.tree.ensure("/sys/kernel").take("config")

    def register(self, name: str, group: Group) -> None:
        self.root.put(name, group)

    def unregister(self, name: str) -> None:
        self.root.take(name)

    def everything(self) -> Iterator[tuple[str, Node]]:
        """Every path of the tree, mounted or not."""
        return Tree(self.root, lambda _: None).everything()

    def item(self, path: str) -> Item:
        """The item a link points to. Raises ENOENT, as configfs does for what is not one of its items."""
        node = self._world.tree.node(path)
        if not isinstance(node, Item):
            raise refuse(errno.ENOENT, path)
        return node

    def link(self, item: Item, target: str, who: str) -> Link:
        """A link to ``item``, which cannot be removed while it stands."""
        item.linked_from.add(who)
        return Link(self._world.tree.resolved(target))

    def unlink(self, directory: Dir, name: str, who: str) -> None:
        """Remove such a link. Raises EPERM for anything else."""
        link = directory.children()[name]
        if not isinstance(link, Link):
            raise refuse(errno.EPERM)
        self.item(link.target).linked_from.discard(who)
        directory.take(name)
