# SPDX-License-Identifier: GPL-2.0-or-later
"""Samplers: at each tick, the counters of every watched thing as the kernel prints them. Stdlib only; interprets nothing."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from nvlab.kernel.kmsg import Kmsg
from nvlab.record.dmstatus import DmStatus

_BLOCK_FILES = ("stat", "inflight")
_MD_FILES = (
    "array_state",
    "degraded",
    "sync_action",
    "sync_completed",
    "consistency_policy",
    "journal_mode",
    "stripe_cache_size",
    "stripe_cache_active",
    "mismatch_cnt",
)
_NET_FILES = tuple(f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "dropped"))


@dataclass(frozen=True)
class Watch:
    """A thing to sample: the layer it belongs to ("pool.2"), its kind, its name in the kernel ("nullb2", "md0", "nvlab-a-w")."""

    layer: str
    kind: Literal["block", "md", "dm", "net"]
    name: str


class Source(Protocol):
    """What can be read again and again."""

    def read(self) -> dict[str, str]: ...

    def close(self) -> None: ...


class SysfsFiles:
    """Files of one sysfs directory, held open: a read is one system call. Files that do not exist are left out."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self._fds: dict[str, int] = {}
        for name in names:
            try:
                self._fds[name] = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue

    def read(self) -> dict[str, str]:
        return {name: os.pread(fd, 4096, 0).decode().strip() for name, fd in self._fds.items()}

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)


class DmSource:
    """A mapped device's status text."""

    def __init__(self, name: str) -> None:
        self._status = DmStatus(name)

    def read(self) -> dict[str, str]:
        return {"status": self._status.read()}

    def close(self) -> None:
        self._status.close()


def open_source(watch: Watch) -> Source:
    """The source of a watch. Raises OSError when it cannot be watched."""
    directory = Path("/sys/class/net" if watch.kind == "net" else "/sys/class/block", watch.name)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} does not exist")
    if watch.kind == "net":
        return SysfsFiles(directory / "statistics", _NET_FILES)
    if watch.kind == "dm":
        return DmSource((directory / "dm/name").read_text().strip())
    return SysfsFiles(directory / "md", _MD_FILES) if watch.kind == "md" else SysfsFiles(directory, _BLOCK_FILES)


Note = Callable[[str, dict[str, Any]], None]


class Sampler:
    """Samples in a thread of its own from :meth:`start` to :meth:`stop`, once at either end and every ``interval`` s between.

    ``note(kind, data)`` is told what the kernel logs meanwhile, and of a thing that can no longer be read.
    """

    def __init__(self, path: Path, watches: Sequence[Watch], interval: float, note: Note) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._interval = interval
        self._note = note
        self._watches = tuple(watches)
        self._kmsg = Kmsg()
        self._sources: dict[int, Source] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        for index in range(len(self._watches)):
            self._open(index)

    def _open(self, index: int) -> None:
        try:
            self._sources[index] = open_source(self._watches[index])
        except OSError as error:
            self._give_up("unwatched", index, error)

    def _give_up(self, kind: str, index: int, error: OSError) -> None:
        watch = self._watches[index]
        self._note(kind, {"layer": watch.layer, "name": watch.name, "error": str(error)})

    def start(self) -> None:
        self._tick()
        self._thread.start()

    def stop(self, deadline: float = 5.0) -> bool:
        """End the thread. False when it still hangs in the kernel after ``deadline`` seconds."""
        self._ended.set()
        self._thread.join(deadline)
        if self._thread.is_alive():
            return False
        for source in self._sources.values():
            source.close()
        self._file.close()
        return True

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            due = max(due + self._interval, time.monotonic())
            self._ended.wait(due - time.monotonic())
            self._tick()

    def _tick(self) -> None:
        for index, source in list(self._sources.items()):
            started = time.monotonic_ns()
            try:
                values = source.read()
            except OSError as error:
                self._give_up("lost", index, error)
                del self._sources[index]
                continue
            self._file.write(json.dumps({"t": started, "w": index, "v": values}) + "\n")
        for line in self._kmsg.new():
            self._note("kmsg", {"text": line})
