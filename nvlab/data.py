# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the files that are not Python lie: beside the package in a checkout, inside it when installed from a wheel."""

from __future__ import annotations

from pathlib import Path

from nvlab.errors import EnvironmentNotReady

_PACKAGE = Path(__file__).resolve().parent


def kmod_dir() -> Path:
    """The sources of the kernel module and, in ``core/``, of the device's core."""
    return _data_dir("kmod")


def grub_dir() -> Path:
    """The templates of the boot reservation."""
    return _data_dir("grub")


def scenario_dir() -> Path:
    """The scenarios that come with nvlab."""
    return _data_dir("scenarios")


def _data_dir(name: str) -> Path:
    for base in (_PACKAGE / "_data", _PACKAGE.parent):
        if (base / name).is_dir():
            return base / name
    raise EnvironmentNotReady(f"nvlab's own {name}/ is missing", hint="install nvlab again")
