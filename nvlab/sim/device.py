# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual NVMe device without a kernel: the module's own core, driven by arrays of commands."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nvlab.sim._core import ffi, lib
from nvlab.sim.model import Profile, model
from nvlab.sim.structs import COMMAND, DECISION, LOST, RANGE, Kind

UNMAPPED = 0xFFFFFFFF
PROBLEMS = {
    errno.ERANGE: "a field is beyond its limit",
    errno.EBUSY: "only live parameters may change",
}
SNAPSHOT_REFUSALS = {
    errno.EINVAL: "it is none, or of another build",
    errno.EMEDIUMTYPE: "it is of another device",
    errno.EBADMSG: "it is damaged",
}


@dataclass(frozen=True)
class Timing:
    """How fast the medium is: ns, once per command (``delay``) and for each unit (``time``).

    ``units`` of ``2**unit_shift`` bytes work at the same time; unit *n* of the medium is served by *n* modulo that.
    """

    read_delay: int = 0
    read_time: int = 0
    write_delay: int = 0
    write_time: int = 0
    units: int = 8
    unit_shift: int = 12


@dataclass(frozen=True)
class Config:
    """What is fixed when a device is made: capacity in logical blocks of ``2**block_shift`` bytes (9 or 12).

    ``timing`` is of kind NVM; ``model`` of the others, see :func:`nvlab.sim.model.model`.
    """

    blocks: int
    seed: int = 0
    kind: Kind = Kind.NVM
    block_shift: int = 9
    vwc: bool = False
    timing: Timing = field(default_factory=Timing)
    model: dict[str, int] = field(default_factory=model)

    @classmethod
    def of(cls, profile: Profile, size: int, *, seed: int = 0, block_shift: int = 9, **changes: int) -> Config:
        """A drive of ``size`` bytes as the profile describes it; ``changes`` are to its model."""
        return cls(
            size >> block_shift,
            seed,
            profile.kind,
            block_shift,
            profile.vwc,
            Timing(**profile.timing),
            profile.model | model(**profile.model | changes),
        )


def commands(
    opcode: ArrayLike,
    slba: ArrayLike = 0,
    nlb: ArrayLike = 1,
    *,
    now: ArrayLike = 0,
    nsid: ArrayLike = 1,
    flags: ArrayLike = 0,
) -> NDArray[np.void]:
    """A one-dimensional array of dtype ``COMMAND``; arguments are numbers or arrays of one length. ``now`` is in ns."""
    columns = np.broadcast_arrays(*map(np.atleast_1d, (now, slba, nlb, nsid, opcode, flags)))
    array = np.zeros(columns[0].shape, COMMAND)
    for name, column in zip(("now", "slba", "nlb", "nsid", "opcode", "flags"), columns, strict=True):
        array[name] = column
    return array


class Device:
    """A device that was never written to. Raises ValueError where ``nvc_check()`` refuses the configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config
        native = ffi.new("struct nvc_config *", asdict(config))
        _raise_for(lib.nvc_check(native), config)
        # Eight-byte units give the alignment that nvc_init() asks for
        self._memory = ffi.new("u64[]", (lib.nvc_size(native) + 7) // 8)
        self._core = ffi.cast("struct nvc *", self._memory)
        lib.nvc_init(self._core, native)

    @classmethod
    def load(cls, snapshot: bytes, config: Config) -> Device:
        """The device that :meth:`save` wrote. Raises ValueError if it is damaged or not of ``config``."""
        device = cls(config)
        header = ffi.new("struct nvc_snapshot *")
        size = ffi.sizeof("struct nvc_snapshot")
        memory = ffi.buffer(device._memory)
        if len(snapshot) != size + len(memory):
            raise ValueError("the snapshot is of another device, or cut short")
        ffi.buffer(header)[:] = snapshot[:size]
        memory[:] = snapshot[size:]
        code = lib.nvc_thaw(device._core, header, ffi.new("struct nvc_config *", asdict(config)))
        if code:
            raise ValueError(f"the snapshot is refused: {SNAPSHOT_REFUSALS[-code]}")
        return device

    def save(self) -> bytes:
        """All of the device's state, to go on from elsewhere: header and memory."""
        header = ffi.new("struct nvc_snapshot *")
        lib.nvc_freeze(self._core, header)
        snapshot = bytes(ffi.buffer(header)) + bytes(ffi.buffer(self._memory))
        lib.nvc_thaw(self._core, header, ffi.addressof(header.config))
        return snapshot

    def submit(self, commands: NDArray[np.void], ranges: NDArray[np.void] | None = None) -> NDArray[np.void]:
        """Decide commands in order, all in one call.

        ``commands`` has shape (n,) and dtype ``COMMAND``; ``ranges``, shape (m,) and dtype ``RANGE``, holds the
        ranges of its Dataset Management commands one after the other. Returns shape (n,), dtype ``DECISION``.
        Raises TypeError for another dtype, ValueError for another number of ranges than the commands ask for.
        """
        commands = _require(commands, COMMAND)
        ranges = _require(np.zeros(0, RANGE) if ranges is None else ranges, RANGE)
        native = ffi.from_buffer("struct nvc_cmd[]", commands)
        needed = lib.batch_count_ranges(native, len(commands))
        if needed != len(ranges):
            raise ValueError(f"the commands take {needed} ranges, not {len(ranges)}")
        decisions = np.zeros(len(commands), DECISION)
        lib.batch_submit(
            self._core,
            native,
            len(commands),
            ffi.from_buffer("struct nvc_range[]", ranges),
            ffi.from_buffer("struct nvc_decision[]", decisions, require_writable=True),
        )
        return decisions

    def set_timing(self, timing: Timing, now: int = 0) -> None:
        """Change the speed for all later commands. Raises ValueError where the core refuses it."""
        _raise_for(lib.nvc_set_timing(self._core, now, ffi.new("struct nvc_timing *", asdict(timing))), timing)

    def set_model(self, now: int = 0, **changes: int) -> None:
        """Change live parameters for all later commands. Raises ValueError where the core refuses it."""
        native = ffi.new("struct nvc_model *", self.config.model | changes)
        _raise_for(lib.nvc_set_model(self._core, now, native), changes)
        self.config = replace(self.config, model=self.config.model | changes)

    def cut(self, now: int = 0) -> tuple[NDArray[np.void], int]:
        """The power goes at ``now`` ns, and comes back.

        Returns which blocks fall back to what they held before a write, shape (n,), dtype ``LOST``, in the order to
        restore them; and when the device is ready again, ns.
        """
        lost = np.zeros(lib.nvc_undo_units(self._core), LOST)
        ready = ffi.new("u64 *")
        native = ffi.from_buffer("struct nvc_lost[]", lost, require_writable=True)
        return lost[: lib.nvc_cut(self._core, now, native, ready)], int(ready[0])

    def stats(self) -> dict[str, int]:
        """Accounts of an SSD, by the names of ``struct nvc_ssd_stats``; all zero for another kind."""
        native = ffi.new("struct nvc_ssd_stats *")
        lib.nvc_stats(self._core, native)
        return {name: int(getattr(native, name)) for name, _ in ffi.typeof("struct nvc_ssd_stats").fields}

    def mapping(self) -> NDArray[np.uint32]:
        """Where each 4 KiB unit of an SSD lies, shape (units,); ``UNMAPPED`` if nowhere."""
        self._require_ssd()
        units = self.stats()["units"]
        return np.fromiter((lib.nvc_place(self._core, unit) for unit in range(units)), np.uint32, units)

    def audit(self) -> str | None:
        """Check all that must hold for an SSD. Returns the condition that does not, or None."""
        self._require_ssd()
        wrong = lib.batch_audit(self._core)
        return None if wrong == ffi.NULL else ffi.string(wrong).decode()

    def times(self) -> NDArray[np.uint64]:
        """When each die, then each channel of an SSD is done, ns."""
        self._require_ssd()
        times = np.zeros(lib.batch_times(self._core, ffi.NULL), np.uint64)
        lib.batch_times(self._core, ffi.from_buffer("u64[]", times, require_writable=True))
        return times

    def _require_ssd(self) -> None:
        if self.config.kind is not Kind.SSD:
            raise TypeError(f"this is no SSD, but {self.config.kind.name}")

    def reset(self, now: int = 0) -> None:
        """A controller reset at ``now`` ns: work under way is dropped, content and counters stay."""
        lib.nvc_reset(self._core, now)

    def written(self, slba: int, nlb: int) -> NDArray[np.bool_]:
        """Which of ``nlb`` blocks from ``slba`` hold data, shape (nlb,); the others read as zeros."""
        if not 0 <= slba <= slba + nlb <= self.config.blocks:
            raise ValueError(f"blocks {slba} to {slba + nlb} are not all within the device's {self.config.blocks}")
        flags = np.zeros(nlb, np.bool_)
        lib.batch_written(self._core, slba, nlb, ffi.from_buffer("u8[]", flags, require_writable=True))
        return flags

    @property
    def seq(self) -> int:
        """Number of the latest input: a command, a timing change, a reset."""
        return int(lib.nvc_seq(self._core))

    def counters(self) -> dict[str, int]:
        """Totals since the device was made, by the names of ``struct nvc_counters``."""
        native = ffi.new("struct nvc_counters *")
        lib.nvc_count(self._core, native)
        return {name: int(getattr(native, name)) for name, _ in ffi.typeof("struct nvc_counters").fields}


def _require(array: NDArray[np.void], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    if array.dtype != dtype or array.ndim != 1:
        raise TypeError(f"needs a one-dimensional array of dtype {dtype}, not {array.ndim} dimensions of {array.dtype}")
    return np.ascontiguousarray(array)


def _raise_for(code: int, what: object) -> None:
    if code:
        problem = PROBLEMS.get(-code, "a field has no meaning")
        raise ValueError(f"the core refuses this, {problem}: {what}")
