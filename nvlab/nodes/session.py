# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller's end of one session with a node: calls with deadlines, events, interrupts, files both ways."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from nvlab.errors import DeadlineExceeded, EnvironmentNotReady, GuestLost, Interrupted, NvlabError
from nvlab.nodes.basics import unpack
from nvlab.nodes.channel import CHUNK, VERSION, AgentDied, Channel, LineClosed, Message, pack_data, unpack_error

SILENCE = 45.0  # seconds without a sign of life after which a node counts as lost; beats come every second
CONNECT = 90.0  # seconds to answer the hello
_LEAVE = 10.0  # seconds a node has to answer a second Ctrl-C

OnEvent = Callable[[Message], None]


def _ignore(event: Message) -> None:
    del event


class Session:
    """One session over a channel. ``lost`` makes the error to raise when the node is gone, from what was noticed."""

    def __init__(
        self,
        channel: Channel,
        lost: Callable[[str], NvlabError] = GuestLost,
        silence: float = SILENCE,
        held: Callable[[], None] = lambda: None,
    ) -> None:
        """``held`` releases, when the session is closed, what its line holds (a port's lock)."""
        self.channel, self._lost, self.silence, self._held = channel, lost, silence, held
        self.node: Message = {}
        self._died: AgentDied | None = None

    def open(self, deadline: float | None = None) -> Session:
        """Exchange hellos; ``node`` then tells who answers (pid, release, boot_id)."""
        session = os.urandom(8).hex()
        try:
            self.channel.hello(session)
            self.node = self.channel.await_hello(session, deadline or time.monotonic() + CONNECT)
        except (LineClosed, TimeoutError) as error:
            raise self._loss(error, "it did not answer") from error
        if self.node["nvlab"] != VERSION:
            raise EnvironmentNotReady(
                f"the node speaks version {self.node['nvlab']} of the channel, this nvlab version {VERSION}",
                hint="use the same nvlab on both sides (restart the guest, or update the other host)",
            )
        return self

    def call(
        self, name: str, args: Message | None = None, on_event: OnEvent = _ignore, deadline: float | None = None
    ) -> Any:
        """Call a handler and return its result; ``deadline`` in seconds from now.

        Raises what the handler raised, DeadlineExceeded (the node stops and undoes), GuestLost, AgentDied, and
        Interrupted after Ctrl-C: the first stops and undoes, the second leaves all as it is.
        """
        self.begin(name, args)
        return self.finish(name, on_event, deadline)

    def begin(self, name: str, args: Message | None = None) -> None:
        """Call a handler; data may follow (:meth:`send`), then :meth:`finish`."""
        if self._died:
            raise self._died
        self.send({"call": name, "args": args or {}})

    def finish(self, name: str, on_event: OnEvent = _ignore, deadline: float | None = None) -> Any:
        """The result of the handler that :meth:`begin` called; see :meth:`call`."""
        return self._await_result(name, on_event, None if deadline is None else time.monotonic() + deadline)

    def interrupt(self, level: int) -> None:
        """Ask the running handler to stop and undo (1) or to stop and leave things as they are (2)."""
        with contextlib.suppress(NvlabError):
            self.send({"interrupt": level})

    def run(self, argv: list[str], timeout: float = 60, **options: Any) -> Message:
        """Run a program on the node: ``code``, ``out``, ``err``. Options: ``stdin``, ``cwd``, ``env``."""
        return dict(self.call("exec", {"argv": argv, "timeout": timeout, **options}, deadline=timeout + self.silence))

    def fetch(self, path: str, into: Path, deadline: float = 120) -> int:
        """Copy a file or a directory's content from the node into the directory ``into``; returns the bytes sent."""
        events: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        into.mkdir(parents=True, exist_ok=True)
        failed: list[BaseException] = []

        def unpacker() -> None:
            try:
                unpack(into, events.get)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=unpacker, daemon=True)
        thread.start()
        try:
            result = self.call("fetch", {"path": path}, events.put, deadline)
        finally:
            events.put(None)
            thread.join()
        if failed:
            raise NvlabError(f"cannot unpack what came from the node: {failed[0]}") from failed[0]
        return int(result["bytes"])

    def put(self, source: Path, into: str, deadline: float = 120) -> None:
        """Copy a file, or a directory's content, into a directory on the node."""
        import tarfile

        self.begin("put", {"path": into})
        with tarfile.open(mode="w|", fileobj=_Sender(self.send), bufsize=CHUNK) as tar:
            tar.add(source, arcname="." if source.is_dir() else source.name)
        self.send({"end": True})
        self.finish("put", deadline=deadline)

    def send(self, message: Message) -> None:
        """Data for the handler that runs."""
        try:
            self.channel.send(message, time.monotonic() + self.silence)
        except (LineClosed, TimeoutError) as error:
            raise self._loss(error, "it does not listen") from error

    def close(self) -> None:
        """Hang up; a handler that still runs stops and undoes."""
        self.channel.close()
        self._held()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await_result(self, name: str, on_event: OnEvent, deadline: float | None) -> Any:
        interrupts = 0
        while True:
            try:
                message = self._receive(name, deadline)
                if "event" in message:
                    on_event(message["event"])
            except KeyboardInterrupt:  # who sees a line come and presses Ctrl-C may meet us still at it
                interrupts += 1
                self.interrupt(interrupts)
                if interrupts > 1:
                    deadline = time.monotonic() + _LEAVE
                if interrupts > 2:
                    raise Interrupted("interrupted; the node was left at work") from None
                continue
            if "result" in message:
                return message["result"]
            if "error" in message:
                raise unpack_error(message["error"])
            if "died" in message:
                self._died = _died(name, message["died"])
                raise self._died

    def _receive(self, name: str, deadline: float | None) -> Message:
        silent = time.monotonic() + self.silence
        try:
            return self.channel.receive(silent if deadline is None else min(silent, deadline))
        except TimeoutError as error:
            if deadline is not None and time.monotonic() >= deadline:
                self.interrupt(1)
                raise DeadlineExceeded(
                    f"the node did not finish {name!r} in time",
                    hint="it was told to stop and undo; nvlab status shows what stands",
                ) from None
            raise self._loss(error, f"no sign of life for {self.silence:.0f} s") from error
        except LineClosed as error:
            raise self._loss(error, "it is gone") from error

    def _loss(self, error: BaseException, what: str) -> NvlabError:
        return self._lost("the line was closed" if isinstance(error, LineClosed) else what)


class _Sender(io.RawIOBase):
    """A file to write to, whose content travels as data messages."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self.send = send

    def write(self, data: Any) -> int:
        for chunk in _chunks(bytes(data)):
            self.send({"data": pack_data(chunk)})
        return len(data)


def _chunks(data: bytes) -> Iterator[bytes]:
    return (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))


def _died(name: str, signal: int) -> AgentDied:
    how = f"was killed by signal {signal}" if signal else "ended"
    return AgentDied(f"the node's process {how} during {name!r}", hint="nvlab down LAB removes what it had made")
