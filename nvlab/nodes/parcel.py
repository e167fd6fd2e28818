# SPDX-License-Identifier: GPL-2.0-or-later
"""What another host is sent of nvlab: the package's Python files, pyudev if it is here, the sources of nvlab.ko.

One archive, the same byte for byte as long as they are the same, so that its hash says whether a host has it already.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from nvlab.data import kmod_dir
from nvlab.nodes.initramfs import PACKAGE

_SOURCES = (".c", ".h", ".def")


def pack() -> tuple[str, bytes]:
    """The archive (a compressed tar, to be unpacked into a directory of its own) and its SHA-256."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed, tarfile.open(fileobj=compressed, mode="w") as tar:
        for name, path in sorted(_files()):
            data = path.read_bytes()
            entry = tarfile.TarInfo(name)  # of nobody in particular, made at no time
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    data = packed.getvalue()
    return hashlib.sha256(data).hexdigest(), data


def _files() -> Iterator[tuple[str, Path]]:
    yield from _below(PACKAGE, "nvlab", lambda path: path.suffix == ".py")
    yield from _below(kmod_dir(), "kmod", lambda path: path.suffix in _SOURCES or path.name in ("Kbuild", "Makefile"))
    found = importlib.util.find_spec("pyudev")
    for directory in (found and found.submodule_search_locations) or ():
        yield from _below(Path(directory), "pyudev", lambda path: path.suffix == ".py")


def _below(directory: Path, name: str, wanted: Callable[[Path], bool]) -> Iterator[tuple[str, Path]]:
    for path in directory.rglob("*"):
        inner = path.relative_to(directory)
        if inner.parts[0] != "_data" and path.is_file() and wanted(path):
            yield f"{name}/{inner}", path
