# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that are made in configfs: a directory, its attributes, then ``power``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlab.kernel.ops import MakeDir, Op, Write


def power_on(base: str, attributes: Mapping[str, object]) -> Sequence[Op]:
    """Make the device at ``base`` and switch it on; its attributes are busy from then on."""
    settings = [Write(f"{base}/{key}", str(value)) for key, value in attributes.items()]
    return [MakeDir(base), *settings, Write(f"{base}/power", "1")]
