# SPDX-License-Identifier: GPL-2.0-or-later
"""The run directory: what a measurement leaves behind, complete without nvlab.

::

    runs/<id>/                       id = UTC time, lab and three random letters: 20261121T064512Z-hybrid-nvme-k3q
      run.json                       what was measured, on what (below)
      scenario.toml                  the scenario's text, as it was given
      workloads/<NN>-<label>/        one per (workload, target), numbered in the order of running
        workload.json                what was asked and how it ended (below)
        job.fio  fio.json  fio.err   fio's job file, its JSON+ and its messages
        log/SECTION_lat.N.log        fio's log of every I/O: ms, latency in ns, direction (0 read, 1 write, 2 trim), bytes, 0
        samples.jsonl                one line per watched thing and tick: {"t": ns, "w": index of watch, "v": {file: text}}
        proc.json                    /proc/diskstats, interrupts, stat, vmstat, tainted: text before and after
        events.jsonl                 one line per event: {"t": ns, "kind": "start" | "end" | "kmsg" | "progress" | ..., ...}
        trace/LAYER.raw              a virtual device's own trace, if it keeps one, as the kernel wrote it: kmod/core/nvc_trace.h
        trace/LAYER.npy              the commands of it in an array (:mod:`nvlab.record.tracefile`), made by the controller
        latency.npy histogram.npy block.npy counters.npy results.json states.json
                                     the same in arrays (:mod:`nvlab.record.format`), made by the controller
      report.html  figures/          made by ``nvlab report``

All times are CLOCK_MONOTONIC of the node, in ns. fio's log has the same clock, in whole milliseconds. ``workload.json`` and
``run.json`` hold ``clock``: monotonic, boottime and realtime read together, which ties them to the calendar.

``workload.json``: ``name``; ``load`` and ``variant`` (workloads of one ``load`` are compared, variant against variant);
``baseline`` (the variant that ratios refer to; the first one where none says so); ``round``; ``target`` {kind, path}; ``seed``;
``engine``; ``trace``; ``interval``; ``sections`` [{name, keys}]; ``watches`` [{layer, kind, name}];
``traces`` [{layer, records, overruns (not recorded since the device was made), stalls, error}]; ``planned_seconds``;
``clock``; ``started``, ``ended``; ``status`` ("ok", "failed", "stopped", "deadline"); ``code`` (fio's); ``message``.

``run.json``: ``id``, ``lab``, ``title``, ``created``, ``scenario`` {source, sha256}, ``plan``, ``warnings``, ``provenance``
{controller, node} (:mod:`nvlab.host.provenance`), ``accelerator`` {accelerator: "kvm" | "tcg", why, kernel, cpus, memory, qemu}
where the lab ran in a virtual machine, and whatever else the caller knows.

The recorder (node side, stdlib only) never interprets; what interprets reads this directory and never touches the system.
"""

RUN, SCENARIO, WORKLOADS = "run.json", "scenario.toml", "workloads"
WORKLOAD, JOB, FIO_ERRORS = "workload.json", "job.fio", "fio.err"
SAMPLES, EVENTS, PROC = "samples.jsonl", "events.jsonl", "proc.json"
FORMAT_VERSION = 1
