# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan of a boot reservation: on a real two-node machine, and its division of CPUs on any."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import pytest
from dumps import machine
from hypothesis import given
from hypothesis import strategies as st

from nvlab.errors import Conflict, EnvironmentNotReady, UsageError
from nvlab.host import isolation
from nvlab.host.edge import Host
from nvlab.host.isolation import Cpu
from nvlab.host.machine import Own, read_machine
from nvlab.host.memmap import Span
from nvlab.host.reservation import Request, Reservation, describe, plan, request_of
from nvlab.units import GIB, MIB, format_cpus, parse_cpus


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory) -> Host:
    """8 GiB on two nodes of two cores of two threads; the kernel lies at 6.75 GiB, a crash kernel at the end."""
    return Host(machine("two-nodes", tmp_path_factory.mktemp("two-nodes")))


@pytest.fixture
def machine_(two_nodes):
    return read_machine(two_nodes)


# -- what is read ----------------------------------------------------------------------------------------------------


def test_a_machine_is_read(machine_):
    assert machine_.memory.node_of(Span(4 * GIB, 4 * GIB + MIB)) == 0
    assert machine_.memory.node_of(Span(9 * GIB, 9 * GIB + MIB)) == 1
    assert machine_.memory.node_of(Span(4 * GIB, 9 * GIB)) is None
    assert machine_.cpus == {n: Cpu(n // 4, (n // 2 * 2, n // 2 * 2 + 1)) for n in range(8)}
    assert machine_.cmdline[-1] == "crashkernel=128M,high"
    assert machine_.used == (7756036 - 7511956) << 10


def test_contiguous_memory_is_found_where_debugfs_shows_it(tmp_path):
    root = machine("two-nodes", tmp_path)
    area = root / "sys/kernel/debug/cma/reserved"
    area.mkdir(parents=True)
    (area / "base_pfn").write_text(f"{8 * GIB >> 12}\n")
    (area / "count").write_text(f"{64 * MIB >> 12}\n")
    assert Span(8 * GIB, 8 * GIB + 64 * MIB, "CMA reserved") in read_machine(Host(root)).memory.busy


def test_contiguous_memory_that_cannot_be_found_is_said(tmp_path):
    root = machine("two-nodes", tmp_path)
    (root / "proc/meminfo").write_text("MemTotal: 8 kB\nCmaTotal:  65536 kB\n")
    assert "debugfs" in read_machine(Host(root)).notes[0]


def test_what_the_command_line_gives_a_fixed_place_is_taken(tmp_path):
    root = machine("two-nodes", tmp_path)
    (root / "proc/cmdline").write_text("ro cma=64M@8G-9G crashkernel=1G@4G\n")
    busy = read_machine(Host(root)).memory.busy
    assert {Span(8 * GIB, 9 * GIB, "cma"), Span(4 * GIB, 5 * GIB, "crashkernel")} <= set(busy)


def test_the_kernel_that_runs_is_read():
    """A real sysctl is not read in one piece of any size, as a file is."""
    assert Host().text("/proc/sys/kernel/osrelease") == os.uname().release
    assert Host().text("/proc/cmdline") and Host().text("/proc/iomem")


def test_a_user_who_may_not_see_addresses_is_told(tmp_path):
    root = machine("two-nodes", tmp_path)
    names = [line.partition(" : ")[2] for line in (root / "proc/iomem").read_text().splitlines()]
    (root / "proc/iomem").write_text("".join(f"00000000-00000000 : {name}\n" for name in names))
    with pytest.raises(EnvironmentNotReady, match="shows no addresses") as refused:
        read_machine(Host(root))
    assert "sudo" in refused.value.hint


def test_a_machine_without_a_firmware_map_is_told(tmp_path):
    root = machine("two-nodes", tmp_path)
    shutil.rmtree(root / "sys/firmware")
    with pytest.raises(EnvironmentNotReady, match="no firmware memory map"):
        read_machine(Host(root))


# -- what is planned -------------------------------------------------------------------------------------------------


def test_the_plan_for_a_real_machine(machine_):
    found = plan(machine_, Request(GIB))
    assert (found.start, found.node, found.workers) == (8 * GIB, 1, (6, 7))
    assert found.arguments == (
        "memmap=1G$8G",
        "isolcpus=managed_irq,domain,6-7",
        "nohz_full=6-7",
        "rcu_nocbs=6-7",
        "irqaffinity=0-5",
    )
    assert Reservation.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert describe(found).startswith("region   1 GiB at 8 GiB, node 1\nworkers  6-7\nkernel   memmap=1G$8G isolcpus=")


def test_memory_lies_on_the_node_of_the_cpus(machine_):
    found = plan(machine_, Request(GIB, cpus=(2, 3)))
    assert (found.node, found.start) == (0, 4 * GIB)


def test_a_node_that_is_not_that_of_the_cpus_is_remarked_on(machine_):
    found = plan(machine_, Request(GIB, cpus=(2, 3), node=1))
    assert found.node == 1 and any("NUMA node 1" in note for note in found.notes)


def test_half_a_core_is_remarked_on(machine_):
    assert any(note.startswith("CPU 3 shares a core") for note in plan(machine_, Request(GIB, cpus=(2,))).notes)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request(GIB, start=0x1B0000000), "0x1b0400000-0x1b2ffffff belongs to the running kernel"),
        (Request(128 * MIB, start=0x278000000), "belongs to Crash kernel"),
        (Request(GIB, start=4 * GIB + 512 * MIB), "not all on one NUMA node"),
        (Request(GIB, start=4 * GIB, node=1), "on NUMA node 0, not on 1"),
        (Request(GIB, start=4 * GIB + MIB), "no multiple of 2 MiB"),
        (Request(GIB, start=1 << 45), "is no RAM (RAM ends at 10 GiB)"),
        (Request(GIB, start=512 * MIB), "below 4 GiB"),
        (Request(4 * GIB), "no such free span above 4 GiB"),
        (Request(8 * GIB), "must keep 1 GiB"),
        (Request(MIB), "at least 2 MiB"),
        (Request(3 * MIB + 1), "must be a multiple of 1 MiB"),
        (Request(GIB, node=2), "there is no such NUMA node"),
        (Request(GIB, cpus=(0, 1)), "CPU 0 boots the machine"),
        (Request(GIB, cpus=(7, 8, 9)), "no CPU 8-9"),
        (Request(GIB, modules=("nvmet-tpc",)), "no such module"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_cannot_be_is_refused_with_what_to_do(machine_, request_, said):
    with pytest.raises(UsageError) as refused:
        plan(machine_, request_)
    assert said in refused.value.message and refused.value.message.startswith("--") and refused.value.hint


def test_a_parameter_from_elsewhere_is_not_doubled(machine_):
    taken = dataclasses.replace(machine_, cmdline=("ro", "isolcpus=1"))
    with pytest.raises(Conflict, match="has 'isolcpus=1' already"):
        plan(taken, Request(GIB))
    assert plan(taken, Request(GIB, cpus=())).arguments == ("memmap=1G$8G",)


def test_only_what_the_kernel_is_built_with_is_asked_for(machine_):
    plain = dataclasses.replace(machine_, config={"CPU_ISOLATION": "y"})
    assert plan(plain, Request(GIB)).arguments[1:] == ("isolcpus=managed_irq,domain,6-7", "irqaffinity=0-5")


def test_a_built_in_nvme_core_hears_of_multipath_on_the_command_line(machine_):
    built_in = dataclasses.replace(machine_, builtin=frozenset({"nvme_core"}))
    found = plan(built_in, Request(GIB, cpus=(), multipath="off"))
    assert found.arguments[-1] == "nvme_core.multipath=N" and found.multipath is None
    assert plan(machine_, Request(GIB, multipath="off")).multipath == "off"


def test_without_a_dollar_sign_the_kernel_stays_where_it_is(machine_):
    words = plan(machine_, Request(GIB, cpus=(), intremap="off")).without_dollar().arguments
    assert words == ("memmap=1G%8G-1+2", "nokaslr", "intremap=off")


def test_memory_in_use_and_many_regions_are_remarked_on(machine_):
    full = dataclasses.replace(machine_, used=7 * GIB, cmdline=("memmap=1M$1G",) * 4)
    notes = plan(full, Request(GIB, cpus=())).notes
    assert notes[0].startswith("7 GiB are in use now") and "random place" in notes[1]


def test_a_plan_is_the_same_once_it_is_in_force(two_nodes, tmp_path):
    """Then its memory is no RAM, its node's memory blocks are gone, and its words are on the command line."""
    first = plan(read_machine(two_nodes), Request(GIB))
    root = machine("two-nodes", tmp_path)
    ram, halves = "100000000-27fffffff : System RAM\n", (root / "proc/iomem").read_text()
    cut = "100000000-1ffffffff : System RAM\n200000000-23fffffff : Reserved\n240000000-27fffffff : System RAM\n"
    (root / "proc/iomem").write_text(halves.replace(ram, cut))
    (root / "proc/cmdline").write_text(" ".join(["ro", *first.arguments]))
    for block in range(64, 72):
        (root / f"sys/devices/system/node/node1/memory{block}").rmdir()
    again = plan(read_machine(Host(root), own=Own(first.region, first.node, first.arguments)), Request(GIB))
    assert again.arguments == first.arguments and again.node == 1
    with pytest.raises(UsageError, match="reserved for something else"):
        plan(read_machine(Host(root)), Request(GIB, start=8 * GIB, cpus=()))


# -- any CPUs --------------------------------------------------------------------------------------------------------


@st.composite
def topologies(draw):
    """Cores of one to four threads, numbered one after another or all first threads first, on one to three nodes."""
    threads, cores = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    wide = draw(st.booleans())
    nodes = draw(st.lists(st.integers(0, 2), min_size=cores, max_size=cores))
    number = (lambda core, thread: core + thread * cores) if wide else (lambda core, thread: core * threads + thread)
    members = {core: tuple(sorted(number(core, thread) for thread in range(threads))) for core in range(cores)}
    return {cpu: Cpu(nodes[core], cpus) for core, cpus in members.items() for cpu in cpus}


@given(topologies(), st.integers(0, 2))
def test_proposed_cpus_are_whole_cores_of_the_node_and_leave_half(cpus, node):
    found = isolation.propose(cpus, node)
    assert set(found.workers) | set(found.housekeeping) == set(cpus) and not set(found.workers) & set(found.housekeeping)
    assert 0 in found.housekeeping and 2 * len(found.workers) <= len(cpus)
    assert all(cpus[cpu].node == node and set(cpus[cpu].core) <= set(found.workers) for cpu in found.workers)
    assert bool(found.workers) != bool(found.notes)
    assert len(found.workers) != 1


@given(topologies(), st.sets(st.integers(0, 40), min_size=1), st.integers(0, 2))
def test_chosen_cpus_are_taken_or_refused(cpus, wanted, node):
    try:
        found = isolation.divide(cpus, wanted, node)
    except UsageError:
        assert 0 in wanted or not wanted <= set(cpus)
        return
    assert set(found.workers) == wanted and set(found.housekeeping) == set(cpus) - wanted
    whole = all(set(cpus[cpu].core) <= wanted for cpu in wanted)
    near = all(cpus[cpu].node == node for cpu in wanted)
    assert len(found.notes) == (not whole) + (not near)
    words = dict(word.split("=") for word in isolation.arguments(found, None))
    assert parse_cpus(words["irqaffinity"]) == found.housekeeping
    assert words["nohz_full"] == words["rcu_nocbs"] == format_cpus(wanted)
    assert words["isolcpus"] == f"managed_irq,domain,{format_cpus(wanted)}"


# -- the words of the command line -----------------------------------------------------------------------------------


def test_a_request_in_words():
    said = {"size": "1G", "start": "8G", "node": 1, "cpus": "7-8,10", "modules": "nvme-tcp,nvmet_tcp", "multipath": None}
    assert request_of(said) == Request(GIB, 8 * GIB, 1, (7, 8, 10), modules=("nvme-tcp", "nvmet_tcp"))
    assert request_of({"size": "1G", "cpus": "none"}).cpus == ()
    assert request_of({"size": "1G"}).cpus is None


@pytest.mark.parametrize(
    ("option", "text"), [("size", "x"), ("start", "-1"), ("cpus", "1-"), ("modules", "a,,b"), ("modules", "a b")]
)
def test_words_that_mean_nothing_are_refused_by_the_name_of_their_option(option, text):
    with pytest.raises(UsageError, match=f"--{option}: "):
        request_of({"size": "1G", option: text})
