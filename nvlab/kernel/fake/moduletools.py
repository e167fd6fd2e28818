# SPDX-License-Identifier: GPL-2.0-or-later
"""modprobe, insmod and rmmod (kmod 30's words)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nvlab.kernel.fake.argv import Exit, read
from nvlab.kernel.fake.modules import parse
from nvlab.kernel.fake.tree import File

if TYPE_CHECKING:
    from nvlab.kernel.fake.world import World


def modprobe(world: World, argv: Sequence[str]) -> str:
    words = read(argv, flags=("--all", "--show-depends"))
    names = words.rest if "--all" in words.flags else words.rest[:1]
    params = parse(words.rest[len(names) :])
    if "--show-depends" in words.flags:
        return "".join(f"insmod {world.modules.file(m)} \n" for n in names for m in _chain(world, n))
    for name in names:
        _chain(world, name)
        try:
            world.modules.probe(name, params)
        except OSError as error:
            raise Exit(1, f"modprobe: ERROR: could not insert '{name}': {error.strerror}") from None
    return ""


def _chain(world: World, name: str) -> list[str]:
    try:
        return world.modules.chain(name)
    except OSError:
        raise Exit(1, f"modprobe: FATAL: Module {name} not found in directory /lib/modules/{world.release}") from None


def insmod(world: World, argv: Sequence[str]) -> str:
    path, *params = read(argv).rest
    stem = PurePosixPath(path).stem.replace("-", "_")
    try:
        if not isinstance(world.tree.node(path), File):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        world.virtual.load_file(stem, parse(params))
    except OSError as error:
        raise Exit(1, f"insmod: ERROR: could not insert module {path}: {error.strerror}") from None
    return ""


def rmmod(world: World, argv: Sequence[str]) -> str:
    for name in read(argv).rest:
        try:
            world.modules.remove(name)
        except OSError as error:
            why = "is in use" if error.errno == errno.EWOULDBLOCK else "is not currently loaded"
            raise Exit(1, f"rmmod: ERROR: Module {name} {why}") from None
    return ""
