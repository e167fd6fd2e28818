# SPDX-License-Identifier: GPL-2.0-or-later
"""The fake body of the Kernel interface: primitives done to a :class:`~nvlab.kernel.fake.world.World`.

One object is what one process of nvlab has; the world outlives it. A :class:`Fuse` makes the process die, or a primitive fail,
at any point before, inside or after any primitive.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatchmethod

from nvlab.errors import DeadlineExceeded, Interrupted
from nvlab.kernel import ops
from nvlab.kernel.fake import programs
from nvlab.kernel.fake.tree import Attr, Device, Dir, File, refuse
from nvlab.kernel.fake.world import World
from nvlab.kernel.interface import CommandFailed, Completed, Progress
from nvlab.kernel.waits import Waits, never


class Crash(BaseException):
    """The process died (SIGKILL): nothing catches it, no cleanup runs."""


@dataclass(frozen=True)
class Point:
    """A moment beside a primitive; written out only when somebody asks."""

    when: str
    op: ops.Op

    def __str__(self) -> str:
        return f"{self.when} {self.op.shell()}"


class Fuse:
    """Counts the points that are passed, and acts at the chosen one, once."""

    def __init__(self, at: int | None = None, act: Callable[[str], BaseException] = Crash) -> None:
        self.at, self._act = at, act
        self.passed: list[str | Point] = []

    @property
    def blown(self) -> bool:
        return self.at is not None and len(self.passed) > self.at

    def tick(self, point: str | Point) -> None:
        """Pass a point."""
        self.passed.append(point)
        if self.at is not None and len(self.passed) == self.at + 1:
            raise self._act(str(point))


class FakeKernel(Waits):
    """A kernel that answers in microseconds and forgets nothing."""

    def __init__(self, world: World, fuse: Fuse | None = None) -> None:
        self.world = world
        self.fuse = fuse or Fuse()
        self.performed: list[ops.Op] = []
        self._seen = len(world.log)

    def perform(
        self, op: ops.Op, *, progress: Progress | None = None, should_stop: Callable[[], bool] = never
    ) -> None:
        self.fuse.tick(Point("before", op))
        self.performed.append(op)
        self.world.tick = self.fuse.tick
        if isinstance(op, ops.Await):
            self.wait_for(op, progress, should_stop)
        else:
            self._do(op)
        self.fuse.tick(Point("after", op))

    @singledispatchmethod
    def _do(self, op: ops.Op) -> None:
        raise TypeError(f"unknown primitive {op!r}")

    @_do.register
    def _(self, op: ops.Run) -> None:
        completed = programs.run(self.world, op.argv)
        if completed.code not in op.ok:
            raise CommandFailed(completed)

    @_do.register
    def _(self, op: ops.Write) -> None:
        if op.missing_ok and not self.world.tree.lexists(op.path):
            return
        node = self.world.tree.node(op.path)
        if isinstance(node, Dir):
            raise refuse(errno.EISDIR, op.path)
        if not isinstance(node, Attr):
            raise refuse(errno.EINVAL, op.path)
        node.write(op.text)

    @_do.register
    def _(self, op: ops.Transact) -> None:
        node = self.world.tree.node(op.path)
        if not isinstance(node, Device) or node.name != "nvme-fabrics":
            raise refuse(errno.EINVAL, op.path)
        self.world.fabrics.request(op.text)

    @_do.register
    def _(self, op: ops.MakeDir) -> None:
        if not op.exist_ok:
            self._mkdir(op.path)
            return
        walked = ""
        for part in op.path.strip("/").split("/"):
            walked += f"/{part}"
            if not self.world.tree.lexists(walked):
                self._mkdir(walked)
                self.fuse.tick(f"during mkdir: {walked} is there")

    def _mkdir(self, path: str) -> None:
        parent, name = self._place(path)
        parent.mkdir(name)

    @_do.register
    def _(self, op: ops.RemoveDir) -> None:
        if not self.world.tree.lexists(op.path):
            return
        parent, name = self.world.tree.parent(op.path)
        if op.path in self.world.mounts.table:
            raise refuse(errno.EBUSY, op.path)
        try:
            parent.rmdir(name)
        except OSError as error:
            if not (op.only_empty and error.errno == errno.ENOTEMPTY):
                raise

    @_do.register
    def _(self, op: ops.Link) -> None:
        parent, name = self._place(op.path)
        with self.world.net.inside(op.netns):
            parent.symlink(name, op.target)

    @_do.register
    def _(self, op: ops.Remove) -> None:
        if not self.world.tree.lexists(op.path):
            return
        if op.path in self.world.mounts.table:
            raise refuse(errno.EBUSY, op.path)
        parent, name = self.world.tree.parent(op.path)
        parent.unlink(name)

    @_do.register
    def _(self, op: ops.MakeFile) -> None:
        parent, name = self._place(op.path)
        file = File()
        parent.create(name, file)
        self.fuse.tick(f"during the making of {op.path}: it is empty")
        file.text, file.size = op.text, max(op.size, len(op.text))

    @_do.register
    def _(self, op: ops.Unload) -> None:
        self.wait_unloaded(op)

    @_do.register
    def _(self, op: ops.Unheld) -> None:
        self.wait_unheld(op)

    def unload(self, names: Sequence[str]) -> None:
        for name in names:
            programs.run(self.world, ("rmmod", name))
            self.fuse.tick(f"during rmmod: {name} is out")

    def _place(self, path: str) -> tuple[Dir, str]:
        """The directory where ``path`` is to be made. Raises EEXIST."""
        parent, name = self.world.tree.parent(path)
        if name in parent.children():
            raise refuse(errno.EEXIST, path)
        return parent, name

    def until(
        self, condition: Callable[[], bool], *, what: str, deadline: float, should_stop: Callable[[], bool] = never
    ) -> None:
        while not condition():
            if should_stop():
                raise Interrupted(f"stopped while waiting for {what}")
            if not self.world.advance():
                raise DeadlineExceeded(f"waited {deadline:.0f} s for {what}")

    def lexists(self, path: str) -> bool:
        return self.world.tree.lexists(path)

    def is_block(self, path: str) -> bool:
        node = self.world.tree.find(path)
        return isinstance(node, Device) and node.kind == "block"

    def exists(self, path: str) -> bool:
        return self.world.tree.find(path) is not None

    def read(self, path: str) -> str:
        node = self.world.tree.node(path)
        if isinstance(node, Attr):
            return node.read().rstrip()
        if isinstance(node, File):
            return node.text.rstrip()
        raise refuse(errno.EISDIR if isinstance(node, Dir) else errno.EINVAL, path)

    def listdir(self, path: str) -> list[str]:
        node = self.world.tree.find(path)
        if node is None:
            return []
        if not isinstance(node, Dir):
            raise refuse(errno.ENOTDIR, path)
        return sorted(node.children())

    def readlink(self, path: str) -> str:
        return self.world.tree.resolved(path)

    def query(self, argv: Sequence[str]) -> Completed:
        return programs.run(self.world, argv)

    def claimable(self, path: str) -> bool:
        try:
            return not self.world.disks.at(path).claimed()
        except OSError:
            return False

    def is_mount(self, path: str) -> bool:
        return self.world.mounts.is_mount(path)

    def messages(self) -> list[str]:
        new = self.world.log[self._seen :]
        self._seen = len(self.world.log)
        return new
