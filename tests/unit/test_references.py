# SPDX-License-Identifier: GPL-2.0-or-later
"""The names by which a scenario's objects refer to each other."""

from __future__ import annotations

import pytest

from nvlab.errors import InvalidScenario
from nvlab.scenario import loads
from nvlab.scenario.references import order, sound

POOL = '[disk.pool]\ncount = 4\nsize = "64M"\n'
ONE = '[disk.one]\nsize = "64M"\n'


def problems(body: str) -> list[tuple[str, str]]:
    try:
        loads("schema = 1\n" + body)
    except InvalidScenario as error:
        return [(p.where, p.what) for p in error.problems]
    return []


def test_a_name_stands_for_all_of_its_count_and_a_number_for_one():
    scenario = loads("schema = 1\n" + POOL + '[raid.all]\nlevel = 5\non = ["pool.1", "pool.2", "pool.3"]\n')
    assert scenario.objects["all"].spec.on == ("pool.1", "pool.2", "pool.3")
    assert problems(POOL + '[raid.all]\nlevel = 5\non = "pool"\n') == []


def test_a_dangling_name_with_a_suggestion():
    assert problems(POOL + '[raid.m]\nlevel = 5\non = "pol"\n') == [
        ("raid.m.on", '"pol" is not defined; did you mean "pool"?')
    ]


def test_only_names_that_would_do_are_suggested():
    body = ONE + '[workload.onee]\non = "one"\nfio = { rw = "read" }\n[cache.c]\non = "oneee"\nsize = "16M"\n'
    assert problems(body) == [("cache.c.on", '"oneee" is not defined; did you mean "one"?')]


def test_every_dangling_name_of_a_list():
    found = problems(POOL + '[raid.m]\nlevel = 5\non = ["x", "pool", "y"]\n')
    assert [what for _, what in found] == ['"x" is not defined', '"y" is not defined']


def test_a_name_of_the_wrong_kind():
    body = ONE + '[export.e]\non = "one"\nallow_any_host = true\n[raid.m]\nlevel = 1\non = ["one", "e"]\n'
    assert ("raid.m.on", '"e" is a export; this wants a device or disk or raid or cache or connect') in [
        (where, what.replace("an export", "a export")) for where, what in problems(body)
    ]


@pytest.mark.parametrize("which", ["0", "5", "x", ""])
def test_a_number_beyond_the_count(which):
    assert problems(POOL + f'[cache.c]\non = "pool.{which}"\nsize = "16M"\n') == [
        ("cache.c.on", f'"pool.{which}": pool has 4, so write pool.1 to pool.4')
    ]


def test_a_number_of_a_single_one():
    assert problems(ONE + '[cache.c]\non = "one.2"\nsize = "16M"\n') == [
        ("cache.c.on", '"one.2": one has 1, so write one.1')
    ]
    assert problems(ONE + '[cache.c]\non = "one.1"\nsize = "16M"\n') == []


def test_a_circle():
    found = problems('[cache.a]\non = "b"\nsize = "16M"\n[cache.b]\non = "a"\nsize = "16M"\n')
    assert len(found) == 1
    assert "stands on itself" in found[0][1]


def test_an_object_on_itself():
    assert problems('[cache.a]\non = "a"\nsize = "16M"\n') == [("cache.a", "stands on itself: a → a")]


def test_a_device_carries_one_thing():
    body = ONE + '[cache.a]\non = "one"\nsize = "16M"\n[cache.b]\non = "one"\nsize = "16M"\n'
    assert problems(body) == [("cache.b.on", '"one" is used by cache.a already')]


def test_one_of_a_pool_and_the_pool():
    body = POOL + '[cache.a]\non = "pool.2"\nsize = "16M"\n[raid.m]\nlevel = 5\non = "pool"\n'
    assert problems(body) == [("cache.a.on", '"pool.2" is used by raid.m already')]


def test_a_member_twice():
    assert problems(POOL + '[raid.m]\nlevel = 5\non = ["pool", "pool.1"]\n') == [
        ("raid.m.on", '"pool.1" is used by raid.m already')
    ]


def test_a_journal_on_a_member():
    assert problems(POOL + '[raid.m]\nlevel = 5\non = "pool"\njournal = { on = "pool.1" }\n') == [
        ("raid.m.journal.on", '"pool.1" is used by raid.m already')
    ]


def test_loads_may_share_a_device_with_anything():
    body = ONE + '[workload.a]\non = "one"\nfio = { rw = "read" }\n[workload.b]\non = "one"\nfio = { rw = "read" }\n'
    assert problems(body) == []


def test_what_follows_from_a_broken_object_is_not_a_second_mistake():
    body = (
        '[disk.pool]\ncount = 4\nsize = "lots"\n[raid.m]\nlevel = 5\non = "pool"\n[cache.c]\non = "m"\nsize = "16M"\n'
    )
    assert [where for where, _ in problems(body)] == ["disk.pool.size"]


def test_the_order_of_building_follows_the_references():
    scenario = loads("schema = 1\n" + '[cache.a]\non = "m"\nsize = "16M"\n[raid.m]\nlevel = 5\non = "pool"\n' + POOL)
    names = order(scenario.objects)
    assert names.index("pool") < names.index("m") < names.index("a")
    assert list(sound(scenario.objects)) == list(scenario.objects)


ZONES = '[device.z]\nsize = "1G"\nprofile = "wd-zn540"\nmedium = { zone_size = 65536, zone_capacity = 0 }\n'
KEYS = '[device.z]\nsize = "1G"\nprofile = "kv-prototype"\n'


@pytest.mark.parametrize("drive", [ZONES, KEYS], ids=["zones", "keys"])
@pytest.mark.parametrize(
    "layer",
    [
        '[cache.c]\non = "z"\nsize = "64M"\n',
        '[export.c]\non = "z"\nhosts = ["h"]\nlisten = "127.0.0.1:4420"\n',
        '[filesystem.c]\non = "z"\ntype = "ext4"\n',
        '[disk.p]\nsize = "64M"\n[raid.c]\nlevel = 1\non = ["p", "z"]\n',
        '[disk.p]\nsize = "64M"\ncount = 3\n[raid.c]\nlevel = 5\non = "p"\njournal = { on = "z", mode = "write-through" }\n',
    ],
)
def test_layers_that_write_where_they_like_are_on_no_zones_and_no_keys(drive: str, layer: str) -> None:
    found = problems(drive + layer)
    assert any(where.endswith(".on") and "only a workload can be on it" in what for where, what in found), found


def test_loads_may_be_on_zones_and_on_keys() -> None:
    assert not problems(ZONES + '[workload.w]\non = ["z"]\nfio = { rw = "write", zonemode = "zbd" }\n')
    assert not problems(KEYS + '[workload.w]\non = ["z"]\nkv = { keys = 10, store = 1 }\n')
