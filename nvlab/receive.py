# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller's end of what a node reads of a virtual device at once, and sends."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

from nvlab.errors import NvlabError
from nvlab.nodes.channel import unpack_data
from nvlab.nodes.session import Session


def receive(
    session: Session, node: str, fd: int, progress: Callable[[float], None], **only: Any
) -> dict[str, Any]:
    """Have a node read a file at once, or what of it ``only`` says, and write it to ``fd``; see
    :func:`nvlab.nodes.snapshot.snapshot`. The result: {"size", "kept", "seconds"}.

    Raises what the node does, and NvlabError when what came is not what was sent.
    """
    said: dict[str, Any] = {}
    digest, done, shown = hashlib.sha256(), 0, 0.0

    def take(event: dict[str, Any]) -> None:
        nonlocal done, shown
        if "data" not in event:
            said.update(event)
            return
        data = unpack_data(event["data"])
        digest.update(int(event["at"]).to_bytes(8, "little"))
        digest.update(data)
        os.pwrite(fd, data, event["at"])
        done += len(data)
        if done >= shown + said["kept"] / 200:  # a bar has no finer steps
            progress(done / said["kept"])
            shown = done

    result = session.call("snapshot", {"path": node, **only}, take)
    os.ftruncate(fd, result["size"])
    if digest.hexdigest() != result["sha256"]:
        raise NvlabError("what came is not what the node sent", hint="try again; nothing was written")
    return said | {"seconds": result["seconds"]}
