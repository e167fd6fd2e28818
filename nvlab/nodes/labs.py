# SPDX-License-Identifier: GPL-2.0-or-later
"""What a node can be asked about labs: facts for the planner, up, down, status, one workload. Works from the plan alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nvlab.engine import Engine
from nvlab.errors import Conflict
from nvlab.host.kernelfiles import loadable
from nvlab.host.memmap import left_alone
from nvlab.host.virtual import virtualization
from nvlab.journal import History
from nvlab.kernel.kmsg import Kmsg
from nvlab.kernel.real import RealKernel
from nvlab.nodes.agent import Args, Emit, Handler, Stop
from nvlab.nodes.tuning import apply, standing
from nvlab.plan import Plan, resolve
from nvlab.tuning import tuned
from nvlab.units import format_size, parse_cpus

STATE = Path("/var/lib/nvlab")
RUNS = Path("/run/nvlab/runs")


def facts(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Kernel, CPUs, free and reserved memory, what labs have of it, and which of ``args["modules"]`` it can load.

    ``lost`` are regions that memmap= asks for and that Linux uses all the same.
    """
    engine = engine_here(emit, stop)
    histories = [engine.history(lab) for lab in engine.labs()]
    release = os.uname().release
    reserved, lost = left_alone(Path("/proc/cmdline").read_text(), Path("/proc/iomem").read_text())
    return {
        "release": release,
        "cpus": len(_cpus("online")),
        "isolated": _cpus("isolated"),
        "reserved": reserved,
        "lost": [f"{format_size(size)}${format_size(start)}" for start, size in lost],
        "taken": _taken(histories),
        "modules": loadable(release, args.get("modules", ())),
        "available": _available(Path("/proc/meminfo").read_text()),
        "labs": engine.labs(),
    }


def _cpus(which: str) -> list[int]:
    text = Path("/sys/devices/system/cpu", which).read_text().strip()
    return list(parse_cpus(text)) if text else []


def machine(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """What a run's record says of a machine of its own: accelerator ("none" on bare metal), kernel, cpus, memory in bytes."""
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "accelerator": virtualization(),
        "why": "",
        "kernel": os.uname().release,
        "cpus": len(_cpus("online")),
        "memory": int(memory) << 10,
    }


def module(args: Args, emit: Emit, stop: Stop) -> str:
    """The path of ``nvlab.ko`` for the running kernel, built here unless it was before."""
    from nvlab.data import kmod_dir
    from nvlab.host import kmod

    return str(kmod.ensure(kmod_dir(), os.uname().release, STATE / "kmod"))


def _taken(histories: Iterable[History]) -> list[tuple[int, int]]:
    """What labs have of the reserved memory."""
    return [region for history in histories for region in history.plan.needs.reserved]


def survey(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """What doctor must know of this node, see :func:`nvlab.host.survey.survey`; ``taken`` as in :func:`facts`."""
    from nvlab.host.survey import survey

    engine = engine_here(emit, stop)
    return {**survey(args), "taken": _taken(map(engine.history, engine.labs()))}


def _available(meminfo: str) -> int:
    """Bytes that programs can still have (MemAvailable)."""
    return next(int(line.split()[1]) << 10 for line in meminfo.splitlines() if line.startswith("MemAvailable"))


def up(args: Args, emit: Emit, stop: Stop) -> dict[str, str]:
    """Make the lab of ``args["plan"]``; its outputs."""
    return engine_here(emit, stop).up(Plan.from_json(args["plan"]))


def down(args: Args, emit: Emit, stop: Stop) -> bool:
    """Remove the lab; False when it was not there."""
    return engine_here(emit, stop).down(args["lab"])


def status(args: Args, emit: Emit, stop: Stop) -> list[dict[str, Any]]:
    """Every lab on this node: whether it is whole, or ``stale`` (made before a reboot), its objects and its outputs."""
    engine = engine_here(emit, stop)
    boot = engine.leases.boot_id
    return [{**_describe(history), "stale": history.boot_id != boot} for history in map(engine.history, engine.labs())]


def _describe(history: History) -> dict[str, Any]:
    outputs = history.outputs()
    lookup: Callable[[str], str] = lambda ref: outputs.get(ref, "?")  # noqa: E731
    return {
        "lab": history.plan.lab,
        "title": history.plan.title,
        "complete": history.complete,
        "layers": [{"owner": x.owner, "summary": resolve(x.summary, lookup)} for x in history.plan.layers],
        "outputs": outputs,
        "events": history.events,
    }


def tune(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Do what the tuning of ``args["plan"]`` says, see :func:`nvlab.nodes.tuning.apply`."""
    return apply(engine_here(emit, stop), Plan.from_json(args["plan"]), emit)


def workload_directory(lab: str, name: str) -> Path:
    """Where the node keeps the record of a workload until the controller has fetched it."""
    return RUNS / lab / name


def workload(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """Run one workload (``args["workload"]``, as the plan has it) on the lab, recorded in its directory; its verdict."""
    from nvlab.record.recorder import Workload
    from nvlab.record.rounds import run_course

    engine = engine_here(emit, stop)
    with engine.lab_lock(args["lab"]):
        history = engine.history(args["lab"])
        if not history.complete:
            raise Conflict(f"lab {args['lab']!r} is half up", hint=f"nvlab down {args['lab']}, then nvlab up")
        out = workload_directory(args["lab"], args["workload"]["name"])
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        work = Workload.from_json(resolve(args["workload"], engine.outputs(args["lab"]).__getitem__))

        def happen(event: Args) -> str:
            return engine.happen(args["lab"], event["owner"], event["label"], event["acts"])

        def where() -> str:
            return str(resolve(args["workload"]["target"]["path"], engine.outputs(args["lab"]).__getitem__))

        return run_course(out, work, emit, stop, happen=happen, where=where)  # type: ignore[arg-type]


def room(args: Args, emit: Emit, stop: Stop) -> str:
    """A directory here for the ledger of a lab that was put together again; :func:`forget` drops it."""
    del emit, stop
    directory = RUNS / args["lab"] / "judged"
    directory.mkdir(parents=True, exist_ok=True)
    return str(directory)


def judge(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """The ledger in a ``directory`` held against the ``target`` of a lab that was put together again.

    Result: {"verdict", "kernel": what MD has said of its arrays since the boot}.
    """
    from nvlab.record.recorder import verdict

    target = str(resolve(args["target"], engine_here(emit, stop).outputs(args["lab"]).__getitem__))
    said = [line for line in Kmsg(since_boot=True).new() if line.startswith("md")]
    return {"verdict": verdict(Path(args["directory"]), target), "kernel": said}


def forget(args: Args, emit: Emit, stop: Stop) -> None:
    """Drop the records of a lab's workloads, once the controller has them."""
    shutil.rmtree(RUNS / args["lab"], ignore_errors=True)


def provenance(args: Args, emit: Emit, stop: Stop) -> dict[str, Any]:
    """What a measurement here runs on; ``args["devices"]``: block devices to describe. ``tuned``: by ``nvlab doctor --tune``."""
    from nvlab.host.provenance import collect

    return collect(args.get("devices", ())) | tuned_here()


def tuned_here() -> dict[str, Any]:
    """{"tuned": what ``nvlab doctor --tune`` has made of this machine}; nothing without the right to know (root's)."""
    with suppress(OSError):
        if found := tuned(standing(Engine(RealKernel(), STATE)).values()):
            return {"tuned": found}
    return {}


def engine_here(emit: Emit, stop: Stop) -> Engine:
    """The engine of this node."""
    return Engine(RealKernel(), STATE, emit, lambda: stop.requested)


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (facts, machine, module, survey, up, down, status, tune, workload, room, judge, forget, provenance)
}
