# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller's end of ``nvlab shell``: this terminal, or these pipes, joined to a program on the node."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nvlab.errors import NvlabError
from nvlab.nodes.channel import CHUNK, Message, pack_data, unpack_data
from nvlab.nodes.session import Session

_OUT = {"out": 1, "err": 2}


def run_shell(session: Session, argv: list[str] | None = None) -> int:
    """Run an interactive shell, or ``argv``, on the node with our stdin, stdout and stderr; its exit code, as a shell's."""
    interactive = os.isatty(0) and os.isatty(1)
    args: Message = {"argv": argv, "env": {"TERM": os.environ.get("TERM", "dumb")}}
    if interactive:
        args["size"] = _size()
    session.begin("shell", args)
    with _raw() if interactive else _plain(), _fed(session):
        code = session.finish("shell", _print)["code"]
    return int(code) if code >= 0 else 128 - int(code)


def _print(event: Message) -> None:
    for name, data in event.items():
        view = memoryview(unpack_data(data))
        while view:
            view = view[os.write(_OUT[name], view) :]


def _size() -> list[int]:
    size = os.get_terminal_size(0)
    return [size.lines, size.columns]


@contextmanager
def _plain() -> Iterator[None]:
    yield


@contextmanager
def _raw() -> Iterator[None]:
    """Every key goes to the node, Ctrl-C included."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _fed(session: Session) -> Iterator[None]:
    """Send our stdin to the node, and the size of our terminal when it changes, as long as this lasts."""
    stop_read, stop_write = os.pipe()
    thread = threading.Thread(target=_feed, args=(session, stop_read), daemon=True)
    before = signal.signal(signal.SIGWINCH, lambda *_: _resized(session)) if os.isatty(0) else None
    thread.start()
    try:
        yield
    finally:
        os.write(stop_write, b"x")
        thread.join()
        os.close(stop_read)
        os.close(stop_write)
        if before is not None:
            signal.signal(signal.SIGWINCH, before)


def _resized(session: Session) -> None:
    with suppress(NvlabError):
        session.send({"size": _size()})


def _feed(session: Session, stop: int) -> None:
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(stop, select.POLLIN)
    with suppress(NvlabError):
        while stop not in [fd for fd, _ in poll.poll()]:
            if not (data := _read_stdin()):
                session.send({"end": True})
                return
            session.send({"data": pack_data(data)})


def _read_stdin() -> bytes:
    try:
        return os.read(sys.stdin.fileno(), CHUNK)
    except OSError:
        return b""
