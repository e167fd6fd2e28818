# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan as data: it travels as JSON, and its references name what earlier steps make."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab.plan import Layer, Needs, Plan, Step, references, render_text, resolve, variable

PLAN = Plan(
    lab="lab",
    title="a title",
    steps=(
        Step("disk.a", "nullblk.create", {"name": "a", "attributes": {"size": 32}}, "disk.a", provides="a"),
        Step(
            "cache.c",
            "dm.create",
            {"name": "c", "uuid": "U", "table": "0 {a.sectors} linear {a.dev} 0"},
            "cache.c",
            "c",
        ),
        Step("export.x/host-1", "nvmet.host", {"nqn": "nqn.h"}, "export.x"),
    ),
    layers=(Layer("disk.a", "{a.dev}  32 MiB", warning="careful"),),
    needs=Needs(cpus=4, memory=32 << 20, reserved=((5 << 30, 17 << 20),), modules=("null_blk",)),
    workloads=({"name": "w", "load": "w"},),
    notes=("mind this",),
)


def test_a_plan_travels_as_json():
    assert Plan.from_json(json.loads(json.dumps(PLAN.to_json()))) == PLAN


def test_a_plan_of_another_version_is_refused():
    with pytest.raises(ValueError, match="plan version 99"):
        Plan.from_json(PLAN.to_json() | {"version": 99})


def test_references_are_found_wherever_they_stand():
    assert references({"a": ["{x.dev}", {"b": "0 {y.1.sectors} {x.dev}"}], "n": 3}) == {"x.dev", "y.1.sectors"}
    assert references({"text": "no {Reference} here, nor {}"}) == set()


def test_resolving_keeps_what_is_no_reference():
    given_ = {"a": ["{x.dev}", 7, None], "b": {"c": "{x.dev}{x.dev}"}, "d": True}
    assert resolve(given_, lambda ref: f"<{ref}>") == {
        "a": ["<x.dev>", 7, None],
        "b": {"c": "<x.dev><x.dev>"},
        "d": True,
    }


@given(st.text(alphabet=st.characters(exclude_characters="{}")))
def test_text_without_braces_is_itself(text):
    assert resolve(text, lambda ref: "!") == text


def test_variables_of_the_shell():
    assert variable("log.dev") == "LOG_DEV"
    assert variable("plain-pool.2.sectors") == "PLAIN_POOL_2_SECTORS"


def test_the_text_shows_every_object_its_commands_and_the_notes():
    text = render_text(PLAN)
    assert text.startswith("lab: a title\n\ndisk.a\n  disk.a\n")
    assert "mkdir /sys/kernel/config/nullb/a" in text
    assert "linear $A_DEV 0" in text or "linear ${A_DEV} 0" in text
    assert "\n\n! mind this" in text
