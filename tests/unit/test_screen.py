# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user sees while something happens."""

from __future__ import annotations

import io

import pytest

from nvlab.screen import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LAYER = {"kind": "layer", "owner": "disk.pool", "summary": "4 × 64 MiB null_blk, 4 ms", "seconds": 0.21, "warning": ""}
STEP = {"kind": "step", "id": "disk.pool.1", "owner": "disk.pool", "index": 0, "of": 7}
PROGRESS = {"kind": "progress", "owner": "raid.md", "fraction": 0.5}
GUEST = {
    "kind": "guest",
    "fresh": True,
    "name": "default",
    "kernel": "6.1.0",
    "cpus": 4,
    "memory": 3 << 30,
    "accelerator": "tcg",
    "boot_seconds": 6.2,
}


def written(*events: dict, out: io.StringIO | None = None, **options: bool) -> str:
    out = out or io.StringIO()
    screen = Screen(out, **options)
    for event in events:
        screen(event)
    return out.getvalue()


def test_one_line_an_object_with_its_time():
    assert written(LAYER) == "disk       pool        4 × 64 MiB null_blk, 4 ms  0.2 s\n"


def test_a_warning_stands_on_its_line():
    assert "   ! drops FLUSH" in written({**LAYER, "warning": "drops FLUSH"})


def test_an_event_says_what_it_left_or_that_it_was_not_to_be():
    end = {"kind": "event-end", "owner": "raid.md", "label": "fail ssd.2", "result": "done", "found": "degraded by 1"}
    assert written(end).split() == ["raid", "md", "fail", "ssd.2:", "degraded", "by", "1"]
    assert "fail ssd.2: failed" in written({**end, "result": "failed", "found": ""})
    assert written({**end, "found": ""}).endswith("fail ssd.2\n")


def test_a_verdict_is_one_line():
    counts = {"acknowledged": 80, "durable": 70, "unflushed": 5, "torn": 0, "lost": 0, "damaged": 0}
    said = written({"kind": "verdict", **counts})
    assert said == "verdict    of 80 acknowledged blocks 70 durable, 5 unflushed, 0 torn, 0 lost, 0 damaged\n"


def test_the_guest_says_what_it_is_and_how_long_it_took():
    assert written(GUEST) == "vm         default     6.1.0, 4 CPUs, 3 GiB, TCG  6.2 s\n"
    assert written({**GUEST, "fresh": False}).endswith("(running already)\n")


def test_without_a_terminal_nothing_moves():
    assert written(STEP, PROGRESS) == ""


def test_on_a_terminal_the_running_step_is_overwritten():
    shown = written(STEP, PROGRESS, LAYER, out=Terminal())
    assert "1/7  disk.pool.1 …\r" in shown
    assert "raid.md  ━━━━━━━━━━──────────  50%" in shown
    assert shown.endswith("\n")


@pytest.mark.parametrize(("value", "colour"), [(None, True), ("1", False), ("", True)])
def test_no_color_is_honoured(monkeypatch, value, colour):
    """no-color.org: any value but an empty one."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    assert ("\x1b[2m" in written(LAYER, out=Terminal())) == colour


def test_quiet_says_nothing_of_progress():
    assert written(GUEST, LAYER, STEP, PROGRESS, out=Terminal(), quiet=True) == ""


def test_events_of_a_newer_node_are_passed_over():
    assert written({"kind": "something-new"}, {}) == ""


def test_a_line_longer_than_a_terminal_is_cut_while_it_moves():
    moving = written({**STEP, "id": "x" * 300}, out=Terminal())
    assert max(len(part) for part in moving.split("\r")) <= 110
