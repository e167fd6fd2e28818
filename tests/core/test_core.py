# SPDX-License-Identifier: GPL-2.0-or-later
"""The core as C: without a warning, without a C library, and clean under the sanitizers."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from nvlab.data import kmod_dir

CORE = kmod_dir() / "core"
SOURCES = sorted(CORE.glob("*.c"))
FUZZ = Path(__file__).with_name("fuzz.c")
# A callback of one kind need not use every argument that another needs; the kernel's build says the same
WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
ROUNDS = "100000" if os.environ.get("NVLAB_SOAK") else "300"
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def run(*argv: str | Path) -> str:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("core") / "fuzz"
    run("gcc", *WARNINGS, *SANITIZERS, "-I", CORE, FUZZ, *SOURCES, "-o", program)
    return program


@pytest.mark.parametrize("seed", range(4))
def test_random_commands_under_the_sanitizers(fuzz: Path, seed: int) -> None:
    assert run(fuzz, str(seed), ROUNDS) == "ok\n"


@pytest.fixture(scope="module")
def freestanding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the core as one object, built as a kernel would: no library, no floating-point registers."""
    whole = tmp_path_factory.mktemp("core") / "core.o"
    bare = ["-ffreestanding", "-mgeneral-regs-only", "-fno-stack-protector", "-fno-pic", "-nostdlib", "-r"]
    run("gcc", *WARNINGS, "-O2", *bare, *SOURCES, "-o", whole)
    return whole


def test_needs_nothing_but_memset(freestanding: Path) -> None:
    """Floating point would call libgcc here, as would anything else that is not plain integers."""
    undefined = run("nm", "--undefined-only", "--format=just-symbols", freestanding).split()
    assert set(undefined) <= {"memset", "memcpy"}


def test_exports_only_its_own_names(freestanding: Path) -> None:
    defined = run("nm", "--defined-only", "--extern-only", "--format=just-symbols", freestanding).split()
    assert "nvc_submit" in defined
    assert all(name.startswith("nvc_") for name in defined)


def test_keeps_no_state_outside_the_device(freestanding: Path) -> None:
    """Writable data of its own would tie devices together and escape a snapshot."""
    symbols = run("nm", "--defined-only", "--format=posix", freestanding).splitlines()
    assert [line for line in symbols if line.split()[1] in "bBdDcC"] == []


def test_takes_no_header_of_the_kernel_or_the_library_but_in_nvc_types() -> None:
    for file in [*SOURCES, *CORE.glob("*.h")]:
        if file.name != "nvc_types.h":
            assert not re.findall(r"#include <", file.read_text()), file.name
