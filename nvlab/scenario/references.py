# SPDX-License-Identifier: GPL-2.0-or-later
"""The names by which objects refer to each other: defined, of the right kind, used once, and without a circle. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from nvlab.errors import Problem
from nvlab.layers.base import BLOCK, Object, provided
from nvlab.layers.fields import Reference, marked_references

# Tables whose objects use a block device up: nobody else may stand on it.
_EXCLUSIVE = ("raid", "cache", "filesystem", "export")
# Kinds of devices that are no block device for them, and what those have.
_NO_BLOCKS = {"zns": "zones, which are written in order alone", "kv": "keys and no blocks"}


def check_references(
    objects: Mapping[str, Object], declared: Mapping[str, str], others: Iterable[Reference] = ()
) -> Iterator[Problem]:
    """What is wrong with the names. ``declared``: every name of the file and its table, broken objects included;
    ``others``: references that no object has.
    """
    problems: list[Problem] = []
    for where, ref, tables in (*(found for obj in objects.values() for found in references(obj)), *others):
        problems += _check(objects, declared, where, ref, tables)
    yield from problems
    if not problems:
        yield from _circles(objects)
        yield from _shared(sound(objects))
        yield from _without_blocks(sound(objects))


def sound(objects: Mapping[str, Object]) -> dict[str, Object]:
    """The objects that can be looked at further: all they refer to, directly or not, is there, and there is no circle."""
    good: dict[str, Object] = {}
    while True:
        more = {n: o for n, o in objects.items() if n not in good and all(_resolves(good, r) for _, r, _ in references(o))}
        if not more:
            return {n: o for n, o in objects.items() if n in good}
        good |= more


def holds(objects: Mapping[str, Object], reference: Reference) -> bool:
    """Whether what a reference names is there, and of a table that it may be of."""
    _, ref, tables = reference
    return _resolves(objects, ref) and objects[ref.partition(".")[0]].table in tables


def _resolves(objects: Mapping[str, Object], ref: str) -> bool:
    name, dot, which = ref.partition(".")
    return name in objects and (not dot or (which.isdigit() and 1 <= int(which) <= len(provided(objects[name]))))


def references(obj: Object) -> Iterator[Reference]:
    """Every reference of an object, nested tables included."""
    yield from marked_references(obj.path, obj.spec)


def _check(
    objects: Mapping[str, Object], declared: Mapping[str, str], where: str, ref: str, tables: tuple[str, ...]
) -> Iterator[Problem]:
    name, dot, _ = ref.partition(".")
    if name not in objects:
        if name not in declared:
            known = [n for n, table in declared.items() if table in tables]
            close = get_close_matches(name, known, 1)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            yield Problem(where, f'"{name}" is not defined{hint}')
    elif objects[name].table not in tables:
        yield Problem(where, f'"{name}" is a {objects[name].table}; this wants a {" or ".join(tables)}')
    elif dot and not _resolves(objects, ref):
        count = len(provided(objects[name]))
        yield Problem(where, f'"{ref}": {name} has {count}, so write {name}.1' + (f" to {name}.{count}" if count > 1 else ""))


def _circles(objects: Mapping[str, Object]) -> Iterator[Problem]:
    try:
        order(objects)
    except CycleError as error:
        names = " → ".join(error.args[1][::-1])
        yield Problem(objects[error.args[1][0]].path, f"stands on itself: {names}")


def order(objects: Mapping[str, Object]) -> list[str]:
    """Names in the order of building: each after what it refers to, otherwise as in the file. Raises CycleError."""
    graph: TopologicalSorter[str] = TopologicalSorter()
    for obj in objects.values():
        graph.add(obj.name, *(ref.partition(".")[0] for _, ref, _ in references(obj)))
    return list(graph.static_order())


def _shared(objects: Mapping[str, Object]) -> Iterator[Problem]:
    """A block device carries one thing; a second user would destroy the first one's data."""
    users: dict[str, str] = {}
    for obj in objects.values():
        if obj.table not in _EXCLUSIVE:
            continue
        for where, ref, tables in references(obj):
            if not set(tables) & set(BLOCK):
                continue
            for device in _devices(objects, ref):
                if device in users:
                    yield Problem(where, f'"{device}" is used by {users[device]} already')
                users.setdefault(device, obj.path)


def _devices(objects: Mapping[str, Object], ref: str) -> list[str]:
    name, _, which = ref.partition(".")
    names = provided(objects[name])
    return [names[int(which) - 1]] if which else names


def _without_blocks(objects: Mapping[str, Object]) -> Iterator[Problem]:
    """Layers that write blocks where they like, on a drive that takes them in order alone, or has none."""
    for obj in objects.values():
        for where, ref, _ in references(obj) if obj.table in _EXCLUSIVE else ():
            below = objects[ref.partition(".")[0]]
            if below.table == "device" and below.spec.profile.kind in _NO_BLOCKS:
                yield Problem(where, f'"{ref}" has {_NO_BLOCKS[below.spec.profile.kind]}; only a workload can be on it')
