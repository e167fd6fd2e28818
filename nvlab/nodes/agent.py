# SPDX-License-Identifier: GPL-2.0-or-later
"""The far end of the channel: runs on the node, calls handlers by name, reports what they say.

``python -m nvlab.nodes.agent --stdio`` serves one session over standard input and output (on this machine, and by ssh); in a
guest, guest.py forks one of these for each session. It works from the plan alone and must start fast: it imports neither pydantic
nor numpy.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nvlab.errors import Interrupted, UsageError
from nvlab.nodes.channel import Channel, LineClosed, Message, pack_error

BEAT = 1.0  # seconds between signs of life while a handler runs

# An agent as a program: python -I -c START DIRECTORY --stdio, where nvlab is in that directory.
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from nvlab.nodes.agent import main; main()"

Args = Mapping[str, Any]
Emit = Callable[[Message], None]


class Stop:
    """What the controller says while a handler runs: to stop, and data.

    ``requested`` is 0 (go on), 1 (stop and undo: Ctrl-C, or the controller is gone) or 2 (stop and leave as is).
    """

    def __init__(self) -> None:
        self.requested = 0
        self._event = os.eventfd(0)
        self._data: queue.SimpleQueue[Message | None] = queue.SimpleQueue()

    def check(self) -> None:
        """Raise Interrupted once a stop is requested."""
        if self.requested:
            raise Interrupted("stopped")

    def fileno(self) -> int:
        """A descriptor that becomes readable when a stop is requested."""
        return self._event

    def receive(self, timeout: float | None = None) -> Message | None:
        """The controller's next data message; None on a stop, or when there is none within ``timeout`` seconds."""
        try:
            return self._data.get(timeout=timeout)
        except queue.Empty:
            return None

    def request(self, level: int) -> None:
        self.requested = max(self.requested, level)
        os.eventfd_write(self._event, 1)
        self._data.put(None)

    def feed(self, message: Message) -> None:
        self._data.put(message)


Handler = Callable[[Args, Emit, Stop], Any]


def serve(channel: Channel, handlers: Mapping[str, Handler]) -> None:
    """Serve one session: answer its hello, then one call after another until the controller is gone."""
    hello = channel.await_hello()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    channel.hello(hello["session"], pid=os.getpid(), release=os.uname().release, boot_id=boot_id)
    calls: queue.SimpleQueue[tuple[Message, Stop] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, calls), daemon=True).start()
    while (call := calls.get()) is not None:
        message, stop = call
        _answer(channel, message, stop, handlers)


def _listen(channel: Channel, calls: queue.SimpleQueue[tuple[Message, Stop] | None]) -> None:
    """Deal what the controller sends: calls to the server, all else to the call that runs."""
    stop = Stop()
    try:
        while True:
            message = channel.receive()
            if "call" in message:
                stop = Stop()
                calls.put((message, stop))
            elif "interrupt" in message:
                stop.request(int(message["interrupt"]))
            else:
                stop.feed(message)
    except LineClosed:
        stop.request(1)
        calls.put(None)


def _answer(channel: Channel, call: Message, stop: Stop, handlers: Mapping[str, Handler]) -> None:
    done = threading.Event()
    threading.Thread(target=_beat, args=(channel, done), daemon=True).start()
    try:
        answer = {"result": _run(call, handlers, lambda event: _say(channel, {"event": event}), stop)}
    except BaseException as error:  # the controller must hear of every end, SystemExit included
        answer = {"error": pack_error(error)}
    done.set()
    _say(channel, answer)


def _run(call: Message, handlers: Mapping[str, Handler], emit: Emit, stop: Stop) -> Any:
    name = call["call"]
    if name not in handlers:
        raise UsageError(f"the node does not know {name!r}", hint="use the same nvlab on both sides")
    return handlers[name](call.get("args", {}), emit, stop)


def _beat(channel: Channel, done: threading.Event) -> None:
    import time

    while not done.wait(BEAT):
        _say(channel, {"beat": time.monotonic()})


def _say(channel: Channel, message: Message) -> None:
    """Send, if anybody listens: a handler goes on without its controller, to undo what it has made."""
    with contextlib.suppress(LineClosed):
        channel.send(message)


def main() -> None:
    """Serve one session over stdin and stdout; whatever else is printed goes to stderr."""
    if sys.argv[1:] != ["--stdio"]:
        raise SystemExit("usage: python -m nvlab.nodes.agent --stdio")
    from nvlab.host.read import PATH
    from nvlab.nodes.handlers import HANDLERS

    os.environ.update(PATH=PATH, LC_ALL="C.UTF-8")  # whatever sudo and ssh have left of it
    channel = Channel(os.dup(0), os.dup(1))
    os.dup2(2, 1)
    serve(channel, HANDLERS)


if __name__ == "__main__":
    main()
