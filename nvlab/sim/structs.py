# SPDX-License-Identifier: GPL-2.0-or-later
"""The core's structures and constants, read from its C header: see ``kmod/core/nvc.h`` for what each field means."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

from nvlab.sim._core import ffi, lib


def dtype_of(struct: str) -> np.dtype[np.void]:
    """The numpy dtype with the layout of a C structure of unsigned integers, structures and arrays, padding included."""
    return _dtype_of(ffi.typeof(f"struct {struct}"))


def _dtype_of(ctype: Any) -> np.dtype[Any]:
    if ctype.kind == "array":
        return np.dtype((_dtype_of(ctype.item), (ctype.length,)))
    if ctype.kind != "struct":
        return np.dtype(f"u{ffi.sizeof(ctype)}")
    fields = dict(ctype.fields)
    return np.dtype(
        {
            "names": list(fields),
            "formats": [_dtype_of(field.type) for field in fields.values()],
            "offsets": [field.offset for field in fields.values()],
            "itemsize": ffi.sizeof(ctype),
        }
    )


def fields_of(native: Any, struct: str) -> dict[str, int]:
    """The fields of a C structure of integers, by name."""
    return {name: int(getattr(native, name)) for name, _ in ffi.typeof(f"struct {struct}").fields}


COMMAND = dtype_of("nvc_cmd")
RANGE = dtype_of("nvc_range")
DECISION = dtype_of("nvc_decision")
LOST = dtype_of("nvc_lost")
HANDLE_EVENT = dtype_of("nvc_fdp_event")


def _record_of(struct: str) -> np.dtype[np.void]:
    """The dtype of a trace record: the structure, and every other byte up to the size of all records as a field too.

    numpy need not copy bytes that no field covers, and records of one kind pass through arrays of another's dtype.
    """
    inner = dtype_of(struct)
    assert inner.fields is not None
    fields = {name: (dtype, offset) for name, (dtype, offset, *_) in inner.fields.items()}
    end = 0
    for dtype, offset in [*sorted(fields.values(), key=lambda field: field[1]), (None, int(lib.NVC_TRACE_RECORD))]:
        if offset > end:
            fields[f"unused{end}"] = (np.dtype(f"V{offset - end}"), end)
        end = offset + (dtype.itemsize if dtype else 0)
    return np.dtype(
        {
            "names": list(fields),
            "formats": [dtype for dtype, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": int(lib.NVC_TRACE_RECORD),
        }
    )


TRACE_COMMAND = _record_of("nvc_trace_command")
TRACE_RANGES = _record_of("nvc_trace_ranges")
TRACE_CONFIG = _record_of("nvc_trace_config")
TRACE_TIMING = _record_of("nvc_trace_timing")
TRACE_RULE = _record_of("nvc_trace_rule")
TRACE_NAMESPACE = _record_of("nvc_trace_ns")
TRACE_MODEL = _record_of("nvc_trace_model")
TRACE_STATE = _record_of("nvc_trace_state")
TRACE_NEVER: int = lib.NVC_TRACE_NEVER

MAX_HANDLES: int = lib.NVC_MAX_RUHS
PLACEMENT: int = lib.NVC_DIRECTIVE_PLACEMENT
MAX_BLOCKS: int = lib.NVC_MAX_BLOCKS
MAX_RANGES: int = lib.NVC_MAX_RANGES
MAX_SOURCES: int = lib.NVC_MAX_SOURCES
MAX_NAMESPACES: int = lib.NVC_MAX_NS
MAX_RULES: int = lib.NVC_MAX_RULES
MILLION: int = lib.NVC_MILLION
ANY_OPCODE: int = lib.NVC_ANY_OPCODE
ALL_NAMESPACES = 0xFFFFFFFF


class Kind(IntEnum):
    """What a device is."""

    NVM = lib.NVC_NVM
    SSD = lib.NVC_SSD
    HDD = lib.NVC_HDD
    ZNS = lib.NVC_ZNS
    KV = lib.NVC_KV


class Opcode(IntEnum):
    """I/O commands of the NVM command set."""

    FLUSH = lib.NVC_FLUSH
    WRITE = lib.NVC_WRITE
    READ = lib.NVC_READ
    WRITE_UNCORRECTABLE = lib.NVC_WRITE_UNCOR
    COMPARE = lib.NVC_COMPARE
    WRITE_ZEROES = lib.NVC_WRITE_ZEROES
    DSM = lib.NVC_DSM
    VERIFY = lib.NVC_VERIFY
    COPY = lib.NVC_COPY


class ZoneOpcode(IntEnum):
    """I/O commands that only zoned namespaces have."""

    SEND = lib.NVC_ZONE_SEND
    RECEIVE = lib.NVC_ZONE_RECEIVE
    APPEND = lib.NVC_ZONE_APPEND


class ManagementOpcode(IntEnum):
    """I/O commands of SSDs with reclaim unit handles alone."""

    RECEIVE = lib.NVC_IO_RECEIVE
    SEND = lib.NVC_IO_SEND


WITH_RANGES = (Opcode.DSM, Opcode.COPY, ManagementOpcode.SEND)


class KeyOpcode(IntEnum):
    """I/O commands of key value namespaces; Flush is :attr:`Opcode.FLUSH`."""

    STORE = lib.NVC_KV_STORE
    RETRIEVE = lib.NVC_KV_RETRIEVE
    LIST = lib.NVC_KV_LIST
    DELETE = lib.NVC_KV_DELETE
    EXIST = lib.NVC_KV_EXIST


class HandleEvent(IntEnum):
    """What happened to a reclaim unit handle."""

    NOT_FULL = lib.NVC_FDP_NOT_FULL
    BAD_IDENTIFIER = lib.NVC_FDP_BAD_PID
    MOVED = lib.NVC_FDP_MOVED


class Tell(IntFlag):
    """Which events of a handle are noted."""

    NOT_FULL = lib.NVC_TELL_NOT_FULL
    BAD_IDENTIFIER = lib.NVC_TELL_BAD_PID
    MOVED = lib.NVC_TELL_MOVED


class StoreOption(IntFlag):
    """When a Store does not store: unless the key exists, or if it does."""

    REPLACE = lib.NVC_KV_REPLACE
    ADD = lib.NVC_KV_ADD


class ZoneAction(IntEnum):
    """Actions of Zone Management Send."""

    CLOSE = lib.NVC_ZONE_CLOSE
    FINISH = lib.NVC_ZONE_FINISH
    OPEN = lib.NVC_ZONE_OPEN
    RESET = lib.NVC_ZONE_RESET
    OFFLINE = lib.NVC_ZONE_TAKE_OFFLINE
    SET_EXTENSION = lib.NVC_ZONE_SET_EXTENSION
    FLUSH_ZRWA = lib.NVC_ZONE_FLUSH_ZRWA


class ZoneState(IntEnum):
    """What a zone is in."""

    EMPTY = lib.NVC_ZONE_EMPTY
    IMPLICIT = lib.NVC_ZONE_IMPLICIT
    EXPLICIT = lib.NVC_ZONE_EXPLICIT
    CLOSED = lib.NVC_ZONE_CLOSED
    READ_ONLY = lib.NVC_ZONE_READ_ONLY
    FULL = lib.NVC_ZONE_FULL
    OFFLINE = lib.NVC_ZONE_OFFLINE


class ZoneAttribute(IntFlag):
    """What else a zone has."""

    ZRWA = lib.NVC_ZONE_HAS_ZRWA
    EXTENSION = lib.NVC_ZONE_EXTENDED


class Flag(IntFlag):
    """What else a command asks for."""

    FUA = lib.NVC_FUA
    DEALLOCATE = lib.NVC_DEALLOCATE
    ALL_ZONES = lib.NVC_ALL_ZONES
    ZRWA = lib.NVC_ZRWA
    PARTIAL = lib.NVC_PARTIAL


class Status(IntEnum):
    """Status field of a completion, Do Not Retry included, phase bit not."""

    SUCCESS = lib.NVC_SC_SUCCESS
    INVALID_OPCODE = lib.NVC_SC_INVALID_OPCODE
    INVALID_FIELD = lib.NVC_SC_INVALID_FIELD
    INVALID_NAMESPACE = lib.NVC_SC_INVALID_NS
    WRITE_PROTECTED = lib.NVC_SC_WRITE_PROTECTED
    LBA_OUT_OF_RANGE = lib.NVC_SC_LBA_RANGE
    CAPACITY_EXCEEDED = lib.NVC_SC_CAPACITY
    INVALID_VALUE_SIZE = lib.NVC_SC_VALUE_SIZE
    INVALID_KEY_SIZE = lib.NVC_SC_KEY_SIZE
    KEY_DOES_NOT_EXIST = lib.NVC_SC_KEY_UNKNOWN
    KEY_EXISTS = lib.NVC_SC_KEY_EXISTS
    READ_ONLY = lib.NVC_SC_READ_ONLY
    COPY_LIMIT = lib.NVC_SC_COPY_LIMIT
    OVERLAP = lib.NVC_SC_OVERLAP
    ZONE_OPERATION = lib.NVC_SC_ZONE_OPERATION
    ZRWA_UNAVAILABLE = lib.NVC_SC_ZRWA_UNAVAILABLE
    ZONE_BOUNDARY = lib.NVC_SC_ZONE_BOUNDARY
    ZONE_FULL = lib.NVC_SC_ZONE_FULL
    ZONE_READ_ONLY = lib.NVC_SC_ZONE_READ_ONLY
    ZONE_OFFLINE = lib.NVC_SC_ZONE_OFFLINE
    ZONE_INVALID_WRITE = lib.NVC_SC_ZONE_INVALID_WRITE
    TOO_MANY_ACTIVE = lib.NVC_SC_TOO_MANY_ACTIVE
    TOO_MANY_OPEN = lib.NVC_SC_TOO_MANY_OPEN
    ZONE_TRANSITION = lib.NVC_SC_ZONE_TRANSITION
    READ_ERROR = lib.NVC_SC_READ_ERROR
    DEALLOCATED = lib.NVC_SC_DEALLOCATED


class Fault(IntFlag):
    """What a rule does to a command it hits; a rule has one of them."""

    FAIL = lib.NVC_FAIL
    DELAY = lib.NVC_DELAY
    DROP = lib.NVC_DROP
    CORRUPT = lib.NVC_CORRUPT
    FATAL = lib.NVC_FATAL
    READ_ONLY = lib.NVC_READ_ONLY
    UNPLUG = lib.NVC_UNPLUG


class TraceKind(IntEnum):
    """What a record of a trace is."""

    COMMAND = lib.NVC_TRACE_COMMAND
    RANGES = lib.NVC_TRACE_RANGES
    CONFIG = lib.NVC_TRACE_CONFIG
    TIMING = lib.NVC_TRACE_TIMING
    RESET = lib.NVC_TRACE_RESET
    RULE = lib.NVC_TRACE_RULE
    NAMESPACE = lib.NVC_TRACE_NS
    CACHE = lib.NVC_TRACE_CACHE
    CUT = lib.NVC_TRACE_CUT
    WAKE = lib.NVC_TRACE_WAKE
    STATE = lib.NVC_TRACE_STATE
    MODEL = lib.NVC_TRACE_MODEL


class Data(IntEnum):
    """What is done with the data of a command."""

    NONE = lib.NVC_DATA_NONE
    COPY = lib.NVC_DATA_COPY
    ZERO = lib.NVC_DATA_ZERO
    MIXED = lib.NVC_DATA_MIXED
    FRESH = lib.NVC_DATA_FRESH
    REPORT = lib.NVC_DATA_REPORT
    EXTENSION = lib.NVC_DATA_EXTENSION
    VALUE = lib.NVC_DATA_VALUE


class NamespaceSwitch(IntFlag):
    """What a host may switch about a namespace: no changes; an error for reading what was never written; of one with keys
    instead an error for deleting what does not exist."""

    PROTECTED = lib.NVC_NS_PROTECTED
    DULBE = lib.NVC_NS_DULBE
    STRICT_DELETE = lib.NVC_NS_STRICT_DELETE
