# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller's side of every verb: which node a lab is on, and the calls to it. Returns results; prints nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvlab import powercut, tuning
from nvlab.errors import Conflict, EnvironmentNotReady, GuestLost, NodeLost, NvlabError, TeardownIncomplete, UsageError
from nvlab.nodes import places
from nvlab.nodes.node import Node
from nvlab.nodes.session import Session
from nvlab.nodes.state import read_json, state_dir, write_json
from nvlab.nodes.vm import Guest
from nvlab.plan import Plan
from nvlab.record.rundir import RunDir
from nvlab.units import human_size

if TYPE_CHECKING:
    from nvlab.scenario import Scenario

Event = dict[str, Any]
Emit = Callable[[Event], None]

FETCH = 3600.0  # s for the record of a workload, which may be of many rounds, out of an emulated guest


@dataclass(frozen=True)
class Options:
    """What the command line says about the lab's name and its node (see :func:`nvlab.nodes.places.chosen`)."""

    name: str | None = None
    kernel: str | None = None
    cpus: int = 4
    guest: str = places.DEFAULT_GUEST
    on: str = ""

    def node(self) -> Node:
        """Raises UsageError for what is no place."""
        return places.chosen(self.on, self.guest, self.kernel, self.cpus)


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
    """Build the lab of a scenario file; {"lab", "layers", "outputs"}."""
    from nvlab.scenario import load

    return up_scenario(load(path), str(path.resolve()), options, emit)


def up_scenario(scenario: Scenario, source: str, options: Options, emit: Emit) -> dict[str, Any]:
    """The same of a scenario that was read from ``source``."""
    from nvlab.planner import make_plan

    node = options.node()
    wanted = make_plan(scenario, options.name, _roomy(node.cpus()))
    if _record_path(wanted.lab).exists() and node_of(record(wanted.lab)).holds(wanted.lab):
        raise Conflict(f"lab {wanted.lab!r} is already up", hint=f"nvlab down {wanted.lab} removes it")
    powercut.check(node, wanted.workloads)
    states = _states(wanted)
    node.check(states)
    files = {name: str(path) for name, path in scenario.files.items()}
    announce(wanted.lab, node, {"states": states, "scenario": scenario.text, "source": source, "files": files})
    _prepare(node, wanted, emit)
    plan, outputs = _build(node, scenario, wanted, emit)
    return {"lab": plan.lab, "layers": len(plan.layers), "outputs": outputs, "notes": list(plan.notes)}


def node_of(known: Mapping[str, Any]) -> Node:
    """The node on which a recorded lab lives."""
    return places.recorded(known)


def announce(lab: str, node: Node, what: Mapping[str, Any]) -> None:
    """Record, before anything is made, that ``lab`` is about to be on ``node``."""
    write_json(_record_path(lab), {"lab": lab, **node.known(), **what})


def _prepare(node: Node, wanted: Plan, emit: Emit) -> None:
    """Have the node ready; where that fails, the record that announced the lab goes too."""
    try:
        node.prepare(wanted.lab, wanted.needs, emit)
    except BaseException:
        _record_path(wanted.lab).unlink()
        raise


def _build(node: Node, scenario: Scenario, wanted: Plan, emit: Emit, *, anew: bool = False) -> tuple[Plan, dict[str, str]]:
    """Make the lab of a scenario on a node that is ready, ``anew`` after removing it; its plan and outputs, recorded."""
    from nvlab.planner import make_plan

    try:
        with closing(node.connect()) as session:
            if anew:
                session.call("down", {"lab": wanted.lab}, emit)
            plan = make_plan(scenario, wanted.lab, _facts(session, wanted, node))
            outputs = session.call("up", {"plan": plan.to_json()}, emit)
    except NvlabError as error:
        forget_if_gone(node, wanted.lab, error)
        raise
    write_json(_record_path(plan.lab), record(plan.lab) | {"plan": plan.to_json()})
    return plan, outputs


def _states(plan: Plan) -> dict[str, dict[str, str]]:
    """What devices begin with, by name; of a file that is none of these nothing comes up."""
    steps = [step for step in plan.steps if step.verb == "device.create" and "state" in step.args]
    return {str(step.provides): _state(str(step.provides), Path(step.args["state"])) for step in steps}


def _state(device: str, path: Path) -> dict[str, str]:
    from nvlab.sim.state import describe

    try:
        return describe(path)
    except (OSError, ValueError) as error:
        hint = f"state of device.{device} is to be what nvlab simulate --save or nvlab snapshot wrote"
        raise UsageError(f"{path}: {error}", hint=hint) from error


def _roomy(cpus: int) -> Any:
    """Facts of a node without limits, to see what a scenario needs before there is one."""
    from nvlab.layers.base import Facts

    return Facts(cpus=cpus, reserved=((1 << 32, 1 << 50),))


def _facts(session: Session, wanted: Plan, node: Node) -> Any:
    """The node's facts for the planner, with nvlab.ko built for its kernel if the plan wants it."""
    from nvlab.layers.base import Facts

    said = session.call("facts", {"modules": list(wanted.needs.modules)}, deadline=60)
    if wanted.needs.memory > said["available"]:
        raise EnvironmentNotReady(
            f"its disks and caches need {human_size(wanted.needs.memory)} of memory, {human_size(said['available'])} are free",
            hint=node.remedy,
        )
    return Facts(
        release=said["release"],
        cpus=said["cpus"],
        isolated=tuple(said["isolated"]),
        reserved=tuple((start, size) for start, size in said["reserved"]),
        taken=tuple((start, size) for start, size in said["taken"]),
        modules=frozenset(said["modules"]),
        nvlab_ko=node.module(session) if any(s.verb == "module.insert" for s in wanted.steps) else "nvlab.ko",
    )


def forget_if_gone(node: Node, lab: str, error: NvlabError | None = None) -> None:
    """After an ``up`` that failed or made nothing: forget the lab, unless it stands. Asks in its own session: agents can die."""
    if isinstance(error, (TeardownIncomplete, NodeLost)) or not node.running():
        return
    with suppress(NvlabError), closing(node.connect()) as session:
        if lab not in [known["lab"] for known in session.call("status", deadline=180)]:
            _forget(node, lab)


def _forget(node: Node, lab: str) -> None:
    node.release(lab)
    _record_path(lab).unlink(missing_ok=True)


def down(lab: str, emit: Emit, *, keep_guest: bool = False) -> bool:
    """Remove a lab, and what was tuned for it; False when there was nothing. A guest ends with its last lab, unless kept."""
    made = _down(lab, emit, keep_guest=keep_guest)
    return _down(tuning.name_for(lab), emit, keep_guest=keep_guest) or made


def _down(lab: str, emit: Emit, *, keep_guest: bool) -> bool:
    known = read_json(_record_path(lab))
    if not known:
        return False
    node = node_of(known)
    if powercut.endangered(known):
        emit({"kind": "note", "text": f"the power of guest {known['guest']} was to be cut, or was: ending it"})
        guest_stop(known["guest"], force=True)
        return True
    if node.running():
        try:
            with closing(node.connect()) as session:
                session.call("down", {"lab": lab}, emit)
        except GuestLost as lost:  # and with it everything that was in it
            emit({"kind": "note", "text": f"{lost.message}; ending it"})
            guest_stop(known["guest"], force=True)
            return True
    _forget(node, lab)
    if not keep_guest:
        node.vacate()
    return True


def down_stale(emit: Emit, on: str = "") -> list[str]:
    """Remove what is left of labs whose boot is gone, and nothing of others; their names.

    Looks at every node that a record names, and at ``on``: there also at labs of which we have no record. Kernel state went with
    the boot; files that labs had made are still there. A node that cannot be asked is said, and left.
    """
    nodes = {str(node.known()): node for node in [node_of(record(lab)) for lab in labs()]}
    if on:
        nodes[str(places.chosen(on).known())] = places.chosen(on)
    return [lab for node in nodes.values() for lab in _sweep(node, emit)]


def _sweep(node: Node, emit: Emit) -> list[str]:
    ours = [lab for lab in labs() if node_of(record(lab)).known() == node.known()]
    stale = ours
    try:
        if node.running():
            with closing(node.connect()) as session:
                stale = [known["lab"] for known in session.call("status", deadline=60) if known["stale"]]
                for lab in stale:
                    session.call("down", {"lab": lab}, emit)
    except (NodeLost, EnvironmentNotReady) as error:
        emit({"kind": "note", "text": f"not looked at {node.where}: {error.message}"})
        return []
    for lab in stale:
        if lab in ours:
            _forget(node, lab)
    return stale


def status() -> list[dict[str, Any]]:
    """Every lab the controller knows, with what its node says of it."""
    return [_status(lab) for lab in labs()]


def _status(lab: str) -> dict[str, Any]:
    known = record(lab)
    node = node_of(known)
    base = {"lab": lab, **node.known(), "where": node.where, "source": known["source"]}
    nothing: dict[str, Any] = {"layers": [], "events": []}
    if not node.running():
        return {**base, "state": "gone with its guest", **nothing}
    try:
        with closing(node.connect()) as session:
            said = {x["lab"]: x for x in session.call("status", deadline=60)}
    except EnvironmentNotReady as error:
        return {**base, "state": f"not to be seen ({error.message})", **nothing}
    if lab not in said:
        state = "gone with the power of its guest" if powercut.endangered(known) else "not made yet"
        return {**base, "state": state, **nothing}
    state = "gone with a reboot" if said[lab]["stale"] else "up" if said[lab]["complete"] else "half up"
    return {**base, "state": state, **said[lab]}


# -- run -------------------------------------------------------------------------------------------------------


def run(lab: str, base: Path, argv: list[str], emit: Emit) -> Path:
    """Run a lab's workloads in order and record them; the run directory."""
    from nvlab.host import provenance
    from nvlab.nodes.labs import tuned_here
    from nvlab.record.convert import convert_run

    known = record(lab)
    plan = Plan.from_json(known["plan"]) if "plan" in known else None
    if plan is None:
        raise Conflict(f"lab {lab!r} is half up", hint=f"nvlab down {lab}, then nvlab up")
    if not plan.workloads:
        raise EnvironmentNotReady(f"lab {lab!r} has no workload", hint="add a [workload.x] to its scenario")
    scenario = _compared_scenario(known)
    node = node_of(known)
    with closing(node.connect()) as session:
        machine = session.call("provenance", {}, deadline=120)
        directory = RunDir.create(base, lab)
        facts = {
            "title": plan.title,
            "plan": plan.to_json(),
            "warnings": [*plan.notes, *([] if scenario else _changed(session, lab))],  # compared, it is built anew
            "states": known.get("states", {}),
            "accelerator": node.summary(session),
            "provenance": {"controller": provenance.controller(argv) | tuned_here(), "node": machine},
        }
        directory.write(lab, known["scenario"], known["source"], facts)
        directory.keep({name: path for name, path in _files(known).items() if path.is_file()})
    if scenario:
        directory.update({"plans": _compared(lab, scenario, node, plan, directory, emit)})
    else:
        _measure_all(lab, node, plan.workloads, directory, emit)
    convert_run(directory.path)
    return directory.path


def _compared_scenario(known: Mapping[str, Any]) -> Scenario | None:
    """The scenario of a lab with comparisons, for which it must be rebuilt; any other is measured as it stands."""
    if "compare" not in tomllib.loads(known["scenario"]):
        return None
    from nvlab.scenario import loads

    return loads(known["scenario"], source=known["source"], name=known["lab"], given=_files(known))


def _files(known: Mapping[str, Any]) -> dict[str, Path]:
    """The files that a lab's scenario names, where they were when it was built."""
    return {name: Path(path) for name, path in known.get("files", {}).items()}


def _compared(
    lab: str, scenario: Scenario, node: Node, wanted: Plan, directory: RunDir, emit: Emit
) -> dict[str, dict[str, Any]]:
    """Measure the lab with each value of its comparisons in turns; the plan of each, by value and by key.

    It is rebuilt before each turn, also for what could be changed while it stands: every turn begins with the same past. In the
    end it is as its scenario has it. When something fails it stays as it is, to be looked at.
    """
    from nvlab.scenario.compare import label, order, variants

    plans: dict[str, dict[str, Any]] = {}
    quiet: Emit = lambda event: emit(event) if event["kind"] != "layer" else None  # noqa: E731
    for comparison in scenario.comparisons:
        spec = comparison.spec
        for repeat, value in order(len(spec.values), spec.repeats):
            plan, _ = _build(node, comparison.labs[value], wanted, quiet, anew=True)
            works = variants(plan.workloads, spec, repeat, value, of=len(scenario.comparisons))
            _measure_all(lab, node, works, directory, emit)
            plans.setdefault(spec.key, {})[label(spec.values[value])] = plan.to_json()
    _build(node, scenario, wanted, quiet, anew=True)
    return plans


def _measure_all(
    lab: str, node: Node, works: Sequence[Mapping[str, Any]], directory: RunDir, emit: Emit
) -> None:
    with ExitStack() as stack:
        session = stack.enter_context(closing(node.connect()))
        for work in works:
            emit({"kind": "workload", "name": work["name"]})
            into = directory.new_workload(work["name"])
            if powercut.cuts(work):
                drill = powercut.Drill(record(lab), work, node, lambda known: write_json(_record_path(lab), known))
                with drill.endangered():
                    _measure(session, lab, work, into, emit)
                    if fresh := drill.recover(session, into, emit):
                        session = stack.enter_context(closing(fresh))
            else:
                _measure(session, lab, work, into, emit)
            session.call("forget", {"lab": lab}, deadline=60)  # at once: it is memory of the node


def _changed(session: Session, lab: str) -> list[str]:
    """What must be said of a lab that is not as it was built."""
    said: list[str] = next((known["events"] for known in session.call("status", deadline=60) if known["lab"] == lab), [])
    return [f"Events of earlier runs have changed this lab: {'; '.join(said)}."] if said else []


def _measure(session: Session, lab: str, work: Mapping[str, Any], into: Path, emit: Emit) -> None:
    """Run one workload and fetch its record, also that of one that failed: it says why."""
    from nvlab.nodes.labs import workload_directory

    try:
        session.call("workload", {"lab": lab, "workload": work}, emit)
    except NvlabError:
        with suppress(NvlabError):
            session.fetch(str(workload_directory(lab, work["name"])), into, FETCH)
        raise
    session.fetch(str(workload_directory(lab, work["name"])), into, FETCH)


# -- others ----------------------------------------------------------------------------------------------------


def shell(lab: str | None, argv: list[str] | None) -> int:
    """A shell, or a program, where a lab lives; its exit code."""
    from nvlab.nodes.terminal import run_shell

    node = node_of(record(lab)) if lab else places.chosen()
    with closing(node.connect()) as session:
        return run_shell(session, argv)


def guest_stop(name: str, *, force: bool = False) -> bool:
    """End a guest; False when it does not run. Raises Conflict when a lab lives in it, unless by ``force``."""
    guest = Guest(name)
    living = [lab for lab in labs() if record(lab).get("guest") == name]
    was = guest.running()
    if living and was and not force:
        raise Conflict(
            f"{', '.join(living)} lives in guest {name!r}",
            hint=f"nvlab down {living[0]}, or nvlab guest stop --force",
        )
    with guest.locked():
        guest.stop()
    for lab in living:
        _forget(places.recorded({"node": "vm", "guest": name}), lab)
    return was
