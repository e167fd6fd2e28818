# SPDX-License-Identifier: GPL-2.0-or-later
"""The file tree of the fake kernel: directories that decide what may be made in them, and attributes that answer.

Nothing is accepted in silence: a path that the model does not know is ENOENT, a directory that does not offer an
operation refuses it with the errno its file system uses.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache


def refuse(number: int, path: str = "") -> OSError:
    """The error of a system call that the kernel refuses."""
    return OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))


class Node:
    """Anything with a name in the tree."""

    def show(self) -> object:
        """A comparable value for a snapshot."""
        return None


class Attr(Node):
    """A file of sysfs, configfs or procfs. Without ``store`` it is read-only, without ``show`` write-only."""

    def __init__(self, show: Callable[[], str] | str | None, store: Callable[[str], None] | None = None) -> None:
        self._show, self._store = show, store

    def read(self) -> str:
        if self._show is None:
            raise refuse(errno.EACCES)
        return self._show if isinstance(self._show, str) else self._show()

    def write(self, text: str) -> None:
        if self._store is None:
            raise refuse(errno.EACCES)
        if text:  # write(2) of nothing never reaches the store
            self._store(text)

    def show(self) -> object:
        return None if self._show is None else self.read()


class File(Node):
    """A regular file; ``size`` may exceed the text (sparse)."""

    def __init__(self, text: str = "", size: int = 0) -> None:
        self.text, self.size = text, max(size, len(text))

    def show(self) -> object:
        return (self.text, self.size)


class Link(Node):
    """A symbolic link with an absolute target."""

    def __init__(self, target: str) -> None:
        self.target = target

    def show(self) -> object:
        return f"-> {self.target}"


class Device(Node):
    """A device node: a block device by the name of its disk, or a character device."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name

    def show(self) -> object:
        return (self.kind, self.name)


class Dir(Node):
    """A directory of sysfs: what is in it, only the kernel decides."""

    def __init__(self, children: Mapping[str, Node] | None = None) -> None:
        self._children: dict[str, Node] = dict(children or {})

    def children(self) -> Mapping[str, Node]:
        return self._children

    def put(self, name: str, node: Node) -> None:
        """The kernel makes an entry."""
        self._children[name] = node

    def take(self, name: str) -> None:
        """The kernel removes an entry."""
        del self._children[name]

    def mkdir(self, name: str) -> None:
        raise refuse(errno.EPERM)

    def rmdir(self, name: str) -> None:
        raise refuse(errno.EPERM)

    def symlink(self, name: str, target: str) -> None:
        raise refuse(errno.EPERM)

    def unlink(self, name: str) -> None:
        raise refuse(errno.EPERM)

    def create(self, name: str, file: File) -> None:
        raise refuse(errno.EACCES)


class View(Dir):
    """A directory whose content is computed when asked for."""

    def __init__(self, entries: Callable[[], Mapping[str, Node]]) -> None:
        super().__init__()
        self._entries = entries

    def children(self) -> Mapping[str, Node]:
        return self._entries()


class PlainDir(Dir):
    """A directory of an ordinary file system."""

    def mkdir(self, name: str) -> None:
        self.put(name, PlainDir())

    def rmdir(self, name: str) -> None:
        child = self._children[name]
        if not isinstance(child, PlainDir):
            raise refuse(errno.ENOTDIR)
        if child.children():
            raise refuse(errno.ENOTEMPTY)
        self.take(name)

    def symlink(self, name: str, target: str) -> None:
        self.put(name, Link(target))

    def unlink(self, name: str) -> None:
        if isinstance(self._children[name], Dir):
            raise refuse(errno.EISDIR)
        self.take(name)

    def create(self, name: str, file: File) -> None:
        self.put(name, file)


@lru_cache(4096)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


class Tree:
    """Path lookup over the root, following links and crossing mounts. ``mounted``: what covers a path, if anything does."""

    def __init__(self, root: Dir, mounted: Callable[[str], Dir | None]) -> None:
        self.root, self._mounted = root, mounted

    def find(self, path: str) -> Node | None:
        """The node at ``path`` with every link followed, or None."""
        try:
            return self._walk(path, follow=True)[1]
        except OSError:
            return None

    def node(self, path: str) -> Node:
        """Like :meth:`find`. Raises ENOENT, ENOTDIR, ELOOP."""
        return self._walk(path, follow=True)[1]

    def resolved(self, path: str) -> str:
        """``realpath``: where ``path`` leads; as far as it exists."""
        try:
            return self._walk(path, follow=True)[0]
        except OSError:
            return posixpath.normpath(path)

    def lexists(self, path: str) -> bool:
        """Whether there is an entry at ``path``, be it a dangling link."""
        try:
            self._walk(path, follow=False)
        except OSError:
            return False
        return True

    def directory(self, path: str) -> Dir:
        """The directory at ``path``. Raises ENOENT, ENOTDIR."""
        node = self.node(path)
        if not isinstance(node, Dir):
            raise refuse(errno.ENOTDIR, path)
        return node

    def parent(self, path: str) -> tuple[Dir, str]:
        """The directory that holds the last component of ``path``, and that component."""
        head, tail = posixpath.split(posixpath.normpath(path))
        return self.directory(head), tail

    def ensure(self, path: str, kind: type[Dir] = Dir) -> Dir:
        """The directory at ``path``, made by the kernel with its parents where missing."""
        here = self.root
        walked = ""
        for part in path.strip("/").split("/"):
            walked += "/" + part
            child = here.children().get(part)
            if child is None:
                child = kind()
                here.put(part, child)
            if not isinstance(child, Dir):
                raise refuse(errno.ENOTDIR, walked)
            here = self._mounted(walked) or child
        return here

    def everything(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """Every path under ``path`` with its node, links not followed."""
        top = self.node(path or "/")
        if isinstance(top, Dir):
            yield from self._descend(path, self._mounted(path) or top)

    def _descend(self, path: str, top: Dir) -> Iterator[tuple[str, Node]]:
        for name, node in sorted(top.children().items()):
            here = f"{path}/{name}"
            yield here, node
            if isinstance(node, Dir):
                yield from self._descend(here, self._mounted(here) or node)

    def _walk(self, path: str, *, follow: bool, hops: int = 0) -> tuple[str, Node]:
        if hops > 40:
            raise refuse(errno.ELOOP, path)
        here: Node = self.root
        walked = ""
        parts = _parts(path)
        for index, part in enumerate(parts):
            if not isinstance(here, Dir):
                raise refuse(errno.ENOTDIR, path)
            child = here.children().get(part)
            if child is None:
                raise refuse(errno.ENOENT, path)
            walked = f"{walked}/{part}"
            if isinstance(child, Link) and (follow or index + 1 < len(parts)):
                onward = posixpath.join(child.target, *parts[index + 1 :])
                return self._walk(onward, follow=follow, hops=hops + 1)
            here = self._mounted(walked) or child if isinstance(child, Dir) else child
        return walked or "/", here
