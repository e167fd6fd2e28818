# SPDX-License-Identifier: GPL-2.0-or-later
"""The core as C: without a warning, without a C library, and clean under the sanitizers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import nvlab.sim
from nvlab.data import kmod_dir

CORE = kmod_dir() / "core"
SOURCES = sorted(CORE.glob("*.c"))
SIM = Path(nvlab.sim.__file__).parent
HERE = Path(__file__).parent
pytestmark = pytest.mark.slow
# Each with its rounds in the tests and in soak; fuzz_ssd cuts the power some 260 times in one
PROGRAMS = {
    "fuzz": ("200", "100000"),
    "fuzz_edges": ("200", "100000"),
    "fuzz_ssd": ("100", "500"),
    "fuzz_zns": ("200", "30000"),
    "fuzz_kv": ("400", "60000"),
    "fuzz_thaw": ("10000", "300000"),
}
# A callback of one kind need not use every argument that another needs; the kernel's build says the same
WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
SOAK = bool(os.environ.get("NVLAB_SOAK"))
SEEDS = 4 if SOAK else 2
FUZZ_SECONDS = 3600 if SOAK else 60  # of all programs together
CLANG = shutil.which("clang") or shutil.which("clang-14")
BRANCHES = 95
READ_INSTRUCTIONS = 300
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=10800, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def objects_of(into: Path, *flags: str, compiler: str = "gcc") -> list[Path]:
    """The core, compiled once for all programs."""
    run(compiler, *WARNINGS, *flags, "-I", CORE, "-c", *SOURCES, cwd=into)
    return sorted(into.glob("*.o"))


def link(name: str, objects: list[Path], into: Path, *flags: str, compiler: str = "gcc") -> Path:
    sources = [HERE / f"{name}.c", SIM / "audit.c"]
    run(compiler, *WARNINGS, *flags, "-I", CORE, "-I", SIM, *sources, *objects, "-o", into / name, cwd=into)
    return into / name


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return objects_of(tmp_path_factory.mktemp("core"), *SANITIZERS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_random_commands_under_the_sanitizers(name: str, sanitized: list[Path], tmp_path: Path) -> None:
    program = link(name, sanitized, tmp_path, *SANITIZERS)
    for seed in range(SEEDS):
        assert run(program, str(seed), PROGRAMS[name][SOAK]) == "ok\n", seed


@pytest.fixture(scope="module")
def instrumented(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """As libFuzzer wants the core: it learns from the core's branches, not from those of the oracles."""
    into = tmp_path_factory.mktemp("fuzzer")
    return objects_of(into, *SANITIZERS, "-fsanitize=fuzzer-no-link", compiler=CLANG or "")


@pytest.mark.skipif(not CLANG, reason="needs clang, for libFuzzer")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_fuzzer_finds_no_commands_that_break_it(name: str, instrumented: list[Path], tmp_path: Path) -> None:
    flags = [*SANITIZERS, "-fsanitize=fuzzer", "-DLIBFUZZER=LLVMFuzzerTestOneInput"]
    program = link(name, instrumented, tmp_path, *flags, compiler=CLANG or "")
    (tmp_path / "corpus").mkdir()
    limits = [f"-max_total_time={FUZZ_SECONDS // len(PROGRAMS)}", "-timeout=60", "-max_len=4096", "-len_control=0"]
    run(program, *limits, tmp_path / "corpus", cwd=tmp_path)


def taken(report: str) -> dict[str, tuple[float, int]]:
    """Of each source file what part of its branches was taken, and how many it has, from gcov's words."""
    found = re.findall(r"File '(?:.*/)?(\w+\.c)'\n.*\n.*\nTaken at least once:([\d.]+)% of (\d+)", report)
    return {name: (float(part) / 100, int(branches)) for name, part, branches in found}


def test_the_fuzz_programs_take_nearly_every_branch(tmp_path: Path) -> None:
    """The core is compiled once and linked to each program, so that what they take adds up."""
    objects = objects_of(tmp_path, "-O0", "--coverage")
    for name in PROGRAMS:
        run(link(name, objects, tmp_path, "--coverage"), "1", PROGRAMS[name][0], cwd=tmp_path)
    data = [source.with_suffix(".gcda").name for source in SOURCES]
    counts = taken(run("gcov", "-b", "-c", "-n", *data, cwd=tmp_path))
    assert set(counts) >= {"nvc.c", "ssd.c", "gc.c", "power.c", "zone.c", "kv_log.c"}
    total = sum(branches for _, branches in counts.values())
    assert sum(part * branches for part, branches in counts.values()) / total * 100 >= BRANCHES, counts


@pytest.mark.skipif(not shutil.which("valgrind"), reason="needs valgrind")
def test_a_read_takes_few_instructions(tmp_path: Path) -> None:
    """Of a unit on the medium, everything from the checks to the link: the difference of two runs, of reads alone."""
    run("gcc", *WARNINGS, "-O2", "-I", CORE, HERE / "read_hits.c", *SOURCES, "-o", tmp_path / "read_hits")

    def instructions(reads: int) -> int:
        grind = [
            "valgrind",
            "--tool=callgrind",
            "--toggle-collect=nvc_submit",
            f"--callgrind-out-file={tmp_path}/out",
            tmp_path / "read_hits",
        ]
        run(*grind, str(reads))
        return int(re.findall(r"^summary: (\d+)", (tmp_path / "out").read_text(), re.M)[0])

    assert (instructions(2000) - instructions(1000)) / 1000 <= READ_INSTRUCTIONS


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
