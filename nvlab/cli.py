# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: the argparse tree, and the only place that prints results or exits."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nvlab import __version__
from nvlab.errors import EnvironmentNotReady, GuestLost, NvlabError, UsageError

Command = Callable[[argparse.Namespace], int]


# -- verbs -----------------------------------------------------------------------------------------------------


def _validate(args: argparse.Namespace) -> int:
    from nvlab.scenario import load

    scenario = load(args.scenario)
    counts = {"objects": len(scenario.objects), "workloads": len(scenario.of("workload"))}
    _result(args, {"valid": True, "lab": scenario.name, **counts}, f"{args.scenario}: valid, {len(scenario.objects)} objects")
    return 0


def _plan(args: argparse.Namespace) -> int:
    from nvlab.plan import render_text
    from nvlab.planner import make_plan
    from nvlab.scenario import load
    from nvlab.shellplan import render_shell

    plan = make_plan(load(args.scenario), args.name)
    _result(args, plan.to_json(), render_shell(plan) if args.shell else render_text(plan))
    return 0


def _up(args: argparse.Namespace) -> int:
    from time import monotonic

    from nvlab import controller

    started = monotonic()
    screen = _screen(args)
    made = controller.up(args.scenario, _options(args), screen)
    for note in made["notes"]:
        screen.line(f"! {note}")
    screen.line(
        f"up: {made['layers']} layers in {monotonic() - started:.1f} s. Next: nvlab run {made['lab']} · nvlab down {made['lab']}"
    )
    if args.json:
        print(json.dumps(made, indent=1))
    return 0


def _down(args: argparse.Namespace) -> int:
    from nvlab import controller

    screen = _screen(args)
    if controller.down(args.lab, screen, keep_guest=args.keep):
        screen.line(f"down: {args.lab} is gone")
    else:
        screen.line(f"down: {args.lab} is not up; nothing to do")
    return 0


def _status(args: argparse.Namespace) -> int:
    from nvlab import controller

    labs = controller.status()
    lines = []
    for lab in labs:
        then = f"nvlab run {lab['lab']} · " * (lab["state"] == "up") + f"nvlab down {lab['lab']}"
        lines.append(f"{lab['lab']}: {lab['state']}, in guest {lab['guest']}. Next: {then}")
        lines += [f"  {layer['owner']:<22}{layer['summary']}" for layer in lab["layers"]]
    _result(args, labs, "\n".join(lines) or "no lab is up")
    return 0


def _run(args: argparse.Namespace) -> int:
    from nvlab import controller

    path = controller.run(args.lab, args.runs, sys.argv[1:], _screen(args))
    _result(args, {"run": str(path)}, f"{path}\nNext: nvlab report {path.name}")
    return 0


def _simulate(args: argparse.Namespace) -> int:
    from nvlab import simulate

    options = simulate.Options(args.precondition, args.io, args.on, args.restore, args.save)
    path = simulate.simulate(args.scenario, args.runs, options, sys.argv[1:], _screen(args))
    _result(args, {"run": str(path)}, f"{path}\nNext: nvlab report {path.name}")
    return 0


def _runs(args: argparse.Namespace) -> int:
    from nvlab.record.rundir import list_runs

    found = [run.read() for run in list_runs(args.runs)]
    rows = [{key: run.get(key) for key in ("id", "lab", "created", "title")} for run in found]
    _result(args, rows, "\n".join(f"{r['id']}  {r['title']}" for r in rows) or f"no runs in {args.runs}")
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


def _shell(args: argparse.Namespace) -> int:
    from nvlab import controller

    return controller.shell(args.lab, args.argv or None)


def _doctor(args: argparse.Namespace) -> int:
    from nvlab.doctor.examine import Options, examine

    report = examine(args.scenario, Options(args.on, args.kernel, args.cpus))
    _result(args, report.to_json(), report.text())
    return 0 if report.ready else EnvironmentNotReady.exit_code


def _kmod_build(args: argparse.Namespace) -> int:
    from nvlab.data import kmod_dir
    from nvlab.host.kmod import build

    kernel = args.kernel or os.uname().release
    into = args.into or Path.cwd()
    built = build((args.directory or kmod_dir()).resolve(), kernel, into.resolve())
    _result(args, [str(m) for m in built], "\n".join(map(str, built)))
    return 0


def _grub_plan(args: argparse.Namespace) -> int:
    from nvlab.host import grub, reservation
    from nvlab.host.edge import Host

    change = grub.prepare(Host(), reservation.request_of(vars(args)))
    _result(args, change.to_json(), f"{change.describe()}\nNext: nvlab grub apply, with the same options")
    return 0


def _grub_apply(args: argparse.Namespace) -> int:
    from nvlab.host import grub, reservation
    from nvlab.host.edge import Host

    screen, host = _screen(args), Host()
    change = grub.prepare(host, reservation.request_of(vars(args)))
    screen.line(change.describe())
    if not args.yes and sys.stdin.isatty():
        screen.line("apply this? [y/N]")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise UsageError("not applied; nothing was touched")
    changed = grub.apply(host, change)
    said = change.by_hand if changed else "all of it was applied before\n"
    _result(args, change.to_json() | {"changed": changed}, f"{said}Next: reboot, then nvlab grub check")
    return 0


def _grub_revert(args: argparse.Namespace) -> int:
    from nvlab.host import grub
    from nvlab.host.edge import Host

    undone = grub.revert(Host())
    text = "everything is as it was. Next: reboot" if undone else "no reservation is applied; nothing to do"
    _result(args, {"changed": undone}, text)
    return 0


def _grub_check(args: argparse.Namespace) -> int:
    from nvlab.host import bootcheck
    from nvlab.host.edge import Host

    found = bootcheck.check(Host())
    _result(args, [vars(f) for f in found], "\n".join(map(str, found)))
    return 0 if all(f.ok for f in found) else EnvironmentNotReady.exit_code


def _schema(args: argparse.Namespace) -> int:
    from nvlab.scenario import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0


def _guest_stop(args: argparse.Namespace) -> int:
    from nvlab import controller

    stopped = controller.guest_stop(args.guest, force=args.force)
    _screen(args).line(f"guest {args.guest} {'is stopped' if stopped else 'was not running'}")
    return 0


_ON = "local: this machine itself; vm or vm:NAME: a guest that runs (default: this machine as the host of guests)"

# -- the tree --------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="nvlab",
        description="A whole NVMe lab from one file: virtual devices, RAID, cache, NVMe/TCP, workload, report.",
        epilog="Begin with: nvlab up scenarios/hybrid-nvme.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"nvlab {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    _lab_verbs(verbs)
    _record_verbs(verbs)
    _other_verbs(verbs)
    return top


def _lab_verbs(verbs: Any) -> None:
    validate = _verb(verbs, "validate", _validate, "say everything that is wrong with a scenario", "nvlab validate mine.toml")
    _scenario(validate)
    plan = _verb(verbs, "plan", _plan, "show every command and write, doing nothing", "nvlab plan scenarios/hybrid-nvme.toml")
    _scenario(plan)
    plan.add_argument("--name", help="name of the lab (default: the file's)")
    plan.add_argument("--shell", action="store_true", help="as a bash script that makes the same lab")
    doctor = _verb(
        verbs,
        "doctor",
        _doctor,
        "say what keeps a lab from coming up here, what would distort its figures, and the cure of each",
        "nvlab doctor scenarios/hybrid-nvme.toml",
    )
    doctor.add_argument("scenario", nargs="?", type=Path, help="a scenario file (default: what any lab may need)")
    doctor.add_argument("--on", default="", help=_ON)
    doctor.add_argument("--kernel", help="kernel that the guest would boot (see up)")
    doctor.add_argument("--cpus", type=int, default=4, help="CPUs that the guest would have (default: 4)")
    up = _verb(verbs, "up", _up, "build the lab of a scenario", "nvlab up scenarios/bare-nvme.toml --kernel 6.12")
    _scenario(up)
    up.add_argument("--name", help="name of the lab (default: the file's)")
    up.add_argument("--kernel", help="kernel of the guest: an installed release, a vmlinuz, or a kernel build tree")
    up.add_argument("--cpus", type=int, default=4, help="CPUs of the guest (default: 4)")
    up.add_argument("--guest", default="default", help="which guest to use; labs side by side share one (default: default)")
    down = _verb(verbs, "down", _down, "remove every trace of a lab", "nvlab down hybrid-nvme")
    down.add_argument("lab", help="name of the lab")
    down.add_argument("--keep", action="store_true", help="keep the guest running for the next lab")
    _verb(verbs, "status", _status, "what is up, and where", "nvlab status --json")
    shell = _verb(verbs, "shell", _shell, "a shell in a lab's guest, or one command", "nvlab shell hybrid-nvme -- lsblk")
    shell.add_argument("lab", nargs="?", help="name of the lab (default: the default guest)")


def _record_verbs(verbs: Any) -> None:
    run = _verb(verbs, "run", _run, "run a lab's workloads and record them", "nvlab run hybrid-nvme")
    run.add_argument("lab", help="name of the lab")
    _runs_option(run)
    simulate = _verb(
        verbs,
        "simulate",
        _simulate,
        "run a scenario's loads on its virtual devices alone, without a kernel and far faster than real time",
        "nvlab simulate scenarios/spare-space.toml --precondition 2",
    )
    _scenario(simulate)
    simulate.add_argument(
        "--io",
        type=Path,
        metavar="FILE",
        help="instead: a fio job file, or recorded I/O: fio's iolog, blkparse's output, an MSR Cambridge trace",
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
    _runs_option(simulate)
    runs = _verb(verbs, "runs", _runs, "list recorded runs", "nvlab runs --json")
    _runs_option(runs)
    report = _verb(verbs, "report", _report, "figures, an HTML page and a table of a run", "nvlab report hybrid-nvme")
    report.add_argument("run", nargs="?", default="", help="a run's directory, id or part of its id (default: the latest)")
    report.add_argument("--out", type=Path, help="where to write (default: into the run directory)")
    _runs_option(report)


def _other_verbs(verbs: Any) -> None:
    kmod = verbs.add_parser("kmod", help="the kernel module").add_subparsers(dest="action", required=True, metavar="ACTION")
    build = _verb(kmod, "build", _kmod_build, "build nvlab.ko, or any module directory", "nvlab kmod build --into .")
    build.add_argument("directory", nargs="?", type=Path, help="a module's source directory (default: nvlab's own)")
    build.add_argument("--kernel", help="installed release or kernel build tree (default: the running kernel)")
    build.add_argument("--into", type=Path, help="where the .ko goes (default: here)")
    _grub_verbs(verbs)
    _verb(verbs, "schema", _schema, "JSON Schema of scenario files, for editors", "nvlab schema > nvlab.schema.json")
    guest = verbs.add_parser("guest", help="the throwaway VM").add_subparsers(dest="action", required=True, metavar="ACTION")
    stop = _verb(guest, "stop", _guest_stop, "end a guest in which no lab lives", "nvlab guest stop")
    stop.add_argument("--force", action="store_true", help="pull the plug, with the labs in it")
    stop.add_argument("guest", nargs="?", default="default", help="which (default: default)")


def _grub_verbs(verbs: Any) -> None:
    grub = verbs.add_parser("grub", help="memory and CPUs for virtual devices on bare metal, set aside at boot")
    actions = grub.add_subparsers(dest="action", required=True, metavar="ACTION")
    plan = _verb(actions, "plan", _grub_plan, "say which memory and CPUs to set aside, and why", "nvlab grub plan --size 64G")
    apply = _verb(
        actions,
        "apply",
        _grub_apply,
        "show what will be written for the next boot, then write it",
        "nvlab grub apply --size 64G --cpus 7-8,10 --intremap off",
    )
    for sub in (plan, apply):
        sub.add_argument("--size", required=True, help="bytes of memory: 64G; a device takes its capacity and 1 MiB")
        sub.add_argument("--start", help="where it begins (default: the best place, by what the firmware and Linux say)")
        sub.add_argument("--node", type=int, help="NUMA node it lies on (default: that of the CPUs, else the one with most room)")
        sub.add_argument("--cpus", help="CPUs for workers alone: 7-8,10, or none (default: whole cores near the memory)")
        sub.add_argument("--intremap", choices=("on", "off"), metavar="on|off", help="interrupt remapping (default: as it is)")
        sub.add_argument("--multipath", choices=("on", "off"), metavar="on|off", help="native NVMe multipath (default: as it is)")
        sub.add_argument("--modules", help="modules to load at boot: nvme-tcp,nvmet-tcp (default: none)")
    apply.add_argument("--yes", action="store_true", help="do not ask; without a terminal it never asks")
    _verb(actions, "revert", _grub_revert, "put the boot configuration back, byte for byte", "nvlab grub revert")
    _verb(actions, "check", _grub_check, "prove, after the reboot, that the kernel has what was applied", "nvlab grub check")


def _verb(verbs: Any, name: str, command: Command, text: str, example: str) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(command_of=command)
    sub.add_argument("--json", action="store_true", help="result as JSON on stdout")
    sub.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    sub.add_argument("--debug", action="store_true", help="show a traceback with an error")
    return sub


def _scenario(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("scenario", type=Path, help="a scenario file (TOML)")


def _runs_option(sub: argparse.ArgumentParser) -> None:
    default = Path(os.environ.get("NVLAB_RUNS", "runs"))
    sub.add_argument("--runs", type=Path, default=default, help="where run directories are (default: $NVLAB_RUNS or ./runs)")


def _options(args: argparse.Namespace) -> Any:
    from nvlab.controller import Options

    return Options(name=args.name, kernel=args.kernel, cpus=args.cpus, guest=args.guest)


def _screen(args: argparse.Namespace) -> Any:
    from nvlab.screen import Screen

    return Screen(quiet=args.quiet)


def _result(args: argparse.Namespace, data: Any, text: str) -> None:
    print(json.dumps(data, indent=1) if args.json else text)


# -- main ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: run the verb, turn errors into words and an exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, program = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    args = parser().parse_args(own, argparse.Namespace(argv=program))
    try:
        code = args.command_of(args)
    except NvlabError as error:
        code = _explain(error, debug=args.debug)
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except Exception as error:  # a mistake of nvlab's own: the user gets words, who wants the traceback asks for it
        said = NvlabError(f"{type(error).__name__}: {error}", hint="this is a bug in nvlab; --debug shows where")
        said.__cause__ = error
        code = _explain(said, debug=args.debug)
    sys.exit(code)


def _explain(error: NvlabError, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    print(f"error: {error.message}", file=sys.stderr)
    for line in error.kmsg:
        print(f"kernel: {line}", file=sys.stderr)
    if isinstance(error, GuestLost):
        for line in error.console:
            print(f"console: {line}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    main()
