# SPDX-License-Identifier: GPL-2.0-or-later
"""Apply a plan, undo a journal: the only driver of side effects.

For each step: look (absent, or somebody else's: refuse), journal the intent, act, journal what the kernel chose. Undo runs
backwards over the journal, attempts everything, and leaves standing only what something that could not be removed still needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvlab.errors import Conflict, Interrupted, NvlabError, StepFailed, TeardownIncomplete, UsageError
from nvlab.journal import Entry, History, Journal
from nvlab.kernel import hints
from nvlab.kernel.interface import Kernel
from nvlab.kernel.verb import SharedVerb, Verb, verb
from nvlab.leases import Leases
from nvlab.lock import locked
from nvlab.plan import Plan, Step, references, resolve

Event = dict[str, Any]
Emit = Callable[[Event], None]
Stop = Callable[[], int]  # 0 go on, 1 stop and undo, 2 stop and leave as is


def _silent(event: Event) -> None:
    del event


def _go_on() -> int:
    return 0


class Engine:
    """The engine of one node: a kernel, and the directory where labs have their journals."""

    def __init__(self, kernel: Kernel, state: Path, emit: Emit = _silent, stop: Stop = _go_on) -> None:
        self.kernel, self.state, self.emit, self.stop = kernel, state, emit, stop
        self.leases = Leases(state / "leases.json", self._boot_id())

    def journal(self, lab: str) -> Journal:
        return Journal(self.state / "labs" / lab)

    def labs(self) -> list[str]:
        """Names of the labs that have a journal here."""
        return [p.parent.name for p in sorted((self.state / "labs").glob("*/journal.jsonl"))]

    def history(self, lab: str) -> History:
        """The journal of ``lab``. Raises Conflict when it is not up here."""
        try:
            return self.journal(lab).read()
        except FileNotFoundError:
            raise Conflict(f"lab {lab!r} is not up here", hint="nvlab status shows the labs that are") from None

    # -- up ------------------------------------------------------------------------------------------------

    def up(self, plan: Plan) -> dict[str, str]:
        """Make the lab; returns every output ("log.dev": "/dev/nvme0n1"). On failure everything made is undone."""
        with self.lab_lock(plan.lab):
            journal = self.journal(plan.lab)
            if journal.exists():
                raise Conflict(
                    f"lab {plan.lab!r} is already up, or half up", hint=f"nvlab down {plan.lab} removes it; nvlab status shows it"
                )
            try:
                journal.begin(plan, self._boot_id())
                return self._make(plan, journal)
            except Exception as error:  # whatever went wrong, a bug included: nothing may be left behind
                raise self._undo_after(plan.lab, journal, error) from error

    def _make(self, plan: Plan, journal: Journal) -> dict[str, str]:
        outputs: dict[str, str] = {}
        makers: dict[str, str] = {}
        started = time.monotonic()
        for index, step in enumerate(plan.steps):
            self._check_stop()
            self.emit({"kind": "step", "id": step.id, "owner": step.owner, "index": index, "of": len(plan.steps)})
            needs = tuple(sorted({makers[ref] for ref in references(step.args)}))
            args = resolve(step.args, outputs.__getitem__)
            made = self._do(plan.lab, journal, step, args, needs)
            if step.provides:
                new = {f"{step.provides}.{k}": v for k, v in made.items()}
                outputs |= new
                makers |= dict.fromkeys(new, step.id)
            if index + 1 == len(plan.steps) or plan.steps[index + 1].owner != step.owner:
                self._announce(plan, step.owner, outputs, time.monotonic() - started)
                started = time.monotonic()
        journal.complete()
        return outputs

    def _do(
        self, lab: str, journal: Journal, step: Step, args: Mapping[str, Any], needs: tuple[str, ...]
    ) -> dict[str, str]:
        body = verb(step.verb)
        self.kernel.messages()
        try:
            if isinstance(body, SharedVerb):
                return self._share(lab, journal, step, body, args, needs)
            return self._create(journal, step, body, args, needs)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            words, hint = f"{step.id}: {error.strerror}{where}", hints.for_errno(error.errno)
            raise StepFailed(words, hint=hint, kmsg=self.kernel.messages()) from error
        except NvlabError as error:
            error.kmsg = error.kmsg or tuple(self.kernel.messages())
            error.message = f"{step.id}: {error.message}"
            error.hint = error.hint or hints.for_error(error)
            raise

    def _create(
        self, journal: Journal, step: Step, body: Verb, args: Mapping[str, Any], needs: tuple[str, ...]
    ) -> dict[str, str]:
        args = body.choose(self.kernel, args)
        if body.find(self.kernel, args) is not None:
            raise Conflict(
                "it exists already, and no journal here owns it",
                hint="remove it by hand if it is a leftover, or give the lab another name (--name)",
            )
        journal.intent(step, args, needs)
        self._perform(step, body.make(args))
        made = self._whole(step, body, args)
        journal.done(step.id, made)
        return made

    def _whole(self, step: Step, body: Verb, args: Mapping[str, Any]) -> dict[str, str]:
        """What was made, once it is all there."""
        found: list[dict[str, str]] = []

        def settled() -> bool:
            made = body.find(self.kernel, args)
            found[:] = [made] if made is not None and body.settled(made) else []
            return bool(found)

        self.kernel.until(
            settled, what=f"{step.owner} to appear", deadline=body.deadline, should_stop=lambda: self.stop() > 0
        )
        return found[0]

    def _share(
        self, lab: str, journal: Journal, step: Step, body: SharedVerb, args: Mapping[str, Any], needs: tuple[str, ...]
    ) -> dict[str, str]:
        user = f"{lab}/{step.id}"
        with self.leases.locked() as leases:
            args = body.choose(self.kernel, args)
            journal.intent(step, args, needs)
            if self._lease(leases, body, args, user):
                self._perform(step, body.make(args))
                self._lease_companions(leases, body, args)
            made = self._whole(step, body, args)
            journal.done(step.id, made)
            return made

    def _lease(self, leases: Leases, body: SharedVerb, args: Mapping[str, Any], user: str) -> bool:
        """Register ``user`` for every key, before the act; returns whether any key is still to be made."""
        missing = False
        for key in body.keys(args):
            has = body.has(self.kernel, args, key)
            if has and key not in leases.table and not body.borrows:
                raise Conflict(f"{key} is there already, and not nvlab's", hint="remove it, or use another one in the scenario")
            missing |= not has
            leases.add(key, user, owned=not has)
        leases.follow(body.keys(args), user)
        leases.save()
        return missing

    def _lease_companions(self, leases: Leases, body: SharedVerb, args: Mapping[str, Any]) -> None:
        new = [key for key in body.companions(self.kernel, args) if key not in leases.table]
        for key in new:
            for sharer in leases.sharers(body.keys(args)):
                leases.add(key, sharer, owned=True, companion=True)
        if new:
            leases.save()

    def _perform(self, step: Step, ops: Any) -> None:
        def progress(fraction: float) -> None:
            self.emit({"kind": "progress", "id": step.id, "owner": step.owner, "fraction": fraction})

        for op in ops:
            self.kernel.perform(op, progress=progress, should_stop=lambda: self.stop() > 0)

    def _announce(self, plan: Plan, owner: str, outputs: Mapping[str, str], seconds: float) -> None:
        for layer in plan.layers:
            if layer.owner == owner:
                summary = resolve(layer.summary, lambda ref: outputs.get(ref, "?"))
                self.emit(
                    {"kind": "layer", "owner": owner, "summary": summary, "warning": layer.warning, "seconds": seconds}
                )

    def _check_stop(self) -> None:
        if self.stop():
            raise Interrupted("stopped")

    def _check_abandon(self, lab: str) -> None:
        if self.stop() > 1:
            raise Interrupted("stopped; what is left stays as it is", hint=f"remove it with: nvlab down {lab}")

    def _undo_after(self, lab: str, journal: Journal, error: Exception) -> NvlabError:
        """Undo what stands and return the error to raise. Interrupted twice: leave everything as it is."""
        problem = _as_problem(error)
        problem.hint = problem.hint or "what it had made is undone; nvlab up makes it anew"
        self.emit({"kind": "undo", "why": problem.message})
        try:
            self._undo(lab, journal)
        except (TeardownIncomplete, Interrupted) as incomplete:
            if type(incomplete) is not type(problem):
                incomplete.message = f"{problem.message}\nand then: {incomplete.message}"
            return incomplete
        return problem

    # -- down ----------------------------------------------------------------------------------------------

    def down(self, lab: str) -> bool:
        """Remove everything the lab's journal owns; False when there is none. Can be called again after any failure."""
        with self.lab_lock(lab):
            journal = self.journal(lab)
            try:
                begun = journal.exists()
                self._undo(lab, journal)
            except OSError as error:
                raise TeardownIncomplete(f"the journal: {error}", hint=f"mend that, then: nvlab down {lab}") from error
            return begun

    def _undo(self, lab: str, journal: Journal) -> None:
        failures: list[str] = []
        kept: set[str] = set()
        history = journal.read() if journal.exists() else None
        for entry in reversed(history.standing() if history else []):
            step = entry.step
            self._check_abandon(lab)
            # what labs share carries everything: without configfs, say, the rest could not be found again
            if step.id in kept or (failures and _is_shared(step)):
                kept.update(entry.needs)
                continue
            self.emit({"kind": "undo-step", "id": step.id, "owner": step.owner})
            try:
                if history and (history.boot_id == self._boot_id() or verb(step.verb).survives_boot):
                    self._undo_step(lab, entry)  # else it went with the boot, and what has its name now is somebody else's
                journal.undone(step.id)
            except Exception as error:  # every undo is attempted, whatever becomes of the others
                words = "; ".join(self.kernel.messages())
                failures.append(f"{step.id}: {_words(error)}" + (f" [kernel: {words}]" if words else ""))
                kept.update(entry.needs)
        if failures:
            self._check_abandon(lab)
            raise TeardownIncomplete(
                "could not remove everything:\n  " + "\n  ".join(failures),
                hint=f"free what holds it, then: nvlab down {lab}",
            )
        journal.remove()

    def _undo_step(self, lab: str, entry: Entry) -> None:
        step = entry.step
        body = verb(step.verb)
        self.kernel.messages()
        if isinstance(body, SharedVerb):
            self._unshare(lab, entry, body)
            return
        try:
            made = body.find(self.kernel, step.args)
        except Conflict:  # somebody else's object has the place, so ours is not there
            made = None
        if made is not None:
            self._perform_undo(body.unmake(step.args, made))

    def _unshare(self, lab: str, entry: Entry, body: SharedVerb) -> None:
        step = entry.step
        user = f"{lab}/{step.id}"
        with self.leases.locked() as leases:
            if entry.made is None and leases.uses(user):  # killed in the act: its companions are not written down
                self._lease_companions(leases, body, step.args)
            keys = [k for k in leases.last_used_by(user) if body.has(self.kernel, step.args, k)]
            self._perform_undo(body.release(step.args, keys[::-1]))
            leases.drop(user)
            leases.save()

    def _perform_undo(self, ops: Any) -> None:
        for op in ops:
            self.kernel.perform(op, should_stop=lambda: self.stop() > 1)

    # -- helpers -------------------------------------------------------------------------------------------

    @contextmanager
    def lab_lock(self, lab: str) -> Iterator[None]:
        """Be the only one at work on this lab. Raises Conflict; waits for programs that a killed nvlab left running."""
        directory = self.state / "labs" / lab
        with locked(self.state / "labs" / f"{lab}.lock", f"lab {lab!r}", queue=False):
            directory.mkdir(parents=True, exist_ok=True)
            try:
                yield
            finally:
                if not any(directory.iterdir()):
                    directory.rmdir()

    def _boot_id(self) -> str:
        return self.kernel.read("/proc/sys/kernel/random/boot_id")


def _words(error: Exception) -> str:
    """What happened, for a person; of an unforeseen error its kind too."""
    return str(error) if isinstance(error, NvlabError | OSError) else f"{type(error).__name__}: {error}"


def _as_problem(error: Exception) -> NvlabError:
    if isinstance(error, NvlabError):
        return error
    if isinstance(error, OSError):
        return StepFailed(_words(error), hint=hints.for_errno(error.errno))
    return StepFailed(_words(error), hint="this is a bug in nvlab: run it again with --debug, and report what it prints")


def _is_shared(step: Step) -> bool:
    try:
        return isinstance(verb(step.verb), SharedVerb)
    except UsageError:
        return False
