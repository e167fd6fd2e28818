# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds ``nvlab.sim._core`` from the kernel module's own core. Run by setuptools, from the top of the source tree."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from cffi import FFI

HERE = Path("nvlab/sim")
CORE = Path("kmod/core")
TYPES = """
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
"""


def declarations(header: Path) -> str:
    """A header and those it includes as cffi reads them: preprocessed, but for the system's own types."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    argv = [*compiler, "-E", "-P", "-DNVC_TYPES_H", "-I", str(CORE), str(header)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


ffi = FFI()
ffi.cdef(TYPES + declarations(HERE / "batch.h"))
ffi.set_source(
    "nvlab.sim._core",
    '#include "batch.h"',
    sources=[str(HERE / "batch.c"), str(HERE / "audit.c"), *map(str, sorted(CORE.glob("*.c")))],
    include_dirs=[str(CORE), str(HERE)],
    depends=[str(HERE / "batch.h"), *map(str, sorted(CORE.glob("*.h"))), str(CORE / "model.def")],
    extra_compile_args=["-O2", "-std=gnu11"],
)
