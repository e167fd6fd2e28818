# SPDX-License-Identifier: GPL-2.0-or-later
"""What the engine and the verbs may ask of a kernel: one interface, a real body and a fake one.

Paths are absolute; ``read`` strips trailing white space. Errors are :class:`OSError` with the kernel's errno for file
operations, :class:`CommandFailed` for programs, :class:`~nvlab.errors.DeadlineExceeded` for waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from nvlab.errors import StepFailed
from nvlab.kernel.ops import Op

Progress = Callable[[float], None]  # a fraction, 0 to 1


@dataclass(frozen=True)
class Completed:
    """A program that ended: its exit code and what it printed."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str


class CommandFailed(StepFailed):
    """A program ended with an exit code that does not mean success."""

    def __init__(self, completed: Completed) -> None:
        self.completed = completed
        said = (completed.err or completed.out).strip()
        super().__init__(f"{' '.join(completed.argv)}: exit code {completed.code}" + (f": {said}" if said else ""))


class Kernel(Protocol):
    """The only door from nvlab to a kernel."""

    def perform(self, op: Op, *, progress: Progress | None = None, should_stop: Callable[[], bool] = ...) -> None:
        """Perform one primitive. A wait ends early, with Interrupted, when ``should_stop()`` turns true."""

    def until(
        self, condition: Callable[[], bool], *, what: str, deadline: float, should_stop: Callable[[], bool] = ...
    ) -> None:
        """Wait until ``condition()``; it only looks. DeadlineExceeded names ``what``, Interrupted when told to stop."""

    def exists(self, path: str) -> bool:
        """Whether ``path`` exists; a dangling link does not."""

    def read(self, path: str) -> str:
        """Content of a small text file, trailing white space stripped."""

    def listdir(self, path: str) -> list[str]:
        """Sorted names in a directory; a missing directory is empty."""

    def readlink(self, path: str) -> str:
        """Absolute target of a symbolic link, resolved (``realpath``)."""

    def query(self, argv: Sequence[str]) -> Completed:
        """Run a program that changes nothing; any exit code is an answer."""

    def claimable(self, path: str) -> bool:
        """Whether the block device can be opened O_EXCL: nobody mounts, holds or claims it."""

    def is_mount(self, path: str) -> bool:
        """Whether a file system is mounted exactly at ``path``."""

    def messages(self) -> list[str]:
        """Kernel log lines since the last call (the cursor is opened with the kernel object)."""
