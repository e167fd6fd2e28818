# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs about loads and what is recorded of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from nvlab.cli.verb import add_runs, add_scenario, add_verb, result, screen_of


def _run(args: argparse.Namespace) -> int:
    from nvlab import controller

    screen = screen_of(args)
    path = controller.run(args.lab, args.runs, sys.argv[1:], screen)
    for warning in _lost_flushes(path):
        screen({"kind": "note", "text": f"! {warning}"})
    result(args, {"run": str(path)}, f"{path}\nNext: nvlab report {path.name}")
    return 0


def _lost_flushes(path: Path) -> list[str]:
    """What was found of FLUSH when it was tried on the lab, each once: a load may have many repeats."""
    from nvlab.analysis.durability import swallowed
    from nvlab.analysis.runs import load_run

    return list(dict.fromkeys(said for work in load_run(path).workloads for said in swallowed(work)))


def _simulate(args: argparse.Namespace) -> int:
    from nvlab import simulate

    options = simulate.Options(args.precondition, args.io, args.on, args.restore, args.save)
    path = simulate.simulate(args.scenario, args.runs, options, sys.argv[1:], screen_of(args))
    result(args, {"run": str(path)}, f"{path}\nNext: nvlab report {path.name}")
    return 0


def _runs(args: argparse.Namespace) -> int:
    from nvlab.record.rundir import list_runs

    found = [run.read() for run in list_runs(args.runs)]
    rows = [{key: run.get(key) for key in ("id", "lab", "created", "title")} for run in found]
    result(args, rows, "\n".join(f"{r['id']}  {r['title']}" for r in rows) or f"no runs in {args.runs}")
    return 0


def _report(args: argparse.Namespace) -> int:
    from nvlab.analysis.report import write_report
    from nvlab.analysis.runs import load_run
    from nvlab.analysis.table import terminal_table
    from nvlab.record.rundir import find_run

    run = load_run(find_run(args.runs, args.run).path)
    page = write_report(run, args.out or run.path)
    print(terminal_table(run))
    print(f"\nreport: {page}")
    return 0


def add_verbs(verbs: Any) -> None:
    """Add them to the tree."""
    run = add_verb(verbs, "run", _run, "run a lab's workloads and record them", "nvlab run hybrid-nvme")
    run.add_argument("lab", help="name of the lab")
    add_runs(run)
    simulate = add_verb(
        verbs,
        "simulate",
        _simulate,
        "run a scenario's loads on its virtual devices alone, without a kernel and far faster than real time",
        "nvlab simulate scenarios/spare-space.toml --precondition 2",
    )
    add_scenario(simulate)
    simulate.add_argument(
        "--io",
        type=Path,
        metavar="FILE",
        help="instead: a fio job file, or recorded I/O: fio's iolog, blktrace's as blkparse's text, an MSR Cambridge trace",
    )
    simulate.add_argument("--on", help="the device that --io and snapshots are of (default: the only one)")
    simulate.add_argument(
        "--precondition",
        type=float,
        default=0,
        metavar="N",
        help="write N times the capacity at random first, after filling it in order (default: 0)",
    )
    simulate.add_argument("--save", type=Path, metavar="FILE", help="write a snapshot of the device at the end")
    simulate.add_argument(
        "--restore",
        type=Path,
        metavar="FILE",
        help="begin with the device of a snapshot; settings that may change in use are as the scenario has them",
    )
    add_runs(simulate)
    runs = add_verb(verbs, "runs", _runs, "list recorded runs", "nvlab runs --json")
    add_runs(runs)
    report = add_verb(verbs, "report", _report, "figures, an HTML page and a table of a run", "nvlab report hybrid-nvme")
    report.add_argument("run", nargs="?", default="", help="a run's directory, id or part of its id (default: the latest)")
    report.add_argument("--out", type=Path, help="where to write (default: into the run directory)")
    add_runs(report)
