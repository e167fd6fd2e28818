# SPDX-License-Identifier: GPL-2.0-or-later
"""Zones of a simulated device: what hosts learn of them by Identify, Zone Management Receive and the Changed Zone List."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvlab.sim._core import ffi, lib
from nvlab.sim.device import Device
from nvlab.sim.structs import ZoneAttribute, ZoneState, fields_of


@dataclass(frozen=True)
class Zoned:
    """A zoned namespace, as ``struct nvc_zoned`` says it: blocks are logical, a limit of 0 is none."""

    size: int
    capacity: int
    zones: int
    max_active: int
    max_open: int
    append: int
    append_shift: int
    extension: int
    zrwa: int
    zrwa_flush: int
    zrwa_zones: int
    read_across: int


@dataclass(frozen=True)
class Zone:
    """A zone: its first block, its write pointer (or how far it holds data), and what it is in."""

    start: int
    wp: int
    state: ZoneState
    attributes: ZoneAttribute


def zoned(device: Device, nsid: int = 1) -> Zoned | None:
    """A zoned namespace, or None if it is none."""
    native = ffi.new("struct nvc_zoned *")
    return Zoned(**fields_of(native, "nvc_zoned")) if lib.nvc_zoned(device.native, nsid, native) else None


def zones(device: Device) -> list[Zone]:
    """The zones of namespace 1; none on a device without."""
    namespace = zoned(device)
    return [_zone(device, index) for index in range(namespace.zones if namespace else 0)]


def _zone(device: Device, index: int) -> Zone:
    native = ffi.new("struct nvc_zone *")
    lib.nvc_zone(device.native, index, native)
    return Zone(int(native.start), int(native.wp), ZoneState(native.state), ZoneAttribute(native.attributes))


def report(device: Device, command: NDArray[np.void], size: int) -> bytes:
    """The data of a Zone Management Receive, shape (1,), dtype ``COMMAND``, decided just before: up to ``size`` bytes."""
    buffer = ffi.new("u8[]", size)
    native = ffi.from_buffer("struct nvc_cmd[]", command)
    return bytes(ffi.buffer(buffer, lib.nvc_zone_report(device.native, native, buffer, size)))


def extend(device: Device, command: NDArray[np.void], data: bytes) -> None:
    """Keep the data of a Set Zone Descriptor Extension that was decided just before. Raises ValueError for another length."""
    namespace = zoned(device)
    expected = namespace.extension if namespace else 0
    if len(data) != expected:
        raise ValueError(f"a descriptor extension has {expected} bytes, not {len(data)}")
    lib.nvc_zone_extend(device.native, ffi.from_buffer("struct nvc_cmd[]", command), data)


def changed_zones(device: Device, *, clear: bool = True) -> list[int] | None:
    """First blocks of zones that the controller changed, oldest first; None if they are more than its list holds."""
    starts = ffi.new("u64[]", lib.NVC_ZONE_CHANGES)
    count = lib.nvc_zone_changes(device.native, starts, clear)
    return None if count == lib.NVC_ZONE_CHANGES_MANY else [int(start) for start in starts[0:count]]
