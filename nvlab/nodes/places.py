# SPDX-License-Identifier: GPL-2.0-or-later
"""Which node is meant: by ``--on`` of the command line, or by a lab's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvlab.errors import UsageError
from nvlab.nodes.guestnode import GuestNode
from nvlab.nodes.local import Local
from nvlab.nodes.node import Node
from nvlab.nodes.ssh import Ssh

DEFAULT_GUEST = "default"


def chosen(on: str = "", guest: str = DEFAULT_GUEST, kernel: str | None = None, cpus: int = 4) -> Node:
    """The node that ``--on`` names: "local", "vm", "vm:NAME", "ssh:HOST"; a guest called ``guest`` without it.

    ``kernel`` and ``cpus`` are of a guest that is started. Raises UsageError for what is no place.
    """
    place, _, name = on.partition(":")
    if place == "local" and not name:
        return Local()
    if place == "ssh":
        return Ssh(name)
    if place != "vm" and on:
        raise UsageError(
            f"--on {on} is no place for a lab",
            hint="--on local is this machine itself, --on vm or vm:NAME a virtual machine, --on ssh:HOST another machine",
        )
    if name and guest not in (name, DEFAULT_GUEST):
        raise UsageError(f"--on {on} and --guest {guest} name two guests", hint="leave one of them out")
    return GuestNode(name or guest, kernel, cpus)


def recorded(known: Mapping[str, Any]) -> Node:
    """The node of a lab, from the lab's record."""
    match known["node"]:
        case "local":
            return Local()
        case "ssh":
            return Ssh(known["host"])
    return GuestNode(known["guest"])
