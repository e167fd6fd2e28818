# SPDX-License-Identifier: GPL-2.0-or-later
"""State directories in memory: thousands of journals are written here, each record of them synced."""

import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import Machine

_SHM = Path("/dev/shm")

gc.set_threshold(50_000, 20, 100)  # a world is thousands of objects in cycles, and thousands of worlds pass


@pytest.fixture
def fast_tmp() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="nvlab-sim-", dir=_SHM if _SHM.is_dir() else None))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def machines(fast_tmp: Path) -> Callable[..., Machine]:
    """Make machines, each with a state directory of its own."""
    count = iter(range(1 << 20))
    return lambda furnish=None: Machine(fast_tmp / str(next(count)), furnish)
