# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual device's trace: its memory read as the kernel lays it out, its records replayed by the twin."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.record.trace import Traced, TraceReader, TraceRecorder
from nvlab.record.tracefile import convert_traces, read_trace
from nvlab.sim import (
    RANGE,
    Config,
    Device,
    Fault,
    Flag,
    KeyOpcode,
    Kind,
    NamespaceChange,
    Opcode,
    Rule,
    Timing,
    ZoneAction,
    ZoneOpcode,
    commands,
    key_commands,
    key_list,
    key_space,
    model,
    zones,
)
from nvlab.sim._core import ffi, lib
from nvlab.sim.state import checksum
from nvlab.sim.structs import (
    TRACE_COMMAND,
    TRACE_CONFIG,
    TRACE_MODEL,
    TRACE_NAMESPACE,
    TRACE_RANGES,
    TRACE_RULE,
    TRACE_STATE,
    TRACE_TIMING,
    TraceKind,
    dtype_of,
)
from nvlab.sim.twin import replay

PAGE = lib.NVC_TRACE_PAGE
ENTRIES = 256
RING, MAP = dtype_of("nvc_trace_ring"), dtype_of("nvc_trace_map")


class Shared:
    """A file laid out as the memory that the module shares; here the test is the kernel."""

    def __init__(self, path: Path, rings: int = 2) -> None:
        self.path = path
        stride = PAGE + ENTRIES * TRACE_COMMAND.itemsize
        path.write_bytes(bytes(PAGE + rings * stride))
        self.memory = np.memmap(path, np.uint8, "r+")
        self.map = self.memory[: MAP.itemsize].view(MAP)[0]
        self.map["version"], self.map["record"], self.map["rings"] = (
            lib.NVC_TRACE_VERSION,
            TRACE_COMMAND.itemsize,
            rings,
        )
        self.map["entries"], self.map["stride"] = ENTRIES, stride
        starts = [PAGE + ring * stride for ring in range(rings)]
        self.rings = [self.memory[s : s + RING.itemsize].view(RING)[0] for s in starts]
        self.records = [self.memory[s + PAGE : s + stride].view(TRACE_COMMAND) for s in starts]

    def write(self, ring: int, n: int) -> None:
        """The next ``n`` records of a ring, numbered from 1."""
        for _ in range(n):
            tail = int(self.rings[ring]["tail"])
            self.records[ring][tail % ENTRIES]["seq"] = tail + 1
            self.records[ring][tail % ENTRIES]["kind"] = TraceKind.COMMAND
            self.rings[ring]["tail"] = tail + 1


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path / "nvlab-trace-d")


def seqs(raw: bytes) -> list[int]:
    return np.frombuffer(raw, TRACE_COMMAND)["seq"].tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, ENTRIES), st.integers(0, ENTRIES)), max_size=8))
def test_a_reader_gets_every_record_once_and_in_order(tmp_path_factory, writes: list[tuple[int, int]]) -> None:
    shared = Shared(tmp_path_factory.mktemp("trace") / "t")
    reader, raw = TraceReader(shared.path), bytearray()
    for first, second in writes:
        shared.write(0, first)
        shared.write(1, second)
        assert reader.drain(raw.extend) == first + second
        assert [int(ring["head"]) for ring in shared.rings] == [int(ring["tail"]) for ring in shared.rings]
    totals = [sum(write[ring] for write in writes) for ring in (0, 1)]
    assert sorted(seqs(bytes(raw))) == sorted([*range(1, totals[0] + 1), *range(1, totals[1] + 1)])
    reader.close()


def test_records_of_a_ring_come_in_order_across_its_end(shared: Shared) -> None:
    reader, raw = TraceReader(shared.path), bytearray()
    for n in (200, 200, ENTRIES):
        shared.write(1, n)
        reader.drain(raw.extend)
    assert seqs(bytes(raw)) == list(range(1, 657))


def test_a_second_reader_goes_on_where_the_first_stopped(shared: Shared) -> None:
    for expected in ([1, 2, 3], [4, 5, 6]):
        shared.write(0, 3)
        raw = bytearray()
        reader = TraceReader(shared.path)
        reader.drain(raw.extend)
        reader.close()
        assert seqs(bytes(raw)) == expected


def test_counters_are_sums_over_the_rings(shared: Shared) -> None:
    shared.rings[0]["overruns"], shared.rings[1]["overruns"], shared.rings[1]["stalls"] = 3, 4, 5
    reader = TraceReader(shared.path)
    assert (reader.overruns, reader.stalls, reader.ended) == (7, 5, False)
    shared.map["ended"] = 1
    assert reader.ended


def test_a_trace_of_another_format_is_refused(shared: Shared) -> None:
    shared.map["version"] += 1
    with pytest.raises(OSError, match=f"format {lib.NVC_TRACE_VERSION + 1}"):
        TraceReader(shared.path)


def test_the_recorder_writes_what_comes_and_says_how_much(shared: Shared, tmp_path: Path) -> None:
    recorder = TraceRecorder(tmp_path / "trace", [Traced("nvme.1", str(shared.path))])
    recorder.start()
    shared.write(0, 100)
    shared.rings[0]["overruns"] = 2
    assert recorder.stop() == [{"layer": "nvme.1", "records": 100, "overruns": 2, "stalls": 0, "error": ""}]
    assert read_trace(tmp_path / "trace/nvme.1.raw")["seq"].tolist() == list(range(1, 101))


def test_a_recorder_without_traces_leaves_nothing(tmp_path: Path) -> None:
    recorder = TraceRecorder(tmp_path / "trace", [])
    recorder.start()
    assert recorder.stop() == [] and not (tmp_path / "trace").exists()


def test_a_device_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        TraceRecorder(tmp_path / "trace", [Traced("d", str(tmp_path / "no"))]).start()
    assert caught.value.errno == errno.ENOENT


def test_a_recorded_trace_becomes_an_array_of_commands(tmp_path: Path) -> None:
    records = np.zeros(3, TRACE_COMMAND)
    records["kind"], records["fetched"] = [TraceKind.COMMAND, TraceKind.RESET, TraceKind.COMMAND], [9, 5, 3]
    (tmp_path / "trace").mkdir()
    (tmp_path / "trace/d.raw").write_bytes(records.tobytes() + b"torn")
    (tmp_path / "trace/empty.raw").write_bytes(b"")
    convert_traces(tmp_path)
    assert np.load(tmp_path / "trace/d.npy", mmap_mode="r")["fetched"].tolist() == [3, 9]
    assert len(np.load(tmp_path / "trace/empty.npy")) == 0


def test_all_kinds_of_record_begin_alike_and_fit() -> None:
    for dtype in (TRACE_RANGES, TRACE_CONFIG, TRACE_TIMING, TRACE_RULE, TRACE_NAMESPACE):
        assert dtype.itemsize == TRACE_COMMAND.itemsize == 128
    head = dtype_of("nvc_trace_input")
    assert [head.fields[name][1] for name in ("seq", "kind")] == [
        TRACE_COMMAND.fields[name][1] for name in ("seq", "kind")
    ]
    assert ffi.sizeof("struct nvc_trace_map") <= PAGE


# -- the twin ------------------------------------------------------------------------------------------------------


class Live:
    """A device, and the trace that the module would write of it."""

    def __init__(self, config: Config) -> None:
        self.device = Device(config)
        self.records = [self._record(TRACE_CONFIG, TraceKind.CONFIG)]
        values = self.records[0]
        for name in ("blocks", "seed", "kind", "block_shift", "vwc"):
            values[name] = getattr(config, name)
        self._timing(values["timing"], config.timing)
        self._model(list(config.model.values()))

    def _model(self, values: list[int], now: int = 0) -> None:
        """All parameters of the medium, in pieces."""
        for first in range(0, len(values), lib.NVC_TRACE_VALUES_EACH):
            record = self._record(TRACE_MODEL, TraceKind.MODEL, now)
            piece = values[first : first + lib.NVC_TRACE_VALUES_EACH]
            record["input"]["slot"], record["input"]["set"] = first, len(piece)
            record["values"][: len(piece)] = piece
            self.records.append(record)

    def remodel(self, now: int, **changes: int) -> None:
        self.device.set_model(now, **changes)
        self._model(list(self.device.config.model.values()), now)

    def _record(self, dtype: np.dtype, kind: TraceKind, now: int = 0) -> np.void:
        record = np.zeros(1, dtype)[0]
        head = record["input"] if "input" in dtype.names else record
        head["seq"], head["kind"] = self.device.seq, kind
        if "input" in dtype.names:
            head["now"] = now
        return record

    @staticmethod
    def _timing(values: np.void, timing: Timing) -> None:
        for name in values.dtype.names:
            values[name] = getattr(timing, name)

    def submit(self, cmd: np.ndarray, ranges: list[tuple[int, int]]) -> None:
        decision = self.device.submit(cmd, np.array(ranges, RANGE))[0]
        for first in range(0, len(ranges), 7):
            piece = self._record(TRACE_RANGES, TraceKind.RANGES)
            some = ranges[first : first + 7]
            piece["first"], piece["count"] = first, len(some)
            piece["ranges"][: len(some)] = np.array(some, RANGE)
            self.records.append(piece)
        record = self._record(TRACE_COMMAND, TraceKind.COMMAND)
        for name in ("slba", "nlb", "nsid", "opcode", "flags", "qid", "ctrl", "action", "option", "key"):
            record[name] = cmd[0][name]
        for name in ("target", "status", "data", "fault", "corrupt", "result"):
            record[name] = decision[name]
        record["fetched"] = record["decided"] = cmd[0]["now"]
        self.records.append(record)

    def restore(self, state: bytes, now: int) -> None:
        """As the module, when a state was written to a drive that is held: the power goes on."""
        self.device.restore(state)
        record = self._record(TRACE_STATE, TraceKind.STATE, now)
        record["size"], record["checksum"] = len(state) - ffi.sizeof("struct nvc_snapshot"), checksum(state)
        self.records.append(record)
        self.device.wake(now)
        self.records.append(self._record(TRACE_TIMING, TraceKind.WAKE, now))

    def retime(self, timing: Timing, now: int) -> None:
        self.device.set_timing(timing, now)
        self.records.append(self._record(TRACE_TIMING, TraceKind.TIMING, now))
        self._timing(self.records[-1]["timing"], timing)

    def reset(self, now: int) -> None:
        self.device.reset(now)
        self.records.append(self._record(TRACE_TIMING, TraceKind.RESET, now))

    def cut(self, now: int) -> None:
        self.device.cut(now)
        self.records.append(self._record(TRACE_TIMING, TraceKind.CUT, now))

    def rule(self, slot: int, rule: Rule | None, now: int) -> None:
        self.device.set_rule(slot, rule, now)
        record = self._record(TRACE_RULE, TraceKind.RULE, now)
        record["input"]["slot"], record["input"]["set"] = slot, rule is not None
        for name in record["rule"].dtype.names if rule else ():
            record["rule"][name] = getattr(rule, name)
        self.records.append(record)

    def cache(self, ctrl: int, on: bool, now: int) -> None:
        self.device.set_cache(on, now, ctrl)
        record = self._record(TRACE_RULE, TraceKind.CACHE, now)
        record["input"]["slot"], record["input"]["set"] = ctrl, on
        self.records.append(record)

    def namespace(self, rng: np.random.Generator, now: int) -> None:
        """Any change of a namespace that is not refused."""
        change = NamespaceChange(*rng.integers([1, 1, 1, 9, 0], [6, 3, 2000, 13, 4]).tolist())
        with contextlib.suppress(ValueError, OSError):
            self.device.change(change, now)
            record = self._record(TRACE_NAMESPACE, TraceKind.NAMESPACE, now)
            for name in record["change"].dtype.names:
                record["change"][name] = getattr(change, name)
            self.records.append(record)

    def trace(self, rng: np.random.Generator) -> np.ndarray:
        """The records as several rings give them: in no order."""
        # as bytes, or numpy leaves out what is no field of a command
        raw = b"".join(record.tobytes() for record in self.records)
        whole = np.frombuffer(raw, np.uint8).reshape(-1, TRACE_COMMAND.itemsize)
        return rng.permutation(whole).view(TRACE_COMMAND)[:, 0]


def lived(seed: int, steps: int) -> tuple[Live, np.ndarray]:
    rng = np.random.default_rng(seed)
    live = Live(
        Config(blocks=4096, seed=seed, block_shift=12, vwc=True, timing=Timing(read_delay=500, write_time=300, units=3))
    )
    for now in np.cumsum(rng.integers(0, 400, steps)).tolist():
        what = rng.integers(0, 40)
        if what == 0:
            live.retime(Timing(*rng.integers(0, 1000, 4).tolist()), now)
        elif what == 1:
            live.reset(now)
        elif what == 2:
            live.cache(int(rng.integers(0, 2)), bool(rng.integers(0, 2)), now)
        elif what == 3:
            live.namespace(rng, now)
        elif what < 6:
            fault, every = Fault(1 << int(rng.integers(0, 7))), int(rng.integers(1, 9))
            rule = Rule(fault, every=every, chance=400_000, status=0x281, delay=999, ctrl=int(rng.integers(0, 3)))
            live.rule(int(rng.integers(0, 4)), rule if rng.integers(0, 3) else None, now)
        else:
            opcode = int(rng.choice([*Opcode, 0x7F]))
            ranges = [(int(rng.integers(0, 4096)), int(rng.integers(0, 9))) for _ in range(rng.integers(1, 20))]
            ranges = ranges if opcode in (Opcode.DSM, Opcode.COPY) else []
            nlb = len(ranges) or int(rng.integers(0, 90))
            ctrl = int(rng.integers(0, 3))
            live.submit(
                commands(opcode, rng.integers(0, 4100), nlb, now=now, flags=Flag.DEALLOCATE, qid=2, ctrl=ctrl), ranges
            )
    return live, live.trace(rng)


def lived_again(seed: int, steps: int, made_of: Config) -> tuple[Live, np.ndarray, bytes]:
    """A device that others wrote to until it was moved; the trace begins when it is made anew, and goes on from there."""
    rng = np.random.default_rng(seed)
    first = Device(made_of)
    units = made_of.blocks >> 3
    first.submit(commands(Opcode.WRITE, rng.integers(0, units, 3 * units) * 8, 8))
    state = first.save()
    live = Live(made_of)
    live.namespace(rng, 1)  # what is said of it before is void with the state
    live.rule(1, Rule(Fault.DELAY, delay=500), 2)
    live.remodel(3, erase=int(rng.integers(0, 10**6)))
    live.restore(state, 4)
    for now in np.cumsum(rng.integers(0, 90_000, steps)).tolist():
        opcode = int(rng.choice([Opcode.WRITE, Opcode.WRITE, Opcode.READ, Opcode.FLUSH, Opcode.DSM]))
        ranges = [(int(rng.integers(0, 400)), 8)] if opcode == Opcode.DSM else []
        slba = int(rng.integers(0, units)) * 8
        live.submit(commands(opcode, slba, len(ranges) or 8, now=4 + now, flags=Flag.DEALLOCATE), ranges)
        if rng.integers(0, 40) == 0:
            live.reset(4 + now)
    return live, live.trace(rng), state


RESTORED = Config(
    8192, 5, Kind.SSD, 9, vwc=True, model=model(channels=2, dies=1, blocks=40, planes=1, cell_bits=1, buffer=32, spare=280)
)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 300))
def test_the_twin_of_a_restored_drive_begins_with_its_state(seed: int, steps: int) -> None:
    live, trace, state = lived_again(seed, steps, RESTORED)
    twin = replay(trace, state)
    assert twin.differences().tolist() == []
    assert len(twin.commands) == steps
    assert twin.device.stats() == live.device.stats() and twin.device.counters() == live.device.counters()
    assert twin.device.audit() is None
    assert twin.device.config.model["erase"] == live.device.config.model["erase"]


def test_a_twin_begins_with_the_very_state_that_the_drive_began_with() -> None:
    live, trace, state = lived_again(1, 50, RESTORED)
    other = lived_again(2, 0, RESTORED)[2]
    with pytest.raises(ValueError, match=f"began with a state, of checksum {checksum(state):#018x}"):
        replay(trace)
    with pytest.raises(ValueError, match="this state has checksum"):
        replay(trace, other)
    with pytest.raises(ValueError, match="snapshot is refused"):
        replay(trace, state[:-1] + bytes([state[-1] ^ 1]))
    with pytest.raises(ValueError, match="began as new"):
        replay(lived(1, 20)[1], state)
    lost = [i for i, record in enumerate(live.records) if record.dtype == TRACE_COMMAND][20]
    number = int(live.records.pop(lost)["seq"])
    with pytest.raises(ValueError, match=f"not whole: input {number} is missing"):  # they go on from the state's
        replay(live.trace(np.random.default_rng(1)), state)
    live.restore(state, 10**9)
    with pytest.raises(ValueError, match="another state 2 times"):
        replay(live.trace(np.random.default_rng(1)), state)


def test_commands_before_the_state_are_not_mistaken_for_those_after_it() -> None:
    live, state = Live(RESTORED), lived_again(3, 0, RESTORED)[2]
    live.submit(commands(Opcode.WRITE, 0, 8, now=3), [])
    live.restore(state, 5)
    with pytest.raises(ValueError, match="had commands before"):
        replay(live.trace(np.random.default_rng(1)), state)


ZONE, ZONES = 64, 12  # blocks of 4 KiB; zones


def lived_with_zones(seed: int, steps: int) -> tuple[Live, np.ndarray]:
    """A zoned device: appends, writes, all of Zone Management, a namespace beside it, changes of its speed."""
    rng = np.random.default_rng(seed)
    made_of = model(
        channels=2, dies=2, zone_size=4 * ZONE, zone_capacity=200, zone_conventional=2, zone_max_active=5, zone_max_open=3,
        zone_extension=1, zrwa_zones=1, zrwa_size=32, zrwa_flush=8, program_fail=500, buffer=64,
    )  # fmt: skip
    live = Live(Config(512 + ZONES * ZONE, seed, Kind.ZNS, 12, vwc=True, model=made_of))
    for now in np.cumsum(rng.integers(0, 400_000, steps)).tolist():
        what = rng.integers(0, 40)
        if what == 0:
            live.remodel(now, erase=int(rng.integers(0, 10**7)), fw_write=int(rng.integers(0, 10**5)))
        elif what == 1:
            live.reset(now)
        elif what == 2:
            live.cache(0, bool(rng.integers(0, 2)), now)
        elif what == 3:
            rule = Rule(Fault.DELAY, opcode=int(rng.choice([*ZoneOpcode])), every=3, delay=999)
            live.rule(int(rng.integers(0, 4)), rule if rng.integers(0, 3) else None, now)
        else:
            live.submit(zone_command(live.device, rng, now), [])
    return live, live.trace(rng)


def zone_command(device: Device, rng: np.random.Generator, now: int) -> np.ndarray:
    zone = zones(device)[int(rng.integers(0, ZONES))]
    opcode = int(rng.choice([*ZoneOpcode, Opcode.READ, Opcode.WRITE, Opcode.WRITE, Opcode.FLUSH, ZoneOpcode.APPEND]))
    nlb = 0 if opcode in (ZoneOpcode.SEND, ZoneOpcode.RECEIVE) else int(rng.integers(1, 30))
    flags = int(rng.choice([0, 0, Flag.FUA, Flag.ZRWA, Flag.ALL_ZONES]))
    more = {"action": int(rng.choice([*ZoneAction])), "option": int(rng.integers(0, 9)), "nsid": int(rng.integers(1, 4) // 3 + 1)}
    return commands(opcode, zone.wp if opcode == Opcode.WRITE else zone.start, nlb, now=now, flags=flags, qid=3, **more)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 300))
def test_the_twin_of_a_zoned_device_decides_the_same(seed: int, steps: int) -> None:
    live, trace = lived_with_zones(seed, steps)
    twin = replay(trace)
    assert twin.differences().tolist() == []
    assert twin.device.counters() == live.device.counters() and twin.device.stats() == live.device.stats()
    assert zones(twin.device) == zones(live.device)
    appended = twin.commands[(twin.commands["opcode"] == ZoneOpcode.APPEND) & (twin.commands["status"] == 0)]
    assert all(0 <= each["result"] - each["slba"] < ZONE for each in appended)


def test_a_twin_that_appends_elsewhere_is_found() -> None:
    trace = np.frombuffer(bytearray(lived_with_zones(1, 200)[1].tobytes()), TRACE_COMMAND)
    which = np.flatnonzero((trace["kind"] == TraceKind.COMMAND) & (trace["opcode"] == ZoneOpcode.APPEND) & (trace["status"] == 0))
    trace["result"][which[1]] += 1
    assert len(replay(trace).differences()) == 1


def lived_with_keys(seed: int, steps: int) -> tuple[Live, np.ndarray]:
    """A device with keys: values that come, change and go, on a device that is nearly full, power cuts among them."""
    rng = np.random.default_rng(seed)
    made_of = model(channels=2, dies=2, page_size=4096, buffer=64, kv_value=16, plp=seed % 2, program_fail=500)
    live = Live(Config(300, seed, Kind.KV, 12, vwc=True, model=made_of))
    for now in np.cumsum(rng.integers(0, 400_000, steps)).tolist():
        what = rng.integers(0, 30)
        if what == 0:
            live.remodel(now, erase=int(rng.integers(0, 10**7)), fw_write=int(rng.integers(0, 10**5)))
        elif what == 1:
            live.cut(now)
        elif what == 2:
            live.rule(0, Rule(Fault.DELAY, opcode=KeyOpcode.STORE, every=3, delay=999) if rng.integers(0, 2) else None, now)
        elif what == 3:
            live.submit(commands(Opcode.FLUSH, now=now), [])
        else:
            opcode = KeyOpcode(rng.choice([KeyOpcode.STORE, KeyOpcode.STORE, KeyOpcode.STORE, *KeyOpcode]))
            key = bytes(rng.integers(0, 3, int(rng.integers(0, 18))).astype(np.uint8))
            size, option = int(rng.integers(0, 17_000)), int(rng.choice([0, 0, 1, 2]))
            live.submit(key_commands(opcode, [key], size, option=option, now=now), [])
    return live, live.trace(rng)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 300))
def test_the_twin_of_a_device_with_keys_decides_the_same(seed: int, steps: int) -> None:
    live, trace = lived_with_keys(seed, steps)
    twin = replay(trace)
    assert twin.differences().tolist() == []
    assert twin.device.counters() == live.device.counters() and twin.device.stats() == live.device.stats()
    assert key_space(twin.device) == key_space(live.device)
    whole = key_commands(KeyOpcode.LIST, [b""], 1 << 16)
    assert key_list(twin.device, whole) == key_list(live.device, whole)


def test_a_twin_without_all_of_a_key_is_found() -> None:
    trace = np.frombuffer(bytearray(lived_with_keys(1, 300)[1].tobytes()), TRACE_COMMAND)
    assert trace["key"].any()
    trace["key"][trace["kind"] == TraceKind.COMMAND] = 0
    assert len(replay(trace).differences())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 300))
def test_the_twin_decides_what_the_live_device_decided(seed: int, steps: int) -> None:
    live, trace = lived(seed, steps)
    twin = replay(trace)
    assert twin.differences().tolist() == []
    assert len(twin.decisions) == sum(r["kind"] == TraceKind.COMMAND for r in live.records if "kind" in r.dtype.names)
    assert twin.device.counters() == live.device.counters()
    assert twin.device.seq == live.device.seq


def test_another_decision_is_found() -> None:
    trace = np.frombuffer(bytearray(lived(1, 200)[1].tobytes()), TRACE_COMMAND)
    changed = np.flatnonzero(trace["kind"] == TraceKind.COMMAND)[7]
    trace["target"][changed] += 1
    twin = replay(trace)
    assert twin.commands["seq"][twin.differences()].tolist() == [trace["seq"][changed]]


def test_a_record_that_was_lost_voids_the_twin() -> None:
    trace = lived(2, 100)[1]
    with pytest.raises(ValueError, match=r"not whole: input 50 is missing of \d+"):
        replay(trace[(trace["seq"] != 50) | (trace["kind"] == TraceKind.CONFIG)])
    with pytest.raises(ValueError, match="0 configurations"):
        replay(trace[trace["kind"] != TraceKind.CONFIG])
