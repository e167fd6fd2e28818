# SPDX-License-Identifier: GPL-2.0-or-later
"""Events change what a lab has made; wherever one dies or fails, ``down`` gives back the world, from the journal alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from machine import Machine, Process, attempt, dies, fails, plan_of, points_of, shipped, some, virgin

from nvlab.errors import NvlabError
from nvlab.kernel.fake import Crash, Fuse
from nvlab.plan import Plan, resolve
from nvlab.scenario.load import loads

EVERY_EVENT = """
schema = 1
[device.ssd]
count = 6
size = "16M"
[device.ssd.fault.slow]
action = "delay"
delay = "1ms"
[raid.md]
level = 6
on = ["ssd.1", "ssd.2", "ssd.3", "ssd.4"]
spares = ["ssd.5", "ssd.6"]
[cache.ram]
on = "md"
size = "16M"
[wire.w]
[export.drive]
on = "ram"
over = "w"
hosts = ["client"]
[connect.client]
to = "drive"
[device.bare]
size = "16M"
[workload.load]
on = "md"
fio = { rw = "randwrite", runtime = "60s" }
"""
EVENTS = [
    {"on": "md", "do": "fail", "member": "ssd.1"},
    {"on": "md", "do": "remove", "member": "ssd.1"},
    {"on": "md", "do": "add", "member": "ssd.5"},
    {"on": "md", "do": "add", "member": "ssd.1", "wait": False},
    {"on": "md", "do": "fail", "member": "ssd.2"},
    {"on": "md", "do": "replace", "member": "ssd.3", "by": "ssd.6"},
    {"on": "bare", "do": "cut"},
    {"on": "ram", "do": "flush"},
    {"on": "ram", "do": "resize", "size": "8M"},
    {"on": "drive", "do": "port-down"},
    {"on": "drive", "do": "namespace-off"},
    {"on": "drive", "do": "port-up"},
    {"on": "drive", "do": "namespace-on"},
    {"on": "ssd.4", "do": "fault", "rule": "slow", "enable": False},
    {"on": "ssd", "do": "timing", "read_delay": "1ms", "write_time": "3us"},
]


def toml(event: Mapping[str, Any]) -> str:
    values = {key: str(value).lower() if isinstance(value, bool) else f'"{value}"' for key, value in event.items()}
    return "\n[[event]]\nat = 0\n" + "\n".join(f"{key} = {value}" for key, value in values.items())


def with_events() -> dict[str, Plan]:
    every = plan_of(loads(EVERY_EVENT + "".join(map(toml, EVENTS)), name="every-event"))
    plans = {name: plan for name, plan in shipped().items() if list(events_of(plan))}
    return plans | {"every-event": every}


def events_of(plan: Plan) -> Iterator[Mapping[str, Any]]:
    for work in plan.workloads:
        yield from work.get("events", ())


PLANS = with_events()


def happen(process: Process, plan: Plan, event: Mapping[str, Any]) -> str:
    acts = resolve(event["acts"], process.outputs(plan.lab).__getitem__)
    return process.happen(plan.lab, event["owner"], event["label"], acts)


def all_events(machine: Machine, plan: Plan, fuse: Fuse | None = None) -> list[str]:
    process = machine.process(fuse)
    return [happen(process, plan, event) for event in events_of(plan)]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_event_happens_and_down_leaves_the_world_as_it_was(plan, machines):
    machine = machines(virgin)
    machine.up(plan)
    all_events(machine, plan)
    labels = [f"{event['owner']}: {event['label']}" for event in events_of(plan)]
    assert machine.process().history(plan.lab).events == labels
    machine.down(plan.lab)
    machine.assert_equals(machine.start, "after events and down")
    machine.assert_no_state("after events and down")


def test_each_event_says_what_it_left(machines):
    machine = machines(virgin)
    machine.up(PLANS["every-event"])
    said = all_events(machine, PLANS["every-event"])
    assert said[:3] == ["md0 is clean, degraded by 1", "md0 is clean, degraded by 1", "md0 is clean, whole"]
    assert said[5] == "md0 is clean, whole"
    devices = machine.world.tree.directory("/sys/block/md0/md").children()
    held = {name.removeprefix("dev-") for name in devices if name.startswith("dev-")}
    assert len(held) == 5, "four that work, and the second, which has failed"


def test_an_array_that_lost_its_journal_is_not_called_clean(machines):
    machine = machines(virgin)
    machine.up(PLANS["drill-journal"])
    failed, removed, added = all_events(machine, PLANS["drill-journal"])
    assert failed == "md0 has lost its journal: it says clean, and every write fails" == removed
    assert added == "md0 is clean, whole"


def test_after_a_power_cut_the_device_is_found_wherever_it_is(machines):
    machine, plan = machines(virgin), PLANS["drill-power"]
    before = machine.up(plan)["client.dev"]
    event = next(events_of(plan))
    machine.world.nvme.next_instance = lambda: 7  # as another drive came meanwhile
    assert happen(machine.process(), plan, event) == "it is back as /dev/nvme7n1"
    assert machine.process().outputs(plan.lab)["client.dev"] == "/dev/nvme7n1" != before


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_an_event_may_die_anywhere(plan, machines):
    standing = machines(virgin)
    standing.up(plan)
    points = points_of(lambda fuse: all_events(standing, plan, fuse))
    for k, point in points.items():
        machine = machines(virgin)
        machine.up(plan)
        dies(lambda fuse: all_events(machine, plan, fuse), k)  # noqa: B023
        machine.down(plan.lab)
        machine.assert_equals(machine.start, f"an event died at {k}, {point}")
        machine.assert_no_state(f"an event died at {k}, {point}")


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_down_may_die_anywhere_after_events(plan, machines):
    standing = machines(virgin)
    standing.up(plan)
    all_events(standing, plan)
    points = points_of(lambda fuse: standing.down(plan.lab, fuse))
    for k, point in some(points).items():
        machine = machines(virgin)
        machine.up(plan)
        all_events(machine, plan)
        dies(lambda fuse: machine.down(plan.lab, fuse), k)  # noqa: B023
        machine.down(plan.lab)
        machine.assert_equals(machine.start, f"down died at {k}, {point}")
        machine.assert_no_state(f"down died at {k}, {point}")


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_anything_may_fail_in_an_event(plan, machines):
    """The event says so, with an error of nvlab's; what it has changed by then, ``down`` undoes."""
    standing = machines(virgin)
    standing.up(plan)
    points = points_of(lambda fuse: all_events(standing, plan, fuse))
    for k, point in some(points).items():
        machine = machines(virgin)
        machine.up(plan)
        assert isinstance(attempt(lambda: all_events(machine, plan, Fuse(k, fails))), NvlabError), f"{k}, {point}"  # noqa: B023
        machine.down(plan.lab)
        machine.assert_equals(machine.start, f"failure at {k}, {point}")


@pytest.mark.slow
def test_events_may_come_in_any_order_and_be_refused(machines):
    """MD refuses what makes no sense (to add a member that is in); whatever has come to be, ``down`` undoes it."""
    plan, dice = PLANS["every-event"], random.Random(7)
    for _ in range(40):
        machine = machines(virgin)
        machine.up(plan)
        trail = dice.choices(list(events_of(plan)), k=6)
        for event in trail:
            with suppress(NvlabError, Crash):
                happen(machine.process(Fuse(dice.randrange(60))), plan, event)
        machine.down(plan.lab)
        machine.assert_equals(machine.start, " → ".join(event["label"] for event in trail))
        machine.assert_no_state("after a mess of events")
