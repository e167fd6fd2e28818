# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of parameters and the profiles that are made of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from nvlab.errors import InvalidScenario
from nvlab.layers.base import Facts
from nvlab.planner import make_plan
from nvlab.scenario import load
from nvlab.sim import PARAMETERS, Config, Device, Flag, Opcode, commands, load_profile, model, profiles
from nvlab.sim._core import ffi, lib

GIB = 1 << 30
PROFILES = profiles()
SIZES = dict.fromkeys(PROFILES, GIB) | {"wd-zn540": 4 * GIB}  # its zones have 2 GiB


def test_the_table_has_every_field_of_the_c_structure_and_sane_limits() -> None:
    assert list(PARAMETERS) == [name for name, _ in ffi.typeof("struct nvc_model").fields]
    for row in PARAMETERS.values():
        assert row.low <= row.initial <= row.high, row.name
        assert row.what and not row.what.endswith("."), row.name


def test_python_reads_the_table_as_the_core_does() -> None:
    rows = [lib.nvc_param(index) for index in range(len(PARAMETERS))]
    assert lib.nvc_param(len(PARAMETERS)) == ffi.NULL
    for row, native in zip(PARAMETERS.values(), rows, strict=True):
        text = tuple(ffi.string(field).decode() for field in (native.name, native.unit, native.what))
        assert (row.name, row.unit, row.what) == text
        assert (row.low, row.high, row.initial, row.live) == (native.low, native.high, native.initial, bool(native.live))


def test_the_package_has_the_drives_that_people_compare_with() -> None:
    others = {"wd-zn540", "zns-prototype", "kv-prototype"}
    assert set(PROFILES) == {"optane", "samsung-970-pro", "femu", "tlc-enterprise", "qlc", "hdd-7200", *others}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("block_shift", [9, 12])
def test_a_drive_of_every_profile_works(name: str, block_shift: int) -> None:
    device = Device(Config.of(PROFILES[name], SIZES[name], block_shift=block_shift))
    key = {"action": 1, "nlb": 5000} if PROFILES[name].kind == "kv" else {"nlb": 8}
    write, read = device.submit(commands([Opcode.WRITE, Opcode.READ], 0, now=[0, 10**9], flags=[Flag.FUA, 0], **key))
    assert write["status"] == read["status"] == 0
    assert write["target"] > 0 and read["target"] > 10**9


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if profile.kind != "nvm"])
def test_what_a_profile_does_not_say_does_not_matter_to_its_kind(name: str) -> None:
    """Each number that tells this kind of drive from another is said with its source, but for the common rest."""
    profile = PROFILES[name]
    about = {"seek_track", "seek_average", "rpm", "track"} if profile.kind == "hdd" else {
        "channels", "dies", "planes", "page_size", "cell_bits", "program_pages", "erase", "spare", "read_lsb", "program_lsb"
    }  # fmt: skip
    if profile.kind == "kv":
        about = about | {"kv_value"}
    if profile.kind == "zns":  # spare space is of what has no zones
        about = about - {"spare"} | {"zone_size", "zone_dies"}
    assert about <= profile.sources.keys()
    assert all(profile.sources.values())


def read_latency(name: str) -> float:
    """Mean latency of single random 4 KiB reads of what was written before, us."""
    device = Device(Config.of(PROFILES[name], SIZES[name], block_shift=12))
    keys = PROFILES[name].kind == "kv"  # a key is its number, a Store a Write, a Retrieve a Read
    each, size, more = (1, 4096, {"action": 8}) if keys else (64, 64, {})
    device.submit(commands(Opcode.WRITE, np.arange(0, GIB // 8192 if keys else GIB // 4096, each), size, **more))
    slba = np.random.default_rng(1).integers(0, GIB // 8192, 2000)
    reads = commands(Opcode.READ, slba, 4096 if keys else 1, now=10**12 + np.arange(2000) * 10**8, **more)
    return float((device.submit(reads)["target"] - reads["now"]).mean() / 1000)


def test_drives_are_as_fast_as_they_should_be() -> None:
    """Optane 12 us; 970 Pro 21.5 + (30 + 42) / 2 + transfers; QLC slower than TLC; a disk slower by far.

    ZN540 20 + 58, and the prototype 32 + 41, + transfers. Keys cost a 970 Pro nothing more: its index is in memory.
    """
    latency = {name: read_latency(name) for name in PROFILES}
    assert latency["optane"] == pytest.approx(12, rel=0.01)
    assert latency["samsung-970-pro"] == pytest.approx(63.6, rel=0.02)
    assert latency["kv-prototype"] == pytest.approx(63.6, rel=0.02)
    assert latency["femu"] == pytest.approx(40, rel=0.01)
    assert latency["wd-zn540"] == pytest.approx(88, rel=0.01)
    assert latency["zns-prototype"] == pytest.approx(79.2, rel=0.01)
    assert latency["tlc-enterprise"] < latency["qlc"] < latency["hdd-7200"] / 10


MINE = 'title = "Mine"\nkind = "ssd"\nvwc = true\n[parameters]\n'
ERASE = '{ value = 7, unit = "ns", source = "a guess" }'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title = ", "not TOML"),
        ("\xff", "not TOML"),
        (MINE.replace('"ssd"', '"floppy"'), "kind 'floppy' is not one of: nvm, ssd, hdd"),
        (MINE.replace("vwc = true", ""), "needs a title"),
        (MINE.replace('"Mine"', "5"), "needs a title"),
        ("[parameters]\n", "kind None"),
        ("speed = 1\n" + MINE, "speed: not a key of a profile"),
        (MINE.replace("ssd", "nvm"), "needs read_delay, read_time, unit_shift, units, write_delay, write_time as well"),
        (MINE + 'speed = { value = 1, unit = "ns", source = "x" }', "mine.speed: there is no parameter"),
        (MINE + "erase = 7", "mine.erase: needs a value, a unit and a source"),
        (MINE + "erase = { value = 1, source = 'x' }", "mine.erase: needs a value, a unit and a source"),
        (MINE + 'erase = { value = 1, unit = "us", source = "x" }', 'its unit is "ns", not "us"'),
        (MINE + 'erase = { value = 1.5, unit = "ns", source = "x" }', "whole number"),
        (MINE + 'erase = { value = true, unit = "ns", source = "x" }', "whole number"),
        (MINE + 'erase = { value = 1, unit = "ns", source = "" }', "source that says something"),
        (MINE + 'erase = { value = 5_000_000_000, unit = "ns", source = "x" }', "out of range .0 to 4000000000."),
        ("#" * (1 << 20) + MINE, "larger than 1 MiB"),
    ],
)
def test_a_users_profile_with_a_mistake_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=problem):
        load_profile(path)


def test_a_scenario_finds_a_users_profile_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f"{MINE}erase = {ERASE}\n")
    scenario = tmp_path / "lab.toml"
    scenario.write_text('schema = 1\n[device.d]\nsize = "64M"\nprofile = "mine.toml"\nmedium = { spare = 280 }\n')
    (step,) = [step for step in make_plan(load(scenario), None, Facts(reserved=((1 << 32, GIB),))).steps if step.provides == "d"]
    assert step.args["attributes"]["kind"] == "ssd"
    assert {k: v for k, v in step.args["attributes"].items() if "/" in k} == {"medium/erase": 7, "medium/spare": 280}


@pytest.mark.parametrize("name", ["other.toml", "directory.toml", "fifo.toml"])
def test_a_users_profile_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory.toml").mkdir()
    os.mkfifo(tmp_path / "fifo.toml")
    scenario = tmp_path / "lab.toml"
    scenario.write_text(f'schema = 1\n[device.d]\nsize = "64M"\nprofile = "{name}"\n')
    with pytest.raises(InvalidScenario) as refused:
        load(scenario)
    (problem,) = refused.value.problems
    assert (problem.where, problem.what) == ("device.d.profile", f"cannot read the profile '{name}': there is no such file")


def test_a_users_profile_sets_what_it_says_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{MINE}erase = {ERASE}\n")
    assert load_profile(path).model == model(erase=7)


def test_a_parameter_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter speed"):
        model(speed=1)
