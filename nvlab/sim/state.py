# SPDX-License-Identifier: GPL-2.0-or-later
"""What a drive holds, as a file: the header and the image of the core and, of a live drive's, from the next multiple of 4 KiB on
the content of its blocks. The simulator has no content: it reads and writes the rest."""

from __future__ import annotations

from pathlib import Path

from nvlab.sim._core import ffi
from nvlab.sim.device import header_of

HEADER = ffi.sizeof("struct nvc_snapshot")  # bytes
_PAGE = 4096  # kmod/state_file.c


def read_state(path: Path) -> bytes:
    """Header and image of a file, for :meth:`Device.load`. Raises OSError, and ValueError where its length is none of a state."""
    with path.open("rb") as file:
        start = file.read(HEADER)
        header = header_of(start)
        whole = len(start) + int(header.size)
        content = int(header.config.blocks) << min(int(header.config.block_shift), 64)
        if len(start) < HEADER or path.stat().st_size not in (whole, -(-whole // _PAGE) * _PAGE + content):
            raise ValueError("it is no state of a device, or not all of one")
        return start + file.read(int(header.size))


def describe(path: Path) -> dict[str, str]:
    """What tells a file from others, for the record: {"path", "checksum"}. Raises as :func:`read_state`."""
    return {"path": str(path), "checksum": f"{checksum(read_state(path)):#018x}"}


def checksum(state: bytes) -> int:
    """What its header says that the image's checksum is: tells states apart."""
    return int(header_of(state).checksum)
