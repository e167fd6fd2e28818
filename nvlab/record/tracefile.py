# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual device's recorded trace as arrays. The layouts are read from the core's C header (``kmod/core/nvc_trace.h``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nvlab.record.trace import TRACES
from nvlab.sim.structs import TRACE_COMMAND, TraceKind


def read_trace(path: Path) -> NDArray[np.void]:
    """All records of a ``.raw`` file as ``TRACE_COMMAND``, shape (n,), memory-mapped; ``kind`` says what each really is.

    ``records.view(dtype)`` shows them as another kind. A last record that is not whole is left out.
    """
    count = path.stat().st_size // TRACE_COMMAND.itemsize
    if not count:  # there is no mapping of nothing
        return np.zeros(0, TRACE_COMMAND)
    return np.memmap(path, TRACE_COMMAND, "r", shape=(count,))


def convert_traces(directory: Path) -> None:
    """Beside every ``trace/LAYER.raw`` write ``LAYER.npy``: its commands, in the order in which they were fetched."""
    for path in sorted((directory / TRACES).glob("*.raw")):
        records = read_trace(path)
        commands = records[records["kind"] == TraceKind.COMMAND]
        np.save(path.with_suffix(".npy"), commands[np.argsort(commands["fetched"], kind="stable")])
