# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine is tuned and gets everything back: wherever a process dies, whoever else tunes it, whatever changed meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import Machine, attempt, dies, fails, points_of

from nvlab.errors import Conflict, NvlabError
from nvlab.kernel.fake import FakeKernel, Fuse, World
from nvlab.kernel.fake.block import Disk
from nvlab.kernel.ops import Run, Write
from nvlab.nodes.tuning import apply, standing
from nvlab.plan import Plan
from nvlab.tuning import Cure, described, tuned, tuning_plan

CPU = "/sys/devices/system/cpu"
GOVERNORS = [f"{CPU}/cpu{n}/cpufreq/scaling_governor" for n in range(2)]
CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
MTU = "/sys/class/net/lo/mtu"
NO_TURBO = f"{CPU}/intel_pstate/no_turbo"
SWAPS = ("/dev/sdb", "/dev/sdc", "/dev/sdd")
SOCKET, SERVICE = "multipathd.socket", "multipathd.service"

CURES = {
    "governor": Cure("tune.set", dict.fromkeys(GOVERNORS, "performance"), "performance"),
    "clock-source": Cure("tune.set", {CLOCK: "tsc"}, "tsc"),
    "mtu": Cure("tune.set", {MTU: "65536"}, "65536"),
    "swap": Cure("tune.swap", dict.fromkeys(SWAPS, "off"), "off"),
    "company": Cure("tune.stop", dict.fromkeys((SOCKET, SERVICE), "stopped"), "stopped"),
}


def untuned(world: World) -> None:
    """A laptop, more or less: everything that distorts what is measured."""
    settings = world.settings
    for path in GOVERNORS:
        settings.provide(path, "powersave", ("powersave", "performance", "schedutil"))
    settings.provide(CLOCK, "hpet", ("hpet", "tsc", "acpi_pm"))
    settings.provide(MTU, "1500", ("1500", "9000", "65536"))
    settings.provide(NO_TURBO, "0", ())
    for path, priority in zip(SWAPS, (None, 5, None), strict=True):
        world.disks.add(Disk(path.removeprefix("/dev/"), 1 << 26, "sd_mod")).marks["swap"] = "UUID"
        settings.swap_on(path, priority)
    settings.running |= {SOCKET, SERVICE, "sshd.service"}


def plan_for(lab: str, *checks: str) -> Plan:
    return tuning_plan(lab, [(check, CURES[check]) for check in checks or CURES])


ALL = plan_for("lab.tuning")
SIGNS = {"governor": (GOVERNORS[1], "powersave"), "clock-source": (CLOCK, "hpet"), "mtu": (MTU, "1500")}


@pytest.fixture
def machine(machines) -> Machine:
    return machines(untuned)


def tune(machine: Machine, plan: Plan, said: list[str] | None = None) -> dict[str, Any]:
    return apply(machine.process(), plan, lambda event: said.append(event["text"]) if said is not None else None)


def parting(machine: Machine, lab: str) -> str:
    """Take it down; what was said."""
    said: list[str] = []
    engine = machine.process()
    engine.emit = lambda event: said.append(event["text"]) if event["kind"] == "note" else None
    engine.down(lab)
    return "\n".join(said)


def value(machine: Machine, path: str) -> str:
    return FakeKernel(machine.world).read(path)


def somebody(machine: Machine, path: str, text: str) -> None:
    FakeKernel(machine.world).perform(Write(path, text))


def test_everything_is_changed_said_and_put_back(machine):
    said = tune(machine, ALL)["tuned"]
    assert said[CLOCK] == {"value": "tsc", "was": "hpet"}
    assert said["/dev/sdc"] == {"value": "off", "was": "5"}
    assert said[SERVICE] == {"value": "stopped", "was": "running"}
    assert {value(machine, path) for path in GOVERNORS} == {"performance"}
    assert (value(machine, CLOCK), value(machine, MTU)) == ("tsc", "65536")
    assert not machine.world.settings.swaps and machine.world.settings.running == {"sshd.service"}
    assert f"{MTU}: 65536, was 1500" in described(said)
    words = parting(machine, "lab.tuning")
    assert f"clock-source: {CLOCK}: hpet again" in words and "powersave again" in words
    machine.assert_equals(machine.start, "after down")
    machine.assert_no_state("after down")


def test_tuning_may_die_anywhere(machines):
    points = points_of(lambda fuse: machines(untuned).up(ALL, fuse))
    assert len(points) >= 40
    for k, point in points.items():
        machine = machines(untuned)
        dies(lambda fuse: machine.up(ALL, fuse), k)  # noqa: B023
        machine.down(ALL.lab)
        machine.assert_equals(machine.start, f"died at {k}, {point}")
        machine.assert_no_state(f"died at {k}, {point}")


def test_putting_back_may_die_anywhere(machines):
    def tuned_machine() -> Machine:
        machine = machines(untuned)
        machine.up(ALL)
        return machine

    points = points_of(lambda fuse: tuned_machine().down(ALL.lab, fuse))
    for k, point in points.items():
        machine = tuned_machine()
        dies(lambda fuse: machine.down(ALL.lab, fuse), k)  # noqa: B023
        machine.down(ALL.lab)
        machine.assert_equals(machine.start, f"died at {k}, {point}")
        machine.assert_no_state(f"died at {k}, {point}")


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_the_last_of_two_puts_back_what_the_first_has_found(machines, order):
    """Doctor finds nothing for the second: all is tuned. What is there stays until both have gone."""
    machine = machines(untuned)
    tune(machine, plan_for("one"))
    assert tune(machine, tuning_plan("two", []))["tuned"].keys() == {*GOVERNORS, CLOCK, MTU, *SWAPS, SOCKET, SERVICE}
    before = machine.snapshot()
    machine.down(order[0])
    machine.assert_equals(before, "one is left")
    machine.down(order[1])
    machine.assert_equals(machine.start, "none is left")
    machine.assert_no_state("none is left")


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_the_other_of_two_may_die_anywhere(machines, order):
    def beside() -> Machine:
        machine = machines(untuned)
        tune(machine, plan_for("one", "governor", "swap"))
        return machine

    points = points_of(lambda fuse: beside().up(plan_for("two"), fuse))
    for k, point in points.items():
        machine = beside()
        dies(lambda fuse: machine.up(plan_for("two"), fuse), k)  # noqa: B023
        for lab in order:
            machine.down(lab)
        machine.assert_equals(machine.start, f"died at {k}, {point}")
        machine.assert_no_state(f"died at {k}, {point}")


LABS = st.tuples(st.sampled_from(["one", "two", "three"]), st.sets(st.sampled_from(sorted(CURES))))


@given(st.lists(LABS, max_size=8))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_in_any_order_all_is_tuned_until_the_last_user_goes(machines, turns):
    """Each turn a lab comes, for whatever doctor still finds of some checks, or goes."""
    machine = machines(untuned)
    users: dict[str, set[str]] = {}
    for lab, checks in turns:
        if lab in users:
            machine.down(lab)
            del users[lab]
        else:
            held = {check for other in users.values() for check in other}
            tune(machine, tuning_plan(lab, [(check, CURES[check]) for check in sorted(checks - held)]))
            users |= {lab: checks | held} if checks | held else {}
        wanted = {check for checks in users.values() for check in checks} & SIGNS.keys()
        assert {check for check, (path, was) in SIGNS.items() if value(machine, path) != was} == wanted
    for lab in users:
        machine.down(lab)
    machine.assert_equals(machine.start, f"after {turns}")
    machine.assert_no_state(f"after {turns}")


def test_what_was_so_before_stays_so(machine):
    somebody(machine, MTU, "65536")
    said = tune(machine, plan_for("lab.tuning", "mtu", "governor"))["tuned"]
    assert MTU not in said
    assert "mtu" not in parting(machine, "lab.tuning")
    assert value(machine, MTU) == "65536"


def test_what_somebody_has_changed_since_is_left_alone_and_said(machine):
    tune(machine, ALL)
    somebody(machine, GOVERNORS[0], "schedutil")
    somebody(machine, MTU, "1500")  # put back by hand
    FakeKernel(machine.world).perform(Run(("swapon", "--priority", "9", "/dev/sdb")))
    words = parting(machine, "lab.tuning")
    assert f"{GOVERNORS[0]} is schedutil by now" in words and "left alone" in words
    assert "mtu" not in words
    assert [value(machine, path) for path in GOVERNORS] == ["schedutil", "powersave"]
    assert machine.world.settings.swaps["/dev/sdb"] == 9
    assert value(machine, CLOCK) == "hpet"
    machine.assert_no_state("after down")


def test_what_is_gone_is_said_and_keeps_nothing_else(machine):
    tune(machine, ALL)
    machine.world.tree.directory(f"{CPU}/cpu1/cpufreq").take("scaling_governor")
    assert f"{GOVERNORS[1]} is gone by now" in parting(machine, "lab.tuning")
    assert value(machine, GOVERNORS[0]) == "powersave"
    machine.assert_no_state("after down")


def test_what_cannot_be_put_back_keeps_nothing_else(machine):
    tune(machine, ALL)
    del machine.world.disks.all["sdb"].marks["swap"]
    with pytest.raises(NvlabError, match="swapon: /dev/sdb"):
        machine.down("lab.tuning")
    assert (value(machine, CLOCK), value(machine, MTU)) == ("hpet", "1500")
    machine.world.disks.all["sdb"].marks["swap"] = "UUID"
    machine.down("lab.tuning")
    machine.assert_no_state("after the second down")


def test_after_a_reboot_nothing_is_put_back(machine):
    tune(machine, ALL)
    machine.reboot()
    fresh = machine.snapshot()
    assert parting(machine, "lab.tuning") == ""
    machine.assert_equals(fresh, "after down")
    machine.assert_no_state("after down")


def test_a_machine_that_was_tuned_before_a_reboot_is_tuned_anew(machine):
    tune(machine, ALL)
    machine.reboot()
    somebody(machine, MTU, "9000")
    assert tune(machine, ALL)["tuned"][MTU] == {"value": "65536", "was": "9000"}
    machine.down("lab.tuning")
    assert value(machine, MTU) == "9000"


def test_another_tuning_of_an_earlier_boot_says_nothing_of_what_was(machine):
    tune(machine, plan_for("one", "mtu"))
    machine.reboot()
    somebody(machine, MTU, "9000")
    assert tune(machine, plan_for("two", "mtu"))["tuned"][MTU]["was"] == "9000"


def test_what_the_kernel_refuses_is_left_out_and_said(machine):
    turbo = Cure("tune.set", {NO_TURBO: "1"}, "off")
    said: list[str] = []
    plan = tuning_plan("lab.tuning", [*((check, CURES[check]) for check in ("governor", "mtu")), ("turbo", turbo)])
    found = tune(machine, plan, said)
    assert found["refused"].keys() == {"turbo"} and "Invalid argument" in found["refused"]["turbo"]
    assert any("turbo" in words for words in said)
    assert found["tuned"].keys() == {*GOVERNORS, MTU}
    machine.down("lab.tuning")
    machine.assert_equals(machine.start, "after down")


def test_swap_stays_on_when_memory_has_no_room_for_what_is_out(machine):
    machine.world.settings.used, machine.world.settings.available = 3 << 30, 1 << 30
    found = tune(machine, ALL)
    assert "9 GiB are swapped out, and only 1 GiB" in found["refused"]["swap"]
    assert set(machine.world.settings.swaps) == set(SWAPS)
    assert CLOCK in found["tuned"]


def test_swap_that_could_not_be_switched_on_again_stays_on(machine):
    del machine.world.disks.all["sdd"].marks["swap"]
    assert "no swap header" in tune(machine, ALL)["refused"]["swap"]
    assert set(machine.world.settings.swaps) == set(SWAPS)


def test_two_labs_cannot_want_different_things(machine):
    tune(machine, plan_for("one", "mtu"))
    other = tuning_plan("two", [("mtu", Cure("tune.set", {MTU: "9000"}, "9000"))])
    with pytest.raises(Conflict, match="another lab has made 65536 of /sys/class/net/lo/mtu"):
        machine.process().up(other)
    assert value(machine, MTU) == "65536"


def test_the_same_again_changes_nothing_and_says_what_stands(machine):
    first = tune(machine, ALL)
    before = machine.snapshot()
    assert tune(machine, tuning_plan("lab.tuning", [])) == first
    machine.assert_equals(before, "the same again")


def test_what_came_since_asks_for_a_new_beginning(machine):
    tune(machine, plan_for("lab.tuning", "mtu"))
    with pytest.raises(Conflict, match="already up"):
        tune(machine, plan_for("lab.tuning", "mtu", "governor"))


def test_nothing_to_tune_leaves_nothing(machine):
    assert tune(machine, tuning_plan("lab.tuning", [])) == {"tuned": {}, "refused": {}}
    machine.assert_no_state("nothing was tuned")


def test_provenance_has_what_was_tuned_for_any_lab(machine):
    tune(machine, plan_for("one", "mtu"))
    tune(machine, plan_for("two", "swap"))
    assert tuned(standing(machine.process()).values()).keys() == {MTU, *SWAPS}


def test_a_primitive_that_fails_is_undone_with_the_rest(machines):
    points = points_of(lambda fuse: machines(untuned).up(ALL, fuse))
    for k, point in points.items():
        machine = machines(untuned)
        assert attempt(lambda: machine.up(ALL, Fuse(k, fails))), point  # noqa: B023
        machine.down(ALL.lab)
        machine.assert_equals(machine.start, f"failure at {k}, {point}")
