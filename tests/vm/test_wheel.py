# SPDX-License-Identifier: GPL-2.0-or-later
"""A wheel carries all of nvlab: made of what git has, installed far from the checkout, it builds modules and simulates."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
DATA = ("kmod", "grub", "scenarios")
SIMULATE = "from nvlab.sim import *; print(Device(Config(8)).submit(commands(Opcode.READ, now=7))['target'][0])"


def run(*argv: str | Path, **kwargs) -> str:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=1800, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked(*paths: str) -> list[str]:
    return run("git", "ls-files", "--", *paths, cwd=CHECKOUT).splitlines()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package lies; not the checkout, whose build directory could lend what the sources lack."""
    base = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        if (CHECKOUT / name).exists():
            (base / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, base / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", base, base / "source")
    run(*pip, "install", "--no-deps", "--target", base / "site", *base.glob("*.whl"))
    return base / "site"


def python(installed: Path, *argv: str | Path) -> str:
    return run(sys.executable, *argv, cwd=installed.parent, env={**os.environ, "PYTHONPATH": str(installed)})


def test_carries_every_file_that_is_not_python(installed: Path) -> None:
    inside = {name for name in tracked(*DATA) if (installed / "nvlab/_data" / name).is_file()}
    assert inside == set(tracked(*DATA))
    assert all((installed / name).is_file() for name in tracked("nvlab"))


def test_simulates(installed: Path) -> None:
    assert python(installed, "-c", SIMULATE) == "7\n"
    assert str(installed) in python(installed, "-c", "import nvlab.sim._core as c; print(c.__file__)")


def test_builds_its_kernel_module(installed: Path, tmp_path: Path) -> None:
    headers = sorted(Path("/lib/modules").glob("*/build"))
    assert headers, "no kernel headers: make setup"
    built = python(installed, "-m", "nvlab", "kmod", "build", "--kernel", headers[0].parent.name, "--into", tmp_path)
    assert built == f"{tmp_path / 'nvlab.ko'}\n"
    assert "nvlab" in run("/sbin/modinfo", "-F", "name", tmp_path / "nvlab.ko")
