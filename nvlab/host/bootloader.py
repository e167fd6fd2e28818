# SPDX-License-Identifier: GPL-2.0-or-later
"""How words reach the kernel's command line on this host: a drop-in of GRUB's, grubby, or the administrator.

Each way has files of its own that nvlab writes, a program of the distribution that makes them effective, and files which that
program rewrites (kept, to be put back). After it ran, what the boot loader will read is looked at: a later setting may have won.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from nvlab.errors import Conflict
from nvlab.host import dropin
from nvlab.host.edge import Host
from nvlab.host.reservation import Machine, Reservation

_MKCONFIG = ("/usr/sbin/grub-mkconfig", "/usr/bin/grub-mkconfig")
_GRUB_CFG = "/boot/grub/grub.cfg"
_ENTRIES = "/boot/loader/entries"
_GRUBENV = "/boot/grub/grubenv"
_GRUB2ENV = "/boot/grub2/grubenv"


class Loader(Protocol):
    """One way. ``name`` is its name in the record; ``all_entries``: whether all get the words, recovery included."""

    name: str
    all_entries: bool

    def adapt(self, reservation: Reservation, machine: Machine) -> Reservation:
        """The reservation in the words that this boot loader can pass on. Raises Conflict when it cannot be."""

    def files(self, reservation: Reservation) -> dict[str, str]:
        """Files to write."""

    def rewritten(self, host: Host) -> list[str]:
        """Files that :meth:`install` and :meth:`uninstall` make the distribution write."""

    def install(self, host: Host, reservation: Reservation) -> None:
        """Make it effective at the next boot, once the files are written."""

    def uninstall(self, host: Host, reservation: Reservation) -> None:
        """The opposite, once the files are gone."""

    def entries(self, host: Host) -> list[str]:
        """The kernel command lines that may be booted, the default first, as they are written."""

    def written(self, reservation: Reservation) -> Sequence[str]:
        """The words of the reservation as they are written there."""


class GrubDropin:
    """Debian's and Ubuntu's grub-mkconfig, which reads /etc/default/grub.d."""

    name = "grub.d"
    all_entries = False

    def adapt(self, reservation: Reservation, machine: Machine) -> Reservation:
        return reservation

    def files(self, reservation: Reservation) -> dict[str, str]:
        return {dropin.GRUB: dropin.grub_dropin(reservation.arguments)}

    def rewritten(self, host: Host) -> list[str]:
        return [_GRUB_CFG] if host.path(_GRUBENV).exists() else [_GRUB_CFG, _GRUBENV]  # it makes one, and leaves one alone

    def install(self, host: Host, reservation: Reservation) -> None:
        host.run(["update-grub"] if host.has("update-grub") else ["grub-mkconfig", "-o", _GRUB_CFG])

    uninstall = install

    def entries(self, host: Host) -> list[str]:
        return dropin.linux_lines(host.text(_GRUB_CFG))

    def written(self, reservation: Reservation) -> Sequence[str]:
        return [dropin.grub_word(word) for word in reservation.arguments]


class Grubby:
    """Fedora and RHEL: entries of the Boot Loader Specification, which grubby edits.

    Their GRUB (blscfg) takes every ``$`` of an entry for a variable, and knows no escape; so no word may have one.
    """

    name = "grubby"
    all_entries = True

    def adapt(self, reservation: Reservation, machine: Machine) -> Reservation:
        there = next((word for word in machine.cmdline if word.startswith("memmap=")), None)
        if there:
            raise Conflict(
                f"the kernel's command line has {there!r} already, which grubby would replace",
                hint=f"grubby --update-kernel=ALL --remove-args={there.partition('=')[0]}, and reboot",
            )
        return reservation.without_dollar()

    def files(self, reservation: Reservation) -> dict[str, str]:
        return {}

    def rewritten(self, host: Host) -> list[str]:
        known = [*_entry_files(host), _GRUB2ENV, "/etc/kernel/cmdline", "/etc/default/grub"]
        return [name for name in known if host.path(name).exists()]

    def install(self, host: Host, reservation: Reservation) -> None:
        host.run(["grubby", "--update-kernel=ALL", f"--args={' '.join(reservation.arguments)}"])

    def uninstall(self, host: Host, reservation: Reservation) -> None:
        # what it removes, it looks for as a regular expression
        words = " ".join(word.replace("+", "[+]") for word in reservation.arguments)
        host.run(["grubby", "--update-kernel=ALL", f"--remove-args={words}"])

    def entries(self, host: Host) -> list[str]:
        environment = dict(line.partition("=")[::2] for line in host.text(_GRUB2ENV).splitlines() if "=" in line)
        options = [re.findall(r"^options[ \t]+(.*)$", host.text(name), re.M) for name in _entry_files(host)]
        return [_expand(" ".join(lines), environment) for lines in options]

    def written(self, reservation: Reservation) -> Sequence[str]:
        return reservation.arguments


def _entry_files(host: Host) -> list[str]:
    return [f"{_ENTRIES}/{name}" for name in host.names(_ENTRIES) if name.endswith(".conf")]


def _expand(options: str, environment: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda match: environment.get(match[1], ""), options)


class ByHand:
    """Any other boot loader: the administrator is told the line."""

    name = "by hand"
    all_entries = False

    def adapt(self, reservation: Reservation, machine: Machine) -> Reservation:
        return reservation

    def files(self, reservation: Reservation) -> dict[str, str]:
        return {}

    def rewritten(self, host: Host) -> list[str]:
        return []

    def install(self, host: Host, reservation: Reservation) -> None:
        pass

    uninstall = install

    def entries(self, host: Host) -> list[str]:
        return []

    def written(self, reservation: Reservation) -> Sequence[str]:
        return []


LOADERS: dict[str, Loader] = {loader.name: loader for loader in (GrubDropin(), Grubby(), ByHand())}


def find(host: Host) -> Loader:
    """What boots this host, by what is there rather than by the distribution's name."""
    if _entry_files(host) and host.has("grubby"):
        return LOADERS[Grubby.name]
    if host.path(_GRUB_CFG).exists() and any("default/grub.d" in host.text(script) for script in _MKCONFIG):
        return LOADERS[GrubDropin.name]
    return LOADERS[ByHand.name]


def missing(loader: Loader, host: Host, reservation: Reservation) -> list[str]:
    """Words of the reservation that an entry lacks which should have them."""
    entries = [entry.split() for entry in loader.entries(host)] or [[]]
    due = entries if loader.all_entries else entries[:1]
    return [word for word in loader.written(reservation) if any(word not in entry for entry in due)]


def left(loader: Loader, host: Host, reservation: Reservation) -> list[str]:
    """Words of the reservation's memory that some entry still has."""
    own = loader.written(reservation)[:1]
    return [word for word in own if any(word in entry.split() for entry in loader.entries(host))]
