# SPDX-License-Identifier: GPL-2.0-or-later
"""``nvlab snapshot``: what a live device holds, its content and its past, in a file that labs and simulations can begin with.

The file is ``/dev/nvlab-state-NAME`` as it was at one moment (kmod/README.md), with holes for what is all zeros.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from nvlab import controller
from nvlab.errors import Conflict, EnvironmentNotReady, UsageError
from nvlab.files import sync_directory
from nvlab.plan import Plan
from nvlab.receive import receive

Emit = Callable[[dict[str, Any]], None]


def snapshot(lab: str, device: str, path: Path, emit: Emit, *, force: bool = False) -> dict[str, Any]:
    """Write what ``device`` of a lab holds to ``path``.

    Returns {"size", "kept", "seconds"}: its bytes, those that are not zeros, for how long the device's commands waited. A
    file that exists is replaced by ``force`` only, and only by a whole one. Raises UsageError, Conflict, GuestLost,
    EnvironmentNotReady (the node has too little memory), StepFailed (the device did not wait long enough).
    """
    known = controller.record(lab)
    file = _state_file(known, device)
    node = controller.node_of(known)
    if not node.running():
        raise Conflict(f"lab {lab!r} is gone with its guest", hint=f"nvlab down {lab} forgets it")
    with _whole(path, force) as fd, closing(node.connect()) as session:
        return receive(session, file, fd, lambda share: emit({"kind": "progress", "owner": device, "fraction": share}))


def _state_file(known: dict[str, Any], device: str) -> str:
    if "plan" not in known:
        raise Conflict(f"lab {known['lab']!r} is half up", hint=f"nvlab down {known['lab']}, then nvlab up")
    steps = [step for step in Plan.from_json(known["plan"]).steps if step.verb == "device.create"]
    names = {str(step.provides): f"/dev/nvlab-state-{step.args['name']}" for step in steps}
    if device not in names:
        there = ", ".join(names) or "none: only those of nvlab.ko can be copied"
        raise UsageError(f"lab {known['lab']!r} has no virtual device {device!r}", hint=f"there is: {there}")
    return names[device]


@contextmanager
def _whole(path: Path, force: bool) -> Iterator[int]:
    """A file to write to that has another name until it is whole; without ``force`` its own is taken at once, or refused."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    mine = [new]
    try:
        fd = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            _take_name(path, force, mine)
            yield fd
            os.fsync(fd)
        finally:
            os.close(fd)
        new.replace(path)
        mine.clear()
        sync_directory(path.parent)
    except OSError as error:
        raise EnvironmentNotReady(f"cannot write {path}: {error.strerror}", hint="nothing was written") from error
    finally:
        for name in mine:
            name.unlink(missing_ok=True)


def _take_name(path: Path, force: bool, mine: list[Path]) -> None:
    if force and path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file", hint="name another one")
    if force:
        return
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise UsageError(f"{path} exists", hint="name another file, or --force to replace it") from None
    mine.append(path)
