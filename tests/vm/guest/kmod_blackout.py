# SPDX-License-Identifier: GPL-2.0-or-later
"""The power of all devices fails at one moment and stays away; what they hold is told, and found again by a new device."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from kmod_common import (
    CONFIGFS,
    HANG,
    check,
    disk,
    equal,
    load,
    main,
    make,
    parser,
    powered,
    size,
    unload,
    wait_for,
    write,
)
from kmod_power import SLOW, Ledger, Writer, found, judged, node_of, write_all
from kmod_ssd import REGION

BLACKOUT = CONFIGFS / "blackout"
CAPACITY = REGION - (1 << 20)  # bytes


def settings(args: argparse.Namespace, place: int) -> dict[str, object]:
    """Of an SSD with a volatile cache, in the ``place``-th region."""
    medium = {f"medium/{name}": value for name, value in SLOW.items()}
    return {"kind": "ssd", "memmap_start": size(args.start) + place * REGION, "memmap_size": REGION, "vwc": 1, **medium}


def black_out(writers: list[Writer]) -> None:
    """Under load; from then on nothing is completed, and nobody is told of anything."""
    wait_for("writes", lambda: all(writer.written > 200 for writer in writers))
    equal("blackout", write(BLACKOUT, 1), 0)
    before = [writer.written for writer in writers]
    time.sleep(1)  # a span in which something could happen, and must not
    check("silence", all(writer.is_alive() for writer in writers), before=before)
    equal("nothing is acknowledged any more", [writer.written - was <= 1 for writer, was in zip(writers, before, strict=True)],
          [True] * len(writers))  # what was completed before may be told a moment later


def judge(name: str, ledger: Ledger, versions: list[int]) -> None:
    """What is there, held against what was said."""
    equal(f"{name}: torn, lost though durable, never written", judged(ledger, versions), ([], [], []))
    check(f"{name}: there was something to lose", any(ledger.durable))


def image_of(name: str) -> bytes:
    """What its core knows: all that comes before the content of blocks."""
    with node_of(name).open("rb") as state:
        content = state.seek(0, os.SEEK_END) - CAPACITY
        state.seek(0)
        return state.read(content)


def given(name: str, image: bytes, **attributes: object) -> list[int]:
    """What is found on a device that begins with an image; it is gone again."""
    device = make(name, **attributes)
    equal("held", write(device / "hold", 1), 0)
    equal("given", write_all(name, image), 0)
    equal("power", write(device / "power", 1), 0)
    versions = found(disk(device))
    device.rmdir()
    return versions


def comes_back(args: argparse.Namespace) -> None:
    """A cut brings each of them back, and they hold what they must."""
    with powered("one", **settings(args, 0)) as one, powered("two", **settings(args, 1)) as two:
        ledgers = [Ledger(), Ledger()]
        writers = [Writer(disk(device), ledger, n) for n, (device, ledger) in enumerate(zip((one, two), ledgers, strict=True))]
        black_out(writers)
        equal("a second one changes nothing", write(BLACKOUT, 1), 0)
        for device in (one, two):  # both first: a device that stays dark meets the driver's timeouts while the other is judged
            equal("the power comes back", write(device / "cut", 1), 0)
        for device, writer, ledger in zip((one, two), writers, ledgers, strict=True):
            writer.join(HANG)
            check("the writer met an error", writer.error, alive=writer.is_alive())
            judge(device.name, ledger, found(disk(device)))


def found_again(args: argparse.Namespace) -> None:
    """The device is gone with all that it knew; another one is given that, and finds the content in the memory."""
    ledger = Ledger()
    with powered("three", **settings(args, 2)) as device:
        writer = Writer(disk(device), ledger, 9)
        black_out([writer])
        image = image_of("three")
    writer.join(HANG)
    check("it was switched off", writer.error, alive=writer.is_alive())
    judge("four", ledger, given("four", image, **settings(args, 2), keep=1))
    versions = given("five", image, **settings(args, 2))
    equal("without keep its memory is cleared", {version for version in versions if version}, set())


def body(args: argparse.Namespace) -> None:
    """All of it."""
    equal("load", load(args.module), 0)
    equal("only 1", [write(BLACKOUT, text) != 0 for text in (0, "x")], [True, True])
    equal("with no device there is nothing to do", write(BLACKOUT, 1), 0)
    comes_back(args)
    found_again(args)
    equal("no node is left", list(Path("/dev").glob("nvlab-state-*")), [])
    equal("unload", unload(), 0)


if __name__ == "__main__":
    main(body, parser(__doc__))
