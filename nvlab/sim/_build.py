# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds ``nvlab.sim._core`` from the kernel module's own core. Run by setuptools, from the top of the source tree."""

from __future__ import annotations

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
    """A header as cffi reads it: these headers hold declarations only, so what is left to drop is the preprocessor's."""
    return "\n".join(line for line in header.read_text().splitlines() if not line.startswith("#"))


ffi = FFI()
ffi.cdef(TYPES + "".join(map(declarations, (CORE / "nvc.h", CORE / "nvc_trace.h", HERE / "batch.h"))))
ffi.set_source(
    "nvlab.sim._core",
    '#include "batch.h"',
    sources=[str(HERE / "batch.c"), *map(str, sorted(CORE.glob("*.c")))],
    include_dirs=[str(CORE), str(HERE)],
    depends=[str(HERE / "batch.h"), *map(str, sorted(CORE.glob("*.h")))],
    extra_compile_args=["-O2", "-std=gnu11"],
)
