# SPDX-License-Identifier: GPL-2.0-or-later
"""nvlab.ko on a kernel that watches it: KASAN, lockdep, kmemleak, UBSAN, and allocations that fail on demand (make sanitize)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nvlab.host import kmod
from nvlab.nodes.qemu import GuestSpec
from nvlab.units import GIB, MIB

pytestmark = pytest.mark.sanitize

ROOT = Path(__file__).parents[2]
TREE = ROOT / ".build/sanitize/linux"
SOAK = bool(os.environ.get("NVLAB_SOAK"))
KMEMLEAK = "/sys/kernel/debug/kmemleak"


@pytest.fixture(scope="session")
def kernel() -> str:
    if not (TREE / "arch/x86/boot/bzImage").exists():
        pytest.skip("no kernel with sanitizers is built: make sanitize")
    return str(TREE)


@pytest.fixture(scope="session")
def spec() -> GuestSpec:
    # after its first report KASAN is silent, unless told otherwise; iomem: as in test_kmod.py
    return GuestSpec(cpus=4, memory=3 * GIB, reserved=((5 * GIB, 513 * MIB),), append="kasan_multi_shot iomem=relaxed")


@pytest.fixture
def module(kernel, tmp_path_factory) -> Path:
    return kmod.ensure(ROOT / "kmod", kernel, tmp_path_factory.getbasetemp() / "kmod")


def passes(guest, program: str, *args: object, timeout: float = 600) -> None:
    """As in any guest, but slower."""
    guest.passes(program, *args, timeout=timeout)


def leaks(guest) -> str:
    """What nothing points to any more, of all that was allocated since the boot; an object counts when it is 5 s old."""
    return guest.sh(f"sleep 6; echo scan >{KMEMLEAK}; echo scan >{KMEMLEAK}; cat {KMEMLEAK}", timeout=600)


@pytest.fixture
def guest(guest):
    guest.sh("mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug")
    return guest


def test_the_sanitizers_are_on(guest):
    log = guest.run("dmesg").stdout
    assert "KernelAddressSanitizer initialized" in log
    assert "kmemleak: Kernel memory leak detector initialized" in log
    assert "debug_locks:                             1" in guest.sh("cat /proc/lockdep_stats")
    guest.sh("test -e /proc/self/fail-nth")


def test_the_stock_driver_binds_and_keeps_its_data(guest, module):
    passes(guest, "kmod_basic.py", module)


def test_every_command_answers_as_the_standard_says(guest, module):
    passes(guest, "kmod_admin.py", module)


def test_data_commands_counters_and_coalescing(guest, module):
    passes(guest, "kmod_commands.py", module, "--slow")


def test_namespaces_the_pool_and_24_devices(guest, module):
    passes(guest, "kmod_ns.py", module, timeout=1500)


def test_rings_and_registers_from_user_space(guest, module):
    passes(guest, "kmod_rings.py", module)


def test_the_trace_tells_everything(guest, module):
    passes(guest, "kmod_trace.py", module, "--python", sys.executable)


def test_the_power_of_all_devices_fails_at_once_and_stays_away(guest, module):
    passes(guest, "kmod_blackout.py", module)


def test_the_power_is_cut_and_what_a_drive_holds_is_moved(guest, module):
    passes(guest, "kmod_power.py", module, "--python", sys.executable, timeout=1200)


def test_an_ssd_and_a_disk_that_their_twin_agrees_with(guest, module):
    passes(guest, "kmod_ssd.py", module, "--python", sys.executable, timeout=1800)


def test_data_are_placed_by_handles(guest, module):
    passes(guest, "kmod_fdp.py", module, "--python", sys.executable, timeout=1200)


def test_every_command_of_keys_answers_as_the_standard_says(guest, module):
    passes(guest, "kmod_kv.py", module, "--python", sys.executable, timeout=1200)


def test_every_command_of_zones_answers_as_the_standard_says(guest, module):
    passes(guest, "kmod_zns.py", module, "--python", sys.executable, timeout=900)
    passes(guest, "kmod_zns_bare.py", module)


def test_bad_parameters_are_refused_each_in_its_own_way(guest, module):
    passes(guest, "kmod_params.py", module)


def test_loading_and_unloading_leaves_nothing(guest, module):
    passes(guest, "kmod_cycles.py", module, 100)


def test_a_user_space_driver_by_vfio_without_an_iommu(guest, module):
    passes(guest, "kmod_vfio.py", module)


# soak's million in parts, each to be run again by itself, and two of them at a time
@pytest.mark.parametrize("seed", (2, 3, 4, 5) if SOAK else (1,), ids=lambda seed: f"part {seed}")
def test_random_commands(guest, module, seed):
    commands = 250_000 if SOAK else 20_000
    passes(guest, "kmod_fuzz.py", module, commands, "--seed", seed, timeout=max(900, commands // 20))
    assert leaks(guest) == ""


def test_random_commands_of_zones(guest, module):
    commands = 50_000 if SOAK else 2000
    passes(guest, "kmod_fuzz_zns.py", module, commands, "--python", sys.executable, timeout=max(900, commands // 10))
    assert leaks(guest) == ""


def test_every_allocation_may_fail(guest, module):
    passes(guest, "kmod_nomem.py", module, timeout=2400)
    assert leaks(guest) == ""


# In these commands time out, and Linux 6.1's nvme then takes shutdown_lock in the work that holds up namespaces_rwsem: lockdep
# says so, and nothing more after that.
NVME_TIMEOUTS = pytest.mark.splat("possible circular locking", "nvme_timeout() of Linux 6.1")


@NVME_TIMEOUTS
def test_two_controllers_share_a_subsystem(guest, module):
    passes(guest, "kmod_paths.py", module, "--cycles", 6, timeout=1200)


@NVME_TIMEOUTS
def test_faults_by_rule(guest, module):
    passes(guest, "kmod_faults.py", module)
