# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller's side of every verb: which node a lab is on, and the calls to it. Returns results; prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvlab.errors import Conflict, EnvironmentNotReady, GuestLost, NvlabError, TeardownIncomplete
from nvlab.nodes import kernels
from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.session import Session
from nvlab.nodes.state import read_json, state_dir, write_json
from nvlab.nodes.vm import Guest, ensure
from nvlab.plan import Plan
from nvlab.units import GIB, MIB, human_size

Event = dict[str, Any]
Emit = Callable[[Event], None]

POOL_START = 5 * GIB  # of the memory reserved in a guest: clear of the PCI hole and of the first GiB above 4
POOL_SIZE = 4 * GIB  # costs nothing until it is written, so several labs fit without a restart
GUEST_MEMORY = 3 * GIB


@dataclass(frozen=True)
class Options:
    """What the command line says about the node."""

    name: str | None = None
    kernel: str | None = None
    cpus: int = 4
    guest: str = "default"


# -- the record ------------------------------------------------------------------------------------------------


def _record_path(lab: str) -> Path:
    return state_dir() / "labs" / f"{lab}.json"


def record(lab: str) -> dict[str, Any]:
    """What the controller knows of a lab. Raises Conflict when it is not up."""
    known = read_json(_record_path(lab))
    if not known:
        raise Conflict(f"lab {lab!r} is not up", hint="nvlab status shows the labs that are")
    return known


def labs() -> list[str]:
    """Names of all labs that are up, or half up."""
    return sorted(p.stem for p in (state_dir() / "labs").glob("*.json"))


# -- up and down -----------------------------------------------------------------------------------------------


def up(path: Path, options: Options, emit: Emit) -> dict[str, Any]:
    """Build the lab of a scenario file in a guest; {"lab", "layers", "outputs"}."""
    from nvlab.planner import make_plan
    from nvlab.scenario import load

    scenario = load(path)
    wanted = make_plan(scenario, options.name, _roomy(options))
    if _record_path(wanted.lab).exists() and _stands(wanted.lab):
        raise Conflict(f"lab {wanted.lab!r} is already up", hint=f"nvlab down {wanted.lab} removes it")
    known = {"lab": wanted.lab, "node": "vm", "guest": options.guest, "scenario": scenario.text, "source": str(path.resolve())}
    write_json(_record_path(wanted.lab), known)  # before any node is started
    guest = _announced_guest(wanted, options, emit)
    try:
        with closing(guest.connect()) as session:
            plan = make_plan(scenario, options.name, _facts(session, wanted, guest))
            outputs = session.call("up", {"plan": plan.to_json()}, emit)
    except NvlabError as error:
        _forget_if_gone(guest, wanted.lab, error)
        raise
    write_json(_record_path(plan.lab), known | {"plan": plan.to_json()})
    return {"lab": plan.lab, "layers": len(plan.layers), "outputs": outputs, "notes": list(plan.notes)}


def _announced_guest(plan: Plan, options: Options, emit: Emit) -> Guest:
    """The running guest in which the lab will live; without one, the record that announced it goes too."""
    try:
        return _guest(plan, options, emit)
    except BaseException:
        _record_path(plan.lab).unlink()
        raise


def _roomy(options: Options) -> Any:
    """Facts of a node without limits, to see what a scenario needs before there is a guest."""
    from nvlab.layers.base import Facts

    return Facts(cpus=options.cpus, reserved=((POOL_START, 1 << 50),))


def _guest(plan: Plan, options: Options, emit: Emit) -> Guest:
    need = sum(size for _, size in plan.needs.reserved) + len(plan.needs.reserved) * 2 * MIB
    pool = max(POOL_SIZE, -(-need // GIB) * GIB)
    running = Guest(options.guest)
    reserved: tuple[tuple[int, int], ...] = ((POOL_START, pool),)
    if running.running():
        there = GuestSpec.from_json(running.record["spec"]).reserved
        reserved = there if sum(size for _, size in there) >= pool else reserved
    memory = max(GUEST_MEMORY, plan.needs.memory + 2 * GIB)
    spec = GuestSpec(options.kernel, options.cpus, memory, reserved)
    fresh = not running.running()
    guest = ensure(spec, options.guest, progress=lambda text: emit({"kind": "note", "text": text}), claim=plan.lab)
    emit({"kind": "guest", "fresh": fresh, "name": guest.name, **guest_summary(guest)})
    return guest


def guest_summary(guest: Guest) -> dict[str, Any]:
    """What the screen and a run's record say of a guest."""
    known = guest.record
    spec = known["spec"]
    return {
        "kernel": known["kernel"],
        "cpus": spec["cpus"],
        "memory": spec["memory"],
        "accelerator": known["accel"],
        "why": known.get("why", ""),
        "qemu": known["qemu"],
        "boot_seconds": known.get("boot_seconds"),
    }


def _facts(session: Session, wanted: Plan, guest: Guest) -> Any:
    """The node's facts for the planner, with nvlab.ko built for its kernel if the plan wants it."""
    from nvlab.layers.base import Facts

    said = session.call("facts", {"modules": list(wanted.needs.modules)}, deadline=60)
    if wanted.needs.memory > said["available"]:
        raise EnvironmentNotReady(
            f"its disks and caches need {human_size(wanted.needs.memory)} of memory, {human_size(said['available'])} are free",
            hint="take down another lab in this guest, or use another guest (--guest NAME)",
        )
    return Facts(
        release=said["release"],
        cpus=said["cpus"],
        reserved=tuple((start, size) for start, size in said["reserved"]),
        taken=tuple((start, size) for start, size in said["taken"]),
        modules=frozenset(said["modules"]),
        nvlab_ko=str(_module(guest)) if any(s.verb == "module.insert" for s in wanted.steps) else "nvlab.ko",
    )


def _module(guest: Guest) -> Path:
    from nvlab.data import kmod_dir
    from nvlab.host import kmod

    image = kernels.find(guest.record["spec"]["kernel"])
    return kmod.ensure(kmod_dir(), str(image.tree) if image.tree else image.release, state_dir() / "kmod")


def _forget_if_gone(guest: Guest, lab: str, error: NvlabError) -> None:
    """After a failed ``up``: forget the lab, unless something of it stands. Asks in a session of its own, as agents can die."""
    if isinstance(error, (TeardownIncomplete, GuestLost)) or not guest.running():
        return
    with suppress(NvlabError), closing(guest.connect()) as session:
        if lab not in [known["lab"] for known in session.call("status", deadline=30)]:
            _forget(guest, lab)


def _forget(guest: Guest, lab: str) -> None:
    guest.release(lab)
    _record_path(lab).unlink(missing_ok=True)


def _stands(lab: str) -> bool:
    """Whether a recorded lab's guest still runs; without it nothing of the lab is left."""
    guest = Guest(record(lab)["guest"])
    return guest.running() and lab in guest.labs()


def down(lab: str, emit: Emit, *, keep_guest: bool = False) -> bool:
    """Remove a lab; False when there was nothing. The guest ends with its last lab, unless it is to be kept."""
    known = read_json(_record_path(lab))
    if not known:
        return False
    guest = Guest(known["guest"])
    if guest.running():
        try:
            with closing(guest.connect()) as session:
                session.call("down", {"lab": lab}, emit)
        except GuestLost as lost:  # and with it everything that was in it
            emit({"kind": "note", "text": f"{lost.message}; ending it"})
            guest_stop(guest.name, force=True)
            return True
    _forget(guest, lab)
    if not keep_guest and not guest.labs():
        with guest.locked():
            guest.stop()
    return True


def status() -> list[dict[str, Any]]:
    """Every lab the controller knows, with what its node says of it."""
    return [_status(lab) for lab in labs()]


def _status(lab: str) -> dict[str, Any]:
    known = record(lab)
    guest = Guest(known["guest"])
    base = {"lab": lab, "node": known["node"], "guest": guest.name, "source": known["source"]}
    if not guest.running():
        return {**base, "state": "gone with its guest", "layers": []}
    with closing(guest.connect()) as session:
        said = {x["lab"]: x for x in session.call("status", deadline=60)}
    if lab not in said:
        return {**base, "state": "not made yet", "layers": []}
    return {**base, "state": "up" if said[lab]["complete"] else "half up", **said[lab]}


# -- run -------------------------------------------------------------------------------------------------------


def run(lab: str, base: Path, argv: list[str], emit: Emit) -> Path:
    """Run a lab's workloads in order and record them; the run directory."""
    from nvlab.host import provenance
    from nvlab.record.convert import convert_run
    from nvlab.record.rundir import RunDir

    known = record(lab)
    plan = Plan.from_json(known["plan"]) if "plan" in known else None
    if plan is None:
        raise Conflict(f"lab {lab!r} is half up", hint=f"nvlab down {lab}, then nvlab up")
    if not plan.workloads:
        raise EnvironmentNotReady(f"lab {lab!r} has no workload", hint="add a [workload.x] to its scenario")
    guest = Guest(known["guest"])
    with closing(guest.connect()) as session:
        node = session.call("provenance", {}, deadline=120)
        directory = RunDir.create(base, lab)
        facts = {
            "title": plan.title,
            "plan": plan.to_json(),
            "warnings": list(plan.notes),
            "accelerator": guest_summary(guest),
            "provenance": {"controller": provenance.controller(argv), "node": node},
        }
        directory.write(lab, known["scenario"], known["source"], facts)
        for work in plan.workloads:
            emit({"kind": "workload", "name": work["name"]})
            _measure(session, lab, work, directory.new_workload(work["name"]), emit)
        session.call("forget", {"lab": lab}, deadline=60)
    convert_run(directory.path)
    return directory.path


def _measure(session: Session, lab: str, work: Mapping[str, Any], into: Path, emit: Emit) -> None:
    """Run one workload and fetch its record, also that of one that failed: it says why."""
    from nvlab.nodes.labs import workload_directory

    try:
        session.call("workload", {"lab": lab, "workload": work}, emit)
    except NvlabError:
        with suppress(NvlabError):
            session.fetch(str(workload_directory(lab, work["name"])), into)
        raise
    session.fetch(str(workload_directory(lab, work["name"])), into)


# -- others ----------------------------------------------------------------------------------------------------


def shell(lab: str | None, argv: list[str] | None) -> int:
    """A shell, or a program, in the guest of a lab; its exit code."""
    guest = Guest(record(lab)["guest"] if lab else "default")
    return guest.shell(argv)


def guest_stop(name: str, *, force: bool = False) -> bool:
    """End a guest; False when it does not run. Raises Conflict when a lab lives in it, unless by ``force``."""
    guest = Guest(name)
    living = [lab for lab in labs() if record(lab)["guest"] == name]
    was = guest.running()
    if living and was and not force:
        raise Conflict(
            f"{', '.join(living)} lives in guest {name!r}",
            hint=f"nvlab down {living[0]}, or nvlab guest stop --force",
        )
    with guest.locked():
        guest.stop()
    for lab in living:
        _forget(guest, lab)
    return was
