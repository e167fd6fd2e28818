# SPDX-License-Identifier: GPL-2.0-or-later
"""Leases: what nvlab made goes with its last user, what stood before stays, and locks outlive a killed nvlab's programs."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nvlab import lock
from nvlab.errors import Conflict, DeadlineExceeded
from nvlab.leases import Leases


@pytest.fixture
def leases(tmp_path):
    table = Leases(tmp_path / "leases.json", "boot")
    with table.locked():
        yield table


def reread(leases: Leases, boot_id: str = "boot") -> Leases:
    leases.save()
    other = Leases(leases.path, boot_id)
    other.table = other._load()
    return other


def test_an_owned_key_goes_with_its_last_user(leases):
    leases.add("module:a", "one/modules", owned=True)
    leases.add("module:a", "two/modules", owned=False)
    assert leases.last_used_by("one/modules") == []
    leases.drop("one/modules")
    assert reread(leases).last_used_by("two/modules") == ["module:a"]
    leases.drop("two/modules")
    assert leases.table == {}


def test_what_stood_before_is_never_owned(leases):
    leases.add("module:a", "one/modules", owned=False)
    assert leases.last_used_by("one/modules") == []
    leases.drop("one/modules")
    assert leases.table == {}


def test_what_went_away_meanwhile_and_is_made_again_is_owned(leases):
    leases.add("module:a", "one/modules", owned=False)
    leases.add("module:a", "two/modules", owned=True)
    leases.drop("one/modules")
    assert leases.last_used_by("two/modules") == ["module:a"]


def test_keys_come_in_the_order_they_were_made(leases):
    for name in "abc":
        leases.add(name, "lab/step", owned=True)
    assert reread(leases).last_used_by("lab/step") == ["a", "b", "c"]


def test_whoever_uses_a_key_uses_its_companions(leases):
    leases.add("module:a", "one/modules", owned=True)
    leases.add("module:asked-for", "one/modules", owned=True, companion=True)
    leases.add("other", "three/x", owned=True)
    leases.add("module:a", "two/modules", owned=False)
    leases.follow(["module:a"], "two/modules")
    leases.drop("one/modules")
    assert reread(leases).last_used_by("two/modules") == ["module:a", "module:asked-for"]
    leases.drop("two/modules")
    assert list(leases.table) == ["other"]


def test_another_boot_owns_files_only(leases):
    leases.add("module:a", "one/modules", owned=True)
    leases.add("path:/etc/x", "one/ignore", owned=True)
    assert list(reread(leases, "another boot").table) == ["path:/etc/x"]


def test_a_process_that_dies_while_saving_leaves_the_old_table(leases, monkeypatch):
    leases.add("module:a", "one/modules", owned=True)
    leases.save()
    leases.add("module:b", "one/modules", owned=True)
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        leases.save()
    monkeypatch.undo()
    other = Leases(leases.path, "boot")
    other.table = other._load()
    assert other.last_used_by("one/modules") == ["module:a"]


def test_what_a_process_left_that_was_killed_while_saving_goes_with_the_next_lock(tmp_path):
    leases = Leases(tmp_path / "leases.json", "boot")
    left = [leases.path.with_name(f"leases.json.{n}.{n}.new") for n in (7, 8)]
    other = leases.path.with_name("other.json.7.7.new")
    for path in (*left, other):
        path.write_text("{")
    with leases.locked():
        assert not any(path.exists() for path in left)
    assert other.exists()


# -- locks -----------------------------------------------------------------------------------------------------

HOLDER = """
import subprocess, sys
from nvlab.lock import locked
from pathlib import Path
with locked(Path(sys.argv[1]), "it", queue=False):
    child = subprocess.Popen(["sleep", sys.argv[2]], close_fds=False)
    print(child.pid, flush=True)
    child.wait()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock and runs a program; (process, pid of the program, path of the lock)."""
    path = tmp_path / "lab.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, path, "1000"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        yield process, child, path
        process.kill()
        if not ended(child):
            os.kill(child, signal.SIGKILL)


def test_a_living_holder_is_a_conflict(holder):
    with pytest.raises(Conflict) as caught, lock.locked(holder[2], "lab 'x'", queue=False):
        pass
    assert caught.value.hint and "lab 'x'" in caught.value.message


def test_a_queue_waits_for_a_living_holder(holder):
    threading.Timer(0.3, os.kill, (holder[1], signal.SIGTERM)).start()
    with lock.locked(holder[2], "what labs share", queue=True):
        assert holder[0].wait(30) == 0


def test_after_a_kill_its_program_is_waited_for(holder):
    process, child, path = holder
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    os.kill(child, 0)  # it goes on
    threading.Timer(0.3, os.kill, (child, signal.SIGTERM)).start()
    with lock.locked(path, "lab 'x'", queue=False):
        assert ended(child)


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits for its parent only."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_waiting_has_a_deadline(holder, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    with pytest.raises(DeadlineExceeded) as caught, lock.locked(holder[2], "what labs share", queue=True):
        pass
    assert "what labs share" in caught.value.message and "fuser" in (caught.value.hint or "")
