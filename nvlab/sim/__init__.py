# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual device in user space: the same C core as in the kernel module, on numpy arrays."""

from nvlab.sim.device import Config, Device, Timing, commands
from nvlab.sim.structs import (
    ALL_NAMESPACES,
    COMMAND,
    DECISION,
    MAX_BLOCKS,
    MAX_RANGES,
    RANGE,
    Data,
    Flag,
    Kind,
    Opcode,
    Status,
)

__all__ = [
    "ALL_NAMESPACES",
    "COMMAND",
    "DECISION",
    "MAX_BLOCKS",
    "MAX_RANGES",
    "RANGE",
    "Config",
    "Data",
    "Device",
    "Flag",
    "Kind",
    "Opcode",
    "Status",
    "Timing",
    "commands",
]
