# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of a guest: reused, restarted, stopped; and what is lost is reported, never waited for in vain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nvlab.errors import Conflict, EnvironmentNotReady, GuestLost
from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.state import find_processes
from nvlab.nodes.vm import Guest, ensure
from nvlab.units import GIB, MIB

ROOT = Path(__file__).resolve().parents[2]

UNPRIVILEGED = """
import os
from nvlab.nodes.vm import GuestSpec, ensure
assert os.geteuid() == 65534
guest = ensure(GuestSpec(kernel="6.1", cpus=2, memory=2 << 30, reserved=((5 << 30, 64 << 20),)))
try:
    script = "id -u; modprobe null_blk; ls /sys/block; echo x > /etc/written; cat /etc/written"
    print(guest.connect().run(["sh", "-c", script])["out"])
finally:
    guest.stop()
"""
WAITED = 1200  # seconds that whatever is lost would take
SMALL = GuestSpec(kernel="6.1", cpus=2, memory=2 * GIB)


def boot_id(guest: Guest) -> str:
    with guest.connect() as session:
        return session.node["boot_id"]


def test_a_running_guest_that_has_enough_is_reused_and_one_that_has_not_is_restarted(boot):
    guest = boot(SMALL, "life")
    first = boot_id(guest)
    assert boot_id(ensure(replace(SMALL, cpus=1), "life")) == first
    guest.claim("lab")
    with pytest.raises(Conflict, match="lab lives in it"):
        ensure(replace(SMALL, cpus=3), "life")
    assert boot_id(guest) == first
    guest.release("lab")
    assert boot_id(ensure(replace(SMALL, cpus=3), "life", claim="other")) != first
    assert guest.labs() == ["other"]


def test_nothing_is_left_of_a_stopped_guest(boot):
    guest = boot(SMALL, "life")
    mark = guest.record["mark"]
    assert list(find_processes(mark))
    guest.stop()
    assert not list(find_processes(mark)) and not guest.running() and guest.labs() == []
    with pytest.raises(EnvironmentNotReady):
        guest.connect()
    guest.stop()  # absent is success


def lost(guest: Guest, call) -> GuestLost:
    """What it raises, which is noticed long before anything would have ended by itself."""
    started = time.monotonic()
    with pytest.raises(GuestLost) as caught:
        call()
    assert time.monotonic() - started < WAITED / 2
    assert caught.value.exit_code == 255 and caught.value.console
    assert str(guest.console) in caught.value.hint
    return caught.value


def test_a_panic_is_reported_with_the_kernels_last_words(boot):
    guest = boot(SMALL, "life")
    with guest.connect() as session:
        session.silence = WAITED
        error = lost(guest, lambda: session.run(["sh", "-c", "echo c > /proc/sysrq-trigger"], timeout=WAITED))
    assert "panicked" in error.message
    assert any("Kernel panic" in line for line in guest.console_tail(200))
    assert boot_id(boot(SMALL, "life"))


def test_a_guest_that_vanishes_is_reported_at_once(boot):
    guest = boot(SMALL, "life")
    with guest.connect() as session:
        session.silence = WAITED
        timer = threading.Timer(0.5, os.kill, (guest.record["pid"], signal.SIGKILL))
        timer.start()
        error = lost(guest, lambda: session.run(["sleep", str(WAITED)], timeout=WAITED))
    assert "QEMU ended" in error.message


def test_a_guest_that_hangs_is_reported_and_replaced(boot):
    guest = boot(SMALL, "life")
    pid = guest.record["pid"]
    session = guest.connect()
    session.silence = 3.0
    timer = threading.Timer(0.5, os.kill, (pid, signal.SIGSTOP))
    timer.start()
    error = lost(guest, lambda: session.run(["sleep", str(WAITED)], timeout=WAITED))
    session.close()
    assert "no sign of life" in error.message
    lost(guest, lambda: guest.connect(timeout=2))
    guest.stop()
    assert not guest.running()


def test_a_boot_that_panics_is_reported(boot):
    guest = Guest("bad")
    error = lost(guest, lambda: ensure(replace(SMALL, append="rdinit=/no/such/init"), "bad", timeout=WAITED))
    assert "panicked" in error.message and not guest.running()


def test_a_boot_that_hangs_ends_at_its_deadline(boot):
    guest = Guest("bad")
    error = lost(guest, lambda: ensure(replace(SMALL, append="rdinit=/bin/cat"), "bad", timeout=12))
    assert "did not boot in time" in error.message and not guest.running()


def test_a_kernel_that_is_not_there_is_named():
    with pytest.raises(EnvironmentNotReady, match=r"no kernel '5\.99'.*installed: "):
        ensure(GuestSpec(kernel="5.99"), "bad")


def test_interrupt_remapping_is_on_when_asked_for(boot):
    guest = boot(replace(SMALL, intremap=True, reserved=((5 * GIB, 64 * MIB),)), "intremap")
    with guest.connect() as session:
        assert "Enabled IRQ remapping" in session.run(["dmesg"])["out"]


def test_a_user_without_rights_can_do_all_this(boot):
    """As an unprivileged user, with the system's Python, from this checkout."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    boot(SMALL, "life").stop()
    with tempfile.TemporaryDirectory() as home:  # pytest keeps its own directories from other users
        os.chown(home, 65534, 65534)
        packages = [p for p in sys.path if p.endswith("site-packages")]
        environment = {"HOME": home, "PATH": "/usr/bin:/bin:/usr/sbin", "PYTHONPATH": ":".join([str(ROOT), *packages])}
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-B", "-c", UNPRIVILEGED],
            capture_output=True, text=True, timeout=1800, cwd="/", env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["0", "nullb0", "x"]
