# SPDX-License-Identifier: GPL-2.0-or-later
"""Run directories: making one, finding them, reading their description. Stdlib only; layout in :mod:`nvlab.record`."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nvlab.errors import UsageError
from nvlab.record import FORMAT_VERSION, INPUTS, RUN, SCENARIO, WORKLOAD, WORKLOADS

MOST = 64 << 20  # bytes of a file that each run has a copy of
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # no letter that looks like another


@dataclass(frozen=True)
class RunDir:
    """A run directory being written, or one that was."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @staticmethod
    def create(base: Path, lab: str) -> RunDir:
        """A new, empty run directory below ``base`` with an id of its own."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        suffix = "".join(secrets.choice(_LETTERS) for _ in range(3))
        path = base / f"{stamp}-{_plain(lab)}-{suffix}"
        (path / WORKLOADS).mkdir(parents=True)
        return RunDir(path)

    def new_workload(self, label: str) -> Path:
        """A new directory for the next workload."""
        number = sum(1 for _ in (self.path / WORKLOADS).iterdir()) + 1
        path = self.path / WORKLOADS / f"{number:02d}-{_plain(label)}"
        path.mkdir()
        return path

    def stages(self) -> list[Path]:
        """The directories of everything that ran, in the order of running: a workload's own, or those of its stages below it."""
        top = self.path / WORKLOADS
        return sorted((path.parent for path in top.rglob(WORKLOAD)), key=lambda path: _numbers(path.relative_to(top)))

    def write(self, lab: str, scenario: str, source: str, facts: Mapping[str, Any]) -> None:
        """Write ``run.json`` and the scenario's text as it was given in ``source``. ``facts`` are added as they are."""
        described = {
            "format": FORMAT_VERSION,
            "id": self.id,
            "lab": lab,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "scenario": {"source": source, "sha256": hashlib.sha256(scenario.encode()).hexdigest()},
        }
        (self.path / SCENARIO).write_text(scenario, encoding="utf-8")
        self._save(described | dict(facts))

    def keep(self, files: Mapping[str, Path]) -> None:
        """Copy the files that the scenario or the command names, by name; :meth:`kept` finds them again.

        What is larger than 64 MiB (snapshots with their data) stays where it is, and only its place is written down.
        """
        copies: dict[str, str] = {}
        for number, (name, path) in enumerate(sorted(files.items()), 1):
            if path.stat().st_size > MOST:
                copies[name] = str(path.resolve())
                continue
            copy = self.path / INPUTS / f"{number:02d}" / path.name  # what is made of it may be called by its name
            copy.parent.mkdir(parents=True)
            shutil.copyfile(path, copy)
            copies[name] = str(copy.relative_to(self.path))
        self.update({"files": copies})

    def kept(self) -> dict[str, Path]:
        """The files of :meth:`keep`, by the names that they had: copies, or where the large ones were."""
        return {name: self.path / copy for name, copy in self.read().get("files", {}).items()}

    def update(self, facts: Mapping[str, Any]) -> None:
        """Add to ``run.json``, for what is known only after the workloads."""
        self._save(self.read() | dict(facts))

    def read(self) -> dict[str, Any]:
        """``run.json``. Raises UsageError when this is not a run directory of this format."""
        try:
            described: dict[str, Any] = json.loads((self.path / RUN).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise UsageError(f"{self.path} is not a run directory: {error}", hint="nvlab runs lists them") from error
        if described.get("format") != FORMAT_VERSION:
            raise UsageError(f"{self.path} has format {described.get('format')}; this nvlab reads {FORMAT_VERSION}")
        return described

    def _save(self, described: Mapping[str, Any]) -> None:
        fresh = self.path / f".{RUN}.new"
        fresh.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self.path / RUN)


def list_runs(base: Path) -> list[RunDir]:
    """All run directories below ``base``, oldest first."""
    return [RunDir(path.parent) for path in sorted(base.glob(f"*/{RUN}"))]


def find_run(base: Path, name: str = "") -> RunDir:
    """The run that ``name`` is a path of, the id of, or the only part of an id of; the latest of a lab, or of all.

    Raises UsageError when there is none, or more than one.
    """
    if name and (Path(name) / RUN).is_file():
        return RunDir(Path(name).resolve())
    known = list_runs(base)
    matching = [run for run in known if run.id == name] or [run for run in known if name and _lab_of(run) == name][-1:]
    matching = matching or [run for run in known if name in run.id]
    if not matching or (name and len(matching) > 1):
        what = f"{len(matching)} runs match {name!r}" if matching else f"no run matches {name!r} in {base}"
        shown = ", ".join(run.id for run in (matching or known)[-5:])
        raise UsageError(what, hint=f"there are: {shown}" if shown else "nvlab run LAB makes one")
    return matching[-1]


def _lab_of(run: RunDir) -> str:
    """A run's lab; that of a run which cannot be read is none that anyone asks for."""
    with suppress(UsageError, AttributeError):
        return str(run.read()["lab"])
    return ""


def _numbers(path: Path) -> tuple[int, ...]:
    """By which directories are in the order in which they were made: the hundredth after the ninety-ninth."""
    return tuple(int(part.partition("-")[0]) for part in path.parts)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.")[:60] or "run"
