# SPDX-License-Identifier: GPL-2.0-or-later
"""Every error a user can meet has a message, a place for a hint, and the exit code that the documentation promises."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nvlab
from nvlab import errors

PACKAGE = Path(nvlab.__file__).parent
EXIT_CODES = {
    "NvlabError": 1,
    "StepFailed": 1,
    "InvalidScenario": 2,
    "UsageError": 2,
    "EnvironmentNotReady": 3,
    "Conflict": 4,
    "TeardownIncomplete": 5,
    "DeadlineExceeded": 124,
    "Interrupted": 130,
    "NodeLost": 255,
    "GuestLost": 255,
}


def family(base: type[errors.NvlabError]) -> Iterator[type[errors.NvlabError]]:
    yield base
    for child in base.__subclasses__():
        yield from family(child)


def test_exit_codes_are_the_documented_ones() -> None:
    defined = {cls.__name__: cls.exit_code for cls in family(errors.NvlabError) if cls.__module__ == errors.__name__}
    assert defined == EXIT_CODES


def test_an_error_keeps_hint_and_the_kernels_words() -> None:
    error = errors.StepFailed("no", hint="try this", kmsg=["nvlab: refused"])
    assert (str(error), error.hint, error.kmsg) == ("no", "try this", ("nvlab: refused",))


@pytest.mark.parametrize(
    ("problems", "text"),
    [
        ([errors.Problem("raid.md.level", "unknown")], "a.toml has 1 problem\n  raid.md.level: unknown"),
        ([errors.Problem("", "empty"), errors.Problem("x", "y")], "a.toml has 2 problems\n  empty\n  x: y"),
    ],
)
def test_all_problems_of_a_scenario_in_one_message(problems: list[errors.Problem], text: str) -> None:
    assert str(errors.InvalidScenario("a.toml", problems)) == text


def test_a_lost_guest_leaves_its_last_words() -> None:
    assert errors.GuestLost("gone", console=["Kernel panic"]).console == ("Kernel panic",)


def test_only_the_command_line_ends_the_process() -> None:
    """A library that exits cannot be undone after."""
    for path in PACKAGE.rglob("*.py"):
        if path in (PACKAGE / "cli/__init__.py", PACKAGE / "__main__.py") or path.name in ("agent.py", "bootstrap.py"):
            continue
        module = ast.parse(path.read_text())
        module.body = [part for part in module.body if ast.unparse(part).partition(":")[0] != "if __name__ == '__main__'"]
        for node in ast.walk(module):  # of a program of its own, all but its last words
            if isinstance(node, ast.Raise) and node.exc is not None:
                assert "SystemExit" not in ast.unparse(node.exc), f"{path}:{node.lineno}"
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) != "sys.exit", f"{path}:{node.lineno}"
