# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one workload on the node and writes down what happens. Stdlib only; interprets nothing."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from nvlab.errors import DeadlineExceeded, EnvironmentNotReady, Interrupted, StepFailed
from nvlab.host.provenance import counters
from nvlab.record import EVENTS, FIO_ERRORS, FORMAT_VERSION, JOB, LAYERS, PROC, SAMPLES, STATS, WORKLOAD, durability
from nvlab.record.accounts import Account, read_accounts
from nvlab.record.blocktrace import BlockTracer
from nvlab.record.events import Emit, EventLog, clock
from nvlab.record.samplers import Sampler, Watch
from nvlab.record.timeline import Happen, Planned, Timeline, failure
from nvlab.record.trace import TRACES, Traced, TraceRecorder
from nvlab.workload import keyrun, ledger
from nvlab.workload.course import Phase
from nvlab.workload.fio import (
    DEFAULT_SEED,
    LOG_DIR,
    Section,
    Target,
    default_engine,
    fio_argv,
    job_sections,
    laid_out,
    planned_seconds,
    render_job,
)

_RATES = re.compile(r"\[([rwt]=[^\]]*B/s)\]\[([rwt]=[^\]]*IOPS)\]")
_CHECK_EVERY = 0.2  # s between looks at the stop request, the clock and fio
_VERIFY = 600.0  # s that reading back a ledger's blocks may take
_SLOWEST = 1e6  # bytes per s at which files are laid out, whatever is under them
_GRACE = 10.0  # s that fio has to write its logs after SIGINT
CUT = "cut"  # status of a load that an event has ended, and its ledger not judged yet


Where = Callable[[], str]  # the path of a target as it is now


class Stop(Protocol):
    """How a run is told to end early."""

    @property
    def requested(self) -> bool: ...


@dataclass(frozen=True)
class Workload:
    """One workload as the recorder needs it. ``table`` holds fio's keys (:mod:`nvlab.workload.fio`).

    Workloads with the same ``load`` are compared with each other, ``variant`` against ``variant``. ``course``: what comes before
    and between (:mod:`nvlab.workload.course`). ``changed`` {key, value}: how the lab differs from its scenario's. Only what is
    ``counted`` is a result; other ``phase`` than "measure" never is. ``kv``: instead of fio's, a load of keys
    (:mod:`nvlab.workload.keyrun`), which are stored first if ``store`` says so. ``layers``: count latency at the watched block
    devices; ``stack``: see :mod:`nvlab.record`.
    """

    name: str
    target: Target
    table: Mapping[str, Any]
    load: str = ""
    variant: str = ""
    baseline: bool = False
    repeat: int = 0
    course: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    phase: Phase = "measure"
    counted: bool = True
    seed: int = DEFAULT_SEED
    trace: bool = True
    interval: float = 0.25
    watches: tuple[Watch, ...] = field(default=())
    traces: tuple[Traced, ...] = field(default=())
    accounts: tuple[Account, ...] = field(default=())
    events: tuple[Planned, ...] = field(default=())
    ledger: bool = False
    kv: Mapping[str, Any] = field(default_factory=dict)
    store: bool = True
    layers: bool = False
    stack: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Workload:
        """The workload a controller sent: ``target`` {kind, path}, ``watches`` {layer, kind, name}, ``traces`` and
        ``accounts`` {layer, path}; ``events`` as :mod:`nvlab.record.timeline` has them planned.
        """
        plain = dict(data)
        plain["target"] = Target(**plain["target"])
        plain["watches"] = tuple(Watch(**w) for w in plain.get("watches", ()))
        plain["traces"] = tuple(Traced(**t) for t in plain.get("traces", ()))
        plain["accounts"] = tuple(Account(**a) for a in plain.get("accounts", ()))
        plain["events"] = tuple(plain.get("events", ()))
        return Workload(**plain)


def nothing_can_happen(event: Planned) -> str:
    """For loads outside a lab."""
    raise StepFailed(f"nobody is there to let {event['label']!r} happen")


def run_workload(
    out: Path,
    work: Workload,
    emit: Emit,
    stop: Stop,
    *,
    deadline: float | None = None,
    happen: Happen = nothing_can_happen,
    where: Where | None = None,
) -> dict[str, Any]:
    """Run ``work`` and record it in the new directory ``out``; the content of its ``workload.json``.

    ``happen`` lets its events happen; ``where`` says where its target is afterwards, for a ledger to be held against it.

    ``deadline`` is in seconds (default: twice the planned time, a minute for writing logs, and what laying out files may take).
    Emits the events of ``events.jsonl`` as they happen, "progress" (``fraction`` 0 to 1, ``rates`` in fio's words) among them.
    Raises InvalidScenario (before anything is written), StepFailed, DeadlineExceeded, Interrupted, EnvironmentNotReady; the
    directory then holds what there was.
    """
    sections = (Section(work.name, {}),) if work.kv else job_sections(work.table, work.name, work.target.kind)
    planned = keyrun.planned_seconds(work.kv) if work.kv else planned_seconds(sections)
    layout = laid_out(sections) / _SLOWEST if work.target.kind == "directory" else 0
    limit = deadline if deadline is not None else 2 * planned + 60 + layout
    if work.kv and work.store:
        limit += keyrun.patience(work.kv)
    _check_target(work)
    record = _prepare(out, work, sections, planned)
    events = EventLog(out / EVENTS, emit)

    def happen_to_both(event: Planned) -> str:
        found = happen(event)
        if event.get("ends"):
            fio.cut_short()
        return found

    timeline = Timeline(work.events, happen_to_both, events)
    fio = _Fio(out, events, stop, planned, timeline.loaded)
    if work.ledger:
        fio.command, fio.environment = ledger.argv("write", str(out)), ledger.environment()
    if work.kv:
        fio.command, fio.environment = keyrun.argv(str(out)), ledger.environment()
    outcome = _layered(out, work, lambda: _sampled(out, work, events, record, lambda: _eventful(fio, timeline, record, limit)))
    if work.ledger and outcome.status == "ok":
        record["verdict"] = verdict(out, (where or (lambda: work.target.path))())
        events.add("verdict", workload=work.name, **record["verdict"])
    record |= {"status": outcome.status, "code": outcome.code, "message": outcome.message}
    _drop_partial_latencies(out / LOG_DIR)
    events.add("end", workload=work.name, status=outcome.status)
    events.close()
    write_json(out / WORKLOAD, record)
    outcome.check(work.name, limit, events.kernel_said)
    return record


def verdict(out: Path, target: str) -> dict[str, Any]:
    """The ledger in ``out`` held against what is on the target now. Raises StepFailed, DeadlineExceeded."""
    argv = ledger.argv("verify", str(out), target)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_VERIFY, env=ledger.environment())
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded(f"reading back what was written did not end within {_VERIFY:.0f} s") from error
    if done.returncode:
        words = done.stderr.strip().rpartition("\n")[2]
        raise StepFailed(f"what was written cannot be read back: {words}", hint="did the device go away? nvlab status")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _eventful(fio: _Fio, timeline: Timeline, record: dict[str, Any], limit: float) -> _Outcome:
    """What fio ends with while the events happen; what became of them goes into ``record``."""
    timeline.start(Path(record["target"]["path"]), record["planned_seconds"])
    stopped = True
    try:
        outcome = fio.run(limit)
        stopped = outcome.status not in ("ok", "failed", CUT)
    finally:
        record["events"] = timeline.finish(stopped=stopped)
    if fio.was_cut and outcome.status == "ok":  # it was over by itself at that very moment
        return _Outcome(CUT, None, "")
    failed = failure(record["events"])
    return replace(outcome, status="failed", message=failed) if outcome.status == "ok" and failed else outcome


def _layered(out: Path, work: Workload, act: Callable[[], _Outcome]) -> _Outcome:
    """What ``act`` ends with, latency counted at the layers meanwhile if it is to be; then FLUSH and FUA are tried."""
    if not work.layers:
        return act()
    tracer = BlockTracer(work.watches, exported=bool(work.stack["exported"]))
    tracer.start()
    try:
        outcome = act()
        found = tracer.counted()
        if outcome.status == "ok" and not work.events:  # after those something may hang that is not there any more
            found["durability"] = durability.probe(tracer.flags, work.watches, work.stack["target"], work.stack["below"])
    finally:
        tracer.close()
    write_json(out / LAYERS, found)
    return outcome


def _sampled(out: Path, work: Workload, events: EventLog, record: dict[str, Any], act: Callable[[], _Outcome]) -> _Outcome:
    """What ``act`` ends with, sampled from before its start to after its end; the two go into ``record``."""
    sampler = Sampler(out / SAMPLES, work.watches, work.interval, lambda kind, data: events.add(kind, **data))
    tracer = _tracer(out, work)
    before, counted = counters(), read_accounts(work.accounts)
    try:
        sampler.start()
        record["started"] = time.monotonic_ns()
        events.add("start", workload=work.name, planned=record["planned_seconds"])
        return act()
    finally:
        if not sampler.stop():
            events.add("stuck", what="the sampler waits in the kernel")
        record["traces"] = tracer.stop()
        record["ended"] = time.monotonic_ns()
        write_json(out / PROC, {"before": before, "after": counters()})
        if work.accounts:
            write_json(out / STATS, {"before": counted, "after": read_accounts(work.accounts)})


def _tracer(out: Path, work: Workload) -> TraceRecorder:
    """Reads the devices' traces from now on. Raises StepFailed when one cannot be read."""
    tracer = TraceRecorder(out / TRACES, work.traces)
    try:
        tracer.start()
    except OSError as error:
        raise StepFailed(
            f"workload {work.name}: the trace of a device cannot be read: {error}", hint="did the device go away? nvlab status"
        ) from error
    return tracer


def _check_target(work: Workload) -> None:
    path = Path(work.target.path)
    if work.target.kind == "directory" and not path.is_dir():
        raise StepFailed(f"workload {work.name}: {path} is not a directory", hint="is the file system mounted?")
    if work.kv and not path.is_char_device():
        raise StepFailed(f"workload {work.name}: {path} is not there", hint="did the device go away? nvlab status")
    if work.target.kind == "device" and not work.kv and not (path.is_block_device() or path.is_file()):
        raise StepFailed(
            f"workload {work.name}: {path} is not a block device", hint="did the device go away? nvlab status"
        )


def _prepare(out: Path, work: Workload, sections: Sequence[Section], planned: float) -> dict[str, Any]:
    """Make the directory and the job file; the record so far."""
    engine = "nvlab.kv" if work.kv else default_engine()
    (out / LOG_DIR).mkdir(parents=True)
    job = _keys_job(work) if work.kv else render_job(sections, work.target, seed=work.seed, engine=engine, trace=work.trace)
    (out / JOB).write_text(job, encoding="utf-8")
    if work.kv:
        told = {"target": work.target.path, "name": work.name, "seed": work.seed, "trace": work.trace, "store": work.store}
        write_json(out / keyrun.JOB, told | {"kv": work.kv})
    if work.ledger:
        (section,) = sections
        told = {"target": work.target.path, "name": section.name, "keys": dict(section.keys), "seed": work.seed}
        write_json(out / ledger.JOB, told)
    record = asdict(work)
    del record["table"], record["kv"], record["store"], record["accounts"]
    said = {"kv": {key: value for key, value in work.kv.items() if value is not None}} if work.kv else {}
    record |= {
        "format": FORMAT_VERSION,
        "load": work.load or work.name,
        "variant": work.variant or work.target.path,
        "sections": [asdict(s) | said for s in sections],
        "engine": engine,
        "planned_seconds": planned,
        "clock": clock(),
        "status": "unfinished",
    }
    write_json(out / WORKLOAD, record)
    return record


def _keys_job(work: Workload) -> str:
    """A load of keys in place of a job file, for people."""
    return "".join(f"# {key} = {value}\n" for key, value in work.kv.items())


def _drop_partial_latencies(logs: Path) -> None:
    """fio logs submission and completion apart as well; their distributions are in its JSON, and the sum is what is traced."""
    for path in logs.glob("*_[cs]lat.*.log"):
        path.unlink()


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Outcome:
    status: str
    code: int | None
    message: str

    def check(self, name: str, limit: float, kmsg: Sequence[str]) -> None:
        """Raise what the outcome calls for."""
        if self.status == "stopped":
            raise Interrupted(f"workload {name} was stopped")
        if self.status == "deadline":
            raise DeadlineExceeded(
                f"workload {name} did not end within {limit:.0f} s{self.message and ': ' + self.message}",
                hint="a device that hangs shows in the kernel's messages, all of them in the run's events.jsonl",
                kmsg=kmsg,
            )
        if self.status == "failed" and self.code == 0:
            raise StepFailed(
                f"workload {name}: {self.message}",
                hint="what events have changed is still so: nvlab down and nvlab up make the lab as it was",
                kmsg=kmsg,
            )
        if self.status == "failed":
            raise StepFailed(
                f"workload {name}: fio ended with exit code {self.code}{self.message and ': ' + self.message}",
                hint="the run directory holds job.fio, fio.err and events.jsonl",
                kmsg=kmsg,
            )


class _Fio:
    """fio in a process group of its own, watched."""

    def __init__(self, out: Path, events: EventLog, stop: Stop, planned: float, loaded: Callable[[], None]) -> None:
        self._out = out
        self._events = events
        self._stop = stop
        self._planned = planned
        self._loaded = loaded
        self.was_cut = False
        self._started = time.monotonic()
        self._last_progress = self._started
        self.command: Sequence[str] = fio_argv(JOB)
        self.environment: Mapping[str, str] | None = None

    def run(self, limit: float) -> _Outcome:
        with (self._out / FIO_ERRORS).open("wb") as errors:
            self._process = self._spawn(errors.fileno())
        try:
            status = self._watch(limit)
        except BaseException:
            self._end()
            raise
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()
        if status == CUT:  # what it waits for never comes
            return _Outcome(CUT, None, "")
        ended = self._process.poll() is not None or self._end()
        return self._outcome(status, ended)

    def cut_short(self) -> None:
        """Have a load that keeps a ledger leave it as it is now."""
        self.was_cut = True
        self._process.terminate()

    def _spawn(self, errors: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self.command,
                cwd=self._out,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                process_group=0,
                env=self.environment,
            )
        except FileNotFoundError as error:
            raise EnvironmentNotReady(f"{error.filename} is not there", hint="apt-get install fio") from error

    def _watch(self, limit: float) -> str:
        """Follow fio until it ends ("ended") or has left its ledger after :meth:`cut_short` ("cut"), the user stops it
        ("stopped") or its time is over ("deadline").
        """
        pidfd = os.pidfd_open(self._process.pid)
        try:
            while self._process.poll() is None:
                if self.was_cut and (self._out / ledger.LEDGER).exists():
                    return CUT
                if self._stop.requested:
                    return "stopped"
                if time.monotonic() - self._started > limit:
                    return "deadline"
                self._wait(pidfd)
            return "ended"
        finally:
            os.close(pidfd)

    def _wait(self, pidfd: int) -> None:
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        ready, _, _ = select.select([pidfd, out], [], [], _CHECK_EVERY)
        text = os.read(out, 65536).decode(errors="replace") if out in ready else ""
        if pidfd not in ready:
            self._progress(text)

    def _progress(self, text: str) -> None:
        """At most two progress events a second; fio's own percentage is wrong when its log uses another clock's epoch."""
        now = time.monotonic()
        rates = _RATES.findall(text)
        if not rates and now - self._last_progress < 1:
            return
        self._last_progress = now
        if rates:
            self._loaded()
        fraction = min(1.0, (now - self._started) / self._planned) if self._planned else 0.0
        self._events.add("progress", fraction=round(fraction, 3), rates=" ".join(rates[-1]) if rates else "")

    def _end(self) -> bool:
        """Ask fio to end (it then writes its results), then kill it. False when it is stuck in the kernel."""
        for number in (signal.SIGINT, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
            try:
                self._process.wait(_GRACE)
                return True
            except subprocess.TimeoutExpired:
                continue
        return False

    def _outcome(self, status: str, ended: bool) -> _Outcome:
        code = self._process.returncode
        if not ended:
            return _Outcome(
                "deadline", None, f"fio (process {self._process.pid}) cannot be killed: it waits in the kernel"
            )
        if status == "ended":
            status = "ok" if code == 0 else "failed"
        return _Outcome(status, code, "" if status == "ok" else self._last_words())

    def _last_words(self) -> str:
        lines = (self._out / FIO_ERRORS).read_text(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else ""
