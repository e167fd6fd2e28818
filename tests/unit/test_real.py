# SPDX-License-Identifier: GPL-2.0-or-later
"""The real kernel's way with programs: what their exit codes mean."""

from __future__ import annotations

import pytest

from nvlab.kernel.interface import CommandFailed
from nvlab.kernel.ops import Run
from nvlab.kernel.real import RealKernel


def busy_until(count: int, tmp_path) -> tuple[str, ...]:
    """A program that says busy (1) until it has been run ``count`` times."""
    return ("sh", "-c", f'echo x >> {tmp_path}/runs; [ "$(wc -l < {tmp_path}/runs)" -ge {count} ]')


def test_a_busy_program_is_run_again(tmp_path):
    RealKernel().perform(Run(busy_until(3, tmp_path), again=(1,)))
    assert (tmp_path / "runs").read_text().count("x") == 3


def test_a_program_that_stays_busy_fails_at_its_deadline(tmp_path):
    with pytest.raises(CommandFailed, match="exit code 1"):
        RealKernel().perform(Run(("sh", "-c", "exit 1"), again=(1,), deadline=0.3))


def test_any_other_code_fails_at_once(tmp_path):
    with pytest.raises(CommandFailed):
        RealKernel().perform(Run(busy_until(2, tmp_path)))
    assert (tmp_path / "runs").read_text().count("x") == 1
