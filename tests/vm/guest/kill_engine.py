# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs as root inside a guest: kills the engine that makes a lab, a while after the lab's journal has appeared.

Arguments: the lab, seconds, and a file for what became of the engine: how long it lived from then on, and whether it was killed.
It goes on in the background, and the file appears when it is written.
"""

import json
import os
import select
import signal
import sys
import time
from pathlib import Path

PATIENCE = 120.0  # seconds for the journal to appear
LOOK = 0.005


def agents() -> list[int]:
    """Processes that the guest's relay has forked to work for a controller, but for the one that started us."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            words = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == 1 and b"nodes/guest.py" in words and int(path.name) != os.getppid():
            found.append(int(path.name))
    return found


def detach() -> None:
    """Go on in a session of our own, begun before who started us sees us end."""
    begun, begin = os.pipe()
    if os.fork():
        os.close(begin)
        os.read(begun, 1)
        os._exit(0)
    os.setsid()
    os.close(begin)
    for stream in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)


def main() -> None:
    lab, delay, out = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    detach()
    journal = Path("/var/lib/nvlab/labs", lab, "journal.jsonl")
    patience = time.monotonic() + PATIENCE
    while not journal.exists():
        if time.monotonic() > patience:
            sys.exit(f"{journal} did not appear")
        time.sleep(LOOK)
    begun = time.monotonic()
    (engine,) = agents()
    alive = os.pidfd_open(engine)
    ends = select.poll()
    ends.register(alive, select.POLLIN)
    killed = not ends.poll(delay * 1000)
    if killed:
        signal.pidfd_send_signal(alive, signal.SIGKILL)
    out.with_suffix(".new").write_text(json.dumps({"lived": round(time.monotonic() - begun, 2), "killed": killed}))
    out.with_suffix(".new").rename(out)


main()
