# SPDX-License-Identifier: GPL-2.0-or-later
"""What labs on one node share (modules, the configfs mount, nvmet ports): who uses it, and whether nvlab made it.

One file under one lock. A key that stood before nvlab came is used but never owned; an owned key goes with its last user.
Of what another boot wrote here only files and directories ("path:…") still mean anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nvlab.files import remove_unfinished, replace_file
from nvlab.lock import locked


@dataclass
class Lease:
    """One shared object. ``users`` are "LAB/step-id"; ``owned``: nvlab made it and will remove it.

    A ``companion`` came along with others unasked, so whoever uses those uses it.
    """

    owned: bool
    users: list[str] = field(default_factory=list)
    companion: bool = False


class Leases:
    """The node's table of leases, valid while its lock is held (:meth:`locked`)."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self.path, self.boot_id = path, boot_id
        self.table: dict[str, Lease] = {}

    @contextmanager
    def locked(self) -> Iterator[Leases]:
        """Hold the node-wide lock (it dies with the process) with the table read afresh."""
        with locked(self.path.with_suffix(".lock"), "what labs share", queue=True):
            remove_unfinished(self.path)
            self.table = self._load()
            yield self

    def add(self, key: str, user: str, *, owned: bool, companion: bool = False) -> None:
        """Make ``user`` a user of ``key``. ``owned``: it does not stand yet, or came with our act."""
        lease = self.table.setdefault(key, Lease(owned=owned, companion=companion))
        lease.owned |= owned
        if user not in lease.users:
            lease.users.append(user)

    def sharers(self, keys: Iterable[str]) -> list[str]:
        """All users of any of ``keys``."""
        return list(dict.fromkeys(user for key in keys if key in self.table for user in self.table[key].users))

    def follow(self, keys: Iterable[str], user: str) -> None:
        """Make ``user``, who uses ``keys``, a user of their companions."""
        sharers = set(self.sharers(keys))
        for key, lease in self.table.items():
            if lease.companion and not sharers.isdisjoint(lease.users):
                self.add(key, user, owned=lease.owned)

    def uses(self, user: str) -> bool:
        """Whether ``user`` holds any lease."""
        return any(user in lease.users for lease in self.table.values())

    def last_used_by(self, user: str) -> list[str]:
        """Owned keys that nobody but ``user`` uses, in the order they were made."""
        return [k for k, lease in self.table.items() if lease.owned and lease.users == [user]]

    def drop(self, user: str) -> None:
        """``user`` no longer uses anything; forget keys without users."""
        for lease in self.table.values():
            lease.users = [u for u in lease.users if u != user]
        self.table = {k: lease for k, lease in self.table.items() if lease.users}

    def save(self) -> None:
        """Replace the file atomically."""
        text = json.dumps({"boot_id": self.boot_id, "keys": {k: vars(v) for k, v in self.table.items()}})
        replace_file(self.path, text.encode())

    def _load(self) -> dict[str, Lease]:
        try:
            data = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        same = data["boot_id"] == self.boot_id
        return {k: Lease(**v) for k, v in data["keys"].items() if same or k.startswith("path:")}

