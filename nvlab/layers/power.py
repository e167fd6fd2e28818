# SPDX-License-Identifier: GPL-2.0-or-later
"""What may happen to the whole machine that a lab is on. Not a layer: no object of the lab has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nvlab.errors import Problem
from nvlab.layers.base import Deed, Event, EventKind, Lab

CUT = "power-cut"


@dataclass(frozen=True, kw_only=True)
class PowerCut:
    """The power of the machine fails, and of all its devices at one moment; it boots, and the lab is put together again.

    It has no `on`. Nothing is made anew then but what was in RAM anyway: devices go on with what they hold, arrays are assembled,
    file systems mounted; a cache begins cold. Then the load's ledger is held against what is there: the load must keep one, and
    ends with this event. Only in a guest, in which no other lab lives, and with nothing below but `[device.x]`.
    """


def _check(event: Event, lab: Lab) -> Iterator[Problem]:
    if not lab.objects[event.during].spec.ledger:
        what = f"workload {event.during!r} keeps no ledger, and nobody could say what is lost; write ledger = true in it"
        yield Problem(f"{event.path}.during", what)
    if event.at.ended:
        yield Problem(f"{event.path}.at", "the load has ended by then; write a time, or a share of its planned time")
    yield from _check_lasting(lab)


def _check_lasting(lab: Lab) -> Iterator[Problem]:
    """Only what nvlab.ko holds outlasts the boot; all else would have to be made anew, and empty."""
    for obj in lab.objects.values():
        if obj.table == "disk":
            what = f"is gone when the power of the machine is cut (do = {CUT!r}); use a [device.{obj.name}] instead"
            yield Problem(obj.path, what)
        if obj.table == "device" and obj.spec.module:
            what = f"what a stand-in holds is not known when the power of the machine is cut (do = {CUT!r}); leave it out"
            yield Problem(f"{obj.path}.module", what)


def check_beside(events: Sequence[Event], lab: Lab) -> Iterator[Problem]:
    """What cannot be beside a power cut: a second one, what comes after it, and arrays whose members change."""
    cuts = [event for event in events if event.do == CUT]
    if not cuts:
        return
    first, *others = cuts
    for event in others:
        yield Problem(event.path, f"the power is cut once ({first.path}); run the lab again to cut it again")
    for event in events:
        if event.do != CUT and event.during == first.during and event.at.ended:
            yield Problem(f"{event.path}.at", f"{first.path} ends the load, and the machine with it: nothing happens after that")
        if event.do != CUT and event.name in lab.objects and lab.objects[event.name].table == "raid":
            what = f"is not to be had beside {first.path}: an array is assembled of what it was made of; leave one of them out"
            yield Problem(f"{event.path}.do", what)


def _deed(event: Event, lab: Lab) -> Deed:
    del event, lab
    return Deed("power cut", [("device.blackout", {})], ends=True)


EVENTS = (EventKind(CUT, PowerCut, _deed, _check),)
