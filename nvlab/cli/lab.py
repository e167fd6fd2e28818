# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs about labs and the guests they live in."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nvlab.cli.verb import add_scenario, add_verb, result, screen_of
from nvlab.errors import UsageError

ON = "where: local (this machine itself), ssh:HOST, vm or vm:NAME (default: vm, a throwaway virtual machine)"


def _validate(args: argparse.Namespace) -> int:
    from nvlab.scenario import load

    scenario = load(args.scenario)
    counts = {"objects": len(scenario.objects), "workloads": len(scenario.of("workload"))}
    result(args, {"valid": True, "lab": scenario.name, **counts}, f"{args.scenario}: valid, {len(scenario.objects)} objects")
    return 0


def _plan(args: argparse.Namespace) -> int:
    from nvlab.plan import render_text
    from nvlab.planner import make_plan
    from nvlab.scenario import load
    from nvlab.shellplan import render_shell

    plan = make_plan(load(args.scenario), args.name)
    result(args, plan.to_json(), render_shell(plan) if args.shell else render_text(plan))
    return 0


def _up(args: argparse.Namespace) -> int:
    from time import monotonic

    from nvlab import controller

    started = monotonic()
    screen = screen_of(args)
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

    screen = screen_of(args)
    if args.stale:
        gone = controller.down_stale(screen, args.on)
        said = [f"down: what a reboot had left of {lab} is gone" for lab in gone]
        result(args, gone, "\n".join(said) or "nothing is left of any earlier boot")
        return 0
    if args.lab is None:
        raise UsageError("down of which lab?", hint="name it, or --stale for what a reboot has left; to see: nvlab status")
    if controller.down(args.lab, screen, keep_guest=args.keep):
        screen.line(f"down: {args.lab} is gone")
    else:
        screen.line(f"down: {args.lab} is not up; nothing to do")
    return 0


def _status(args: argparse.Namespace) -> int:
    from nvlab import controller, tuning

    labs = controller.status()
    lines = []
    for lab in labs:
        runs = lab["state"] == "up" and not tuning.is_name(lab["lab"])
        then = f"nvlab run {lab['lab']} · " * runs + f"nvlab down {lab['lab']}"
        lines.append(f"{lab['lab']}: {lab['state']}, {lab['where']}. Next: {then}")
        lines += [f"  {layer['owner']:<22}{layer['summary']}" for layer in lab["layers"]]
        lines += ["  since it was built: " + "; ".join(lab["events"])] if lab["events"] else []
    result(args, labs, "\n".join(lines) or "no lab is up")
    return 0


def _shell(args: argparse.Namespace) -> int:
    from nvlab import controller

    return controller.shell(args.lab, args.argv or None)


def _snapshot(args: argparse.Namespace) -> int:
    from nvlab.snapshot import snapshot
    from nvlab.units import human_size

    said = snapshot(args.lab, args.device, args.file, screen_of(args), force=args.force)
    what = f"{human_size(said['size'])}, of it {human_size(said['kept'])} not zeros; commands waited {said['seconds']:.1f} s"
    then = f'state = "{args.file}" in a [device.x] like it · nvlab simulate FILE --restore {args.file}'
    result(args, {"file": str(args.file), **said}, f"{args.file}: {what}\nNext: {then}")
    return 0


def _schema(args: argparse.Namespace) -> int:
    from nvlab.scenario import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0


def _guest_stop(args: argparse.Namespace) -> int:
    from nvlab import controller

    stopped = controller.guest_stop(args.guest, force=args.force)
    screen_of(args).line(f"guest {args.guest} {'is stopped' if stopped else 'was not running'}")
    return 0


def _options(args: argparse.Namespace) -> Any:
    from nvlab.controller import Options

    return Options(name=args.name, kernel=args.kernel, cpus=args.cpus, guest=args.guest, on=args.on)


def add_verbs(verbs: Any) -> None:
    """Add them to the tree."""
    validate = add_verb(verbs, "validate", _validate, "say everything that is wrong with a scenario", "nvlab validate mine.toml")
    add_scenario(validate)
    plan = add_verb(verbs, "plan", _plan, "show every command and write, doing nothing", "nvlab plan scenarios/hybrid-nvme.toml")
    add_scenario(plan)
    plan.add_argument("--name", help="name of the lab (default: the file's)")
    plan.add_argument("--shell", action="store_true", help="as a bash script that makes the same lab")
    up = add_verb(verbs, "up", _up, "build the lab of a scenario", "nvlab up scenarios/bare-nvme.toml --on ssh:lab7")
    add_scenario(up)
    up.add_argument("--name", help="name of the lab (default: the file's)")
    up.add_argument("--on", default="", help=ON)
    up.add_argument("--kernel", help="kernel of the guest: an installed release, a vmlinuz, or a kernel build tree")
    up.add_argument("--cpus", type=int, default=4, help="CPUs of the guest (default: 4)")
    up.add_argument("--guest", default="default", help="which guest to use; labs side by side share one (default: default)")
    down = add_verb(verbs, "down", _down, "remove every trace of a lab", "nvlab down hybrid-nvme")
    down.add_argument("lab", nargs="?", help="name of the lab")
    down.add_argument("--keep", action="store_true", help="keep the guest running for the next lab")
    down.add_argument("--stale", action="store_true", help="instead: what is left of all labs that a reboot has ended")
    down.add_argument("--on", default="", help="with --stale: look also here, for labs that this user has no record of")
    add_verb(verbs, "status", _status, "what is up, and where", "nvlab status --json")
    shell = add_verb(verbs, "shell", _shell, "a shell where a lab lives, or one command", "nvlab shell hybrid-nvme -- lsblk")
    shell.add_argument("lab", nargs="?", help="name of the lab (default: the default guest)")
    copy = add_verb(verbs, "snapshot", _snapshot, "copy what a live virtual device holds", "nvlab snapshot mine ssd ssd.state")
    copy.add_argument("lab", help="name of the lab")
    copy.add_argument("device", help="name of the device; one of several is ssd.2")
    copy.add_argument("file", type=Path, help="where to; state = in a scenario and simulate --restore read it")
    copy.add_argument("--force", action="store_true", help="replace the file if there is one")
    add_verb(verbs, "schema", _schema, "JSON Schema of scenario files, for editors", "nvlab schema > nvlab.schema.json")
    guest = verbs.add_parser("guest", help="the throwaway VM").add_subparsers(dest="action", required=True, metavar="ACTION")
    stop = add_verb(guest, "stop", _guest_stop, "end a guest in which no lab lives", "nvlab guest stop")
    stop.add_argument("--force", action="store_true", help="pull the plug, with the labs in it")
    stop.add_argument("guest", nargs="?", default="default", help="which (default: default)")
