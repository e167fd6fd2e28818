# SPDX-License-Identifier: GPL-2.0-or-later
"""The real kernel: primitives done with system calls and programs on the node."""

from __future__ import annotations

import errno
import os
import select
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import singledispatchmethod
from pathlib import Path
from typing import IO

from nvlab.errors import DeadlineExceeded, Interrupted
from nvlab.kernel import netns, ops
from nvlab.kernel.interface import CommandFailed, Completed, Progress
from nvlab.kernel.kmsg import Kmsg
from nvlab.kernel.uevents import Uevents
from nvlab.kernel.waits import Waits, never

_POLL = 0.05  # seconds; not every condition on sysfs and configfs is announced
_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class RealKernel(Waits):
    """Performs primitives on the running kernel. Needs root."""

    def __init__(self) -> None:
        self._kmsg = Kmsg()

    def perform(
        self, op: ops.Op, *, progress: Progress | None = None, should_stop: Callable[[], bool] = never
    ) -> None:
        if isinstance(op, ops.Await):
            self.wait_for(op, progress, should_stop)
        else:
            self._do(op)

    @singledispatchmethod
    def _do(self, op: ops.Op) -> None:
        raise TypeError(f"unknown primitive {op!r}")

    @_do.register
    def _(self, op: ops.Run) -> None:
        completed = _spawn(op.argv, op.deadline)
        end = time.monotonic() + op.deadline
        while completed.code in op.again and time.monotonic() < end:
            time.sleep(_POLL)
            completed = _spawn(op.argv, op.deadline)
        if completed.code not in op.ok:
            raise CommandFailed(completed)

    @_do.register
    def _(self, op: ops.Write) -> None:
        if op.missing_ok and not os.path.lexists(op.path):
            return
        if op.watched:
            _watched_write(op)
        else:
            _write(op.path, op.text)

    @_do.register
    def _(self, op: ops.Transact) -> None:
        fd = os.open(op.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(fd, op.text.encode())
            os.read(fd, 4096)
        finally:
            os.close(fd)

    @_do.register
    def _(self, op: ops.MakeDir) -> None:
        Path(op.path).mkdir(exist_ok=op.exist_ok, parents=op.exist_ok)

    @_do.register
    def _(self, op: ops.RemoveDir) -> None:
        try:
            os.rmdir(op.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            if not (op.only_empty and error.errno == errno.ENOTEMPTY):
                raise

    @_do.register
    def _(self, op: ops.Link) -> None:
        if op.netns:
            netns.inside(op.netns, lambda: os.symlink(op.target, op.path))
        else:
            Path(op.path).symlink_to(op.target)

    @_do.register
    def _(self, op: ops.Remove) -> None:
        Path(op.path).unlink(missing_ok=True)

    @_do.register
    def _(self, op: ops.MakeFile) -> None:
        with Path(op.path).open("x") as file:  # never truncates
            file.write(op.text)
            if op.size:
                file.truncate(op.size)

    @_do.register
    def _(self, op: ops.Unload) -> None:
        self.wait_unloaded(op)

    @_do.register
    def _(self, op: ops.Unheld) -> None:
        self.wait_unheld(op)

    def unload(self, names: Sequence[str]) -> None:
        _spawn(("rmmod", *names), ops.DEFAULT_DEADLINE)

    def until(
        self, condition: Callable[[], bool], *, what: str, deadline: float, should_stop: Callable[[], bool] = never
    ) -> None:
        end = time.monotonic() + deadline
        uevents = Uevents()
        while not condition():
            if should_stop():
                raise Interrupted(f"stopped while waiting for {what}")
            if time.monotonic() > end:
                raise DeadlineExceeded(f"waited {deadline:.0f} s for {what}")
            uevents.wait(_POLL)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def lexists(self, path: str) -> bool:
        return os.path.lexists(path)

    def is_block(self, path: str) -> bool:
        try:
            return stat.S_ISBLK(os.stat(path).st_mode)
        except OSError:
            return False

    def read(self, path: str) -> str:
        return Path(path).read_text(errors="replace").rstrip()

    def listdir(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def readlink(self, path: str) -> str:
        return os.path.realpath(path)

    def query(self, argv: Sequence[str]) -> Completed:
        return _spawn(tuple(argv), ops.DEFAULT_DEADLINE)

    def claimable(self, path: str) -> bool:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError:
            return False
        return True

    def is_mount(self, path: str) -> bool:
        return any(line.split()[4] == path for line in Path("/proc/self/mountinfo").read_text().splitlines())

    def messages(self) -> list[str]:
        return self._kmsg.new()


def _spawn(argv: tuple[str, ...], deadline: float) -> Completed:
    """Run a program to its end, even if nvlab itself is killed meanwhile: half a mdadm is worse than a whole one.

    So it prints to files (a pipe without a reader would kill it), is not in the terminal's process group (Ctrl-C is for us), and
    inherits the lock that keeps the next nvlab waiting (see :mod:`nvlab.lock`).
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=_ENV, close_fds=False, process_group=0
            )
        except FileNotFoundError:
            return Completed(argv, 127, "", f"{argv[0]} is not installed")
        if not _ended(child, deadline):
            held = _held(child.pid)
            child.kill()  # and no wait for it: in the kernel it may be beyond killing
            raise DeadlineExceeded(f"{' '.join(argv)}: no end within {deadline:.0f} s", hint=held)
        return Completed(argv, child.wait(), _text(out), _text(err))


def _ended(child: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait for the end of ``child``; unlike ``Popen.wait`` with a timeout this does not poll."""
    pidfd = os.pidfd_open(child.pid)
    try:
        return bool(select.select([pidfd], [], [], deadline)[0])
    finally:
        os.close(pidfd)


def _held(pid: int) -> str:
    """A hint at where in the kernel a process waits, for whoever has to find out why (proc(5), /proc/PID/stack)."""
    try:
        frames = Path(f"/proc/{pid}/stack").read_text().splitlines()
    except OSError:
        frames = []
    functions = [frame.split()[-1].partition("+")[0] for frame in frames]
    where = f"it waits in the kernel, in {' < '.join(functions[:8])}; " if functions else ""
    return f"{where}dmesg may say what holds it"


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _watched_write(op: ops.Write) -> None:
    """Write in a child: if the kernel blocks it unkillably, only the child is lost.

    Measured: disabling a nvmet namespace over a suspended device waits in D state and ignores SIGKILL.
    """
    child = os.fork()
    if child == 0:
        try:
            _write(op.path, op.text)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    end = time.monotonic() + op.deadline
    while (reaped := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            what = f"writing {op.text!r} to {op.path}: the kernel did not answer in {op.deadline:.0f} s"
            raise DeadlineExceeded(what, hint=_held(child))
        time.sleep(_POLL)
    code = os.waitstatus_to_exitcode(reaped[1])
    if code:
        raise OSError(code, os.strerror(code), op.path)
