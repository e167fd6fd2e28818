# SPDX-License-Identifier: GPL-2.0-or-later
"""The real kernel's way with programs: what their exit codes mean."""

from __future__ import annotations

import errno
import threading

import pytest

from nvlab.errors import DeadlineExceeded
from nvlab.kernel.interface import CommandFailed
from nvlab.kernel.ops import Await, Link, Run
from nvlab.kernel.real import RealKernel


def test_a_link_in_a_network_namespace_that_is_none_is_not_made(tmp_path):
    (tmp_path / "plain").touch()
    for name, number in (("none", errno.ENOENT), ("plain", errno.EINVAL)):
        with pytest.raises(OSError) as caught:
            RealKernel().perform(Link(str(tmp_path / "link"), "/", netns=str(tmp_path / name)))
        assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / name))
    assert not (tmp_path / "link").is_symlink()


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


def test_a_program_past_its_deadline_is_killed_and_the_hint_says_where_to_look():
    with pytest.raises(DeadlineExceeded, match="sleep 60: no end within 0 s") as caught:
        RealKernel().perform(Run(("sleep", "60"), deadline=0.2))
    assert "dmesg" in caught.value.hint


def test_a_wait_ends_with_its_condition_or_its_deadline(tmp_path):
    threading.Timer(0.2, (tmp_path / "there").touch).start()
    kernel = RealKernel()
    kernel.perform(Await("a file", exists=(str(tmp_path / "there"),), deadline=20))
    with pytest.raises(DeadlineExceeded, match="waited 0 s for another"):
        kernel.perform(Await("another", exists=(str(tmp_path / "never"),), deadline=0.2))
