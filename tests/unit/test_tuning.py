# SPDX-License-Identifier: GPL-2.0-or-later
"""Which findings ``--tune`` can cure, with which settings, and what becomes of them as a plan."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest

from nvlab import controller, tuner
from nvlab.doctor.examine import Report
from nvlab.doctor.facts import Facts, IdleState, Interrupt, Link
from nvlab.doctor.table import diagnose
from nvlab.doctor.wants import Wants
from nvlab.errors import Conflict
from nvlab.journal import Journal
from nvlab.kernel.tune import parse_swaps
from nvlab.kernel.verb import verb
from nvlab.nodes import labs
from nvlab.nodes.agent import Stop
from nvlab.nodes.guestnode import GuestNode
from nvlab.nodes.local import Local
from nvlab.plan import Plan, references
from nvlab.tuning import Cure, described, is_name, is_tuning, name_for, tuning_plan, without

BOOT_ID = "/proc/sys/kernel/random/boot_id"
CPU = "/sys/devices/system/cpu"
CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
COMPANY = frozenset({"irqbalance", "multipathd", "fstrim"})
UNITS = {"irqbalance": "irqbalance.service", "multipathd": "multipathd.service", "fstrim": "fstrim.service"}

UNTUNED = Facts(
    governors={"performance": "0", "powersave": "1-2", "schedutil": "3"},
    idle_states=(IdleState("C1", 2, (0, 1), "state1"), IdleState("C6", 133, (0, 2), "state3")),
    turbo="intel_pstate/no_turbo",
    clocksource="hpet",
    clocksources=("hpet", "kvm-clock"),
    swaps=("/dev/sda2", "/swap file"),
    links={"lo": Link(1500, ("127.0.0.1",))},
    processes=COMPANY,
    units=UNITS,
)

# check -> what it makes of what
WANTED: dict[str, Mapping[str, str]] = {
    "governor": {f"{CPU}/cpu{n}/cpufreq/scaling_governor": "performance" for n in (1, 2, 3)},
    "idle-states": {f"{CPU}/cpu{n}/cpuidle/state3/disable": "1" for n in (0, 2)},
    "turbo": {f"{CPU}/intel_pstate/no_turbo": "1"},
    "clock-source": {CLOCK: "kvm-clock"},
    "swap": {"/dev/sda2": "off", "/swap file": "off"},
    "mtu": {"/sys/class/net/lo/mtu": "65536"},
    "company": dict.fromkeys(("irqbalance.service", "multipathd.socket", "multipathd.service"), "stopped"),
}

ADVICE = {
    "no better clock": Facts(clocksource="acpi_pm", clocksources=("acpi_pm",)),
    "started by hand": Facts(processes=frozenset({"irqbalance"})),
    "has to end by itself": Facts(processes=frozenset({"fstrim"}), units=UNITS),
    "other load": Facts(busy={"cc1": 3.0}),
    "a resync": Facts(syncing={"md0": "resync"}),
    "stolen time": Facts(steal=0.5),
}


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("NVLAB_STATE", str(tmp_path / "state"))


def cures(facts: Facts) -> list[tuple[str, Cure]]:
    found = diagnose(facts, Wants(), ("node", "machine"))
    return [(finding.check, finding.tune) for finding in found if finding.tune]


def test_every_cure_that_can_be_undone_is_known():
    plan = tuning_plan("tuning", cures(UNTUNED))
    assert {step.id: step.args["wanted"] for step in plan.steps} == WANTED


def test_the_other_way_to_switch_turbo_off():
    assert cures(Facts(turbo="cpufreq/boost"))[0][1].wanted == {f"{CPU}/cpufreq/boost": "0"}


def test_interrupts_are_moved_off_the_cpus_of_a_device():
    facts = Facts(interrupts=(Interrupt(40, "eth0-rx-0", (2,), 8.0), Interrupt(41, "eth0-rx-1", (0,), 9.0)))
    (found,) = diagnose(facts, Wants(scenario="lab", cpus={"device.log": (2, 3)}), ("node", "machine"))
    assert found.tune and (found.tune.verb, found.tune.wanted) == ("tune.set", {"/proc/irq/40/smp_affinity_list": "0-1"})


@pytest.mark.parametrize("why", ADVICE)
def test_what_cannot_be_undone_stays_advice(why):
    assert diagnose(ADVICE[why], Wants(), ("node", "machine")) and not cures(ADVICE[why])


def test_services_stop_first_as_some_put_settings_back_when_they_do():
    assert [step.verb for step in tuning_plan("tuning", cures(UNTUNED)).steps] == [
        "tune.stop", "tune.swap", *["tune.set"] * 5,
    ]  # fmt: skip


def test_a_plan_travels_can_be_read_and_says_what_it_was():
    plan = tuning_plan("lab.tuning", cures(UNTUNED))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert is_tuning(plan) and not is_tuning(tuning_plan("tuning", []))
    for step, layer in zip(plan.steps, plan.layers, strict=True):
        assert references(layer.summary) == {f"{step.id}.was"}
        assert layer.owner == f"tuning.{step.id}" == step.owner
        assert verb(step.verb)


def test_a_step_can_be_left_out():
    plan = tuning_plan("tuning", cures(UNTUNED))
    assert {step.id for step in without(plan, "swap").steps} == WANTED.keys() - {"swap"}
    assert len(without(plan, "swap").layers) == len(WANTED) - 1


def test_names():
    assert (name_for(""), name_for("bare-nvme")) == ("tuning", "bare-nvme.tuning")
    assert is_name("tuning") and is_name("bare-nvme.tuning") and not is_name("bare-nvme") and not is_name("my-tuning")


def test_a_report_says_how_each_finding_could_be_tuned():
    said = json.loads(json.dumps(Report("m", tuple(diagnose(UNTUNED, Wants(), ("node", "machine")))).to_json()))
    tunable = {finding["check"] for finding in said["findings"] if finding["tune"]}
    assert tunable == WANTED.keys()


def test_many_alike_are_said_in_short():
    many = {f"/cpu{n}": {"value": "performance", "was": "powersave"} for n in range(5)}
    assert described({**many, "/mtu": {"value": "65536", "was": "1500"}}) == [
        "/cpu0, /cpu1 and 3 more: performance, was powersave",
        "/mtu: 65536, was 1500",
    ]


@pytest.mark.parametrize(("boot", "told"), [("", True), ("another", False)])
def test_what_was_tuned_in_this_boot_is_in_the_record_of_what_is_measured(tmp_path, monkeypatch, boot, told):
    monkeypatch.setattr(labs, "STATE", tmp_path)
    assert labs.tuned_here() == {}
    plan = tuning_plan("x.tuning", [("mtu", Cure("tune.set", {"/mtu": "65536"}, ""))])
    journal = Journal(tmp_path / "labs/x.tuning")
    journal.begin(plan, boot or Path(BOOT_ID).read_text().strip())
    journal.intent(plan.steps[0], {"wanted": {"/mtu": "65536"}, "was": {"/mtu": "1500"}}, ())
    wanted = {"tuned": {"/mtu": {"value": "65536", "was": "1500"}}} if told else {}
    assert labs.tuned_here() == wanted
    assert ("tuned" in labs.provenance({}, print, Stop())) == told


def test_the_screen_has_all_that_was_changed_and_refused():
    left = Report("this machine", ())
    tuned = tuner.Tuned("lab.tuning", {CLOCK: {"value": "tsc", "was": "hpet"}}, {"turbo": "Operation not permitted"}, left)
    text = tuned.text()
    assert f"tuned     {CLOCK}: tsc, was hpet" in text and "refused   turbo: Operation not permitted" in text
    assert "nvlab down lab.tuning" in text
    assert json.loads(json.dumps(tuned.to_json()))["tuned"][CLOCK]["was"] == "hpet"
    assert "nothing was tuned" in tuner.Tuned("tuning", {}, {}, left).text()


@pytest.mark.skipif(os.geteuid() != 0, reason="settings of this machine are root's")
def test_where_nothing_is_to_be_tuned_no_record_stays():
    nothing = tuning_plan("none-such.tuning", [])
    assert tuner.apply_on(Local(), nothing, "", lambda event: None)["refused"] == {}
    assert controller.labs() == []


def test_one_name_is_not_used_on_two_machines(monkeypatch):
    """A user's tunings for no lab in particular are all called the same."""
    controller.announce("tuning", GuestNode("other"), {"source": ""})
    monkeypatch.setattr(GuestNode, "holds", lambda self, lab: lab == "tuning")
    monkeypatch.setattr(Local, "connect", lambda self: StringIO())
    with pytest.raises(Conflict, match="tuning stands in guest other") as caught:
        tuner.apply_on(Local(), tuning_plan("tuning", []), "", lambda event: None)
    assert "nvlab down tuning" in caught.value.hint
    assert controller.record("tuning")["guest"] == "other"


def test_swaps_with_odd_names_are_read():
    text = "Filename\tType\tSize\tUsed\tPriority\n/swap\\040file file 2 1 -2\n"
    assert parse_swaps(text) == {"/swap file": ("-2", 1024)}
    assert parse_swaps("Filename\tType\tSize\tUsed\tPriority") == {} == parse_swaps("")
