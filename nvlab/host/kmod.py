# SPDX-License-Identifier: GPL-2.0-or-later
"""Building kernel modules out of tree: nvlab.ko, or any module directory, for installed headers or a kernel build tree."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nvlab.errors import EnvironmentNotReady, StepFailed, UsageError

DEADLINE = 600.0  # seconds; nvlab.ko takes some ten
_LEFTOVERS = shutil.ignore_patterns("*.o", "*.ko", "*.mod", "*.mod.c", ".*", "modules.order", "Module.symvers")


def kernel_dir(kernel: str) -> Path:
    """The build directory for ``kernel``: a build tree itself, or the headers of an installed release."""
    tree = Path(kernel)
    path = tree if tree.is_dir() else Path("/lib/modules") / kernel / "build"
    if not (path / "Makefile").exists():
        raise EnvironmentNotReady(
            f"no headers to build modules for {kernel} (no {path})", hint=f"apt-get install linux-headers-{kernel}"
        )
    return path.resolve()


def build(source: Path, kernel: str, into: Path) -> list[Path]:
    """Build the module directory ``source`` for ``kernel``; the .ko files, in ``into``.

    The source is copied first, so it stays as it is. Raises StepFailed with the compiler's words.
    """
    if not any((source / name).exists() for name in ("Kbuild", "Makefile")):
        raise UsageError(f"{source} is not a module directory: it has neither Kbuild nor Makefile")
    kdir = kernel_dir(kernel)
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nvlab-kmod-") as scratch:
        work = Path(scratch, source.name or "module")
        shutil.copytree(source, work, ignore=_LEFTOVERS)
        _make(["make", "-C", str(kdir), f"M={work}", f"-j{os.cpu_count() or 1}", "modules"])
        built = sorted(work.rglob("*.ko"))
        if not built:
            raise StepFailed(f"{source}: make succeeded, but no .ko came out", hint="does its Kbuild say obj-m?")
        return [_install(module, into / module.name) for module in built]


def ensure(source: Path, kernel: str, cache: Path) -> Path:
    """``nvlab.ko`` for ``kernel``, built unless the cache has it from the very same sources and compiler."""
    into = cache / Path(kernel).name / _fingerprint(source, kernel_dir(kernel))
    module = into / "nvlab.ko"
    return module if module.exists() else next(m for m in build(source, kernel, into) if m.name == "nvlab.ko")


def _fingerprint(source: Path, kdir: Path) -> str:
    """Of the sources' content and of the kernel they are built against."""
    digest = hashlib.sha256(str(kdir).encode())
    for path in sorted(p for p in source.rglob("*") if p.suffix in (".c", ".h") or p.name in ("Kbuild", "Makefile")):
        digest.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes())
    symbols = kdir / "Module.symvers"
    digest.update(symbols.read_bytes() if symbols.exists() else b"")
    return digest.hexdigest()[:16]


def _make(argv: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE
        )
    except FileNotFoundError:
        raise EnvironmentNotReady("make is not installed", hint="apt-get install make gcc") from None
    if done.returncode:
        raise StepFailed(f"{' '.join(argv)}: exit code {done.returncode}\n" + "\n".join(done.stdout.splitlines()[-20:]))


def _install(module: Path, target: Path) -> Path:
    """Move into place under another name first: a reader never sees half a module."""
    fresh = target.with_suffix(".new")
    shutil.copyfile(module, fresh)
    fresh.replace(target)
    return target
