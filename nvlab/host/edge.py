# SPDX-License-Identifier: GPL-2.0-or-later
"""The host as the boot reservation touches it: files below a root, and programs. The only part of it that does I/O."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nvlab.errors import EnvironmentNotReady, StepFailed
from nvlab.files import replace_file, sync_directory
from nvlab.host.read import PATH, children, text

_MOST = 1 << 20  # bytes of a text; a sysctl cannot be read in pieces of 4 MiB and more (fs/proc/proc_sysctl.c)
DEADLINE = 300.0  # seconds; update-grub looks at every disk for other systems


@dataclass(frozen=True)
class State:
    """A file as it is: its content, permissions, user and group."""

    data: bytes
    mode: int = 0o644
    owner: tuple[int, int] | None = None


class Host:
    """This machine, or, in tests, a directory that looks like one."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where the file that the host calls ``name`` lies."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        """Content of a file, stripped; empty when it cannot be read."""
        return text(self.path(name), limit=_MOST)

    def names(self, name: str) -> list[str]:
        """What is in a directory, sorted; nothing when there is none."""
        return [path.name for path in children(self.path(name))]

    def state(self, name: str) -> State | None:
        """A file as it is; None when there is none. Raises EnvironmentNotReady when it is no plain file, or not for us."""
        path = self.path(name)
        try:
            status = path.lstat()
            if not path.is_file() or path.is_symlink():
                raise EnvironmentNotReady(f"{name} is no plain file", hint="move it out of the way")
            return State(path.read_bytes(), status.st_mode & 0o7777, (status.st_uid, status.st_gid))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _denied(name, error) from error

    def put(self, name: str, state: State | None) -> None:
        """Make a file so; None removes it."""
        path = self.path(name)
        try:
            if state is not None:
                replace_file(path, state.data, state.mode, state.owner)
            elif path.exists():
                path.unlink()
                sync_directory(path.parent)
        except OSError as error:
            raise _denied(name, error) from error

    def absent(self, name: str) -> list[str]:
        """The directories that a file lacks, the deepest last."""
        return [str(p) for p in list(PurePosixPath(name).parents)[::-1] if not self.path(str(p)).exists()]

    def make_parents(self, name: str) -> None:
        """Make the directories that a file lacks."""
        try:
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _denied(name, error) from error

    def drop_directory(self, name: str) -> None:
        """Remove a directory if there is nothing in it."""
        if self.path(name).is_dir() and not self.names(name):
            self.path(name).rmdir()

    def has(self, program: str) -> bool:
        """Whether there is such a program."""
        return shutil.which(program, path=PATH) is not None

    def run(self, argv: Sequence[str]) -> str:
        """Run a program; what it prints. Raises StepFailed with its words."""
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=DEADLINE,
                env=os.environ | {"PATH": PATH},
            )
        except subprocess.TimeoutExpired:
            raise StepFailed(f"{' '.join(argv)}: not done after {DEADLINE:.0f} s") from None
        except OSError as error:
            raise StepFailed(f"{argv[0]}: {error.strerror}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise StepFailed(f"{' '.join(argv)}: exit code {done.returncode}" + (f": {said}" if said else ""))
        return done.stdout


def _denied(name: str, error: OSError) -> EnvironmentNotReady:
    hint = "only root may do this: run it with sudo" if isinstance(error, PermissionError) else None
    return EnvironmentNotReady(f"{name}: {error.strerror}", hint=hint)
