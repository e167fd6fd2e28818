# SPDX-License-Identifier: GPL-2.0-or-later
"""The node's end of ``nvlab shell``: a program on a terminal of its own, or on three pipes."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import threading
from contextlib import suppress
from typing import Any

from nvlab.errors import StepFailed
from nvlab.nodes.agent import Args, Emit, Handler, Stop
from nvlab.nodes.channel import CHUNK, Message, pack_data, unpack_data

# without the user's own start-up files, which belong to the host and may take half a minute in a slow guest
INTERACTIVE = ["/bin/bash", "--norc", "-i"]
PROMPT = r"\u@\h:\w\$ "


def shell(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Run ``argv`` (an interactive shell without one) until it ends: its exit ``code``, negative for a signal.

    With ``size`` [rows, columns] it has a terminal. Events are {"out"|"err": data}; the controller sends {"data"}, {"end"}
    and {"size"}. On a stop the program is hung up on.
    """
    size = args.get("size")
    process, stdin, outputs = (_on_terminal if size else _on_pipes)(_argv(args, size), args)
    if size:
        _resize(stdin, size)
    threading.Thread(target=_feed, args=(stdin, stop), daemon=True).start()
    try:
        _forward(outputs, emit, stop)
    finally:
        if stop.requested:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGHUP)
    return {"code": process.wait()}


def _argv(args: Args, size: Any) -> list[str]:
    argv = list(args.get("argv") or INTERACTIVE)
    return ["setsid", "--ctty", *argv] if size else argv


def _spawn(
    argv: list[str], args: Args, stdin: int, stdout: int, stderr: int, *, leads: bool
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PS1": PROMPT, **args.get("env", {})}
    try:
        return subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, cwd="/", start_new_session=leads
        )
    except OSError as error:
        raise StepFailed(f"cannot run {argv[0]}: {error.strerror}", hint="is it installed on the node?") from error


def _on_terminal(argv: list[str], args: Args) -> tuple[subprocess.Popen[bytes], int, dict[int, str]]:
    ours, theirs = os.openpty()
    process = _spawn(
        argv, args, theirs, theirs, theirs, leads=False
    )  # setsid makes the session, and takes the terminal
    os.close(theirs)
    return process, ours, {ours: "out"}


def _on_pipes(argv: list[str], args: Args) -> tuple[subprocess.Popen[bytes], int, dict[int, str]]:
    pipe = subprocess.PIPE
    process = _spawn(argv, args, pipe, pipe, pipe, leads=True)
    assert process.stdin and process.stdout and process.stderr
    stdin = os.dup(process.stdin.fileno())
    process.stdin.close()
    return process, stdin, {process.stdout.fileno(): "out", process.stderr.fileno(): "err"}


def _forward(outputs: dict[int, str], emit: Emit, stop: Stop) -> None:
    """Report what the program says until it has closed all its outputs, or a stop."""
    poll = select.poll()
    for fd in (*outputs, stop.fileno()):
        poll.register(fd, select.POLLIN)
    while outputs and not stop.requested:
        for fd, _ in poll.poll():
            if fd not in outputs:
                continue
            if data := _read(fd):
                emit({outputs[fd]: pack_data(data)})
            else:
                poll.unregister(fd)
                del outputs[fd]


def _read(fd: int) -> bytes:
    """Empty at the end; a terminal whose last user is gone says EIO."""
    try:
        return os.read(fd, CHUNK)
    except OSError:
        return b""


def _feed(stdin: int, stop: Stop) -> None:
    """Pass on what the controller sends."""
    while (message := stop.receive()) is not None:
        try:
            _pass(stdin, message)
        except OSError:  # the program does not read any more
            return
        if "end" in message:
            os.close(stdin)
            return


def _pass(stdin: int, message: Message) -> None:
    if "size" in message:
        _resize(stdin, message["size"])
    data = unpack_data(message.get("data", ""))
    while data:
        data = data[os.write(stdin, data) :]


def _resize(terminal: int, size: list[int]) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", size[0], size[1], 0, 0))


HANDLERS: dict[str, Handler] = {"shell": shell}
