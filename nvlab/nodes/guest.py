# SPDX-License-Identifier: GPL-2.0-or-later
"""The first process of a guest, once /init (initramfs.py) has made the file systems: serves the controller's ports.

There is no udev cold plug: what a lab makes announces itself, and nobody needs the sound, mouse and ATA drivers of a QEMU.

Each virtio-serial port is relayed to a forked agent per session. A relay, because a port cannot say which of two controllers
sent a byte: a session ends when the host hangs up or another one begins (channel.START), and its agent then sees end of file.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # started with -I -S by the kernel: the controller says where modules are
    import json

    with open(sys.argv[1]) as _file:
        sys.path[:] = json.load(_file)["path"]

import importlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from nvlab.host.read import PATH
from nvlab.nodes.agent import serve
from nvlab.nodes.channel import DIED, START, Channel

PORT_PREFIX = "nvlab."
READY = b'{"ready":true}\n'  # the first words on each port, for who waits for the boot
_UDEVD = "/usr/lib/systemd/systemd-udevd"
_LISTENING = "/run/udev/control"
_READ = 1 << 16
HANG_UP = 0.5  # seconds that a port's end of file lasts before it is one


def await_udevd(timeout: float = 120.0) -> None:
    """Wait until udevd, which /init started, listens: what is made before that is not announced to it."""
    deadline = time.monotonic() + timeout
    while os.path.exists(_UDEVD) and not os.path.exists(_LISTENING):
        if time.monotonic() > deadline:
            print("nvlab: udevd does not listen; going on without it", flush=True)
            return
        time.sleep(0.01)


def find_ports() -> list[str]:
    """Device nodes of the controller's ports, found without udev."""
    ports = []
    for entry in os.scandir("/sys/class/virtio-ports"):
        with suppress(OSError), open(f"{entry.path}/name") as file:
            if file.read().startswith(PORT_PREFIX):
                ports.append(f"/dev/{entry.name}")
    return sorted(ports)


def _forget_names() -> None:
    """Drop cached directory entries: the overlay believes for ever what it once saw of the host's files."""
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2")  # names and inodes


class Port:
    """One virtio-serial port and the agent that serves its current session."""

    def __init__(self, path: str, poll: select.epoll, spawn: Callable[[], tuple[int, int]]) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.poll, self.spawn = poll, spawn
        self.agent = -1
        self.pid = 0
        self.ends: float | None = None  # when the session is over, unless the host shows itself before
        self.to_agent = bytearray()
        self.to_host = bytearray(READY)
        # edge-triggered: without a controller a port is readable (end of file) all the time
        poll.register(self.fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def pump(self) -> None:
        """Move all that can be moved, both ways."""
        while data := self._read():
            self._take(data)
        self._mind_the_end(there=data is None)
        self.push()

    def _mind_the_end(self, there: bool) -> None:
        """End the session once the host is gone for good.

        The kernel learns of hanging up and of dialing through another queue than the one data come on (virtio_console.c): the
        first words of a session may come before the end of the one before it, which must not end the new one.
        """
        if there or not (self.pid or self.to_host):
            self.ends = None
        elif self.ends is None:
            self.ends = time.monotonic() + HANG_UP
        elif time.monotonic() >= self.ends:
            self.end()

    def _read(self) -> bytes | None:
        """What the host sent; empty at end of file, None when there is nothing yet."""
        try:
            return os.read(self.fd, _READ)
        except BlockingIOError:
            return None

    def _take(self, data: bytes) -> None:
        before, start, session = data.rpartition(START)
        if start:
            self.end()
            self.pid, self.agent = self.spawn()
            self.poll.register(self.agent, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        del before  # the end of a session whose controller is gone
        if self.agent >= 0:
            self.to_agent += start + session

    def push(self) -> None:
        """Move what waits between port and agent, as far as both are ready."""
        if self.agent >= 0:
            self._drain(self.agent, self.to_agent)
        while self._drain(self.fd, self.to_host) and (data := self._said()):
            self.to_host += data

    def _said(self) -> bytes:
        """What the agent has to say; empty when that is nothing, or there is no agent."""
        with suppress(OSError):
            return os.read(self.agent, _READ) if self.agent >= 0 else b""
        return b""

    def _drain(self, fd: int, buffer: bytearray) -> bool:
        """Write what ``buffer`` holds; True when it is empty."""
        with suppress(BlockingIOError, BrokenPipeError):
            while buffer:
                del buffer[: os.write(fd, buffer[:_READ])]
        return not buffer

    def close(self) -> None:
        """Leave the port to the relay: what an agent that was just forked does."""
        os.close(self.fd)
        self._hang_up()

    def end(self) -> None:
        """The session is over: its agent sees end of file, and may take its time to undo."""
        self._hang_up()
        self.to_host.clear()
        self.ends = None

    def died(self, status: int) -> None:
        """The agent ended before its session did: its controller hears of it."""
        self.push()
        self.to_host += DIED + b"%d}\n" % (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
        self._hang_up()
        self.push()

    def _hang_up(self) -> None:
        if self.agent >= 0:
            os.close(self.agent)
        self.agent, self.pid = -1, 0
        self.to_agent.clear()


class Relay:
    """All ports of the guest, on one epoll."""

    def __init__(self, paths: list[str]) -> None:
        self.poll = select.epoll()
        self.wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.poll.register(self.wake_read, select.EPOLLIN)
        self.ports = [Port(path, self.poll, self.spawn) for path in paths]
        self.warm = ["nvlab.nodes.handlers"]  # each module's WARM names what to import after it

    def run(self) -> None:
        """Serve for ever."""
        while True:
            ready = self.poll.poll(self._patience())
            if not ready and self.warm:
                self._warm_up(self.warm.pop(0))
            for fd, _ in ready:
                if fd == self.wake_read:
                    self.reap()
            for port in self.ports:
                port.pump()

    def _patience(self) -> float | None:
        """Seconds to wait for something to happen; None for ever."""
        if self.warm:
            return 0
        ends = [port.ends for port in self.ports if port.ends is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _warm_up(self, name: str) -> None:
        """Import, while nobody asks for anything, what agents will need: they inherit it."""
        with suppress(ImportError):
            self.warm += getattr(importlib.import_module(name), "WARM", ())

    def reap(self) -> None:
        """Collect the dead: agents, and whatever lost its parent."""
        with suppress(BlockingIOError):
            os.read(self.wake_read, 4096)
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                for port in self.ports:
                    if port.pid == found[0]:
                        port.died(found[1])

    def spawn(self) -> tuple[int, int]:
        """Fork an agent: its process id and the relay's end of its line."""
        _forget_names()
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_agent(theirs)
        theirs.close()
        ours.setblocking(False)
        return pid, ours.detach()

    def _become_agent(self, line: socket.socket) -> None:
        """The forked child: serve one session, then end without unwinding the relay's stack."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.poll.close()
            for port in self.ports:
                port.close()
            os.setsid()
            from nvlab.nodes.handlers import HANDLERS

            serve(Channel(line.fileno(), os.dup(line.fileno())), HANDLERS)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)


def main() -> None:
    """Serve the guest."""
    os.environ.update(PATH=PATH, HOME="/root", LC_ALL="C.UTF-8")
    relay = Relay(find_ports())
    await_udevd()
    print(f"nvlab: the guest is ready, {time.clock_gettime(time.CLOCK_BOOTTIME):.2f} s after its start", flush=True)
    relay.run()


if __name__ == "__main__":
    main()
