# SPDX-License-Identifier: GPL-2.0-or-later
"""The arrays of a run directory: names and dtypes, little-endian, memory-mappable with ``numpy.load(path, mmap_mode="r")``.

``op`` is 0 read, 1 write, 2 trim, everywhere; of keys a Retrieve is a read, a Store a write, and there are 3 delete, 4 exist,
5 list. ``section`` indexes ``sections`` of ``workload.json``, ``watch`` its ``watches``.
Times ``t`` are CLOCK_MONOTONIC of the node, ns.

``results.json`` holds what fio says of each (section, op): ``section``, ``op``, ``ios``, ``bytes``, ``runtime_ns``, ``iops``,
``bytes_per_s``, and for ``total`` (lat) and ``completion`` (clat) latency ``min``, ``max``, ``mean``, ``stddev`` in ns;
``errors`` counts failed I/Os; ``disk_util`` is kept as fio gives it.

``states.json`` holds the changes of what is text: [{"t", "watch", "file", "text"}], and ``counters``: the names that
``counters.npy`` counts.
"""

from __future__ import annotations

import numpy as np

OPS = ("read", "write", "trim", "delete", "exist", "list")

LATENCY, HISTOGRAM, BLOCK, COUNTERS = "latency.npy", "histogram.npy", "block.npy", "counters.npy"
LAYER_LATENCY = "layers.npy"
RESULTS, STATES = "results.json", "states.json"

#: every I/O in the order of completion: when it was done (fio logs whole ms), how long it took from submission
LATENCY_DTYPE = np.dtype(
    [("t", "<i8"), ("latency", "<u8"), ("size", "<u4"), ("job", "<u2"), ("section", "u1"), ("op", "u1")]
)

#: fio's histogram: ``count`` I/Os in ``bucket`` (:mod:`nvlab.analysis.hist`); ``kind`` 0 total latency, 1 completion latency
HISTOGRAM_DTYPE = np.dtype([("section", "u1"), ("op", "u1"), ("kind", "u1"), ("bucket", "<u2"), ("count", "<u8")])
KINDS = ("total", "completion")

#: latencies at the block devices: ``count`` bios or requests (``kind``) in ``bucket``; ``kind`` and ``op`` index
#: ``KINDS`` and ``OPS`` of :mod:`nvlab.record.blockprobe`
LAYER_LATENCY_DTYPE = np.dtype([("watch", "<u2"), ("kind", "u1"), ("op", "u1"), ("bucket", "<u2"), ("count", "<u8")])

#: /sys/block/*/stat (Documentation/block/stat.rst): running totals; sectors of 512 B, ticks in ms
BLOCK_FIELDS = (
    *("reads", "read_merges", "read_sectors", "read_ticks"),
    *("writes", "write_merges", "write_sectors", "write_ticks"),
    *("in_flight", "io_ticks", "queue_ticks"),
    *("discards", "discard_merges", "discard_sectors", "discard_ticks", "flushes", "flush_ticks"),
)
BLOCK_DTYPE = np.dtype([("t", "<i8"), ("watch", "<u2"), *((name, "<u8") for name in BLOCK_FIELDS)])

#: numbers of MD and device mapper, one row per value: ``counter`` indexes ``counters`` of ``states.json``
COUNTERS_DTYPE = np.dtype([("t", "<i8"), ("watch", "<u2"), ("counter", "<u2"), ("value", "<i8")])
