# SPDX-License-Identifier: GPL-2.0-or-later
"""Apply a plan, undo a journal: the only driver of side effects.

For each step: look (absent, or somebody else's: refuse), journal the intent, act, journal what the kernel chose. Undo runs
backwards over the journal, attempts everything, and leaves standing only what something that could not be removed still needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from nvlab.errors import Conflict, Interrupted, NvlabError, StepFailed, TeardownIncomplete, UsageError
from nvlab.journal import Entry, History, Journal
from nvlab.kernel import hints
from nvlab.kernel.act import Act, act
from nvlab.kernel.interface import Kernel
from nvlab.kernel.ops import Op
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
            raise StepFailed(words, hint=hint, kmsg=self.kernel.messages(), step=step.id) from error
        except NvlabError as error:
            error.step = step.id
            error.kmsg = error.kmsg or tuple(self.kernel.messages())
            error.message = f"{step.id}: {error.message}"
            error.hint = error.hint or hints.for_error(error)
            raise

    def _create(
        self, journal: Journal, step: Step, body: Verb, args: Mapping[str, Any], needs: tuple[str, ...]
    ) -> dict[str, str]:
        with self.leases.locked() if body.contested else nullcontext():
            args = self._intend(journal, step, body, args, needs)
        self._perform(step.owner, step.id, body.make(args))
        made = self._whole(step, body, args)
        journal.done(step.id, made)
        return made

    def _intend(
        self, journal: Journal, step: Step, body: Verb, args: Mapping[str, Any], needs: tuple[str, ...]
    ) -> Mapping[str, Any]:
        """Write down what is to be made; the arguments, with what the node chose."""
        beside = [entry.step.args for _, entry in self._journalled(step.verb)] if body.contested else []
        args = self._chosen(body, args, beside)
        if body.find(self.kernel, args) is not None:
            raise Conflict(
                "it exists already, and no journal here owns it",
                hint="remove it by hand if it is a leftover, or give the lab another name (--name)",
            )
        journal.intent(step, args, needs)
        return args

    def _chosen(self, body: Verb, args: Mapping[str, Any], beside: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        return body.choose_beside(self.kernel, args, beside) if body.contested else body.choose(self.kernel, args)

    def _journalled(self, name: str) -> list[tuple[str, Entry]]:
        """All steps of a verb that stand, or are about to, each with its lab."""
        found: list[tuple[str, Entry]] = []
        for lab in self.labs():
            with suppress(Conflict):  # it goes away while we look
                found += [(lab, entry) for entry in self.history(lab).standing() if entry.step.verb == name]
        return found

    def _sharing(self, leases: Leases, name: str) -> list[Mapping[str, Any]]:
        """The arguments of all steps of a verb that have leases now."""
        return [e.step.args for lab, e in self._journalled(name) if leases.uses(f"{lab}/{e.step.id}")]

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
            args = self._chosen(body, args, self._sharing(leases, step.verb) if body.contested else [])
            journal.intent(step, args, needs)
            if self._lease(leases, body, args, user):
                self._perform(step.owner, step.id, body.make(args))
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

    def _perform(self, owner: str, what: str, ops: Iterable[Op]) -> None:
        def progress(fraction: float) -> None:
            self.emit({"kind": "progress", "id": what, "owner": owner, "fraction": fraction})

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

    # -- events --------------------------------------------------------------------------------------------

    def happen(self, lab: str, owner: str, label: str, acts: Sequence[Mapping[str, Any]]) -> str:
        """Do what an event of a lab that is up says (``act`` and ``args`` of each act); what was found then, in words.

        The caller holds the lab's lock. Raises NvlabError, with the kernel's words.
        """
        self.kernel.messages()
        try:
            self.journal(lab).event(owner, label, acts)
            bodies = [(act(each["act"]), each["args"]) for each in acts]
            for body, args in bodies:
                self._perform(owner, label, body.ops(args))
            for body, args in bodies:
                self._settle(owner, label, body, args)
            return "; ".join(dict.fromkeys(filter(None, (body.found(self.kernel, args) for body, args in bodies))))
        except (NvlabError, OSError) as error:
            problem = _as_problem(error)
            problem.kmsg = problem.kmsg or tuple(self.kernel.messages())
            raise problem from error

    def _settle(self, owner: str, label: str, body: Act, args: Mapping[str, Any]) -> None:
        self.kernel.until(
            lambda: body.settled(self.kernel, args),
            what=f"{owner} after {label!r}",
            deadline=body.deadline,
            should_stop=lambda: self.stop() > 0,
        )

    def outputs(self, lab: str) -> dict[str, str]:
        """Every output of a lab as it is now ("ssd.dev"): after an event a device may have come back under another name."""
        history = self.history(lab)
        outputs = history.outputs()
        for step in (entry.step for entry in history.standing() if history.events and entry.step.provides):
            with suppress(Conflict):  # gone, and somebody else's object has the place
                made = verb(step.verb).find(self.kernel, step.args) or {}
                outputs |= {f"{step.provides}.{key}": value for key, value in made.items()}
        return outputs

    # -- down ----------------------------------------------------------------------------------------------

    def down(self, lab: str) -> bool:
        """Remove everything the lab's journal owns; False when there is none. Can be called again after any failure."""
        with self.lab_lock(lab):
            journal = self.journal(lab)
            try:
                begun = journal.exists()
                self._undo(lab, journal)
                if begun:
                    with self.leases.locked():
                        pass  # which removes what a process left of the table that was killed while it saved it
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
            if step.id in kept or (failures and _carries(step)):
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
            ours = leases.last_used_by(user)
            keys = [k for k in ours if body.has(self.kernel, step.args, k)]
            said = body.parting(self.kernel, step.args, ours)
            self._perform_undo(body.release(step.args, keys[::-1]))
            for text in said:
                self.emit({"kind": "note", "text": f"{step.id}: {text}"})
            leases.drop(user)
            leases.save()

    def _perform_undo(self, ops: Iterable[Op]) -> None:
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


def _carries(step: Step) -> bool:
    try:
        body = verb(step.verb)
        return isinstance(body, SharedVerb) and body.carries
    except UsageError:
        return False
