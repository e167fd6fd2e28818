# SPDX-License-Identifier: GPL-2.0-or-later
"""Another machine as a node: its agent at the far end of the system's OpenSSH, with the user's own configuration, keys, jumps."""

from __future__ import annotations

import inspect
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from nvlab.errors import EnvironmentNotReady, NodeLost, NvlabError, UsageError
from nvlab.nodes import bootstrap
from nvlab.nodes.agent import START
from nvlab.nodes.channel import AgentDied, Channel, LineClosed
from nvlab.nodes.hostnode import CONNECT, HostNode
from nvlab.nodes.parcel import pack
from nvlab.nodes.session import Session

BASE = "/var/lib/nvlab/agent"  # there: nvlab's files, a directory for each version that is in use
OWNER = 0
# What ssh:HOST may be. Nothing that ssh could take for an option, nothing that means something to a shell.
_HOST = re.compile(r"(?:[A-Za-z0-9_][\w.+-]*@)?(?:[A-Za-z0-9_][\w.%:-]*|::[\w.%:-]*)", re.ASCII)
# The shell there, whichever it is, gets one word in single quotes: read the bootstrap up to a NUL byte, and run it.
_COMMAND = (
    "exec python3 -I -c 'import os, sys;"
    ' source = b"".join(iter(lambda: os.read(0, 1) or sys.exit(1), b"\\0")).decode();'
    " exec(source, {\"__name__\": \"bootstrap\", \"source\": source})'"
)
_OPTIONS = (
    *("BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=5", "ServerAliveCountMax=3"),
    *("RemoteCommand=none", "ClearAllForwardings=yes", "ForwardX11=no"),
)
_END = 5.0  # seconds for ssh to end after its session
_TAIL = 5  # lines of what ssh said


def check_host(host: str) -> str:
    """``host`` as ssh will get it: [user@]host, or a name of the user's ssh configuration. Raises UsageError."""
    if not _HOST.fullmatch(host):
        raise UsageError(
            f"{host!r} is no host to reach by ssh",
            hint="--on ssh:HOST takes [user@]host, or a name of ~/.ssh/config; a port and other options belong there",
        )
    return host


def ssh_argv(host: str) -> list[str]:
    """The command that starts the far end; nothing of it asks anything."""
    options = [word for option in _OPTIONS for word in ("-o", option)]
    return ["ssh", "-T", *options, "--", check_host(host), _COMMAND]


class Ssh(HostNode):
    """A machine that ssh reaches."""

    def __init__(self, host: str) -> None:
        self.host = check_host(host)
        self.name, self.where = f"ssh:{host}", f"on {host}"

    def known(self) -> dict[str, Any]:
        return {"node": "ssh", "host": self.host}

    def check(self, states: Mapping[str, Any]) -> None:
        for device in states:
            raise UsageError(
                f"device.{device}.state: a snapshot lies on this machine, and does not go along to {self.host}",
                hint="labs in guests and on this machine itself (--on local) can begin with snapshots",
            )

    def dial(self) -> Session:
        """A session with an agent there; nvlab's files are sent before it, unless they are there."""
        return _Line(self.host).session()


class _Line:
    """One ssh, and what it has said on stderr."""

    def __init__(self, host: str) -> None:
        self.host, self.opened = host, False
        self.said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, closed with the session
        ours, theirs = socket.socketpair()
        with theirs:
            self.ssh = self._start(theirs.fileno(), ours)
        fd = ours.detach()
        self.channel = Channel(fd, fd)

    def _start(self, line: int, ours: socket.socket) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(ssh_argv(self.host), stdin=line, stdout=line, stderr=self.said, start_new_session=True)
        except FileNotFoundError:
            ours.close()
            raise EnvironmentNotReady("ssh is not installed", hint="apt-get install openssh-client") from None

    def session(self) -> Session:
        deadline = time.monotonic() + CONNECT
        session = Session(self.channel, lost=self.lost, held=self._end)
        try:
            self._settle(deadline)
            session.open(deadline)
        except (LineClosed, AgentDied, TimeoutError) as error:
            said = self.lost(f"no answer within {CONNECT:.0f} s" if isinstance(error, TimeoutError) else "")
            session.close()
            raise said from error
        except BaseException:
            session.close()
            raise
        self.opened = True
        return session

    def _settle(self, deadline: float) -> None:
        """Have the far end become an agent; raises EnvironmentNotReady with its reasons when it cannot."""
        digest, parcel = pack()
        call = f"\nmain({BASE!r}, {digest!r}, {START!r}, {OWNER})\n"
        self.channel.pour((inspect.getsource(bootstrap) + call).encode() + b"\0", deadline)
        answer = self.channel.await_hello(bootstrap.SESSION, deadline)
        if "error" in answer:
            raise EnvironmentNotReady(f"{self.host}: {answer['error']}", hint=answer["hint"])
        if not answer["have"]:
            self.channel.pour(len(parcel).to_bytes(8, "big") + parcel, deadline)

    def lost(self, what: str) -> NvlabError:
        """The error for a line that broke, or that never came to be, with ssh's own words."""
        words = "; ".join(filter(None, [what, *self._words()])) or "it hung up"
        if self.opened:
            return NodeLost(
                f"the line to {self.host} broke: {words}",
                hint="what was under way there is being undone; when it can be reached again: nvlab status",
            )
        return EnvironmentNotReady(
            f"{self.host} cannot be reached by ssh: {words}",
            hint=f"`ssh {self.host} sudo -n true` must work without asking anything (as root without sudo), with python3 there",
        )

    def _words(self) -> list[str]:
        with suppress(subprocess.TimeoutExpired):
            self.ssh.wait(1)  # its words may come a moment after the end of the line
        said = os.pread(self.said.fileno(), 1 << 16, 0)  # without moving the place at which ssh writes
        return [line for line in said.decode(errors="replace").splitlines() if line.strip()][-_TAIL:]

    def _end(self) -> None:
        """Wait for ssh, whose agent may still undo something; one that does not end is told to."""
        try:
            self.ssh.wait(_END)
        except subprocess.TimeoutExpired:
            self.ssh.terminate()
        self.said.close()
