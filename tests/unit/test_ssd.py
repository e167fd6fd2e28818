# SPDX-License-Identifier: GPL-2.0-or-later
"""The conventional SSD: what must hold for any geometry and any commands, and what each part of it costs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.sim import RANGE, UNMAPPED, Config, Device, Flag, Kind, Opcode, Status, Timing, commands, model
from nvlab.sim._core import ffi

US = 1_000
MS = 1_000_000
SOAK = 100 if os.environ.get("NVLAB_SOAK") else 1
many = settings(deadline=None, max_examples=60 * SOAK)

# One channel, one die of one plane, a page a program, no transfer or firmware time: times are easy to say
PLAIN = {
    "channels": 1, "dies": 1, "planes": 1, "page_size": 4096, "cell_bits": 1, "program_pages": 1, "pages": 16,
    "blocks": 0, "read_lsb": 50 * US, "program_lsb": 500 * US, "erase": 3 * MS, "channel_speed": 0, "link_speed": 0,
    "fw_read": 0, "fw_read_large": 0, "fw_write": 0, "fw_write_unit": 0, "buffer": 64, "spare": 300,
}  # fmt: skip


def drive(units: int = 1024, vwc: bool = True, **changes: int) -> Device:
    return Device(Config(units, 1, Kind.SSD, 12, vwc, model=model(**PLAIN | changes)))


def fill(device: Device, times: int = 1, seed: int = 1) -> None:
    """Write the whole drive once in order, then at random, ``times`` its capacity."""
    units = device.config.blocks
    device.submit(commands(Opcode.WRITE, np.arange(units)))
    device.submit(commands(Opcode.WRITE, np.random.default_rng(seed).integers(0, units, times * units)))


SOUND = st.fixed_dictionaries({
    "channels": st.integers(1, 4),
    "dies": st.integers(1, 4),
    "planes": st.integers(1, 4),
    "page_size": st.sampled_from([4096, 8192, 16384]),
    "cell_bits": st.integers(1, 4),
    "program_pages": st.integers(1, 4),
    "multi_plane": st.integers(0, 1),
    "blocks": st.integers(8, 200),
    "pages": st.just(0),
    "suspend": st.integers(0, 1),
    "buffer": st.integers(0, 300),
    "plp": st.integers(0, 1),
    "spare": st.integers(0, 400),
    "gc_policy": st.integers(0, 4),
    "gc_choices": st.integers(1, 8),
    "gc_low": st.integers(4, 9),
    "gc_background": st.integers(0, 20),
    "gc_idle": st.integers(0, 10**6),
    "hot_cold": st.integers(0, 1),
    "wear_gap": st.integers(0, 3),
    "mapping_cache": st.sampled_from([0, 0, 4, 8, 16]),
    "read_disturb": st.sampled_from([0, 0, 1, 20, 500]),
    "retention": st.sampled_from([0, 0, 1, 20, 500]),
    "awupf": st.sampled_from([0, 0, 1, 7, 40, 254]),
    "fdp_handles": st.sampled_from([0, 0, 1, 3, 5]),
    "fdp_persistent": st.integers(0, 1),
    "channel_speed": st.sampled_from([0, 200, 1200]),
    "link_speed": st.sampled_from([0, 3200, 100_000]),
})
# Blocks that are bad or turn bad: such a drive may come to its end
WEAR = st.fixed_dictionaries({
    "bad_factory": st.integers(0, 20_000),
    "erase_fail": st.integers(0, 3000),
    "program_fail": st.integers(0, 50_000),
    "endurance": st.integers(0, 20),
})




def configs_of(*parts: st.SearchStrategy[dict[str, int]]) -> st.SearchStrategy[Config]:
    return st.builds(
        Config,
        blocks=st.integers(1, 5000),
        seed=st.integers(0, 2**64 - 1),
        kind=st.just(Kind.SSD),
        block_shift=st.sampled_from([9, 12]),
        vwc=st.booleans(),
        model=st.tuples(*parts).map(lambda drawn: model(**{name: n for part in drawn for name, n in part.items()})),
    )


configs = configs_of(SOUND)
wearing = configs | configs_of(SOUND, WEAR)


def may_end(config: Config, status: np.ndarray) -> bool:
    """Whether a drive may answer so: only one whose blocks turn bad may come to its end."""
    wears = any(config.model[name] for name in ("bad_factory", "erase_fail", "program_fail"))
    return set(status.tolist()) <= ({Status.SUCCESS, Status.READ_ONLY} if wears else {Status.SUCCESS})



def stream(config: Config, seed: int, n: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Commands one by one, half of them to an eighth of the drive; and the range of a deallocation."""
    rng = np.random.default_rng(seed)
    now = 0
    opcodes = [Opcode.READ, Opcode.WRITE, Opcode.WRITE, Opcode.WRITE, Opcode.WRITE_ZEROES, Opcode.DSM, Opcode.FLUSH]
    for opcode in rng.choice(opcodes, n):
        slba = int(rng.integers(0, config.blocks if rng.integers(2) else config.blocks // 8 + 1))
        nlb = int(min(rng.integers(1, 200), config.blocks - slba))
        now += int(rng.integers(0, MS))
        flags = int(rng.integers(0, 4))
        if opcode == Opcode.DSM:
            yield commands(opcode, 0, 1, now=now, flags=flags), np.array([(slba, nlb)], RANGE)
        else:
            # of a handle that there is not as well
            where = {"action": 2, "key": int(rng.integers(0, 7))} if opcode == Opcode.WRITE and rng.integers(2) else {}
            yield commands(opcode, slba, nlb, now=now, flags=flags, **where), None


def follow(content: np.ndarray, cmd: np.void, ranges: np.ndarray | None) -> None:
    if ranges is not None:
        cmd_range = ranges[0] if cmd["flags"] & Flag.DEALLOCATE else (0, 0)
        content[int(cmd_range[0]) : int(cmd_range[0]) + int(cmd_range[1])] = False
    elif cmd["opcode"] in (Opcode.WRITE, Opcode.WRITE_ZEROES):
        content[cmd["slba"] : cmd["slba"] + cmd["nlb"]] = cmd["opcode"] == Opcode.WRITE


@many
@given(wearing, st.integers(0, 2**32 - 1))
def test_every_unit_written_lies_in_one_place_and_no_other_unit_does(config: Config, seed: int) -> None:
    device, content = Device(config), np.zeros(config.blocks, bool)
    for cmds, ranges in stream(config, seed, 60):
        status = device.submit(cmds, ranges)["status"]
        assert may_end(config, status)
        if status[0] == Status.SUCCESS:
            follow(content, cmds[0], ranges)
        assert device.audit() is None
    # a deallocation takes hold of the map with the command after it
    device.submit(commands([Opcode.FLUSH] * 3))
    units = -(-config.blocks * 2**config.block_shift // 4096)
    held = np.zeros(units * (4096 >> config.block_shift), bool)
    held[: config.blocks] = content
    places = device.mapping()
    assert np.array_equal(places != UNMAPPED, held.reshape(units, -1).any(axis=1))
    assert len(np.unique(places[places != UNMAPPED])) == np.count_nonzero(places != UNMAPPED)
    assert np.array_equal(device.written(0, config.blocks), content)


@many
@given(wearing, st.integers(0, 2**32 - 1))
def test_time_never_runs_backwards_and_nothing_is_due_before_it_came(config: Config, seed: int) -> None:
    device = Device(config)
    before = device.times()
    for cmds, ranges in stream(config, seed, 60):
        assert device.submit(cmds, ranges)["target"][0] >= cmds["now"][0]
        after = device.times()
        assert (after >= before).all()
        before = after


@many
@given(configs, st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_a_full_drive_written_at_random_goes_on_for_ever(config: Config, seed: int, times: int) -> None:
    """Every write is taken, accounts are exact, and no line is lost."""
    device = Device(config)
    per_unit = 4096 >> config.block_shift
    rng = np.random.default_rng(seed)
    cmds = commands(Opcode.WRITE, rng.integers(0, config.blocks, times * config.blocks // per_unit + 1))
    assert (device.submit(commands(Opcode.WRITE, np.arange(config.blocks)))["status"] == Status.SUCCESS).all()
    assert (device.submit(cmds)["status"] == Status.SUCCESS).all()
    t = device.stats()
    assert t["host_units"] == config.blocks + len(cmds)
    written = t["host_units"] + t["gc_units"] + t["pad_units"] + t["map_units"]
    assert t["programmed_units"] == written - t["open_units"]
    assert t["lines"] == t["free_lines"] + t["open_lines"] + t["closed_lines"] + t["retired_lines"]
    assert device.audit() is None


@many
@given(wearing, st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_a_restored_snapshot_goes_on_as_if_nothing_had_been(config: Config, seed: int, after: int) -> None:
    kept = Device(config)
    moved = Device(config)
    for n, (cmds, ranges) in enumerate(stream(config, seed, 60)):
        if n == after:
            moved = Device.load(moved.save(), config)
        assert np.array_equal(kept.submit(cmds, ranges), moved.submit(cmds, ranges))
    assert kept.stats() == moved.stats() and kept.counters() == moved.counters()
    assert np.array_equal(kept.mapping(), moved.mapping())


def test_a_snapshot_that_does_not_fit_is_refused() -> None:
    device = drive()
    snapshot = device.save()
    damaged = bytearray(snapshot)
    damaged[len(snapshot) // 2] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        Device.load(bytes(damaged), device.config)
    with pytest.raises(ValueError, match="cut short"):
        Device.load(snapshot[:-1], device.config)
    with pytest.raises(ValueError, match="another device"):
        Device.load(snapshot, Config(1024, 2, Kind.SSD, 12, True, model=device.config.model))
    with pytest.raises(ValueError, match="another build"):
        Device.load(b"x" * 8 + snapshot[8:], device.config)


def test_a_restored_drive_runs_at_the_speed_it_is_given() -> None:
    device = drive()
    device.submit(commands(Opcode.WRITE, 0, flags=Flag.FUA))
    quick = Device.load(device.save(), drive(read_lsb=7).config)
    assert quick.submit(commands(Opcode.READ, 0, now=MS))["target"][0] == MS + 7


def test_a_drive_that_was_switched_off_wakes_on_another_clock() -> None:
    """Neither is it late by the time it had, nor can a cut undo what it had buffered."""
    device = drive(page_size=16384)
    device.submit(commands(Opcode.WRITE, [0, 1], now=3600_000 * MS))
    woken = Device.load(device.save(), device.config)
    woken.wake(MS)
    assert woken.submit(commands(Opcode.READ, 0, now=MS))["target"][0] == MS + 50 * US
    assert lost(woken, MS) == []
    assert woken.written(0, 2).all() and woken.audit() is None


@pytest.mark.parametrize("kind", [Kind.NVM, Kind.HDD])
def test_other_kinds_are_saved_and_go_on_too(kind: Kind) -> None:
    config = Config(100_000, kind=kind, vwc=True, timing=Timing(1000, 500, 2000, 700), model=model())
    kept, moved = Device(config), Device(config)
    rng = np.random.default_rng(1)
    for n in range(200):
        cmds = commands(rng.choice([Opcode.READ, Opcode.WRITE, Opcode.FLUSH], 5), rng.integers(0, 99_000, 5), 8, now=n * 1000)
        assert np.array_equal(kept.submit(cmds), moved.submit(cmds))
        moved = Device.load(kept.save(), config)
    moved.wake(0)
    assert moved.submit(commands(Opcode.FLUSH, now=7))["target"][0] == 7


# What things cost


def test_a_read_costs_firmware_sense_channel_and_link() -> None:
    device = drive(fw_read=20 * US, channel_speed=400, link_speed=4096)
    device.submit(commands(Opcode.WRITE, 0))
    flushed = int(device.submit(commands(Opcode.FLUSH, now=MS))["target"][0])
    read = device.submit(commands(Opcode.READ, 0, now=flushed + MS))["target"][0]
    assert read - flushed - MS == 20 * US + 50 * US + 10_240 + 1_000  # 4096 B at 400 MB/s; at 4096 MB/s


def test_a_write_is_due_when_it_is_buffered_and_with_fua_when_it_is_programmed() -> None:
    early, fua = drive().submit(commands(Opcode.WRITE, [0, 1], flags=[0, Flag.FUA]))["target"]
    assert (early, fua) == (0, 2 * 500 * US)  # behind the first one's program on the only die


def test_a_controller_that_disables_the_cache_writes_through_it_and_another_does_not() -> None:
    device = drive()
    device.set_cache(False, ctrl=1)
    cached, through = device.submit(commands(Opcode.WRITE, [0, 1], ctrl=[0, 1]))["target"]
    assert (cached, through) == (0, 2 * 500 * US)


def test_without_a_volatile_cache_a_write_waits_for_its_program() -> None:
    assert drive(vwc=False).submit(commands(Opcode.WRITE))["target"][0] == 500 * US
    assert drive(vwc=False, plp=1).submit(commands(Opcode.WRITE))["target"][0] == 0


def test_a_full_buffer_makes_writes_wait_for_programs() -> None:
    """Four programs fit (the least); each further write waits for one more of the only die."""
    targets = drive(buffer=0).submit(commands(Opcode.WRITE, np.arange(7)))["target"]
    assert list(targets) == [0, 0, 0, 0, 500 * US, 1000 * US, 1500 * US]


def test_flush_pads_what_is_open_and_waits_for_it() -> None:
    device = drive(page_size=16384)
    device.submit(commands(Opcode.WRITE))
    assert device.submit(commands(Opcode.FLUSH, now=7))["target"][0] == 7 + 500 * US
    assert device.stats()["pad_units"] == 3
    assert device.submit(commands(Opcode.FLUSH, now=MS))["target"][0] == MS
    assert drive(plp=1).submit(commands([Opcode.WRITE, Opcode.FLUSH]))["target"][1] == 0


def test_units_of_one_page_are_sensed_once_and_pages_of_two_dies_at_the_same_time() -> None:
    device = drive(dies=2, page_size=16384)
    device.submit(commands(Opcode.WRITE, 0, 8, flags=Flag.FUA))
    read = device.submit(commands(Opcode.READ, 0, 8, now=10 * MS))
    assert read["target"][0] == 10 * MS + 50 * US
    assert device.stats()["senses"] == 2


def test_planes_together_program_in_one_time_and_apart_in_two() -> None:
    for together, due in ((1, 500 * US), (0, 1000 * US)):
        device = drive(planes=2, multi_plane=together)
        assert device.submit(commands(Opcode.WRITE, 0, 2, flags=Flag.FUA))["target"][0] == due


def test_page_types_have_their_own_times() -> None:
    times = {"read_lsb": 10, "read_csb": 20, "read_msb": 30, "read_tsb": 40}
    device = drive(cell_bits=4, program_pages=4, pages=16, **times)
    device.submit(commands(Opcode.WRITE, 0, 4, flags=Flag.FUA))
    reads = device.submit(commands(Opcode.READ, np.arange(4), now=np.arange(1, 5) * 10 * MS))
    assert list(reads["target"] - reads["target"] // MS * MS) == [10, 20, 30, 40]


def test_an_mlc_cell_has_a_lower_and_an_upper_page() -> None:
    device = drive(cell_bits=2, pages=16, read_lsb=10, read_csb=20, read_msb=30, program_lsb=100 * US, program_msb=900 * US)
    writes = device.submit(commands(Opcode.WRITE, [0, 1], now=[0, 10 * MS], flags=Flag.FUA))
    assert list(writes["target"]) == [100 * US, 10 * MS + 900 * US]
    reads = device.submit(commands(Opcode.READ, [0, 1], now=[20 * MS, 30 * MS]))
    assert list(reads["target"]) == [20 * MS + 10, 30 * MS + 30]


@pytest.mark.parametrize("suspend", [0, 1])
def test_a_read_interrupts_an_erase_where_the_drive_can(suspend: int) -> None:
    """All is overwritten until a line is erased; the read comes just then."""
    device = drive(256, suspend=suspend, suspend_time=5 * US, gc_background=0)
    device.submit(commands(Opcode.WRITE, np.arange(256)))
    now = int(device.times().max())
    while not device.stats()["erases"]:
        now += 50 * MS
        device.submit(commands(Opcode.WRITE, device.seq % 255, now=now))
    busy = int(device.times()[0])
    assert busy >= now + 3 * MS
    due = int(device.submit(commands(Opcode.READ, 255, now=now + US))["target"][0])
    assert due == (now + US + 5 * US + 50 * US if suspend else busy + 50 * US)
    assert int(device.times()[0]) == busy + 50 * US + suspend * 5 * US


@pytest.mark.parametrize(("suspend", "due"), [(0, 500 * US + 50 * US), (1, 1 * US + 5 * US + 50 * US)])
def test_a_read_interrupts_a_program_where_the_drive_can(suspend: int, due: int) -> None:
    device = drive(suspend=suspend, suspend_time=5 * US)
    device.submit(commands(Opcode.WRITE, 0, flags=Flag.FUA))
    device.submit(commands(Opcode.WRITE, 1, now=10 * MS))
    assert device.submit(commands(Opcode.READ, 0, now=10 * MS + 1 * US))["target"][0] == 10 * MS + due
    if suspend:
        assert device.times()[0] == 10 * MS + 500 * US + 5 * US + 50 * US


def test_what_is_in_the_buffer_is_read_from_there() -> None:
    device = drive()
    device.submit(commands(Opcode.WRITE))
    assert device.submit(commands(Opcode.READ, now=7))["target"][0] == 7
    assert device.stats()["buffer_hits"] == 1
    assert device.submit(commands(Opcode.READ, now=MS))["target"][0] == MS + 50 * US


def test_what_was_never_written_costs_no_sense() -> None:
    device = drive()
    assert device.submit(commands(Opcode.READ))["target"][0] == 0
    assert device.stats()["senses"] == 0


def test_a_part_of_a_unit_is_merged_with_the_rest() -> None:
    device = Device(Config(8192, 1, Kind.SSD, 9, True, model=model(**PLAIN)))
    device.submit(commands(Opcode.WRITE, 0, 8, flags=Flag.FUA))
    assert device.submit(commands(Opcode.WRITE, 3, 1, now=10 * MS))["target"][0] == 10 * MS + 50 * US
    assert device.stats()["merge_reads"] == 1


def test_the_link_has_no_cap() -> None:
    """64 GB/s, eight times what NVMeVirt can express."""
    device = drive(65536, link_speed=64_000, plp=1, buffer=1 << 20)
    assert device.submit(commands(Opcode.WRITE, 0, 16384))["target"][0] == 16384 * 4096 // 64


def test_a_transfer_booked_for_later_leaves_the_time_before_it_to_others() -> None:
    """A busy die's read does not make the channel wait for it."""
    device = drive(dies=2, channel_speed=400)
    device.submit(commands(Opcode.WRITE, [0, 1], flags=Flag.FUA))
    device.submit(commands(Opcode.WRITE, 2, now=10 * MS))
    slow, quick = device.submit(commands(Opcode.READ, [0, 1], now=10 * MS + 20 * US))["target"]
    assert quick == 10 * MS + 20 * US + 50 * US + 10_240
    assert slow == 10 * MS + 10_240 + 500 * US + 50 * US + 10_240


# Collection


@pytest.mark.parametrize("policy", range(5))
def test_every_policy_collects_and_loses_nothing(policy: int) -> None:
    device = drive(4096, gc_policy=policy)
    fill(device, 4)
    assert device.audit() is None
    assert device.stats()["mapped_units"] == 4096


@pytest.mark.parametrize("policy", range(5))
def test_a_full_drive_written_at_random_for_days_loses_nothing(policy: int) -> None:
    """With blocks that turn bad on the way; in soak until the drive has been written thousands of times."""
    device = drive(4096, dies=4, gc_policy=policy, spare=600, bad_factory=2_000, erase_fail=2, program_fail=1, wear_gap=50)
    fill(device)
    for seed in range(10 * SOAK):
        slba = np.random.default_rng(seed).integers(0, 4096, 40_960)
        assert not device.submit(commands(Opcode.WRITE, slba, now=device.seq * 30 * US))["status"].any()
        assert device.audit() is None
    assert device.stats()["mapped_units"] == 4096


def test_collection_in_idle_time_keeps_writes_from_waiting() -> None:
    """The same writes with pauses: with background collection the die is free when they come."""
    worst = {}
    for background in (0, 40):
        device = drive(2048, gc_background=background, gc_idle=0, buffer=0)
        fill(device, 3)
        start = int(device.times().max())
        slba = np.random.default_rng(5).integers(0, 2048, 3000)
        cmds = commands(Opcode.WRITE, slba, now=start + np.arange(3000) * 20 * MS, flags=Flag.FUA)
        worst[background] = int((device.submit(cmds)["target"] - cmds["now"])[500:].max())
    assert worst[40] < worst[0] / 2


def test_what_is_hot_apart_from_what_is_cold_makes_collection_cheaper() -> None:
    rng = np.random.default_rng(3)
    slba = np.where(rng.integers(0, 10, 300_000) < 7, rng.integers(0, 300, 300_000), rng.integers(0, 16384, 300_000))
    copies = {}
    for apart in (0, 1):
        device = drive(16384, spare=280, hot_cold=apart)
        fill(device)
        device.submit(commands(Opcode.WRITE, slba))
        copies[apart] = device.stats()["gc_units"]
    assert copies[1] < 0.97 * copies[0]


def test_wear_levelling_moves_what_is_cold() -> None:
    """Nine tenths of the drive never change: without levelling their lines are never erased."""
    spread = {}
    for gap in (0, 10):
        device = drive(4096, wear_gap=gap)
        fill(device)
        for seed in range(20):
            device.submit(commands(Opcode.WRITE, np.random.default_rng(seed).integers(0, 400, 4096)))
        t = device.stats()
        spread[gap] = t["most_erases"] - t["least_erases"]
        assert device.audit() is None
        assert bool(t["wear_victims"]) == bool(gap)
    assert spread[10] <= 14 < spread[0]


def test_trim_makes_collection_cheaper() -> None:
    device = drive(4096)
    fill(device)
    device.submit(commands(Opcode.DSM, flags=Flag.DEALLOCATE), np.array([(0, 2048)], RANGE))
    device.submit(commands(Opcode.FLUSH))
    assert device.stats()["mapped_units"] == 2048
    before = device.stats()["gc_units"]
    device.submit(commands(Opcode.WRITE, np.arange(2048)))
    assert device.stats()["gc_units"] - before < 2048


def test_deallocating_a_large_drive_costs_each_command_little() -> None:
    """No command looks at more than a few thousand units; what was deallocated reads as zeros at once."""
    device = drive(1 << 20)
    device.submit(commands(Opcode.WRITE, np.arange(16) * 65536, 65536))
    device.submit(commands(Opcode.DSM, flags=Flag.DEALLOCATE), np.array([(0, 1 << 20)], RANGE))
    assert not device.written(0, 1 << 20).any()
    left = [device.stats()["mapped_units"]]
    for _ in range(256):
        device.submit(commands(Opcode.FLUSH))
        left.append(device.stats()["mapped_units"])
    assert max(-np.diff(left)) <= 4096
    assert left[-1] == 0


def test_bad_blocks_shrink_a_drive_until_it_only_reads() -> None:
    device = drive(2048, dies=8, spare=800, erase_fail=20_000, program_fail=200, bad_factory=5_000)
    assert device.stats()["bad_blocks"] > 0
    fill(device)
    for seed in range(200):
        status = device.submit(commands(Opcode.WRITE, np.random.default_rng(seed).integers(0, 2048, 2048)))["status"]
        if device.stats()["read_only"]:
            break
    assert device.audit() is None
    assert status[-1] == Status.READ_ONLY
    assert device.stats()["mapped_units"] == 2048
    assert device.submit(commands([Opcode.READ, Opcode.FLUSH]))["status"].tolist() == [0, 0]


def test_health_is_what_is_left_of_the_reserve_and_used_of_the_endurance() -> None:
    """Bad blocks are taken off the reserve; at its end the drive is read-only."""
    device = drive(2048, dies=8, spare=800, erase_fail=20_000)
    assert device.health() == {"spare": 100, "used": 0, "read_only": 0}
    fill(device)
    device.set_model(endurance=1_000_000)
    spares = [100]
    for seed in range(200):
        device.submit(commands(Opcode.WRITE, np.random.default_rng(seed).integers(0, 2048, 500)))
        health, now = device.health(), device.stats()
        need = now["units"] + 7 * now["line_units"]
        left = max(now["usable_units"] - need, 0) * 100 // (now["lines"] * now["line_units"] - need)
        assert (health["spare"], health["read_only"]) == (left, now["read_only"])
        spares.append(health["spare"])
        if health["read_only"]:
            break
    assert spares[-1] == 0 and len(set(spares)) > 5 and spares == sorted(spares, reverse=True)
    for endurance, most in ((1, 100), (7, 100 / 7), (0, 0)):
        device.set_model(endurance=endurance)
        assert device.health()["used"] == int(device.stats()["most_erases"] * most)
    assert Device(Config(8)).health() == {"spare": 100, "used": 0, "read_only": 0}


# The power goes


def lost(device: Device, now: int) -> list[tuple[int, int]]:
    sectors = 1 << (device.config.block_shift - 9)
    return [(int(entry["first"]) // sectors, int(entry["count"]) // sectors) for entry in device.cut(now)[0]]


def test_what_was_buffered_is_lost_and_its_old_content_returns() -> None:
    device = drive(page_size=16384)
    device.submit(commands([Opcode.WRITE, Opcode.WRITE, Opcode.FLUSH], [0, 1, 0]))
    old = device.mapping()[0]
    device.submit(commands(Opcode.WRITE, [0, 5], now=10 * MS))
    assert sorted(lost(device, 11 * MS)) == [(0, 1), (5, 1)]
    assert device.mapping()[0] == old
    assert device.written(0, 6).tolist() == [True, True, False, False, False, False]
    assert (device.stats()["power_cuts"], device.stats()["lost_units"]) == (1, 2)


@pytest.mark.parametrize(("after", "gone"), [(499 * US, [(0, 1)]), (500 * US, [])])
def test_a_program_counts_from_the_moment_it_is_done(after: int, gone: list[tuple[int, int]]) -> None:
    device = drive()
    device.submit(commands(Opcode.WRITE))
    assert lost(device, after) == gone


def test_what_was_flushed_or_written_with_fua_stays() -> None:
    device = drive(page_size=16384)
    due = device.submit(commands([Opcode.WRITE, Opcode.FLUSH], 3))["target"][1]
    fua = device.submit(commands(Opcode.WRITE, 4, now=due, flags=Flag.FUA))["target"][0]
    assert lost(device, int(fua)) == []


@pytest.mark.parametrize("opcode", [Opcode.READ, Opcode.COMPARE, Opcode.VERIFY])
def test_what_was_read_with_fua_stays_and_what_was_read_without_does_not(opcode: Opcode) -> None:
    for flags, gone in ((0, [(3, 1)]), (Flag.FUA, [])):
        device = drive(page_size=16384)
        device.submit(commands([Opcode.WRITE, Opcode.WRITE, Opcode.FLUSH], [3, 7, 0]))
        device.submit(commands(Opcode.WRITE, 3, now=10 * MS))
        due = device.submit(commands(opcode, 3, now=10 * MS, flags=flags))["target"][0]
        assert due == 10 * MS + (500 * US if flags else 0)
        assert lost(device, int(due)) == gone


def test_a_read_with_fua_of_what_is_on_the_medium_waits_for_nothing_else() -> None:
    device = drive(page_size=16384)
    device.submit(commands([Opcode.WRITE, Opcode.FLUSH], 3))
    device.submit(commands(Opcode.WRITE, 7, now=10 * MS))
    programs = device.stats()["programs"]
    assert device.submit(commands(Opcode.READ, 3, now=10 * MS, flags=Flag.FUA))["target"][0] == 10 * MS + 50 * US
    assert device.stats()["programs"] == programs
    assert lost(device, 11 * MS) == [(7, 1)]


def test_a_part_read_with_fua_keeps_the_whole_of_a_write_that_is_never_torn() -> None:
    device = drive(awupf=3)
    device.submit(commands(Opcode.WRITE, 0, 4))
    first = device.submit(commands(Opcode.READ, 0, now=600 * US, flags=Flag.FUA))["target"][0]
    assert first == 4 * 500 * US + 50 * US  # read from the only die, behind its programs
    assert lost(device, int(first)) == []


@pytest.mark.parametrize("vwc", [False, True])
def test_what_was_deallocated_stays_so_when_the_write_before_it_is_lost(vwc: bool) -> None:
    device = Device(Config(64, 1, Kind.SSD, 9, vwc, model=model(**PLAIN)))
    device.submit(commands([Opcode.WRITE, Opcode.FLUSH], 0, 8))
    device.submit(commands([Opcode.WRITE, Opcode.WRITE_ZEROES], 0, [8, 3], now=10 * MS))
    assert len(lost(device, 10 * MS)) == 1
    assert device.written(0, 8).tolist() == [False] * 3 + [True] * 5


def test_power_loss_protection_keeps_all() -> None:
    device = drive(page_size=16384, plp=1)
    device.submit(commands(Opcode.WRITE, np.arange(9)))
    assert lost(device, 0) == []
    assert device.written(0, 9).all()


def test_a_write_up_to_awupf_is_never_torn() -> None:
    """Four programs of one unit, cut when one is done: kept in part, or lost whole."""
    for awupf, count in ((0, 3), (3, 4)):
        device = drive(awupf=awupf)
        device.submit(commands(Opcode.WRITE, 0, 4))
        assert len(lost(device, 600 * US)) == count


def test_recovery_takes_longer_the_more_there_is_to_read() -> None:
    def ready(writes: int, **changes: int) -> int:
        device = drive(recovery=7, **changes)
        device.submit(commands(Opcode.WRITE, np.arange(writes)))
        return device.cut(0)[1]

    assert ready(0) == 7 * MS
    assert ready(1) == 7 * MS + 2 * 50 * US
    assert ready(9) == 7 * MS + 10 * 50 * US
    assert ready(9, plp=1) == 7 * MS


def test_after_a_cut_the_drive_answers_when_it_is_ready() -> None:
    device = drive(recovery=7)
    device.submit(commands(Opcode.WRITE, 0, flags=Flag.FUA))
    ready = device.cut(MS)[1]
    assert device.submit(commands(Opcode.READ, now=2 * MS))["target"][0] >= ready + 50 * US


# What it costs us


@pytest.mark.parametrize("block_shift", [9, 12])
def test_a_large_drive_takes_a_hundredth_of_its_capacity(block_shift: int) -> None:
    size = 64 << 30
    device = Device(
        Config(size >> block_shift, kind=Kind.SSD, block_shift=block_shift, vwc=True, model=model(spare=280))
    )
    assert ffi.sizeof(device._memory) < 0.01 * size


def test_what_only_an_ssd_knows_is_asked_of_no_other() -> None:
    for ask in (Device.mapping, Device.audit, Device.times):
        with pytest.raises(TypeError, match="no SSD"):
            ask(Device(Config(8)))
    assert not any(Device(Config(8)).stats().values())


def test_only_live_parameters_change_in_use() -> None:
    device = drive()
    device.set_model(read_lsb=7)
    with pytest.raises(ValueError, match="only live"):
        device.set_model(channels=2)
    with pytest.raises(ValueError, match="limit"):
        device.set_model(gc_low=0)
    device.submit(commands(Opcode.WRITE, 0, flags=Flag.FUA))
    assert device.submit(commands(Opcode.READ, now=MS))["target"][0] == MS + 7


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"page_size": 5000}, "no meaning"),
        ({"pages": 0, "blocks": 0}, "no meaning"),
        ({"pages": 16, "program_pages": 3}, "no meaning"),
        ({"channels": 65}, "limit"),
        ({"pages": 16, "blocks": 20}, "limit"),
    ],
)
def test_a_drive_that_cannot_be_is_refused(changes: dict[str, int], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        drive(**changes)
