# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that are made in configfs: a directory, its attributes, then ``power``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.kernel.ops import MakeDir, Op, Write


def configured(base: str, attributes: Mapping[str, object]) -> Sequence[Op]:
    """Make the device at ``base`` with its attributes, its power off."""
    return [MakeDir(base), *(Write(f"{base}/{key}", str(value)) for key, value in attributes.items())]


def power_on(base: str) -> Op:
    """Switch the device at ``base`` on; its attributes are busy from then on."""
    return Write(f"{base}/power", "1")
