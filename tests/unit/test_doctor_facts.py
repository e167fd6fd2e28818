# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's files say is understood: iomem, mdstat, sockets, the command line, nftables' rules."""

from __future__ import annotations

import gzip
import ipaddress
import json
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlab.doctor import firewall
from nvlab.doctor.facts import Hosting, IdleState, Interrupt, Link, Span, _listening, facts_of, kernel_facts
from nvlab.host.kernelfiles import kernel_files, loadable
from nvlab.host.survey import survey
from nvlab.units import format_size, parse_memmap

GOLDEN = Path(__file__).parent / "golden/firewall"


def put(root: Path, path: str, text: str | bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


# -- a machine made of files ---------------------------------------------------------------------------------------

MDSTAT = """Personalities : [raid1] [raid6] [raid5] [raid4]
md2 : active raid5 sdd[3] sdc[1] sdb[0]
      2093056 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/2] [UU_]
      [==>..................]  recovery = 12.6% (132000/1046528) finish=0.1min speed=132000K/sec

md1 : active (auto-read-only) raid1 sdf[1] sde[0]
      1046528 blocks super 1.2 [2/2] [UU]
      \tresync=PENDING

md0 : active raid1 sdh[1] sdg[0]
      1046528 blocks super 1.2 [2/2] [UU]

unused devices: <none>
"""
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1144 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0100007F:9C40 0100007F:1144 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
"""
TCP6 = """  sl  local_address remote_address st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:1145 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 0
"""
INTERRUPTS = """           CPU0       CPU1       CPU2       CPU3
  0:        127          0          0          0   IO-APIC   2-edge      timer
 25:          0          9          0       1431  PCI-MSIX-0000:00:03.0   1-edge      virtio1-virtqueues
 27:          0          0         40          0  IO-APIC   1-edge      i8042
 26:          0          0         55          0  PCI-MSI 512000-edge      nvme0q1
NMI:          0          0          0          0   Non-maskable interrupts
"""
CPU = "sys/devices/system/cpu"
FILES: dict[str, str | bytes] = {
    "proc/sys/kernel/osrelease": "6.1.9\n",
    "proc/cmdline": "quiet memmap=1G$5G,64M$16G\n",
    "proc/sys/kernel/tainted": "4608\n",
    "proc/modules": "",
    "proc/self/status": "Name:\tx\nCapEff:\t0000000000010000\n",
    "proc/sys/kernel/modules_disabled": "1\n",
    "proc/meminfo": "MemTotal:  4096 kB\nMemAvailable:  1024 kB\n",
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n/swapfile file 1 0 -3\n",
    "proc/iomem": "00001000-0009ffff : System RAM\n140000000-17fffffff : Reserved\n  140000000-1400fffff : nvlab\n",
    "proc/mdstat": MDSTAT,
    "proc/uptime": "20.00 60.00\n",
    "proc/interrupts": INTERRUPTS,
    "proc/irq/25/smp_affinity_list": "0-3\n",
    "proc/irq/25/effective_affinity_list": "3\n",
    "proc/irq/27/smp_affinity_list": "0-1\n",
    "proc/irq/27/effective_affinity_list": "2\n",
    "proc/irq/26/smp_affinity_list": "2\n",
    "sys/kernel/btf/vmlinux": b"\x9f\xeb",
    "proc/net/tcp": TCP,
    "proc/net/tcp6": TCP6,
    "proc/7/comm": "irqbalance\n",
    "proc/7/cmdline": b"/usr/sbin/irqbalance\0--foreground\0",
    "proc/7/cgroup": "1:name=systemd:/\n0::/system.slice/irqbalance.service\n",
    "proc/9/comm": "smartd\n",
    "proc/9/cgroup": "0::/user.slice/user-0.slice/session-1.scope\n",
    "proc/8/comm": "kworker/0:1\n",
    "proc/8/cmdline": b"",
    "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "sys/module/module/parameters/sig_enforce": "Y\n",
    "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\6\0\0\0\1",
    "sys/kernel/iommu_groups/0/type": "DMA-FQ\n",
    "sys/module/ext4/initstate": "live\n",
    "sys/class/net/lo/mtu": "1500\n",
    "sys/kernel/config/nvmet/ports/1/addr_traddr": "127.0.0.1\n",
    "sys/kernel/config/nvmet/ports/1/addr_trsvcid": "4420\n",
    f"{CPU}/online": "0-3\n",
    f"{CPU}/isolated": "2-3\n",
    f"{CPU}/intel_pstate/no_turbo": "0\n",
    f"{CPU}/cpu0/topology/thread_siblings_list": "0,2\n",
    f"{CPU}/cpufreq/policy0/affected_cpus": "0 1\n",
    f"{CPU}/cpufreq/policy0/scaling_governor": "powersave\n",
    f"{CPU}/cpufreq/policy2/affected_cpus": "2 3\n",
    f"{CPU}/cpufreq/policy2/scaling_governor": "performance\n",
    f"{CPU}/cpu0/cpuidle/state2/name": "C6\n",
    f"{CPU}/cpu0/cpuidle/state2/latency": "133\n",
    f"{CPU}/cpu0/cpuidle/state2/disable": "1\n",
    f"{CPU}/cpu1/cpuidle/state2/name": "C6\n",
    f"{CPU}/cpu1/cpuidle/state2/latency": "133\n",
    f"{CPU}/cpu1/cpuidle/state2/disable": "0\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
    "sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet\n",
    "boot/config-6.1.9": "CONFIG_NVME_TCP=m\n# CONFIG_NVME_TARGET is not set\nCONFIG_HZ=250\n",
    "lib/modules/6.1.9/modules.dep": "kernel/drivers/nvme/host/nvme-tcp.ko.xz: kernel/drivers/nvme/host/nvme-core.ko.xz\n",
    "lib/modules/6.1.9/modules.builtin": "kernel/drivers/md/raid456.ko\n",
    "lib/modules/6.1.9/build/Makefile": "",
}
ASKED = {"modules": ["nvme-tcp", "raid456", "nvmet"], "options": ["NVME_TCP", "NVME_TARGET"], "programs": ["sh", "none-such"]}


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for path, content in FILES.items():
        put(root, path, content)
    (root / "proc/irq/26/smp_affinity_list").chmod(0o444)  # a managed one
    return facts_of(json.loads(json.dumps(survey(ASKED, root))))


def test_the_kernel_and_what_it_lets_in(facts):
    assert (facts.release, facts.tainted, facts.headers) == ("6.1.9", 4608, True)
    assert facts.config == {"NVME_TCP": "m"}
    assert facts.btf
    assert facts.modules >= {"nvme_tcp", "raid456", "ext4"} and "nvmet" not in facts.modules
    assert facts.modules_supported and facts.may_load and facts.modules_disabled and facts.signed_only and facts.secure_boot
    assert facts.lockdown == "integrity"
    assert facts.programs == {"sh"}


def test_memory(facts):
    assert facts.reserved == ((5 << 30, 1 << 30), (16 << 30, 64 << 20))
    assert facts.available == 1 << 20
    assert facts.swaps == ("/dev/sda2", "/swapfile")
    assert Span(0x140000000, 0x140100000, "nvlab") in facts.iomem or facts.iomem == ()  # only root sees addresses


def test_cpus(facts):
    assert (facts.online, facts.isolated, facts.siblings) == ((0, 1, 2, 3), (2, 3), {0: (0, 2)})
    assert facts.governors == {"performance": "2-3", "powersave": "0-1"}
    assert facts.idle_states == (IdleState("C6", 133, (1,), "state2"),)
    assert facts.turbo == "intel_pstate/no_turbo"
    assert (facts.clocksource, facts.clocksources) == ("hpet", ("tsc", "hpet"))
    assert facts.iommu == {"DMA-FQ"}
    assert facts.interrupts == (Interrupt(25, "virtio1-virtqueues", (3,), 72.0), Interrupt(27, "i8042", (0, 1), 2.0))


def test_network(facts):
    assert facts.listening == {("127.0.0.1", 4420), ("0.0.0.0", 22), ("::1", 4421)}
    assert facts.exported == {("127.0.0.1", 4420)}
    assert facts.links["lo"] == Link(1500, facts.links["lo"].addresses)


def test_what_else_goes_on(facts):
    assert facts.syncing == {"md2": "recovery", "md1": "resync"}
    assert facts.processes == {"irqbalance"}
    assert facts.units == {"irqbalance": "irqbalance.service"}


def test_a_machine_of_which_nothing_can_be_read(tmp_path):
    facts = facts_of(survey(ASKED, tmp_path), Hosting())
    assert facts.config is None and facts.modules == frozenset() and not facts.modules_supported and facts.online == ()


def test_a_config_may_lie_in_three_places(tmp_path):
    put(tmp_path, "proc/sys/kernel/osrelease", "6.6.0\n")
    put(tmp_path, "proc/config.gz", gzip.compress(b"CONFIG_NVME_TCP=y\n"))
    assert kernel_files("6.6.0", ASKED, tmp_path)["config"] == {"NVME_TCP": "y"}
    assert kernel_files("6.6.1", ASKED, tmp_path)["config"] is None
    put(tmp_path, "lib/modules/6.6.1/config", "CONFIG_NVME_TARGET=m\n")
    found = kernel_facts(kernel_files("6.6.1", ASKED, tmp_path))
    assert (found.config, found.modules, found.headers) == ({"NVME_TARGET": "m"}, frozenset(), False)


def test_modules_are_known_by_either_spelling(tmp_path):
    put(tmp_path, "lib/modules/1/modules.dep", "kernel/a/nvme-tcp.ko:\nupdates/rapiddisk-cache.ko.zst: x.ko\n")
    assert loadable("1", ["nvme_tcp", "rapiddisk-cache", "x"], tmp_path) == ["nvme_tcp", "rapiddisk_cache"]


# -- properties ----------------------------------------------------------------------------------------------------

sizes = st.integers(1, 1 << 40)


@given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=4), st.booleans())
def test_every_region_of_the_command_line_is_found(regions, together):
    parts = [f"{format_size(size)}${format_size(start)}" for start, size in regions]
    words = [f"memmap={','.join(parts)}"] if together else [f"memmap={part}" for part in parts]
    assert parse_memmap(" ".join(["quiet", *words, "ro"])) == regions


@pytest.mark.parametrize(
    ("cmdline", "regions"),
    [
        ("ro memmap=64G$8G quiet", [(8 << 30, 64 << 30)]),
        ("memmap=1G%4G-1+2 nokaslr memmap=1G$0x180000000", [(4 << 30, 1 << 30), (6 << 30, 1 << 30)]),
        ("memmap=1G@4G memmap=1G#4G memmap=1G!4G memmap=8G memmap=exactmap", []),
        ("memmap=1G%4G-1+7 memmap=xG$4G notmemmap=1G$4G", []),
    ],
)
def test_both_forms_that_reserve_are_read_and_no_other(cmdline, regions):
    assert parse_memmap(cmdline) == regions


@given(st.text())
def test_no_command_line_is_too_odd(text):
    parse_memmap(f"memmap={text}")


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_listener_is_found(address, port):
    packed = address.packed
    words = "".join(packed[at : at + 4][::-1].hex().upper() for at in range(0, len(packed), 4))
    survey_of_one = f"header\n 0: {words}:{port:04X} {words}:0000 0A rest"
    ((found, number),) = _listening(survey_of_one)
    assert (ipaddress.ip_address(found), number) == (ipaddress.ip_address(socket.inet_ntop(_family(packed), packed)), port)


def _family(packed: bytes) -> socket.AddressFamily:
    return socket.AF_INET if len(packed) == 4 else socket.AF_INET6


# -- the firewall --------------------------------------------------------------------------------------------------

RULES = json.loads((GOLDEN / "ruleset.json").read_text())["nftables"]  # what nft 1.0.6 prints of ruleset.nft


@pytest.mark.parametrize(
    ("port", "interface", "dropped"),
    [
        (4420, "eth0", True),  # the policy
        (4420, "lo", False),
        (4420, "", False),  # it may come by way of lo
        (22, "eth0", False),
        (5005, "eth0", False),
        (5011, "eth0", True),
        (53, "eth0", True),  # UDP alone
        (4424, "eth0", False),  # a chain that is jumped to
        (4425, "eth0", True),  # rejected there
        (4423, "eth0", False),  # for some; the rules cannot say for whom
    ],
)
def test_rules_are_followed(port, interface, dropped):
    rules = [o for o in RULES if "@good" not in json.dumps(o)]
    assert firewall.blocks(rules, port, interface) == ("inet filter input" if dropped else "")


def test_a_named_set_is_never_judged():
    assert firewall.blocks(RULES, 4420, "eth0") == ""


def test_rules_of_the_other_family_do_not_count():
    rules = [{"chain": chain("ip6")}]
    assert firewall.blocks(rules, 4420, "lo") == ""
    assert firewall.blocks(rules, 4420, "lo", "ip6") == "ip6 t in"


def test_a_match_of_iptables_that_nft_cannot_say_is_not_judged():
    rule = {
        "family": "ip",
        "table": "t",
        "chain": "in",
        "expr": [{"xt": {"type": "match", "name": "multiport"}}, {"accept": None}],
    }
    assert firewall.blocks([{"chain": chain("ip")}, {"rule": rule}], 4420, "lo") == ""


def chain(family: str, policy: str = "drop") -> dict[str, object]:
    return {"family": family, "table": "t", "name": "in", "type": "filter", "hook": "input", "policy": policy}


ports = st.integers(1, 65535)
LEFT = {"payload": {"protocol": "tcp", "field": "dport"}}


@given(ports, st.sets(ports, max_size=3), st.tuples(ports, ports).map(sorted), st.booleans())
def test_a_port_is_dropped_unless_it_is_let_in(port, some, between, negated):
    right = {"set": [*some, {"range": between}]}
    expr = [{"match": {"op": "!=" if negated else "==", "left": LEFT, "right": right}}, {"accept": None}]
    rules = [{"chain": chain("inet")}, {"rule": {"family": "inet", "table": "t", "chain": "in", "expr": expr}}]
    let_in = (port in some or between[0] <= port <= between[1]) != negated
    assert bool(firewall.blocks(rules, port, "lo")) != let_in


@given(ports, ports)
def test_a_port_is_let_in_unless_it_is_dropped(port, closed):
    expr = [{"match": {"op": "==", "left": LEFT, "right": closed}}, {"counter": {"packets": 0}}, {"drop": None}]
    rules = [{"chain": chain("inet", "accept")}, {"rule": {"family": "inet", "table": "t", "chain": "in", "expr": expr}}]
    assert bool(firewall.blocks(rules, port, "lo")) == (port == closed)


def test_chains_that_call_each_other_come_to_an_end():
    rules = [{"chain": chain("inet")}, {"rule": {**chain("inet"), "chain": "in", "expr": [{"jump": {"target": "in"}}]}}]
    assert firewall.blocks(rules, 4420, "lo") == ""
