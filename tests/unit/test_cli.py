# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: what goes where, how it ends, and what it says of itself. Nothing here starts a guest."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvlab import cli, errors

ROOT = Path(__file__).parents[2]
HYBRID = str(ROOT / "scenarios/hybrid-nvme.toml")
WRONG = 'schema = 1\n[disk.pool]\ncount = 4\nsize = "64M"\n[cache.ram]\non = "pol"\nsize = "16M"\n'


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """No test sees the user's labs and runs."""
    monkeypatch.setenv("NVLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NVLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def nvlab(capsys):
    """nvlab(words…): (exit code, stdout, stderr)."""

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


def leaves(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every verb of the tree, with its words."""
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not inner:
        yield words, parser
    for name, sub in ((n, p) for action in inner for n, p in action.choices.items()):
        yield from leaves(sub, (*words, name))


VERBS = dict(leaves(cli.parser()))
each_verb = pytest.mark.parametrize("words", VERBS, ids=" ".join)


# -- help ----------------------------------------------------------------------------------------------------------


@each_verb
def test_the_help_of_every_verb_has_an_example_that_parses(nvlab, words):
    code, out, err = nvlab(*words, "--help")
    assert (code, err) == (0, "")
    example = re.search(r"^example:\n  nvlab (.*)$", out, re.M)
    assert example, out
    own = example[1].partition(" -- ")[0].partition(" > ")[0].split()
    assert tuple(own[: len(words)]) == words
    assert cli.parser().parse_args(own).command_of


@each_verb
def test_every_argument_is_explained(words):
    for action in VERBS[words]._actions:
        assert action.help, f"{' '.join(words)} {action.dest}"


def test_the_first_page_says_where_to_begin(nvlab):
    code, out, _ = nvlab("--help")
    assert code == 0
    assert "Begin with: nvlab up scenarios/hybrid-nvme.toml" in out
    for words in VERBS:
        assert words[0] in out


def test_help_loads_no_heavy_package():
    """So that it comes at once: within 0.15 s, the design asks."""
    code = "import sys, nvlab.cli; nvlab.cli.parser(); print(*{'pydantic', 'numpy', 'matplotlib', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == ""


# -- exit codes ----------------------------------------------------------------------------------------------------

CODES = {
    errors.StepFailed: 1,
    errors.UsageError: 2,
    errors.EnvironmentNotReady: 3,
    errors.Conflict: 4,
    errors.TeardownIncomplete: 5,
    errors.DeadlineExceeded: 124,
    errors.Interrupted: 130,
    errors.GuestLost: 255,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda x: getattr(x, "__name__", x))
def test_each_kind_of_error_has_its_exit_code_and_says_what_to_do(capsys, kind, code):
    error = kind("it broke", hint="mend it")
    error.kmsg = ("nvme nvme0: gone",)
    assert cli._explain(error, debug=False) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: it broke\nkernel: nvme nvme0: gone\nhint: mend it\n"


def test_the_last_words_of_a_lost_guest_are_shown(capsys):
    cli._explain(errors.GuestLost("gone", console=["Kernel panic", "end"]), debug=False)
    assert capsys.readouterr().err == "error: gone\nconsole: Kernel panic\nconsole: end\n"


ENDS = [
    (2, "plan none.toml", "cannot read none.toml"),
    (2, "validate wrong.toml", 'cache.ram.on: "pol" is not defined; did you mean "pool"?'),
    (2, "up wrong.toml", "wrong.toml has 1 problem"),
    (2, "report none", "no run matches 'none'"),
    (2, "kmod build none", "not a module directory"),
    (2, f"plan {HYBRID} --name ../x", "'../x' cannot be a lab's name"),
    (2, f"up {HYBRID} --name A", "'A' cannot be a lab's name"),
    (2, "doctor wrong.toml", "wrong.toml has 1 problem"),
    (2, "doctor --on mars", "cannot look at 'mars'"),
    (3, "doctor --on vm:none", "guest 'none' does not run"),
    (2, "", "VERB"),
    (2, "uup", "invalid choice"),
    (2, "plan", "scenario"),
    (3, f"up {HYBRID} --kernel 0.1", "no kernel '0.1'"),
    (4, "run none", "lab 'none' is not up"),
    (4, "shell none", "lab 'none' is not up"),
    (4, "snapshot none ssd file", "lab 'none' is not up"),
    (2, "grub plan", "--size"),
    (2, "grub plan --size 64X", "--size: '64X' is not a size"),
    (2, "grub apply --size 64G --cpus 7-", "--cpus: '7-' is not a CPU list"),
    (2, "grub apply --size 64G --intremap maybe", "invalid choice"),
    (0, "down none", "none is not up; nothing to do"),
]


@pytest.mark.parametrize(("code", "line", "said"), ENDS, ids=[line or "nothing" for _, line, _ in ENDS])
def test_a_command_that_cannot_be_done_ends_with_its_code_and_words_on_stderr(nvlab, tmp_path, code, line, said):
    (tmp_path / "wrong.toml").write_text(WRONG)
    ended, out, err = nvlab(*line.split())
    assert (ended, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_an_up_that_is_refused_leaves_no_record(nvlab, tmp_path):
    (tmp_path / "old.toml").write_text('schema = 1\n[device.ssd]\nprofile = "qlc"\nsize = "64M"\nstate = "old.toml"\n')
    for words, said in (([HYBRID, "--kernel", "0.1"], "no kernel"), (["old.toml"], "old.toml: it is no state of a device")):
        ended, _, err = nvlab("up", *words)
        assert ended in (2, 3) and said in err
        assert json.loads(nvlab("status", "--json")[1]) == []
        assert not list((tmp_path / "state").rglob("*.json"))


def test_a_traceback_is_shown_to_who_asks_for_it(nvlab):
    _, _, err = nvlab("plan", "none.toml", "--debug")
    assert "Traceback" in err and err.rstrip().splitlines()[-2].startswith("error: cannot read")


def test_a_mistake_of_our_own_is_said_in_words_too(nvlab, tmp_path):
    run = tmp_path / "runs/20260101-broken"
    run.mkdir(parents=True)
    (run / "run.json").write_text("[]")
    code, out, err = nvlab("runs")
    assert code == 1 and out == "" and "Traceback" not in err and "--debug" in err
    assert "Traceback" in nvlab("runs", "--debug")[2]


def test_a_reader_that_goes_away_is_no_error():
    line = f"{sys.executable} -m nvlab plan {HYBRID} | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("hybrid-nvme:")


def test_hints_name_only_what_exists():
    """Every "nvlab VERB" in a text of the source is a verb, and every "--option" after it is one of its options."""
    known = {words[0] for words in VERBS}
    for path in (ROOT / "nvlab").rglob("*.py"):
        for verb, rest in re.findall(r"[\"' ]nvlab ((?:up|down|run|[a-z]+)\b)([^\"'\n]*)\"", path.read_text()):
            if verb in known:
                options = set(re.findall(r"--[a-z-]+", rest.partition(", or nvlab")[0]))
                own = {
                    o for words, p in VERBS.items() if words[0] == verb for a in p._actions for o in a.option_strings
                }
                assert options <= own, f"{path.name}: nvlab {verb}{rest}"
            else:
                assert verb not in LATER, f"{path.name}: nvlab {verb} comes later"


LATER = {"sweep", "calibrate", "export"}


# -- results -------------------------------------------------------------------------------------------------------

READING = [f"validate {HYBRID}", f"plan {HYBRID}", "status", "runs", "schema"]


@pytest.mark.parametrize("line", READING, ids=[x.split()[0] for x in READING])
def test_every_reading_verb_speaks_json(nvlab, line):
    code, out, err = nvlab(*line.split(), "--json")
    assert (code, err) == (0, "")
    json.loads(out)


AWAY = """
schema = 1
[disk.d]
size = "64M"
[export.e]
on = "d"
listen = "203.0.113.7:4420"
allow_any_host = true
"""


def test_doctor_ends_with_3_when_something_required_is_missing(nvlab, tmp_path):
    """No machine has that address (RFC 5737); what else is wrong here does not matter."""
    (tmp_path / "away.toml").write_text(AWAY)
    code, out, err = nvlab("doctor", "--on", "local", "--json", "away.toml")
    said = json.loads(out)
    assert (code, said["ready"], err) == (3, False, "")
    (finding,) = [f for f in said["findings"] if f["check"] == "address"]
    assert finding["severity"] == "required" and "203.0.113.7" in finding["what"]


def test_doctor_looks_at_the_host_of_guests_unless_told_otherwise(nvlab):
    code, out, err = nvlab("doctor", "--json")
    said = json.loads(out)
    assert (code, err) == (0 if said["ready"] else 3, "")
    assert nvlab("doctor")[1].startswith(f"{said['machine']}\n")


def test_a_plan_as_json_holds_its_steps(nvlab):
    plan = json.loads(nvlab("plan", HYBRID, "--json", "--name", "other")[1])
    assert plan["lab"] == "other"
    assert {"id", "verb", "args", "owner"} <= set(plan["steps"][0])


def test_a_plan_as_a_script_goes_to_stdout(nvlab):
    code, out, err = nvlab("plan", "--shell", HYBRID)
    assert (code, err) == (0, "")
    assert out.startswith("#!/bin/bash\n")


def test_a_plan_changes_nothing(nvlab, tmp_path):
    nvlab("plan", HYBRID)
    assert list(tmp_path.iterdir()) == []


def test_nothing_up_and_no_runs_are_said_so(nvlab):
    assert nvlab("status") == (0, "no lab is up\n", "")
    assert nvlab("runs")[1].startswith("no runs in ")


def test_no_output_has_colour_when_it_is_not_a_terminal():
    for words in (["plan", HYBRID], ["down", "none"], ["up", "none.toml"]):
        done = subprocess.run(
            [sys.executable, "-m", "nvlab", *words], capture_output=True, text=True, cwd=ROOT, env=os.environ
        )
        assert "\x1b" not in done.stdout + done.stderr
