# SPDX-License-Identifier: GPL-2.0-or-later
"""From a TOML file to typed objects, with everything that is wrong said at once."""

from __future__ import annotations

from nvlab.scenario.load import Scenario, load, loads
from nvlab.scenario.schema import json_schema

__all__ = ["Scenario", "json_schema", "load", "loads"]
