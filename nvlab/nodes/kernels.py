# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel a guest boots: an installed release, the path of an image, or a kernel build tree."""

from __future__ import annotations

import lzma
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from nvlab.errors import EnvironmentNotReady

_BUILT = "arch/x86/boot/bzImage"
_XZ_MAGIC = b"\xfd7zXZ\0"


@dataclass(frozen=True)
class Image:
    """A kernel to boot. ``tree`` is set for a build tree, whose modules lie beside it."""

    path: Path
    release: str
    tree: Path | None = None


def installed() -> list[Image]:
    """The installed kernels that can be read and have their modules, oldest release first."""
    images = [
        Image(path, path.name.removeprefix("vmlinuz-"))
        for path in Path("/boot").glob("vmlinuz-*")
        if os.access(path, os.R_OK) and Path("/lib/modules", path.name.removeprefix("vmlinuz-")).is_dir()
    ]
    return sorted(images, key=lambda image: _natural(image.release))


def _natural(release: str) -> list[tuple[int, str]]:
    return [(int(n), text) for n, text in re.findall(r"(\d+)(\D*)", release)]


def find(wanted: str | None) -> Image:
    """The kernel that ``wanted`` names; without a name this host's own, else the oldest installed.

    A prefix of one installed release will do ("6.1"). Raises EnvironmentNotReady.
    """
    images = installed()
    if wanted is None:
        return _default(images)
    path = Path(wanted)
    if path.is_dir():
        return _from_tree(path.resolve())
    if path.is_file():
        return Image(path.resolve(), release_of(path))
    matches = [i for i in images if i.release == wanted] or [i for i in images if i.release.startswith(f"{wanted}.")]
    if not matches:
        known = ", ".join(i.release for i in images) or "none that can be read"
        raise EnvironmentNotReady(
            f"no kernel {wanted!r}: not a file, not a build tree, not installed (installed: {known})",
            hint="apt-get install linux-image-amd64 linux-headers-amd64, or give the path of a vmlinuz",
        )
    return matches[-1]


def _default(images: list[Image]) -> Image:
    if not images:
        raise EnvironmentNotReady(
            "no installed kernel can be read in /boot", hint="apt-get install linux-image-amd64 linux-headers-amd64"
        )
    running = os.uname().release
    return next((i for i in images if i.release == running), images[0])


def _from_tree(tree: Path) -> Image:
    image = tree / _BUILT
    if not image.is_file():
        raise EnvironmentNotReady(f"{tree} has no {_BUILT}", hint=f"build it: make -C {tree} bzImage")
    return Image(image, release_of(image), tree)


def release_of(path: Path) -> str:
    """The release in an image's boot header (the kernel's Documentation/arch/x86/boot.rst, ``kernel_version``)."""
    with path.open("rb") as file:
        head = file.read(0x10000)
    if head[0x202:0x206] != b"HdrS":
        raise EnvironmentNotReady(f"{path} is not a bzImage", hint="give a vmlinuz, or the kernel's build tree")
    start = struct.unpack_from("<H", head, 0x20E)[0] + 0x200
    return head[start : head.index(b"\0", start)].split()[0].decode()


def unpacked(image: Path, cache: Path) -> Path:
    """The ELF kernel inside an xz-compressed bzImage, kept in ``cache``; other images as they are.

    QEMU starts an ELF kernel through its PVH entry. Under TCG the kernel takes 2.6 s to unpack itself from xz, QEMU's own
    host 0.5 s, once.
    """
    stat = image.stat()
    target = cache / f"vmlinux-{stat.st_size:x}-{stat.st_mtime_ns:x}"
    if target.exists():
        return target
    packed = _payload(image.read_bytes())
    if not packed.startswith(_XZ_MAGIC):
        return image
    kernel = lzma.LZMADecompressor().decompress(packed)
    if b"Xen\0" not in kernel:  # the note that names the PVH entry (CONFIG_PVH)
        return image
    cache.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(kernel)
    temporary.replace(target)
    return target


def _payload(image: bytes) -> bytes:
    """The compressed kernel of a bzImage (boot.rst: ``setup_sects``, ``payload_offset``, ``payload_length``)."""
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return image[start : start + length]
