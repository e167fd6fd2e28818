# SPDX-License-Identifier: GPL-2.0-or-later
"""Which room of the package may know which: the design's import direction, read off the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nvlab

PACKAGE = Path(nvlab.__file__).parent
BASE = {"errors", "units"}

# Each room, and the rooms it may import. A new room says here what it needs, or does without.
MAY_USE: dict[str, set[str]] = {
    "errors": set(),
    "units": set(),
    "files": BASE,
    "lock": BASE,
    "data": BASE,
    "kv": set(),
    "medium": BASE | {"data"},
    "kernel": BASE | {"medium"},
    "workload": BASE | {"kv"},
    "sim": BASE | {"kv", "medium"},
    "plan": BASE | {"kernel"},
    "shellplan": BASE | {"plan"},
    "journal": BASE | {"files", "plan"},
    "leases": BASE | {"files", "lock"},
    "tuning": BASE | {"journal", "kernel", "plan"},
    "layers": BASE | {"kernel", "medium", "plan", "workload"},
    "scenario": BASE | {"layers", "medium"},
    "planner": BASE | {"layers", "plan", "scenario"},
    "engine": BASE | {"journal", "kernel", "leases", "lock", "plan"},
    "record": BASE | {"host", "kernel", "sim", "workload"},
    "host": BASE | {"data", "files", "kernel", "lock", "record"},
    "analysis": BASE | {"record"},
    "nodes": BASE | {"data", "engine", "files", "host", "journal", "kernel", "leases", "lock", "plan", "record"}
    | {"tuning"},
    "doctor": BASE | {"host", "kernel", "layers", "nodes", "plan", "planner", "scenario", "tuning"},
    "screen": BASE,
    "happening": BASE | {"layers", "sim"},
    "playing": BASE | {"happening", "layers", "record", "sim", "workload"},
    "simulate": BASE | {"files", "happening", "host", "layers", "playing", "record", "scenario", "sim", "workload"},
    "receive": BASE | {"nodes"},
    "recovery": {"plan"},
    "powercut": BASE | {"nodes", "plan", "receive", "record", "recovery", "sim", "workload"},
    "controller": BASE | {"data", "host", "layers", "nodes", "plan", "planner", "powercut", "record", "scenario", "sim"}
    | {"tuning"},
    "tuner": BASE | {"controller", "doctor", "nodes", "plan", "tuning"},
    "snapshot": BASE | {"controller", "files", "nodes", "plan", "receive"},
    "calibrate": BASE | {"kernel", "medium", "record", "sim", "workload"},
    "repro": BASE | {"controller", "record", "scenario", "simulate"},
    "cli": BASE
    | {"analysis", "calibrate", "controller", "data", "doctor", "files", "host", "medium", "plan", "planner", "record"}
    | {"repro", "scenario", "screen", "shellplan", "simulate", "snapshot", "tuner", "tuning"},
    "__main__": {"cli"},
}

# Packages that only some rooms may import, so that the others start fast and run without them.
ONLY_IN: dict[str, set[str]] = {
    "pydantic": {"scenario"},
    "numpy": {"analysis", "calibrate", "playing", "record", "sim"},
    "matplotlib": {"analysis"},
    "jinja2": {"analysis"},
    "cffi": {"sim"},
    "rich": {"screen"},
    "pyudev": {"kernel"},
}

# Where the node's side begins, and what it imports only once it is asked to.
NODE_MODULES = ["nvlab.nodes.guest", "nvlab.nodes.handlers", "nvlab.record.recorder", "nvlab.host.survey"]
NODE_MODULES += ["nvlab.host.grub", "nvlab.host.bootcheck"]
NOT_ON_THE_NODE = ["pydantic", "numpy", "matplotlib", "rich", "jinja2", "nvlab.layers", "nvlab.scenario", "nvlab.cli"]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, anywhere in it; ``from nvlab import x`` counts as ``nvlab.x``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "nvlab":
            yield from (f"nvlab.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("nvlab.")} - {room, "__version__"}
    assert rooms <= MAY_USE[room]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    packages = {name.split(".")[0] for name in imported(path)}
    assert {name for name in packages & ONLY_IN.keys() if room_of(path) not in ONLY_IN[name]} == set()


def test_relative_imports_are_not_used() -> None:
    """They would escape the two tests above."""
    for path in SOURCES:
        levels = [node.level for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not any(levels), path


def loaded_after(*modules: str) -> set[str]:
    """What is in ``sys.modules`` of a new process that imports ``modules``."""
    script = f"import sys, {', '.join(modules)}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_the_node_starts_without_what_only_the_controller_needs() -> None:
    assert sorted(loaded_after(*NODE_MODULES) & set(NOT_ON_THE_NODE)) == []


def test_help_costs_no_heavy_import() -> None:
    heavy = {*ONLY_IN, "nvlab.controller", "nvlab.scenario", "nvlab.analysis"}
    assert sorted(loaded_after("nvlab.cli") & heavy) == []
