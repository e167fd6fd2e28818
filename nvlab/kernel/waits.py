# SPDX-License-Identifier: GPL-2.0-or-later
"""The primitives that wait, for real kernels and the fake one alike: they wait for the same, only time passes otherwise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from nvlab.errors import DeadlineExceeded
from nvlab.kernel import ops
from nvlab.kernel.interface import Progress


def never() -> bool:
    """Nobody asks to stop."""
    return False


class Waits(ABC):
    """A kernel that can be looked at again and again."""

    @abstractmethod
    def until(
        self, condition: Callable[[], bool], *, what: str, deadline: float, should_stop: Callable[[], bool] = never
    ) -> None: ...

    @abstractmethod
    def exists(self, path: str) -> bool: ...

    @abstractmethod
    def read(self, path: str) -> str: ...

    @abstractmethod
    def claimable(self, path: str) -> bool: ...

    @abstractmethod
    def lexists(self, path: str) -> bool:
        """Whether there is anything at ``path``, be it a dangling link."""

    @abstractmethod
    def is_block(self, path: str) -> bool:
        """Whether ``path`` is a block device's node."""

    @abstractmethod
    def unload(self, names: Sequence[str]) -> None:
        """Try to remove modules that were idle a moment ago."""

    def wait_for(self, op: ops.Await, progress: Progress | None, should_stop: Callable[[], bool]) -> None:
        def holds() -> bool:
            if progress and op.progress:
                progress(self._fraction(op.progress))
            return self._holds(op)

        self.until(holds, what=op.what, deadline=op.deadline, should_stop=should_stop)

    def _holds(self, op: ops.Await) -> bool:
        return (
            all(self.exists(p) for p in op.exists)
            and not any(self.lexists(p) for p in op.absent)
            and all(self.is_block(p) for p in op.block)
            and all(self.exists(p) and self.read(p) == v for p, v in op.equals.items())
        )

    def _fraction(self, path: str) -> float:
        """Progress from a file such as MD's sync_completed: "512 / 1024"; 0 where it does not say."""
        try:
            done, slash, total = self.read(path).partition("/")
        except OSError:
            return 0.0
        return int(done) / int(total) if slash else 0.0

    def wait_unheld(self, op: ops.Unheld) -> None:
        def free() -> bool:
            return not self.exists(op.path) or self.claimable(op.path)

        self.until(free, what=f"{op.path} to be free of whatever uses it", deadline=op.deadline)

    def wait_unloaded(self, op: ops.Unload) -> None:
        names = list(op.names)
        what = f"modules {', '.join(names)} to be idle"
        try:
            self.until(lambda: self._unload_idle(names), what=what, deadline=op.deadline)
        except DeadlineExceeded:
            if not op.leave_used or any(self._is_idle(name) for name in names):
                raise

    def _unload_idle(self, names: list[str]) -> bool:
        """Remove what is idle from the kernel and from ``names``; True once all are gone. Taking one away may free another."""
        count = len(names) + 1
        while len(names) < count:
            count = len(names)
            if idle := [name for name in names if self._is_idle(name)]:
                self.unload(idle)
            names[:] = [name for name in names if self.exists(f"/sys/module/{name}")]
        return not names

    def _is_idle(self, name: str) -> bool:
        try:
            return self.read(f"/sys/module/{name}/refcnt") == "0"
        except OSError:  # gone meanwhile
            return False
