# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of a run: one HTML page that needs nothing else, and its figures as PNG and SVG beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nvlab.analysis import style
from nvlab.analysis.claims import Contrast, within
from nvlab.analysis.compare import Comparison, comparisons
from nvlab.analysis.devices import amplification, device_counts
from nvlab.analysis.drill import Felt, felt, kept
from nvlab.analysis.durability import DURABILITY_HEAD, Durability, durability, durability_cells
from nvlab.analysis.flags import notes, steadiness
from nvlab.analysis.latencies import LATENCY_HEAD, LayerLatency, layer_latencies
from nvlab.analysis.layers import LayerTraffic, layer_traffic
from nvlab.analysis.plots import Picture
from nvlab.analysis.runs import Run, Workload
from nvlab.analysis.table import (
    EMULATED,
    EVENT_HEAD,
    cells,
    claim_cells,
    event_cells,
    human_latency,
    latency_cells,
    relative,
)
from nvlab.record import JOB, SCENARIO
from nvlab.units import human_size

PAGE, FIGURES = "report.html", "figures"
_TEMPLATE = Path(__file__).with_name("report.html.j2")
_MAX_LOG = 400  # kernel messages of one workload on the page; the run directory has all


@dataclass(frozen=True, eq=False)
class Chapter:
    """What the page says of one load."""

    load: str
    tables: list[Comparison]
    contrasts: list[Contrast]
    pictures: list[tuple[Picture, str]]
    layers: dict[str, list[LayerTraffic]]
    latencies: dict[str, list[LayerLatency]]
    durability: dict[str, list[Durability]]
    counters: list[tuple[str, str, dict[str, float]]]
    events: dict[str, list[Felt]]
    verdicts: dict[str, str]
    timeline: list[tuple[str, float, str]]
    job: str


def write_report(run: Run, out: Path) -> Path:
    """Write ``report.html`` and ``figures/`` into the directory ``out``; the page's path."""
    import jinja2

    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"latency": human_latency, "number": _number, "bytes": _megabytes}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    page = out / PAGE
    page.write_text(template.render(_content(run, out / FIGURES)), encoding="utf-8")
    return page


def _content(run: Run, figures: Path) -> dict[str, Any]:
    scenario = run.path / SCENARIO
    return {
        "run": run,
        "facts": list(_facts(run)),
        "warnings": ([f"{EMULATED[0].upper()}{EMULATED[1:]}."] if run.emulated else [])
        + list(run.facts.get("warnings", []))
        + [f"{note}." for note in notes(run)],
        "chapters": [_chapter(run, load, variants, figures) for load, variants in run.loads().items()],
        "cells": cells,
        "claim_cells": claim_cells,
        "event_head": EVENT_HEAD,
        "event_cells": event_cells,
        "latency_head": LATENCY_HEAD,
        "latency_cells": latency_cells,
        "durability_head": DURABILITY_HEAD,
        "durability_cells": durability_cells,
        "relative": relative,
        "scenario": scenario.read_text(encoding="utf-8") if scenario.is_file() else "",
        "provenance": json.dumps(run.facts.get("provenance", {}), indent=1),
    }


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    """The few lines under the title that say on what was measured."""
    node = run.facts.get("provenance", {}).get("node", {})
    cpu, clock = node.get("cpu", {}), node.get("clocksource", {}).get("current_clocksource", "")
    yield "measured", _date(str(run.facts.get("created", "")))
    yield "on", _machine(run)
    if run.kernel:
        yield "kernel", f"Linux {run.kernel}" + (f", clock {clock}" if clock else "")
    if cpu.get("model"):
        yield "CPUs", f"{cpu.get('online', '?')} ({cpu['model']})"
    if run.commit:
        yield "nvlab", run.commit
    for said in steadiness(run):
        yield "steady", said
    yield "fio", ", ".join(dict.fromkeys(workload.fio for workload in run.workloads if workload.fio)) or "not run"
    yield "scenario", f"{Path(run.facts['scenario']['source']).name}, sha256 {run.facts['scenario']['sha256'][:12]}"


def _machine(run: Run) -> str:
    guest = run.guest
    if run.simulated:
        return "no machine: simulated in virtual time"
    if not guest:
        return "the host itself"
    how = {"kvm": "KVM", "tcg": "emulated (TCG)"}.get(run.accelerator, run.accelerator)
    parts = ["bare metal" if run.accelerator == "none" else f"virtual machine, {how}"]
    parts += [guest["place"]] if "place" in guest else []
    parts += [f"{guest['cpus']} CPUs"] if "cpus" in guest else []
    parts += [human_size(guest["memory"])] if "memory" in guest else []
    return ", ".join([*parts, f"QEMU {str(guest['qemu']).split()[0]}"] if guest.get("qemu") else parts)


def _chapter(run: Run, load: str, variants: dict[str, list[Workload]], figures: Path) -> Chapter:
    tables = [c for c in comparisons(run) if c.load == load]
    layers = {variant: layer_traffic(rounds[0]) for variant, rounds in variants.items()}
    latencies = {variant: found for variant, works in variants.items() if (found := layer_latencies(works))}
    pictures = [*_pictures(run, load, variants, tables, layers), *_latency_pictures(run, load, latencies)]
    first = next(iter(variants.values()))[0]
    return Chapter(
        load=load,
        tables=tables,
        contrasts=[c for c in within(run) if c.n > 1 and c.title in {t.title for t in tables}],
        pictures=[(p, style.write_figure(p.drawn, figures / p.name, p.says)) for p in pictures],
        layers=layers,
        latencies=latencies,
        durability={variant: table for variant, works in variants.items() if (table := durability(works[-1]))},
        counters=list(_counters(variants)),
        events={str(w.facts["name"]): list(felt(w)) for w in _all(variants) if w.happened},
        verdicts={str(w.facts["name"]): kept(w) for w in _all(variants) if w.verdict},
        timeline=list(_timeline(variants)),
        job=(first.path / JOB).read_text(encoding="utf-8"),
    )


def _pictures(
    run: Run,
    load: str,
    variants: dict[str, list[Workload]],
    tables: Iterable[Comparison],
    layers: dict[str, list[LayerTraffic]],
) -> Iterator[Picture]:
    from nvlab.analysis import plots

    for comparison in tables:
        yield plots.latency_percentiles(run, comparison)
        yield plots.latency_cdf(run, comparison)
    yield plots.over_time(run, load, variants)
    if any(layers.values()):
        yield plots.layer_traffic(run, load, layers)


def _latency_pictures(run: Run, load: str, latencies: dict[str, list[LayerLatency]]) -> Iterator[Picture]:
    from nvlab.analysis import layerplots

    if latencies:
        yield layerplots.waterfall(run, load, latencies)
        yield layerplots.layer_percentiles(run, load, latencies)


def _counters(variants: dict[str, list[Workload]]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """What caches, wires and virtual devices counted during the workload: variant, layer, counters that moved."""
    for variant, rounds in variants.items():
        for name, counts in device_counts(rounds[:1]).items():
            waf = amplification(counts)
            amplified = {} if waf is None else {"write amplification": waf}
            yield variant, name, amplified | {counter: n for counter, n in counts.items() if n}
        for watch in (w for w in rounds[0].watched if w.kind in ("dm", "net")):
            moved: dict[str, float] = {name: change for name, change in rounds[0].counter_changes(watch).items() if change}
            if moved:
                yield variant, watch.layer, moved


def _timeline(variants: dict[str, list[Workload]]) -> Iterator[tuple[str, float, str]]:
    """Events, kernel messages and changes of state: workload, seconds since the first I/O, text."""
    for workload in _all(variants):
        for t, text in sorted(_happenings(workload))[:_MAX_LOG]:
            yield str(workload.facts["name"]), (t - workload.first_io) / 1e9, text


def _all(variants: dict[str, list[Workload]]) -> list[Workload]:
    return [workload for rounds in variants.values() for workload in rounds]


def _happenings(workload: Workload) -> Iterator[tuple[int, str]]:
    names = {watch.index: watch.layer for watch in workload.watched}
    for event in workload.events:
        if event["kind"] == "kmsg":
            yield event["t"], f"kernel: {event['text']}"
        elif event["kind"] not in ("start", "end", "progress"):
            rest = ", ".join(f"{k} {v}" for k, v in event.items() if k not in ("t", "kind"))
            yield event["t"], f"{event['kind']}: {rest}" if rest else str(event["kind"])
    for state in workload.states:
        yield state["t"], f"{names[state['watch']]}: {state['file']} is {state['text'] or '(empty)'}"


def _date(created: str) -> str:
    try:
        return datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return "?"


def _number(value: float) -> str:
    return f"{value:,.2f}".removesuffix(".00").replace(",", " ")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}".replace(",", " ")
