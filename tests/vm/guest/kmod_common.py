# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kmod_*.py programs share. They run as root inside a guest, with nothing but the standard library.

Each check prints one JSON object per line: {"check": what, "ok": bool, ...}; the exit code is 1 if any failed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CONFIGFS = Path("/sys/kernel/config/nvlab")
FIRST = CONFIGFS / "nvlab0"
ADMIN_CMD = 0xC0484E41
IO_CMD = 0xC0484E43
IO64_CMD = 0xC0504E48
IDENTIFY = 6  # opcode
CDWS = tuple(f"cdw{i}" for i in range(10, 16))
DNR = 0x4000
HANG = 300  # seconds after which what has not ended never will; no test is judged by how long something takes to come

_failed: list[str] = []
_libc = ctypes.CDLL(None, use_errno=True)


def parser(text: str | None) -> argparse.ArgumentParser:
    """The arguments all programs take."""
    made = argparse.ArgumentParser(description=text)
    made.add_argument("module", type=Path, help="nvlab.ko")
    made.add_argument("--start", default="5G", help="start of the reserved region")
    made.add_argument("--size", default="513M", help="size of the reserved region")
    made.add_argument("--cpus", default="2,3", help="CPUs of the device; empty for all")
    return made


def check(name: str, ok: object, **detail: Any) -> bool:
    """Print one line; remember a failure."""
    print(json.dumps({"check": name, "ok": bool(ok), **detail}, default=str), flush=True)
    if not ok:
        _failed.append(name)
    return bool(ok)


def equal(name: str, got: object, want: object) -> bool:
    """A check that two things are the same."""
    if got == want:
        return check(name, True)
    shown = [hex(x) if isinstance(x, int) else x for x in (got, want)]
    return check(name, False, got=shown[0], want=shown[1])


def finish() -> int:
    """The exit code. Whether the kernel complained is the caller's to see: conftest.py does, after each test."""
    if _failed:
        print(json.dumps({"failed": _failed, "dmesg": dmesg().splitlines()[-60:]}), flush=True)
    return 1 if _failed else 0


def dmesg() -> str:
    """The kernel's messages."""
    return subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout


def _record_of(fd: int) -> list[str]:
    """The text of the next record of /dev/kmsg, or nothing if it was overwritten (EPIPE). Raises BlockingIOError at the end."""
    with contextlib.suppress(BrokenPipeError):
        # "level,number,time,flags;text", then lines of its own that begin with a space
        return [os.read(fd, 8192).decode(errors="replace").partition(";")[2].partition("\n")[0]]
    return []


class Messages(list[str]):
    """What the kernel says from now on; however much it had said before."""

    def __init__(self) -> None:
        super().__init__()
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self.fd, 0, os.SEEK_END)

    def update(self) -> Messages:
        """With all it has said until now, or until it was closed."""
        with contextlib.suppress(BlockingIOError):
            while self.fd >= 0:
                self.extend(_record_of(self.fd))
        return self

    def having(self, words: str) -> int:
        """How many lines have these words, so far."""
        return sum(words in line for line in self.update())

    def close(self) -> None:
        os.close(self.fd)
        self.fd = -1


@contextlib.contextmanager
def new_messages() -> Iterator[Messages]:
    """A list that holds, after the block, what the kernel said during it."""
    said = Messages()
    try:
        yield said
        said.update()
    finally:
        said.close()


def run(*argv: str, deadline: float = HANG, **kw: Any) -> subprocess.CompletedProcess[str]:
    """Run a command, never for longer than the deadline."""
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=deadline, check=False, **kw)


def wait_for(what: str, ready: Callable[[], Any], deadline: float = HANG) -> Any:
    """Poll until something is true; a failed check and None if it does not become so."""
    end, nap = time.monotonic() + deadline, 0.0002
    while time.monotonic() < end:
        got = ready()
        if got:
            return got
        time.sleep(nap)
        nap = min(2 * nap, 0.02)
    check(f"wait for {what}", False, seconds=deadline)
    return None


def prepare() -> None:
    """Modules and mounts that the tests need."""
    for name in ("configfs", "nvme", "ext4"):
        run("modprobe", name)
    if not Path("/sys/kernel/config").is_mount():
        run("mount", "-t", "configfs", "none", "/sys/kernel/config")


def insert(fd: int, text: str = "") -> int:
    """Load the module in an open file. Returns 0 or the errno."""
    finit_module = 313  # x86-64
    return ctypes.get_errno() if _libc.syscall(finit_module, fd, text.encode(), 0) else 0


def load(module: Path, **params: str) -> int:
    """Load the module. Returns 0 or the errno."""
    fd = os.open(module, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return insert(fd, " ".join(f"{k}={v}" for k, v in params.items()))
    finally:
        os.close(fd)


def load_first(args: argparse.Namespace, **more: str) -> int:
    """Load it with the first device."""
    params = {"memmap_start": args.start, "memmap_size": args.size, **more}
    if args.cpus:
        params["cpus"] = args.cpus
    return load(args.module, **params)


def unload(deadline: float = HANG) -> int:
    """Unload the module. Returns the exit code of rmmod, -1 if it did not return."""
    try:
        return run("rmmod", "nvlab", deadline=deadline).returncode
    except subprocess.TimeoutExpired:
        return -1


def size(text: str) -> int:
    """5G as a number."""
    return int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]] if text[-1].isalpha() else int(text, 0)


def read(path: Path) -> str:
    """A file without its line end."""
    return path.read_text().strip()


def write(path: Path, text: object) -> int:
    """Write to an attribute. Returns 0 or the errno."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, str(text).encode())
    except OSError as err:
        return err.errno or -1
    finally:
        os.close(fd)
    return 0


def errno_of(act: Callable[[], object]) -> int:
    """The errno of a call, 0 if it was not refused."""
    try:
        act()
    except OSError as err:
        return err.errno or -1
    return 0


def make(name: str, **attributes: object) -> Path:
    """A device through configfs, its power off."""
    path = CONFIGFS / name
    path.mkdir()
    for key, value in attributes.items():
        equal(f"{name}: {key}", write(path / key, value), 0)
    return path


@contextlib.contextmanager
def powered(name: str, **attributes: object) -> Iterator[Path]:
    """A device through configfs, its power on; it goes afterwards."""
    path = make(name, **attributes)
    equal(f"{name}: power", write(path / "power", 1), 0)
    try:
        yield path
    finally:
        path.rmdir()


@contextlib.contextmanager
def rule(device: Path, name: str = "r", **attributes: object) -> Iterator[Path]:
    """A fault rule of a device that is on inside the block."""
    path = device / "faults" / name
    path.mkdir()
    for key, value in {**attributes, "enable": 1}.items():
        equal(f"rule: {key} = {value}", write(path / key, value), 0)
    try:
        yield path
    finally:
        path.rmdir()


def stats(device: Path = FIRST) -> dict[str, int]:
    """The counters of a device."""
    return {k: int(v) for k, v in (line.split() for line in (device / "stats").read_text().splitlines())}


def pci(device: Path = FIRST) -> Path:
    """The PCI function of a device, the first where it has several."""
    return Path("/sys/bus/pci/devices") / read(device / "pci").partition("\n")[0]


def controller(device: Path = FIRST, deadline: float = HANG) -> Path:
    """/sys/class/nvme/nvmeX of a device, once it is live."""

    def live() -> Path | None:
        for path in (pci(device) / "nvme").glob("nvme*"):
            with contextlib.suppress(OSError):
                if read(path / "state") == "live":
                    return path
        return None

    return wait_for(f"the controller of {device.name}", live, deadline)


def disk(device: Path = FIRST, deadline: float = HANG, nsid: int = 1) -> Path:
    """/dev/nvmeXnY of a device's namespace, once it can be opened. Y is another while somebody still holds an earlier disk."""

    def found() -> Path | None:
        ctrl = controller(device, deadline)
        for path in ctrl.glob("nvme*n*") if ctrl else ():
            node = Path("/dev") / path.name
            with contextlib.suppress(OSError):  # its node comes a moment before it lives
                if read(path / "nsid") == str(nsid) and int(read(path / "size")):
                    os.close(os.open(node, os.O_RDONLY))
                    return node
        return None

    return wait_for(f"the disk of {device.name}", found, deadline)


def page_buffer(length: int = 4096) -> Any:
    """A buffer that begins a page."""
    return (ctypes.c_char * length).from_buffer(mmap.mmap(-1, length))


def _ioctl(fd: int, number: int, opcode: int, nsid: int, data: ctypes.Array[Any] | None, flags: int, cdw: dict[str, int],
           result: str) -> tuple[int, int]:
    """A passthrough call; ``result`` is how its struct ends."""
    words = [cdw.get(name, 0) for name in CDWS]
    buf = bytearray(struct.pack(
        f"<BBHIIIQQII6II{result}", opcode, flags, 0, nsid, cdw.get("cdw2", 0), cdw.get("cdw3", 0), 0,
        ctypes.addressof(data) if data is not None else 0, 0, ctypes.sizeof(data) if data is not None else 0,
        *words, 60_000, *[0] * len(result)))
    try:
        status = fcntl.ioctl(fd, number, buf, True)
    except OSError as err:
        return -(err.errno or 1), 0
    last = result[-1]
    return status, struct.unpack(f"<{last}", buf[-struct.calcsize(last):])[0]


def passthru(fd: int, io: bool = False, *, opcode: int, nsid: int = 0, data: ctypes.Array[Any] | None = None,
             flags: int = 0, **cdw: int) -> tuple[int, int]:
    """One command through the driver. Returns (status, result); status is -errno if the driver refused."""
    return _ioctl(fd, IO_CMD if io else ADMIN_CMD, opcode, nsid, data, flags, cdw, "I")


def passthru64(fd: int, *, opcode: int, nsid: int, data: ctypes.Array[Any] | None = None, **cdw: int) -> tuple[int, int]:
    """One I/O command, with both double words of its result."""
    return _ioctl(fd, IO64_CMD, opcode, nsid, data, 0, cdw, "IQ")


class Drive:
    """A device, and its controller opened."""

    def __init__(self, device: Path) -> None:
        self.device = device
        self.path = f"/dev/{controller(device).name}"
        self.ctrl = os.open(self.path, os.O_RDWR)

    def close(self) -> None:
        os.close(self.ctrl)

    def admin(self, opcode: int, length: int = 0, **kw: int) -> tuple[int, bytes, int]:
        """Status, data, result."""
        data = page_buffer(length) if length else None
        status, result = passthru(self.ctrl, opcode=opcode, data=data, **kw)
        return status, data.raw if data is not None else b"", result

    def identify(self, cns: int, csi: int = 0, nsid: int = 0) -> tuple[int, bytes]:
        whose = 0xFFFF << 16 if cns == 0x1C else 0  # this controller's
        return self.admin(IDENTIFY, 4096, cdw10=cns | whose, cdw11=csi << 24, nsid=nsid)[:2]


class DiskDrive(Drive):
    """A device, its controller and its first namespace opened."""

    def __init__(self, device: Path) -> None:
        self.node = disk(device)
        self.ns = os.open(self.node, os.O_RDWR)
        super().__init__(device)

    def close(self) -> None:
        os.close(self.ns)
        super().close()


def _fio(node: Path, *args: str) -> list[str]:
    """The command line of one fio job on a device."""
    return ["fio", "--name=t", f"--filename={node}", "--ioengine=io_uring", "--direct=1", *args]


def fio(node: Path, *args: str, deadline: float = 4 * HANG) -> subprocess.CompletedProcess[str]:
    """Run one fio job on a device."""
    return run(*_fio(node, *args), deadline=deadline)


class Load:
    """fio in the background until it is told to end: after a fixed time it could have ended before what happens beside it.

    Of what it writes and is to verify it verifies a little at a time, as there is no pass afterwards.
    """

    ALWAYS = ("--time_based", "--runtime=3600", "--verify_backlog=32", "--verify_state_save=0", "--output-format=json")

    def __init__(self, node: Path, *args: str) -> None:
        self.said = ""
        self.job = subprocess.Popen(_fio(node, *self.ALWAYS, *args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                    errors="replace")

    def runs(self) -> bool:
        return self.job.poll() is None

    def _wait(self) -> bool:
        """Whether it ends."""
        try:
            self.said = self.job.communicate(timeout=HANG)[0]
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        self.job.kill()
        self.job.communicate()

    def end(self) -> bool:
        """Tell it to, if it runs; whether it does."""
        if self.runs():
            self.job.send_signal(signal.SIGINT)
        return self._wait()

    def passes(self, name: str) -> bool:
        """It has run until now, ends as it is told to, and met no error."""
        ran, ended = self.runs(), self.end()
        before, brace, after = self.said.partition("{")
        error = json.loads(brace + after)["jobs"][0]["error"] if brace else None
        code = self.job.returncode  # 128 is fio's own for an end by a signal
        return check(name, ran and ended and code in (0, 128) and error == 0, ran=ran, ended=ended, code=code, error=error,
                     said=before[-600:])

    def fails(self, name: str) -> bool:
        """It ends by itself, with an error."""
        ended = self._wait()
        return check(name, ended and self.job.returncode not in (0, 128), ended=ended, code=self.job.returncode,
                     said=self.said[:600])


@contextlib.contextmanager
def fio_beside(node: Path, *args: str) -> Iterator[Load]:
    """fio from the beginning of the block; by its end it has been told to end, or it is killed."""
    load = Load(node, *args)
    try:
        yield load
    finally:
        if load.runs():
            load.kill()


def main(body: Callable[[argparse.Namespace], None], arguments: argparse.ArgumentParser) -> None:
    """Run a program: prepare, body, finish."""
    args = arguments.parse_args()
    prepare()
    try:
        body(args)
    except Exception as err:
        check("the program itself", False, error=repr(err))
        raise
    finally:
        if Path("/sys/module/nvlab").exists():
            check("left as found", False, unload=unload())
        code = finish()
    sys.exit(code)
