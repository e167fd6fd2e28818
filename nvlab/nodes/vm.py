# SPDX-License-Identifier: GPL-2.0-or-later
"""Throwaway guests: booted when needed, kept between ``up`` and ``down``, found again by later invocations.

Each has a directory in the controller's state: guest.json (who it is: a mark chosen before it was started, pid and start time),
console.log, the sockets of its ports, and a file in labs/ for each lab that lives in it.
"""

from __future__ import annotations

import compileall
import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from nvlab.errors import Conflict, DeadlineExceeded, EnvironmentNotReady, GuestLost, UsageError
from nvlab.nodes import initramfs, kernels, qemu
from nvlab.nodes.channel import AgentDied, Channel, LineClosed
from nvlab.nodes.initramfs import PACKAGE
from nvlab.nodes.kvm import Accel, accelerator
from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.qmp import Monitor
from nvlab.nodes.session import CONNECT, Session
from nvlab.nodes.state import Process, find_processes, read_json, start_time, state_dir, write_json

BOOT = 240.0  # seconds until the agent answers; about 8 under TCG on an idle host, 30 beside other guests
_BOOT_TREE = 400.0  # a kernel that somebody built may check itself at every step, and be some ten times as slow
_LISTEN = 60.0
_STOP = 5.0
_POLL = 0.02
_TAIL = 20

Progress = Callable[[str], None]


def _silent(text: str) -> None:
    del text


class Guest:
    """A named guest, running or not."""

    def __init__(self, name: str = "default") -> None:
        self.name = name
        self.directory = state_dir() / "guests" / name
        self.console = self.directory / "console.log"
        self.images = self.directory / "images"  # what its devices knew when their power was cut

    # -- what is known of it -------------------------------------------------------------------------------

    @property
    def record(self) -> dict[str, Any]:
        """Its last start: spec, kernel, image, accel, why (no KVM), qemu, argv, pid, started, boot_seconds, host's load."""
        return read_json(self.directory / "guest.json")

    def process(self) -> Process | None:
        """Its QEMU; None when it does not run."""
        record = self.record
        with suppress(KeyError, ProcessLookupError):
            return Process(record["pid"], record["started"])
        return None

    def running(self) -> bool:
        process = self.process()
        if process:
            process.close()
        return process is not None

    def fits(self, spec: GuestSpec, image: kernels.Image) -> bool:
        """Whether it was started with ``image`` and has all that ``spec`` asks for."""
        record = self.record
        return record["image"] == str(image.path) and GuestSpec.from_json(record["spec"]).covers(spec)

    def serves(self, spec: GuestSpec, image: kernels.Image) -> bool:
        """Whether it runs, answers, fits and has nvlab's present code; labs in it excuse older code.

        Raises Conflict when labs live in it and it does not fit.
        """
        if not self.running() or not self._answers():
            return False
        labs = self.labs()
        if self.fits(spec, image):
            return bool(labs) or self.record["code"] == initramfs.code_state(_seed())
        if labs:
            raise Conflict(
                f"guest {self.name!r} has too little for this lab (memory, CPUs or kernel), and {', '.join(labs)} lives in it",
                hint=f"nvlab down {labs[0]}, then try again",
            )
        return False

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except GuestLost:
            return False
        return True

    def panicked(self) -> bool:
        """Whether the last lines of its console tell of a kernel panic."""
        return any("Kernel panic" in line for line in self.console_tail(200))

    def console_tail(self, lines: int = _TAIL) -> list[str]:
        """The last lines of its console."""
        try:
            text = self.console.read_bytes()[-64 * 1024 :].decode(errors="replace")
        except FileNotFoundError:
            return []
        return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]

    def labs(self) -> list[str]:
        """Names of the labs that live in it; none when it does not run."""
        return sorted(p.name for p in (self.directory / "labs").glob("*")) if self.running() else []

    def claim(self, lab: str) -> None:
        """Note, before anything is made, that ``lab`` lives in it: it is not restarted under a lab."""
        (self.directory / "labs").mkdir(exist_ok=True)
        (self.directory / "labs" / lab).touch()

    def release(self, lab: str) -> None:
        """Note that ``lab`` is gone."""
        (self.directory / "labs" / lab).unlink(missing_ok=True)

    # -- talking to it -------------------------------------------------------------------------------------

    def connect(self, timeout: float = CONNECT) -> Session:
        """A session with its agent. Raises EnvironmentNotReady when it does not run, GuestLost, Conflict."""
        deadline = time.monotonic() + timeout
        while self.running():
            try:
                return self._open(deadline)
            except AgentDied:  # by the hand of whoever kills processes in there: the next one may live
                if time.monotonic() > deadline:
                    raise self.lost("its agents die") from None
        raise EnvironmentNotReady(f"guest {self.name!r} does not run", hint="nvlab up starts it")

    def _open(self, deadline: float) -> Session:
        """A session on a free port."""
        port, lock = self._free_port()
        try:
            fd = self._dial(port).detach()
        except BaseException:
            lock.close()
            raise
        session = Session(Channel(fd, fd), lost=self.lost, held=lock.close)
        try:
            return session.open(deadline)
        except BaseException:
            session.close()
            raise

    def shell(self, argv: list[str] | None = None) -> int:
        """A shell in it, or ``argv``, on our terminal or pipes; its exit code."""
        from nvlab.nodes.terminal import run_shell

        with self.connect() as session:
            return run_shell(session, argv)

    def _free_port(self) -> tuple[int, IO[str]]:
        """A port that nobody uses, and the file whose lock keeps it ours until closed."""
        for port in range(qemu.PORTS):
            lock = (self.directory / f"port.{port}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return port, lock
            except BlockingIOError:
                lock.close()
        raise Conflict(
            f"{qemu.PORTS} invocations of nvlab already talk to guest {self.name!r}", hint="wait for one of them to end"
        )

    def _dial(self, port: int) -> socket.socket:
        """Connect to a port's socket. Raises GuestLost."""
        try:
            return self._try_dial(f"port.{port}")
        except OSError as error:
            raise self.lost(f"its port cannot be reached: {error.strerror}") from error

    def _try_dial(self, name: str) -> socket.socket:
        """Connect through a directory descriptor: the socket's path may be longer than connect(2) takes. Raises OSError."""
        line = socket.socket(socket.AF_UNIX)
        directory = os.open(self.directory, os.O_PATH | os.O_CLOEXEC)
        try:
            line.connect(f"/proc/self/fd/{directory}/{name}")
        except OSError:
            line.close()
            raise
        finally:
            os.close(directory)
        return line

    def lost(self, what: str) -> GuestLost:
        """The error that says what became of the guest, with the last lines of its console."""
        tail = self.console_tail()
        if self.panicked():
            what = "its kernel panicked"
        elif not self.running():
            what = "QEMU ended"
        return GuestLost(
            f"guest {self.name!r} is lost: {what}",
            hint=f"the whole console is in {self.console}; the next nvlab up starts a fresh guest",
            console=tail,
        )

    # -- its life ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End it, if it runs; labs in it go with it. Raises GuestLost when it cannot be ended."""
        if mark := self.record.get("mark"):
            for pid in list(find_processes(mark)):
                self._end(pid, mark)
        for path in (*self.directory.glob("port.?"), *self.directory.glob("qmp"), *self.images.glob("*")):
            path.unlink()
        for lab in (self.directory / "labs").glob("*"):
            lab.unlink()

    def _end(self, pid: int, mark: str) -> None:
        started = start_time(pid)
        if started is None or pid not in find_processes(mark):
            return
        with suppress(ProcessLookupError):
            process = Process(pid, started)
            ended = process.end(_STOP)
            process.close()
            if not ended:
                raise GuestLost(f"process {pid} of guest {self.name!r} does not end", hint=f"look at /proc/{pid}/stack")

    def reset(self, timeout: float = BOOT) -> None:
        """Press its reset button, and wait until its agent answers; the caller has it :meth:`locked`.

        Nothing in it hears of that before. Its memory is as it was, but nobody in the next boot knows of it, save for what is
        reserved (``memmap=``). Raises GuestLost.
        """
        deadline = time.monotonic() + timeout
        try:
            with Monitor(self._try_dial("qmp")) as monitor:
                # -no-reboot is for kernels that panic; SeaBIOS resets once more when it finds itself in memory
                monitor.execute("set-action", reboot="reset")
                monitor.execute("system_reset")
                monitor.await_event("RESET")
                self._await_ready(deadline)
                monitor.execute("set-action", reboot="shutdown")
        except OSError as error:
            raise self.lost(f"it cannot be reset: {error.strerror or error}") from error
        self.connect(max(CONNECT, deadline - time.monotonic())).close()

    @contextmanager
    def locked(self, timeout: float = BOOT) -> Iterator[None]:
        """Hold the right to start and stop it."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        deadline = time.monotonic() + timeout
        with (self.directory / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise DeadlineExceeded(f"another nvlab keeps guest {self.name!r} locked") from None
                    time.sleep(_POLL)
            yield

    def boot(self, spec: GuestSpec, image: kernels.Image, timeout: float = BOOT, progress: Progress = _silent) -> None:
        """Start it and wait until its agent answers. Raises GuestLost."""
        accel = accelerator(image.path, state_dir())
        if accel.why:
            progress(f"emulating the CPU (TCG): no usable KVM, {accel.why.partition(' (')[0]}")
        try:
            self._boot(spec, image, accel, timeout)
        except GuestLost:
            if accel.name != "tcg" or not self.panicked():
                raise
            # Seen once in some hundred boots: a kernel that patches itself as it starts, and an emulated CPU (QEMU 7.2) that
            # runs the breakpoint which stood there for a moment.
            progress("its kernel panicked as it started, as emulated CPUs can make it do; starting it once more")
            self._boot(spec, image, accel, timeout)

    def _boot(self, spec: GuestSpec, image: kernels.Image, accel: Accel, timeout: float) -> None:
        mark = f"nvlab-{self.name}-{os.urandom(4).hex()}"
        record: dict[str, Any] = {
            "mark": mark,
            "spec": spec.to_json() | {"kernel": str(image.tree or image.path)},  # for who works in another directory
            "kernel": image.release,
            "image": str(image.path),
        }
        record |= {"accel": accel.name, "why": accel.why, "qemu": accel.qemu}
        record["load"] = os.getloadavg()[0]
        record["code"] = initramfs.code_state(_seed())
        write_json(self.directory / "guest.json", record)
        argv = self._argv(spec, image, mark, accel.name)
        started = time.monotonic()
        try:
            self._start(argv, record)
            self._await_ready(started + timeout)
            self.connect(max(CONNECT, started + timeout - time.monotonic())).close()
        except BaseException:
            self.stop()
            raise
        write_json(self.directory / "guest.json", record | {"boot_seconds": round(time.monotonic() - started, 2)})

    def _argv(self, spec: GuestSpec, image: kernels.Image, mark: str, accel: str) -> list[str]:
        compileall.compile_dir(PACKAGE, quiet=2)  # the guest cannot keep what it compiles
        cache = state_dir() / "kernels"
        write_json(self.directory / "init.json", {"path": _python_path()})
        command = [sys.executable, "-I", "-S", str(PACKAGE / "nodes/guest.py"), str(self.directory / "init.json")]
        if any(" " in word for word in command):
            raise UsageError(f"a guest cannot start from a path with a space in it: {' '.join(command)}")
        script = initramfs.init_script(self.name, command, image.tree and image.tree / ".virtme_mods/lib/modules/0.0.0")
        initramfs.build(initramfs.base(image, cache), script, _seed(), self.directory / "initramfs")
        boot = kernels.unpacked(image.path, cache)
        return qemu.launcher(spec, image, boot, self.directory / "initramfs", mark, accel)

    def _start(self, argv: list[str], record: dict[str, Any]) -> None:
        """Start QEMU detached from us, and write down who it is as soon as it listens."""
        with self.console.open("wb") as console, (self.directory / "launcher.log").open("wb") as log:
            process = subprocess.Popen(
                argv, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=console, stderr=log, start_new_session=True
            )
        with self._await_listening(process) as line:
            pid = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        record |= {"pid": pid, "started": start_time(pid), "argv": argv}
        write_json(self.directory / "guest.json", record)

    def _await_listening(self, process: subprocess.Popen[bytes]) -> socket.socket:
        """The line to the first port, once QEMU takes calls: its socket is there a moment before that."""
        deadline = time.monotonic() + _LISTEN
        while True:
            with suppress(FileNotFoundError, ConnectionRefusedError):
                return self._try_dial("port.0")
            if process.poll() is not None:
                raise self._stillborn()
            if time.monotonic() > deadline:
                raise self.lost("QEMU did not open its ports")
            time.sleep(_POLL)

    def _await_ready(self, deadline: float) -> None:
        """Wait for the relay's first words. Nothing is sent before: QEMU's main loop spins over what it cannot deliver."""
        port, lock = self._free_port()
        with lock, self._dial(port) as line:
            try:
                Channel(line.fileno(), line.fileno()).receive(deadline)
            except TimeoutError:
                raise self.lost("it did not boot in time") from None
            except LineClosed:
                raise self.lost("QEMU ended") from None

    def _stillborn(self) -> EnvironmentNotReady:
        said = (self.directory / "launcher.log").read_text(errors="replace").strip()
        return EnvironmentNotReady(
            f"the guest could not be started: {said or 'no word from QEMU'}",
            hint="setup/packages.txt lists what a guest needs",
        )


def _python_path() -> list[str]:
    """sys.path of what runs in the guest: ours."""
    return [str(PACKAGE.parent), *filter(os.path.isdir, sys.path)]


def _seed() -> list[Path]:
    return initramfs.seed(_python_path(), state_dir())


def ensure(
    spec: GuestSpec,
    name: str = "default",
    timeout: float | None = None,
    progress: Progress = _silent,
    claim: str | None = None,
) -> Guest:
    """A running guest that has what ``spec`` asks for: the one of that name, restarted if need be.

    With ``claim`` the lab of that name lives in it from then on, before anybody else could stop it.

    Raises Conflict when it must be restarted but labs live in it; EnvironmentNotReady; GuestLost when it does not come up.
    """
    guest, image = Guest(name), kernels.find(spec.kernel)
    timeout = timeout or (_BOOT_TREE if image.tree else BOOT)
    with guest.locked(timeout):
        if not guest.serves(spec, image):
            guest.stop()
            guest.boot(spec, image, timeout, progress)
        if claim:
            guest.claim(claim)
    return guest


def guests() -> list[Guest]:
    """All guests that were ever started here."""
    return [Guest(path.parent.name) for path in sorted((state_dir() / "guests").glob("*/guest.json"))]
