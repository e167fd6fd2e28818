# SPDX-License-Identifier: GPL-2.0-or-later
"""Flexible Data Placement of an SSD: reclaim unit handles, as ``kmod/core/nvc_fdp.h`` has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nvlab.sim._core import ffi, lib
from nvlab.sim.device import Device, NamespaceChange, commands
from nvlab.sim.structs import HANDLE_EVENT, PLACEMENT, RANGE, ManagementOpcode, Tell, fields_of


@dataclass(frozen=True)
class Handle:
    """A reclaim unit handle, in units of 4 KiB: what hosts wrote through it, what collection copied of that while it was still
    apart from other handles' data, reclaim units it has referred to, and the room in the present one."""

    host_units: int
    gc_units: int
    reclaim_units: int
    room_units: int
    tell: int


@dataclass(frozen=True)
class Statistics:
    """The FDP Statistics log, in bytes: HBMW, MBMW and MBE."""

    host_bytes: int
    media_bytes: int
    erased_bytes: int


def handles(device: Device) -> list[Handle]:
    """All handles of a device; none where it has no FDP."""
    found = []
    for number in range(_count(device)):
        native = ffi.new("struct nvc_ruh *")
        lib.nvc_ruh(device.native, number, native)
        found.append(Handle(**fields_of(native, "nvc_ruh")))
    return found


def statistics(device: Device) -> Statistics:
    """What the device wrote and erased. Raises ValueError where it has no FDP."""
    _require(device)
    native = ffi.new("struct nvc_fdp_stats *")
    lib.nvc_fdp_stats(device.native, native)
    return Statistics(**fields_of(native, "nvc_fdp_stats"))


def events(device: Device, *, controller: bool) -> NDArray[np.void]:
    """The latest events of hosts or of the controller, the oldest first: shape (n,), dtype ``HANDLE_EVENT``."""
    _require(device)
    found = np.zeros(lib.NVC_FDP_EVENTS, HANDLE_EVENT)
    native = ffi.from_buffer("struct nvc_fdp_event[]", found, require_writable=True)
    return found[: lib.nvc_fdp_events(device.native, controller, native)]


def tell(device: Device, handle: int, what: Tell, now: int = 0, nsid: int = 1) -> None:
    """Note these events of a handle from now on, and no others. Raises ValueError where there is no such handle."""
    device.change(NamespaceChange(lib.NVC_NS_EVENTS, nsid, blocks=handle, value=what), now)


def placed(writes: NDArray[np.void], handle: ArrayLike) -> NDArray[np.void]:
    """Writes, dtype ``COMMAND``, that go through a handle, or each through its own."""
    found = writes.copy()
    found["action"] = PLACEMENT
    found["key"] = handle
    return found


def update(device: Device, *identifiers: int, now: int = 0, nsid: int = 1) -> NDArray[np.void]:
    """Have handles refer to new reclaim units; the decision, shape (1,)."""
    ranges = np.zeros(len(identifiers), RANGE)
    ranges["slba"] = identifiers
    cmd = commands(ManagementOpcode.SEND, 0, len(identifiers), now=now, nsid=nsid, action=lib.NVC_RUH_UPDATE)
    return device.submit(cmd, ranges)


def _count(device: Device) -> int:
    return device.config.model["fdp_handles"]


def _require(device: Device) -> None:
    if not _count(device):
        raise ValueError("the device has no reclaim unit handles: set fdp_handles")
