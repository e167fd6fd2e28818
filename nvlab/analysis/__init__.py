# SPDX-License-Identifier: GPL-2.0-or-later
"""What was recorded, read and shown; numpy arrays for notebooks. Imports no node, layer or engine.

::

    from nvlab.analysis import comparisons, load_run, terminal_table, write_report

    run = load_run(Path("runs/20261121T064512Z-hybrid-nvme-k3q"))
    print(terminal_table(run))
    run.workloads[0].latency["latency"]             # every I/O, ns, memory-mapped (nvlab.record.format)
    comparisons(run)[0].rows[0].percentile(99.9)    # ns

    within(run)[0].claims                           # what may be claimed; between(one, other): of two runs
    latency_cdf(run, comparisons(run)[0]).drawn     # a figure of matplotlib's

matplotlib and jinja2 are imported only when something is drawn or written.
"""

from nvlab.analysis.claims import Claim, Contrast, between, within
from nvlab.analysis.compare import Comparison, Measurement, comparisons
from nvlab.analysis.devices import amplification, device_counts
from nvlab.analysis.drill import Felt, felt
from nvlab.analysis.flags import notes, steadiness
from nvlab.analysis.hist import Histogram
from nvlab.analysis.interval import Interval
from nvlab.analysis.latencies import LayerLatency, layer_latencies
from nvlab.analysis.layerplots import layer_percentiles, waterfall
from nvlab.analysis.layers import LayerTraffic, layer_traffic
from nvlab.analysis.plots import Picture, latency_cdf, latency_percentiles, over_time
from nvlab.analysis.plots import layer_traffic as traffic_by_layer
from nvlab.analysis.report import write_report
from nvlab.analysis.runs import Run, Workload, load_run
from nvlab.analysis.series import Series, Traffic, block_rates, throughput, traffic
from nvlab.analysis.style import use_house_style
from nvlab.analysis.table import terminal_table

__all__ = [
    "Claim",
    "Comparison",
    "Contrast",
    "Felt",
    "Histogram",
    "Interval",
    "LayerLatency",
    "LayerTraffic",
    "Measurement",
    "Picture",
    "Run",
    "Series",
    "Traffic",
    "Workload",
    "amplification",
    "between",
    "block_rates",
    "comparisons",
    "device_counts",
    "felt",
    "latency_cdf",
    "latency_percentiles",
    "layer_latencies",
    "layer_percentiles",
    "layer_traffic",
    "load_run",
    "notes",
    "over_time",
    "steadiness",
    "terminal_table",
    "throughput",
    "traffic",
    "traffic_by_layer",
    "use_house_style",
    "waterfall",
    "within",
    "write_report",
]
