# SPDX-License-Identifier: GPL-2.0-or-later
"""Acts: the closed set of things that an event can do to what a lab has made.

An act has no undo of its own. It changes the state of an object that a step has made, never makes another one, and touches only
devices that are that step's arguments; so undoing the step is right whatever acts have come between, finished or not. One act
never changes its meaning: a plan carries its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import ClassVar

from nvlab.errors import UsageError
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Op
from nvlab.kernel.verb import Args


class Act:
    """One kind of change. Subclasses give ``name`` and the methods; they keep no state."""

    name: ClassVar[str]
    deadline: ClassVar[float] = 30.0  # seconds for the object to settle once the primitives are done

    def ops(self, args: Args) -> Sequence[Op]:
        """The primitives that make the change; a wait among them is the change taking its course."""
        raise NotImplementedError

    def settled(self, kernel: Kernel, args: Args) -> bool:
        """Whether what the change set off is over; it only looks."""
        return True

    def found(self, kernel: Kernel, args: Args) -> str:
        """What state the object is in, in words; it only looks."""
        return ""


# Modules that define acts; as with verbs, an act's name begins with the module's name ("md.fail" lives in md.py).
_ACTS: dict[str, Act] = {}


def act(name: str) -> Act:
    """The act called ``name``. Raises UsageError for one this nvlab does not know (the plan of a newer one)."""
    if name not in _ACTS:
        with suppress(ModuleNotFoundError):
            module = import_module(f"nvlab.kernel.{name.partition('.')[0]}")
            _ACTS.update({a.name: a for a in getattr(module, "ACTS", ())})
    if name not in _ACTS:
        raise UsageError(f"this nvlab does not know the act {name!r}", hint="use the nvlab that planned the lab, or a newer one")
    return _ACTS[name]
