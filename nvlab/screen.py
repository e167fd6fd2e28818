# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user sees while something happens: one line an object, a bar for what lasts. Everything goes to stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

_BAR = 20


class Screen:
    """Turns events into lines. On a terminal the running step shows below them and is overwritten."""

    def __init__(self, out: TextIO | None = None, *, quiet: bool = False) -> None:
        self.out = out or sys.stderr
        self.quiet = quiet
        self.live = self.out.isatty() and not quiet
        self.colour = self.live and not os.environ.get("NO_COLOR")  # no-color.org: any value but an empty one
        self.started = time.monotonic()

    def __call__(self, event: Mapping[str, Any]) -> None:
        draw = getattr(self, f"_{event.get('kind', '')}".replace("-", "_"), None)
        if draw and not self.quiet:
            draw(event)

    def line(self, text: str) -> None:
        """A line that stays."""
        self._wipe()
        print(text, file=self.out, flush=True)

    def _status(self, text: str) -> None:
        if self.live:
            self._wipe()
            print(text[:100], end="\r", file=self.out, flush=True)

    def _wipe(self) -> None:
        if self.live:
            print("\x1b[2K", end="", file=self.out)

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.colour else text

    # -- events --------------------------------------------------------------------------------------------

    def _note(self, event: Mapping[str, Any]) -> None:
        self.line(self._dim(f"        {event['text']}"))

    def _guest(self, event: Mapping[str, Any]) -> None:
        what = f"{event['kernel']}, {event['cpus']} CPUs, {event['memory'] >> 30} GiB, {event['accelerator'].upper()}"
        took = f"  {event['boot_seconds']:.1f} s" if event["fresh"] and event["boot_seconds"] else "  (running already)"
        self.line(f"{'vm':<11}{event['name']:<12}{what}{took}")

    def _host(self, event: Mapping[str, Any]) -> None:
        how = "bare metal" if event["accelerator"] == "none" else f"virtual ({event['accelerator'].upper()})"
        self.line(f"{'host':<11}{event['name']:<12}{event['kernel']}, {event['cpus']} CPUs, {event['memory'] >> 30} GiB, {how}")

    def _layer(self, event: Mapping[str, Any]) -> None:
        table, _, name = event["owner"].partition(".")
        warning = f"   ! {event['warning']}" if event.get("warning") else ""
        took = self._dim(f"{event['seconds']:.1f} s")
        self.line(f"{table:<11}{name:<12}{event['summary']}{warning}  {took}")

    def _step(self, event: Mapping[str, Any]) -> None:
        self._status(f"{event['index'] + 1}/{event['of']}  {event['id']} …")

    def _progress(self, event: Mapping[str, Any]) -> None:
        fraction = float(event.get("fraction") or 0)
        bar = ("━" * round(fraction * _BAR)).ljust(_BAR, "─")
        self._status(f"{event.get('owner', event.get('workload', ''))}  {bar} {fraction:4.0%}  {event.get('rates', '')}")

    def _undo(self, event: Mapping[str, Any]) -> None:
        self.line(self._dim("undoing what was made"))

    def _undo_step(self, event: Mapping[str, Any]) -> None:
        self._status(f"removing {event['id']} …")

    def _round(self, event: Mapping[str, Any]) -> None:
        like = f"   excursion {event['excursion']:.1f} %, slope {event['slope']:.1f} %" if "slope" in event else ""
        self.line(f"{'':<11}round {event['round'] + 1:<4} {event['value']:.6g}{like}")

    def _steady(self, event: Mapping[str, Any]) -> None:
        if not event["reached"]:
            self.line(f"! {event['workload']} is not steady after {event['rounds']} rounds")

    def _event_end(self, event: Mapping[str, Any]) -> None:
        table, _, name = event["owner"].partition(".")
        what = event["found"] if event["result"] == "done" else event["result"]
        self.line(f"{table:<11}{name:<12}{event['label']}{what and f': {what}'}")

    def _verdict(self, event: Mapping[str, Any]) -> None:
        words = ", ".join(f"{event[word]} {word}" for word in ("durable", "unflushed", "torn", "lost", "damaged"))
        self.line(f"{'verdict':<11}of {event['acknowledged']} acknowledged blocks {words}")

    def _workload(self, event: Mapping[str, Any]) -> None:
        self.line(f"{'workload':<11}{event['name']}")
