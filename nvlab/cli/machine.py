# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs about machines: whether one is fit, what it sets aside at boot, the module for its kernel."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from nvlab.cli.verb import add_verb, result, screen_of
from nvlab.errors import EnvironmentNotReady, UsageError

_ON = "local: this machine itself; ssh:HOST; vm or vm:NAME: a guest that runs (default: this machine as the host of guests)"


def _doctor(args: argparse.Namespace) -> int:
    from nvlab.doctor.examine import Options, examine

    options = Options(args.on, args.kernel, args.cpus)
    if args.tune:
        from nvlab import tuner

        tuned = tuner.tune(args.scenario, options, screen_of(args))
        result(args, tuned.to_json(), tuned.text())
        return 0 if tuned.left.ready else EnvironmentNotReady.exit_code
    report = examine(args.scenario, options)
    result(args, report.to_json(), report.text())
    return 0 if report.ready else EnvironmentNotReady.exit_code


def _kmod_build(args: argparse.Namespace) -> int:
    from nvlab.data import kmod_dir
    from nvlab.host.kmod import build

    kernel = args.kernel or os.uname().release
    into = args.into or Path.cwd()
    built = build((args.directory or kmod_dir()).resolve(), kernel, into.resolve())
    result(args, [str(m) for m in built], "\n".join(map(str, built)))
    return 0


def _grub_plan(args: argparse.Namespace) -> int:
    from nvlab.host import grub, reservation
    from nvlab.host.edge import Host

    change = grub.prepare(Host(), reservation.request_of(vars(args)))
    result(args, change.to_json(), f"{change.describe()}\nNext: nvlab grub apply, with the same options")
    return 0


def _grub_apply(args: argparse.Namespace) -> int:
    from nvlab.host import grub, reservation
    from nvlab.host.edge import Host

    screen, host = screen_of(args), Host()
    change = grub.prepare(host, reservation.request_of(vars(args)))
    screen.line(change.describe())
    if not args.yes and sys.stdin.isatty():
        screen.line("apply this? [y/N]")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise UsageError("not applied; nothing was touched")
    changed = grub.apply(host, change)
    said = change.by_hand if changed else "all of it was applied before\n"
    result(args, change.to_json() | {"changed": changed}, f"{said}Next: reboot, then nvlab grub check")
    return 0


def _grub_revert(args: argparse.Namespace) -> int:
    from nvlab.host import grub
    from nvlab.host.edge import Host

    undone = grub.revert(Host())
    text = "everything is as it was. Next: reboot" if undone else "no reservation is applied; nothing to do"
    result(args, {"changed": undone}, text)
    return 0


def _grub_check(args: argparse.Namespace) -> int:
    from nvlab.host import bootcheck
    from nvlab.host.edge import Host

    found = bootcheck.check(Host())
    result(args, [vars(f) for f in found], "\n".join(map(str, found)))
    return 0 if all(f.ok for f in found) else EnvironmentNotReady.exit_code


def add_verbs(verbs: Any) -> None:
    """Add them to the tree."""
    doctor = add_verb(
        verbs,
        "doctor",
        _doctor,
        "say what keeps a lab from coming up here, what would distort its figures, and the cure of each",
        "nvlab doctor scenarios/hybrid-nvme.toml --on local --tune",
    )
    doctor.add_argument("scenario", nargs="?", type=Path, help="a scenario file (default: what any lab may need)")
    doctor.add_argument("--on", default="", help=_ON)
    doctor.add_argument("--kernel", help="kernel that the guest would boot (see up)")
    doctor.add_argument("--cpus", type=int, default=4, help="CPUs that the guest would have (default: 4)")
    doctor.add_argument("--tune", action="store_true", help="do what can be undone of the cures; nvlab down undoes it (root)")
    kmod = verbs.add_parser("kmod", help="the kernel module").add_subparsers(dest="action", required=True, metavar="ACTION")
    build = add_verb(kmod, "build", _kmod_build, "build nvlab.ko, or any module directory", "nvlab kmod build --into .")
    build.add_argument("directory", nargs="?", type=Path, help="a module's source directory (default: nvlab's own)")
    build.add_argument("--kernel", help="installed release or kernel build tree (default: the running kernel)")
    build.add_argument("--into", type=Path, help="where the .ko goes (default: here)")
    _add_grub(verbs)


def _add_grub(verbs: Any) -> None:
    grub = verbs.add_parser("grub", help="memory and CPUs for virtual devices on bare metal, set aside at boot")
    actions = grub.add_subparsers(dest="action", required=True, metavar="ACTION")
    plan = add_verb(actions, "plan", _grub_plan, "say which memory and CPUs to set aside, and why", "nvlab grub plan --size 64G")
    apply = add_verb(
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
    add_verb(actions, "revert", _grub_revert, "put the boot configuration back, byte for byte", "nvlab grub revert")
    add_verb(actions, "check", _grub_check, "prove, after the reboot, that the kernel has what was applied", "nvlab grub check")
