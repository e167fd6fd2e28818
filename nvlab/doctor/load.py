# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of what else the machine does."""

from __future__ import annotations

from collections.abc import Iterator

from nvlab.doctor.facts import Facts
from nvlab.doctor.finding import Finding, listed
from nvlab.doctor.wants import Wants
from nvlab.tuning import Cure

BUSY = 0.2  # CPUs

#: programs that meddle with disks, interrupts or CPUs while one measures: what each does, what to do
COMPANY: dict[str, tuple[str, str]] = {
    "irqbalance": ("moves interrupts between CPUs every 10 seconds", "systemctl stop irqbalance"),
    "multipathd": ("claims NVMe namespaces and disks as they appear", "systemctl stop multipathd.socket multipathd"),
    "rapiddiskd": ("takes orders over RapidDisk from anybody who reaches TCP port 9118", "systemctl stop rapiddiskd"),
    "smartd": ("sends admin commands to every drive", "systemctl stop smartd"),
    "tuned": ("changes governor and C-states as it sees fit", "systemctl stop tuned"),
    "power-profiles-": ("changes governor and turbo as it sees fit", "systemctl stop power-profiles-daemon"),
    "fstrim": ("discards the free blocks of every file system", "wait until it has ended"),
    "btrfs": ("scrubs or balances a file system, if it runs for long", "wait until it has ended; btrfs scrub cancel"),
    "xfs_scrub": ("reads every file system", "wait until it has ended"),
    "updatedb": ("reads every directory", "wait until it has ended; systemctl stop plocate-updatedb.timer"),
}


#: those that may be stopped as services for a while, with what would start each again
_STOPPABLE: dict[str, tuple[str, ...]] = {
    "irqbalance": (),
    "multipathd": ("multipathd.socket",),
    "rapiddiskd": (),
    "smartd": (),
    "tuned": (),
    "power-profiles-": (),
}


def company(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """A program that meddles."""
    for name in sorted(facts.processes & COMPANY.keys()):
        does, cure = COMPANY[name]
        yield Finding("distorts", f"{name} is running", f"it {does}", cure, tune=_stop(name, facts.units.get(name, "")))


def _stop(name: str, unit: str) -> Cure | None:
    """One that was started by hand stays: nothing would start it again as it was."""
    if name not in _STOPPABLE or not unit:
        return None
    return Cure("tune.stop", dict.fromkeys((*_STOPPABLE[name], unit), "stopped"), f"{unit} is stopped")


def other_load(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """Programs that use CPUs."""
    if busy := {name: cpus for name, cpus in facts.busy.items() if cpus >= BUSY}:
        most = sorted(busy, key=busy.__getitem__, reverse=True)
        yield Finding(
            "distorts",
            f"other programs are at work: {listed(f'{name} ({busy[name]:.1f} CPUs)' for name in most[:5])}",
            "they take CPU time, caches and memory bandwidth from what is measured, now more, now less",
            "end them, or wait until they have ended",
        )


def resync(facts: Facts, wants: Wants) -> Iterator[Finding]:
    """An array that is being made whole or checked."""
    for array, what in facts.syncing.items():
        yield Finding(
            "distorts",
            f"{array}: {what} is under way",
            "it reads and writes all members, and slows down by how busy the array is: figures depend on when they are taken",
            f"wait: mdadm --wait /dev/{array}"
            + (f"; or stop it: echo idle > /sys/block/{array}/md/sync_action" if what in ("check", "repair") else ""),
        )
