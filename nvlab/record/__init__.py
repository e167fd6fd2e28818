# SPDX-License-Identifier: GPL-2.0-or-later
"""The run directory: what a measurement leaves behind, complete without nvlab.

::

    runs/<id>/                       id = UTC time, lab and three random letters: 20261121T064512Z-hybrid-nvme-k3q
      run.json                       what was measured, on what (below)
      scenario.toml                  the scenario's text, as it was given
      inputs/                        copies of the files that the scenario or the command names: profiles, snapshots, recorded I/O
      workloads/<NN>-<label>/        one per (workload, target, repeat), numbered in the order of running; with preconditioning, a
                                     warm-up or rounds until steady, <NN>-<stage>/ below it, each with what follows here
        workload.json                what was asked and how it ended (below)
        job.fio  fio.json  fio.err   fio's job file, its JSON+ and its messages
        log/SECTION_lat.N.log        fio's log of every I/O: ms, latency in ns, direction (0 read, 1 write, 2 trim), bytes, 0
        ledger-job.json ledger.json  of a ledger's load: what it was told, and its last writes (:mod:`nvlab.workload.ledger`)
        keys-job.json                of a load of keys: what it was told (:mod:`nvlab.workload.keyrun`)
        samples.jsonl                one line per watched thing and tick: {"t": ns, "w": index of watch, "v": {file: text}}
        layers.json                  of a load with ``layers``: what was counted at each block device (below)
        stats.json                   what virtual devices counted: text before and after (:mod:`nvlab.record.accounts`)
        proc.json                    /proc/diskstats, interrupts, stat, vmstat, tainted: text before and after
        events.jsonl                 one line per event: {"t": ns, "kind": "start" | "end" | "kmsg" | "progress" | ..., ...}
        trace/LAYER.raw              a virtual device's own trace, if it keeps one, as the kernel wrote it: kmod/core/nvc_trace.h
        trace/LAYER.npy              the commands of it in an array (:mod:`nvlab.record.tracefile`), made by the controller
        latency.npy histogram.npy block.npy counters.npy layers.npy results.json states.json
                                     the same in arrays (:mod:`nvlab.record.format`), made by the controller
      report.html  figures/          made by ``nvlab report``

All times are CLOCK_MONOTONIC of the node, in ns. fio's log has the same clock, in whole milliseconds. ``workload.json`` and
``run.json`` hold ``clock``: monotonic, boottime and realtime read together, which ties them to the calendar.

``workload.json``: ``name``; ``load`` and ``variant`` (workloads of one ``load`` are compared, variant against variant);
``baseline`` (the variant that ratios refer to; the first one where none says so); ``repeat``; ``phase`` ("precondition",
"warmup", "measure"); ``counted`` (whether its figures are a result); of a round until steady ``round`` and ``steady``
(:class:`nvlab.workload.steady.Verdict`); ``changed`` {key, value}: which value of a comparison the lab had; ``course``
(:mod:`nvlab.workload.course`); ``target`` {kind, path}; ``seed``; ``engine``; ``trace``; ``interval``;
``sections`` [{name, keys}], with ``kv`` for a load of keys; ``watches`` [{layer, kind, name}];
``traces`` [{layer, records, overruns (not recorded since the device was made), stalls, error}];
``events`` [{owner, label, due, begun, ended, result ("done", "failed", "not reached"), found (the state it left, in words),
message, kernel}]; ``planned_seconds``;
``layers`` (whether latency was counted at the block devices) and ``stack``
{target: the name of the load's, below: {name: names that it is directly on}, exported: {name: of the export that it is in}};
``verdict`` of a ledger (:class:`nvlab.workload.ledger.Verdict`); ``recovery`` {boot_seconds, up_seconds, kernel (what MD said)}
where the power of the machine was cut;
``clock``; ``started``, ``ended``; ``status`` ("ok", "failed", "stopped", "deadline", "cut": the machine's power was, and nvlab
ended before there was a verdict); ``code`` (fio's); ``message``.

``layers.json``: ``way`` ("bpf": counted in the kernel; "perf": out of its records); ``latencies`` [watch, kind, op, bucket,
count] (:mod:`nvlab.record.blockprobe`; bucket as in fio's histograms); ``flags`` [{watch, and how many bios and requests had
FLUSH or FUA}]; ``lost`` (not counted for want of room; of "perf" in records, of which an I/O has two), ``missed`` (not counted as
the CPU was counting another one; of "perf" as it could not be told apart, or no end was seen); ``durability``
(:mod:`nvlab.record.durability`); ``left_out`` (why the commands of an export's target were not counted).

``run.json``: ``id``, ``lab``, ``title``, ``created``, ``scenario`` {source, sha256}, ``plan``, ``warnings``, ``provenance``
{controller, node} (:mod:`nvlab.host.provenance`; each may have ``tuned`` {what: {value, was}}, by ``nvlab doctor --tune``),
``accelerator`` {accelerator: "kvm", "tcg", another hypervisor or "none", why,
kernel, cpus, memory, qemu of a guest of nvlab's own, place ("local", "ssh:HOST") where it was none} where it was live,
``files`` {name: its copy below the run}, ``plans`` {key: {value: plan}} of a comparison,
``simulated`` {what, and the options of ``nvlab simulate``} where no kernel ran, and whatever else the caller knows.

The recorder (node side, stdlib only) never interprets; what interprets reads this directory and never touches the system.
"""

RUN, SCENARIO, WORKLOADS, INPUTS = "run.json", "scenario.toml", "workloads", "inputs"
WORKLOAD, JOB, FIO_ERRORS = "workload.json", "job.fio", "fio.err"
SAMPLES, EVENTS, PROC, LAYERS, STATS = "samples.jsonl", "events.jsonl", "proc.json", "layers.json", "stats.json"
FORMAT_VERSION = 1
