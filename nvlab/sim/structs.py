# SPDX-License-Identifier: GPL-2.0-or-later
"""The core's structures and constants, read from its C header: see ``kmod/core/nvc.h`` for what each field means."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np

from nvlab.sim._core import ffi, lib


def dtype_of(struct: str) -> np.dtype[np.void]:
    """The numpy dtype with the layout of a C structure of unsigned integers, padding included."""
    ctype = ffi.typeof(f"struct {struct}")
    fields = dict(ctype.fields)
    return np.dtype(
        {
            "names": list(fields),
            "formats": [f"u{ffi.sizeof(field.type)}" for field in fields.values()],
            "offsets": [field.offset for field in fields.values()],
            "itemsize": ffi.sizeof(ctype),
        }
    )


COMMAND = dtype_of("nvc_cmd")
RANGE = dtype_of("nvc_range")
DECISION = dtype_of("nvc_decision")
LOST = dtype_of("nvc_lost")

MAX_BLOCKS: int = lib.NVC_MAX_BLOCKS
MAX_RANGES: int = lib.NVC_MAX_RANGES
ALL_NAMESPACES = 0xFFFFFFFF


class Kind(IntEnum):
    """What a device is."""

    NVM = lib.NVC_NVM
    SSD = lib.NVC_SSD
    HDD = lib.NVC_HDD


class Opcode(IntEnum):
    """I/O commands of the NVM command set."""

    FLUSH = lib.NVC_FLUSH
    WRITE = lib.NVC_WRITE
    READ = lib.NVC_READ
    WRITE_ZEROES = lib.NVC_WRITE_ZEROES
    DSM = lib.NVC_DSM


class Flag(IntFlag):
    """What else a command asks for."""

    FUA = lib.NVC_FUA
    DEALLOCATE = lib.NVC_DEALLOCATE


class Status(IntEnum):
    """Status field of a completion, Do Not Retry included, phase bit not."""

    SUCCESS = lib.NVC_SC_SUCCESS
    INVALID_OPCODE = lib.NVC_SC_INVALID_OPCODE
    INVALID_FIELD = lib.NVC_SC_INVALID_FIELD
    INVALID_NAMESPACE = lib.NVC_SC_INVALID_NS
    LBA_OUT_OF_RANGE = lib.NVC_SC_LBA_RANGE
    READ_ONLY = lib.NVC_SC_READ_ONLY


class Data(IntEnum):
    """What is done with the data of a command."""

    NONE = lib.NVC_DATA_NONE
    COPY = lib.NVC_DATA_COPY
    ZERO = lib.NVC_DATA_ZERO
    MIXED = lib.NVC_DATA_MIXED
