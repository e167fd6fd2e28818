# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual NVMe device without a kernel: the module's own core, driven by arrays of commands."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nvlab.medium import Profile, model
from nvlab.sim._core import ffi, lib
from nvlab.sim.structs import ANY_OPCODE, COMMAND, DECISION, LOST, MILLION, RANGE, Fault, Kind, fields_of

UNMAPPED = 0xFFFFFFFF
WITH_SSD = {Kind.SSD, Kind.ZNS, Kind.KV}
PROBLEMS = {
    errno.ERANGE: "a field is beyond its limit",
    errno.EBUSY: "only live parameters may change",
}
SNAPSHOT_REFUSALS = {
    errno.EINVAL: "it is none, or of another build",
    errno.EMEDIUMTYPE: "it is of another device",
    errno.EBADMSG: "it is damaged, or no device can be so",
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

    All of it is namespace 1, until that is deleted. ``timing`` is of kind NVM; ``model`` of the others, see
    :func:`nvlab.medium.model`.
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
            Kind[profile.kind.upper()],
            block_shift,
            profile.vwc,
            Timing(**profile.timing),
            profile.model | model(**profile.model | changes),
        )


@dataclass(frozen=True)
class Namespace:
    """A namespace as it is: capacity in logical blocks, where it begins in the medium and what it was made with in bytes."""

    blocks: int
    start: int
    bytes: int
    block_shift: int
    attached: int
    flags: int


@dataclass(frozen=True)
class NamespaceChange:
    """A change of a namespace, as ``struct nvc_ns_change`` says it."""

    op: int
    nsid: int
    blocks: int = 0
    block_shift: int = 0
    value: int = 0


@dataclass(frozen=True)
class Rule:
    """Which commands go wrong, and how; by default all.

    A command matches by ``opcode``, ``nsid`` (0: any), ``qid`` (0: any), ``ctrl`` (from 1; 0: any) and by touching a block
    of the ``nlb`` from ``slba`` (0: any). Of those that match, every ``every``th may be hit, with a chance of ``chance``
    millionths, ``count`` times (0: no limit). ``status`` belongs to ``Fault.FAIL``, ``delay`` in ns to ``Fault.DELAY``.
    """

    fault: Fault
    opcode: int = ANY_OPCODE
    nsid: int = 0
    qid: int = 0
    slba: int = 0
    nlb: int = 0
    every: int = 1
    chance: int = MILLION
    count: int = 0
    status: int = 0
    delay: int = 0
    ctrl: int = 0


def commands(
    opcode: ArrayLike,
    slba: ArrayLike = 0,
    nlb: ArrayLike = 1,
    *,
    now: ArrayLike = 0,
    nsid: ArrayLike = 1,
    flags: ArrayLike = 0,
    qid: ArrayLike = 1,
    ctrl: ArrayLike = 0,
    action: ArrayLike = 0,
    option: ArrayLike = 0,
    key: ArrayLike = 0,
) -> NDArray[np.void]:
    """A one-dimensional array of dtype ``COMMAND``; arguments are numbers or arrays of one length. ``now`` is in ns."""
    said = {"now": now, "slba": slba, "nlb": nlb, "nsid": nsid, "opcode": opcode, "flags": flags, "qid": qid, "ctrl": ctrl}
    said |= {"action": action, "option": option, "key": key}
    columns = np.broadcast_arrays(*map(np.atleast_1d, said.values()))
    array = np.zeros(columns[0].shape, COMMAND)
    for name, column in zip(said, columns, strict=True):
        array[name] = column
    return array


def header_of(snapshot: bytes) -> Any:
    """Its ``struct nvc_snapshot``, zeros where it is too short for one."""
    header = ffi.new("struct nvc_snapshot *")
    buffer = ffi.buffer(header)
    buffer[:] = snapshot[: len(buffer)].ljust(len(buffer), b"\0")
    return header


class Device:
    """A device that was never written to. Raises ValueError where ``nvc_check()`` refuses the configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config
        native = ffi.new("struct nvc_config *", asdict(config))
        if why := refusal(config):
            raise ValueError(f"the core refuses this, {why}: {config}")
        # Eight-byte units give the alignment that nvc_init() asks for
        self._memory = ffi.new("u64[]", (lib.nvc_size(native) + 7) // 8)
        self.native = ffi.cast("struct nvc *", self._memory)
        lib.nvc_init(self.native, native)

    @classmethod
    def load(cls, snapshot: bytes, config: Config) -> Device:
        """The device that :meth:`save` wrote. Raises ValueError if it is damaged or not of ``config``.

        What may change in use (timing, live parameters of the model) is as ``config`` says, whatever it was.
        """
        device = cls(config)
        device.restore(snapshot)
        return device

    def restore(self, snapshot: bytes) -> None:
        """Become what :meth:`save` wrote, whatever it was. Raises ValueError as :meth:`load`; it is of no use then."""
        header = header_of(snapshot)
        size = ffi.sizeof(header[0])
        code = lib.nvc_fits(self.native, header)
        if not code and len(snapshot) != size + header.size:
            raise ValueError("the snapshot is cut short, or too long")
        if not code:
            lib.nvc_load(self.native, 0, ffi.from_buffer(snapshot) + size, header.size)
            code = lib.nvc_thaw(self.native, header)
        if code:
            raise ValueError(f"the snapshot is refused: {SNAPSHOT_REFUSALS[-code]}")

    def save(self) -> bytes:
        """All of the device's state, to go on from elsewhere: header and image."""
        header = ffi.new("struct nvc_snapshot *")
        lib.nvc_freeze(self.native, header)
        image = ffi.new("u8[]", header.size)
        lib.nvc_save(self.native, 0, image, header.size)
        return bytes(ffi.buffer(header)) + bytes(ffi.buffer(image))

    def wake(self, now: int = 0) -> None:
        """The drive was switched off in order, and is on again at ``now`` ns of what may be another clock."""
        lib.nvc_wake(self.native, now)

    def submit(self, commands: NDArray[np.void], ranges: NDArray[np.void] | None = None) -> NDArray[np.void]:
        """Decide commands in order, all in one call.

        ``commands`` has shape (n,) and dtype ``COMMAND``; ``ranges``, shape (m,) and dtype ``RANGE``, holds the
        ranges of its Dataset Management, Copy and I/O Management Send commands one after the other.
        Returns shape (n,), dtype ``DECISION``.
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
            self.native,
            native,
            len(commands),
            ffi.from_buffer("struct nvc_range[]", ranges),
            ffi.from_buffer("struct nvc_decision[]", decisions, require_writable=True),
        )
        return decisions

    def set_timing(self, timing: Timing, now: int = 0) -> None:
        """Change the speed for all later commands. Raises ValueError where the core refuses it."""
        _raise_for(lib.nvc_set_timing(self.native, now, ffi.new("struct nvc_timing *", asdict(timing))), timing)
        self.config = replace(self.config, timing=timing)

    def set_rule(self, slot: int, rule: Rule | None, now: int = 0) -> None:
        """Have a rule in a slot (below ``MAX_RULES``) from now on, or none. Raises ValueError where the core refuses it."""
        native = ffi.new("struct nvc_rule *", asdict(rule)) if rule else ffi.NULL
        _raise_for(lib.nvc_set_rule(self.native, now, slot, native), rule)

    def hits(self, slot: int) -> int:
        """How many commands the rule of a slot has hit since it was set."""
        return int(lib.nvc_rule_hits(self.native, slot))

    def set_model(self, now: int = 0, **changes: int) -> None:
        """Change live parameters for all later commands. Raises ValueError where the core refuses it."""
        native = ffi.new("struct nvc_model *", self.config.model | changes)
        _raise_for(lib.nvc_set_model(self.native, now, native), changes)
        self.config = replace(self.config, model=self.config.model | changes)

    def cut(self, now: int = 0) -> tuple[NDArray[np.void], int]:
        """The power goes at ``now`` ns, and comes back.

        Returns which sectors of 512 bytes of the medium fall back to what they held before a write, shape (n,), dtype
        ``LOST``, in the order to restore them; and when the device is ready again, ns.
        """
        lost = np.zeros(lib.nvc_undo_units(self.native), LOST)
        ready = ffi.new("u64 *")
        native = ffi.from_buffer("struct nvc_lost[]", lost, require_writable=True)
        return lost[: lib.nvc_cut(self.native, now, native, ready)], int(ready[0])

    def stats(self) -> dict[str, int]:
        """Accounts of an SSD, by the names of ``struct nvc_ssd_stats``; all zero for another kind."""
        native = ffi.new("struct nvc_ssd_stats *")
        lib.nvc_stats(self.native, native)
        return fields_of(native, "nvc_ssd_stats")

    def health(self) -> dict[str, int]:
        """How worn it is, by the names of ``struct nvc_health``: percent of the reserve left, of the endurance used."""
        native = ffi.new("struct nvc_health *")
        lib.nvc_health(self.native, native)
        return fields_of(native, "nvc_health")

    def mapping(self) -> NDArray[np.uint32]:
        """Where each 4 KiB unit of an SSD lies, shape (units,); ``UNMAPPED`` if nowhere."""
        self._require_ssd()
        units = self.stats()["units"]
        return np.fromiter((lib.nvc_place(self.native, unit) for unit in range(units)), np.uint32, units)

    def audit(self) -> str | None:
        """Check all that must hold for an SSD. Returns the condition that does not, or None."""
        self._require_ssd()
        wrong = lib.batch_audit(self.native)
        return None if wrong == ffi.NULL else ffi.string(wrong).decode()

    def times(self) -> NDArray[np.uint64]:
        """When each die, then each channel of an SSD is done, ns."""
        self._require_ssd()
        times = np.zeros(lib.batch_times(self.native, ffi.NULL), np.uint64)
        lib.batch_times(self.native, ffi.from_buffer("u64[]", times, require_writable=True))
        return times

    def _require_ssd(self) -> None:
        if self.config.kind not in WITH_SSD:
            raise TypeError(f"this is no SSD, but {self.config.kind.name}")

    def reset(self, now: int = 0) -> None:
        """A controller reset at ``now`` ns: work under way is dropped, content and counters stay."""
        lib.nvc_reset(self.native, now)

    def set_cache(self, on: bool, now: int = 0, ctrl: int = 0) -> None:
        """Enable or disable the volatile write cache for a controller; means nothing where ``Config.vwc`` says there is none."""
        lib.nvc_set_cache(self.native, now, ctrl, on)

    def create(self, nsid: int, blocks: int, block_shift: int = 9, attached: int = 1, now: int = 0) -> None:
        """Make a namespace, attached to the controllers whose bits are set. Raises ValueError, and OSError (ENOSPC, EEXIST)."""
        self.change(NamespaceChange(lib.NVC_NS_CREATE, nsid, blocks, block_shift, attached), now)

    def delete(self, nsid: int, now: int = 0) -> None:
        """Delete a namespace. Raises OSError (ENXIO: there is none)."""
        self.change(NamespaceChange(lib.NVC_NS_DELETE, nsid), now)

    def format(self, nsid: int, block_shift: int, now: int = 0) -> None:
        """Format a namespace: its blocks read as zeros. Raises ValueError, and OSError (ENXIO)."""
        self.change(NamespaceChange(lib.NVC_NS_FORMAT, nsid, block_shift=block_shift), now)

    def attach(self, nsid: int, attached: int, now: int = 0) -> None:
        """Attach a namespace to the controllers whose bits are set, and to no others. Raises OSError (ENXIO)."""
        self.change(NamespaceChange(lib.NVC_NS_ATTACH, nsid, value=attached), now)

    def switch(self, nsid: int, flags: int, now: int = 0) -> None:
        """Set the switches of a namespace, see ``NamespaceSwitch``. Raises ValueError, and OSError (ENXIO)."""
        self.change(NamespaceChange(lib.NVC_NS_SWITCH, nsid, value=flags), now)

    def change(self, change: NamespaceChange, now: int = 0) -> None:
        """Change a namespace. Raises ValueError, and OSError (ENXIO, EEXIST, ENOSPC)."""
        code = lib.nvc_ns_change(self.native, now, ffi.new("struct nvc_ns_change *", asdict(change)))
        if code == -errno.EINVAL:
            raise ValueError(f"the core refuses this, a field has no meaning: {change}")
        if code:
            raise OSError(-code, f"{errno.errorcode[-code]}: {change}")

    def namespace(self, nsid: int) -> Namespace | None:
        """A namespace, or None if there is none of that number."""
        native = lib.nvc_ns_get(self.native, nsid)
        if native == ffi.NULL:
            return None
        return Namespace(**fields_of(native, "nvc_ns"))

    def free(self) -> tuple[int, int]:
        """Bytes that belong to no namespace, and how many the largest new one can have."""
        largest = ffi.new("u64 *")
        return int(lib.nvc_ns_free(self.native, largest)), int(largest[0])

    def written(self, slba: int, nlb: int, nsid: int = 1) -> NDArray[np.bool_]:
        """Which of ``nlb`` blocks from ``slba`` hold data, shape (nlb,); the others read as zeros."""
        return self._flags(lib.batch_written, slba, nlb, nsid)

    def readable(self, slba: int, nlb: int, nsid: int = 1) -> NDArray[np.bool_]:
        """Which of ``nlb`` blocks from ``slba`` can be read, shape (nlb,); the others were made uncorrectable."""
        return self._flags(lib.batch_readable, slba, nlb, nsid)

    def _flags(self, fill: Callable[..., None], slba: int, nlb: int, nsid: int) -> NDArray[np.bool_]:
        namespace = self.namespace(nsid)
        blocks = namespace.blocks if namespace else 0
        if not 0 <= slba <= slba + nlb <= blocks:
            raise ValueError(f"blocks {slba} to {slba + nlb} are not all within the {blocks} of namespace {nsid}")
        flags = np.zeros(nlb, np.bool_)
        fill(self.native, nsid, slba, nlb, ffi.from_buffer("u8[]", flags, require_writable=True))
        return flags

    @property
    def seq(self) -> int:
        """Number of the latest input: a command, a timing change, a reset."""
        return int(lib.nvc_seq(self.native))

    def counters(self) -> dict[str, int]:
        """Totals since the device was made, by the names of ``struct nvc_counters``."""
        native = ffi.new("struct nvc_counters *")
        lib.nvc_count(self.native, native)
        return fields_of(native, "nvc_counters")


def _require(array: NDArray[np.void], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    if array.dtype != dtype or array.ndim != 1:
        raise TypeError(f"needs a one-dimensional array of dtype {dtype}, not {array.ndim} dimensions of {array.dtype}")
    return np.ascontiguousarray(array)


def _raise_for(code: int, what: object) -> None:
    if code:
        raise ValueError(f"the core refuses this, {_words(code)}: {what}")


def _words(code: int) -> str:
    return PROBLEMS.get(-code, "a field has no meaning")


def refusal(config: Config) -> str | None:
    """Why there can be no such device, in the core's words; None if there can."""
    native = ffi.new("struct nvc_config *", asdict(config))
    code = lib.nvc_check(native)
    ask = {Kind.ZNS: lib.nvc_zns_problem, Kind.KV: lib.nvc_kv_problem}.get(config.kind)
    problem = ask(native) if code and ask else ffi.NULL
    if problem == ffi.NULL:
        return _words(code) if code else None
    return ffi.string(problem).decode()  # type: ignore[no-any-return]
