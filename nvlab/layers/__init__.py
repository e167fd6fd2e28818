# SPDX-License-Identifier: GPL-2.0-or-later
"""One file per layer: its spec, its checks, its steps. Adding a layer is adding a file and a line here."""

from __future__ import annotations

from nvlab.layers import cache, connect, device, disk, export, filesystem, raid, wire, workload
from nvlab.layers.base import LayerKind

KINDS: dict[str, LayerKind] = {
    module.KIND.table: module.KIND for module in (device, disk, raid, cache, filesystem, wire, export, connect, workload)
}
