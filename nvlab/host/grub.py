# SPDX-License-Identifier: GPL-2.0-or-later
"""``nvlab grub``: the boot reservation from plan to proof. It runs where the boot loader is, and imports nothing heavy.

What it does to the host is in a record before it is done, with what was there before. So a kill at any moment leaves something
that :func:`revert` can undo, and nothing is removed that the record does not own.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from nvlab.errors import Conflict, EnvironmentNotReady, StepFailed, TeardownIncomplete
from nvlab.host import bootloader, dropin
from nvlab.host.edge import Host, State
from nvlab.host.machine import Own, read_machine
from nvlab.host.reservation import Request, Reservation, describe, plan
from nvlab.lock import locked

RECORD = "/var/lib/nvlab/grub.json"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass
class Record:
    """What nvlab did to the host.

    ``files``: those it wrote, with a checksum of what; ``before``: files that the distribution's program rewrote, as they were
    (None: not there); ``after``: checksums of what it made of them; ``directories``: those that were made.
    """

    reservation: Reservation
    loader: str
    boot_id: str
    files: dict[str, str] = field(default_factory=dict)
    before: dict[str, State | None] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    complete: bool = False

    def to_json(self) -> dict[str, Any]:
        before = {name: state and _pack(state) for name, state in self.before.items()}
        return vars(self) | {"reservation": self.reservation.to_json(), "before": before}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Record:
        before = {name: state and _unpack(state) for name, state in data["before"].items()}
        return Record(**data | {"reservation": Reservation.from_json(data["reservation"]), "before": before})


def _pack(state: State) -> dict[str, Any]:
    return asdict(state) | {"data": base64.b64encode(state.data).decode()}


def _unpack(data: dict[str, Any]) -> State:
    return State(base64.b64decode(data["data"]), data["mode"], data["owner"] and tuple(data["owner"]))


def load(host: Host) -> Record | None:
    """What is applied, or half applied; None when nothing is."""
    state = host.state(RECORD)
    return Record.from_json(json.loads(state.data)) if state else None


def _save(host: Host, record: Record) -> None:
    host.put(RECORD, State(json.dumps(record.to_json(), indent=1).encode(), 0o600))


# -- plan --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What :func:`apply` will do. ``files``: new content by name, None to remove; ``old``: what is there now."""

    reservation: Reservation
    loader: str
    files: dict[str, str | None]
    old: dict[str, str]

    @property
    def diff(self) -> str:
        """Every file that nvlab writes or removes, as ``diff -u`` shows it."""
        return "".join(_diff(name, self.old.get(name, ""), text or "") for name, text in self.files.items())

    @property
    def by_hand(self) -> str:
        """What is left to the administrator; empty where nvlab does all of it."""
        if self.loader != bootloader.ByHand.name:
            return ""
        line = " ".join(self.reservation.arguments)
        return f"no boot loader is known here: add this to the kernel's command line in the way of yours:\n  {line}\n"

    def describe(self) -> str:
        """All of it for a person."""
        how = f"by       {self.loader}\n" if not self.by_hand else self.by_hand
        return f"{describe(self.reservation)}\n{how}{self.diff}".rstrip()

    def to_json(self) -> dict[str, Any]:
        return {"reservation": self.reservation.to_json(), "loader": self.loader, "files": self.files, "diff": self.diff}


def _diff(name: str, old: str, new: str) -> str:
    sides = (f"a{name}" if old else "/dev/null", f"b{name}" if new else "/dev/null")
    return "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), *sides))


def prepare(host: Host, request: Request) -> Change:
    """Plan for this host; nothing is changed. Raises UsageError, Conflict or EnvironmentNotReady."""
    record = load(host)
    had = record.reservation if record else None
    own = Own(had.region, had.node, had.arguments) if had else None
    machine = read_machine(host, request.modules, own)
    loader = bootloader.find(host)
    chosen = loader.adapt(plan(machine, request), machine)
    old = {name: state.data.decode(errors="replace") for name in _ours(record) if (state := host.state(name))}
    wanted: dict[str, str | None] = {**loader.files(chosen), **dropin.module_files(chosen)}
    for name in wanted:
        _check_ours(host, record, name)
    gone: dict[str, str | None] = {name: None for name in _ours(record) if name not in wanted}
    return Change(chosen, loader.name, wanted | gone, old)


def _ours(record: Record | None) -> list[str]:
    return list(record.files) if record else []


def _check_ours(host: Host, record: Record | None, name: str) -> None:
    """Raises Conflict where somebody else wrote a file, or changed ours."""
    state = host.state(name)
    if state is None or (record and record.files.get(name) == _sum(state)):
        return
    what = "was changed since nvlab wrote it" if record and name in record.files else "was not written by nvlab"
    raise Conflict(f"{name} {what}", hint="move it away, then try again; nothing was touched")


def _sum(state: State | None) -> str:
    return hashlib.sha256(state.data).hexdigest() if state else ""


# -- apply -------------------------------------------------------------------------------------------------------


def apply(host: Host, change: Change) -> bool:
    """Do it; False when it was all done before. An earlier reservation is undone first; on failure nothing is left of either."""
    loader = bootloader.LOADERS[change.loader]
    with _lock(host):
        old = load(host)
        for name in change.files:
            _check_ours(host, old, name)
        if old and _stands(host, old, change):
            return False
        if old:
            _undo(host, old)
        record = _begin(host, loader, change)
        try:
            _act(host, loader, change, record)
        except BaseException:
            _undo(host, record)
            raise
    return True


def _stands(host: Host, old: Record, change: Change) -> bool:
    same = old.complete and old.loader == change.loader and old.reservation == change.reservation
    return same and all(_sum(host.state(name)) == known for name, known in {**old.files, **old.after}.items())


def _begin(host: Host, loader: bootloader.Loader, change: Change) -> Record:
    """Write down what will be done, and what is there now."""
    new = {name: State(text.encode()) for name, text in change.files.items() if text is not None}
    record = Record(
        change.reservation,
        loader.name,
        host.text(BOOT_ID),
        files={name: _sum(state) for name, state in new.items()},
        before={name: host.state(name) for name in loader.rewritten(host)},
        directories=list(dict.fromkeys(directory for name in (RECORD, *new) for directory in host.absent(name))),
    )
    host.make_parents(RECORD)
    _save(host, record)
    return record


def _act(host: Host, loader: bootloader.Loader, change: Change, record: Record) -> None:
    for name in record.files:
        host.make_parents(name)
        host.put(name, State(str(change.files[name]).encode()))
    loader.install(host, change.reservation)
    record.after = {name: _sum(host.state(name)) for name in record.before}
    _save(host, record)
    missing = bootloader.missing(loader, host, change.reservation)
    if missing:
        raise StepFailed(
            f"{loader.name}: {missing[0]!r} has not come into the boot entries; everything is as it was",
            hint="something sets the command line later: look for GRUB_CMDLINE_LINUX_DEFAULT= in /etc/default",
        )
    record.complete = True
    _save(host, record)


# -- revert ------------------------------------------------------------------------------------------------------


def revert(host: Host) -> bool:
    """Put everything back; False when nothing was applied. Raises Conflict before anything is touched, or TeardownIncomplete."""
    with _lock(host):
        record = load(host)
        if record is None:
            return False
        for name in record.files:
            _check_ours(host, record, name)
        _undo(host, record)
    return True


def _undo(host: Host, record: Record) -> None:
    """From any state that a kill may have left; the record goes last."""
    loader = bootloader.LOADERS[record.loader]
    for name in record.files:
        host.put(name, None)
    _restore(host, loader, record)
    still = bootloader.left(loader, host, record.reservation)
    if still:
        raise TeardownIncomplete(
            f"{loader.name}: a boot entry still has {still[0]!r}", hint="take it out there, then nvlab grub revert again"
        )
    own = [name for name in record.directories[::-1] if RECORD.startswith(f"{name}/")]
    for name in [name for name in record.directories[::-1] if name not in own]:
        host.drop_directory(name)
    host.put(RECORD, None)
    for name in own:
        host.drop_directory(name)


def _restore(host: Host, loader: bootloader.Loader, record: Record) -> None:
    """Byte for byte where nobody else has changed a file since; else by the distribution's own program."""
    as_left = {n: s for n, s in record.before.items() if _sum(host.state(n)) in (_sum(s), record.after.get(n))}
    if not set(loader.rewritten(host)) <= as_left.keys():
        loader.uninstall(host, record.reservation)
    for name, state in as_left.items():
        if host.state(name) != state:
            host.put(name, state)


@contextmanager
def _lock(host: Host) -> Iterator[None]:
    try:
        with locked(host.path("/run/nvlab/grub.lock"), "the boot reservation", queue=False):
            yield
    except PermissionError:
        raise EnvironmentNotReady("the boot configuration is root's", hint="run it with sudo") from None
