# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests for the tests: one per kernel, booted when first asked for, kept for all tests, watched for splats after each."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from nvlab.errors import EnvironmentNotReady, GuestLost
from nvlab.nodes import kernels, qemu
from nvlab.nodes.qemu import GuestSpec
from nvlab.nodes.vm import Guest, ensure
from nvlab.units import GIB, MIB

PROGRAMS = Path(__file__).parent / "guest"
KERNELS = ("6.1", "6.12")
SOAK = bool(os.environ.get("NVLAB_SOAK"))
SPLAT = re.compile(
    r"BUG:|WARNING:|Oops|general protection fault|INFO: task .* blocked|INFO: rcu.*stall|soft lockup|refcount_t:"
    r"|lockdep|possible (circular|recursive) locking|KASAN|UBSAN|scheduling while atomic|unreferenced object|bad page"
)


def pytest_configure(config):
    config.addinivalue_line("markers", "splat(pattern, reason): a known line of a kernel module that is not ours")
    config.addinivalue_line("markers", "on(kernel): what depends on the kernel here others test on both; in soak this is, too")


def _wanted(item: pytest.Item) -> bool:
    """Whether this is a kernel that the test is to run on."""
    mark, callspec = item.get_closest_marker("on"), getattr(item, "callspec", None)
    return SOAK or not mark or not callspec or callspec.params.get("kernel") in (None, *mark.args)


def pytest_collection_modifyitems(config, items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.vm)
    config.hook.pytest_deselected(items=[item for item in items if not _wanted(item)])
    items[:] = filter(_wanted, items)


class ByGuest(LoadScopeScheduling):
    """The tests of a file that share a guest, those of one kernel, go to one worker; the largest of such groups come first.

    Parts of a long count go to any.
    """

    def _split_scope(self, nodeid: str) -> str:
        kernel = re.search(r"\[(\d+\.\d+|part \d+)[]-]", nodeid)
        return " ".join([nodeid.partition("::")[0], *(kernel.groups() if kernel else ())])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByGuest(config, log)


class TestGuest:
    """A guest as tests use it: :meth:`run` programs in it, see :meth:`splats`."""

    __test__ = False

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.mark = ""

    def run(
        self, *argv: object, timeout: float = 300, check: bool = True, **options
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the guest, any path of the host included (read-only, what it writes is gone with the guest)."""
        words = [str(word) for word in argv]
        with self.guest.connect() as session:
            done = session.run(words, timeout, **options)
        completed = subprocess.CompletedProcess(words, done["code"], done["out"], done["err"])
        if check and completed.returncode:
            pytest.fail(f"{' '.join(words)} ended with {completed.returncode}:\n{completed.stdout}{completed.stderr}")
        return completed

    def sh(self, script: str, timeout: float = 300, check: bool = True) -> str:
        """The output of a shell script."""
        return self.run("bash", "-euc", script, timeout=timeout, check=check).stdout

    def alone(self, program: str, *args: object) -> str:
        """What a program of guest/ prints that imports nothing else, run as the agent is: all of it is in the guest's memory."""
        return self.run(sys.executable, "-I", "-S", "-B", PROGRAMS / program, *args).stdout

    def passes(self, program: str, *args: object, timeout: float = 1800) -> None:
        """Run one of the programs of guest/; every line it prints is a check."""
        done = self.run("python3", "-B", PROGRAMS / program, *args, timeout=timeout, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        failed = [line for line in lines if not line.get("ok")]
        assert lines and not failed, "\n".join(map(str, failed)) + done.stderr
        assert done.returncode == 0, done.stdout + done.stderr

    def begin(self) -> None:
        """Mark the kernel log: what comes now belongs to a new test."""
        self.mark = f"nvlab-test {uuid.uuid4().hex}"
        self.run("sh", "-c", f"echo '{self.mark}' > /dev/kmsg")

    def kmsg(self) -> list[str]:
        """The kernel's lines since :meth:`begin`."""
        lines = self.run("dmesg").stdout.splitlines()
        marked = [n for n, line in enumerate(lines) if self.mark in line]
        return lines[marked[-1] + 1 :] if marked else lines

    def splats(self, allowed: list[str]) -> list[str]:
        """Lines that no healthy kernel prints, but for those that match one of ``allowed``."""
        found = [line for line in self.kmsg() if SPLAT.search(line)]
        return [line for line in found if not any(re.search(pattern, line) for pattern in allowed)]


@pytest.fixture(scope="session", autouse=True)
def nvlab_state(tmp_path_factory) -> Iterator[Path]:
    """The tests have their own state: they never touch the user's guests, and leave none."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a test run that is timed out leaves no guest either
    before = os.environ.get("NVLAB_STATE")
    state = tmp_path_factory.mktemp("state")
    os.environ["NVLAB_STATE"] = str(state)
    yield state
    for record in (state / "guests").glob("*/guest.json"):
        Guest(record.parent.name).stop()
    if before is None:
        del os.environ["NVLAB_STATE"]
    else:
        os.environ["NVLAB_STATE"] = before


def need_kernel(name: str) -> kernels.Image:
    """The installed kernel of that name; skips, saying what to install, when it or QEMU is missing."""
    if shutil.which(qemu.BINARY) is None:
        pytest.skip(f"{qemu.BINARY} is not installed: apt-get install qemu-system-x86 busybox-static")
    try:
        return kernels.find(name)
    except EnvironmentNotReady as missing:
        pytest.skip(f"{missing} ({missing.hint})")


@pytest.fixture(scope="session")
def boot(nvlab_state):
    """boot(spec, name): a running guest. One at a time, to leave the cores to it; the one before is stopped."""
    running: list[Guest] = []

    def start(spec: GuestSpec, name: str) -> Guest:
        for other in [g for g in running if g.name != name]:
            other.stop()
            running.remove(other)
        need_kernel(spec.kernel or KERNELS[0])
        guest = ensure(spec, name)
        if guest not in running:
            running.append(guest)
        return guest

    return start


@pytest.fixture(scope="session")
def own_guest(boot):
    """own_guest(spec, name): a guest for tests that spoil theirs."""
    return lambda spec, name: TestGuest(boot(spec, name))


@pytest.fixture(scope="session")
def spec() -> GuestSpec:
    """What the guest of a test has; a module overrides this fixture to have more."""
    return GuestSpec(cpus=4, memory=3 * GIB, reserved=((5 * GIB, 513 * MIB),))


@pytest.fixture(params=KERNELS, scope="session")
def kernel(request) -> str:
    """Tests that use a guest run once for each kernel; a module overrides this to name one."""
    return request.param


@pytest.fixture
def guest(request, boot, spec, kernel) -> Iterator[TestGuest]:
    """The guest of this kernel; the test fails if its kernel complains."""
    name = f"k{Path(kernel).name}{'-intremap' if spec.intremap else ''}".replace(".", "-")
    guest = TestGuest(boot(replace(spec, kernel=kernel), name))
    guest.begin()
    yield guest
    allowed = [mark.args[0] for mark in request.node.iter_markers("splat")]
    try:
        splats = guest.splats(allowed)
    except (GuestLost, EnvironmentNotReady) as lost:
        pytest.fail("\n".join([str(lost), *guest.guest.console_tail(60)]))
    if splats:
        log = guest.kmsg()
        at = log.index(splats[0])
        pytest.fail("the kernel complained:\n" + "\n".join(log[max(0, at - 20) : at + 60]), pytrace=False)


@pytest.fixture
def runs(tmp_path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def nvlab(guest, kernel, runs):
    """nvlab(words…): run the command line against the test's guest; fails unless it ends with ``code``, or one of them."""

    def call(*words: object, code: int | tuple[int, ...] = 0, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "nvlab", *map(str, words)]
        if words[0] == "up":
            argv += ["--guest", guest.guest.name, "--kernel", kernel]
        env = os.environ | {"NVLAB_RUNS": str(runs)}
        root = PROGRAMS.parents[2]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, cwd=root, env=env)
        wanted = code if isinstance(code, tuple) else (code,)
        assert done.returncode in wanted, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    yield call
    for lab in json.loads(call("status", "--json").stdout):
        call("down", lab["lab"], "--keep")
