# SPDX-License-Identifier: GPL-2.0-or-later
"""The sweep itself: fio on a device that the user names, which is only read unless the user says otherwise."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nvlab.calibrate.cells import Cell
from nvlab.errors import EnvironmentNotReady, StepFailed, UsageError
from nvlab.kernel.block import name_of
from nvlab.kernel.disk import Claim, refuse_if_used
from nvlab.kernel.real import RealKernel
from nvlab.units import format_size
from nvlab.workload.fio import (
    RESULT,
    Section,
    Target,
    default_engine,
    fio_argv,
    job_sections,
    planned_seconds,
    render_job,
)

STABLE = re.compile(r"/dev/disk/by-[\w-]+/[\w.:+-]+")
FILLED = 8 << 30  # bytes that are written first, and then swept
SEED = 20_071


@dataclass(frozen=True)
class Plan:
    """What to do: on which device, in what cells, how long each (fio's words), how often, whether it may write, and over what:
    the serial or WWN of a disk whose content may go."""

    device: Path
    cells: Sequence[Cell]
    runtime: str
    repeats: int
    write: bool
    wipe: str
    size: int = FILLED

    def __post_init__(self) -> None:
        if not self.write and not all(cell.reads for cell in self.cells):
            raise UsageError("the sweep has writes", hint="--write lets it write; what is on the device is lost then")
        if self.wipe and not self.write:
            raise UsageError("nothing is wiped where only reads are done", hint="leave out --wipe, or add --write")
        if self.write and not STABLE.fullmatch(str(self.device)):
            hint = "ls -l /dev/disk/by-id; names such as nvme0n1 may be another disk's after a reboot"
            raise UsageError(f"{self.device} is no stable path under /dev/disk/by-…, and is not written to", hint=hint)


def run_sweep(plan: Plan, into: Path) -> Path:
    """Run fio over all cells, in the directory ``into``; its result there.

    Nothing else may use the disk. With ``write`` it is claimed as a lab's would be (empty, or wiped by its serial), and filled
    first: reads of what was never written cost a drive nothing. Raises UsageError, Conflict, EnvironmentNotReady, StepFailed.
    """
    into.mkdir(parents=True, exist_ok=True)
    if not plan.device.exists():
        raise UsageError(f"{plan.device} does not exist", hint="ls -l /dev/disk/by-id")
    if not plan.write:
        _check_idle(plan.device)
        _fio(plan, sweep_job(plan), into)
        return into / RESULT
    with _claimed(plan):
        plan = replace(plan, size=min(plan.size, _bytes_of(plan.device)))
        _fio(plan, _fill_job(plan), into / "fill")
        _fio(plan, sweep_job(plan), into)
    return into / RESULT


def _check_idle(device: Path) -> None:
    """Reads do no harm to a disk that others use; what they measure is the others' work too."""
    if not os.access(device, os.R_OK):
        raise EnvironmentNotReady(f"{device} may not be read by this user", hint="run it as root")
    if device.is_block_device():
        kernel = RealKernel()
        refuse_if_used(kernel, str(device), name_of(kernel, str(device)))


def sweep_job(plan: Plan) -> tuple[Section, ...]:
    """A section for each cell and repeat, one after the other."""
    size = {"size": format_size(plan.size)} if plan.write else {}
    table = {
        f"{cell.rw}-{format_size(cell.bs)}-{cell.qd}-{repeat}": {
            "rw": cell.rw, "bs": format_size(cell.bs), "iodepth": cell.qd, "runtime": plan.runtime, "stonewall": True,
            "norandommap": True, **size,
        }
        for repeat in range(1, plan.repeats + 1)
        for cell in plan.cells
    }
    return job_sections(table, "sweep")


def _fill_job(plan: Plan) -> tuple[Section, ...]:
    keys = {"rw": "write", "bs": "256k", "iodepth": 16, "size": format_size(plan.size), "time_based": False}
    return job_sections({"fill": keys}, "fill")


def _fio(plan: Plan, sections: Sequence[Section], into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    try:
        job = render_job(sections, Target("device", str(plan.device)), seed=SEED, engine=default_engine(), trace=False)
    except ValueError as error:
        raise UsageError(str(error), hint="choose a path of plain characters") from error
    (into / "job.fio").write_text(job)
    argv = [*fio_argv(), *([] if plan.write else ["--readonly"])]
    deadline = 60 + 3 * planned_seconds(sections) + plan.size / 1e7 * plan.write
    try:
        with (into / "fio.err").open("w") as err:
            done = subprocess.run(argv, cwd=into, stdout=subprocess.DEVNULL, stderr=err, timeout=deadline, env=_environment())
    except FileNotFoundError as error:
        raise EnvironmentNotReady(f"{error.filename} is not installed", hint="install fio, from your distribution") from error
    except subprocess.TimeoutExpired as error:
        raise StepFailed(f"fio did not end within {deadline:.0f} s", hint=f"{into}/fio.err") from error
    if done.returncode:
        said = (into / "fio.err").read_text(errors="replace").strip()[-500:] or _said(into)
        raise StepFailed(f"fio ended with {done.returncode}: {said}", hint=f"its job is {into}/job.fio")


def _said(into: Path) -> str:
    """fio writes some of its errors before its JSON."""
    result = into / RESULT
    return result.read_text(errors="replace").partition("{")[0].strip()[:500] if result.exists() else "it said nothing"


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _bytes_of(device: Path) -> int:
    with device.open("rb") as file:
        return file.seek(0, os.SEEK_END)


@contextmanager
def _claimed(plan: Plan) -> Iterator[None]:
    """The disk of ours alone, under the rule for real disks."""
    if os.geteuid():
        raise EnvironmentNotReady("only root may write to a disk", hint="run it as root, or leave out --write")
    kernel, verb = RealKernel(), Claim()
    args = verb.choose(kernel, {"path": str(plan.device), "wipe": plan.wipe, "owner": "nvlab calibrate"})
    if verb.find(kernel, args) is not None:
        raise UsageError(f"{plan.device} is used by another nvlab calibrate", hint="wait for it, or choose another disk")
    for op in verb.make(args):
        kernel.perform(op)
    try:
        yield
    finally:
        for op in verb.unmake(args, {}):
            kernel.perform(op)
