# SPDX-License-Identifier: GPL-2.0-or-later
"""A run directory as Python objects: arrays are memory-mapped when first looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvlab.analysis.hist import Histogram
from nvlab.errors import UsageError
from nvlab.record import EVENTS, WORKLOAD
from nvlab.record.convert import convert_workload
from nvlab.record.format import BLOCK, COUNTERS, HISTOGRAM, LATENCY, LAYER_LATENCY, LAYER_LATENCY_DTYPE, RESULTS, STATES
from nvlab.record.rundir import RunDir

#: what happens in every run, and says nothing on a figure
_ROUTINE = ("start", "end", "event-end", "progress", "kmsg", "unwatched")


@dataclass(frozen=True)
class Watched:
    """A thing that was sampled, by its place in ``watches``."""

    index: int
    layer: str
    kind: str
    name: str


@dataclass(frozen=True, eq=False)
class Workload:
    """One workload on one target. ``facts`` is its ``workload.json``; the arrays are those of :mod:`nvlab.record.format`."""

    path: Path
    facts: dict[str, Any]

    @property
    def load(self) -> str:
        return str(self.facts["load"])

    @property
    def variant(self) -> str:
        return str(self.facts["variant"])

    @property
    def baseline(self) -> bool:
        return bool(self.facts["baseline"])

    @property
    def repeat(self) -> int:
        """Which repeat of the load it is, or is a round of; from 0."""
        return int(self.facts.get("repeat", 0))

    @property
    def target(self) -> str:
        """The name of what the load was on; its variant may be called otherwise, in a comparison."""
        return str(self.facts.get("stack", {}).get("target", self.variant))

    @property
    def below(self) -> dict[str, list[str]]:
        """What each thing of the lab is directly on, by name; empty without ``layers = true``."""
        return dict(self.facts.get("stack", {}).get("below", {}))

    @property
    def exported(self) -> dict[str, str]:
        """Of each thing that is exported the export's name, as for :attr:`below`."""
        return dict(self.facts.get("stack", {}).get("exported", {}))

    @property
    def counted(self) -> bool:
        return bool(self.facts.get("counted", True))

    @property
    def steady(self) -> dict[str, Any]:
        """The verdict over the rounds of which this is one (:class:`nvlab.workload.steady.Verdict`); empty without."""
        return dict(self.facts.get("steady") or {})

    @property
    def started(self) -> int:
        """When fio was started, ns of CLOCK_MONOTONIC."""
        return int(self.facts["started"])

    @property
    def ended(self) -> int:
        return int(self.facts["ended"])

    @property
    def first_io(self) -> int:
        """When the first I/O completed, ns; without a trace when fio was started."""
        return int(self.latency["t"][0]) if len(self.latency) else self.started

    @property
    def sections(self) -> list[str]:
        return [str(section["name"]) for section in self.facts["sections"]]

    @property
    def watched(self) -> list[Watched]:
        return [Watched(index, **watch) for index, watch in enumerate(self.facts["watches"])]

    @cached_property
    def latency(self) -> NDArray[np.void]:
        return self._array(LATENCY)

    @cached_property
    def histogram(self) -> NDArray[np.void]:
        return self._array(HISTOGRAM)

    @cached_property
    def block(self) -> NDArray[np.void]:
        return self._array(BLOCK)

    @cached_property
    def counters(self) -> NDArray[np.void]:
        return self._array(COUNTERS)

    @cached_property
    def layers(self) -> NDArray[np.void]:
        """Latencies counted at the block devices; of shape (0,) without ``layers = true``."""
        return self._array(LAYER_LATENCY) if (self.path / LAYER_LATENCY).exists() else np.empty(0, LAYER_LATENCY_DTYPE)

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        """fio's summaries, one for each section and direction that did something."""
        return list(self._json(RESULTS)["results"])

    @property
    def fio(self) -> str:
        """fio's version."""
        return str(self._json(RESULTS)["fio"])

    @cached_property
    def devices(self) -> dict[str, dict[str, int]]:
        """How much each virtual device counted meanwhile (``stats``, kmod/README.md), by its name."""
        return dict(self._json(RESULTS).get("devices", {}))

    @cached_property
    def states(self) -> list[dict[str, Any]]:
        """Changes of an array's state: t, watch, file, text."""
        return list(self._json(STATES)["states"])

    @cached_property
    def counter_names(self) -> list[str]:
        return list(self._json(STATES)["counters"])

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / EVENTS).read_text(encoding="utf-8").splitlines()]

    @property
    def happened(self) -> list[dict[str, Any]]:
        """What became of its ``[[event]]``s, see ``workload.json``."""
        return list(self.facts.get("events", ()))

    @property
    def verdict(self) -> dict[str, Any]:
        """What a ledger's load found afterwards (:class:`nvlab.workload.ledger.Verdict`); empty for other loads."""
        return dict(self.facts.get("verdict", {}))

    def remarkable(self) -> list[dict[str, Any]]:
        """The events worth a mark on a figure: what was done or happened to the lab while there was I/O."""
        return [e for e in self.events if e["kind"] not in _ROUTINE and self.first_io <= e["t"] <= self.ended]

    def failed(self) -> dict[str, tuple[int, int]]:
        """Of each section in which I/Os failed: how many, and of how many; fio counts them in its figures all the same."""
        found: dict[str, tuple[int, int]] = {}
        for result in self.results:
            if result["errors"]:
                section = self.sections[result["section"]]
                found[section] = (result["errors"], found.get(section, (0, 0))[1] + result["ios"])
        return found

    def total_latency(self, section: int, op: int) -> Histogram:
        """fio's histogram of latency from submission to completion."""
        rows = self.histogram
        mine = rows[(rows["section"] == section) & (rows["op"] == op) & (rows["kind"] == 0)]
        return Histogram.of_buckets(mine["bucket"], mine["count"])

    def samples_of(self, watch: Watched) -> NDArray[np.void]:
        """A block device's statistics over the workload."""
        mine: NDArray[np.void] = self.block[self.block["watch"] == watch.index]
        return mine

    def counter_changes(self, watch: Watched) -> dict[str, int]:
        """By how much each counter of a watched thing grew, from the first sample to the last."""
        rows = self.counters[self.counters["watch"] == watch.index]
        changes = {}
        for number in np.unique(rows["counter"]):
            values = rows["value"][rows["counter"] == number]
            changes[self.counter_names[number]] = int(values[-1] - values[0])
        return changes

    def resyncs(self) -> list[tuple[int, int, str]]:
        """When an array resynchronised, recovered or checked: from, to (ns) and what."""
        spans: list[tuple[int, int, str]] = []
        running: dict[int, tuple[int, str]] = {}
        for state in (s for s in self.states if s["file"] == "sync_action"):
            began = running.pop(state["watch"], None)
            if began is not None:
                spans.append((began[0], state["t"], began[1]))
            if state["text"] not in ("idle", "frozen"):
                running[state["watch"]] = (state["t"], state["text"])
        return spans + [(t, self.ended, text) for t, text in running.values()]

    def _array(self, name: str) -> NDArray[np.void]:
        try:
            array: NDArray[np.void] = np.load(self.path / name, mmap_mode="r")
        except ValueError:  # nothing was recorded: an empty file cannot be mapped
            array = np.load(self.path / name)
        return array

    def _json(self, name: str) -> dict[str, Any]:
        described: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        return described


@dataclass(frozen=True, eq=False)
class Run:
    """One run: ``facts`` is its ``run.json``; ``stages`` all that ended well, in the order in which they ran."""

    path: Path
    facts: dict[str, Any]
    stages: tuple[Workload, ...]

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """The stages whose figures are the result: neither preconditioning, warm-up, nor rounds before the steady ones."""
        return tuple(stage for stage in self.stages if stage.counted)

    @property
    def id(self) -> str:
        return str(self.facts["id"])

    @property
    def title(self) -> str:
        return str(self.facts.get("title") or self.facts.get("lab") or self.id)

    @property
    def accelerator(self) -> str:
        """What ran the machine: "kvm", "tcg", another hypervisor, or "none" on bare metal."""
        return str(self.guest.get("accelerator", "none")).lower()

    @property
    def guest(self) -> dict[str, Any]:
        """The machine on which the lab ran, a guest or another; empty where it was simulated."""
        return dict(self.facts.get("accelerator") or {})

    @property
    def simulated(self) -> str:
        """What was simulated, where no kernel ran; else empty."""
        return str(self.facts.get("simulated", {}).get("what", ""))

    @property
    def emulated(self) -> bool:
        """Whether a software emulation ran the guest, so that only relative figures mean something."""
        return self.accelerator == "tcg"

    @property
    def commit(self) -> str:
        """nvlab's version, and commit where it ran from a checkout."""
        nvlab = self.facts.get("provenance", {}).get("controller", {}).get("nvlab", {})
        dirty = "+" if nvlab.get("dirty") else ""
        return " ".join(filter(None, [str(nvlab.get("version", "")), str(nvlab.get("commit", "")) + dirty])).strip()

    @property
    def kernel(self) -> str:
        return str(self.facts.get("provenance", {}).get("node", {}).get("kernel", {}).get("release", ""))

    def loads(self) -> dict[str, dict[str, list[Workload]]]:
        """The workloads by load, then by variant, baseline first: each repeat, with each of its rounds that counts."""
        grouped: dict[str, dict[str, list[Workload]]] = {}
        for workload in sorted(self.workloads, key=lambda w: not w.baseline):
            grouped.setdefault(workload.load, {}).setdefault(workload.variant, []).append(workload)
        return {load: grouped[load] for load in dict.fromkeys(w.load for w in self.workloads)}


def load_run(path: Path) -> Run:
    """The run in a directory, turned into arrays first where that has not been done.

    Raises UsageError when there is none or it may not be written to, StepFailed when a workload left no result.
    """
    return Run(path, RunDir(path).read(), tuple(_workloads(path)))


def _workloads(path: Path) -> Iterator[Workload]:
    for directory in RunDir(path).stages():
        facts = json.loads((directory / WORKLOAD).read_text(encoding="utf-8"))
        if facts.get("status") == "ok":
            _convert_once(directory)
            yield Workload(directory, facts)


def _convert_once(directory: Path) -> None:
    if (directory / RESULTS).exists():  # the last to be written
        return
    try:
        convert_workload(directory)
    except OSError as error:
        raise UsageError(
            f"cannot write arrays into {directory}: {error}", hint="copy the run to where you may write"
        ) from error
