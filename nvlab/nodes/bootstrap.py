# SPDX-License-Identifier: GPL-2.0-or-later
"""The first program on another host: becomes root, has nvlab's files put in a directory of root's own, turns into the agent.

It is sent as text and must run alone, on any Python 3: it imports nothing of nvlab, and says in nvlab's own line format
(channel.py) what it wants. Stdin then carries the archive of parcel.py, if it does, and the session.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tarfile
import tempfile
from typing import NoReturn

OLDEST = (3, 11)
SESSION = "bootstrap"


def main(base: str, digest: str, agent: str, owner: int = 0) -> None:
    """Become the agent (``agent`` is its program text) in ``base``/``digest``, which belongs to ``owner``."""
    if sys.version_info < OLDEST:
        fail(f"its python3 is {sys.version.split()[0]}", "nvlab needs Python 3.11 there, as python3")
    if os.geteuid() != owner:
        become_root()
    home = settle(base, digest, owner)
    os.execv(sys.executable, [sys.executable, "-I", "-c", agent, home, "--stdio"])


def become_root() -> None:
    """Begin again by sudo, which must not ask: stdin is the line, and there is no terminal."""
    source = globals().get("source")
    sudo = shutil.which("sudo")
    if source is None or sudo is None:
        fail("nvlab is not root there", "log in as root (User root in ~/.ssh/config), or let sudo there ask for no password")
    os.execv(sudo, [sudo, "-n", "--", sys.executable, "-I", "-c", source])


def say(**facts: object) -> None:
    """A hello of channel.py, with what the other end must know."""
    line = json.dumps({"hello": {"nvlab": 1, "session": SESSION, **facts}})
    os.write(1, b"\0" + line.encode() + b"\n")


def fail(error: str, hint: str) -> NoReturn:
    """Say why there will be no agent."""
    say(error=error, hint=hint)
    sys.exit(1)


def settle(base: str, digest: str, owner: int) -> str:
    """The directory with nvlab's files, sent for if it is not there; those of other versions that nobody runs go.

    Its lock, shared, is held by the agent as long as it lives.
    """
    os.makedirs(base, mode=0o700, exist_ok=True)
    there = os.lstat(base)
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != owner or there.st_mode & 0o022:
        fail(f"{base} is not root's alone", f"look at what is in it; then: rm -r {base}")
    home = os.path.join(base, digest)
    door = locked(base, fcntl.LOCK_EX)
    have = os.path.isdir(home)
    say(have=have)
    if not have:
        unpack(receive(digest), base, home)
    os.set_inheritable(locked(home, fcntl.LOCK_SH), True)
    for name in os.listdir(base):
        if name != digest:
            prune(os.path.join(base, name))
    os.close(door)
    return home


def locked(path: str, how: int) -> int:
    """A descriptor of a directory, with its lock."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(directory, how)
    return directory


def receive(digest: str) -> bytes:
    """The archive: 8 bytes of its length, and itself."""
    data = read(int.from_bytes(read(8), "big"))
    if hashlib.sha256(data).hexdigest() != digest:
        fail("what came of nvlab is not what was sent", "try again")
    return data


def read(size: int) -> bytes:
    """So many bytes of stdin, and not one more: the session comes after them."""
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            sys.exit(1)
        data += part
    return data


def unpack(data: bytes, base: str, home: str) -> None:
    """Unpack under another name first: nobody finds half of it."""
    new = tempfile.mkdtemp(dir=base)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(new)
    os.rename(new, home)


def prune(path: str) -> None:
    """Remove another version, or what is left of half a one, unless an agent runs of it."""
    try:
        other = locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    shutil.rmtree(path, ignore_errors=True)
    os.close(other)
