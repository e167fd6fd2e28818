# SPDX-License-Identifier: GPL-2.0-or-later
"""One real run, made once: two loads, each on two variants, by the real fio on files below a temporary directory."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

from nvlab.host.provenance import collect, controller
from nvlab.record.convert import convert_run
from nvlab.record.recorder import Workload, run_workload
from nvlab.record.rundir import RunDir
from nvlab.record.samplers import Watch
from nvlab.workload.fio import Target

settings.register_profile("busy machine", deadline=None)  # guests run beside the tests
settings.load_profile("busy machine")

SCENARIO = 'schema = 1\ntitle = "A <b>test</b>"\n'
COMMON = {"bs": "4k", "size": "2M", "runtime": "400ms", "iodepth": 4}
LOADS = {
    "randrw": {"rw": "randrw", "numjobs": 2},
    "profile": {"one": {"rw": "randread"}, "two": {"rw": "randwrite", "stonewall": True}},
}


@dataclass
class Stop:
    requested: bool = False


@dataclass
class Heard:
    """Events as the recorder's caller gets them."""

    events: list = field(default_factory=list)

    def __call__(self, event):
        self.events.append(event)

    def kinds(self):
        return [event["kind"] for event in self.events]


def a_disk() -> Watch:
    name = next(path.name for path in sorted(Path("/sys/class/block").iterdir()) if (path / "stat").exists())
    return Watch("disk.1", "block", name)


@pytest.fixture
def stop():
    return Stop()


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> RunDir:
    """A run directory as the node leaves it: nothing converted."""
    base = tmp_path_factory.mktemp("recorded")
    directory = RunDir.create(base / "runs", "test lab")
    for load, keys in LOADS.items():
        for variant in ("client", "plain"):
            files = base / variant
            files.mkdir(exist_ok=True)
            work = Workload(
                name=f"{load}-{variant}",
                load=load,
                variant=variant,
                baseline=variant == "plain",
                target=Target("directory", str(files)),
                table=COMMON | keys,
                interval=0.1,
                watches=(a_disk(), Watch("gone", "md", "md99")),
            )
            run_workload(directory.new_workload(work.name), work, lambda event: None, Stop())
    facts = {
        "title": "A <b>test</b> of $x_{",
        "accelerator": {"accelerator": "tcg", "cpus": 4},
        "warnings": ["mind the <gap>"],
    }
    provenance = {"controller": controller(["nvlab", "run"]), "node": collect()}
    directory.write("test lab", SCENARIO, "scenarios/test.toml", facts | {"provenance": provenance})
    return directory


@pytest.fixture(scope="session")
def converted(recorded, tmp_path_factory) -> Path:
    """The same run, turned into arrays."""
    path = tmp_path_factory.mktemp("converted") / recorded.id
    shutil.copytree(recorded.path, path)
    convert_run(path)
    return path
