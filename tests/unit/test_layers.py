# SPDX-License-Identifier: GPL-2.0-or-later
"""What each layer turns its table into: the steps, their arguments, and what is left to the node."""

from __future__ import annotations

import pytest

from nvlab.errors import InvalidScenario
from nvlab.kernel.fabrics import connect_string
from nvlab.layers import KINDS
from nvlab.layers.base import Facts, Lab, Placement
from nvlab.plan import Plan, Step, ops_of, shown
from nvlab.planner import make_plan
from nvlab.scenario import loads

POOL = '[disk.pool]\ncount = 4\nsize = "64M"\n'


def plan_of(body: str, facts: Facts | None = None) -> Plan:
    return make_plan(loads("schema = 1\n" + body, name="lab"), facts=facts)


def step(plan: Plan, name: str) -> Step:
    return next(s for s in plan.steps if s.id == name)


def summary(plan: Plan, owner: str) -> str:
    return next(layer.summary for layer in plan.layers if layer.owner == owner)


def test_every_table_has_a_line_of_documentation():
    assert all(kind.doc.endswith(".") and kind.table == table for table, kind in KINDS.items())


def test_identities_are_derived_from_the_name_of_the_lab_alone():
    one, again, two = Lab("one", {}), Lab("one", {}), Lab("two", {})
    assert one.uuid("raid", "md") == again.uuid("raid", "md") != two.uuid("raid", "md")
    assert one.nqn("export", "e") == "nqn.2026-11.io.nvlab:export:one:e"


def test_a_name_for_the_kernel_is_cut_but_stays_unique():
    lab = Lab("a-lab-of-a-long-name", {})
    assert Lab("lab", {}).ident("pool", "1") == "nvlab-lab-pool-1"
    assert len(lab.ident("a-long-name", "1")) == 31
    assert lab.ident("a-long-name", "1") != lab.ident("a-long-name", "2")
    assert len(lab.disk_ident("a-long-name", "1")) == 25  # and "p1" for a partition: mdadm 4.2 dies of more than 27


# -- device --------------------------------------------------------------------------------------------------------


def test_a_device_has_the_timing_of_its_profile_but_for_what_is_said():
    plan = plan_of('[device.d]\nsize = "64M"\nread_delay = "50us"\nvolatile_cache = true\n')
    attributes = step(plan, "device.d").args["attributes"]
    assert attributes["read_delay"] == 50_000
    assert attributes["write_delay"] == 11_952
    assert attributes["vwc"] == 1
    assert attributes["memmap_size"] == (64 << 20) + (1 << 20)


def test_an_ssd_has_the_medium_of_its_profile_but_for_what_is_said():
    plan = plan_of('[device.d]\nsize = "64M"\nprofile = "samsung-970-pro"\nmedium = { spare = 280, gc_policy = 1 }\n')
    attributes = step(plan, "device.d").args["attributes"]
    assert (attributes["kind"], attributes["vwc"]) == ("ssd", 1)
    assert (attributes["medium/spare"], attributes["medium/gc_policy"]) == (280, 1)
    assert attributes["medium/read_lsb"] == 30_013
    assert "read_delay" not in attributes
    assert summary(plan, "device.d") == "{d.dev}  64 MiB  ssd, samsung-970-pro"


@pytest.mark.parametrize(("cpus", "said"), [("2", "2-3"), ('"1,3"', "1,3"), ('"0-2"', "0-2")])
def test_a_device_is_served_by_the_last_cpus_or_by_those_named(cpus, said):
    plan = plan_of(f'[device.d]\nsize = "64M"\ncpus = {cpus}\n')
    assert step(plan, "device.d").args["attributes"]["cpus"] == said
    assert summary(plan, "device.d").endswith(f"CPUs {said}")


FAULTY = """
[device.d]
size = "64M"
count = 2
[device.d.fault.bad]
action = "status"
status = 0x4281
opcode = "read"
slba = 100
nlb = 8
probability = 0.25
[device.d.fault.slow]
action = "delay"
delay = "20ms"
enable = false
[raid.m]
level = 1
on = "d"
"""


def test_faults_come_when_all_layers_stand_and_on_each_device():
    plan = plan_of(FAULTY)
    rules = [s for s in plan.steps if s.verb == "device.fault"]
    assert [s.id for s in rules] == [f"device.d.{n}/fault-{rule}" for n in (1, 2) for rule in ("bad", "slow")]
    assert plan.steps[-4:] == tuple(rules)
    assert {s.args["device"] for s in rules} == {s.args["name"] for s in plan.steps if s.verb == "device.create"}
    assert summary(plan, "device.d").endswith(", 2 fault rules")


def test_a_fault_says_only_what_its_action_has():
    bad, slow = (s.args for s in plan_of(FAULTY).steps[-2:])
    everything = {"opcode": "any", "slba": 0, "nlb": 0, "nsid": 0, "queue": 0, "every": 1, "count": 0}
    everything |= {"controller": 0, "chance": 1_000_000}
    hit = {"opcode": "read", "slba": 100, "nlb": 8, "chance": 250_000}
    assert bad["attributes"] == everything | hit | {"action": "status", "status": 0x4281}
    assert slow["attributes"] == everything | {"action": "delay", "delay": 20_000_000}
    assert (bad["enable"], slow["enable"]) == (1, 0)


def test_a_device_with_two_controllers_has_registers_for_each():
    plan = plan_of('[device.d]\nsize = "64M"\ncontrollers = 2\n[device.d.fault.cut]\naction = "link-loss"\ncontroller = 2\n')
    attributes = step(plan, "device.d").args["attributes"]
    assert (attributes["controllers"], attributes["memmap_size"]) == (2, 66 << 20)
    assert step(plan, "device.d/fault-cut").args["attributes"]["controller"] == 2
    assert ", 2 controllers" in summary(plan, "device.d")
    assert "controllers" not in step(plan_of('[device.d]\nsize = "64M"\n'), "device.d").args["attributes"]


def test_a_device_with_a_past_is_given_it_before_its_power_goes_on(tmp_path):
    (tmp_path / "aged.snap").write_bytes(b"")
    text = 'schema = 1\n[device.d]\nsize = "64M"\nstate = "aged.snap"\n'
    plan = make_plan(loads(text, name="lab", directory=tmp_path))
    made = step(plan, "device.d")
    assert made.args["state"] == str(tmp_path / "aged.snap")
    words = [op.shell() for op in ops_of(made)]
    order = [next(n for n, word in enumerate(words) if part in word) for part in ("1 > ", "if=", "/power")]
    assert [part in words[-1] for part in ("/hold", "0")] == [True, True] and order == sorted(order)
    with pytest.raises(InvalidScenario, match=r"device\.d\.state: there is no file 'none'"):
        loads(text.replace("aged.snap", "none"), directory=tmp_path)


def test_a_traced_device_is_recorded_with_every_load():
    body = '[device.d]\nsize = "64M"\ncount = 2\ntrace = "lossless"\nseed = 7\n'
    load = '[workload.w]\non = "d.1"\nfio = { rw = "read", runtime = "1s" }\n'
    plan = plan_of(body + load)
    assert step(plan, "device.d.1").args["attributes"] | {"trace": 16384, "trace_lossless": 1, "seed": 7} == step(
        plan, "device.d.1"
    ).args["attributes"]
    assert plan.workloads[0]["traces"] == [
        {"layer": f"d.{n}", "path": f"/dev/nvlab-trace-nvlab-lab-d-{n}"} for n in (1, 2)
    ]
    assert "traces" not in plan_of('[device.d]\nsize = "64M"\n' + load.replace("d.1", "d")).workloads[0]


def test_a_device_without_cpus_is_served_by_all():
    assert "cpus" not in step(plan_of('[device.d]\nsize = "64M"\n'), "device.d").args["attributes"]


def test_a_stand_in_module_gets_the_three_parameters_of_nvmevirt():
    plan = plan_of('[device.d]\nsize = "64M"\ncpus = "2-3"\nmodule = "/opt/nvmev.ko"\n')
    words = ops_of(step(plan, "device.d"))[0].shell()
    assert words == f"insmod /opt/nvmev.ko memmap_start={5 << 30} memmap_size={65 << 20} cpus=2,3"
    assert "module.insert" not in [s.verb for s in plan.steps]


def test_regions_are_handed_out_first_fit_in_steps_of_two_mib():
    place = Placement([(1 << 30, 16 << 20)], [((1 << 30) + (4 << 20), 1 << 20)])
    assert place.take(3 << 20, "a") == 1 << 30
    assert place.take(4 << 20, "b") == (1 << 30) + (6 << 20)
    assert place.take(1 << 20, "c") == (1 << 30) + (10 << 20)


# -- disk ----------------------------------------------------------------------------------------------------------


def test_a_slow_disk_completes_by_timer_and_a_quick_one_by_softirq():
    slow, quick = (step(plan_of('[disk.d]\nsize = "64M"\n' + x), "disk.d") for x in ('latency = "4ms"\n', ""))
    assert (slow.args["attributes"]["irqmode"], slow.args["attributes"]["completion_nsec"]) == (2, 4_000_000)
    assert quick.args["attributes"]["irqmode"] == 1


def test_a_partitioned_disk_is_known_by_its_partition():
    plan = plan_of('[disk.d]\nkind = "loop"\nsize = "64M"\npartition = true\n[cache.c]\non = "d"\nsize = "16M"\n')
    assert step(plan, "disk.d").provides == "d.disk"
    assert step(plan, "disk.d/gpt").provides == "d"
    assert step(plan, "disk.d/gpt").args["dev"] == "{d.disk.dev}"


def test_brd_makes_all_its_disks_with_one_module():
    plan = plan_of('[disk.d]\nkind = "brd"\ncount = 2\nsize = "64M"\n')
    assert [s.id for s in plan.steps if s.owner == "disk.d"] == ["disk.d"]
    assert "rd_nr=2 rd_size=65536" in ops_of(step(plan, "disk.d"))[0].shell()


def test_the_screen_counts_only_what_is_several():
    body = '[disk.a]\nkind = "loop"\nsize = "64M"\n[device.d]\nsize = "64M"\n[device.e]\ncount = 2\nsize = "64M"\n'
    plan = plan_of(POOL + body)
    assert summary(plan, "disk.pool") == "4 × 64 MiB null_blk"
    assert summary(plan, "disk.a") == "64 MiB loop"
    assert summary(plan, "device.d") == "{d.dev}  64 MiB  nvm, optane"
    assert summary(plan, "device.e") == "2 × 64 MiB  nvm, optane"


# -- raid ----------------------------------------------------------------------------------------------------------


def test_an_array_is_created_without_a_question_left_open():
    words = (
        ops_of(step(plan_of(POOL + '[raid.m]\nlevel = 5\non = "pool"\nchunk = "64K"\n'), "raid.m"))[0].shell().split()
    )
    for word in (
        "--run",
        "--metadata=1.2",
        "--homehost=nvlab",
        "--bitmap=none",
        "--level=5",
        "--raid-devices=4",
        "--chunk=64",
    ):
        assert word in words


def test_the_first_resync_is_waited_for_unless_the_parity_is_right_already():
    waits = [
        sum(
            "sync_action" in op.shell()
            for op in ops_of(step(plan_of(POOL + f'[raid.m]\nlevel = {x}\non = "pool"\n'), "raid.m"))
        )
        for x in ("5", "0", "5\nassume_clean = true")
    ]
    assert waits == [1, 0, 0]


@pytest.mark.parametrize(("mode", "writes"), [("write-through", 0), ("write-back", 1)])
def test_a_journal_begins_in_write_through(mode, writes):
    body = (
        POOL + f'[disk.j]\nsize = "64M"\n[raid.m]\nlevel = 5\non = "pool"\njournal = {{ on = "j", mode = "{mode}" }}\n'
    )
    mute, create, *others = [op.shell() for op in ops_of(step(plan_of(body), "raid.m"))]
    assert mute == 'printf %s 0 > "$M_DISCARD_LIMIT"'  # else the array may hang when it stops
    assert '"--write-journal=$J_DEV"' in create
    assert sum("journal_mode" in other for other in others) == writes


# -- cache, export, connect ----------------------------------------------------------------------------------------


def test_a_cache_is_a_table_over_what_the_node_has_made():
    plan = plan_of('[disk.d]\nsize = "64M"\n[cache.c]\non = "d"\nsize = "16M"\nmode = "write-through"\n')
    assert step(plan, "cache.c").args["table"] == "0 {d.sectors} rapiddisk-cache {d.dev} {c.volume.dev} 32768 0"
    assert len([n for n in plan.notes if n.startswith("cache.c: RapidDisk")]) == 3


def test_an_export_lets_in_who_is_named():
    body = '[disk.d]\nsize = "64M"\n[export.e]\non = "d"\nhosts = ["c", "nqn.2014-08.org.x:y"]\n[connect.c]\nto = "e"\n'
    hosts = step(plan_of(body), "export.e/subsystem").args["hosts"]
    assert hosts == ["nqn.2026-11.io.nvlab:host:lab:c", "nqn.2014-08.org.x:y"]


def test_an_export_has_a_namespace_for_each_device():
    plan = plan_of(POOL + '[export.e]\non = ["pool.1", "pool.3"]\nallow_any_host = true\nlisten = "[::1]:4420"\n')
    assert step(plan, "export.e/namespace-2").args["device"] == "{pool.3.dev}"
    assert step(plan, "export.e/port").args == {"traddr": "::1", "trsvcid": "4420"}
    assert any("ipv6" in op.shell() for op in ops_of(step(plan, "export.e/port")))


def test_a_connection_states_its_host_and_its_times_in_seconds():
    body = '[disk.d]\nsize = "64M"\n[export.e]\non = "d"\nhosts = ["c"]\n[connect.c]\nto = "e"\n'
    connect = step(plan_of(body + 'give_up_after = "1m"\nqueues = 2\n' + "data_digest = true\n"), "connect.c")
    words = connect_string({**shown(connect), "queues": 2}).split(",")
    assert {"ctrl_loss_tmo=60", "nr_io_queues=2", "data_digest=1", "keep_alive_tmo=5"} <= set(words)
    assert any(w.startswith("hostnqn=") for w in words) and any(w.startswith("hostid=") for w in words)


# -- wire ----------------------------------------------------------------------------------------------------------

OVER = '[disk.d]\nsize = "64M"\n[export.e]\non = "d"\nover = "w"\nhosts = ["c"]\n[connect.c]\nto = "e"\n[wire.w]\n'


def test_an_export_over_a_wire_listens_at_its_far_end_and_hosts_connect_there():
    plan = plan_of(OVER)
    assert step(plan, "export.e/port").args == {"traddr": "{w.far}", "trsvcid": "4420"}
    assert step(plan, "export.e").args["netns"] == "{w.netns}"
    assert step(plan, "connect.c").args["traddr"] == "{w.far}"
    assert "{w.far}:4420 over w" in summary(plan, "export.e")
    order = [s.id for s in plan.steps]
    assert order.index("wire.w") < order.index("export.e/port")
    port = plan_of(OVER.replace('over = "w"', 'over = "w"\nlisten = ":4444"'))
    assert step(port, "export.e/port").args["trsvcid"] == "4444"


def test_an_export_without_a_wire_says_nothing_of_one():
    plan = plan_of('[disk.d]\nsize = "64M"\n[export.e]\non = "d"\nallow_any_host = true\n')
    assert "netns" not in step(plan, "export.e").args
    assert step(plan, "export.e/port").args == {"traddr": "127.0.0.1", "trsvcid": "4420"}


def test_a_port_comes_up_again_where_it_was():
    body = OVER + '[workload.l]\non = "c"\nfio = { rw = "read", runtime = "9s" }\n'
    events = "".join(f'[[event]]\nat = "{n}s"\non = "e"\ndo = "port-{do}"\n' for n, do in enumerate(("down", "up"), 1))
    (run,) = plan_of(body + events).workloads
    assert [act["args"]["netns"] for event in run["events"] for act in event["acts"]] == ["{w.netns}"] * 2


def test_what_a_wire_does_to_packets_is_asked_for_and_nothing_else():
    plain = plan_of("[wire.w]\n")
    words = " ".join(op.shell() for op in ops_of(step(plain, "wire.w")))
    assert "netem" not in words and "sch_netem" not in plain.needs.modules and words.count("gso_max_segs 1") == 2
    slow = plan_of('[wire.w]\nmtu = 9000\ndelay = "1ms"\nrate = 100\noffload = true\n')
    words = " ".join(op.shell() for op in ops_of(step(slow, "wire.w")))
    assert words.count("delay 1000us rate 100mbit 24") == 2 and words.count("mtu 9000") == 2 and "gso" not in words
    assert slow.needs.modules == ("sch_netem", "veth")
    assert summary(slow, "wire.w").endswith("MTU 9000, 1 ms each way, 100 Mbit/s, segmentation offload")


def test_the_addresses_of_a_wire_follow_from_its_name_unless_it_has_some():
    one, again, two = (step(plan_of(f"[wire.{name}]\n"), f"wire.{name}").args for name in ("w", "w", "v"))
    assert one == again
    assert all(one[key] != two[key] for key in ("interface", "netns", "network", "macs"))
    assert one["network"].startswith(("198.18.", "198.19.")) and one["network"].endswith("/30")
    assert all(mac.startswith("02:") and len(mac) == 17 for mac in one["macs"])
    own = plan_of('[wire.w]\nnetwork = "10.77.0.0/30"\n')
    assert "ip address add 10.77.0.1/30" in " ".join(op.shell() for op in ops_of(step(own, "wire.w")))
    long = make_plan(loads("schema = 1\n[wire.a-long-name]\n", name="a-lab-of-a-long-name"))
    assert len(step(long, "wire.a-long-name").args["interface"]) == 15


def test_what_passes_a_wire_is_counted():
    (run,) = plan_of(OVER + '[workload.l]\non = "c"\nfio = { rw = "read", runtime = "9s" }\n').workloads
    assert {"layer": "w", "kind": "net", "name": "{w.interface}"} in run["watches"]
    assert [w for w in run["watches"] if w["layer"] == "w" and w["kind"] == "block"] == []


# -- workload ------------------------------------------------------------------------------------------------------


def test_repeats_are_interleaved_over_the_targets():
    body = POOL + '[workload.w]\non = ["pool.1", "pool.2"]\nrepeats = 2\nfio = { rw = "read" }\n'
    runs = plan_of(body).workloads
    assert [r["name"] for r in runs] == ["w-pool.1-1", "w-pool.2-1", "w-pool.1-2", "w-pool.2-2"]
    assert [r["seed"] for r in runs] == [1, 1, 2, 2]
    assert [r["baseline"] for r in runs] == [False, True, False, True]


def test_a_load_on_a_file_system_gets_its_directory():
    body = (
        '[disk.d]\nsize = "64M"\n[filesystem.f]\non = "d"\n[workload.w]\non = "f"\nfio = { rw = "read", size = "1M" }\n'
    )
    (run,) = plan_of(body).workloads
    assert run["target"] == {"kind": "directory", "path": "{f.dir}"}


def test_the_recorder_watches_every_block_device_and_what_an_array_and_a_mapping_tell():
    body = (
        POOL
        + '[raid.m]\nlevel = 5\non = "pool"\n[cache.c]\non = "m"\nsize = "16M"\n[workload.w]\non = "c"\nfio = { rw = "read" }\n'
    )
    (run,) = plan_of(body).workloads
    kinds = {(w["layer"], w["kind"]) for w in run["watches"]}
    assert {("pool.1", "block"), ("m", "block"), ("m", "md"), ("c", "block"), ("c", "dm")} <= kinds
