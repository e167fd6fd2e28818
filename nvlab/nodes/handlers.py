# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything a node can be asked, by name."""

from __future__ import annotations

from nvlab.nodes import basics, labs, shell, snapshot
from nvlab.nodes.agent import Handler

WARM = ("pyudev",)  # imported while the guest is idle, as it takes a second there

HANDLERS: dict[str, Handler] = {**basics.HANDLERS, **shell.HANDLERS, **labs.HANDLERS, **snapshot.HANDLERS}
