# SPDX-License-Identifier: GPL-2.0-or-later
"""What the files of an installed kernel say of it, whether it runs or not: its config and the modules it has."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nvlab.host.read import text
from nvlab.kernel.module import canonical

BIG = 1 << 24  # bytes; none of these files is larger


def kernel_files(release: str, asked: Mapping[str, Iterable[str]], root: Path = Path("/")) -> dict[str, Any]:
    """What the files of an installed kernel say: its config, the modules it has, whether others can be built for it.

    ``config`` is None where none is found, else {option: value} of those asked for that are set.
    """
    return {
        "release": release,
        "config": config(release, asked.get("options", ()), root),
        "modules": loadable(release, asked.get("modules", ()), root),
        "headers": (root / "lib/modules" / release / "build/Makefile").exists(),
    }


def config(release: str, options: Iterable[str], root: Path = Path("/")) -> dict[str, str] | None:
    """The values of those of ``options`` that a kernel is built with; None where its configuration is not to be found."""
    boot = [root / f"boot/config-{release}", root / "lib/modules" / release / "config"]
    found = next((said for path in boot if (said := text(path, limit=BIG))), "")
    if not found and release == text(root / "proc/sys/kernel/osrelease"):
        with suppress(OSError), gzip.open(root / "proc/config.gz", "rt") as file:
            found = file.read(BIG)
    if not found:
        return None
    wanted = set(options)
    return {name: value for name, value in re.findall(r"^CONFIG_(\w+)=(.*)$", found, re.M) if name in wanted}


def loadable(release: str, wanted: Iterable[str], root: Path = Path("/")) -> list[str]:
    """Those of ``wanted`` that a kernel has, as files or built in, in the kernel's spelling."""
    known = {_stem(line.partition(":")[0]) for line in _list(release, "modules.dep", root)}
    return sorted({canonical(name) for name in wanted} & (known | builtin(release, root)))


def builtin(release: str, root: Path = Path("/")) -> frozenset[str]:
    """The modules that are part of a kernel, in its spelling."""
    return frozenset(map(_stem, _list(release, "modules.builtin", root)))


def _list(release: str, name: str, root: Path) -> list[str]:
    return text(root / "lib/modules" / release / name, limit=BIG).splitlines()


def _stem(path: str) -> str:
    return canonical(path.rpartition("/")[2].partition(".ko")[0])
