# SPDX-License-Identifier: GPL-2.0-or-later
"""What a node can be asked about labs: facts for the planner, up, down, status, one workload. Works from the plan alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nvlab.engine import Engine
from nvlab.errors import Conflict
from nvlab.host.kernelfiles import loadable
from nvlab.journal import History
from nvlab.kernel.real import RealKernel
from nvlab.nodes.agent import Args, Emit, Handler, Stop
from nvlab.plan import Plan, resolve
from nvlab.units import parse_cpus, parse_memmap

STATE = Path("/var/lib/nvlab")
RUNS = Path("/run/nvlab/runs")


def facts(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Kernel, CPUs, free and reserved memory, what labs have of it, and which of ``args["modules"]`` it can load."""
    engine = _engine(emit, stop)
    histories = [engine.history(lab) for lab in engine.labs()]
    release = os.uname().release
    return {
        "release": release,
        "cpus": len(parse_cpus(Path("/sys/devices/system/cpu/online").read_text().strip())),
        "reserved": parse_memmap(Path("/proc/cmdline").read_text()),
        "taken": _taken(histories),
        "modules": loadable(release, args.get("modules", ())),
        "available": _available(Path("/proc/meminfo").read_text()),
        "labs": engine.labs(),
    }


def _taken(histories: Iterable[History]) -> list[tuple[int, int]]:
    """What labs have of the reserved memory."""
    return [region for history in histories for region in history.plan.needs.reserved]


def survey(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """What doctor must know of this node, see :func:`nvlab.host.survey.survey`; ``taken`` as in :func:`facts`."""
    from nvlab.host.survey import survey

    engine = _engine(emit, stop)
    return {**survey(args), "taken": _taken(map(engine.history, engine.labs()))}


def _available(meminfo: str) -> int:
    """Bytes that programs can still have (MemAvailable)."""
    return next(int(line.split()[1]) << 10 for line in meminfo.splitlines() if line.startswith("MemAvailable"))


def up(args: Args, emit: Emit, stop: Stop) -> dict[str, str]:
    """Make the lab of ``args["plan"]``; its outputs."""
    return _engine(emit, stop).up(Plan.from_json(args["plan"]))


def down(args: Args, emit: Emit, stop: Stop) -> bool:
    """Remove the lab; False when it was not there."""
    return _engine(emit, stop).down(args["lab"])


def status(args: Args, emit: Emit, stop: Stop) -> list[dict[str, Any]]:
    """Every lab on this node: whether it is whole, its objects and its outputs."""
    engine = _engine(emit, stop)
    return [_describe(engine.history(lab)) for lab in engine.labs()]


def _describe(history: History) -> dict[str, Any]:
    outputs = history.outputs()
    lookup: Callable[[str], str] = lambda ref: outputs.get(ref, "?")  # noqa: E731
    return {
        "lab": history.plan.lab,
        "title": history.plan.title,
        "complete": history.complete,
        "layers": [{"owner": x.owner, "summary": resolve(x.summary, lookup)} for x in history.plan.layers],
        "outputs": outputs,
    }


def workload_directory(lab: str, name: str) -> Path:
    """Where the node keeps the record of a workload until the controller has fetched it."""
    return RUNS / lab / name


def workload(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Run one workload (``args["workload"]``, as the plan has it) on the lab; its record, also in its directory."""
    from nvlab.record.recorder import Workload, run_workload

    engine = _engine(emit, stop)
    with engine.lab_lock(args["lab"]):
        history = engine.history(args["lab"])
        if not history.complete:
            raise Conflict(f"lab {args['lab']!r} is half up", hint=f"nvlab down {args['lab']}, then nvlab up")
        out = workload_directory(args["lab"], args["workload"]["name"])
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        work = Workload.from_json(resolve(args["workload"], history.outputs().__getitem__))
        return run_workload(out, work, emit, stop)  # type: ignore[arg-type]


def forget(args: Args, emit: Emit, stop: Stop) -> None:
    """Drop the records of a lab's workloads, once the controller has them."""
    shutil.rmtree(RUNS / args["lab"], ignore_errors=True)


def provenance(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """What a measurement here runs on; ``args["devices"]``: block devices to describe."""
    from nvlab.host.provenance import collect

    return collect(args.get("devices", ()))


def _engine(emit: Emit, stop: Stop) -> Engine:
    return Engine(RealKernel(), STATE, emit, lambda: stop.requested)


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler for handler in (facts, survey, up, down, status, workload, forget, provenance)
}
