# SPDX-License-Identifier: GPL-2.0-or-later
"""The primitives a step is made of, as data.

A verb says *what* is done as a list of these; :mod:`nvlab.plan` prints them, the engine performs them one by one through
a :class:`~nvlab.kernel.interface.Kernel`. So what ``nvlab plan`` shows is what happens, and the fake kernel can crash before,
during and after any of them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_DEADLINE = 60.0  # seconds; a slow emulated guest needs some for a plain mdadm call
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def quote(text: str) -> str:
    """A word of bash: literal, but that ``${LOG_DEV}`` (what an earlier step made) stays a variable."""
    if not _VARIABLE.search(text):
        return shlex.quote(text)
    literal = re.sub(r'([`"\\]|\$(?!\{\w+\}))', r"\\\1", text)
    return '"' + re.sub(r"\$\{(\w+)\}(?!\w)", r"$\1", literal) + '"'


def _print(text: str) -> str:
    """The command that prints exactly ``text``."""
    return f"printf '%s\\n' {quote(text[:-1])}" if text.endswith("\n") else f"printf %s {quote(text)}"


@dataclass(frozen=True)
class Run:
    """Run a program, without a shell and with stdin closed (mdadm must never ask).

    ``ok`` are the exit codes that mean success, ``again`` those that mean busy: it is run again until the deadline.
    """

    argv: tuple[str, ...]
    ok: tuple[int, ...] = (0,)
    again: tuple[int, ...] = ()
    deadline: float = DEFAULT_DEADLINE

    def shell(self) -> str:
        return " ".join(map(quote, self.argv))


@dataclass(frozen=True)
class Write:
    """One write(2) of ``text`` to an attribute of sysfs, configfs or procfs.

    ``missing_ok``: a vanished file is success (undo). ``watched``: the write can block unkillably in the kernel (a nvmet
    namespace whose device hangs), so it runs in a child that is given up after ``deadline`` seconds.
    """

    path: str
    text: str
    missing_ok: bool = False
    watched: bool = False
    deadline: float = DEFAULT_DEADLINE

    def shell(self) -> str:
        command = f"{_print(self.text)} > {quote(self.path)}"
        return f"[ ! -e {quote(self.path)} ] || {command}" if self.missing_ok else command


@dataclass(frozen=True)
class Transact:
    """Write a request to a device node and read its answer through the same open file (``/dev/nvme-fabrics``)."""

    path: str
    text: str
    deadline: float = DEFAULT_DEADLINE

    def shell(self) -> str:
        path = quote(self.path)
        return f"exec 9<> {path}; {_print(self.text)} >&9; read -r _ <&9; exec 9>&-"


@dataclass(frozen=True)
class MakeDir:
    """mkdir(2). In configfs this makes a kernel object, so an existing directory is an error unless ``exist_ok``."""

    path: str
    exist_ok: bool = False

    def shell(self) -> str:
        return f"mkdir {'-p ' if self.exist_ok else ''}{quote(self.path)}"


@dataclass(frozen=True)
class RemoveDir:
    """rmdir(2); absent is success, and with ``only_empty`` so is one that somebody put something into."""

    path: str
    only_empty: bool = False

    def shell(self) -> str:
        path = quote(self.path)
        return f"[ ! -d {path} ] || rmdir {'--ignore-fail-on-non-empty ' if self.only_empty else ''}{path}"


@dataclass(frozen=True)
class Link:
    """symlink(2) with an absolute target: configfs resolves a relative one against the caller's directory.

    ``netns``: the file of the network namespace that it is made in. Only the kernel's own links care (nvmet, below configfs).
    """

    path: str
    target: str
    netns: str = ""

    def shell(self) -> str:
        there = f"nsenter {quote(f'--net={self.netns}')} " if self.netns else ""
        return f"{there}ln -s {quote(self.target)} {quote(self.path)}"


@dataclass(frozen=True)
class Remove:
    """unlink(2) of a symlink or of a file that nvlab made; absent is success."""

    path: str

    def shell(self) -> str:
        return f"rm -f {quote(self.path)}"


@dataclass(frozen=True)
class MakeFile:
    """Create a file of ``size`` bytes (sparse), or with ``text``; an existing one is an error (never truncate)."""

    path: str
    size: int = 0
    text: str = ""

    def shell(self) -> str:
        path = quote(self.path)
        if self.text:
            return f"(set -C; {_print(self.text)} > {path})"
        return f"(set -C; : > {path}); truncate -s {self.size} {path}"


@dataclass(frozen=True)
class Await:
    """Wait until a condition on files holds, or fail naming ``what``.

    ``exists``: paths that must be there; ``absent``: paths that must not; ``equals``: path -> exact (stripped) content;
    ``block``: paths of device nodes that must be block devices. A wait for progress (resync) names the file to
    show as ``progress`` ("done / total" as MD's ``sync_completed`` prints it).
    """

    what: str
    exists: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    equals: Mapping[str, str] = field(default_factory=dict)
    block: tuple[str, ...] = ()
    progress: str = ""
    deadline: float = DEFAULT_DEADLINE

    def shell(self) -> str:
        tests = [f"[ -e {quote(p)} ]" for p in self.exists]
        tests += [f"[ ! -e {quote(p)} ]" for p in self.absent]
        tests += [f"[ -b {quote(p)} ]" for p in self.block]
        tests += [f'[ "$(cat {quote(p)})" = {quote(v)} ]' for p, v in self.equals.items()]
        condition = " && ".join(tests) or "true"
        return f"SECONDS=0; until {condition}; do sleep 0.1; ((SECONDS < {self.deadline:.0f})); done"


@dataclass(frozen=True)
class Unload:
    """Remove modules, each as soon as nothing uses it; absent is success. Fails when one stays busy until the deadline.

    The kernel drops some references late (a controller's release work), so a first "in use" is not the last word.
    ``leave_used``: what is still used then has found another user (a module that serves many), and stays.
    """

    names: tuple[str, ...]
    deadline: float = 60.0
    leave_used: bool = False

    def shell(self) -> str:
        return f"rmmod {shlex.join(self.names)}{' || true' if self.leave_used else ''}"


@dataclass(frozen=True)
class Unheld:
    """Go on only once nothing stands on a block device: nobody mounts, holds or claims it; absent is success.

    Many drivers (null_blk, rapiddisk, a PCI device's) pull a disk away from under whoever uses it.
    """

    path: str
    deadline: float = 60.0

    def shell(self) -> str:
        path = quote(self.path)
        return f"[ ! -e {path} ] || python3 -c 'import os, sys; os.open(sys.argv[1], os.O_EXCL)' {path}"


Op = Run | Write | Transact | MakeDir | RemoveDir | Link | Remove | MakeFile | Await | Unload | Unheld
