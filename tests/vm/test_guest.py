# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest is what it was asked to be, cannot touch the host, serves several controllers and outlives them."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nvlab.errors import Conflict
from nvlab.nodes.channel import AgentDied
from nvlab.nodes.session import Session

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, **options) -> subprocess.CompletedProcess[str]:
    """Another invocation of nvlab."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=ROOT, check=False, **options
    )


# -- what it is ------------------------------------------------------------------------------------------------


def test_it_is_what_was_asked_for(guest, spec, kernel):
    facts = guest.sh(
        "uname -r; nproc; awk '/MemTotal/ {print $2}' /proc/meminfo;"
        "cat /sys/devices/system/clocksource/clocksource0/current_clocksource; grep -i reserved /proc/iomem"
    )
    release, cpus, memory, clock, *reserved = facts.splitlines()
    assert release.startswith(f"{kernel}.")
    assert int(cpus) == spec.cpus
    assert 0.93 * spec.memory <= int(memory) * 1024
    assert clock == "tsc"
    start, size = spec.reserved[0]
    assert any(line.startswith(f"{start:x}-{start + size - 1:x} : ") for line in reserved)


@pytest.mark.on("6.1")
def test_its_record_says_how_it_ran(guest):
    record = guest.guest.record
    assert record["accel"] in ("kvm", "tcg")
    assert record["accel"] == "kvm" or record["why"], "TCG needs a reason"
    assert record["qemu"][0].isdigit()
    assert any(word.startswith("memmap=") or "memmap=" in word for word in record["argv"])


def test_loopback_is_up_and_udev_listens(guest):
    assert "127.0.0.1" in guest.sh("ip -br address show lo up")
    guest.sh("udevadm control --ping --timeout=20")
    links = guest.sh("modprobe loop; udevadm settle; udevadm info -q property -n /dev/loop0; rmmod loop")
    assert "DEVNAME=/dev/loop0" in links


def test_it_sees_no_disk_of_the_host(guest):
    assert guest.sh("ls /sys/block") == ""


def test_it_cannot_change_the_host(guest, tmp_path):
    victim = tmp_path / "data"
    victim.write_text("precious")
    guest.sh(f"echo spoilt > {victim}; rm -rf {tmp_path}/data; touch {ROOT}/spoilt /etc/spoilt")
    assert victim.read_text() == "precious"
    assert not (ROOT / "spoilt").exists() and not Path("/etc/spoilt").exists()


@pytest.mark.on("6.1")
def test_it_sees_what_changes_on_the_host(guest, tmp_path):
    """A module that was missing is built, then built again: the guest must load the new one."""
    built = tmp_path / "nvlab.ko"
    assert guest.sh(f"cat {built} || echo missing", check=False).endswith("missing\n")
    for text in ("first", "second, and longer"):
        fresh = tmp_path / "new"
        fresh.write_text(text)
        fresh.replace(built)
        assert guest.sh(f"cat {built}") == text


@pytest.mark.splat("made by this test", reason="it is")
def test_what_the_kernel_complains_of_is_seen(guest):
    guest.sh("echo 'WARNING: made by this test' > /dev/kmsg")
    assert any("made by this test" in line for line in guest.splats([]))
    assert guest.splats(["made by this test"]) == []


# -- several controllers, one after the other and side by side ----------------------------------------------------


@pytest.mark.on("6.1")
def test_it_outlives_the_controller_and_is_found_again(guest):
    code = f"from nvlab.nodes.vm import Guest; print(Guest({guest.guest.name!r}).connect().node['boot_id'])"
    first, second = python(code), python(code)
    assert first.stdout == second.stdout != "", first.stderr + second.stderr


@pytest.mark.on("6.1")
def test_four_controllers_talk_to_it_at_once_and_a_fifth_is_told_so(guest):
    sessions = [guest.guest.connect() for _ in range(4)]
    with pytest.raises(Conflict, match="4 invocations"):
        guest.guest.connect()
    results: dict[int, str] = {}

    def work(n: int, session: Session) -> None:
        results[n] = session.run(["sh", "-c", f"sleep 0.5; echo {n}"])["out"]

    threads = [threading.Thread(target=work, args=(n, s)) for n, s in enumerate(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for session in sessions:
        session.close()
    assert results == {n: f"{n}\n" for n in range(4)}


@pytest.mark.on("6.1")
def test_a_controller_that_is_killed_stops_what_it_had_started(guest):
    """It hangs up in the middle of a stream; the next one on the same port sees nothing of that."""
    code = (
        f"from nvlab.nodes.vm import Guest; s = Guest({guest.guest.name!r}).connect();"
        "s.call('exec', {'argv': ['sh', '-c', 'echo go; exec yes nvlab-yes'], 'stream': True}, lambda e: print('on', flush=True))"
    )
    controller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert controller.stdout.readline() == b"on\n"
    controller.kill()
    controller.wait()
    controller.stdout.close()
    for _ in range(3):
        assert guest.run("echo", "clean").stdout == "clean\n"
    guest.sh("while pgrep -f '^yes nvlab-yes' >/dev/null; do sleep 0.1; done")


@pytest.mark.on("6.1")
def test_an_engine_that_is_killed_is_reported_and_the_guest_lives(guest):
    with guest.guest.connect() as session, pytest.raises(AgentDied, match="signal 9"):
        session.run(["kill", "-9", str(session.node["pid"])])
    assert guest.run("echo", "alive").stdout == "alive\n"


@pytest.mark.on("6.1")
def test_run_directories_of_ten_megabytes_come_over_quickly(guest, tmp_path):
    """Ten times as much as one megabyte in about ten times its time: what grows with the square would take a hundred."""
    guest.sh(
        "mkdir -p /run/r/logs /run/s; head -c 10000000 /dev/urandom > /run/r/logs/a; sha256sum /run/r/logs/a > /run/r/sum;"
        " head -c 1000000 /run/r/logs/a > /run/s/a"
    )
    took = {"/run/r": [], "/run/s": []}
    with guest.guest.connect() as session:
        for directory in [*took] * 3:
            shutil.rmtree(tmp_path / "r", ignore_errors=True)
            started = time.monotonic()
            size = session.fetch(directory, tmp_path / "r")
            took[directory].append(time.monotonic() - started)
        size = session.fetch("/run/r", tmp_path / "r")
    guest.sh("rm -r /run/r /run/s")
    digest = (tmp_path / "r" / "sum").read_text().split()[0]
    done = subprocess.run(["sha256sum", tmp_path / "r" / "logs" / "a"], capture_output=True, text=True, check=True)
    assert digest in done.stdout
    assert size > 10_000_000 and min(took["/run/r"]) < 40 * min(took["/run/s"])


# -- the shell ---------------------------------------------------------------------------------------------------


def shell(name: str, argv: list[str] | None) -> list[str]:
    return [
        sys.executable,
        "-c",
        f"import sys; from nvlab.nodes.vm import Guest; sys.exit(Guest({name!r}).shell({argv!r}))",
    ]


@pytest.mark.on("6.1")
def test_a_command_in_the_shell_has_our_pipes_and_exit_code(guest):
    argv = shell(guest.guest.name, ["sh", "-c", "tr a-z A-Z; echo oops >&2; exit 7"])
    done = subprocess.run(argv, input="hello\n", capture_output=True, text=True, timeout=300, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "HELLO\n", "oops\n")


@pytest.mark.on("6.1")
def test_an_interactive_shell_is_a_terminal(guest):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, shell(guest.guest.name, None))
    seen = bytearray()

    def expect(text: bytes) -> None:
        deadline = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < deadline, seen.decode(errors="replace")
            if select.select([terminal], [], [], 1)[0]:
                seen.extend(os.read(terminal, 4096))
        del seen[: seen.index(text) + len(text)]

    expect(b"# ")
    os.write(terminal, b"tty; echo $((6 * 7))\n")
    expect(b"/dev/pts/")
    expect(b"42")
    # what is interrupted says itself that it runs: until then a shell may not have handed it the terminal, and dies of the key
    os.write(terminal, b"sh -c 'echo go; exec sleep 100'\n")
    expect(b"go\r\n")
    os.write(terminal, b"\x03")
    expect(b"# ")
    os.write(terminal, b"exit 9\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    os.close(terminal)
