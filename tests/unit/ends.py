# SPDX-License-Identifier: GPL-2.0-or-later
"""Both ends of the line between controller and node, real, in one process."""

from __future__ import annotations

import socket
import threading
import time

from nvlab.nodes import agent
from nvlab.nodes.channel import Channel
from nvlab.nodes.session import Session


def line():
    ours, theirs = socket.socketpair()
    fds = ours.detach(), theirs.detach()
    return Channel(fds[0], fds[0]), Channel(fds[1], fds[1])


class Node:
    """An agent in a thread, and a session with it."""

    def __init__(self, handlers, silence=5.0):
        self.here, self.there = line()
        self.thread = threading.Thread(target=agent.serve, args=(self.there, handlers), daemon=True)
        self.thread.start()
        self.session = Session(self.here, silence=silence)

    def __enter__(self):
        return self.session.open(time.monotonic() + 5)

    def __exit__(self, *_):
        self.session.close()
        self.thread.join(30)
        assert not self.thread.is_alive(), "the agent did not notice the end of its session"
        self.there.close()
