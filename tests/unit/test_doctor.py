# SPDX-License-Identifier: GPL-2.0-or-later
"""Every check of doctor finds its fault, and nothing else is found; a machine without faults is left in peace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nvlab.doctor.asking import wants_of
from nvlab.doctor.examine import ASKED, Options, examine
from nvlab.doctor.facts import Facts, Hosting, IdleState, Interrupt, Link, Span, facts_of
from nvlab.doctor.kernel import MODULES, OUT_OF_TREE
from nvlab.doctor.table import CHECKS, SEVERITIES, diagnose
from nvlab.doctor.tools import PROGRAMS
from nvlab.doctor.wants import Wants
from nvlab.errors import EnvironmentNotReady, UsageError
from nvlab.host.survey import survey
from nvlab.layers.cache import RAPIDDISK_DEFECTS
from nvlab.scenario import load
from nvlab.scenario.load import loads
from nvlab.units import GIB, MIB

ROOT = Path(__file__).parents[2]
PARTS = ("kernel", "build", "node", "machine", "host")
SYSTEM = Span(4 * GIB, 16 * GIB, "System RAM")
REGION = (5 * GIB, GIB)
DROP = [
    {"chain": {"family": "inet", "table": "f", "name": "input", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}}
]


def lab(**wants) -> Wants:
    return Wants(scenario="lab", **wants)


EXPORT = lab(listens={"export.drive": ("127.0.0.1", 4420)})
AWAY = lab(listens={"export.drive": ("10.0.0.1", 4420)})
ANYWHERE = lab(listens={"export.drive": ("0.0.0.0", 4420)})
LINKS = {"lo": Link(65536, ("127.0.0.1",)), "eth0": Link(9000, ("10.0.0.1",))}
DEVICE = lab(devices=("device.log",), regions=(("device.log", 257 * MIB),))

# check -> faults: (what is the case, what is wanted, severity, what is said, what the cure says)
FAULTS: dict[str, list[tuple[Facts, Wants, str, str, str]]] = {
    "kernel-version": [
        (Facts(release="5.15.0-91", reserved=(REGION,)), DEVICE, "note", "not tested on Linux 5.15.0-91", "linux-image-amd64")
    ],
    "kernel-modules": [
        (
            Facts(modules=frozenset(), config={}),
            lab(modules={"nvmet": "export.a", "nvmet_tcp": "export.a, export.b"}),
            "required",
            "no modules nvmet, nvmet_tcp (not configured)",
            "CONFIG_NVME_TARGET=m CONFIG_NVME_TARGET_TCP=m",
        ),
        (
            Facts(modules=frozenset({"nvme"})),
            lab(modules={"nvme": "device.x", "nvmet_tcp": "export.drive"}),
            "required",
            "no module nvmet_tcp",
            "CONFIG_NVME_TARGET_TCP=m",
        ),
        (
            Facts(modules=frozenset(), config={}),
            lab(modules={"nvme_tcp": "connect.c"}),
            "required",
            "no module nvme_tcp (not configured)",
            "rebuild",
        ),
        (
            Facts(modules=frozenset(), config={"MD_RAID456": "m"}),
            lab(modules={"raid456": "raid.md"}),
            "required",
            "the file is missing",
            "linux-modules-extra-6.1.0",
        ),
        (
            Facts(modules=frozenset()),
            lab(modules={"rapiddisk": "cache.ram"}),
            "required",
            "no module rapiddisk",
            "setup/rapiddisk.sh",
        ),
        (Facts(modules=frozenset(MODULES) - {"xfs"}), Wants(), "note", "no module xfs", "CONFIG_XFS_FS=m"),
    ],
    "kernel-options": [
        (
            Facts(config={"PCI_MSI": "y", "PCI_DOMAINS": "y"}, reserved=(REGION,)),
            DEVICE,
            "required",
            "without CONFIG_TRACEPOINTS",
            "CONFIG_TRACEPOINTS=y",
        )
    ],
    "kernel-types": [
        (
            Facts(btf=False),
            lab(layers=("workload.w",)),
            "distorts",
            "Linux 6.1.0 does not describe its types (no /sys/kernel/btf/vmlinux",
            "CONFIG_DEBUG_INFO_BTF=y",
        ),
        (Facts(config={}), lab(layers=("workload.w",)), "distorts", "CONFIG_DEBUG_INFO_BTF", "linux-image-amd64"),
    ],
    "debug-kernel": [(Facts(config={"KASAN": "y"}), Wants(), "distorts", "CONFIG_KASAN", "linux-image-amd64")],
    "module-headers": [
        (Facts(headers=False, reserved=(REGION,)), DEVICE, "required", "no headers of Linux 6.1.0", "linux-headers-6.1.0")
    ],
    "module-loading": [
        (Facts(modules_supported=False), Wants(), "required", "loads no modules", "VM"),
        (Facts(modules_disabled=True), EXPORT, "required", "kernel.modules_disabled", "reboot"),
        (Facts(may_load=False), Wants(), "required", "only root", "as root"),
        (
            Facts(signed_only=True, reserved=(REGION,)),
            DEVICE,
            "required",
            "module.sig_enforce",
            "boot without module.sig_enforce",
        ),
        (
            Facts(lockdown="integrity", secure_boot=True, reserved=(REGION,)),
            DEVICE,
            "required",
            "secure boot is on",
            "mokutil --import",
        ),
        (Facts(lockdown="integrity"), Wants(), "note", "lockdown=integrity", "lockdown="),
    ],
    "kernel-health": [
        (Facts(tainted=1 << 9 | 1 << 12), Wants(), "distorts", "had a warning since", "dmesg"),
        (Facts(tainted=1 << 7 | 1 << 14), Wants(), "distorts", "an oops, a soft lockup", "reboot"),
    ],
    "programs": [
        (
            Facts(programs=frozenset({"fio"})),
            lab(programs={"fio": "workload.w", "mkfs.xfs": "filesystem.f"}),
            "required",
            "mkfs.xfs is not installed",
            "apt-get install xfsprogs",
        )
    ],
    "versions": [
        (
            Facts(packages={"mdadm": "3.4-4"}),
            lab(programs={"mdadm": "raid.md"}),
            "required",
            "mdadm 3.4-4 is older than 4.0",
            "newer mdadm",
        ),
        (Facts(packages={"fio": "2:3.12-2"}), Wants(), "note", "older than 3.13", "newer fio"),
    ],
    "defects": [
        (Facts(), lab(modules={"rapiddisk": "cache.ram"}), "distorts", RAPIDDISK_DEFECTS[0], "dm-cache"),
        (Facts(), lab(volatile_members={"raid.md": ("ssd.1", "ssd.2")}), "note", "volatile caches: ssd.1, ssd.2", "plp = 1"),
        (Facts(), lab(real_journals={"raid.md": "real"}), "note", "a real disk as its journal, real", "discard_max_bytes"),
        (Facts(release="6.1.0-56"), lab(over_paths={"workload.w": "ssd"}), "note", "io_uring, on ssd", 'ioengine = "libaio"'),
        (Facts(), lab(offloaded=("workload.w",)), "distorts", "workload.w offloads", 'io_submit_mode = "inline"'),
    ],
    "lost-dollar": [
        (
            Facts(cmdline="quiet memmap=513MG", reserved=(REGION,)),
            DEVICE,
            "required",
            "memmap=513MG, which reserves nothing",
            "nvlab grub apply",
        ),
        (Facts(cmdline="memmap=1G$4G,64M"), Wants(), "note", "memmap=64M", "nvlab grub apply"),
    ],
    "reserved-memory": [
        (Facts(), DEVICE, "required", "device.log: no reserved region of 257 MiB is free", "nvlab grub plan --size 1G"),
        (Facts(reserved=(REGION,), taken=((5 * GIB, 800 * MIB),)), DEVICE, "required", "reserved: memmap=1G$5G", "nvlab down"),
    ],
    "kernel-in-region": [
        (
            Facts(reserved=(REGION,), iomem=(SYSTEM,)),
            DEVICE,
            "required",
            "Linux uses that memory (System RAM)",
            "nvlab grub apply",
        ),
        (
            Facts(reserved=(REGION,), iomem=(SYSTEM, Span(5 * GIB, 5 * GIB + 100, "Kernel code"))),
            Wants(),
            "note",
            "Kernel code",
            "nvlab grub plan",
        ),
    ],
    "free-memory": [(Facts(available=GIB), lab(memory=2 * GIB), "required", "1 GiB of memory are free", "smaller")],
    "swap": [(Facts(swaps=("/dev/sda2", "/swap")), Wants(), "distorts", "/dev/sda2, /swap", "swapoff /dev/sda2 /swap")],
    "governor": [
        (
            Facts(governors={"performance": "0-1", "powersave": "2-3"}),
            Wants(),
            "distorts",
            "powersave on CPUs 2-3",
            "performance",
        )
    ],
    "idle-states": [
        (
            Facts(idle_states=(IdleState("C1", 2, (0,)), IdleState("C6", 133, (0, 1)))),
            Wants(),
            "distorts",
            "C6 (133 us)",
            "cpupower idle-set",
        )
    ],
    "turbo": [(Facts(turbo="intel_pstate/no_turbo"), Wants(), "distorts", "turbo is on", "no_turbo")],
    "clock-source": [
        (Facts(clocksource="hpet", clocksources=("tsc", "hpet")), Wants(), "distorts", "hpet", "echo tsc >"),
        (Facts(clocksource="acpi_pm", clocksources=("acpi_pm",)), Wants(), "distorts", "acpi_pm", "tsc=reliable"),
    ],
    "shared-cores": [
        (
            Facts(siblings={0: (0, 2), 1: (1, 3), 2: (0, 2), 3: (1, 3)}),
            lab(cpus={"device.log": (2, 3)}),
            "distorts",
            "also run CPUs 0-1",
            'cpus = "0-3"',
        )
    ],
    "interrupts": [
        (
            Facts(interrupts=(Interrupt(40, "eth0-rx-0", (2,), 7.6), Interrupt(41, "eth0-rx-1", (0,), 900.0))),
            lab(cpus={"device.log": (2, 3)}),
            "distorts",
            "device.log is served by CPUs 2-3, which also take the interrupts of eth0-rx-0 (8 a second since boot)",
            "echo 0-1 | tee /proc/irq/40/smp_affinity_list # at every boot: nvlab grub apply --cpus 2-3",
        )
    ],
    "queues": [
        (Facts(isolated=(2, 3)), lab(queues={"connect.c": 4}), "distorts", "asks for 4 queues and gets 2", "queues = 2")
    ],
    "iommu": [
        (Facts(iommu=frozenset({"DMA-FQ", "identity"})), lab(real=("disk.real",)), "distorts", "DMA-FQ", "iommu=pt"),
        (Facts(iommu=frozenset({"identity"})), lab(stand_ins=("device.old",)), "note", "IOMMU", "intremap=off"),
    ],
    "steal": [(Facts(steal=0.3), Wants(), "distorts", "0.30 CPUs", "CPUs of its own")],
    "company": [
        (Facts(processes=frozenset({"bash", "irqbalance"})), Wants(), "distorts", "irqbalance is running", "stop irqbalance")
    ],
    "other-load": [
        (
            Facts(busy={"cc1": 0.9, "top": 0.02, "rsync": 1.1}),
            Wants(),
            "distorts",
            "rsync (1.1 CPUs), cc1 (0.9 CPUs)",
            "end them",
        )
    ],
    "resync": [
        (Facts(syncing={"md127": "recovery"}), Wants(), "distorts", "md127: recovery", "mdadm --wait /dev/md127"),
        (Facts(syncing={"md0": "check"}), Wants(), "distorts", "md0: check", "echo idle > /sys/block/md0/md/sync_action"),
    ],
    "address": [(Facts(), AWAY, "required", "10.0.0.1, which this machine does not have", "127.0.0.1, ::1")],
    "port": [
        (Facts(listening=frozenset({("127.0.0.1", 4420)})), EXPORT, "required", "127.0.0.1 port 4420", "ss -ltnp"),
        (Facts(listening=frozenset({("0.0.0.0", 4420)})), EXPORT, "required", "0.0.0.0 port 4420", "listen ="),
    ],
    "mtu": [
        (Facts(links={"lo": Link(1500, ("127.0.0.1",))}), Wants(), "distorts", "MTU of 1500", "ip link set lo mtu 65536"),
        (Facts(links={**LINKS, "eth0": Link(1500, ("10.0.0.1",))}), AWAY, "note", "eth0 has an MTU of 1500", "eth0 mtu 9000"),
        (
            Facts(links={**LINKS, "eth0": Link(1500, ("10.0.0.1",)), "eth1": Link(1500)}),
            ANYWHERE,
            "note",
            "eth0 has an MTU of 1500",
            "eth0 mtu 9000",
        ),
        (Facts(links={**LINKS, "lo": Link(1500, ("127.0.0.1",))}), ANYWHERE, "distorts", "MTU of 1500", "lo mtu 65536"),
    ],
    "firewall-port": [
        (Facts(firewall=DROP), EXPORT, "required", "inet f input", "tcp dport 4420 accept"),
        (Facts(firewall=DROP, links=LINKS), AWAY, "distorts", "drops TCP to port 4420", "firewall-cmd"),
    ],
    "guest-programs": [
        (
            Facts(hosting=Hosting(programs=frozenset({"busybox", "file", "make", "gcc"}))),
            Wants(),
            "required",
            "qemu-system-x86_64",
            "qemu-system-x86",
        ),
        (
            Facts(hosting=Hosting(programs=Hosting().programs - {"gcc"}), reserved=(REGION,)),
            DEVICE,
            "required",
            "gcc",
            "apt-get install gcc",
        ),
        (Facts(hosting=Hosting(programs=Hosting().programs - {"make"})), Wants(), "note", "make", "apt-get install make"),
    ],
    "virtme": [
        (Facts(hosting=Hosting(virtme="1.41.2")), Wants(), "required", "1.41.2 is too old", "pip install"),
        (Facts(hosting=Hosting(virtme="")), Wants(), "required", "not installed", "pip install"),
    ],
    "guest-kernel": [(Facts(hosting=Hosting(kernel="")), Wants(), "required", "/boot", "linux-image-amd64")],
    "kvm": [
        (
            Facts(hosting=Hosting(no_kvm="/dev/kvm: Permission denied")),
            Wants(),
            "distorts",
            "Permission denied",
            "usermod -aG kvm",
        ),
        (Facts(hosting=Hosting(no_kvm="/dev/kvm: No such file or directory")), Wants(), "distorts", "No such file", "firmware"),
    ],
    "guest-cpus": [(Facts(hosting=Hosting(guest_cpus=6)), Wants(), "distorts", "6 CPUs, this machine 4", "--cpus 4")],
    "guest-memory": [(Facts(hosting=Hosting(), available=GIB - 1), Wants(), "note", "up to 1 GiB", "end other")],
    "rapiddisk-package": [
        (
            Facts(hosting=Hosting(newer_headers=("6.12.1",)), packages={"rapiddisk-dkms": "9.0.0-1"}),
            Wants(),
            "note",
            "6.12.1",
            "apt-get remove rapiddisk-dkms",
        )
    ],
    "bare-metal": [],  # the same fault as module-loading has, below
}
CASES = [(name, *fault) for name, faults in FAULTS.items() for fault in faults]


@pytest.mark.parametrize(("name", "facts", "wants", "severity", "what", "cure"), CASES, ids=[c[0] for c in CASES])
def test_a_fault_is_found_and_nothing_else(name, facts, wants, severity, what, cure):
    (found,) = diagnose(facts, wants, PARTS)
    assert (found.check, found.severity) == (name, severity)
    assert what in found.what
    assert found.why
    assert cure in found.cure


def test_every_check_has_its_faults():
    assert FAULTS.keys() == {check.name for check in CHECKS}


@pytest.mark.parametrize("wants", [Wants(), EXPORT, replace(DEVICE, regions=())], ids=["anything", "export", "device"])
@pytest.mark.parametrize("hosting", [None, Hosting()], ids=["node", "host"])
def test_nothing_is_found_where_nothing_is_wrong(wants, hosting):
    assert diagnose(Facts(hosting=hosting), wants, PARTS) == []


# Near misses: what looks like a fault and is none.
FINE = {
    "a built-in module has no file": (
        Facts(modules=frozenset(), config={"EXT4_FS": "y"}),
        lab(modules={"ext4": "filesystem.f"}),
    ),
    "a signed kernel serves a lab without nvlab.ko": (Facts(signed_only=True), EXPORT),
    "modules out of tree taint": (Facts(tainted=1 << 12 | 1 << 13), Wants()),
    "a device's region is big enough": (Facts(reserved=(REGION,), iomem=(Span(REGION[0], sum(REGION), "Reserved"),)), DEVICE),
    "addresses are hidden from who is not root": (Facts(reserved=(REGION,), iomem=()), DEVICE),
    "memmap= has other marks": (Facts(cmdline="memmap=exactmap memmap=64K@1M memmap=1G!4G,1G#8G"), Wants()),
    "shallow C-states": (Facts(idle_states=(IdleState("C1E", 10, (0,)),)), Wants()),
    "deep C-states that are off": (Facts(idle_states=(IdleState("C6", 133, ()),)), Wants()),
    "a device has whole cores": (Facts(siblings={2: (2, 3), 3: (2, 3)}), lab(cpus={"device.log": (2, 3)})),
    "a sibling is offline": (Facts(online=(0, 1, 2), siblings={2: (2, 3)}), lab(cpus={"device.log": (2,)})),
    "interrupts that are none": (
        Facts(interrupts=(Interrupt(40, "eth0-rx-0", (2,), 0.9), Interrupt(41, "eth0-rx-1", (0, 1), 900.0))),
        lab(cpus={"device.log": (2, 3)}),
    ),
    "all CPUs serve a device": (Facts(interrupts=(Interrupt(40, "eth0", (2,), 9.0),)), lab(cpus={"device.log": (0, 1, 2, 3)})),
    "nobody says which CPUs serve a device": (Facts(interrupts=(Interrupt(40, "eth0", (2,), 9.0),)), EXPORT),
    "a kernel that describes its types, whatever its file says": (Facts(btf=True, config={}), lab(layers=("workload.w",))),
    "nobody asks for types": (Facts(btf=False), EXPORT),
    "a lab's own port": (
        Facts(listening=frozenset({("127.0.0.1", 4420)}), exported=frozenset({("127.0.0.1", 4420)})),
        EXPORT,
    ),
    "another address has the port": (Facts(listening=frozenset({("10.0.0.1", 4420), ("127.0.0.1", 22)})), EXPORT),
    "any address will do": (Facts(), ANYWHERE),
    "no interface that hosts reach has small packets": (Facts(links={**LINKS, "eth1": Link(1500)}), ANYWHERE),
    "all of 127/8 is local": (Facts(), lab(listens={"export.drive": ("127.0.0.9", 4420)})),
    "versions are new enough": (Facts(packages={"mdadm": "4.2-5", "fio": "3.33-3"}), Wants()),
    "a version nobody can read": (Facts(packages={"fio": "unknown"}), Wants()),
    "kvm-clock": (Facts(clocksource="kvm-clock"), Wants()),
    "isolated CPUs and few queues": (Facts(isolated=(2, 3)), lab(queues={"connect.c": 2})),
    "io_uring over two paths on a later kernel": (Facts(release="6.12.117+deb12"), lab(over_paths={"workload.w": "ssd"})),
    "a little load": (Facts(busy={"sshd": 0.1}, steal=0.01), Wants()),
    "rapiddisk-dkms with 6.1 alone": (Facts(hosting=Hosting(), packages={"rapiddisk-dkms": "9.0.0-1"}), Wants()),
    "nobody is root where guests run": (Facts(hosting=Hosting(), may_load=False), Wants()),
}


@pytest.mark.parametrize("what", FINE)
def test_what_is_fine_is_not_found(what):
    facts, wants = FINE[what]
    parts = [p for p in PARTS if p != ("node" if facts.hosting else "host")]
    assert diagnose(facts, wants, parts) == []


def test_a_host_of_guests_that_loads_no_modules_is_told_so_once():
    (found,) = diagnose(Facts(hosting=Hosting(), modules_supported=False), Wants(), ("machine", "host"))
    assert (found.check, found.severity) == ("bare-metal", "note")


def test_the_worst_comes_first():
    bad = Facts(turbo="cpufreq/boost", lockdown="integrity", programs=frozenset())
    found = diagnose(bad, lab(programs={"fio": "w"}, devices=("d",)), PARTS)
    order = [SEVERITIES.index(f.severity) for f in found]
    assert len(order) > 2 and order == sorted(order)


# -- what a scenario wants -----------------------------------------------------------------------------------------

SCENARIOS = [*sorted((ROOT / "scenarios").glob("*.toml")), ROOT / "tests/vm/scenarios/everything.toml"]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_all_that_a_plan_uses_is_known_to_doctor(path):
    wants = wants_of(load(path), Facts(), 4)
    assert wants.modules.keys() <= {*MODULES, *OUT_OF_TREE}
    assert wants.programs.keys() <= PROGRAMS.keys()
    assert all(wants.modules.values()) and all(wants.programs.values())


def test_every_module_of_every_layer_is_known_to_doctor():
    kinds = [
        ("disk.a", 'kind = "brd"\nsize = "64M"\ncount = 4'),
        *((f"raid.r{level}", f'level = {level}\non = "x{level}"') for level in (0, 1, 4, 10)),
        *((f"disk.x{level}", 'size = "64M"\ncount = 4') for level in (0, 1, 4, 10)),
        ("cache.c", 'on = "r0"\nsize = "4M"\nmode = "write-through"\nengine = "dm-cache"'),
        ("disk.big", 'size = "1G"'),
        ("filesystem.f", 'on = "big"\ntype = "xfs"'),
    ]
    text = "schema = 1\n" + "".join(f"[{name}]\n{keys}\n" for name, keys in kinds)
    wants = wants_of(loads(text), Facts(), 4)
    assert {"brd", "raid0", "raid1", "raid10", "raid456", "dm_cache", "xfs"} <= wants.modules.keys() <= MODULES.keys()


DETAILED = """
schema = 1
[device.log]
size = "64M"
cpus = "2-3"
[device.old]
size = "64M"
cpus = 1
module = "/opt/nvmev.ko"
[disk.real]
kind = "path"
path = "/dev/disk/by-id/nvme-x"
[export.drive]
on = ["log", "real"]
listen = "[::1]:4444"
hosts = ["client"]
[connect.client]
to = "drive"
queues = 3
[workload.w]
layers = true
on = "client"
fio = { rw = "read", runtime = "1s" }
"""


def test_an_export_over_a_wire_asks_nothing_of_the_network_that_is_there():
    export = '[export.e]\non = "d"\nover = "w"\nallow_any_host = true\n'
    wants = wants_of(loads('schema = 1\n[disk.d]\nsize = "64M"\n[wire.w]\ndelay = "1ms"\n' + export, name="lab"), Facts(), 4)
    assert wants.listens == {}
    assert {name for name, owner in wants.modules.items() if owner == "wire.w"} == {"veth", "sch_netem"}
    assert {name for name, owner in wants.programs.items() if owner == "wire.w"} == {"ip", "tc", "unshare", "nsenter"}
    assert set(wants.programs) <= set(PROGRAMS)


def test_what_a_scenario_says_is_what_it_wants():
    wants = wants_of(loads(DETAILED, name="lab"), Facts(), 4)
    assert wants.scenario == "lab"
    assert wants.cpus == {"device.log": (2, 3), "device.old": (3,)}
    assert wants.regions == (("device.log", 65 * MIB), ("device.old", 65 * MIB))
    assert (wants.devices, wants.stand_ins, wants.real) == (("device.log",), ("device.old",), ("disk.real",))
    assert wants.listens == {"export.drive": ("::1", 4444)}
    assert wants.queues == {"connect.client": 3}
    assert wants.modules["nvme_tcp"] == "connect.client"
    assert wants.programs["fio"] == "workload.w"
    assert wants.layers == ("workload.w",)


KNOWN = """
schema = 1
[disk.real]
kind = "path"
path = "/dev/disk/by-id/nvme-x"
[device.ssd]
count = 3
size = "64M"
profile = "samsung-970-pro"
controllers = 2
[raid.md]
level = 5
on = "ssd"
journal = { on = "real", mode = "write-back" }
[device.dual]
size = "64M"
controllers = 2
[workload.w]
on = "dual"
fio = { rw = "read" }
[workload.o]
on = "md"
fio = { rw = "write", ioengine = "psync", io_submit_mode = "offload" }
"""


def test_what_is_known_to_go_wrong_is_read_off_the_scenario():
    wants = wants_of(loads(KNOWN, name="lab"), Facts(), 4)
    assert wants.volatile_members == {"raid.md": ("ssd.1", "ssd.2", "ssd.3")}
    assert wants.real_journals == {"raid.md": "real"}
    assert wants.over_paths == {"workload.w": "dual"}
    assert wants.offloaded == ("workload.o",)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('"write-back"', '"write-through"'),
        ("controllers = 2\n[raid", "medium = { plp = 1 }\n[raid"),
        ('"samsung-970-pro"', '"none"'),
        ('on = "real", ', 'on = "dual", '),
        ('rw = "read" }', 'rw = "read", ioengine = "libaio" }'),
        ('"offload"', '"inline"'),
        ('"psync"', '"libaio"'),
    ],
)
def test_each_of_these_goes_with_its_cause(was, now):
    assert was in KNOWN
    before, after = (wants_of(loads(text, name="lab"), Facts(), 4) for text in (KNOWN, KNOWN.replace(was, now)))
    known = ("volatile_members", "real_journals", "over_paths", "offloaded")
    gone = [name for name in known if getattr(before, name) and not getattr(after, name)]
    assert len(gone) == 1


def test_no_scenario_of_ours_loses_what_was_flushed():
    found = {path.stem for path in SCENARIOS if wants_of(load(path), Facts(), 4).volatile_members}
    assert found == set(), "drill-host-power has members with capacitors, and says what happens without"


def test_a_cache_that_may_choose_does_not_want_rapiddisk_where_it_is_not():
    text = 'schema = 1\n[disk.d]\nsize = "64M"\n[cache.c]\non = "d"\nsize = "4M"\n'
    with_it, without = Facts(), Facts(modules=frozenset({"dm_cache", "dm_cache_smq", "null_blk", "configfs"}))
    assert "rapiddisk" in wants_of(loads(text), with_it, 4).modules
    assert diagnose(without, wants_of(loads(text), without, 4), PARTS) == []


# -- this machine --------------------------------------------------------------------------------------------------


def test_this_machine_can_be_surveyed_and_understood():
    facts = facts_of(json.loads(json.dumps(survey(ASKED))))
    assert facts.release == Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert facts.online and facts.clocksource and facts.available > 0
    assert "127.0.0.1" in facts.links["lo"].addresses
    assert facts.links["lo"].mtu == int(Path("/sys/class/net/lo/mtu").read_text())
    diagnose(facts, Wants(), PARTS)


def test_a_program_at_work_is_seen(tmp_path):
    import subprocess
    import sys

    busy = tmp_path / "busybody"
    busy.symlink_to(sys.executable)
    with subprocess.Popen([busy, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            said = survey(ASKED)
        finally:
            process.kill()
    assert "busybody" in said["processes"]
    assert said["busy"]["programs"]["busybody"] > 0


def test_a_port_that_somebody_listens_on_is_seen():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as four, socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        listening = facts_of(survey(ASKED)).listening
        assert ("127.0.0.1", four.getsockname()[1]) in listening
        assert ("::1", six.getsockname()[1]) in listening


def test_a_report_says_what_was_looked_at_and_ends_with_a_verdict():
    report = examine(ROOT / "scenarios/bare-nvme.toml", Options())
    assert report.machine.startswith("this machine as a host of guests: Linux ")
    data = json.loads(json.dumps(report.to_json()))
    assert data["ready"] == (not any(f["severity"] == "required" for f in data["findings"]))
    for finding in report.findings:
        assert finding.what in report.text() and finding.cure in report.text()


def test_places_that_doctor_does_not_know_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("NVLAB_STATE", str(tmp_path))
    with pytest.raises(UsageError, match="cannot look at 'mars'"):
        examine(None, Options("mars"))
    with pytest.raises(EnvironmentNotReady, match="guest 'none' does not run"):
        examine(None, Options("vm:none"))
