# SPDX-License-Identifier: GPL-2.0-or-later
"""[[compare]]: one key changed, in turns; and what nvlab compare says of a run, of two, and of two that are no pair."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab import cli
from nvlab.analysis.claims import within
from nvlab.analysis.differences import differences, incomparable
from nvlab.analysis.runs import load_run
from nvlab.errors import InvalidScenario
from nvlab.planner import make_plan
from nvlab.record.recorder import Workload
from nvlab.scenario import json_schema, loads
from nvlab.scenario.compare import changed, label, order, variants
from nvlab.simulate import Options, simulate

LAB = """
schema = 1
[device.ssd]
profile = "samsung-970-pro"
size = "64M"
[workload.reads]
on = "ssd"
fio = { rw = "randread", bs = "4k", iodepth = 8, runtime = "10ms" }
"""
SLOWER = '[[compare]]\nkey = "device.ssd.medium.read_lsb"\nvalues = [60000, 66000]\nrepeats = 4\n'
RAID = """
schema = 1
[disk.pool]
count = 4
size = "64M"
[device.log]
size = "64M"
[raid.md]
level = 5
on = "pool"
journal = { on = "log" }
[workload.writes]
on = ["md", "log"]
fio = { rw = "randwrite" }
[[compare]]
key = "raid.md.journal.mode"
values = ["write-through", "write-back"]
"""


# -- the scenario --------------------------------------------------------------------------------------------------


@given(st.integers(2, 8), st.integers(1, 10))
def test_each_repeat_has_every_value_once_and_none_is_favoured_by_its_place(values, pairs):
    turns = list(order(values, 2 * pairs))
    assert Counter(turns) == Counter((r, v) for r in range(2 * pairs) for v in range(values))
    places = Counter()
    for place, (_, value) in enumerate(turns):
        places[value] += place
    assert len(set(places.values())) == 1, "a drift in time adds as much to each"


def test_each_value_is_a_lab_of_its_own_with_one_key_changed():
    (comparison,) = loads(RAID).comparisons
    modes = [lab.objects["md"].spec.journal.mode for lab in comparison.labs]
    assert modes == ["write-through", "write-back"] and comparison.spec.repeats == 6
    one, other = (make_plan(lab) for lab in comparison.labs)
    differ = [(a.id, b.id) for a, b in zip(one.steps, other.steps, strict=False) if a != b]
    assert differ and all("md" in ids[0] for ids in differ)


def test_a_key_that_was_left_out_and_one_of_a_load_can_be_changed():
    text = LAB + '[[compare]]\nkey = "workload.reads.fio.iodepth"\nvalues = [1, 8]\n' + SLOWER
    first, second = loads(text).comparisons
    assert [lab.objects["reads"].spec.fio["iodepth"] for lab in first.labs] == [1, 8]
    assert [lab.objects["ssd"].spec.medium for lab in second.labs] == [{"read_lsb": 60000}, {"read_lsb": 66000}]


@pytest.mark.parametrize(
    ("table", "where", "what"),
    [
        ('key = "raid.mdd.journal.mode"\nvalues = [1, 2]', "compare.key", "raid.mdd is not in this file; there is: device.log"),
        ('key = "raid.md.level"\nvalues = [5, 7]', "compare.values", "with raid.md.level = 7, raid.md.level: 7 is not one of"),
        ('key = "raid.md.level"\nvalues = [5, 10]', "compare.values", "a write journal needs RAID"),
        ('key = "raid.md.level"\nvalues = [5, 5]', "compare.values", "a value twice"),
        ('key = "raid.md.level"\nvalues = [5]', "compare.values", "2 to 8 values"),
        ('key = "raid.md.chunks"\nvalues = ["4K", "8K"]', "compare.values", 'did you mean "chunk"'),
        ('key = "raid.md.level.x"\nvalues = [5, 6]', "compare.key", "'level' of raid.md.level.x is not a table"),
        ('key = "schema"\nvalues = [1, 2]', "compare.key", "is not the path of a key"),
        ('key = "raid.md.level"', "compare.values", "is missing"),
        ('key = "raid.md.level"\nvalues = [5, 6]\nrounds = 3', "compare.rounds", "is not a key of this table"),
        ('key = "raid.md.level"\nvalues = [5, 6]\nrepeats = 1', "compare.repeats", "out of range"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused_before_anything_is_built(table, where, what):
    text = RAID.partition("[[compare]]")[0] + f"[[compare]]\n{table}\n"
    with pytest.raises(InvalidScenario) as error:
        loads(text)
    assert where in [p.where for p in error.value.problems]
    assert any(what in p.what for p in error.value.problems), error.value.problems


def test_the_repeats_of_a_load_and_those_of_a_comparison_are_not_mixed():
    with pytest.raises(InvalidScenario, match=r"workload.reads.repeats: compare.repeats says how often"):
        loads(LAB.replace('on = "ssd"', 'on = "ssd"\nrepeats = 3') + SLOWER)


def test_editors_know_the_table():
    items = json_schema()["properties"]["compare"]["items"]
    assert set(items["properties"]) == {"key", "values", "repeats"} and items["properties"]["key"]["description"]


def test_what_is_said_of_a_value():
    assert [label(v) for v in ("write-back", 70, True, 0.5, {"a": 1})] == ["write-back", "70", "true", "0.5", '{"a" = 1}']


def test_the_file_itself_is_not_changed():
    tables = {"device": {"ssd": {"medium": {"spare": 7}}}}
    assert changed(tables, "device.ssd.medium.spare", 9)["device"]["ssd"]["medium"] == {"spare": 9}
    assert tables["device"]["ssd"]["medium"] == {"spare": 7}


def test_values_are_variants_of_a_load_on_each_target_with_one_seed_per_repeat():
    (comparison,) = loads(RAID).comparisons
    runs = make_plan(comparison.labs[1]).workloads
    found = variants(runs, comparison.spec, 3, 1, of=1)
    assert [run["load"] for run in found] == [f"writes on {on}, raid.md.journal.mode" for on in ("md", "log")]
    assert {(r["variant"], r["baseline"], r["repeat"], r["seed"]) for r in found} == {("write-back", False, 3, 4)}
    assert found[0]["name"] == "writes-md-write-back-4"
    # what the node is sent, it can read
    resolved = json.loads(json.dumps(found[0]).replace("{md.dev}", "/dev/md0"))
    assert Workload.from_json(resolved).changed == {"key": "raid.md.journal.mode", "value": "write-back"}


# -- simulated -----------------------------------------------------------------------------------------------------


def simulated(base, text):
    (base / "lab.toml").write_text(text)
    return simulate(base / "lab.toml", base / "runs", Options(), ["simulate"], lambda event: None)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("compared"), LAB + SLOWER)


def test_turns_alternate_and_each_begins_with_a_new_drive(compared):
    run = load_run(compared)
    assert [w.variant for w in run.workloads] == ["60000", "66000", "66000", "60000"] * 2
    assert len({w.started for w in run.workloads}) == 1, "the same past: the clock too"
    assert [w.facts["changed"]["value"] for w in run.workloads[:2]] == [60000, 66000]


def test_a_change_is_claimed_with_its_interval(compared):
    (contrast,) = within(load_run(compared))
    iops, mean = contrast.claims[:2]
    assert (contrast.base, contrast.variant, contrast.n) == ("60000", "66000", 4)
    assert (iops.verdict, mean.verdict) == ("lower", "higher")
    assert 0.85 < iops.ratio.low < iops.ratio.high < 1


def test_two_comparisons_are_measured_one_after_the_other(tmp_path):
    more = SLOWER.replace("repeats = 4", "repeats = 2")
    both = more + '[[compare]]\nkey = "workload.reads.fio.iodepth"\nvalues = [1, 8]\nrepeats = 2\n'
    found = within(load_run(simulated(tmp_path, LAB + both)))
    assert [c.title for c in found] == [
        "reads on ssd, device.ssd.medium.read_lsb, read",
        "reads on ssd, workload.reads.fio.iodepth, read",
    ]
    assert found[1].claims[0].ratio.low > 2


# -- the verb ------------------------------------------------------------------------------------------------------


@pytest.fixture
def nvlab(capsys, compared):
    def call(*words):
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--runs", str(compared.parent)])
        return (ended.value.code or 0, *capsys.readouterr())

    return call


def test_a_run_is_found_by_the_name_of_its_lab_and_its_claims_are_shown(nvlab):
    code, out, err = nvlab("compare", "lab")
    assert (code, err) == (0, "")
    head, names, *rows = out.splitlines()
    assert head == "reads, read: 66000 against 60000, 4 repeats, 95 % intervals"
    assert names.split() == ["60000", "66000", "ratio"]
    assert [row.split()[0] for row in rows] == ["IOPS", "mean", "p50", "p99"]
    assert rows[0].endswith("lower")


def test_scripts_get_numbers(nvlab, compared):
    code, out, _ = nvlab("compare", "--json")
    said = json.loads(out)
    assert code == 0 and said["runs"] == [compared.name]
    (contrast,) = said["contrasts"]
    ratio = contrast["claims"][0]["ratio"]
    assert ratio["low"] < ratio["value"] < ratio["high"] < 1 and ratio["n"] == 4


def copied(run, to, change=lambda facts: None):
    shutil.copytree(run, to)
    facts = json.loads((to / "run.json").read_text())
    change(facts)
    facts["id"] = to.name
    (to / "run.json").write_text(json.dumps(facts))
    return to


def test_two_runs_of_the_same_show_no_difference_and_differ_in_nothing_that_matters(nvlab, compared, tmp_path):
    again = copied(compared, tmp_path / "again")
    code, out, _ = nvlab("compare", str(compared), str(again))
    assert code == 0 and out.count("no difference shown") == 8
    assert "!" not in out and "They also differ" not in out


def test_only_what_differs_is_shown_and_another_machine_is_said_loudly(nvlab, compared, tmp_path):
    def change(facts):
        facts["provenance"]["node"] = {"kernel": {"release": "6.12", "cmdline": "quiet"}, "identity": {"uptime": 3}}

    other = copied(compared, tmp_path / "other", change)
    text = (other / "scenario.toml").read_text()
    (other / "scenario.toml").write_text(text.replace("66000", "67000"))
    code, out, _ = nvlab("compare", str(compared), str(other))
    assert code == 0
    assert "! another machine or load: node.kernel.release: – → 6.12" in out
    assert "  node.kernel.cmdline: – → quiet" in out and "uptime" not in out
    scenario = next(d for d in differences(load_run(compared), load_run(other)) if d.path.startswith("scenario."))
    assert scenario.path == "scenario.compare.1.values" and not scenario.heavy


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda facts: facts.pop("simulated"), "one is simulated, the other live"),
        (lambda facts: facts.update(accelerator={"accelerator": "tcg"}), "no virtual machine against emulation (TCG)"),
    ],
)
def test_what_means_nothing_is_refused_unless_one_insists(nvlab, compared, tmp_path, change, why):
    other = copied(compared, tmp_path / "other", change)
    code, out, err = nvlab("compare", str(compared), str(other))
    assert (code, out) == (2, "") and why in err and "--anyway" in err
    code, out, _ = nvlab("compare", str(compared), str(other), "--anyway")
    assert code == 0 and f"! NOT COMPARABLE: {why}" in out
    assert incomparable(load_run(compared), load_run(other)) == [why]


def test_a_run_of_one_target_has_nothing_to_compare(nvlab, tmp_path):
    run = simulated(tmp_path, LAB)
    code, out, err = nvlab("compare", str(run))
    assert (code, out) == (2, "") and "[[compare]]" in err
