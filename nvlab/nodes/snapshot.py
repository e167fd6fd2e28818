# SPDX-License-Identifier: GPL-2.0-or-later
"""The node's end of ``nvlab snapshot``: what a virtual device holds, of one moment.

While somebody reads it the device's commands wait (kmod/README.md), and a line to the controller takes minutes for what memory
takes a second for. So it is copied into memory first, but for what is all zeros, and sent when the device has gone on.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nvlab.errors import Conflict, EnvironmentNotReady, StepFailed
from nvlab.nodes.agent import Args, Emit, Handler, Stop
from nvlab.nodes.channel import CHUNK, pack_data
from nvlab.units import human_size

PIECE = 1 << 20  # bytes of a read
GRAIN = 1 << 16  # what is all zeros of so many bytes is left out
SPARE = 256 << 20  # bytes of memory that are left to the node
_ZEROS = bytes(GRAIN)


def snapshot(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Send the file ``path``, which must be read at once: events {"size", "kept"}, then {"at", "data"} of what is not zeros.

    Result: {"size", "sha256" of places and data as they were sent, "seconds" that it took to read}. With ``header``, how long a
    ``struct nvc_snapshot`` is, only that and the core's image behind it are sent, without the content of blocks.
    """
    memory = os.memfd_create("nvlab-snapshot", os.MFD_CLOEXEC)
    try:
        began = time.monotonic()
        size, kept = _read(Path(args["path"]), memory, stop, args.get("header", 0))
        seconds = time.monotonic() - began
        emit({"size": size, "kept": kept})
        return {"size": size, "sha256": _send(memory, emit, stop), "seconds": seconds}
    finally:
        os.close(memory)


def _read(path: Path, memory: int, stop: Stop, header: int) -> tuple[int, int]:
    """Copy the file; its size, and the bytes that were kept of it."""
    try:
        with path.open("rb", buffering=0) as file:
            return _copy(file, memory, stop, _image_end(file, header) if header else None)
    except FileNotFoundError:
        raise Conflict("the device is not there any more", hint="nvlab status shows what stands") from None
    except OSError as error:
        raise _problem(error) from error


def _image_end(file: Any, header: int) -> int:
    """Where the image ends that a header, whose third number is the image's size, begins."""
    return header + int.from_bytes(os.pread(file.fileno(), header, 0)[16:24], "little")


def _copy(file: Any, memory: int, stop: Stop, end: int | None) -> tuple[int, int]:
    piece = bytearray(PIECE)
    at = kept = 0
    room = _free() - SPARE
    while count := file.readinto(memoryview(piece)[: None if end is None else min(PIECE, end - at)]):
        stop.check()
        for start in range(0, count, GRAIN):
            grain = piece[start : min(start + GRAIN, count)]  # a copy: views are compared byte by byte, a thousand times slower
            if grain != _ZEROS[: len(grain)]:
                os.pwrite(memory, grain, at + start)
                kept += len(grain)
        if kept > room:
            raise EnvironmentNotReady(
                f"the device holds more than {human_size(max(room, 0))}, and the node has no more memory to copy it to",
                hint="take down another lab in this guest, or give the lab a guest of its own (--guest NAME)",
            )
        at += count
    os.ftruncate(memory, at)
    return at, kept


def _free() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def _problem(error: OSError) -> Exception:
    """What the module's refusals mean; errno values are kmod/state_file.c's."""
    if error.errno == errno.EBUSY:
        return Conflict("somebody else copies the device, or its power goes on or off", hint="try again")
    if error.errno == errno.ESTALE:
        return StepFailed(
            "the device changed while it was copied: its commands wait for 20 s at most, and resets do not",
            hint="stop its load and try again: nothing hurries then; the device is as it was",
        )
    return StepFailed(f"the device cannot be read: {error.strerror}")


def _send(memory: int, emit: Emit, stop: Stop) -> str:
    digest = hashlib.sha256()
    for at, data in _stretches(memory):
        stop.check()
        digest.update(at.to_bytes(8, "little"))
        digest.update(data)
        emit({"at": at, "data": pack_data(data)})
    return digest.hexdigest()


def _stretches(memory: int) -> Iterator[tuple[int, bytes]]:
    """Where the file holds data, and what, in pieces that fit a message."""
    size, at = os.fstat(memory).st_size, 0
    while at < size:
        try:
            start = os.lseek(memory, at, os.SEEK_DATA)
        except OSError:  # ENXIO: the rest is a hole
            return
        at = os.lseek(memory, start, os.SEEK_HOLE)
        for place in range(start, at, CHUNK):
            yield place, os.pread(memory, min(CHUNK, at - place), place)


HANDLERS: dict[str, Handler] = {"snapshot": snapshot}
