# SPDX-License-Identifier: GPL-2.0-or-later
"""The verb that makes a profile of what fio measured on a drive."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvlab.cli.verb import add_verb, result, screen_of
from nvlab.errors import UsageError
from nvlab.units import human_time, parse_size

if TYPE_CHECKING:
    from nvlab.calibrate.cells import Cell, Sweep
    from nvlab.calibrate.search import Outcome
    from nvlab.medium import Profile

RUNTIME, REPEATS = "5s", 3


def _calibrate(args: argparse.Namespace) -> int:
    from nvlab.calibrate import proof, search

    _check(args)
    screen = screen_of(args)
    base, true = _profile(args.base), _profile(args.simulated) if args.simulated else None
    if base.kind not in ("nvm", "ssd"):
        raise UsageError(f"{base.name} is of kind {base.kind}", hint="a sweep can be fitted to a --base of kind nvm or ssd")
    if true and true.kind != base.kind:
        raise UsageError(f"{true.name} is of kind {true.kind}", hint=f"simulate a drive of kind {base.kind}, as --base is")
    sweep, measured = _sweep(args, base, true, screen)
    outcome = search.calibrate(sweep, base, noise=args.noise, say=screen.line)
    missed = proof.missed(outcome, true) if true else {}
    files = _write(args, outcome, measured)
    result(args, _json(outcome, true, missed) | files, _text(outcome, true, files))
    return 1 if missed else 0


def _check(args: argparse.Namespace) -> None:
    """One source of figures, and only what belongs to it."""
    given = [bool(args.results), bool(args.sweep), bool(args.simulated)]
    if sum(given) != 1:
        hint = "name fio's results, or --sweep a device, or --simulated a profile"
        raise UsageError("calibrate needs one thing to fit to" + (", not several" if sum(given) else ""), hint=hint)
    if args.into.suffix != ".toml":
        raise UsageError(f"--into {args.into} is no .toml file", hint="name it so: a scenario finds profiles by it")


def _profile(name: str) -> Profile:
    """One of nvlab's own, or of a file."""
    from nvlab.medium import load_profile, profiles

    own = profiles()
    if name in own:
        return own[name]
    try:
        return load_profile(Path(name))
    except (ValueError, OSError) as error:
        said = f"there is no profile {name!r}" if isinstance(error, FileNotFoundError) else str(error)
        raise UsageError(said, hint=f"name a profile's file, or one of: {', '.join(own)}") from error


def _sweep(args: argparse.Namespace, base: Profile, true: Profile | None, screen: Any) -> tuple[Sweep, str]:
    """What to fit to, and how to call it."""
    from nvlab.calibrate import proof
    from nvlab.calibrate.results import read_sweep
    from nvlab.calibrate.sweep import Plan, run_sweep

    if true:
        cells = _cells(args, true.kind, writes=True)
        screen.line(f"simulating {len(cells)} cells, {args.repeats} times each")
        sweep = proof.simulated(true, cells, seed=args.seed, noise=args.noise, repeats=args.repeats)
        return sweep, f"a simulated sweep of {true.name}"
    paths: Sequence[Path] = args.results
    if args.sweep:
        plan = Plan(args.sweep, _cells(args, base.kind, args.write), args.runtime, args.repeats, args.write, args.wipe)
        screen.line(f"sweeping {args.sweep}: {len(plan.cells)} cells of {args.runtime}, {args.repeats} times each")
        paths = [run_sweep(plan, args.into.with_suffix(".sweep"))]
    sweep, notes = read_sweep(paths)
    for note in notes:
        screen.line(note)
    return sweep, f"fio's results in {', '.join(str(path) for path in paths)}"


def _cells(args: argparse.Namespace, kind: str, writes: bool) -> tuple[Cell, ...]:
    from nvlab.calibrate.cells import BS, DIRECTIONS, QD, product

    rw = args.rw.split(",") if args.rw else ("randread", "randwrite") if writes else ("randread",)
    if unknown := [each for each in rw if each not in DIRECTIONS]:
        raise UsageError(f"--rw {unknown[0]}: not one of {', '.join(DIRECTIONS)}")
    bs = _numbers("--bs", args.bs, 512, 1 << 21, (512, *BS) if kind == "nvm" else BS)
    if wrong := [size for size in bs if size % 512]:
        raise UsageError(f"--bs {wrong[0]}: not a multiple of 512")
    return product(rw, bs, _numbers("--qd", args.qd, 1, 1024, QD))


def _numbers(option: str, text: str, low: int, high: int, default: Sequence[int]) -> Sequence[int]:
    try:
        found = [parse_size(part) for part in text.split(",")] if text else default
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error
    if wrong := [number for number in found if not low <= number <= high]:
        raise UsageError(f"{option} {wrong[0]}: not within {low} to {high}")
    return found


def _write(args: argparse.Namespace, outcome: Outcome, measured: str) -> dict[str, str]:
    """The profile and the figure beside it: where they are."""
    from nvlab.analysis.calibration import write_errors
    from nvlab.calibrate.profile import profile_text
    from nvlab.files import replace_file

    title = args.title or f"Fitted to {measured}, from {outcome.base.name}"
    loads = [(cell.rw, cell.bs, cell.qd) for cell in outcome.sweep.cells]
    try:
        replace_file(args.into, profile_text(outcome, title, measured).encode(), mode=0o644)
        figure = write_errors(args.into.with_suffix(""), loads, outcome.error[:, 0], f"{args.into.stem}: {title}"[:110])
    except OSError as error:
        raise UsageError(f"cannot write {args.into}: {error.strerror}") from error
    return {"profile": str(args.into), "figure": str(figure)}


def _json(outcome: Outcome, true: Profile | None, missed: dict[str, float]) -> dict[str, Any]:
    from nvlab.calibrate.cells import FIGURES

    cells = [
        {"rw": cell.rw, "bs": cell.bs, "qd": cell.qd, "measured_iops": math.exp(logs[0])}
        | {name: None if math.isnan(off) else float(off) for name, off in zip(FIGURES, row, strict=True)}
        for cell, logs, row in zip(outcome.sweep.cells, outcome.sweep.logs, outcome.error, strict=True)
    ]
    claimed = {name: {"value": outcome.values[name], "deviation": width} for name, width in outcome.claimed.items()}
    truth = {"true": {name: _values(true)[name] for name in outcome.claimed}, "missed": missed} if true else {}
    return {"claimed": claimed, "not_identified": outcome.unknown, "errors": cells, **truth}


def _values(profile: Profile) -> dict[str, int]:
    return profile.timing or profile.model


def _text(outcome: Outcome, true: Profile | None, files: dict[str, str]) -> str:
    """What is claimed, what is not and why, how far each cell is off."""
    parts = ["Identified (95 % interval):", *_claims(outcome, true), "", "Not identified:", *_reasons(outcome), ""]
    parts += ["Error of each cell (predicted over measured):", *_errors(outcome)]
    return "\n".join([*parts, "", f"profile: {files['profile']}", f"figure: {files['figure']}"])


def _claims(outcome: Outcome, true: Profile | None) -> Iterable[str]:
    for name, width in outcome.claimed.items():
        value = outcome.values[name]
        line = f"  {name:15} {value:>9}" + (f"  ± {200 * width:.1f} %" if width else "  exactly")
        yield line + (f"   true: {_values(true)[name]}" if true else "")
    if not outcome.claimed:
        yield "  nothing: measure more cells, more often"


def _reasons(outcome: Outcome) -> Iterable[str]:
    """Those of one reason and one source together."""
    before = _values(outcome.base)
    found: dict[str, list[str]] = {}
    for name, why in outcome.unknown.items():
        moved = outcome.values.get(name, before[name]) != before[name]
        said = f"{name} {outcome.values[name]}" if moved else name
        found.setdefault(f"{why}; {'fits so' if moved else f'as in {outcome.base.name}'}", []).append(said)
    return [f"  {', '.join(names)}: {why}" for why, names in found.items()]


def _errors(outcome: Outcome) -> Iterable[str]:
    yield f"  {'load':24} {'IOPS':>9} {'off by':>8} {'latency':>9}"
    for cell, logs, error in zip(outcome.sweep.cells, outcome.sweep.logs, outcome.error, strict=True):
        mean = cell.qd * 1e9 / math.exp(logs[0])
        yield f"  {cell!s:24} {math.exp(logs[0]):>9.0f} {100 * error[0]:>+7.1f}% {human_time(mean):>9}"


def add_verbs(verbs: Any) -> None:
    """Add it to the tree."""
    sub = add_verb(
        verbs,
        "calibrate",
        _calibrate,
        "fit a profile to what fio measured on a drive, say which of its numbers are known, and how far each cell is off",
        "nvlab calibrate results/ --base tlc-enterprise --into mine.toml",
    )
    add = sub.add_argument
    add("results", nargs="*", type=Path, help="fio's JSON, or directories of it: jobs of one rw, bs and iodepth each")
    add(
        "--base",
        default="tlc-enterprise",
        metavar="PROFILE",
        help="what the sweep does not show is as in this profile, nvlab's or a file (default: tlc-enterprise)",
    )
    add(
        "--into",
        type=Path,
        default=Path("calibrated.toml"),
        metavar="FILE",
        help="the profile; the figure goes beside it (default: calibrated.toml)",
    )
    add("--title", default="", help="the profile's (default: what it was fitted to)")
    add("--simulated", default="", metavar="PROFILE", help="prove the fit: simulate the sweep of a known profile, with noise")
    add("--noise", type=_noise, default=0.02, metavar="N%", help="how far a figure differs from time to time (default: 2%%)")
    add("--seed", type=int, default=1, help="of the noise of --simulated (default: 1)")
    _add_sweep(sub)


def _add_sweep(sub: argparse.ArgumentParser) -> None:
    add = sub.add_argument_group("the sweep itself").add_argument
    add("--sweep", type=Path, metavar="DEVICE", help="run it first, on this device, which is only read")
    add("--write", action="store_true", help="write to the device too: it must be empty, and is not afterwards")
    add("--wipe", default="", metavar="SERIAL", help="with --write: serial or WWN of a disk whose content may be lost")
    add("--rw", default="", help="directions (default: randread; with writes randwrite too)")
    add("--bs", default="", help="block sizes (default: 4k,8k,16k,32k,128k; of kind nvm 512 too)")
    add("--qd", default="", help="queue depths (default: 1,2,4,8,16,32,64,128,256)")
    add("--runtime", default=RUNTIME, help=f"of each cell (default: {RUNTIME})")
    add("--repeats", type=_repeats, default=REPEATS, metavar="N", help=f"of each cell (default: {REPEATS})")


def _repeats(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 100")
    return value


def _noise(text: str) -> float:
    """A share of "2%" or "2"."""
    value = float(text.removesuffix("%")) / 100
    if not 0.001 <= value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0.1 % and 50 %")
    return value
