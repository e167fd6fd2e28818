# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine as a node: the agent is a child of ours, with a socket between us."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from nvlab.errors import EnvironmentNotReady, NvlabError
from nvlab.nodes.agent import START
from nvlab.nodes.channel import AgentDied, Channel
from nvlab.nodes.hostnode import CONNECT, HostNode
from nvlab.nodes.initramfs import PACKAGE
from nvlab.nodes.session import Session

_END = 5.0  # seconds for the agent to end after its session; one that still undoes something takes its time without us


class Local(HostNode):
    """The machine that nvlab runs on."""

    name = "local"
    where = "on this machine"

    def known(self) -> dict[str, Any]:
        return {"node": "local"}

    def dial(self) -> Session:
        """A session with an agent of our own. It is in a session of its own: Ctrl-C is for us, who tell it what to do."""
        if os.geteuid() != 0:
            raise EnvironmentNotReady(
                "labs on this machine itself need root: they load modules and make block devices",
                hint="sudo nvlab …; without --on local a lab lives in a virtual machine, which needs none",
            )
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-I", "-c", START, str(PACKAGE.parent), "--stdio"]
        with theirs:
            line = theirs.fileno()
            agent = subprocess.Popen(argv, stdin=line, stdout=line, cwd="/", start_new_session=True)
        fd = ours.detach()
        session = Session(Channel(fd, fd), lost=_lost, held=lambda: _ended(agent))
        try:
            return session.open(time.monotonic() + CONNECT)
        except BaseException:
            session.close()
            raise


def _ended(agent: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        agent.wait(_END)


def _lost(what: str) -> NvlabError:
    return AgentDied(f"nvlab's process for this machine: {what}", hint="nvlab down LAB removes what it had made")
