# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces: one system call made in another one than this process's."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h


def inside(path: str, act: Callable[[], object]) -> None:
    """Do ``act`` in the network namespace that is mounted at ``path``.

    In a thread of its own, which ends with it: setns(2) moves the calling thread and no other. Unlike ``ip netns exec`` this
    leaves the mounts as they are, so configfs stays where it is. Raises OSError: of ``act``, or ENOENT and EINVAL for ``path``.
    """
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_moved, path, act).result()


def _moved(path: str, act: Callable[[], object]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # os.setns came with Python 3.12
        if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)
    act()
