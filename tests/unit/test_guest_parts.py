# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is made of, without starting one: its memory, command line, kernel image, first file system, identity."""

from __future__ import annotations

import lzma
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab.errors import EnvironmentNotReady, GuestLost, UsageError
from nvlab.nodes import initramfs, kernels, qemu, vm
from nvlab.nodes.kvm import Accel
from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.state import Process, find_processes, read_json, start_time, state_dir, write_json
from nvlab.units import GIB, MIB

REGIONS = st.lists(st.tuples(st.integers(4, 40), st.integers(1, 8)), max_size=3)


@given(st.integers(1, 16), REGIONS)
def test_memory_covers_every_region_where_it_lies_and_leaves_the_rest(gib, regions):
    """q35: below 2.75 GiB all memory is low; else 2 GiB are, and the rest starts at 4 GiB."""
    spec = GuestSpec(memory=gib * GIB, reserved=tuple((start * GIB, size * GIB) for start, size in regions))
    total = qemu.total_memory(spec)
    low = total if total < 0xB0000000 else 2 * GIB
    assert total - sum(size for _, size in spec.reserved) >= spec.memory
    assert all(start + size <= 4 * GIB + total - low for start, size in spec.reserved)


@pytest.mark.parametrize("region", [(1 * GIB, MIB), (4 * GIB - MIB, MIB), (5 * GIB, 0)])
def test_a_region_that_no_guest_can_have_is_refused(region):
    with pytest.raises(UsageError, match="cannot reserve"):
        qemu.total_memory(GuestSpec(reserved=(region,)))


def test_the_command_line_says_what_was_asked_for():
    spec = GuestSpec(reserved=((5 * GIB, 513 * MIB),), append="nvme.poll_queues=2", intremap=True)
    words = qemu.kernel_arguments(spec).split()
    assert {
        "memmap=513M$5G",
        "nvme.poll_queues=2",
        "intel_iommu=on",
        "clocksource=tsc",
        "tsc=reliable",
        "no_timer_check",
        "watchdog_thresh=60",
        "panic=-1",
    } <= set(words)


def test_a_spec_survives_its_record_and_covers_only_what_it_has(tmp_path):
    spec = GuestSpec("6.1", 4, 3 * GIB, ((5 * GIB, GIB), (8 * GIB, GIB)))
    write_json(tmp_path / "r", spec.to_json())
    assert GuestSpec.from_json(read_json(tmp_path / "r")) == spec
    assert spec.covers(GuestSpec("6.1", 2, GIB, ((8 * GIB, GIB),)))
    for more in (
        GuestSpec(cpus=5),
        GuestSpec(memory=4 * GIB),
        GuestSpec(reserved=((6 * GIB, GIB),)),
        GuestSpec(intremap=True),
        GuestSpec(append="quiet"),
    ):
        assert not spec.covers(more)


# -- kernels -----------------------------------------------------------------------------------------------------


def bzimage(path: Path, payload: bytes) -> Path:
    """A boot header as the kernel's boot.rst describes it, and a payload."""
    head = bytearray(5 * 512)
    head[0x1F1] = 4
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x400)
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    release = b"6.1.0-99-test (builder@host) #1 SMP\0"
    head[0x600 : 0x600 + len(release)] = release
    path.write_bytes(bytes(head) + bytes(16) + payload + b"trailer")
    return path


def test_an_image_tells_its_release(tmp_path):
    assert kernels.release_of(bzimage(tmp_path / "vmlinuz", b"")) == "6.1.0-99-test"


@pytest.mark.parametrize("text", [b"", b"\x7fELF" + bytes(2000), b"not a kernel" * 100])
def test_what_is_not_an_image_is_refused(tmp_path, text):
    (tmp_path / "file").write_bytes(text)
    with pytest.raises(EnvironmentNotReady, match="not a bzImage"):
        kernels.release_of(tmp_path / "file")


def test_an_xz_kernel_is_unpacked_once_and_others_are_left_alone(tmp_path):
    elf = b"\x7fELF" + os.urandom(5000) + b"Xen\0"
    image = bzimage(tmp_path / "xz", lzma.compress(elf))
    unpacked = kernels.unpacked(image, tmp_path / "cache")
    assert unpacked.read_bytes() == elf and kernels.unpacked(image, tmp_path / "cache") == unpacked
    other = bzimage(tmp_path / "zstd", b"\x28\xb5\x2f\xfd" + bytes(100))
    assert kernels.unpacked(other, tmp_path / "cache") == other
    no_pvh = bzimage(tmp_path / "nopvh", lzma.compress(b"\x7fELF" + bytes(5000)))
    assert kernels.unpacked(no_pvh, tmp_path / "cache") == no_pvh


def test_a_build_tree_without_a_kernel_says_what_to_build(tmp_path):
    with pytest.raises(EnvironmentNotReady) as caught:
        kernels.find(str(tmp_path))
    assert caught.value.hint == f"build it: make -C {tmp_path.resolve()} bzImage"


def test_a_build_tree_is_found_by_its_image(tmp_path):
    image = tmp_path / "arch/x86/boot/bzImage"
    image.parent.mkdir(parents=True)
    bzimage(image, b"")
    assert kernels.find(str(tmp_path)) == kernels.Image(image, "6.1.0-99-test", tmp_path)


# -- the first file system ---------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed: apt-get install cpio")
def test_the_archive_is_one_that_cpio_reads(tmp_path):
    (tmp_path / "src").mkdir()
    file = tmp_path / "src" / "a file"
    file.write_bytes(b"content")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    (tmp_path / "base").write_bytes(b"")
    initramfs.build(tmp_path / "base", "#!/bin/sh\n", [file], tmp_path / "archive")
    (tmp_path / "out").mkdir()
    command = ["cpio", "-idm", "--no-absolute-filenames", "--no-preserve-owner"]
    subprocess.run(command, stdin=(tmp_path / "archive").open(), cwd=tmp_path / "out", check=True, capture_output=True)
    copy = tmp_path / "out" / f"upper{file}"
    assert copy.read_bytes() == b"content" and copy.stat().st_mtime == 1_700_000_000
    assert copy.parent.stat().st_mode == file.parent.stat().st_mode
    init = tmp_path / "out" / "init"
    assert init.read_text() == "#!/bin/sh\n" and os.access(init, os.X_OK)


def test_init_is_a_script_that_a_shell_accepts():
    script = initramfs.init_script("lab", ["/usr/bin/python3", "-I", "guest.py"], Path("/build/modules"))
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert 'ln -s "/build/modules" /trees/' in script and "exec $b chroot . /usr/bin/python3 -I guest.py" in script


def test_the_seed_is_what_an_agent_imports_and_is_found_anew_when_that_changes(tmp_path):
    path = [str(initramfs.PACKAGE.parent), *filter(os.path.isdir, sys.path)]
    files = initramfs.seed(path, tmp_path)
    names = {file.name for file in files}
    assert {"agent.py", "guest.py", "engine.py"} <= names
    assert not any("numpy" in file.parts or "pydantic" in file.parts for file in files)
    known = read_json(tmp_path / "seed.json")
    write_json(tmp_path / "seed.json", known | {"code": "older", "files": []})
    assert initramfs.seed(path, tmp_path) == files


# -- state -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"NVLAB_STATE": "/a", "XDG_STATE_HOME": "/b"}, "/a"),
        ({"XDG_STATE_HOME": "/b"}, "/b/nvlab"),
        ({"HOME": "/home/u"}, "/home/u/.local/state/nvlab"),
    ],
)
def test_where_the_state_is(monkeypatch, environment, expected):
    for name in ("NVLAB_STATE", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert state_dir() == Path(expected)


def test_a_process_is_known_by_more_than_its_pid():
    argv = [sys.executable, "-c", "print(flush=True); input()", "nvlab-mark-123"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()  # Popen returns a moment before /proc shows the new arguments
    started = start_time(child.pid)
    assert child.pid in find_processes("nvlab-mark-123")
    with pytest.raises(ProcessLookupError):
        Process(child.pid, started - 1)  # the same pid, another time
    process = Process(child.pid, started)
    assert process.alive() and not process.wait(0.05)
    assert process.end(5)
    process.close()
    with pytest.raises(ProcessLookupError):
        Process(child.pid, started)  # a zombie counts as gone
    assert child.wait() == -signal.SIGTERM
    child.stdin.close()
    child.stdout.close()


def test_what_does_not_heed_sigterm_is_killed():
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    process = Process(child.pid, start_time(child.pid))
    assert process.end(0.2)
    process.close()
    assert child.wait() == -signal.SIGKILL
    child.stdin.close()
    child.stdout.close()


def test_several_writers_of_one_record_do_not_meet(tmp_path):
    def write(number):
        for _ in range(50):
            write_json(tmp_path / "record", {"by": number})

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(4)))
    assert read_json(tmp_path / "record")["by"] in range(4)
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


# -- a boot that goes wrong, and one that is slow ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accel", "console", "boots"),
    [("tcg", "Kernel panic - not syncing: x", 2), ("kvm", "Kernel panic - not syncing: x", 1), ("tcg", "", 1)],
)
def test_an_emulated_kernel_that_panics_as_it_starts_is_started_once_more(monkeypatch, tmp_path, accel, console, boots):
    monkeypatch.setenv("NVLAB_STATE", str(tmp_path))
    monkeypatch.setattr(vm, "accelerator", lambda *_: Accel(accel, "no reason", "7.2"))
    guest, tried = vm.Guest("g"), []

    def boot(*_):
        tried.append(guest)
        guest.directory.mkdir(parents=True, exist_ok=True)
        guest.console.write_text(f"{console}\n")
        raise guest.lost("it did not boot in time")

    monkeypatch.setattr(guest, "_boot", boot)
    with pytest.raises(GuestLost):
        guest.boot(GuestSpec(), kernels.Image(Path("/boot/vmlinuz"), "6.1"))
    assert len(tried) == boots


def test_a_port_whose_socket_is_there_but_takes_no_calls_yet_is_waited_for(monkeypatch, tmp_path):
    """What QEMU's is like between bind(2) and listen(2)."""
    monkeypatch.setenv("NVLAB_STATE", str(tmp_path))
    guest = vm.Guest("g")
    guest.directory.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as port, subprocess.Popen(["sleep", "60"]) as qemu_like:
        port.bind(str(guest.directory / "port.0"))
        timer = threading.Timer(0.1, port.listen)
        timer.start()
        with guest._await_listening(qemu_like) as line:
            assert line.getpeername()
        timer.join()
        qemu_like.kill()
