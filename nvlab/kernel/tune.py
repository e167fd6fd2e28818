# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of a machine that bend what is measured on it: changed for labs, and put back after the last of them.

``wanted`` says what to make of what ({"/sys/class/net/lo/mtu": "65536"}); ``was``, read on the node before the intent is written
down, what it has been. Labs share a setting: one that finds it changed by another takes over what that one has found. It is put
back only where it still is what nvlab made of it, and it went with the boot if that is another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from nvlab.errors import Conflict, EnvironmentNotReady
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Op, Run, Write
from nvlab.kernel.verb import Args, Made, SharedVerb
from nvlab.units import human_size

GONE = ""  # what is not there any more
OFF = "off"
STOPPED, RUNNING = "stopped", "running"
_SWAPOFF = 900.0  # seconds to read back what is out: disks may be slow
_SERVICE = 120.0  # seconds; systemd itself gives a service 90 to stop


class _Tuned(SharedVerb):
    """``wanted``: what -> value; ``was`` is added on the node."""

    contested = True
    carries = False
    deadline = 10.0

    def said(self, value: str) -> str:
        """A value in words."""
        return value

    def now(self, kernel: Kernel, what: str) -> str:
        """What it is; GONE when it is not there."""
        raise NotImplementedError

    def check(self, kernel: Kernel, what: str) -> None:
        """Raise Conflict or EnvironmentNotReady when it could not be put back, or should not be changed."""

    def choose_beside(self, kernel: Kernel, args: Args, others: Sequence[Args]) -> Args:
        return {**args, "was": {what: self._was(kernel, what, value, others) for what, value in args["wanted"].items()}}

    def _was(self, kernel: Kernel, what: str, value: str, others: Sequence[Args]) -> str:
        if using := [other for other in others if what in other["wanted"]]:
            if any(other["wanted"][what] != value for other in using):
                raise Conflict(f"another lab has made {using[0]['wanted'][what]} of {what}", hint="take that lab down first")
            return str(using[0]["was"][what])
        now = self.now(kernel, what)
        if now == GONE:
            raise EnvironmentNotReady(f"{what} is not there", hint="has it been taken away just now? try again")
        if now != value:
            self.check(kernel, what)
        return now

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        if any(self.now(kernel, what) != value for what, value in args["wanted"].items()):
            return None
        return {"was": ", ".join(map(self.said, dict.fromkeys(args["was"].values())))}

    def keys(self, args: Args) -> list[str]:
        return [f"{self.name}:{what}" for what in args["wanted"]]

    def has(self, kernel: Kernel, args: Args, key: str) -> bool:
        what = _what(key)
        return self.now(kernel, what) == str(args["wanted"][what])

    def parting(self, kernel: Kernel, args: Args, keys: Sequence[str]) -> list[str]:
        again: dict[str, list[str]] = {}
        left = []
        for what in map(_what, keys):
            now, was = self.now(kernel, what), args["was"][what]
            if now == args["wanted"][what]:
                again.setdefault(was, []).append(what)
            elif now != was:
                left.append(f"{what} is {self.said(now) or 'gone'} by now, which nvlab has not made of it: left alone")
        return [f"{few(whats)}: {self.said(was)} again" for was, whats in again.items()] + left


def _what(key: str) -> str:
    return key.partition(":")[2]


def few(names: Sequence[str]) -> str:
    """Two of the names, and how many more there are."""
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _changes(args: Args) -> Iterator[tuple[str, str]]:
    return ((what, value) for what, value in args["wanted"].items() if args["was"][what] != value)


class Set(_Tuned):
    """Attributes of sysfs that read as they are written."""

    name = "tune.set"

    def now(self, kernel: Kernel, what: str) -> str:
        return kernel.read(what) if kernel.exists(what) else GONE

    def make(self, args: Args) -> Sequence[Op]:
        return [Write(what, value) for what, value in _changes(args)]

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        return [Write(what, args["was"][what], missing_ok=True) for what in map(_what, keys)]


class Swap(_Tuned):
    """Swap files and devices that are to be off; what they were is their priority, below zero where the kernel chose it."""

    name = "tune.swap"

    def said(self, value: str) -> str:
        return value if value in (OFF, GONE) else f"on with priority {value}"

    def now(self, kernel: Kernel, what: str) -> str:
        if not kernel.exists(what):
            return GONE
        return _swaps(kernel).get(what, (OFF, 0))[0]

    def check(self, kernel: Kernel, what: str) -> None:
        header = kernel.query(("blkid", "--probe", "--match-tag", "TYPE", "--output", "value", what))
        if header.out.strip() != "swap":
            raise Conflict(f"{what} could not be switched on again: blkid finds no swap header on it", hint="leave it on")
        used = sum(size for _, size in _swaps(kernel).values())
        free = _available(kernel.read("/proc/meminfo"))
        if used > free:
            raise EnvironmentNotReady(
                f"{human_size(used)} are swapped out, and only {human_size(free)} of memory are free for them",
                hint="end what needs so much memory, then try again",
            )

    def make(self, args: Args) -> Sequence[Op]:
        return [Run(("swapoff", what), deadline=_SWAPOFF) for what in reversed(_by_priority(args, dict(_changes(args))))]

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        return [Run(_swapon(what, args["was"][what])) for what in _by_priority(args, map(_what, keys))]


def _by_priority(args: Args, names: Iterable[str]) -> list[str]:
    """The highest first: where the kernel chooses, each gets one below the last, and those below one that goes move up."""
    return sorted(names, key=lambda what: -int(args["was"][what]))


def _swapon(what: str, priority: str) -> tuple[str, ...]:
    chosen = () if priority.startswith("-") else ("--priority", priority)
    return ("swapon", *chosen, what)


def _swaps(kernel: Kernel) -> dict[str, tuple[str, int]]:
    return parse_swaps(kernel.read("/proc/swaps"))


def parse_swaps(text: str) -> dict[str, tuple[str, int]]:
    """/proc/swaps: {path: (priority, bytes in use)}; odd characters of a path stand there as octal digits (proc(5))."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return {_unescaped(row[0]): (row[4], int(row[3]) << 10) for row in rows}


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)


def _available(meminfo: str) -> int:
    return next(int(line.split()[1]) << 10 for line in meminfo.splitlines() if line.startswith("MemAvailable"))


class Stop(_Tuned):
    """Units of systemd that are to be stopped, in this order."""

    name = "tune.stop"

    def now(self, kernel: Kernel, what: str) -> str:
        state = kernel.query(("systemctl", "is-active", what)).out.strip()
        return RUNNING if state in ("active", "activating", "reloading", "deactivating") else STOPPED

    def make(self, args: Args) -> Sequence[Op]:
        units = tuple(what for what, _ in _changes(args))
        return [Run(("systemctl", "stop", *units), deadline=_SERVICE)] if units else []

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        return [Run(("systemctl", "start", *map(_what, keys)), deadline=_SERVICE)] if keys else []


VERBS = (Set(), Swap(), Stop())
