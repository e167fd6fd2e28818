# SPDX-License-Identifier: GPL-2.0-or-later
"""What was recorded, read and shown; numpy arrays for notebooks. Imports no node, layer or engine.

::

    from nvlab.analysis import comparisons, load_run, terminal_table, write_report

    run = load_run(Path("runs/20261121T064512Z-hybrid-nvme-k3q"))
    print(terminal_table(run))
    run.workloads[0].latency["latency"]             # every I/O, ns, memory-mapped (nvlab.record.format)
    comparisons(run)[0].rows[0].percentile(99.9)    # ns

matplotlib and jinja2 are imported only when something is drawn or written.
"""

from nvlab.analysis.compare import comparisons
from nvlab.analysis.hist import Histogram
from nvlab.analysis.report import write_report
from nvlab.analysis.runs import Run, load_run
from nvlab.analysis.table import terminal_table

__all__ = ["Histogram", "Run", "comparisons", "load_run", "terminal_table", "write_report"]
