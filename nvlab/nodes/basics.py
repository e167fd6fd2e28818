# SPDX-License-Identifier: GPL-2.0-or-later
"""What every node can be asked, whatever its engine knows: ping, exec, fetch, put, shell."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from nvlab.errors import DeadlineExceeded, NvlabError, StepFailed
from nvlab.nodes.agent import Args, Emit, Handler, Stop
from nvlab.nodes.channel import CHUNK, pack_data, unpack_data

_KILL_AFTER = 2.0  # seconds between SIGTERM and SIGKILL


def ping(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Who is there: pid, kernel release, seconds since boot."""
    del args, emit, stop
    return {"pid": os.getpid(), "release": os.uname().release, "uptime": time.clock_gettime(time.CLOCK_BOOTTIME)}


def execute(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Run ``argv``: exit ``code`` (negative: the signal), ``out`` and ``err``. With ``stream``, each line is an event too.

    Raises DeadlineExceeded after ``timeout`` seconds and Interrupted on a stop; the whole process group is gone then.
    """
    argv, timeout = list(args["argv"]), args.get("timeout")
    deadline = None if timeout is None else time.monotonic() + timeout
    process = _spawn(argv, args)
    try:
        out, err = _collect(process, args.get("stdin", ""), emit if args.get("stream") else _mute, stop, deadline)
        code = process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        raise DeadlineExceeded(f"{argv[0]} did not end within {timeout} s") from None
    finally:
        _end(process)
    return {"code": code, "out": out, "err": err}


def _mute(event: dict[str, Any]) -> None:
    del event


def _spawn(argv: list[str], args: Args) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    environment = {**os.environ, **args.get("env", {})}
    try:
        return subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=args.get("cwd"), env=environment, start_new_session=True
        )
    except OSError as error:
        raise StepFailed(f"cannot run {argv[0]}: {error.strerror}", hint="is it installed on the node?") from error


def _collect(
    process: subprocess.Popen[bytes], stdin: str, emit: Emit, stop: Stop, deadline: float | None
) -> tuple[str, str]:
    """Feed ``stdin`` and read both outputs to their ends."""
    assert process.stdin and process.stdout and process.stderr
    pending = stdin.encode()
    names = {process.stdout.fileno(): "out", process.stderr.fileno(): "err"}
    texts = {"out": bytearray(), "err": bytearray()}
    poll = select.poll()
    for fd in (*names, stop.fileno()):
        poll.register(fd, select.POLLIN)
    poll.register(process.stdin, select.POLLOUT)
    while names:
        ready = poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            raise TimeoutError
        stop.check()
        for fd, _ in ready:
            if fd in names:
                data = os.read(fd, CHUNK)
                texts[names[fd]] += data
                if data:
                    emit({names[fd]: data.decode(errors="replace")})
                else:
                    poll.unregister(fd)
                    del names[fd]
            elif fd != stop.fileno():
                pending = _feed(process.stdin, pending, poll)
    return texts["out"].decode(errors="replace"), texts["err"].decode(errors="replace")


def _feed(stdin: IO[bytes], pending: bytes, poll: select.poll) -> bytes:
    """Write some of ``pending`` (a pipe ready for writing takes PIPE_BUF at least); close at the end."""
    try:
        pending = pending[os.write(stdin.fileno(), pending[: select.PIPE_BUF]) :] if pending else pending
    except BrokenPipeError:
        pending = b""
    if not pending:
        poll.unregister(stdin)
        stdin.close()
    return pending


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of the process group running."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sig)
            process.wait(_KILL_AFTER)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()


class _Outlet:
    """A file to write to, whose content travels as events of one chunk each."""

    def __init__(self, emit: Emit, stop: Stop) -> None:
        self.emit, self.stop, self.sent = emit, stop, 0

    def write(self, data: bytes) -> int:
        self.stop.check()
        for start in range(0, len(data), CHUNK):
            self.emit({"data": pack_data(data[start : start + CHUNK])})
        self.sent += len(data)
        return len(data)


class _Inlet:
    """A file to read from, whose content comes as the controller's data messages."""

    def __init__(self, receive: Callable[[], dict[str, Any] | None]) -> None:
        self.receive, self.left = receive, b""

    def read(self, size: int) -> bytes:
        while len(self.left) < size and (message := self.receive()) is not None and "data" in message:
            self.left += unpack_data(message["data"])
        data, self.left = self.left[:size], self.left[size:]
        return data


def fetch(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Send the directory or file ``path`` as a tar stream; result: its bytes."""
    import tarfile

    path = Path(args["path"])
    if not path.exists():
        raise NvlabError(f"{path} does not exist on the node")
    outlet = _Outlet(emit, stop)
    with tarfile.open(mode="w|", fileobj=outlet, bufsize=CHUNK) as tar:  # type: ignore[call-overload]
        tar.add(path, arcname="." if path.is_dir() else path.name)
    return {"bytes": outlet.sent}


def put(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Unpack the tar stream that follows the call into the directory ``path``."""
    del emit
    path = Path(args["path"])
    path.mkdir(parents=True, exist_ok=True)
    unpack(path, stop.receive)
    return {}


def unpack(path: Path, receive: Callable[[], dict[str, Any] | None]) -> None:
    """Unpack a tar stream out of data messages; the way of both ends."""
    import tarfile

    with tarfile.open(mode="r|", fileobj=_Inlet(receive), bufsize=CHUNK) as tar:  # type: ignore[call-overload]
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
        tar.extractall(path)


HANDLERS: dict[str, Handler] = {"ping": ping, "exec": execute, "fetch": fetch, "put": put}
