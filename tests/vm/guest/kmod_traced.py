# SPDX-License-Identifier: GPL-2.0-or-later
"""For programs that trace a device: the trace read in the background, and its twin. Needs nvlab's checkout."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from kmod_common import check, equal, run

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CHECKOUT))
from nvlab.record.trace import TraceReader  # noqa: E402


def trace_node(device: str) -> Path:
    """The trace of a device."""
    return Path(f"/dev/nvlab-trace-{device}")


class Reading(threading.Thread):
    """Reads the trace of a device every so often, until it is told to end."""

    def __init__(self, device: str, every: float) -> None:
        super().__init__(daemon=True)  # a program that fails ends all the same
        self.reader = TraceReader(trace_node(device))
        self._raw, self._every, self._end = bytearray(), every, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._end.wait(self._every):
            self.reader.drain(self._raw.extend)

    def sofar(self) -> bytes:
        """What was read until now."""
        return bytes(self._raw)

    def finish(self) -> bytes:
        """Everything there is."""
        self._end.set()
        self.join()
        self.reader.drain(self._raw.extend)
        return self.sofar()

    def complete(self) -> bytes:
        """Everything there is, of which nothing may have been lost; the trace is closed."""
        raw = self.finish()
        equal("nothing was lost of the trace", self.reader.overruns, 0)
        self.reader.close()
        return raw


TWIN = """
import json, sys
from pathlib import Path
from nvlab.sim.device import WITH_SSD
from nvlab.sim.state import read_state
from nvlab.sim.twin import read, replay
twin = replay(read(Path(sys.argv[1]).read_bytes()), *map(read_state, map(Path, sys.argv[2:])))
device = twin.device
said = {"commands": len(twin.commands), "differences": len(twin.differences()), "numbers": device.counters()}
del said["numbers"]["errors"]  # of the core; of stats they are all that hosts were told, also by whoever reads commands
if device.config.kind in WITH_SSD:
    said["wrong"] = device.audit()
    said["numbers"] |= device.stats()
print(json.dumps(said))
"""


def twin(python: str, raw: bytes, commands: int, live: dict[str, int], state: Path | None = None) -> dict[str, int]:
    """Check that the core in user space decides every one of more than so many commands as the live device did, which began
    with ``state``, and ends with its numbers: ``live``, the device's statistics when the trace was read to its end. Those of the
    twin, none if it fails."""
    path = Path("/tmp/nvlab-trace.raw")
    path.write_bytes(raw)
    began = [str(state)] if state else []
    done = run(python, "-c", TWIN, str(path), *began, deadline=1200, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    if not check("the twin replays", done.returncode == 0, err=done.stderr[-600:]):
        return {}
    said: dict[str, Any] = json.loads(done.stdout)
    agrees = said["commands"] > commands and not said["differences"]
    check("the twin decides the same", agrees, commands=said["commands"], differences=said["differences"])
    equal("what the twin holds is sound", said.get("wrong"), None)
    numbers: dict[str, int] = said["numbers"]
    others = {name: (live.get(name), n) for name, n in numbers.items() if live.get(name) != n}
    read = numbers["reads"] + numbers["retrieves"]
    check("the twin's counters and accounts are the device's", read and not others, others=others)
    return numbers
