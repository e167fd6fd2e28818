# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan: the ordered, reversible steps that make a lab. Pure, no I/O.

A step is data. Its arguments may refer to what earlier steps made (``{log.dev}``); the engine resolves them on the node, and
:func:`render_text` shows them as ``$LOG_DEV``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from nvlab.kernel.act import act
from nvlab.kernel.ops import Op
from nvlab.kernel.verb import SharedVerb, verb

PLAN_VERSION = 1

Args = Mapping[str, Any]
_REF = re.compile(r"\{([a-z][\w.-]*)\}")


@dataclass(frozen=True)
class Step:
    """One reversible act: ``verb`` with ``args``, for the scenario's object ``owner`` ("raid.md").

    ``id`` is unique in the plan. What the verb makes is known to later steps as ``{NAME.KEY}``, NAME being the step's
    ``provides``. A step with a ``lease`` makes something that labs share: the last user removes it.
    """

    id: str
    verb: str
    args: Args
    owner: str
    provides: str = ""
    lease: str = ""


@dataclass(frozen=True)
class Layer:
    """What the screen says of one object: kind, name and a line that may name outputs (``{md.dev}  RAID 5``)."""

    owner: str
    summary: str
    warning: str = ""


@dataclass(frozen=True)
class Needs:
    """What the boot must provide: CPUs, reserved regions (start, size in bytes), modules."""

    cpus: int = 1
    memory: int = 0
    reserved: tuple[tuple[int, int], ...] = ()
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Everything the node needs to make, run and remove the lab."""

    lab: str
    title: str
    steps: tuple[Step, ...]
    layers: tuple[Layer, ...]
    needs: Needs
    workloads: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    version: int = PLAN_VERSION

    def to_json(self) -> dict[str, Any]:
        steps, layers = [vars(s) for s in self.steps], [vars(x) for x in self.layers]
        return vars(self) | {"steps": steps, "layers": layers, "needs": vars(self.needs)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Plan:
        """The plan a controller sent. Raises ValueError for a version this nvlab does not know."""
        if data["version"] != PLAN_VERSION:
            raise ValueError(f"plan version {data['version']}, this nvlab reads {PLAN_VERSION}")
        needs = dict(data["needs"])
        needs["reserved"] = tuple((int(s), int(n)) for s, n in needs["reserved"])
        needs["modules"] = tuple(needs["modules"])
        return Plan(
            lab=data["lab"],
            title=data["title"],
            steps=tuple(Step(**s) for s in data["steps"]),
            layers=tuple(Layer(**x) for x in data["layers"]),
            needs=Needs(**needs),
            workloads=tuple(data["workloads"]),
            notes=tuple(data["notes"]),
        )


def resolve(value: Any, lookup: Callable[[str], str]) -> Any:
    """``value`` with every ``{name.key}`` in its strings replaced by ``lookup("name.key")``."""
    if isinstance(value, str):
        return _REF.sub(lambda m: lookup(m[1]), value)
    if isinstance(value, Mapping):
        return {k: resolve(v, lookup) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(v, lookup) for v in value]
    return value


def references(value: Any) -> set[str]:
    """The names of all ``{name.key}`` in the strings of ``value``."""
    found: set[str] = set()
    resolve(value, lambda ref: found.add(ref) or "")  # type: ignore[func-returns-value]
    return found


def variable(ref: str) -> str:
    """The shell variable that stands for a reference: "log.dev" is ``LOG_DEV``."""
    return re.sub(r"\W", "_", ref).upper()


def shown(step: Step) -> Args:
    """The arguments of a step without a node: what it refers to and what the node will choose, as ``${VARIABLES}``."""
    args: Args = resolve(step.args, lambda ref: f"${{{variable(ref)}}}")
    return {**args, **{key: f"${{{_own(step, key)}}}" for key in verb(step.verb).choices(args)}}


def ops_of(step: Step) -> Sequence[Op]:
    """The primitives of a step, with what is not known yet as ``${VARIABLES}``."""
    return verb(step.verb).make(shown(step))


def shell_lines(step: Step, wanted: AbstractSet[str]) -> list[str]:
    """A step in bash: what is chosen, what is done, and the variables for those of its outputs that are ``wanted``."""
    body, args = verb(step.verb), shown(step)
    chosen = {_own(step, key): bash for key, bash in body.choices(args).items()}
    done = [op.shell() for op in body.make(args)]
    if isinstance(body, SharedVerb) and body.stands(args):
        done = [f"if ! {body.stands(args)}; then", *(f"    {line}" for line in done), "fi"]
    found = {_own(step, key): bash for key, bash in body.outputs(args).items() if f"{step.provides}.{key}" in wanted}
    found |= {_own(step, key): bash for key, bash in _derived(step, wanted)}
    return [*_assign(chosen), *done, *_assign({k: v for k, v in found.items() if k not in chosen})]


def _own(step: Step, key: str) -> str:
    return variable(f"{step.provides or step.id}.{key}")


# What follows from a device node: an output, and the bash that has it from the node.
_OF_DEV = {"sectors": '$(blockdev --getsz "${}")', "name": '$(basename "$(realpath "${}")")'}


def _derived(step: Step, wanted: AbstractSet[str]) -> Iterator[tuple[str, str]]:
    for ref in sorted(wanted):
        name, _, key = ref.rpartition(".")
        if key in _OF_DEV and (name == step.provides or name.startswith(f"{step.provides}.")):
            yield ref.removeprefix(f"{step.provides}."), _OF_DEV[key].format(variable(f"{name}.dev"))


def _assign(values: Mapping[str, str]) -> list[str]:
    return [f"{name}={bash}" for name, bash in values.items()]


def wanted(plan: Plan) -> set[str]:
    """The outputs that steps and events of the plan refer to; what follows from a device needs that too."""
    happening = (event for work in plan.workloads for event in work.get("events", ()))
    refs = {ref for step in plan.steps for ref in references(step.args)}
    refs |= {ref for event in happening for op in _event_ops(event["acts"]) for ref in references(op.shell())}
    derived = (ref.rpartition(".") for ref in refs)
    return refs | {f"{name}.dev" for name, _, key in derived if key in _OF_DEV}


def _event_ops(acts: Sequence[Mapping[str, Any]]) -> list[Op]:
    return [op for each in acts for op in act(each["act"]).ops(each["args"])]


def event_lines(event: Mapping[str, Any]) -> list[str]:
    """An event, as :func:`nvlab.layers.event.planned` has it, in bash."""
    return [op.shell() for op in _event_ops(resolve(event["acts"], lambda ref: f"${{{variable(ref)}}}"))]


def event_title(event: Mapping[str, Any], workload: str) -> str:
    """What happens to which object, and when."""
    when = f"{event['at']:g} s" if "at" in event else f"{event['share']:.0%}" if "share" in event else "the end"
    return f"{event['owner']}: {event['label']}, at {when} of {workload}"


def render_text(plan: Plan) -> str:
    """The plan for a person: each object, then its commands and writes."""
    lines = [f"{plan.lab}: {plan.title}" if plan.title else plan.lab]
    owner = ""
    for step in plan.steps:
        if step.owner != owner:
            owner = step.owner
            lines += ["", owner]
        shared = "   (once for all labs)" if isinstance(verb(step.verb), SharedVerb) else ""
        lines.append(f"  {step.id}{shared}")
        lines += [f"    {line}" for line in shell_lines(step, wanted(plan))]
    for work in plan.workloads:
        for event in work.get("events", ()):
            lines += ["", event_title(event, work["name"]), *(f"    {line}" for line in event_lines(event))]
    if plan.notes:
        lines += ["", *(f"! {note}" for note in plan.notes)]
    lines += ["", "Words like $NAME are known once the lab stands; --shell prints the functions as well."]
    return "\n".join(lines)
