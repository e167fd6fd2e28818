# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that a boot reservation is made of, and how its words survive the shell and GRUB. Pure, but for the templates.

A word goes through three readers. The shell of grub-mkconfig reads the drop-in; 10_linux copies what came out into grub.cfg
untouched; GRUB's own script parser (GNU GRUB manual, "Quoting") reads that at boot, where ``$`` would begin a variable.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from nvlab.data import grub_dir
from nvlab.host.reservation import Reservation

GRUB = "/etc/default/grub.d/zz-nvlab.cfg"  # after all others: cloud images set the whole line in one of theirs
MODULES_LOAD = "/etc/modules-load.d/nvlab.conf"
MODPROBE = "/etc/modprobe.d/nvlab.conf"

_PLAIN = re.compile(r"[A-Za-z0-9_=,.:/@%+-]")
_LINUX = re.compile(r"^[ \t]*linux(?:16|efi)?[ \t](.*)$", re.M)


def grub_word(word: str) -> str:
    """A word of a kernel command line as GRUB's script reads it.

    Printable ASCII without blanks, quotes and backslashes: GRUB's ``linux`` command adds backslashes before the last two, so no
    writing of them reaches the kernel as it is. Raises ValueError for anything else.
    """
    if not word or any(not "!" <= char <= "~" or char in "\"'\\" for char in word):
        raise ValueError(f"{word!r} cannot be a word of a kernel command line behind GRUB")
    return "".join(char if _PLAIN.fullmatch(char) else f"\\{char}" for char in word)


def grub_text(arguments: Sequence[str]) -> str:
    """A command line as it must stand in grub.cfg."""
    return " ".join(map(grub_word, arguments))


def grub_dropin(arguments: Sequence[str]) -> str:
    """The content of :data:`GRUB`."""
    return _fill("zz-nvlab.cfg", KERNEL=" ".join(arguments), SHELL=shlex.quote(grub_text(arguments)))


def module_files(reservation: Reservation) -> dict[str, str]:
    """The drop-ins for modprobe and for systemd-modules-load, as far as the reservation asks for them."""
    files = {}
    if reservation.modules:
        files[MODULES_LOAD] = _fill("modules-load.conf", MODULES="\n".join(reservation.modules))
    if reservation.multipath:
        files[MODPROBE] = _fill("modprobe.conf", MULTIPATH="Y" if reservation.multipath == "on" else "N")
    return files


def _fill(template: str, **values: str) -> str:
    """A file of grub/ with its @NAMES@ filled in, all at once: a value is never looked into."""
    text = (grub_dir() / template).read_text()
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], text)


def linux_lines(grub_cfg: str) -> list[str]:
    """What each entry of a grub.cfg boots: kernel, then its command line, as written there."""
    return [match[1] for match in _LINUX.finditer(grub_cfg)]
