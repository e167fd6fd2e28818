# SPDX-License-Identifier: GPL-2.0-or-later
"""One exception tree. Every error a user can meet says what failed, what to do next, and has an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class NvlabError(Exception):
    """An error with a message for a person, a hint (an action) and the process's exit code.

    ``kmsg`` holds the kernel's own words about the failure, oldest first; ``step`` is the id of the plan's step that failed.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, kmsg: Sequence[str] = (), step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.kmsg = tuple(kmsg)
        self.step = step


class StepFailed(NvlabError):
    """A step of the lab or a workload failed; what was made has been undone."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a scenario: where (a TOML path) and what, in the user's words."""

    where: str
    what: str


class InvalidScenario(NvlabError):
    """Everything wrong with a scenario file, found before anything was touched."""

    exit_code = 2

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [f"{source} has {count} problem{'s' if count != 1 else ''}"]
        lines += [f"  {p.where}: {p.what}" if p.where else f"  {p.what}" for p in self.problems]
        super().__init__("\n".join(lines))


class UsageError(NvlabError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class EnvironmentNotReady(NvlabError):
    """Something nvlab needs is missing: a tool, a kernel, a module, memory, rights."""

    exit_code = 3


class Conflict(NvlabError):
    """The lab is already up, or an object that we would make exists and is not ours."""

    exit_code = 4


class TeardownIncomplete(NvlabError):
    """Something could not be removed; the journal is kept, and ``down`` can be called again."""

    exit_code = 5


class DeadlineExceeded(NvlabError):
    """A wait ended without what it waited for."""

    exit_code = 124


class Interrupted(NvlabError):
    """The user, or the loss of the controller, stopped the work; what was made has been undone."""

    exit_code = 130


class NodeLost(NvlabError):
    """The guest hung, panicked or vanished, or the line to another host broke."""

    exit_code = 255


class GuestLost(NodeLost):
    """The guest hung, panicked or vanished. ``console`` holds its last lines."""

    def __init__(self, message: str, *, hint: str | None = None, console: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.console = tuple(console)
