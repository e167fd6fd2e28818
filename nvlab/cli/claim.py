# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs about runs that are done: what may be claimed of one or two, doing one again, handing one on."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvlab.cli.verb import add_runs, add_verb, result, screen_of
from nvlab.errors import UsageError

if TYPE_CHECKING:
    from nvlab.analysis.claims import Contrast
    from nvlab.analysis.runs import Run


def _compare(args: argparse.Namespace) -> int:
    from nvlab.analysis.claims import within
    from nvlab.analysis.flags import notes
    from nvlab.analysis.runs import load_run
    from nvlab.analysis.table import EMULATED
    from nvlab.record.rundir import find_run

    first = load_run(find_run(args.runs, args.run).path)
    if args.other:
        _two(args, first, load_run(find_run(args.runs, args.other).path))
        return 0
    found = within(first)
    if not found:
        raise UsageError(
            f"{first.id} has nothing to compare: each load ran on one target",
            hint="name a second run, or add a [[compare]] or a second target to the scenario",
        )
    _show(args, [first.id], found, [*([EMULATED] if first.emulated else []), *notes(first)], [])
    return 0


def _two(args: argparse.Namespace, first: Run, second: Run, more: Sequence[str] = ()) -> list[Contrast]:
    """Print how a run stands to an earlier one. Raises UsageError where that means nothing, unless ``args.anyway``."""
    from nvlab.analysis.claims import between
    from nvlab.analysis.differences import differences, incomparable
    from nvlab.analysis.flags import notes
    from nvlab.analysis.table import EMULATED

    reasons = incomparable(first, second)
    if reasons and not args.anyway:
        hint = "compare within one run; --anyway shows the ratios all the same"
        raise UsageError(f"these runs cannot be compared: {'; '.join(reasons)}", hint=hint)
    found = between(first, second)
    if not found:
        raise UsageError("these runs have no load in common", hint="loads are of one name, section, direction and target")
    others = differences(first, second)
    warned = [*([EMULATED] if second.emulated else []), *more, *(f"NOT COMPARABLE: {reason}" for reason in reasons)]
    warned += [f"another machine or load: {difference}" for difference in others if difference.heavy]
    warned += [f"{run.id}: {note}" for run in (first, second) for note in notes(run)]
    plain = [str(difference) for difference in others if not difference.heavy]
    _show(args, [first.id, second.id], found, warned, plain)
    return found


def _repro(args: argparse.Namespace) -> int:
    from nvlab import repro
    from nvlab.analysis.drill import unlike
    from nvlab.analysis.runs import load_run
    from nvlab.record.rundir import RunDir, find_run

    screen, run = screen_of(args), find_run(args.runs, args.run)
    again = RunDir(repro.repeat(run, args.runs, repro.Place(args.on, args.guest, args.kernel), sys.argv[1:], screen))
    otherwise = repro.built_otherwise(run.read(), again.read())
    said = [f"built by other steps than then: {', '.join(otherwise)}"] if otherwise else []
    first, second = load_run(run.path), load_run(again.path)
    found = _two(args, first, second, said)
    off = [f"{c.title}: {claim.figure}" for c in found for claim in c.claims if not claim.within(args.tolerance)]
    off += unlike(first, second)
    share = f"{100 * args.tolerance:g} %"
    verdict = f"not reproduced within {share}: {', '.join(off)}" if off else f"reproduced: every figure is within {share}"
    screen.line(f"{again.path}\n{verdict}")
    return 1 if off else 0


def _tolerance(text: str) -> float:
    """A share of "10%" or "10"."""
    value = float(text.removesuffix("%")) / 100
    if not 0 <= value < 10:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 % and 1000 %")
    return value


def _bundle(args: argparse.Namespace) -> int:
    from nvlab.analysis.report import PAGE, write_report
    from nvlab.analysis.runs import load_run
    from nvlab.record.bundle import bundle
    from nvlab.record.rundir import find_run

    run = find_run(args.runs, args.run)
    if not (run.path / PAGE).exists():
        write_report(load_run(run.path), run.path)
    made = bundle(run, args.out or Path(f"{run.id}.tar.gz"), args.license)
    if not args.license:
        screen_of(args).line("no licence goes with the data, so nobody may use them without asking; --license FILE adds one")
    result(args, {"run": run.id, "bundle": str(made), "bytes": made.stat().st_size}, str(made))
    return 0


def _show(args: argparse.Namespace, runs: list[str], found: list[Contrast], warned: list[str], differ: list[str]) -> None:
    from nvlab.analysis.table import claims_table

    blocks = [claims_table(contrast) for contrast in found]
    blocks += ["\n".join(f"! {text}" for text in warned)] if warned else []
    blocks += ["\n".join(["They also differ in:", *(f"  {text}" for text in differ)])] if differ else []
    data: dict[str, Any] = {"runs": runs, "contrasts": [to_json(c) for c in found], "warnings": warned, "differences": differ}
    result(args, data, "\n\n".join(blocks))


def to_json(contrast: Contrast) -> dict[str, Any]:
    """A contrast for scripts; IOPS per second, latencies in ns; no bounds where there is no interval."""
    claims = [{**asdict(claim), "verdict": claim.verdict} for claim in contrast.claims]
    whole = {"title": contrast.title, "baseline": contrast.base, "variant": contrast.variant, "claims": claims}
    return {key: _finite(value) for key, value in whole.items()}


def _finite(value: Any) -> Any:
    """Without what JSON has not: nan becomes null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def add_verbs(verbs: Any) -> None:
    """Add them to the tree."""
    compare = add_verb(
        verbs,
        "compare",
        _compare,
        "say what may be claimed of the variants of a run, or of two runs, with intervals, and what else the runs differ in",
        "nvlab compare hybrid-nvme",
    )
    repro = add_verb(
        verbs,
        "repro",
        _repro,
        "do a run again, from what its directory holds, and say whether the same came out",
        "nvlab repro hybrid-nvme --tolerance 10%",
    )
    which = "a run's directory, id or part of it, or a lab's name: its latest (default: the latest of all)"
    compare.add_argument("run", nargs="?", default="", help=which)
    compare.add_argument("other", nargs="?", default="", help="a second run, compared with the first (default: within the first)")
    for sub in (compare, repro):
        sub.add_argument("--anyway", action="store_true", help="compare also where the ratios mean nothing")
        add_runs(sub)
    repro.add_argument("run", nargs="?", default="", help=which)
    repro.add_argument(
        "--tolerance",
        type=_tolerance,
        default=0.1,
        metavar="N%",
        help="how far each figure may be off, up or down; beyond it the exit code is 1 (default: 10%%)",
    )
    repro.add_argument("--on", default="", help="where a live lab is built (see up; default: where the run was)")
    repro.add_argument("--kernel", help="kernel of the guest (see up; default: the run's release)")
    repro.add_argument("--guest", default="default", help="which guest a live lab is built in (default: default)")
    bundle = add_verb(
        verbs,
        "bundle",
        _bundle,
        "pack a run into one archive that needs no nvlab to be read: scenario, provenance, raw data, report, checksums",
        "nvlab bundle hybrid-nvme --out hybrid-nvme.tar.gz",
    )
    bundle.add_argument("run", nargs="?", default="", help=which)
    bundle.add_argument("--out", type=Path, metavar="FILE", help="the archive (default: the run's id, .tar.gz)")
    bundle.add_argument("--license", type=Path, metavar="FILE", help="the licence of the data, to go with them")
    add_runs(bundle)
