# SPDX-License-Identifier: GPL-2.0-or-later
"""What to do next when the kernel or a program refuses: the action for an errno or an exit code."""

from __future__ import annotations

import errno

from nvlab.errors import NvlabError
from nvlab.kernel.interface import CommandFailed

_ERRNO = {
    errno.EPERM: "nvlab must be root on this node, or run in a VM (the default)",
    errno.EACCES: "nvlab must be root on this node, or run in a VM (the default)",
    errno.ENOENT: "a module, or a newer kernel, may be missing: another one can be named with --kernel",
    errno.EBUSY: "something uses it: lsblk and mount show what stands on a device",
    errno.ENOSPC: "free some space on the node, then try again",
    errno.ENOMEM: "the node has too little memory: make the lab smaller, or give the guest more",
    errno.EADDRINUSE: "another program listens there (ss -ltnp shows it); choose another port in listen =",
    errno.EADDRNOTAVAIL: "the node does not have that address (ip addr shows those it has); change listen =",
    errno.ECONNREFUSED: "nothing listens there: is the export up, and is its address the one that the initiator sees?",
    errno.EALREADY: "this host is connected to the export already: nvme list-subsys shows it",
    errno.EXDEV: "every CPU for the queues is isolated: set queues = to no more than the other CPUs",
}
_DEFAULT = "nvlab plan shows what the step does; dmesg on the node may say more"


def for_errno(number: int | None) -> str:
    """The action for an errno."""
    return _ERRNO.get(number or 0, _DEFAULT)


def for_error(error: NvlabError) -> str:
    """The action for an error that brought none along."""
    if isinstance(error, CommandFailed) and error.completed.code == 127:
        return "install it: setup/packages.txt lists the packages that nvlab needs"
    return _DEFAULT
