# SPDX-License-Identifier: GPL-2.0-or-later
"""The line between the controller and a node: JSON lines both ways over one byte stream.

A session begins with a NUL byte and a hello line, in each direction. JSON lines hold no NUL, so a reader finds the start of
its own session even when the stream (a virtio-serial port outlives its users) still carries the end of another's; what lies
before it is dropped. Then the controller sends calls, interrupts and data; the node sends events and beats, and one result or
error per call.
"""

from __future__ import annotations

import base64
import json
import os
import select
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from nvlab import errors
from nvlab.errors import InvalidScenario, NvlabError, Problem

VERSION = 1
START = b"\0"
DIED = b'{"died":'  # how the line begins that a relay says for an agent that cannot any more
CHUNK = 48 * 1024  # bytes of data in one message: a virtio-serial write carries at most 32 KiB, a line here two of them
_READ = 1 << 16

Message = dict[str, Any]


class LineClosed(NvlabError):
    """The other end is gone."""

    exit_code = 255


class AgentDied(NvlabError):
    """The node lives, but the process that served this session was killed: what it was doing is half done."""

    exit_code = 5


class Channel:
    """Messages over a pair of file descriptors. Sending is safe from several threads, receiving is for one."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        self._buffer = bytearray()
        self._lock = threading.Lock()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

    def hello(self, session: str, **facts: Any) -> None:
        """Start a session, or answer the start of one."""
        self._write(START + _line({"hello": {"nvlab": VERSION, "session": session, **facts}}))

    def await_hello(self, session: str | None = None, deadline: float | None = None) -> Message:
        """The other end's hello, everything before it dropped.

        Raises LineClosed, TimeoutError, and AgentDied when a relay says so: of whose agent, of ours or of the session before
        on the same line, cannot be known; who dials again finds out.
        """
        while True:
            raw = self._receive_line(deadline)
            if raw.startswith(DIED):
                raise AgentDied("the node's process ended before it said hello")
            start = raw.rfind(START)
            hello = json.loads(raw[start + 1 :])["hello"] if start >= 0 else {}
            if hello and session in (None, hello["session"]):
                return dict(hello)

    def send(self, message: Mapping[str, Any], deadline: float | None = None) -> None:
        """Send one message. Raises LineClosed when nobody listens any more, TimeoutError when nobody reads."""
        self._write(_line(message), deadline)

    def receive(self, deadline: float | None = None) -> Message:
        """The next message. ``deadline`` is on the monotonic clock. Raises LineClosed and TimeoutError."""
        return dict(json.loads(self._receive_line(deadline)))

    def pour(self, data: bytes, deadline: float | None = None) -> None:
        """Send bytes that are no message, to who expects them. Raises as :meth:`send` does."""
        self._write(data, deadline)

    def close(self) -> None:
        for fd in {self.reader, self.writer}:
            os.close(fd)

    def _receive_line(self, deadline: float | None) -> bytes:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            self._buffer += self._read(deadline)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _read(self, deadline: float | None) -> bytes:
        _wait(self.reader, select.POLLIN, deadline)
        try:
            data = os.read(self.reader, _READ)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            raise LineClosed("the line is closed")
        return data

    def _write(self, data: bytes, deadline: float | None = None) -> None:
        with self._lock:
            view = memoryview(data)
            while view:
                _wait(self.writer, select.POLLOUT, deadline)
                try:
                    view = view[os.write(self.writer, view) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise LineClosed("the line is closed") from None


def _wait(fd: int, events: int, deadline: float | None) -> None:
    poll = select.poll()
    poll.register(fd, events)
    timeout = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    if not poll.poll(timeout):
        raise TimeoutError


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def pack_data(data: bytes) -> str:
    """Bytes as they travel inside a message."""
    return base64.b64encode(data).decode()


def unpack_data(text: str) -> bytes:
    """The bytes of :func:`pack_data`."""
    return base64.b64decode(text)


def pack_error(error: BaseException) -> Message:
    """An exception as a message. What nvlab does not know keeps its traceback and travels as NvlabError."""
    known = next((c for c in type(error).__mro__ if getattr(errors, c.__name__, None) is c), None)
    if known is None or not isinstance(error, NvlabError):
        return {"type": "NvlabError", "message": f"{type(error).__name__}: {error}", "traceback": _traceback(error)}
    return {"type": known.__name__, **{k: _plain(v) for k, v in vars(error).items() if not k.startswith("_")}}


def unpack_error(packed: Mapping[str, Any]) -> NvlabError:
    """The exception of :func:`pack_error`, of the same class of nvlab/errors.py and with the same attributes."""
    kind = getattr(errors, str(packed.get("type")), NvlabError)
    error: NvlabError = kind.__new__(kind)
    NvlabError.__init__(error, str(packed.get("message")))
    for name, value in packed.items():
        if name == "traceback":
            error.add_note(f"on the node:\n{value}")
        elif name != "type":
            setattr(error, name, tuple(value) if isinstance(value, list) else value)
    if isinstance(error, InvalidScenario):
        error.problems = tuple(Problem(**p) for p in packed["problems"])
    return error


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def _traceback(error: BaseException) -> str:
    import traceback  # half a second in a slow guest, for errors only

    return "".join(traceback.format_exception(error))
