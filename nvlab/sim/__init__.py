# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual device in user space: the same C core as in the kernel module, on numpy arrays."""

from nvlab.sim.device import UNMAPPED, Config, Device, Timing, commands
from nvlab.sim.model import PARAMETERS, Profile, load_profile, model, profiles
from nvlab.sim.structs import (
    ALL_NAMESPACES,
    COMMAND,
    DECISION,
    LOST,
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
    "LOST",
    "MAX_BLOCKS",
    "MAX_RANGES",
    "PARAMETERS",
    "RANGE",
    "UNMAPPED",
    "Config",
    "Data",
    "Device",
    "Flag",
    "Kind",
    "Opcode",
    "Profile",
    "Status",
    "Timing",
    "commands",
    "load_profile",
    "model",
    "profiles",
]
