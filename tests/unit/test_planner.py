# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans: what every one of them keeps to, and the text of those of the scenarios that come with nvlab.

``NVLAB_GOLDEN=write python -m pytest tests/unit/test_planner.py`` writes the texts anew; read the difference before you commit.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlab.errors import EnvironmentNotReady, InvalidScenario, UsageError
from nvlab.kernel.ops import Await, MakeFile, Run, Write, quote
from nvlab.kernel.verb import SharedVerb, verb
from nvlab.layers.base import Facts
from nvlab.plan import Plan, references, render_text, resolve, shown
from nvlab.planner import make_plan
from nvlab.scenario import load, loads
from nvlab.shellplan import FUNCTIONS, render_shell

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden/plan"
SCENARIOS = sorted([*(ROOT / "scenarios").glob("*.toml"), *(ROOT / "tests/vm/scenarios").glob("*.toml")])
PLANS = {path.stem: make_plan(load(path)) for path in SCENARIOS}
LIMITS = {"nullblk.create": 25, "md.create": 31, "dm.create": 31, "device.create": 31}  # characters; 25: mdadm 4.2

few = settings(max_examples=20, deadline=None)
each_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


# -- the texts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize(("form", "render"), [("txt", render_text), ("sh", render_shell)])
def test_the_plan_reads_as_it_did(name, form, render):
    path = GOLDEN / f"{name}.{form}"
    text = render(PLANS[name]) + "\n"
    if os.environ.get("NVLAB_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, "NVLAB_GOLDEN=write writes it anew"


def test_there_is_a_text_for_each_scenario_and_no_other():
    assert {p.stem for p in GOLDEN.iterdir()} == set(PLANS)


# -- what every plan keeps to ------------------------------------------------------------------------------------


@st.composite
def scenarios(draw) -> str:
    """Labs of any shape: pools, arrays over them, caches, exports and connections, of names as long as may be."""
    names = draw(
        st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,30}", fullmatch=True), min_size=12, max_size=12, unique=True)
    )
    lines = ["schema = 1"]
    tops = []
    for index in range(draw(st.integers(1, 3))):
        pool, array, cache, export = names[4 * index : 4 * index + 4]
        count = draw(st.integers(3, 6))
        if draw(st.booleans()):
            paths = draw(st.integers(1, 3))
            lines += [f"[device.{pool}]", f"count = {count}", 'size = "32M"', f"controllers = {paths}"]
        else:
            partition = draw(st.sampled_from(["true", "false"]))
            kind = draw(st.sampled_from(["null_blk", "loop"]))
            lines += [
                f"[disk.{pool}]",
                f"count = {count}",
                'size = "32M"',
                f"partition = {partition}",
                f'kind = "{kind}"',
            ]
        lines += [f"[raid.{array}]", f"level = {draw(st.sampled_from([0, 1, 5, 10]))}", f'on = "{pool}"']
        top = array
        if draw(st.booleans()):
            engine = draw(st.sampled_from(["rapiddisk", "dm-cache"]))
            lines += [
                f"[cache.{cache}]",
                f'on = "{top}"',
                'size = "16M"',
                f'engine = "{engine}"',
                'mode = "write-through"',
            ]
            top = cache
        lines += [f"[export.{export}]", f'on = "{top}"', "allow_any_host = true"]
        tops.append(export)
    return "\n".join(lines)


LAB_NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,30}", fullmatch=True)


@st.composite
def plans(draw) -> Plan:
    return make_plan(loads(draw(scenarios()), name=draw(LAB_NAMES)))


def keeps_to_the_rules(plan: Plan) -> None:
    ids = [step.id for step in plan.steps]
    assert len(ids) == len(set(ids)), "ids of steps are unique"
    made: set[str] = set()
    for step in plan.steps:
        assert {ref.rpartition(".")[0] for ref in references(step.args)} <= made, (
            f"{step.id} refers to what is not made yet"
        )
        assert "$" not in json.dumps(step.args), f"{step.id} carries a literal $"
        body = verb(step.verb)
        made |= {step.provides, *(f"{step.provides}.{k}".rpartition(".")[0] for k in body.outputs(shown(step)))} - {""}
        assert body.make(shown(step)), f"{step.id} does nothing"
        if limit := LIMITS.get(step.verb):
            assert len(step.args["name"]) <= limit, f"{step.id}: {step.args['name']} is too long"
    for (a, size), (b, _) in pairwise(sorted(plan.needs.reserved)):
        assert a + size <= b, "regions overlap"
    for kind in ("uuid", "serial", "guid", "subnqn", "nqn", "hostnqn", "file"):
        values = [s.args[kind] for s in plan.steps if kind in s.args and s.verb not in ("md.ignore", "nvmet.namespace")]
        own = [v for v in values if not references(v)]
        assert len(own) == len(set(own)), f"{kind} given twice"


@each_plan
def test_our_own_plans_keep_to_the_rules(plan):
    keeps_to_the_rules(plan)


@few
@given(plans())
def test_any_plan_keeps_to_the_rules(plan):
    keeps_to_the_rules(plan)


@few
@given(scenarios(), LAB_NAMES)
def test_the_same_scenario_gives_the_same_plan(text, name):
    assert make_plan(loads(text, name=name)) == make_plan(loads(text, name=name))


def identities(plan: Plan) -> set[str]:
    """Everything by which the kernel could know two labs apart."""
    keys = ("name", "uuid", "nqn", "hostnqn", "hostid", "guid", "file", "nguid")
    found = {str(s.args[k]) for s in plan.steps for k in keys if k in s.args and not references(s.args[k])}
    return found | {
        s.args["attributes"][k] for s in plan.steps if s.verb == "device.create" for k in ("serial", "subnqn")
    }


@few
@given(scenarios(), LAB_NAMES, LAB_NAMES)
def test_two_labs_of_one_scenario_share_no_identity(text, one, two):
    if one != two:
        assert not identities(make_plan(loads(text), one)) & identities(make_plan(loads(text), two))


@each_plan
def test_a_plan_survives_its_journey_to_the_node(plan):
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == replace(
        plan, steps=Plan.from_json(plan.to_json()).steps
    )
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert json.dumps(again.to_json()) == json.dumps(plan.to_json())
    assert render_text(again) == render_text(plan)


def test_a_plan_of_another_version_is_refused():
    with pytest.raises(ValueError, match="plan version 99"):
        Plan.from_json({**PLANS["bare-nvme"].to_json(), "version": 99})


@each_plan
def test_modules_come_first_and_what_labs_share_before_who_uses_it(plan):
    assert plan.steps[0].verb == "module.load"
    verbs = [step.verb for step in plan.steps]
    if "device.create" in verbs:
        assert verbs.index("module.insert") < verbs.index("device.create")
    configfs = [i for i, v in enumerate(verbs) if v.partition(".")[0] in ("nullblk", "device", "nvmet")]
    assert not configfs or verbs.index("mount.configfs") < configfs[0]


@each_plan
def test_every_layer_has_a_line_and_it_names_known_outputs(plan):
    owners = [layer.owner for layer in plan.layers]
    assert len(owners) == len(set(owners))
    provided = {step.provides for step in plan.steps}
    for layer in plan.layers:
        assert {ref.partition(".")[0] for ref in references(layer.summary)} <= {p.partition(".")[0] for p in provided}


def test_a_lab_that_needs_more_memory_than_is_reserved_says_so():
    scenario = loads('schema = 1\n[device.d]\nsize = "8G"')
    with pytest.raises(EnvironmentNotReady, match=r"device.d: no reserved region of 8193 MiB is free"):
        make_plan(scenario)
    assert make_plan(scenario, facts=Facts(reserved=((5 << 30, 9 << 30),))).needs.reserved == ((5 << 30, 8193 << 20),)


def test_labs_side_by_side_get_regions_side_by_side():
    scenario = loads('schema = 1\n[device.d]\ncount = 3\nsize = "64M"')
    one = make_plan(scenario, "one")
    two = make_plan(scenario, "two", Facts(taken=one.needs.reserved))
    for (a, n), (b, m) in combinations((*one.needs.reserved, *two.needs.reserved), 2):
        assert a + n <= b or b + m <= a


def test_what_a_smaller_node_lacks_is_found_when_it_is_planned_for_it():
    scenario = loads('schema = 1\n[device.d]\nsize = "64M"\ncpus = "2-3"')
    with pytest.raises(InvalidScenario, match="CPU 3 does not exist; the node has 2"):
        make_plan(scenario, facts=Facts(cpus=2))


def test_without_rapiddisk_dm_cache_takes_its_place():
    scenario = loads('schema = 1\n[disk.d]\nsize = "64M"\n[cache.c]\non = "d"\nsize = "16M"')
    there, missing = make_plan(scenario), make_plan(scenario, facts=Facts(modules=frozenset()))
    assert "rapiddisk.attach" in [s.verb for s in there.steps]
    assert "rapiddisk.attach" not in [s.verb for s in missing.steps]
    assert any("drops FLUSH" in note for note in there.notes)
    assert any("no write-around" in note for note in missing.notes)


# -- the text and the script ---------------------------------------------------------------------------------------


def test_a_word_of_bash_is_literal_but_for_its_variables():
    assert quote("plain/word-1") == "plain/word-1"
    assert quote("two words") == "'two words'"
    assert quote("${LOG_DEV}") == '"$LOG_DEV"'
    assert quote("${LOG_DEV}p1") == '"${LOG_DEV}p1"'
    assert quote("/dev/md${N}/x y") == '"/dev/md$N/x y"'
    assert quote('${A}${B} $C `d` "e" \\') == '"$A$B \\$C \\`d\\` \\"e\\" \\\\"'


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.text("ab$`\"'\\ {}\n"))
def test_bash_reads_back_what_was_quoted(text, tail):
    if "${" in text + tail:
        return
    printed = subprocess.run(
        ["bash", "-c", f"printf %s {quote(text + '${V}' + tail)}"], env={"V": "it's"}, capture_output=True, check=True
    )
    assert printed.stdout.decode() == text + "it's" + tail


@each_plan
def test_the_script_is_bash_without_a_flaw(plan, tmp_path):
    script = tmp_path / "lab.sh"
    script.write_text(render_shell(plan))
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: apt-get install shellcheck")
    checked = subprocess.run(["shellcheck", script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@few
@given(plans())
def test_any_script_sets_a_variable_before_it_is_used(plan):
    try:
        script = render_shell(plan)
    except UsageError:
        return
    known = {"SECONDS", "LINENO", "BASH_COMMAND"}
    for line in script.split("\n# modules\n", 1)[1].splitlines():
        words = line.partition(" #")[0]
        assert set(re.findall(r"\$\{?([A-Z]\w*)", words)) <= known, line
        known |= set(re.findall(r"^\s*([A-Z]\w*)=", words))


@each_plan
def test_the_script_holds_the_functions_it_calls_and_no_other(plan):
    script = render_shell(plan)
    for name in FUNCTIONS:
        assert (f"{name}() {{" in script) == (f"$({name} " in script)


def test_a_real_disk_is_not_put_into_a_script():
    plan = make_plan(loads('schema = 1\n[disk.d]\nkind = "path"\npath = "/dev/disk/by-id/x"'))
    assert "free_disk" in render_text(plan)
    with pytest.raises(UsageError, match=r"disk.d cannot be put into a script"):
        render_shell(plan)


def test_names_that_would_be_one_variable_are_refused():
    body = '[disk.a]\ncount = 3\nsize = "64M"\n[disk.a-1]\nsize = "64M"\n[raid.m]\nlevel = 5\non = ["a", "a-1"]'
    with pytest.raises(UsageError, match=r"would both be \$A_1_DEV"):
        render_shell(make_plan(loads("schema = 1\n" + body)))


def test_a_title_cannot_leave_its_comment():
    plan = make_plan(loads('schema = 1\ntitle = "a\\nrm -rf /\\n"\n[disk.d]\nsize = "64M"'))
    assert "# lab: a rm -rf /\n" in render_shell(plan)


def test_primitives_fail_in_a_script_as_they_do_in_the_engine(tmp_path):
    def bash(op) -> int:
        return subprocess.run(["bash", "-euo", "pipefail", "-c", f"{op.shell()}\ntrue"], capture_output=True).returncode

    there = tmp_path / "there"
    there.write_text("1\n")
    assert bash(Await("x", exists=(str(there),), equals={str(there): "1"})) == 0
    assert bash(Await("x", absent=(str(there),), deadline=1.0)) != 0
    assert bash(MakeFile(str(there), size=5)) != 0 and there.read_text() == "1\n"
    assert bash(MakeFile(str(there), text="new")) != 0 and there.read_text() == "1\n"
    assert bash(MakeFile(str(tmp_path / "new"), size=4096)) == 0 and (tmp_path / "new").stat().st_size == 4096
    assert bash(Write(str(there), "attach 1\n")) == 0 and there.read_text() == "attach 1\n"
    assert bash(Write(str(tmp_path / "none"), "1", missing_ok=True)) == 0 and not (tmp_path / "none").exists()
    assert bash(Run(("false",))) != 0


def test_references_are_resolved_everywhere():
    value = {"a": "{x.dev}", "b": ["{y.1.dev} {x.dev}", 3], "c": {"d": "none {} {A.b}"}}
    assert references(value) == {"x.dev", "y.1.dev"}
    assert resolve(value, str.upper) == {"a": "X.DEV", "b": ["Y.1.DEV X.DEV", 3], "c": {"d": "none {} {A.b}"}}


def test_shared_verbs_say_whether_they_stand_or_do_no_harm_twice():
    for plan in PLANS.values():
        for step in plan.steps:
            body = verb(step.verb)
            if isinstance(body, SharedVerb):
                first = body.make(shown(step))[0].shell()
                harmless = first.startswith(("modprobe", "mkdir -p")) or step.verb == "rapiddisk.attach"
                assert body.stands(shown(step)) or harmless, step.id
