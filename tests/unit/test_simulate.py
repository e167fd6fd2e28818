# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab simulate: loads in virtual time, recorded I/O of others, and a run directory like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab.analysis.report import write_report
from nvlab.analysis.runs import load_run
from nvlab.analysis.table import terminal_table
from nvlab.errors import InvalidScenario, UsageError
from nvlab.layers.device import profile_of
from nvlab.scenario import loads
from nvlab.sim import COMMAND, Config, Device, Fault, Opcode, Rule, Timing, ZoneOpcode, commands, zoned
from nvlab.sim.closed import Job, closed_loop
from nvlab.sim.inputs import FLUSH, READ, WRITE, read_recorded
from nvlab.sim.load import PIECE, Load, not_simulated
from nvlab.sim.state import read_state
from nvlab.sim.zoneload import ZonedLoad, writable
from nvlab.simulate import Options, simulate

DEVICE = '[device.ssd]\nsize = "64M"\nblock_size = 4096\nprofile = "samsung-970-pro"\n'
US = 1000


def reads(n: int, pieces: int = 1) -> list[np.ndarray]:
    return [commands(Opcode.READ, np.arange(n)) for _ in range(pieces)]


def nvm(**timing: int) -> Device:
    return Device(Config(100_000, block_shift=12, timing=Timing(unit_shift=12, **timing)))


# -- the closed loop -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 4, 16])
def test_a_job_keeps_its_depth_in_flight(depth: int) -> None:
    device = nvm(read_delay=100 * US, units=64)
    (done,) = closed_loop(device, [Job(iter(reads(160)), depth)])
    assert len(done.commands) == 160
    assert int(done.decisions["target"].max()) == 160 // depth * 100 * US
    starts, ends = done.commands["now"].astype(int), done.decisions["target"].astype(int)
    in_flight = [int(((starts <= t) & (ends > t)).sum()) for t in starts]
    assert max(in_flight) == depth and min(in_flight[depth:-depth]) == depth


def test_what_is_submitted_is_in_the_order_of_time_over_all_jobs_and_pieces() -> None:
    device = nvm(read_delay=30 * US, read_time=7 * US, units=4)
    jobs = [Job(iter(reads(50, pieces=3)), 4), Job(iter(reads(7, pieces=20)), 3, start=100 * US, interval=20 * US)]
    first, second = closed_loop(device, jobs)
    assert (len(first.commands), len(second.commands)) == (150, 140)
    order = np.concatenate([first.decisions["seq"], second.decisions["seq"]])
    times = np.concatenate([first.commands["now"], second.commands["now"]])
    assert sorted(order.tolist()) == list(range(1, 291))
    assert (np.diff(times[np.argsort(order)].astype(np.int64)) >= 0).all()
    assert int(second.commands["now"].min()) == 100 * US
    due = (100 + 20 * np.arange(140)) * US
    assert (second.commands["now"].astype(np.int64) >= due).all(), "none before it is due"


def test_what_is_late_does_not_put_off_what_comes() -> None:
    """Every command takes 100 us of 150, but the first a millisecond: those behind it are late, until they are not."""
    slow = Rule(Fault.DELAY, Opcode.READ, count=1, delay=900 * US)
    device = nvm(read_delay=100 * US, units=1)
    device.set_rule(0, slow, 0)
    (done,) = closed_loop(device, [Job(iter(reads(40)), 1, interval=150 * US)])
    late = done.commands["now"].astype(int) - np.arange(40) * 150 * US
    assert late[1] == 850 * US and (np.diff(late[1:18]) == -50 * US).all()
    assert (late[18:] == 0).all()


def test_nothing_is_submitted_from_the_end_on() -> None:
    (done,) = closed_loop(nvm(read_delay=10 * US, units=1), [Job(iter(reads(1000)), 1, end=95 * US)])
    assert done.commands["now"].tolist() == [n * 10 * US for n in range(10)]


def test_a_loop_has_no_ranges() -> None:
    with pytest.raises(ValueError, match="no commands with ranges"):
        closed_loop(nvm(), [Job(iter([commands(Opcode.DSM)]), 1)])


# -- loads in fio's words ------------------------------------------------------------------------------------------


def load_of(keys: dict[str, str], blocks: int = 1000, shift: int = 12) -> Load:
    return Load.of({"rw": "randread"} | keys, blocks, shift, seed=1, runtime="10s")


def first_piece(keys: dict[str, str], job: int = 0, **options: int) -> np.ndarray:
    return next(load_of(keys, **options).commands("one", job))


@given(
    st.sampled_from(["read", "write", "randread", "randwrite", "rw", "randrw"]),
    st.integers(1, 16),
    st.integers(0, 500),
    st.integers(20, 2000),
    st.booleans(),
    st.integers(0, 5),
)
def test_all_io_is_inside_its_part_of_the_device(rw: str, kib: int, offset: int, size: int, repeats: bool, job: int) -> None:
    keys = {"rw": rw, "bs": f"{4 * kib}k", "offset": f"{4 * offset}k", "size": f"{4 * size}k", "norandommap": str(int(repeats))}
    found = next(load_of(keys | {"number_ios": "5000"}, blocks=1000).commands("x", job))
    assert len(found) == 5000 and found.dtype == COMMAND
    assert (found["slba"] >= offset).all()
    assert (found["slba"] + found["nlb"] <= min(1000, offset + size)).all()
    assert ((found["slba"] - offset) % kib == 0).all()


def test_a_random_pass_touches_every_place_once_before_any_again() -> None:
    slba = first_piece({})["slba"]
    assert sorted(slba[:1000].tolist()) == list(range(1000))
    assert sorted(slba[1000:2000].tolist()) == list(range(1000))
    assert len(np.unique(first_piece({"norandommap": "1"})["slba"][:1000])) < 1000


def test_in_order_goes_round() -> None:
    slba = first_piece({"rw": "write", "bs": "8k"})["slba"]
    assert slba[:501].tolist() == [*range(0, 1000, 2), 0]


def test_a_mix_is_as_mixed_as_it_says_and_has_its_sizes() -> None:
    found = first_piece({"rw": "randrw", "rwmixread": "70", "bs": "8k,4k"})
    share = (found["opcode"] == Opcode.READ).mean()
    assert share == pytest.approx(0.7, abs=0.01)
    assert set(found["nlb"][found["opcode"] == Opcode.READ]) == {2}
    assert set(found["nlb"][found["opcode"] == Opcode.WRITE]) == {1}


def test_the_same_seed_section_and_job_make_the_same_load() -> None:
    same, again, other = first_piece({}), first_piece({}), first_piece({}, job=1)
    assert np.array_equal(same, again)
    assert not np.array_equal(same, other)


@pytest.mark.parametrize(
    ("keys", "ios"),
    [
        ({"number_ios": "7"}, 7),
        ({"io_size": "80k"}, 20),
        ({"time_based": "0"}, 1000),
        ({"time_based": "0", "loops": "3", "size": "40k"}, 30),
        ({}, None),
    ],
)
def test_how_much_is_done(keys: dict[str, str], ios: int | None) -> None:
    assert load_of(keys).ios == ios
    assert len(first_piece(keys)) == (PIECE if ios is None else ios)


def test_keys_that_make_another_load_are_named() -> None:
    assert not_simulated({"rw": "randread", "bssplit": "4k/50:8k/50", "fsync": "1", "ioengine": "libaio"}) == ["bssplit", "fsync"]
    assert not_simulated({"rw": "randtrim"}) == ["rw"]


# -- recorded I/O --------------------------------------------------------------------------------------------------

FIO_3 = """fio version 3 iolog
23 /dev/x add
121 /dev/x open
124 /dev/x read 0 4096
20352 /dev/x write 45056 8192
20400 /dev/x sync 0 0
20500 /dev/x trim 0 4096
"""
FIO_2 = """fio version 2 iolog
/dev/x add
/dev/x read 0 4096
/dev/x wait 500 0
/dev/x write 45056 8192
/dev/x wait 1000 0
/dev/x datasync 0 0
"""
MSR = """128166372003061629,hm,0,Read,1024,4096,559
128166372003061739,hm,0,Write,45056,8192,559
"""
BLKPARSE = """  8,0    3        1     0.000000000   697  G   N [fio]
  8,0    3        2     0.000001000   697  Q   R 0 + 8 [fio]
  8,0    3        3     0.000009000   697  D   R 0 + 8 [fio]
  8,0    3        4     1.500000000   697  Q  WS 88 + 16 [fio]
  8,0    3        5     1.600000000   697  Q FWS [fio]
  8,0    3        6     1.700000000   697  Q   D 0 + 8 [fio]
CPU3 (8,0):
 Reads Queued:           1,        4KiB
"""


@pytest.mark.parametrize(
    ("text", "rows", "skipped"),
    [
        (FIO_3, [(0, READ, 0, 4096), (20_228 * US, WRITE, 45056, 8192), (20_276 * US, FLUSH, 0, 0)], 3),
        (FIO_2, [(0, READ, 0, 4096), (500 * US, WRITE, 45056, 8192), (1500 * US, FLUSH, 0, 0)], 1),
        (MSR, [(0, READ, 1024, 4096), (11_000, WRITE, 45056, 8192)], 0),
        (BLKPARSE, [(0, READ, 0, 4096), (1_499_999_000, WRITE, 45056, 8192), (1_599_999_000, FLUSH, 0, 0)], 1),
    ],
    ids=["fio 3", "fio 2", "MSR", "blkparse"],
)
def test_recorded_io_is_read(tmp_path: Path, text: str, rows: list[tuple[int, ...]], skipped: int) -> None:
    path = tmp_path / "io"
    path.write_text(text)
    found = read_recorded(path)
    assert list(zip(found.t.tolist(), found.op.tolist(), found.at.tolist(), found.size.tolist(), strict=True)) == rows
    assert found.skipped == skipped


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello\n", "begins neither"),
        ("", "begins neither"),
        ("fio version 3 iolog\n1 /dev/x frobnicate 0 0\n", "line 2 of fio's iolog"),
        (MSR + "x\n", "line 3 is not one"),
        ("fio version 3 iolog\n1 /dev/x add\n", "no I/O"),
    ],
)
def test_a_file_that_is_none_is_said_to_be_none(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "io"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_recorded(path)


def test_bytes_become_the_blocks_they_touch_and_what_is_beyond_the_end_is_folded_back(tmp_path: Path) -> None:
    path = tmp_path / "io"
    path.write_text(MSR)
    found, folded = read_recorded(path).commands(blocks=10, block_shift=12)
    assert found[["slba", "nlb"]].tolist() == [(0, 2), (11 % 9, 2)]
    assert folded == 1
    with pytest.raises(ValueError, match="longer than the device"):
        read_recorded(path).commands(blocks=1, block_shift=12)


# -- the verb ------------------------------------------------------------------------------------------------------


def simulated(tmp_path: Path, body: str, **options: object) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text("schema = 1\n" + body)
    return simulate(path, tmp_path / "runs", Options(**options), [], lambda _: None)  # type: ignore[arg-type]


def config_of(body: str) -> Config:
    (obj,) = loads("schema = 1\n" + body).of("device")
    return Config.of(profile_of(obj.spec), obj.spec.size, seed=obj.spec.seed, block_shift=12)


LOADS = (
    DEVICE
    + """
[workload.mix]
on = "ssd"
repeats = 2
fio = { rw = "randrw", iodepth = 4, runtime = "50ms", ramp_time = "10ms" }
[workload.two]
on = "ssd"
[workload.two.fio]
runtime = "20ms"
a = { rw = "read", bs = "64k" }
b = { rw = "randwrite", numjobs = 2 }
c = { rw = "randread", stonewall = true }
"""
)
FIO_ON = '[workload.w]\non = "{on}"\nfio = {fio}\n'
READS = FIO_ON.format(on="ssd", fio='{ rw = "read" }')


def test_a_run_is_like_any_other(tmp_path: Path) -> None:
    run = load_run(simulated(tmp_path, LOADS, precondition=1.0))
    assert [w.facts["name"] for w in run.workloads] == ["mix-1", "mix-2", "two"]
    mix, _, two = run.workloads
    assert {result["op"] for result in mix.results} == {"read", "write"}
    assert mix.results[0]["ios"] == len(mix.latency[mix.latency["op"] == 0])
    assert mix.results[0]["runtime_ns"] < 60_000_000
    assert two.sections == ["a", "b", "c"]
    assert set(two.latency["job"][two.latency["section"] == 1]) == {0, 1}
    a, c = (two.latency["t"][two.latency["section"] == number] for number in (0, 2))
    assert a.max() < c.min(), "what comes after a stonewall begins when all before it have ended"
    page = write_report(run, tmp_path)
    assert "simulated in virtual time" in page.read_text()
    assert "mix, read" in terminal_table(run)


def test_the_same_scenario_gives_the_same_run(tmp_path: Path) -> None:
    one, two = (load_run(simulated(tmp_path, LOADS)) for _ in range(2))
    for a, b in zip(one.workloads, two.workloads, strict=True):
        assert np.array_equal(a.latency, b.latency)


def test_an_aged_drive_writes_slower_and_says_how_much_more_it_wrote(tmp_path: Path) -> None:
    load = '[workload.w]\non = "ssd"\nfio = { rw = "randwrite", iodepth = 32, runtime = "500ms" }\n'
    fresh, aged = (load_run(simulated(tmp_path, DEVICE + load, precondition=times)).workloads[0] for times in (0.0, 3.0))
    assert aged.results[0]["iops"] < fresh.results[0]["iops"] * 0.8
    assert aged._json("results.json")["accounts"]["gc_units"] > 0


def test_the_lesson_of_the_scenario_is_there_without_a_kernel(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "scenarios/spare-space.toml"
    run = load_run(simulate(path, tmp_path, Options(precondition=1.0), [], lambda _: None))
    iops = {work.facts["variant"]: work.results[0]["iops"] for work in run.workloads}
    assert iops["roomy"] > 2 * iops["tight"]


def test_recorded_io_is_replayed_at_its_times(tmp_path: Path) -> None:
    path = tmp_path / "io"
    path.write_text(BLKPARSE)
    (work,) = load_run(simulated(tmp_path, DEVICE, io=path)).workloads
    assert work.latency["op"].tolist() == [0, 1]
    began = work.latency["t"] - work.latency["latency"].astype(np.int64)
    assert int(began[1] - began[0]) == 1_499_999_000


JOB = """; as fio's own users write them
[global]
filename=/dev/sdx
ioengine=libaio
runtime=20ms
time_based
[one]
rw=randwrite
iodepth=4
[two]
stonewall
rw=read
bs=64k
"""


def test_a_fio_job_file_is_a_load(tmp_path: Path) -> None:
    path = tmp_path / "mine.fio"
    path.write_text(JOB)
    (work,) = load_run(simulated(tmp_path, DEVICE, io=path)).workloads
    assert (work.facts["name"], work.sections) == ("mine", ["one", "two"])
    assert {(r["section"], r["op"]) for r in work.results} == {(0, "write"), (1, "read")}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (JOB + "fsync=1\n", InvalidScenario, "two.fsync"),
        (JOB + "frobnicate=1\n", InvalidScenario, "frobnicate"),
        (JOB + "=\n", UsageError, "line 14"),
    ],
)
def test_a_fio_job_file_that_cannot_be_is_refused(tmp_path: Path, text: str, error: type[Exception], said: str) -> None:
    path = tmp_path / "mine.fio"
    path.write_text(text)
    with pytest.raises(error, match=said):
        simulated(tmp_path, DEVICE, io=path)
    with pytest.raises(UsageError, match="cannot read"):
        simulated(tmp_path, DEVICE, io=tmp_path / "none")
    assert not (tmp_path / "runs").exists()


def test_a_rule_delays_what_it_hits_from_the_first_load_on(tmp_path: Path) -> None:
    rule = '[device.ssd.fault.slow]\naction = "delay"\ndelay = "7ms"\nopcode = "read"\nevery = 10\n'
    off = rule.replace("slow", "off").replace("7ms", "70ms") + "enable = false\n"
    load = FIO_ON.format(on="ssd", fio='{ rw = "randrw", iodepth = 4, runtime = "50ms" }')
    (work,) = load_run(simulated(tmp_path, DEVICE + rule + off + load)).workloads
    read = work.latency["op"] == 0
    hit = work.latency["latency"] > 7_000_000
    assert hit[read].mean() == pytest.approx(0.1, abs=0.01)
    assert not hit[~read].any() and work.latency["latency"].max() < 70_000_000


def test_a_drive_is_saved_and_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    def load(name: str) -> str:
        return f'[workload.{name}]\non = "ssd"\nfio = {{ rw = "randwrite", iodepth = 8, runtime = "100ms" }}\n'

    aged, twice = tmp_path / "aged", tmp_path / "twice"
    simulated(tmp_path, DEVICE + load("a"), precondition=2.0, save=aged)
    (one,) = load_run(simulated(tmp_path, DEVICE + load("a"), restore=aged, save=twice)).workloads
    (two,) = load_run(simulated(tmp_path, DEVICE + load("a"), restore=aged)).workloads
    assert np.array_equal(one.latency, two.latency)
    with pytest.raises(UsageError, match="cannot write"):
        simulated(tmp_path, DEVICE + load("a"), save=tmp_path / "no" / "where")
    accounts = [Device.load(path.read_bytes(), config_of(DEVICE)).stats() for path in (aged, twice)]
    assert accounts[1]["host_units"] - accounts[0]["host_units"] == len(one.latency)
    assert accounts[0]["gc_units"] > 0
    (three,) = load_run(simulated(tmp_path, DEVICE + f'state = "{aged}"\n' + load("a"))).workloads
    assert np.array_equal(one.latency, three.latency)


def test_the_state_of_a_live_drive_has_its_content_too(tmp_path: Path) -> None:
    state, device = tmp_path / "live", Device(config_of(DEVICE))
    device.submit(commands(Opcode.WRITE, np.arange(8) * 8, 8))
    alone = device.save()
    padded = alone.ljust(-(-len(alone) // 4096) * 4096, b"\0")
    state.write_bytes(padded + bytes(64 << 20))
    assert read_state(state) == alone
    simulated(tmp_path, DEVICE + READS, restore=state)
    for wrong in (alone[:-1], alone + b"x", alone[:50], b"", padded + bytes((64 << 20) - 1)):
        state.write_bytes(wrong)
        with pytest.raises(UsageError, match="no state of a device, or not all of one"):
            simulated(tmp_path, DEVICE + READS, restore=state)


@pytest.mark.parametrize(
    ("device", "options", "said"),
    [
        (DEVICE.replace("64M", "65M"), {}, "of another device"),
        (DEVICE + "seed = 9\n", {}, "refused"),
        (DEVICE, {"precondition": 1.0}, "has its past"),
        (DEVICE, {"restore": Path("/nowhere")}, "/nowhere"),
        (DEVICE + DEVICE.replace("ssd", "other", 1), {}, "which device"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused(tmp_path: Path, device: str, options: dict[str, object], said: str) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.write_bytes(Device(config_of(DEVICE)).save())
    with pytest.raises(UsageError, match=said):
        simulated(tmp_path, device + READS, **({"restore": snapshot} | options))
    assert not (tmp_path / "runs").exists()


FAULT = "[device.ssd.fault.x]\n"


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        (f'{FAULT}action = "delay"\ndelay = "1s"\nqueue = 2\n{READS}', "device.ssd.fault.x.queue", "has no queues"),
        (f'{FAULT}action = "drop"\n{READS}', "device.ssd.fault.x.action", 'only "delay"'),
        (FIO_ON.format(on="d", fio='{ rw = "read" }') + '[disk.d]\nsize = "64M"\n', "workload.w.on", "no virtual device"),
        (FIO_ON.format(on="ssd", fio='{ rw = "read", fsync = 1 }'), "workload.w.fio.fsync", "has not got this"),
    ],
)
def test_what_cannot_be_simulated_is_said_before_anything_is_written(tmp_path: Path, body: str, where: str, what: str) -> None:
    with pytest.raises(InvalidScenario) as refused:
        simulated(tmp_path, DEVICE + body)
    (problem,) = refused.value.problems
    assert problem.where == where and what in problem.what
    assert not (tmp_path / "runs").exists()


def test_without_a_load_or_a_device_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        simulated(tmp_path, DEVICE)
    assert "--io" in refused.value.hint
    path = tmp_path / "io"
    path.write_text(MSR)
    with pytest.raises(UsageError) as refused:
        simulated(tmp_path, DEVICE + DEVICE.replace("ssd", "other", 1), io=path)
    assert "ssd, other" in refused.value.hint


# -- zones ---------------------------------------------------------------------------------------------------------

ZONED = """[device.ssd]
size = "64M"
block_size = 4096
profile = "zns-prototype"
medium = { channels = 2, dies = 2, zone_size = 4096, zone_capacity = 3000, zone_max_active = 4, page_size = 16384 }
"""


def zoned_device() -> Device:
    return Device(config_of(ZONED))


def zoned_load_of(**keys: str) -> Load:
    return Load.of(keys, writable(zoned(zoned_device())), 12, 1, "1s")


@given(st.integers(1, 4), st.sampled_from([4, 24, 100]), st.integers(1, 8), st.integers(0, 700))
def test_a_load_writes_zones_in_order_and_no_two_jobs_one_zone(jobs: int, kib: int, depth: int, ios: int) -> None:
    device = zoned_device()
    limit = {"number_ios": str(ios)} if ios else {"time_based": "0"}
    load = zoned_load_of(rw="write", bs=f"{kib}k", iodepth=str(depth), numjobs=str(jobs), **limit)
    written: list[set[int]] = []
    done = closed_loop(device, [Job(ZonedLoad(load, zoned(device)).commands("w", job), depth) for job in range(jobs)])
    for each in done:
        assert not each.decisions["status"].any()
        kept = np.isin(each.commands["opcode"], [Opcode.WRITE, ZoneOpcode.APPEND])
        assert np.count_nonzero(kept) == (ios or load.ios)
        written.append(set((each.commands["slba"][kept] // 1024).tolist()))
        assert depth > 1 or (each.commands["opcode"][kept] == Opcode.WRITE).all()
    assert sum(map(len, written)) == len(set().union(*written))
    assert device.stats()["active_zones"] <= jobs and device.audit() is None


@given(st.sampled_from(["read", "randread"]), st.sampled_from(["0", "12M"]), st.sampled_from([4, 24, 100]))
def test_a_load_reads_what_can_be_written_of_each_zone(rw: str, offset: str, kib: int) -> None:
    load = zoned_load_of(rw=rw, bs=f"{kib}k", offset=offset, number_ios="16000", norandommap="1")
    (piece,) = ZonedLoad(load, zoned(zoned_device())).commands("r", 0)
    zone, at = np.divmod(piece["slba"].astype(int), 1024)
    assert at.max() + kib // 4 <= 750 and (at % (kib // 4) == 0).all()
    assert (zone.min(), zone.max()) == (5 if offset != "0" else 0, 15)
    assert rw != "read" or (np.diff(piece["slba"].astype(int)) > 0)[:100].all()


def test_zones_are_full_at_first_and_a_load_leaves_none_open_for_the_next(tmp_path: Path) -> None:
    load = '[workload.{0}]\non = "ssd"\nfio = {{ rw = "write", bs = "64k", iodepth = 4, numjobs = 4, number_ios = 5 }}\n'
    other = '[workload.z]\non = "ssd"\nfio = { rw = "write", bs = "4k", offset = "24M", number_ios = 9 }\n'
    reads = '[workload.r]\non = "ssd"\nfio = { rw = "randread", iodepth = 4, number_ios = 500, zonemode = "zbd" }\n'
    run = load_run(simulated(tmp_path, ZONED + load.format("a") + other + reads))
    assert [len(work.latency) for work in run.workloads] == [20, 9, 500]
    assert np.median(run.workloads[2].latency["latency"]) > 70 * US, "most of what is read was written"


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        (FIO_ON.format(on="ssd", fio='{ rw = "randwrite" }'), "workload.w.fio.rw", "has not got this"),
        (FIO_ON.format(on="ssd", fio='{ rw = "rw" }'), "workload.w.fio.rw", "has not got this"),
        (FIO_ON.format(on="ssd", fio='{ rw = "read", zonemode = "strided" }'), "workload.w.fio.zonemode", "has not got this"),
    ],
)
def test_a_load_that_zones_cannot_take_is_refused(tmp_path: Path, body: str, where: str, what: str) -> None:
    with pytest.raises(InvalidScenario) as refused:
        simulated(tmp_path, ZONED + body)
    assert [(p.where, what in p.what) for p in refused.value.problems] == [(where, True)]


def test_what_is_not_of_a_simulated_device_is_for_live_labs(tmp_path: Path) -> None:
    body = "".join(f'[device.{name}]\nsize = "64M"\ncount = 2\n' for name in "dm") + '[raid.md]\nlevel = 1\non = ["m"]\n'
    body += '[workload.w]\non = ["d.1"]\nledger = true\nfio = { rw = "randwrite", bs = "4k", size = "1M", runtime = "1s" }\n'
    body += '[[event]]\nat = 0\non = "d.2"\ndo = "timing"\nread_delay = "1ms"\n'
    body += '[[event]]\nat = 0\non = "md"\ndo = "fail"\nmember = "m.1"\n'
    with pytest.raises(InvalidScenario) as caught:
        simulated(tmp_path, body)
    assert [problem.where for problem in caught.value.problems] == ["workload.w.ledger", "event.1.on", "event.2"]


ON_D = '[workload.w]\non = "d"\nfio = { rw = "randread", bs = "4k", iodepth = 1, runtime = "10ms" }\n'
NVM = '[device.d]\nsize = "64M"\nread_delay = "100us"\nread_time = "0s"\n'


def test_a_device_becomes_slow_once_and_stays_so(tmp_path: Path) -> None:
    """At half of the planned time; the second repeat meets it as the first has left it."""
    event = '[[event]]\nat = "50%"\non = "d"\ndo = "timing"\nread_delay = "300us"\n'
    run = load_run(simulated(tmp_path, NVM + ON_D.replace("\nfio", "\nrepeats = 2\nfio") + event))
    first, second = run.workloads
    (outcome,) = first.happened
    assert outcome["begun"] == outcome["due"] == first.started + 5_000 * US
    assert (outcome["label"], outcome["result"]) == ("d read_delay=300000", "done") and not second.happened
    began = first.latency["t"] - first.latency["latency"]
    assert set(first.latency["latency"][began < outcome["due"]]) == {100 * US}
    assert set(first.latency["latency"][began >= outcome["due"]]) == {300 * US} == set(second.latency["latency"])
    assert [e["kind"] for e in first.events] == ["start", "event", "event-end", "end"]
    assert "d read_delay=300000" in terminal_table(run)


def test_a_rule_comes_into_force_and_rests_as_events_say(tmp_path: Path) -> None:
    rules = '[device.d.fault.other]\naction = "delay"\ndelay = "1us"\nenable = false\n'
    rules += '[device.d.fault.slow]\naction = "delay"\ndelay = "1ms"\nenable = false\n'
    events = "".join(
        f'[[event]]\nat = "{at}"\non = "d"\ndo = "fault"\nrule = "slow"\nenable = {enable}\n'
        for at, enable in (("2ms", "true"), ("6ms", "false"), ("end", "true"))
    )
    (w,) = load_run(simulated(tmp_path, NVM + rules + ON_D + events)).workloads
    began = w.latency["t"] - w.latency["latency"] - w.started
    slow = (began >= 2_000 * US) & (began < 6_000 * US)
    assert set(w.latency["latency"][slow]) == {1_100 * US} and set(w.latency["latency"][~slow]) == {100 * US}
    assert [(e["result"], e["found"]) for e in w.happened] == [("done", ""), ("done", "4 hits"), ("done", "")]
    assert w.happened[2]["due"] is None and w.happened[2]["begun"] >= w.latency["t"].max()


def test_what_a_cut_meets_on_its_way_is_done_when_the_device_is_back(tmp_path: Path) -> None:
    """Every command once, none while there is no power; what waits for it has waited from the beginning."""
    load = '[workload.w]\non = "ssd"\nfio = { rw = "randrw", bs = "4k", iodepth = 8, number_ios = 3000, runtime = "1s" }\n'
    event = '[[event]]\nat = "3ms"\non = "ssd"\ndo = "cut"\n'
    (plain,) = load_run(simulated(tmp_path, DEVICE + load)).workloads
    (w,) = load_run(simulated(tmp_path, DEVICE + load + event)).workloads
    (outcome,) = w.happened
    assert len(w.latency) == len(plain.latency) == 3000
    ends, began = w.latency["t"].astype(int), (w.latency["t"] - w.latency["latency"]).astype(int)
    cut, ready = outcome["begun"], outcome["ended"]
    assert ready > cut == w.started + 3_000 * US and outcome["found"].startswith("ready after ")
    assert not ((ends > cut) & (ends < ready)).any() and not ((began > cut) & (began < ready)).any()
    assert ((began <= cut) & (ends >= ready)).sum() == 8


def test_zones_go_on_after_a_cut(tmp_path: Path) -> None:
    load = FIO_ON.format(on="ssd", fio='{ rw = "write", bs = "16k", iodepth = 4, runtime = "50ms", zonemode = "zbd" }')
    (w,) = load_run(simulated(tmp_path, ZONED + load + '[[event]]\nat = "20ms"\non = "ssd"\ndo = "cut"\n')).workloads
    (outcome,) = w.happened
    assert outcome["begun"] == w.started + 20_000 * US and (w.latency["t"] > outcome["ended"]).any()


def test_what_comes_after_the_load_is_not_reached(tmp_path: Path) -> None:
    load = '[workload.w]\non = "d"\nfio = { rw = "randread", bs = "4k", number_ios = 10, runtime = "1s" }\n'
    event = '[[event]]\nat = "90%"\non = "d"\ndo = "timing"\nread_delay = "1ms"\n'
    (w,) = load_run(simulated(tmp_path, NVM + load + event)).workloads
    assert [e["result"] for e in w.happened] == ["not reached"] and len(w.latency) == 10


def test_zones_that_there_cannot_be_are_refused_with_their_parameter(tmp_path: Path) -> None:
    with pytest.raises(InvalidScenario) as refused:
        simulated(tmp_path, ZONED.replace("zone_size = 4096", "zone_size = 5000") + READS)
    (problem,) = refused.value.problems
    assert problem.where == "device.ssd.medium" and problem.what.startswith("zone_size is not a power of two")
    assert not (tmp_path / "runs").exists()


def test_zones_take_no_random_past_and_no_recorded_io(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written at random"):
        simulated(tmp_path, ZONED + READS, precondition=1.0)
    path = tmp_path / "io"
    path.write_text(MSR)
    with pytest.raises(UsageError, match="cannot be replayed"):
        simulated(tmp_path, ZONED, io=path)


def test_more_jobs_than_zones_are_refused() -> None:
    with pytest.raises(ValueError, match="17 jobs have 16 whole zones"):
        ZonedLoad(zoned_load_of(rw="write", numjobs="17"), zoned(zoned_device())).commands("w", 0)
    with pytest.raises(ValueError, match="room for 750 blocks"):
        ZonedLoad(zoned_load_of(rw="read", bs="4M"), zoned(zoned_device())).commands("r", 0)


@pytest.mark.slow
def test_the_lesson_of_the_zoned_scenario(tmp_path: Path) -> None:
    """A zone is as fast as its dies."""
    path = Path(__file__).parents[2] / "scenarios/zoned.toml"
    run = load_run(simulate(path, tmp_path, Options(), [], lambda _: None))
    iops = {(work.facts["load"], work.facts["variant"]): work.results[0]["iops"] for work in run.workloads}
    assert iops["write", "wide"] > 5 * iops["write", "narrow"]
    assert iops["write8", "narrow"] == pytest.approx(8 * iops["write", "narrow"], rel=0.02)
    assert iops["randread", "narrow"] == pytest.approx(iops["randread", "wide"], rel=0.1)
