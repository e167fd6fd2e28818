# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine, step by step, on the fake kernel; and that a program outlives a killed engine, on the real one."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nvlab.engine import Engine
from nvlab.errors import Conflict, NvlabError, StepFailed, TeardownIncomplete
from nvlab.kernel.fake import FakeKernel, World
from nvlab.kernel.ops import Await, Op, Run
from nvlab.kernel.real import RealKernel
from nvlab.kernel.verb import verb
from nvlab.plan import Layer, Needs, Plan, Step


def disk(name: str, **attributes: Any) -> Step:
    args = {"name": name, "attributes": {"size": 32, "memory_backed": 1, **attributes}}
    return Step(f"disk.{name}", "nullblk.create", args, f"disk.{name}", provides=name)


MODULES = Step(
    "modules", "module.load", {"modules": {"configfs": {}, "null_blk": {"nr_devices": 0}, "dm-mod": {}}}, "node"
)
CONFIGFS = Step("configfs", "mount.configfs", {}, "node")
MAPPED = Step(
    "cache.c",
    "dm.create",
    {"name": "c", "uuid": "U", "table": "0 {a.sectors} linear {a.dev} 0"},
    "cache.c",
    provides="c",
)


def plan(*steps: Step) -> Plan:
    layers = tuple(
        Layer(owner, f"{{{owner.partition('.')[2]}.dev}} is there") for owner in dict.fromkeys(s.owner for s in steps)
    )
    return Plan("lab", "", (MODULES, CONFIGFS, *steps), layers, Needs())


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def engine(world, tmp_path) -> Engine:
    return Engine(FakeKernel(world), tmp_path)


# -- up --------------------------------------------------------------------------------------------------------


def test_outputs_of_one_step_are_arguments_of_the_next(engine, world):
    outputs = engine.up(plan(disk("a"), MAPPED))
    assert outputs["c.dev"] == "/dev/mapper/c"
    assert outputs["a.sectors"] == "65536"
    assert world.mapper.all["c"].disk.size == 32 << 20
    entry = engine.history("lab").entries["cache.c"]
    assert entry.step.args["table"] == "0 65536 linear /dev/a 0"
    assert entry.needs == ("disk.a",)
    assert engine.history("lab").complete


def test_nothing_is_made_before_the_journal_says_so(engine):
    unannounced: list[Op] = []

    class Watching(FakeKernel):
        def perform(self, op: Op, **options: Any) -> None:
            begun = engine.history("lab").standing()
            if not any(op in verb(e.step.verb).make(e.step.args) for e in begun if e.made is None):
                unannounced.append(op)
            super().perform(op, **options)

    engine.kernel = Watching(engine.kernel.world)  # type: ignore[attr-defined]
    engine.up(plan(disk("a"), MAPPED))
    assert unannounced == []


def test_the_screen_hears_of_steps_and_of_each_object_when_it_stands(engine):
    events: list[dict[str, Any]] = []
    engine.emit = events.append
    engine.up(plan(disk("a"), disk("b")))
    layers = [(e["owner"], e["summary"]) for e in events if e["kind"] == "layer"]
    assert layers == [("disk.a", "/dev/a is there"), ("disk.b", "/dev/b is there")]
    steps = [(e["id"], e["index"], e["of"]) for e in events if e["kind"] == "step"]
    assert steps == [("modules", 0, 4), ("configfs", 1, 4), ("disk.a", 2, 4), ("disk.b", 3, 4)]


def test_a_failure_names_the_step_the_file_and_the_reason(engine, world):
    with pytest.raises(StepFailed) as caught:
        engine.up(plan(disk("a"), disk("b", size="lots")))
    assert "disk.b" in caught.value.message and "Invalid argument" in caught.value.message
    assert engine.labs() == [] and not world.disks.all and not world.modules.loaded


def test_a_program_that_fails_is_quoted(engine):
    twice = Step(
        "cache.d", "dm.create", {"name": "c", "uuid": "V", "table": "0 8 linear /dev/a 0"}, "cache.d", provides="d"
    )
    with pytest.raises(NvlabError) as caught:
        engine.up(plan(disk("a"), MAPPED, twice))
    assert "dmsetup create c" in caught.value.message and "exit code 1" in caught.value.message


def test_a_bug_is_undone_too_and_named(engine, world, monkeypatch):
    monkeypatch.setattr(type(verb("dm.create")), "make", lambda self, args: [][0])
    with pytest.raises(StepFailed) as caught:
        engine.up(plan(disk("a"), MAPPED))
    assert "IndexError" in caught.value.message
    assert engine.labs() == [] and not world.disks.all


def test_only_one_nvlab_at_a_time_works_on_a_lab(engine, tmp_path, world):
    with engine.lab_lock("lab"), pytest.raises(Conflict) as caught:
        Engine(FakeKernel(world), tmp_path).up(plan(disk("a")))
    assert "another nvlab is at work on lab 'lab'" in caught.value.message


# -- down ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_removed_keeps_what_it_stands_on_and_the_rest_goes(engine, world):
    engine.up(plan(disk("a"), disk("b"), MAPPED))
    world.mapper.all["c"].disk.take("somebody")
    with pytest.raises(TeardownIncomplete) as caught:
        engine.down("lab")
    assert "cache.c" in caught.value.message and "nvlab down lab" in (caught.value.hint or "")
    assert set(world.disks.all) == {"a", "dm-0"}
    assert {"null_blk", "configfs"} <= set(world.modules.loaded) and world.mounts.table
    world.mapper.all["c"].disk.release("somebody")
    assert engine.down("lab") and not world.disks.all and not world.modules.loaded and not world.mounts.table


def test_a_journal_of_a_newer_nvlab_is_undone_as_far_as_it_is_understood(engine, world):
    engine.up(plan(disk("a"), disk("b")))
    path = engine.journal("lab").path
    path.write_text(
        path.read_text().replace('"id":"disk.b","verb":"nullblk.create"', '"id":"disk.b","verb":"future.thing"')
    )
    with pytest.raises(TeardownIncomplete) as caught:
        engine.down("lab")
    assert "disk.b: this nvlab does not know the verb 'future.thing'" in caught.value.message
    assert set(world.disks.all) == {"b"}


def test_down_without_a_lab(engine):
    assert engine.down("nothing") is False
    with pytest.raises(Conflict):
        engine.history("nothing")


# -- a real program, a real kill -------------------------------------------------------------------------------

VICTIM = """
import sys
from pathlib import Path
from nvlab.engine import Engine
from nvlab.kernel.ops import Run
from nvlab.kernel.real import RealKernel
kernel = RealKernel()
engine = Engine(kernel, Path(sys.argv[1]))
with engine.lab_lock("lab"):
    print("at work", flush=True)
    wait = "while ! [ -e go ]; do sleep 0.05; done"
    kernel.perform(Run(("sh", "-c", f"cd {sys.argv[1]}; > begun; {wait}; echo said; echo done > proof")))
"""


def test_a_program_ends_its_work_although_nvlab_was_killed_and_the_next_nvlab_waits_for_it(tmp_path):
    with subprocess.Popen([sys.executable, "-c", VICTIM, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "at work\n"
        RealKernel().perform(Await("the program", exists=(f"{tmp_path}/begun",), deadline=60))
        process.send_signal(signal.SIGKILL)
    assert not Path(tmp_path, "proof").exists()
    threading.Timer(0.3, Path(tmp_path, "go").touch).start()
    with Engine(RealKernel(), tmp_path).lab_lock("lab"):
        assert Path(tmp_path, "proof").read_text() == "done\n"


def test_a_program_past_its_deadline_is_given_up():
    start = time.monotonic()
    with pytest.raises(NvlabError) as caught:
        RealKernel().perform(Run(("sleep", "1000"), deadline=0.2))
    assert caught.value.exit_code == 124 and "sleep 1000" in caught.value.message
    assert time.monotonic() - start < 500
