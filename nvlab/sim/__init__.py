# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual device in user space: the same C core as in the kernel module, on numpy arrays."""

from nvlab.sim.device import Config, Device, Rule, Timing, commands
from nvlab.sim.structs import (
    ALL_NAMESPACES,
    ANY_OPCODE,
    COMMAND,
    DECISION,
    MAX_BLOCKS,
    MAX_RANGES,
    MAX_RULES,
    MILLION,
    RANGE,
    Data,
    Fault,
    Flag,
    Kind,
    Opcode,
    Status,
)

__all__ = [
    "ALL_NAMESPACES",
    "ANY_OPCODE",
    "COMMAND",
    "DECISION",
    "MAX_BLOCKS",
    "MAX_RANGES",
    "MAX_RULES",
    "MILLION",
    "RANGE",
    "Config",
    "Data",
    "Device",
    "Fault",
    "Flag",
    "Kind",
    "Opcode",
    "Rule",
    "Status",
    "Timing",
    "commands",
]
