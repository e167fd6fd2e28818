# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scenario's events do to simulated devices; the layers check them, and word them, as for a live lab."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nvlab.errors import Problem
from nvlab.layers import event as events
from nvlab.layers.base import Event, Lab, Moment
from nvlab.layers.device import Device as DeviceSpec
from nvlab.layers.device import timing_of
from nvlab.layers.fault import millionths
from nvlab.sim import ANY_OPCODE, MAX_RULES, Device, Fault, Opcode, Rule, Timing
from nvlab.sim.closed import Happening
from nvlab.units import human_time

OPCODES = {
    "any": ANY_OPCODE,
    "read": Opcode.READ,
    "write": Opcode.WRITE,
    "flush": Opcode.FLUSH,
    "write-zeroes": Opcode.WRITE_ZEROES,
    "dsm": Opcode.DSM,
}
Deed = Callable[[Device, int], tuple[int, str]]  # at so many ns: from when on the device takes commands, ns; what there is to say


@dataclass(frozen=True)
class Happens:
    """One event of a load: when, counted from its first I/O, and what it does to the device."""

    owner: str
    label: str
    when: Moment
    do: Deed

    def on(self, device: Device, began: int, planned: float) -> Outcome:
        """The same of a load that begins at ``began`` ns and is meant to take ``planned`` s."""
        after = self.when.ns if self.when.share is None else round(self.when.share * planned * 1e9)
        return Outcome(self, device, None if self.when.ended else began + after)


@dataclass
class Outcome:
    """What becomes of an event: ``due`` ns, None once the load has ended."""

    event: Happens
    device: Device
    due: int | None
    begun: int | None = None
    ended: int | None = None
    found: str = ""

    def happen(self, now: int) -> int:
        """Do it; from when on the device takes commands, ns."""
        self.begun = now
        self.ended, self.found = self.event.do(self.device, now)
        return self.ended

    def happenings(self, start: int) -> Iterator[Happening]:
        """For a loop that begins at ``start`` ns, if it is still to come while the load runs."""
        if self.due is not None and self.begun is None:
            yield Happening(max(self.due, start), self.happen)

    def to_json(self) -> dict[str, Any]:
        """As ``workload.json`` has it (:mod:`nvlab.record`)."""
        said = {key: getattr(self, key) for key in ("due", "begun", "ended", "found")}
        result = "not reached" if self.begun is None else "done"
        return {"owner": self.event.owner, "label": self.event.label, "result": result, **said, "message": "", "kernel": []}


def check(found: Sequence[Event], lab: Lab) -> Iterator[Problem]:
    """What of a scenario's events cannot be simulated."""
    for event in found:
        obj = lab.objects.get(event.name)
        if obj is None or obj.table != "device":
            what = f"{event.do} happens to what is not simulated: only devices are; leave the event out, or nvlab run the lab"
            yield Problem(event.path, what)
            continue
        target = lab.objects[event.during].spec.on[0]
        if target not in lab.blocks(event.on):
            what = f"the event is to happen while {event.during!r} is on {target!r}, and devices are simulated one by one"
            yield Problem(f"{event.path}.on", what)


def happens(found: Sequence[Event], lab: Lab) -> tuple[Happens, ...]:
    """Those that were checked."""
    return tuple(_happens(event, lab) for event in found)


def _happens(event: Event, lab: Lab) -> Happens:
    planned = events.planned(event, lab)
    deed = {"timing": _timing, "fault": _fault, "cut": _cut}[event.do]
    return Happens(planned["owner"], planned["label"], event.at, deed(event, lab.objects[event.name].spec))


def _timing(event: Event, spec: DeviceSpec) -> Deed:
    def change(device: Device, now: int) -> tuple[int, str]:
        if event.spec.medium:
            device.set_model(now, **event.spec.medium)
        else:
            device.set_timing(Timing(**(asdict(device.config.timing) | timing_of(event.spec))), now)
        return now, ""

    return change


def _fault(event: Event, spec: DeviceSpec) -> Deed:
    slot = list(spec.fault).index(event.spec.rule)

    def switch(device: Device, now: int) -> tuple[int, str]:
        hits = device.hits(slot)
        device.set_rule(slot, _rule(spec, event.spec.rule) if event.spec.enable else None, now)
        return now, "" if event.spec.enable else f"{hits} hits"

    return switch


def _cut(event: Event, spec: DeviceSpec) -> Deed:
    def cut(device: Device, now: int) -> tuple[int, str]:
        lost, ready = device.cut(now)
        sectors = int(lost["count"].sum())
        return ready, f"ready after {human_time(ready - now)}; {sectors} sectors as they were before"

    return cut


def set_rules(device: Device, spec: DeviceSpec, now: int) -> None:
    """The rules of a scenario that are in force from the beginning, and no others; a rule has the same place whenever it is."""
    names = list(spec.fault)
    for slot in range(MAX_RULES):
        on = slot < len(names) and spec.fault[names[slot]].enable
        device.set_rule(slot, _rule(spec, names[slot]) if on else None, now)


def _rule(spec: DeviceSpec, name: str) -> Rule:
    fault = spec.fault[name]
    same = {key: getattr(fault, key) for key in ("nsid", "slba", "nlb", "every", "count")}
    return Rule(Fault.DELAY, OPCODES[fault.opcode], chance=millionths(fault.probability), delay=fault.delay or 0, **same)
