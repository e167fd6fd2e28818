# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs: the closed set of things a step can do, each with how it is recognised and how it is undone.

A verb is the adapter between a step's arguments and the kernel's own interface. ``make`` and ``unmake`` are pure and
return primitives; ``find`` and ``choose`` only look. One verb never changes its meaning: a newer nvlab must undo the
journal of an older one, so a change of arguments gets a new name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar

from nvlab.errors import UsageError
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Op

Args = Mapping[str, Any]
Made = dict[str, str]


class Verb:
    """One kind of reversible act. Subclasses give ``name`` and the methods; they keep no state."""

    name: ClassVar[str]
    deadline: ClassVar[float] = 30.0  # seconds for the object to be whole once it is made
    survives_boot: ClassVar[bool] = False  # whether any of it is on a disk rather than in the kernel
    contested: ClassVar[bool] = False  # whether two labs at once could choose the same: then choose_beside() is asked

    def choose(self, kernel: Kernel, args: Args) -> Args:
        """The arguments with everything fixed that only the node can choose (a free minor, a free port id).

        Runs before the intent is journalled, so that a kill at any later moment still finds the object.
        """
        return args

    def choose_beside(self, kernel: Kernel, args: Args, others: Sequence[Args]) -> Args:
        """The same, other than ``others``: the arguments of such steps that are journalled here, made already or not yet."""
        raise NotImplementedError

    def choices(self, args: Args) -> Mapping[str, str]:
        """What :meth:`choose` adds to the arguments, each as the bash that chooses it: for a plan without a node."""
        return {}

    def outputs(self, args: Args) -> Mapping[str, str]:
        """What :meth:`find` tells later steps, each as the bash that finds it ("/dev/md0", "$(nvme_namespace NQN 1)")."""
        return {}

    def make(self, args: Args) -> Sequence[Op]:
        """The primitives that make the object."""
        raise NotImplementedError

    def find(self, kernel: Kernel, args: Args) -> Made | None:
        """What the kernel chose for the object with our identity, or None when it does not stand.

        A half-made object is found too (with fewer keys). Raises Conflict when something that is not ours has the place.
        """
        raise NotImplementedError

    def settled(self, made: Made) -> bool:
        """Whether what was found is whole; a block device may appear some time after the act that makes it."""
        return True

    def unmake(self, args: Args, made: Made) -> Sequence[Op]:
        """The primitives that remove what :meth:`find` found."""
        raise NotImplementedError


class SharedVerb(Verb):
    """A verb for what labs share. Each key is owned, once made by nvlab, until its last user leaves.

    ``borrows``: whether one that stood before nvlab came may be used (a module) or must be refused (somebody's port).
    """

    borrows: ClassVar[bool] = True
    carries: ClassVar[bool] = True  # whether other steps may stand on it: then it stays while any of them does

    def stands(self, args: Args) -> str:
        """A test in bash: whether it stands already. Empty when to make it twice does no harm."""
        return ""

    def keys(self, args: Args) -> list[str]:
        """The shared objects this step uses, in the order they come to be."""
        raise NotImplementedError

    def has(self, kernel: Kernel, args: Args, key: str) -> bool:
        """Whether the object of this key stands now, whole or half-made."""
        raise NotImplementedError

    def companions(self, kernel: Kernel, args: Args) -> list[str]:
        """Further shared objects that came to be with the act, unannounced (a module asks for another as it starts)."""
        return []

    def parting(self, kernel: Kernel, args: Args, keys: Sequence[str]) -> list[str]:
        """What a person should know of these keys, which are ours, as their last user goes: a line each. It only looks."""
        return []

    def release(self, args: Args, keys: Sequence[str]) -> Sequence[Op]:
        """The primitives that remove these keys, given newest first."""
        raise NotImplementedError


# Modules that define verbs; a verb's name begins with the module's name ("md.create" lives in md.py).
_VERBS: dict[str, Verb] = {}


def verb(name: str) -> Verb:
    """The verb called ``name``. Raises UsageError for one this nvlab does not know (the journal of a newer one)."""
    if name not in _VERBS:
        with suppress(ModuleNotFoundError):
            module = import_module(f"nvlab.kernel.{name.partition('.')[0]}")
            _VERBS.update({v.name: v for v in module.VERBS})
    if name not in _VERBS:
        raise UsageError(f"this nvlab does not know the verb {name!r}", hint="use the nvlab that made the lab, or a newer one")
    return _VERBS[name]
