# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of the events of a workload, what the load felt of each until the next one, and what its ledger found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nvlab.analysis.runs import Run, Workload
from nvlab.analysis.series import NS_PER_S

BROKEN = ("lost", "torn", "damaged")  # blocks of a ledger: what must not be


@dataclass(frozen=True)
class Felt:
    """One event: when it began (s since the first I/O; NaN when it never did), how long it took (s), how it ended (``result``
    and ``found``), and from its beginning to the next event's: the longest time without a completion, which may have begun before
    and last longer, and the slowest I/O (ns).
    """

    owner: str
    label: str
    at: float
    took: float
    result: str
    found: str
    pause: float
    slowest: float


def felt(workload: Workload) -> Iterator[Felt]:
    """The events of a workload, in the order in which they came."""
    begun = sorted((e for e in workload.happened if e["begun"]), key=lambda e: int(e["begun"]))
    until = [*(int(e["begun"]) for e in begun[1:]), workload.ended]
    for event, end in zip(begun, until, strict=True):
        pause, slowest = _of_load(workload, int(event["begun"]), end)
        at, took = event["begun"] - workload.first_io, (event["ended"] or workload.ended) - event["begun"]
        said = event["message"] or event["found"]
        yield Felt(event["owner"], event["label"], at / NS_PER_S, took / NS_PER_S, event["result"], said, pause, slowest)
    for event in workload.happened:
        if not event["begun"]:
            yield Felt(event["owner"], event["label"], np.nan, np.nan, event["result"], "", np.nan, np.nan)


def _of_load(workload: Workload, start: int, end: int) -> tuple[float, float]:
    """The longest time between completions that overlaps [start, end), and the highest latency in it; NaN after the load."""
    done = np.sort(workload.latency["t"])
    first, last = np.searchsorted(done, (start, end))
    around = done[max(first - 1, 0) : last + 1]
    if first == len(done) or len(around) < 2:
        return np.nan, np.nan
    trace = workload.latency
    within = trace["latency"][(trace["t"] >= start) & (trace["t"] < end)]
    return float(np.diff(around).max()), float(within.max()) if len(within) else np.nan


def kept(workload: Workload) -> str:
    """What became of a ledger's writes, in words: what was acknowledged, what was found, what was lost."""
    found = workload.verdict
    words = [f"{found['writes']} writes and {found['flushes']} flushes were acknowledged"]
    words[0] += f", then {found['error']} ended the load" if found["error"] else ""
    words.append(
        f"of {found['acknowledged']} blocks with acknowledged writes ({found['durable']} with flushed ones)"
        f" {found['unflushed']} fell back to what they held before the last of them"
    )
    bad = {name: found[name] for name in BROKEN}
    broken = ", ".join(f"{count} {name}" for name, count in bad.items() if count)
    words.append(f"BROKEN: {broken}" if broken else "nothing that was flushed is lost, nothing is torn or damaged")
    return f"{recovered(workload)}{'; '.join(words)}."


def recovered(workload: Workload) -> str:
    """How the lab came back after the power of its machine was cut, in words; empty when it was not."""
    found = workload.facts.get("recovery")
    if not found:
        return ""
    replays = [line for line in found["kernel"] if "recover" in line or "resync" in line]
    said = f"; the kernel said: {'; '.join(replays)}" if replays else ""
    took = f"it was reset and booted in {found['boot_seconds']:.1f} s, and the lab stood again {found['up_seconds']:.1f} s later"
    return f"The power of the machine was cut; {took}{said}. "


def drilled(works: Sequence[Workload]) -> Iterator[str]:
    """A remark on a load, of all variants and repeats, of which only some had events: their figures are among the others."""
    some = [f"{work.variant}, repeat {work.repeat + 1}" for work in works if work.happened]
    if some and len(some) < len(works):
        yield f"{works[0].load}: its events happened on {' and '.join(some)} alone, whose figures are counted with the others"


def unlike(first: Run, second: Run) -> Iterator[str]:
    """What came of a drill in the second of two runs, where it is not what came of it in the first: no figure shows it."""
    then = {str(work.facts["name"]): work for work in first.workloads}
    for work in second.workloads:
        if before := then.get(str(work.facts["name"])):
            yield from (f"{work.facts['name']}: {words}" for words in _unlike(before, work))


def _unlike(then: Workload, now: Workload) -> Iterator[str]:
    for one, other in zip(then.happened, now.happened, strict=False):
        if one["result"] != other["result"]:
            yield f"{other['owner']}, {other['label']}: {one['result']} then, {other['result']} now"
    if then.verdict and now.verdict:
        for what in BROKEN:
            if bool(then.verdict[what]) != bool(now.verdict[what]):
                yield f"{then.verdict[what]} {what} then, {now.verdict[what]} {what} now"


def failures(work: Workload) -> Iterator[str]:
    """What must be said of a load in which I/Os failed, and which went on all the same."""
    if not work.verdict:  # which says it
        for section, (failed, ios) in work.failed().items():
            yield f"{section}: {failed} of {ios} I/Os failed, and count in its figures"
