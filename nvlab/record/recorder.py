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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nvlab.errors import DeadlineExceeded, EnvironmentNotReady, Interrupted, StepFailed
from nvlab.host.provenance import counters
from nvlab.record import EVENTS, FIO_ERRORS, FORMAT_VERSION, JOB, PROC, SAMPLES, WORKLOAD
from nvlab.record.events import Emit, EventLog, clock
from nvlab.record.samplers import Sampler, Watch
from nvlab.record.trace import TRACES, Traced, TraceRecorder
from nvlab.workload.fio import (
    DEFAULT_SEED,
    LOG_DIR,
    Section,
    Target,
    default_engine,
    fio_argv,
    job_sections,
    planned_seconds,
    render_job,
)

_RATES = re.compile(r"\[([rwt]=[^\]]*B/s)\]\[([rwt]=[^\]]*IOPS)\]")
_CHECK_EVERY = 0.2  # s between looks at the stop request, the clock and fio
_GRACE = 10.0  # s that fio has to write its logs after SIGINT


class Stop(Protocol):
    """How a run is told to end early."""

    @property
    def requested(self) -> bool: ...


@dataclass(frozen=True)
class Workload:
    """One workload as the recorder needs it. ``table`` holds fio's keys (:mod:`nvlab.workload.fio`).

    Workloads with the same ``load`` are compared with each other, ``variant`` against ``variant``.
    """

    name: str
    target: Target
    table: Mapping[str, Any]
    load: str = ""
    variant: str = ""
    baseline: bool = False
    round: int = 0
    seed: int = DEFAULT_SEED
    trace: bool = True
    interval: float = 0.25
    watches: tuple[Watch, ...] = field(default=())
    traces: tuple[Traced, ...] = field(default=())

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Workload:
        """The workload a controller sent: ``target`` {kind, path}, ``watches`` {layer, kind, name}, ``traces`` {layer, path}."""
        plain = dict(data)
        plain["target"] = Target(**plain["target"])
        plain["watches"] = tuple(Watch(**w) for w in plain.get("watches", ()))
        plain["traces"] = tuple(Traced(**t) for t in plain.get("traces", ()))
        return Workload(**plain)


def run_workload(out: Path, work: Workload, emit: Emit, stop: Stop, *, deadline: float | None = None) -> dict[str, Any]:
    """Run ``work`` and record it in the new directory ``out``; the content of its ``workload.json``.

    ``deadline`` is in seconds (default: twice the planned time and a minute for laying out files and writing logs). Emits the
    events of ``events.jsonl`` as they happen, "progress" (``fraction`` 0 to 1, ``rates`` in fio's words) among them.
    Raises InvalidScenario (before anything is written), StepFailed, DeadlineExceeded, Interrupted, EnvironmentNotReady; the
    directory then holds what there was.
    """
    sections = job_sections(work.table, work.name, work.target.kind)
    planned = planned_seconds(sections)
    limit = deadline if deadline is not None else 2 * planned + 60
    _check_target(work)
    record = _prepare(out, work, sections, planned)
    events = EventLog(out / EVENTS, emit)
    outcome = _sampled(out, work, events, record, lambda: _Fio(out, events, stop, planned).run(limit))
    record |= {"status": outcome.status, "code": outcome.code, "message": outcome.message}
    _drop_partial_latencies(out / LOG_DIR)
    events.add("end", workload=work.name, status=outcome.status)
    events.close()
    _write_json(out / WORKLOAD, record)
    outcome.check(work.name, limit, events.kernel_said)
    return record


def _sampled(
    out: Path, work: Workload, events: EventLog, record: dict[str, Any], act: Callable[[], _Outcome]
) -> _Outcome:
    """What ``act`` ends with, sampled from before its start to after its end; the two go into ``record``."""
    sampler = Sampler(out / SAMPLES, work.watches, work.interval, lambda kind, data: events.add(kind, **data))
    tracer = _tracer(out, work)
    before = counters()
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
        _write_json(out / PROC, {"before": before, "after": counters()})


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
    if work.target.kind == "device" and not (path.is_block_device() or path.is_file()):
        raise StepFailed(
            f"workload {work.name}: {path} is not a block device", hint="did the device go away? nvlab status"
        )


def _prepare(out: Path, work: Workload, sections: Sequence[Section], planned: float) -> dict[str, Any]:
    """Make the directory and the job file; the record so far."""
    engine = default_engine()
    (out / LOG_DIR).mkdir(parents=True)
    job = render_job(sections, work.target, seed=work.seed, engine=engine, trace=work.trace)
    (out / JOB).write_text(job, encoding="utf-8")
    record = asdict(work)
    del record["table"]
    record |= {
        "format": FORMAT_VERSION,
        "load": work.load or work.name,
        "variant": work.variant or work.target.path,
        "sections": [asdict(s) for s in sections],
        "engine": engine,
        "planned_seconds": planned,
        "clock": clock(),
        "status": "unfinished",
    }
    _write_json(out / WORKLOAD, record)
    return record


def _drop_partial_latencies(logs: Path) -> None:
    """fio logs submission and completion apart as well; their distributions are in its JSON, and the sum is what is traced."""
    for path in logs.glob("*_[cs]lat.*.log"):
        path.unlink()


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
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
        if self.status == "failed":
            raise StepFailed(
                f"workload {name}: fio ended with exit code {self.code}{self.message and ': ' + self.message}",
                hint="the run directory holds job.fio, fio.err and events.jsonl",
                kmsg=kmsg,
            )


class _Fio:
    """fio in a process group of its own, watched."""

    def __init__(self, out: Path, events: EventLog, stop: Stop, planned: float) -> None:
        self._out = out
        self._events = events
        self._stop = stop
        self._planned = planned
        self._started = time.monotonic()
        self._last_progress = self._started

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
        ended = self._process.poll() is not None or self._end()
        return self._outcome(status, ended)

    def _spawn(self, errors: int) -> subprocess.Popen[bytes]:
        argv = fio_argv(JOB)
        try:
            return subprocess.Popen(
                argv, cwd=self._out, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, process_group=0
            )
        except FileNotFoundError as error:
            raise EnvironmentNotReady(f"{error.filename} is not there", hint="apt-get install fio") from error

    def _watch(self, limit: float) -> str:
        """Follow fio until it ends ("ended"), the user stops it ("stopped") or its time is over ("deadline")."""
        pidfd = os.pidfd_open(self._process.pid)
        try:
            while self._process.poll() is None:
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
