# SPDX-License-Identifier: GPL-2.0-or-later
"""`[raid.x]`: an MD array, with a write journal if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from nvlab.errors import Problem
from nvlab.layers.base import BLOCK, Built, Deed, Event, EventKind, Lab, LayerKind, Object
from nvlab.layers.fields import Choice, Doc, Duration, Flag, Ref, Refs, Size, Whole
from nvlab.plan import Layer, Step

LEVELS = (0, 1, 4, 5, 6, 10)
JOURNAL_LEVELS = (4, 5, 6)  # mdadm: "--write-journal is only supported for RAID level 4/5/6."
MIN_MEMBERS = {0: 2, 1: 2, 4: 3, 5: 3, 6: 4, 10: 2}
PERSONALITY = {0: "raid0", 1: "raid1", 10: "raid10"}  # the others are raid456
MIN_JOURNAL = 4 << 20  # bytes; measured: 2 MiB "Failed to write metadata", 4 MiB works


@dataclass(frozen=True, kw_only=True)
class Journal:
    """A write journal on a device of its own."""

    on: Annotated[str, Ref(BLOCK), Doc("the block device that holds it")]
    mode: Annotated[str, Choice(("write-through", "write-back")), Doc("when a write is acknowledged")] = "write-through"


@dataclass(frozen=True, kw_only=True)
class Raid:
    """An MD array."""

    level: Annotated[int, Choice(LEVELS), Doc("RAID level")]
    on: Annotated[tuple[str, ...], Refs(BLOCK), Doc("its members")]
    spares: Annotated[tuple[str, ...], Refs(BLOCK), Doc("block devices kept beside it, for events to add; none takes over")] = ()
    journal: Annotated[Journal | None, Doc("its write journal (level 4, 5, 6)")] = None
    chunk: Annotated[int | None, Size(4096, 1 << 30, 4096), Doc("chunk size, a power of two (default: mdadm's)")] = None
    stripe_cache: Annotated[
        int | None, Whole(17, 32768), Doc("stripes held in memory (RAID 4, 5, 6); a full one waits for the disks")
    ] = None
    assume_clean: Annotated[bool, Flag(), Doc("skip the first resync; right only for members that read as zeros")] = False
    resync_deadline: Annotated[int, Duration(10**9), Doc("how long the first resync may take")] = 600 * 10**9


def check(obj: Object, lab: Lab) -> Iterator[Problem]:
    spec: Raid = obj.spec
    members = [name for ref in spec.on for name in lab.blocks(ref)]
    if len(members) < MIN_MEMBERS[spec.level]:
        yield Problem(
            f"{obj.path}.on", f"RAID {spec.level} needs at least {MIN_MEMBERS[spec.level]} members, and this gives {len(members)}"
        )
    if spec.chunk and (spec.chunk & (spec.chunk - 1) or spec.level == 1):
        yield Problem(f"{obj.path}.chunk", "a chunk is a power of two, and RAID 1 has none")
    if spec.stripe_cache and spec.level not in JOURNAL_LEVELS:
        yield Problem(f"{obj.path}.stripe_cache", f"RAID {spec.level} has no stripe cache; levels 4, 5 and 6 do")
    if spec.spares and not spec.level:
        yield Problem(f"{obj.path}.spares", "RAID 0 has nothing to rebuild a member from")
    if spec.journal:
        yield from _check_journal(obj, spec.journal, lab)


def _check_journal(obj: Object, journal: Journal, lab: Lab) -> Iterator[Problem]:
    level = obj.spec.level
    if level not in JOURNAL_LEVELS:
        yield Problem(f"{obj.path}.journal", f"a write journal needs RAID level 4, 5 or 6, not {level}")
    if len(lab.blocks(journal.on)) > 1:
        yield Problem(f"{obj.path}.journal.on", f"{journal.on!r} is several devices; name one of them: {journal.on}.1")
    size = getattr(lab.objects[journal.on.partition(".")[0]].spec, "size", None)
    if size is not None and size < MIN_JOURNAL:
        yield Problem(f"{obj.path}.journal.on", f"a write journal needs at least {MIN_JOURNAL >> 20} MiB")


def build(obj: Object, lab: Lab) -> Built:
    spec: Raid = obj.spec
    uuid = _md_uuid(lab.uuid("raid", obj.name))
    name = lab.ident(obj.name)
    args = {
        "name": name,
        "uuid": uuid,
        "level": spec.level,
        "members": lab.devs(spec.on),
        "spares": lab.devs(spec.spares),
        "journal": lab.devs([spec.journal.on])[0] if spec.journal else "",
        "journal_stays": spec.journal is not None and _is_real(lab, spec.journal.on),
        "mode": spec.journal.mode if spec.journal else "",
        "chunk": spec.chunk >> 10 if spec.chunk else 0,  # KiB
        "stripe_cache": spec.stripe_cache or 0,
        "assume_clean": spec.assume_clean,
        "resync_deadline": spec.resync_deadline / 1e9,
    }
    steps = [
        Step(f"raid.{obj.name}/ignore", "md.ignore", {"name": name, "uuid": uuid}, obj.path),
        Step(f"raid.{obj.name}", "md.create", args, obj.path, provides=obj.name),
    ]
    journal = f", journal {spec.journal.on}, {spec.journal.mode}" if spec.journal else ""
    layer = Layer(obj.path, f"{{{obj.name}.dev}}  RAID {spec.level}{journal}")
    return Built(steps, layer, {PERSONALITY.get(spec.level, "raid456"): {}})


def _is_real(lab: Lab, ref: str) -> bool:
    """Whether a reference is to a disk that was there before the lab and outlives it."""
    return getattr(lab.objects[ref.partition(".")[0]].spec, "path", None) is not None


def _md_uuid(text: str) -> str:
    """A UUID in mdadm's form, four groups of eight."""
    digits = text.replace("-", "")
    return ":".join(digits[i : i + 8] for i in range(0, 32, 8))


# -- events ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member fails: MD goes on without it, if the level can. Without its journal, MD looks clean and fails every write."""

    member: Annotated[str, Ref(BLOCK), Doc("which of its members, or its journal")]


@dataclass(frozen=True, kw_only=True)
class Removal(Member):
    """A member that has failed is taken out of the array."""


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A removed member or a spare becomes part of the array, which is rebuilt onto it; or a removed journal comes back.

    MD takes a journal only while nobody has the array open: not before the load has ended, and with nothing else on it.
    """

    member: Annotated[str, Ref(BLOCK), Doc("which of its members or spares, or its journal")]
    wait: Annotated[bool, Flag(), Doc("whether the event ends with the rebuild; in a whole array there is none")] = True
    deadline: Annotated[int, Duration(10**9), Doc("how long the rebuild may take")] = 600 * 10**9


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """A spare takes the place of a member that still works: its content is copied, and then it leaves."""

    member: Annotated[str, Ref(BLOCK), Doc("which of its members")]
    by: Annotated[str, Ref(BLOCK), Doc("which of its spares")]
    deadline: Annotated[int, Duration(10**9), Doc("how long the copy may take")] = 600 * 10**9


def _check_parts(event: Event, lab: Lab) -> Iterator[Problem]:
    """Everything that an event names belongs to the array: so the array's own undo knows of it."""
    raid: Raid = lab.objects[event.name].spec
    if not raid.level:
        yield Problem(f"{event.path}.do", "RAID 0 lives and dies with each of its members")
    parts = [name for each in (*raid.on, *raid.spares, *([raid.journal.on] if raid.journal else [])) for name in lab.blocks(each)]
    for key in ("member", "by"):
        ref = getattr(event.spec, key, None)
        if ref is None:
            continue
        names = lab.blocks(ref)
        if len(names) > 1:
            yield Problem(f"{event.path}.{key}", f"{ref!r} is several devices; name one of them: {ref}.1")
        elif names[0] not in parts:
            yield Problem(f"{event.path}.{key}", f"{ref!r} is no part of {event.name}; add it to its spares")


def _check_add(event: Event, lab: Lab) -> Iterator[Problem]:
    yield from _check_parts(event, lab)
    if _is_journal(event, lab) and not event.at.ended:
        yield Problem(f"{event.path}.at", 'MD takes a journal only while nobody has the array open; write at = "end"')


def _check_replace(event: Event, lab: Lab) -> Iterator[Problem]:
    yield from _check_parts(event, lab)
    if _is_journal(event, lab):
        yield Problem(f"{event.path}.member", "MD replaces no journal; let it fail, remove it, and add it")


def _is_journal(event: Event, lab: Lab) -> bool:
    journal = lab.objects[event.name].spec.journal
    return journal is not None and lab.blocks(journal.on) == lab.blocks(event.spec.member)


def _deed(event: Event, lab: Lab, **more: object) -> Deed:
    (member,) = lab.devs([event.spec.member])
    args = {"array": f"{{{event.name}.dev}}", "name": f"{{{event.name}.name}}", "member": member, **more}
    return Deed(f"{event.do} {event.spec.member}", [(f"md.{event.do}", args)])


def _add(event: Event, lab: Lab) -> Deed:
    if _is_journal(event, lab):
        deed = _deed(event, lab, mode=lab.objects[event.name].spec.journal.mode)
        return Deed(deed.label, [("md.add-journal", args) for _, args in deed.acts])
    (name,) = lab.blocks(event.spec.member)
    return _deed(event, lab, member_name=f"{{{name}.name}}", wait=event.spec.wait, deadline=event.spec.deadline / 1e9)


def _replace(event: Event, lab: Lab) -> Deed:
    (by,), (name,) = lab.devs([event.spec.by]), lab.blocks(event.spec.by)
    return _deed(event, lab, by=by, by_name=f"{{{name}.name}}", deadline=event.spec.deadline / 1e9)


EVENTS = (
    EventKind("fail", Member, _deed, _check_parts),
    EventKind("remove", Removal, _deed, _check_parts),
    EventKind("add", Addition, _add, _check_add),
    EventKind("replace", Replacement, _replace, _check_replace),
)
KIND = LayerKind("raid", Raid, check, build, watch="md", doc="An MD array.", events=EVENTS)
