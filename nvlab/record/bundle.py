# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as one file to hand on: an archive that can be read without nvlab, and that is the same whenever it is made of a run."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from nvlab.errors import Conflict, UsageError
from nvlab.record import FORMAT_VERSION
from nvlab.record.rundir import RunDir

README, SUMS, LICENCE = "README.txt", "SHA256SUMS", "LICENSE"

_README = """\
{title}

A measurement of storage, recorded by nvlab {version} {commit} on {created}.
What ran: {where}.

To check that nothing is damaged:   sha256sum --check SHA256SUMS
To read what was found:             open report.html in a browser
To look at what it ran on:          run.json (versions, kernel, CPU, modules, parameters, the plan that built the lab)
To measure the same again:          nvlab repro .

  scenario.toml   the lab and its loads, as they were given; inputs/ holds the files that it names
  run.json        provenance, and every step that built the lab
  workloads/      one directory per load, target and repeat, in the order of running, or per stage of it:
    workload.json   what was asked and how it ended; "counted" says whether its figures are a result
    job.fio fio.json log/   fio's job file, its JSON+ result, its log of every I/O (ms, ns of latency, direction, bytes)
    samples.jsonl events.jsonl proc.json   counters of every layer over time, events, the kernel's totals before and after
    stats.json      what virtual devices counted, before and after
    *.npy           the same as arrays: numpy.load("latency.npy", mmap_mode="r"); fields name themselves
    trace/          a virtual device's own record of every command

All times are nanoseconds of CLOCK_MONOTONIC of the machine that ran the load; latencies are nanoseconds. Format {format}.
{licence}
"""


def bundle(run: RunDir, out: Path, licence: Path | None = None) -> Path:
    """Write the archive of a run to the new file ``out`` (.tar.gz), whole or not at all.

    It holds the run directory, a README, checksums, and the ``licence`` of the data if one is given. Raises Conflict when ``out``
    is there, UsageError when something cannot be read or written.
    """
    if out.exists():
        raise Conflict(f"{out} is there already", hint="--out FILE writes another one")
    facts = run.read()
    try:
        made = {README: _readme(facts, licence).encode()} | ({LICENCE: licence.read_bytes()} if licence else {})
        files = {str(path.relative_to(run.path)): path for path in _files(run.path)}
        made[SUMS] = _sums({name: path for name, path in files.items() if name not in made}, made).encode()
        new = out.with_name(f".{out.name}.new")
        with new.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            _write(packed, run.id, _time(facts), files, made)
        new.rename(out)
    except OSError as error:
        raise UsageError(f"cannot bundle {run.id}: {error}") from error
    return out


def _files(directory: Path) -> list[Path]:
    """What is to go in: plain files. A link could lead out of the run, so that there is none."""
    return sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


def _write(file: Any, top: str, time: int, files: Mapping[str, Path], made: Mapping[str, bytes]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted({*files, *made}):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.mtime, entry.mode = time, 0o644  # owner 0 without a name: who packed it is not what was measured
            if name in made:
                entry.size = len(made[name])
                archive.addfile(entry, io.BytesIO(made[name]))
            else:
                entry.size = files[name].stat().st_size
                with files[name].open("rb") as content:
                    archive.addfile(entry, content)


def _sums(files: Mapping[str, Path], made: Mapping[str, bytes]) -> str:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in made.items()}
    for name, path in files.items():
        with path.open("rb") as content:
            sums[name] = hashlib.file_digest(content, "sha256").hexdigest()
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums) if name != SUMS)


def _time(facts: Mapping[str, Any]) -> int:
    return int(datetime.fromisoformat(facts["created"]).timestamp())


def _readme(facts: Mapping[str, Any], licence: Path | None) -> str:
    nvlab = facts.get("provenance", {}).get("controller", {}).get("nvlab", {})
    guest = facts.get("accelerator", {})
    bare = guest.get("accelerator", "none") == "none"
    where = "a machine of its own" if bare else f"a virtual machine ({guest['accelerator'].upper()})"
    where += f", Linux {guest['kernel']}" if guest else ""
    return _README.format(
        title=facts.get("title") or facts["lab"],
        version=nvlab.get("version", ""),
        commit=nvlab.get("commit", ""),
        created=facts["created"],
        where=facts.get("simulated", {}).get("what", where),
        format=FORMAT_VERSION,
        licence=f"The data may be used under {LICENCE}." if licence else "No licence of the data is given.",
    )
